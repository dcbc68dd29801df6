//! The ledger's keys: from the configuration, or made once beside the database; and which of them the store knows.
//!
//! Nothing is written before every key that has sealed something here is at hand: a wrong key is an error with a
//! name, and nothing is destroyed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::rand::{SecureRandom, SystemRandom};

use super::{
    OpenError, StoreError,
    rows::KnownKey,
    seal::{Keyring, Master},
};
use crate::{config::settings::LedgerKey, regular};

/// The keys to use, the sealing one first: the configured ones, then the one beside the database where there is one.
/// Without any, and only for a database that has sealed nothing yet, one is made. `known`: those that the store knows.
pub(super) fn read(
    known: impl FnOnce() -> Result<Vec<KnownKey>, StoreError>,
    path: &Path,
    configured: &[LedgerKey],
) -> Result<Vec<Master>, OpenError> {
    let mut masters = at_hand(path, configured)?;
    let file = beside(path);
    if file.exists() {
        warn_if_open_to_others(&file);
    }
    if masters.is_empty() {
        let known = known().map_err(|source| OpenError::of(path, source))?;
        refuse_without(path, &known, &masters)?;
        masters.push(make(&file)?);
    }
    Ok(masters)
}

/// Would a start refuse these keys, where the store knows those? Else the ring of the ones that it knows, if any.
pub(super) fn judge(
    known: &[KnownKey],
    path: &Path,
    configured: &[LedgerKey],
) -> Result<Option<Keyring>, OpenError> {
    let masters = at_hand(path, configured)?;
    refuse_without(path, known, &masters)?;
    let mut numbered = masters.into_iter().filter_map(|master| {
        let one = known.iter().find(|k| k.fingerprint == master.fingerprint)?;
        Some((one.number, master))
    });
    let first = numbered.next();
    Ok(first.map(|first| Keyring::new(first, numbered.collect())))
}

/// Those that are configured, and the one beside the database.
fn at_hand(path: &Path, configured: &[LedgerKey]) -> Result<Vec<Master>, OpenError> {
    let mut masters = Vec::new();
    for key in configured {
        let text = key.key.read().map_err(|reason| OpenError::Key {
            id: key.id.to_string(),
            reason: reason.to_string(),
        })?;
        masters.push(parse(&key.id, &text)?);
    }
    let file = beside(path);
    match regular::read_text(&file) {
        Ok(text) => {
            let master = parse(&file.display().to_string(), &text)?;
            if masters.iter().all(|m| m.fingerprint != master.fingerprint) {
                masters.push(master);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::File { path: file, source }),
    }
    Ok(masters)
}

/// Checks the keys against those that the store knows and gives each its number there. `seals_with`: the store's number of
/// the one that seals from now on.
pub(super) fn register(
    known: &[KnownKey],
    path: &Path,
    masters: Vec<Master>,
    mut seals_with: impl FnMut(&Master) -> Result<u16, StoreError>,
) -> Result<Keyring, OpenError> {
    refuse_without(path, known, &masters)?;
    let mut numbered = Vec::new();
    for (place, master) in masters.into_iter().enumerate() {
        let sealing = place == 0;
        match known.iter().find(|k| k.fingerprint == master.fingerprint) {
            Some(one) if one.sealed || !sealing => numbered.push((one.number, master)),
            Some(_) | None if sealing => {
                let number = seals_with(&master);
                let number = number.map_err(|source| OpenError::of(path, source))?;
                numbered.push((number, master));
            }
            // Has sealed nothing here: there is nothing it could open.
            Some(_) | None => {}
        }
    }
    let mut numbered = numbered.into_iter();
    match numbered.next() {
        Some(first) => Ok(Keyring::new(first, numbered.collect())),
        None => Err(missing(path, "first")),
    }
}

/// Every key that has sealed something must be there.
fn refuse_without(path: &Path, known: &[KnownKey], masters: &[Master]) -> Result<(), OpenError> {
    let is_there = |one: &KnownKey| masters.iter().any(|m| m.fingerprint == one.fingerprint);
    let Some(one) = known.iter().find(|k| k.sealed && !is_there(k)) else {
        return Ok(());
    };
    Err(match masters.iter().find(|m| *m.id == *one.id) {
        Some(_) => OpenError::WrongKey {
            path: path.to_path_buf(),
            id: one.id.clone(),
        },
        None => missing(path, &one.id),
    })
}

/// `ringback.db.key`
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

fn missing(path: &Path, id: &str) -> OpenError {
    OpenError::MissingKey {
        path: path.to_path_buf(),
        id: id.to_string(),
    }
}

pub(super) fn parse(id: &str, text: &str) -> Result<Master, OpenError> {
    let fault = |reason: &str| OpenError::Key {
        id: id.to_string(),
        reason: reason.to_string(),
    };
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret)
        .map_err(|_| fault("must be 32 octets as 64 hex digits (openssl rand -hex 32)"))?;
    Master::new(Arc::from(id), secret).map_err(|_| fault("can't be used"))
}

/// Never overwrites: `create_new`. Durable before anything is sealed with it.
fn make(file: &Path) -> Result<Master, OpenError> {
    let io = |source: io::Error| OpenError::File {
        path: file.to_path_buf(),
        source,
    };
    let id = file.display().to_string();
    let mut secret = [0; 32];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| OpenError::Key {
            id: id.clone(),
            reason: "no randomness from the system".into(),
        })?;
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(io)?;
    writeln!(out, "{}", hex::encode(secret)).map_err(io)?;
    out.sync_all().map_err(io)?;
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(io)?;
    tracing::info!(file = %file.display(), "made a key for the ledger; keep a copy of it apart from the database");
    parse(&id, &hex::encode(secret))
}

fn warn_if_open_to_others(file: &Path) {
    if let Ok(data) = std::fs::metadata(file)
        && data.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(file = %file.display(), "the ledger's key can be read by others: chmod 600");
    }
}
