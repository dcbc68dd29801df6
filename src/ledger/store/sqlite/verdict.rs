//! What a start makes of the ledger before it writes anything, and what `ringback ledger check` says of it: one function, so
//! that the two never differ. Changes nothing: a file that is damaged can still be looked at.

use std::{fs, io, path::Path, sync::Arc};

use rusqlite::Connection;

use super::{
    known_keys,
    loss::{self, Missing},
    mark::{self, Lost, Mark, Unreadable},
    schema, secret,
};
use crate::{
    config::settings::{LedgerSettings, OnLoss},
    ledger::{OpenError, StoreErrorKind, keys, limiter},
};

pub(super) struct Verdict {
    pub mark: Result<Option<Mark>, Unreadable>,
    pub missing: Option<Missing>,
    /// Why a start refuses it, whatever may be missing.
    pub refusal: Option<OpenError>,
}

/// An error says that nothing can be told.
pub(super) fn judge(settings: &LedgerSettings) -> Result<Verdict, OpenError> {
    let path = settings.path();
    schema::only_regular(path)?;
    // The mark first: it is older than what is then found in the file.
    let mark = mark::read(path);
    let known = mark.as_ref().ok().and_then(Option::as_ref);
    let found = find(settings, known)?;
    Ok(Verdict {
        missing: found.lost.map(|lost| Missing::new(lost, known)),
        refusal: found.refusal,
        mark,
    })
}

/// The start's answer to it. Going on in spite of a loss, it first keeps what would be written over.
pub(super) fn admit(settings: &LedgerSettings) -> Result<Option<Mark>, OpenError> {
    let path = settings.path();
    let Verdict {
        mark,
        missing,
        refusal,
    } = judge(settings)?;
    match (missing, settings.on_loss) {
        (Some(missing), OnLoss::Refuse) => return Err(refused(path, missing)),
        (missing, _) => {
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            missing.map_or(Ok(()), |missing| missing.keep(path))?;
        }
    }
    mark.or_else(|error| {
        tracing::warn!(file = %schema::beside(path, ".mark").display(), %error, "the ledger's mark can't be read: whether anything is missing can't be told");
        Ok(None)
    })
}

pub(super) fn refused(path: &Path, missing: Missing) -> OpenError {
    OpenError::Missing {
        path: path.to_path_buf(),
        missing: Box::new(missing),
    }
}

#[derive(Default)]
struct Found {
    lost: Option<Lost>,
    refusal: Option<OpenError>,
}

impl From<Lost> for Found {
    fn from(lost: Lost) -> Found {
        Found {
            lost: Some(lost),
            refusal: None,
        }
    }
}

fn find(settings: &LedgerSettings, mark: Option<&Mark>) -> Result<Found, OpenError> {
    let path = settings.path();
    let octets = match fs::metadata(path) {
        Ok(data) => Some(data.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(schema::file(path, source)),
    };
    let octets = match octets {
        // SQLite would take it for a new database, and delete the WAL beside it.
        None | Some(0) => {
            let lost = match octets {
                None => Lost::File,
                Some(_) => Lost::Content,
            };
            return Ok(Found {
                lost: mark.is_some().then_some(lost),
                refusal: keys::judge(&[], path, &settings.keys).err(),
            });
        }
        Some(octets) => octets,
    };
    if let Some((octets, needed)) = loss::cut(path).map_err(|e| schema::file(path, e))? {
        return Ok(Lost::Cut(octets, needed).into());
    }
    match look(settings, mark, octets) {
        // No database and no mark beside it: somebody else's file for all that is known, and not to be set aside.
        Err(error @ OpenError::Store { .. }) if mark.is_none() && is_no_database(&error) => {
            Ok(Found {
                lost: None,
                refusal: Some(error),
            })
        }
        Err(OpenError::Store { source, .. }) if source.is_damage() => {
            Ok(Lost::Damaged(source.to_string()).into())
        }
        found => found,
    }
}

fn look(settings: &LedgerSettings, mark: Option<&Mark>, octets: u64) -> Result<Found, OpenError> {
    let path = settings.path();
    let sqlite = |e| schema::sqlite(path, e);
    let conn = schema::open_untouched(path)?;
    if let Err(error) = schema::check_kind(&conn, path) {
        return match error {
            OpenError::Foreign(_) => Ok(Found {
                lost: None,
                refusal: Some(error),
            }),
            error => Err(error),
        };
    }
    let version = schema::version(&conn).map_err(sqlite)?;
    if !(0..=schema::newest()).contains(&version) {
        return Ok(Found {
            lost: None,
            refusal: Some(schema::newer(path, version)),
        });
    }
    if let Some(damage) = damage(&conn, version, octets).map_err(sqlite)? {
        return Ok(Lost::Damaged(damage).into());
    }
    let lost = match mark {
        Some(mark) => mark.missing_in(&conn).map_err(sqlite)?,
        None => None,
    };
    let refusal = match keys_of(&conn, version, settings) {
        Err(OpenError::Store { source, path }) if source.is_damage() => {
            return Err(OpenError::Store { source, path });
        }
        kept => kept.err(),
    };
    Ok(Found { lost, refusal })
}

fn keys_of(conn: &Connection, version: i64, settings: &LedgerSettings) -> Result<(), OpenError> {
    let path = settings.path();
    if version == 0 {
        return keys::judge(&[], path, &settings.keys).map(drop);
    }
    let known = known_keys(conn).map_err(|e| schema::sqlite(path, e))?;
    match keys::judge(&known, path, &settings.keys)? {
        Some(ring) if version >= SECRETS_SINCE => {
            let sealed = secret(conn, limiter::NAME).map_err(|e| schema::sqlite(path, e))?;
            sealed.map_or(Ok(()), |sealed| {
                limiter::open(&sealed, &Arc::new(ring)).map(drop)
            })
        }
        _ => Ok(()),
    }
}

/// A small file is read whole, of a large one what the start reads: the rest is found by `ringback ledger check`, or by
/// whoever needs it.
fn damage(conn: &Connection, version: i64, octets: u64) -> rusqlite::Result<Option<String>> {
    if octets <= READ_WHOLE {
        let said: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let lines: Vec<&str> = said.lines().collect();
        return Ok((said != "ok").then(|| lines.join(", ")));
    }
    if version == schema::newest() {
        for table in START_READS {
            read_all(conn, &format!("SELECT * FROM {table}"))?;
        }
    }
    Ok(None)
}

fn read_all(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut select = conn.prepare(sql)?;
    let columns = select.column_count();
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            row.get_ref(column)?;
        }
    }
    Ok(())
}

fn is_no_database(error: &OpenError) -> bool {
    let OpenError::Store { source, .. } = error else {
        return false;
    };
    source.kind == StoreErrorKind::NotADatabase
}

/// The version of the tables that has them.
const SECRETS_SINCE: i64 = 3;
/// A tenth of a second's reading.
const READ_WHOLE: u64 = 64 << 20;
const START_READS: [&str; 7] = [
    "meta",
    "keys",
    "secrets",
    "overlay",
    "calls",
    "inbox",
    "challenges WHERE key >= (SELECT value FROM meta WHERE name = 'open_from')",
];
