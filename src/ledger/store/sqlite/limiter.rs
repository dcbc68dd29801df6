//! The limiter's memory: which challenges count, and in which windows, for as long as the rows of challenges are kept.
//!
//! What a challenge counts in (a number, a person, a tenant) is written as hashes under a secret that is drawn once for
//! the file and sealed in it, so that it outlives the wiping of the number itself, a restart and a change of the keys.

use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    OpenError, schema,
    seal::{Keyring, Opener, Part, Sealer, Unsealable, key_number},
};
use crate::admission::LimitKeys;
use std::{path::Path, sync::Arc};

/// What the hashes are made with.
pub(super) type Secret = [u8; 32];

/// The file's own secret: made where it is missing, sealed anew where another key than the first has sealed it.
pub(super) fn secret(
    conn: &Connection,
    path: &Path,
    ring: &Arc<Keyring>,
) -> Result<Secret, OpenError> {
    let sqlite = |e| schema::sqlite(path, e);
    let sealed: Option<Vec<u8>> = conn
        .query_row("SELECT sealed FROM secrets WHERE name = ?", [NAME], |row| {
            row.get(0)
        })
        .optional()
        .map_err(sqlite)?;
    let opened = sealed
        .as_ref()
        .map(|sealed| Opener::new(ring.clone()).open(Part::Secret, ROW, sealed))
        .transpose()
        .map_err(unusable)?;
    let secret: Secret = match opened {
        Some(plain) => plain.try_into().map_err(|_| unusable(Unsealable))?,
        None => {
            let mut made = Secret::default();
            SystemRandom::new()
                .fill(&mut made)
                .map_err(|_| unusable(Unsealable))?;
            made
        }
    };
    if sealed.and_then(|sealed| key_number(&sealed)) != Some(ring.number()) {
        let mut out = Vec::new();
        Sealer::new(ring)
            .and_then(|mut sealer| sealer.seal(Part::Secret, ROW, &secret, &mut out))
            .map_err(unusable)?;
        conn.execute(
            "INSERT OR REPLACE INTO secrets (name, sealed) VALUES (?, ?)",
            params![NAME, out],
        )
        .map_err(sqlite)?;
    }
    Ok(secret)
}

/// Can it be opened with these keys?
pub(super) fn judge(conn: &Connection, path: &Path, ring: &Arc<Keyring>) -> Result<(), OpenError> {
    let sealed: Option<Vec<u8>> = conn
        .query_row("SELECT sealed FROM secrets WHERE name = ?", [NAME], |row| {
            row.get(0)
        })
        .optional()
        .map_err(|e| schema::sqlite(path, e))?;
    let opened = sealed.map(|sealed| Opener::new(ring.clone()).open(Part::Secret, ROW, &sealed));
    match opened.transpose().map_err(unusable)? {
        Some(plain) if plain.len() != size_of::<Secret>() => Err(unusable(Unsealable)),
        _ => Ok(()),
    }
}

fn unusable(error: Unsealable) -> OpenError {
    OpenError::Key {
        id: NAME.into(),
        reason: error.to_string(),
    }
}

/// As the row holds them: eight octets for each kind of window.
pub(super) fn write(keys: &LimitKeys) -> [u8; WIDTH] {
    let mut out = [0; WIDTH];
    for (octets, key) in out.chunks_exact_mut(8).zip(keys) {
        octets.copy_from_slice(&key.to_le_bytes());
    }
    out
}

/// None: not written by us.
pub(super) fn read(octets: &[u8]) -> Option<LimitKeys> {
    let mut keys = LimitKeys::default();
    if octets.len() != WIDTH {
        return None;
    }
    for (key, octets) in keys.iter_mut().zip(octets.chunks_exact(8)) {
        *key = u64::from_le_bytes(octets.try_into().ok()?);
    }
    Some(keys)
}

/// The version of the tables that has it.
pub(super) const SINCE: i64 = 3;
const NAME: &str = "limiter";
const ROW: i64 = 1;
const WIDTH: usize = size_of::<LimitKeys>();
