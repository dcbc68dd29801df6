//! The ledger in memory, in the hands of one thread: for rehearsals in invented time.
//!
//! Tables, sealing, ops, recovery and housekeeping are those of the file; only the writer's thread is left out. A commit is
//! a call: what was not committed when the engine is dropped is lost, as it would be in a crash.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rusqlite::{Connection, OpenFlags};

use super::{
    Batch, Candidates, Done, OpenError, OutboxReport, ReadError, Recovered, ReportKey, Stored,
    Whose, Wipe,
    apply::{RowCodec, Statements},
    keys, limiter,
    read::Reader,
    recover,
    retention::{self, Retention},
    schema,
};
use crate::challenge::{ChallengeKey, Millis};

/// What outlives a crash.
pub struct Memory {
    /// A name that SQLite shares among the connections of this process.
    name: PathBuf,
    /// The database lives as long as one connection does.
    _anchor: Connection,
}

/// How long what is kept is kept.
#[derive(Clone, Copy)]
pub struct Keeping {
    pub wipe: Wipe,
    pub retention: Duration,
    pub outcomes: Duration,
}

/// One opening of it.
pub struct Engine<'c> {
    conn: &'c Connection,
    statements: Statements<'c>,
    codec: RowCodec,
    retention: Retention,
    reader: Reader,
}

/// Of tests alone: nothing that it seals leaves the process.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

impl Memory {
    pub fn new() -> Result<Memory, OpenError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = PathBuf::from(format!("file:ledger-{number}?mode=memory&cache=shared"));
        Ok(Memory {
            _anchor: connect(&name)?,
            name,
        })
    }

    /// Opens it as a process that starts does, and gives engine and what it holds to `life`; with the end of that the
    /// process is gone.
    pub fn open<T>(
        &self,
        node: &str,
        keeping: Keeping,
        life: impl FnOnce(Engine<'_>, Recovered) -> T,
    ) -> Result<T, OpenError> {
        let path = &self.name;
        let conn = connect(path)?;
        let sqlite = |e| schema::sqlite(path, e);
        let masters = vec![keys::parse("rehearsal", KEY)?];
        let ring = Arc::new(keys::register(&conn, path, masters)?);
        let epoch = recover::next_epoch(&conn, 0).map_err(sqlite)?;
        let secret = limiter::secret(&conn, path, &ring)?;
        let early = retention::any_early(&conn).map_err(sqlite)?;
        let codec = RowCodec::new(ring.clone(), node.into(), epoch, early);
        let settings = retention::Settings {
            wipe: keeping.wipe,
            retention: keeping.retention,
            outcomes: keeping.outcomes,
        };
        let engine = Engine {
            statements: Statements::new(&conn).map_err(sqlite)?,
            retention: Retention::new(&conn, &settings),
            codec: codec.map_err(|e| OpenError::Key {
                id: "rehearsal".into(),
                reason: e.to_string(),
            })?,
            reader: Reader::new(connect(path)?, Arc::new(ArcSwap::new(ring.clone()))),
            conn: &conn,
        };
        let recovered = Recovered::over(connect(path)?, path, ring, epoch, secret);
        Ok(life(engine, recovered))
    }
}

impl Engine<'_> {
    /// Writes a group of batches in one transaction.
    pub fn commit(&mut self, now: Millis, group: &[Batch]) -> Result<Vec<Done>, OpenError> {
        self.codec.now = now;
        let mut write = || {
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let batches = group.iter();
            let dones = batches
                .map(|batch| self.statements.batch(&mut self.codec, batch))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            Ok(dones)
        };
        write().map_err(|e| schema::sqlite(Path::new("memory"), e))
    }

    /// One bounded step of wiping, retention and resealing. True: there is more to do.
    pub fn housekeep(&mut self, now: Millis) -> Result<bool, OpenError> {
        if !self.retention.has_work(self.conn, &self.codec, now) {
            return Ok(false);
        }
        self.retention
            .step(self.conn, &mut self.codec, now)
            .map_err(|e| schema::sqlite(Path::new("memory"), e))
    }

    pub fn whose(&self, whose: &Whose) -> Result<Candidates, ReadError> {
        self.reader.whose(whose)
    }

    pub fn find(&self, tenant: &str, id: &str) -> Result<Option<Stored>, ReadError> {
        self.reader.find(tenant, id)
    }

    pub fn get(&self, key: ChallengeKey) -> Result<Option<Stored>, ReadError> {
        self.reader.get(key)
    }

    pub fn pending_reports(
        &self,
        after: ReportKey,
        limit: usize,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        self.reader.pending_reports(after, limit)
    }

    pub fn reports_of(&self, key: ChallengeKey) -> Result<Vec<OutboxReport>, ReadError> {
        self.reader.reports_of(key, 0)
    }

    /// Messages of carriers that nothing has been made of yet.
    pub fn held_messages(&self) -> Result<i64, ReadError> {
        let count = "SELECT count(*) FROM inbox";
        Ok(self.conn.query_row(count, [], |row| row.get(0))?)
    }
}

fn connect(name: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(name, flags).map_err(|e| schema::sqlite(name, e))?;
    conn.set_prepared_statement_cache_capacity(64);
    schema::migrate(&mut conn, name)?;
    Ok(conn)
}
