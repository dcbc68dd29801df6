//! The mark: a small file beside the database that says what was durable a moment ago, so that a start can tell what is
//! missing.
//!
//! SQLite takes a damaged WAL for one that ends before the damage, and an empty file for a new database. Both look well, and
//! jobs that were acked are gone. So about once a second a commit also counts itself in the file (the *stamp*), and once
//! it is durable the mark says the same. The mark may be behind the file, by a second or by a disk that refused it; it is
//! never ahead, wherever the process is killed: a file that ends before its mark has lost something.
//!
//! The mark is replaced by a rename, not synced: after a loss of power an older one may stand there, which tells less and
//! never anything wrong.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{meta, schema};
use crate::{challenge::Millis, clock, regular};

/// How much there is, as of the last commit. The writer counts along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Stamps so far.
    pub sequence: i64,
    /// Challenges ever accepted.
    pub accepted: i64,
    /// The key of the newest challenge, and when it arrived; 0: there is none.
    pub newest: i64,
    pub newest_arrived: i64,
    pub open: i64,
    /// Reports that wait for the broker.
    pub waiting: i64,
}

/// What stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    version: u8,
    /// Which ledger: drawn once, when it was made.
    ledger: String,
    pub tally: Tally,
    /// When it was written, by the wall clock.
    pub at: i64,
}

/// What the database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// None: a ledger of a version that knew no marks.
    ledger: Option<i64>,
    sequence: i64,
    accepted: i64,
    /// Is the newest challenge of the mark there?
    has_newest: bool,
}

/// What is missing from the ledger, or wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The file is not there.
    File,
    /// It is there, with nothing in it.
    Content,
    /// It is another ledger's.
    Other,
    /// It ends before the mark, by so many challenges.
    End(i64),
    /// Rows of it are gone.
    Rows,
    /// Octets that it has, and that its header says.
    Cut(u64, u64),
    /// As SQLite says it.
    Damaged(String),
}

/// Why a mark tells nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("it is not a mark: {0}")]
    Content(#[from] serde_json::Error),
    #[error("it is a mark of a newer ringback (version {0})")]
    Newer(u8),
}

impl Mark {
    /// What of it is not in this database.
    pub fn missing_in(&self, conn: &Connection) -> rusqlite::Result<Option<Lost>> {
        let found = look(conn, self)?;
        Ok(found.map_or(Some(Lost::Content), |found| {
            compare(self, &found, clock::now())
        }))
    }
}

/// None: a database without tables.
fn look(conn: &Connection, mark: &Mark) -> rusqlite::Result<Option<Found>> {
    let tables: i64 = conn.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'challenges')",
        [],
        |row| row.get(0),
    )?;
    if tables < 2 {
        return Ok(None);
    }
    let value = |name| meta(conn, name).optional();
    let to = value(ACCEPTED_TO)?.unwrap_or(0);
    Ok(Some(Found {
        ledger: value(LEDGER)?,
        sequence: value(SEQUENCE)?.unwrap_or(0),
        accepted: value(ACCEPTED)?.unwrap_or(0) + above(conn, to)?,
        has_newest: conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM challenges WHERE key = ?)",
            [mark.tally.newest],
            |row| row.get(0),
        )?,
    }))
}

fn compare(mark: &Mark, found: &Found, now: Millis) -> Option<Lost> {
    let known = &mark.tally;
    if found.ledger.map(name) != Some(mark.ledger.clone()) {
        return Some(Lost::Other);
    }
    if found.sequence < known.sequence {
        return Some(Lost::End((known.accepted - found.accepted).max(0)));
    }
    // Retention is a day at least.
    let young = known.newest > 0 && known.newest_arrived > (now - DAY).0;
    (young && !found.has_newest).then_some(Lost::Rows)
}

/// The mark beside this ledger; None: there is none.
pub(super) fn read(path: &Path) -> Result<Option<Mark>, Unreadable> {
    let text = match regular::read(&beside(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let versioned: Versioned = serde_json::from_slice(&text)?;
    if versioned.version > VERSION {
        return Err(Unreadable::Newer(versioned.version));
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

#[derive(Deserialize)]
struct Versioned {
    version: u8,
}

fn write(path: &Path, mark: &Mark) -> io::Result<()> {
    let mut text = serde_json::to_vec(mark)?;
    text.push(b'\n');
    let new = schema::beside(path, ".mark.new");
    let make = || {
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&new)
    };
    // What a crash has left, or whatever else: never opened, since a FIFO would hold the writer up.
    let mut out = make().or_else(|_| fs::remove_file(&new).and_then(|()| make()))?;
    out.write_all(&text)?;
    drop(out);
    fs::rename(new, beside(path))
}

fn beside(path: &Path) -> PathBuf {
    schema::beside(path, ".mark")
}

/// Counts once what is there, and knows the ledger by its name; a ledger without one gets it.
pub(super) fn begin(conn: &Connection, path: &Path) -> rusqlite::Result<(Keeper, Tally)> {
    let value = |name| meta(conn, name).optional();
    let ledger = match value(LEDGER)? {
        Some(ledger) => ledger,
        None => {
            let drawn = draw();
            put(conn, LEDGER, drawn)?;
            drawn
        }
    };
    let newest: Option<(i64, i64)> = conn
        .query_row(
            "SELECT key, arrived FROM challenges ORDER BY key DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (newest, newest_arrived) = newest.unwrap_or_default();
    let accepted = value(ACCEPTED)?.unwrap_or(0) + above(conn, value(ACCEPTED_TO)?.unwrap_or(0))?;
    let mut tally = Tally {
        sequence: value(SEQUENCE)?.unwrap_or(0),
        accepted,
        newest,
        newest_arrived,
        open: conn.query_row(
            "SELECT count(*) FROM challenges WHERE key >= ? AND ended IS NULL",
            [meta(conn, "open_from")?],
            |row| row.get(0),
        )?,
        waiting: conn.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?,
    };
    stamp(conn, &mut tally)?;
    let mut keeper = Keeper {
        path: path.to_path_buf(),
        ledger,
        written: Instant::now(),
        behind: false,
        stamped: Some(tally),
        failing: false,
    };
    keeper.follow();
    Ok((keeper, tally))
}

/// Counts a commit in the file, as part of it.
pub(super) fn stamp(conn: &Connection, tally: &mut Tally) -> rusqlite::Result<()> {
    tally.sequence += 1;
    put(conn, SEQUENCE, tally.sequence)?;
    put(conn, ACCEPTED, tally.accepted)?;
    put(conn, ACCEPTED_TO, tally.newest)
}

fn put(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![name, value])?;
    Ok(())
}

fn above(conn: &Connection, key: i64) -> rusqlite::Result<i64> {
    conn.query_row(
        "SELECT count(*) FROM challenges WHERE key > ?",
        [key],
        |row| row.get(0),
    )
}

/// Never 0. Without randomness from the system nothing is sealed either.
fn draw() -> i64 {
    let mut octets = [0; 8];
    let _ = SystemRandom::new().fill(&mut octets);
    (i64::from_le_bytes(octets) & i64::MAX).max(1)
}

fn name(ledger: i64) -> String {
    format!("{ledger:016x}")
}

/// When the next stamp is due, and the file that follows it.
pub(super) struct Keeper {
    path: PathBuf,
    ledger: i64,
    written: Instant,
    /// Something was committed since.
    behind: bool,
    /// A stamp that the file does not follow yet.
    stamped: Option<Tally>,
    failing: bool,
}

impl Keeper {
    /// The present transaction is to carry a stamp.
    pub fn due(&self) -> bool {
        self.written.elapsed() >= EVERY
    }

    /// A commit, and what it counted itself as, if it carried a stamp.
    pub fn committed(&mut self, stamped: Option<Tally>) {
        self.behind = stamped.is_none();
        if stamped.is_some() {
            self.written = Instant::now();
            self.stamped = stamped;
        }
    }

    /// Nothing more has come that could carry the stamp.
    pub fn overdue(&self) -> bool {
        self.behind && self.due()
    }

    pub fn behind(&self) -> bool {
        self.behind
    }

    /// How long until [`Keeper::overdue`] may become true.
    pub fn wait(&self) -> Option<Duration> {
        self.behind
            .then(|| EVERY.saturating_sub(self.written.elapsed()))
    }

    /// Writes the mark of the last stamp, which is durable. A disk that refuses it leaves the older one, which is said once.
    pub fn follow(&mut self) {
        let Some(tally) = self.stamped.take() else {
            return;
        };
        let mark = Mark {
            version: VERSION,
            ledger: name(self.ledger),
            tally,
            at: clock::wall().0,
        };
        match write(&self.path, &mark) {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!(file = %beside(&self.path).display(), "the ledger's mark is written again");
            }
            Ok(()) => {}
            Err(_) if self.failing => {}
            Err(error) => {
                self.failing = true;
                tracing::warn!(file = %beside(&self.path).display(), %error, "the ledger's mark can't be written: a loss from here on would not be noticed at the next start");
            }
        }
    }
}

/// The mark is no older than this, and a moment.
const EVERY: Duration = Duration::from_millis(900);
const DAY: Duration = Duration::from_secs(86_400);
const VERSION: u8 = 1;
/// Names in `meta`. The accepted ones are those up to this key; newer ones are counted.
const LEDGER: &str = "ledger";
const SEQUENCE: &str = "stamps";
const ACCEPTED: &str = "accepted";
const ACCEPTED_TO: &str = "accepted_to";

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            version: 1,
            ledger: name(7),
            tally: Tally {
                sequence: 9,
                accepted: 40,
                newest: 100,
                newest_arrived: 1_000_000_000,
                open: 3,
                waiting: 2,
            },
            at: 0,
        }
    }

    fn found() -> Found {
        Found {
            ledger: Some(7),
            sequence: 9,
            accepted: 40,
            has_newest: true,
        }
    }

    #[test]
    fn a_mark_may_be_behind_the_file_and_never_ahead() {
        let now = Millis(1_000_000_000);
        let lost = |found: &Found| compare(&mark(), found, now);
        assert_eq!(lost(&found()), None);
        let newer = Found {
            sequence: 10,
            accepted: 60,
            ..found()
        };
        assert_eq!(lost(&newer), None);
        let older = Found {
            sequence: 8,
            accepted: 31,
            has_newest: false,
            ..found()
        };
        assert_eq!(lost(&older), Some(Lost::End(9)));
        let other = Found {
            ledger: Some(8),
            ..found()
        };
        assert_eq!(lost(&other), Some(Lost::Other));
        let before_marks = Found {
            ledger: None,
            ..found()
        };
        assert_eq!(lost(&before_marks), Some(Lost::Other));
        let thinned = Found {
            has_newest: false,
            ..found()
        };
        assert_eq!(lost(&thinned), Some(Lost::Rows));
        let retired = compare(&mark(), &thinned, now + DAY);
        assert_eq!(retired, None, "retention may have taken it");
    }
}
