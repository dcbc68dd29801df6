//! The ledger in one SQLite file: its tables, what is written into them, read from them and deleted from them in time,
//! and the files beside it. One process has it.

use std::{path::PathBuf, time::Duration};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::{Opening, Store, StoreReads};
use crate::{
    admission::Windows,
    challenge::Millis,
    config::settings::LedgerSettings,
    ledger::{
        Keeping, OpenError, StoreError, StoreErrorKind,
        codec::Codec,
        group::{Group, Verdict},
        rows::{KnownKey, epoch_of},
    },
};

mod apply;
pub mod check;
mod clock_mark;
mod files;
mod loss;
mod mark;
mod memory;
mod owner;
mod reads;
mod retention;
mod schema;
mod verdict;

#[cfg(test)]
mod tests;

pub use loss::Missing;
pub use memory::InMemory;

use apply::{Context, Statements};
use files::Files;
use owner::Node;
use retention::{Retention, Step};

pub(in crate::ledger) struct Sqlite {
    conn: Connection,
    place: Place,
    context: Context,
    retention: Retention,
    /// The epoch of a file that is lost: none of its keys may be given again.
    least: i64,
    #[cfg(test)]
    fault: std::sync::Arc<Fault>,
}

/// Where the database is.
enum Place {
    File(Box<OnDisk>),
    /// A name that SQLite shares among the connections of this process.
    Memory(PathBuf),
}

struct OnDisk {
    path: PathBuf,
    /// Held until the store is dropped.
    _lock: schema::Lock,
    /// Both from [`Store::begin`] on.
    files: Option<Files>,
    mark: Option<mark::Keeper>,
}

impl Sqlite {
    /// Opens the file, or makes it, and takes it for this process. Whether all is there that was durable is decided before
    /// anything is written.
    pub fn open(settings: &LedgerSettings, node: &str) -> Result<Sqlite, OpenError> {
        let path = settings.path();
        schema::make_folder(path)?;
        schema::only_regular(path)?;
        let lock = schema::lock(path)?;
        let mark = verdict::admit(settings)?;
        schema::make_file(path)?;
        let conn = schema::open_writer(path)?;
        let least = mark.map_or(0, |mark| epoch_of(mark.tally.newest));
        let place = Place::File(Box::new(OnDisk {
            path: path.to_path_buf(),
            _lock: lock,
            files: None,
            mark: None,
        }));
        Sqlite::over(conn, place, node, least).map_err(|e| schema::sqlite(path, e))
    }

    fn over(conn: Connection, place: Place, node: &str, least: i64) -> rusqlite::Result<Sqlite> {
        Ok(Sqlite {
            context: Context {
                node: Node::new(node),
                early: retention::any_early(&conn)?,
                tally: mark::Tally::default(),
                windows: Windows::default(),
            },
            retention: Retention::new(&conn),
            conn,
            place,
            least,
            #[cfg(test)]
            fault: std::sync::Arc::default(),
        })
    }

    /// Is the file still where it was opened? What was committed into one that nobody will find again was not.
    fn examine(&mut self) -> Result<(), StoreError> {
        match &mut self.place {
            Place::File(disk) => match &mut disk.files {
                Some(files) => files
                    .examine(&self.conn)
                    .map_err(|astray| misplaced(&astray)),
                None => Ok(()),
            },
            Place::Memory(_) => Ok(()),
        }
    }

    /// All or nothing. What was committed into a file that is gone is done again, as after a commit whose answer was lost.
    fn transaction(
        &mut self,
        what: impl FnOnce(&mut Sqlite) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        if let Err(error) = self.examine() {
            self.roll_back();
            return Err(error);
        }
        self.all_or_nothing(what)?;
        self.examine()
    }

    fn all_or_nothing(
        &mut self,
        what: impl FnOnce(&mut Sqlite) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if self.conn.is_autocommit() {
            self.begin_writing()?;
        }
        let result = what(self).and_then(|()| {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            Ok(())
        });
        if result.is_err() {
            self.roll_back();
        }
        result
    }

    fn begin_writing(&self) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.fault.inject(&self.conn)?;
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit() {
            // If even this fails, the next BEGIN does too, and the error stays in sight.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    fn mark(&mut self) -> Option<&mut mark::Keeper> {
        match &mut self.place {
            Place::File(disk) => disk.mark.as_mut(),
            Place::Memory(_) => None,
        }
    }

    /// A commit for the stamp's own sake: nothing has come that could carry it.
    fn stamp(&mut self) -> Result<(), StoreError> {
        let before = self.context.tally;
        self.transaction(|store| mark::stamp(&store.conn, &mut store.context.tally))
            .inspect_err(|_| self.context.tally = before)?;
        let tally = self.context.tally;
        if let Some(mark) = self.mark() {
            mark.committed(Some(tally));
            mark.follow();
        }
        Ok(())
    }
}

impl Store for Sqlite {
    fn keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        Ok(known_keys(&self.conn)?)
    }

    fn seals_with(&mut self, fingerprint: [u8; 8], id: &str) -> Result<u16, StoreError> {
        let number = self.conn.query_row(
            "INSERT INTO keys (fingerprint, id, sealed) VALUES (?, ?, 1)
             ON CONFLICT (fingerprint) DO UPDATE SET sealed = 1 RETURNING number",
            params![fingerprint, id],
            |row| row.get(0),
        )?;
        Ok(number)
    }

    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(secret(&self.conn, name)?)
    }

    fn put_secret(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.conn.execute(
            "INSERT OR REPLACE INTO secrets (name, sealed) VALUES (?, ?)",
            params![name, sealed],
        )?;
        Ok(())
    }

    fn begin(&mut self) -> Result<Opening, StoreError> {
        let conn = &self.conn;
        let epoch = next_epoch(conn, self.least)?;
        let owner = self.context.node.begin(conn, epoch)?;
        if let Place::File(disk) = &mut self.place {
            clock_mark::go_on(conn)?;
            let (mark, tally) = mark::begin(conn, &disk.path)?;
            self.context.tally = tally;
            disk.mark = Some(mark);
            disk.files = Some(Files::of(conn, &disk.path)?);
            conn.busy_timeout(BUSY)?;
        }
        Ok(Opening { epoch, owner })
    }

    fn windows(&mut self) -> Option<&mut Windows> {
        Some(&mut self.context.windows)
    }

    fn reader(&self) -> Result<Box<dyn StoreReads>, StoreError> {
        let conn = match &self.place {
            Place::File(disk) => schema::open_reader(&disk.path)?,
            Place::Memory(name) => memory::connect(name)?,
        };
        Ok(Box::new(reads::Reads(conn)))
    }

    fn lock(&mut self) -> Result<(), StoreError> {
        self.examine()?;
        Ok(self.begin_writing()?)
    }

    fn commit(&mut self, group: &Group, verdicts: &mut Vec<Verdict>) -> Result<(), StoreError> {
        let before = self.context.tally;
        let stamped = self.mark().is_some_and(|mark| mark.due());
        self.transaction(|store| {
            let Sqlite { conn, context, .. } = store;
            let fence = context.node.fence(conn, group)?;
            let mut statements = Statements::new(conn)?;
            group.apply(&fence, verdicts, |row| statements.put(group, context, row))?;
            match stamped {
                true => mark::stamp(conn, &mut context.tally),
                false => Ok(()),
            }
        })
        .inspect_err(|_| {
            self.context.tally = before;
            self.context.windows.back_to(0);
        })?;
        self.context.windows.keep();
        let tally = self.context.tally;
        if let Some(mark) = self.mark() {
            mark.committed(stamped.then_some(tally));
        }
        Ok(())
    }

    fn housekeep(
        &mut self,
        codec: &mut Codec,
        keeping: &Keeping,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let mut retention = self.retention.clone();
        let step = Step {
            conn: &self.conn,
            codec: &mut *codec,
            keeping,
            now,
        };
        let has_work = retention.has_work(&step, &self.context);
        self.retention = retention.clone();
        if !has_work {
            return Ok(false);
        }
        let mut more = false;
        // A loss of power may take back what is written here, and it is done again: the disk need not be waited for. What
        // is committed afterwards is synced with it.
        self.conn.pragma_update(None, "synchronous", "NORMAL")?;
        let result = self.transaction(|store| {
            let Sqlite { conn, context, .. } = store;
            let mut step = Step {
                conn,
                codec,
                keeping,
                now,
            };
            more = retention.step(&mut step, context)?;
            Ok(())
        });
        // First of all: no batch may be committed without.
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        result?;
        self.retention = retention;
        Ok(more)
    }

    fn reseal(&mut self) {
        self.retention.reseal();
    }

    fn upkeep_in(&self) -> Option<Duration> {
        match &self.place {
            Place::File(disk) => disk.mark.as_ref().and_then(mark::Keeper::wait),
            Place::Memory(_) => None,
        }
    }

    fn upkeep(&mut self) -> Result<(), StoreError> {
        if self.mark().is_some_and(|mark| mark.overdue()) {
            self.stamp()?;
        }
        if let Place::File(disk) = &mut self.place {
            if let Some(mark) = &mut disk.mark {
                mark.follow();
            }
            if disk.files.as_ref().is_some_and(Files::due) {
                self.examine()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        if self.mark().is_some_and(|mark| mark.behind()) {
            self.stamp()?;
        }
        // All in one file: who copies it after a clean end has everything. A reader in the way leaves the WAL, which is
        // as good for us.
        let _ = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => {
                StoreErrorKind::Unavailable
            }
            Some(ErrorCode::DatabaseCorrupt) => StoreErrorKind::Damaged,
            Some(ErrorCode::NotADatabase) => StoreErrorKind::NotADatabase,
            _ => StoreErrorKind::Other,
        };
        StoreError {
            reason: error.to_string(),
            kind,
        }
    }
}

fn misplaced(astray: &files::Astray) -> StoreError {
    StoreError {
        reason: astray.to_string(),
        kind: StoreErrorKind::Misplaced,
    }
}

fn known_keys(conn: &Connection) -> rusqlite::Result<Vec<KnownKey>> {
    conn.prepare("SELECT number, fingerprint, id, sealed FROM keys ORDER BY number")?
        .query_map([], |row| {
            Ok(KnownKey {
                number: row.get(0)?,
                fingerprint: row.get(1)?,
                id: row.get(2)?,
                sealed: row.get(3)?,
            })
        })?
        .collect()
}

fn secret(conn: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let select = "SELECT sealed FROM secrets WHERE name = ?";
    conn.query_row(select, [name], |row| row.get(0)).optional()
}

/// Counts this opening. `least`: the epoch of a file that is lost, since none of its keys may be given again.
fn next_epoch(conn: &Connection, least: i64) -> rusqlite::Result<i64> {
    conn.query_row(
        "UPDATE meta SET value = max(value, ?) + 1 WHERE name = 'epoch' RETURNING value",
        [least],
        |row| row.get(0),
    )
}

fn meta(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| {
        row.get(0)
    })
}

/// Makes the disk full, for tests: the bound on the file's pages, set before each transaction where it has changed.
#[cfg(test)]
#[derive(Default)]
struct Fault {
    max_pages: std::sync::atomic::AtomicI64,
}

#[cfg(test)]
impl Fault {
    fn inject(&self, conn: &Connection) -> rusqlite::Result<()> {
        let pages = self.max_pages.load(std::sync::atomic::Ordering::SeqCst);
        if pages > 0 {
            conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        }
        Ok(())
    }
}

/// Another program may hold the file for a moment (`sqlite3`, a backup); longer than this, and it is said.
const BUSY: Duration = Duration::from_millis(500);
