//! How a ledger stands: whether its file is whole, whether anything is missing, what is in it and what that takes. Only
//! looks, also beside a running gateway.

use std::{fs, io, path::Path};

use rusqlite::Connection;

use super::{
    Missing, OpenError, Sqlite, StoreError, schema,
    verdict::{self, Verdict},
};
use crate::{
    challenge::Millis,
    config::settings::{LedgerSettings, OnLoss},
    ledger::{
        Migrated,
        content::{Content, FREE, OUTCOMES},
        rows::KnownKey,
    },
};

/// What was found.
#[derive(Debug)]
pub struct LedgerStatus {
    /// Octets of the database, and of the WAL beside it.
    pub octets: u64,
    pub wal_octets: u64,
    /// The version of the tables, and the one that this program makes.
    pub version: i64,
    pub newest_version: i64,
    /// What SQLite finds wrong with the file, at most [`FAULTS`]; empty: it is whole.
    pub faults: Vec<String>,
    pub mark: MarkStatus,
    /// What a start would say instead of starting.
    pub refusal: Option<String>,
    pub content: Option<Content>,
}

#[derive(Debug)]
pub enum MarkStatus {
    /// There is none: nothing can be told.
    None,
    Unreadable(String),
    /// All is there that was durable at this time.
    Whole(Millis),
    /// By the mark, or by what SQLite says.
    Missing(Missing),
}

impl LedgerStatus {
    /// Nothing is wrong and, as far as can be told, nothing missing: a start would take it.
    pub fn well(&self) -> bool {
        let missing = matches!(self.mark, MarkStatus::Missing(_));
        self.faults.is_empty() && self.refusal.is_none() && !missing
    }
}

/// How much of it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is in it: rows are counted.
    Counts,
    /// The whole file is read for damage; of a large one that takes its time, and a running gateway goes on meanwhile.
    Whole,
}

pub fn check(settings: &LedgerSettings, depth: Depth) -> Result<LedgerStatus, OpenError> {
    let path = settings.path();
    let Verdict {
        mark,
        missing,
        refusal,
    } = verdict::judge(settings)?;
    let nothing = missing.is_none() && matches!(mark, Ok(None));
    let octets = match fs::metadata(path) {
        Ok(data) => data.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !nothing => 0,
        Err(source) => return Err(schema::file(path, source)),
    };
    // Of another program's file, or a later one's, nothing more can be told.
    let unknown = matches!(
        refusal,
        Some(OpenError::Foreign(_) | OpenError::Newer { .. })
    );
    let refusal = refusal.map(|error| error.to_string());
    let mut standing = LedgerStatus {
        octets,
        wal_octets: fs::metadata(schema::beside(path, "-wal")).map_or(0, |data| data.len()),
        version: 0,
        newest_version: schema::newest(),
        faults: Vec::new(),
        refusal: match (&missing, settings.on_loss) {
            (Some(missing), OnLoss::Refuse) => {
                Some(verdict::refused(path, missing.clone()).to_string())
            }
            _ => refusal,
        },
        mark: match (missing, mark) {
            (Some(missing), _) => MarkStatus::Missing(missing),
            (None, Ok(None)) => MarkStatus::None,
            (None, Ok(Some(mark))) => MarkStatus::Whole(Millis(mark.at)),
            (None, Err(error)) => MarkStatus::Unreadable(error.to_string()),
        },
        content: None,
    };
    if octets > 0 {
        let looked = match schema::open_untouched(path) {
            Ok(conn) => look(&conn, unknown, depth, &mut standing).map_err(StoreError::from),
            Err(OpenError::Store { source, .. }) => Err(source),
            Err(error) => return Err(error),
        };
        if let Err(error) = looked {
            standing.faults.push(error.to_string());
        }
    }
    Ok(standing)
}

fn look(
    conn: &Connection,
    unknown: bool,
    depth: Depth,
    standing: &mut LedgerStatus,
) -> rusqlite::Result<()> {
    standing.version = schema::version(conn)?;
    if !unknown {
        if depth == Depth::Whole {
            standing.faults = faults(conn)?;
        }
        standing.content = Some(content(conn, standing.version)?);
    }
    Ok(())
}

fn faults(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let found = conn
        .prepare(&format!("PRAGMA integrity_check({FAULTS})"))?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

fn content(conn: &Connection, version: i64) -> rusqlite::Result<Content> {
    let count = |table: &str| {
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
    };
    let (challenges, open, wiped) = conn.query_row(
        "SELECT count(*), total(ended IS NULL), total(wiped) FROM challenges",
        [],
        |row| {
            let whole = |place| row.get(place).map(|total: f64| total as i64);
            Ok((row.get(0)?, whole(1)?, whole(2)?))
        },
    )?;
    let mut tables = conn
        .prepare("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE ORDER BY pgsize DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, i64)>>>()?;
    let pragma = |name| conn.query_row(name, [], |row| row.get::<_, i64>(0));
    let free = pragma("PRAGMA freelist_count")? * pragma("PRAGMA page_size")?;
    tables.push((FREE.to_owned(), free));
    Ok(Content {
        challenges,
        open,
        wiped,
        waiting: count("outbox")?,
        kept: count("kept")?,
        inbox: count("inbox")?,
        outcomes: if version >= OUTCOMES_SINCE {
            count(OUTCOMES)?
        } else {
            0
        },
        tables,
    })
}

/// The master keys that have sealed something in this file.
pub(in crate::ledger) fn known_keys(path: &Path) -> Result<Vec<KnownKey>, OpenError> {
    schema::only_regular(path)?;
    let conn = schema::open_untouched(path)?;
    let known = match schema::version(&conn) {
        Ok(0) => Ok(Vec::new()),
        Ok(_) => super::known_keys(&conn),
        Err(error) => Err(error),
    };
    known.map_err(|e| schema::sqlite(path, e))
}

/// Brings the tables to the version of this program, for which no gateway may have the file.
pub fn migrate(settings: &LedgerSettings) -> Result<Migrated, OpenError> {
    let path = settings.path();
    let found = match fs::metadata(path) {
        Ok(data) if data.len() > 0 => {
            let conn = schema::open_untouched(path)?;
            schema::version(&conn).map_err(|e| schema::sqlite(path, e))?
        }
        _ => 0,
    };
    Sqlite::open(settings, "")?;
    let newest = schema::newest();
    Ok(Migrated { found, newest })
}

/// Bound of faults that are named.
pub const FAULTS: usize = 20;
/// The version of the tables that has it.
const OUTCOMES_SINCE: i64 = 5;
