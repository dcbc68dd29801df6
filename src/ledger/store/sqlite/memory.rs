//! The same tables and statements in memory, for rehearsals: what is committed lives as long as this does.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, OpenFlags};

use super::{Place, Sqlite, schema};
use crate::ledger::{OpenError, StoreError};

pub struct InMemory {
    /// A name that SQLite shares among the connections of this process.
    name: PathBuf,
    /// The database lives as long as one connection does.
    _anchor: Connection,
}

impl InMemory {
    pub(in crate::ledger) fn new() -> Result<InMemory, OpenError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = PathBuf::from(format!("file:ledger-{number}?mode=memory&cache=shared"));
        let mut anchor = connect(&name).map_err(|e| OpenError::of(&name, e))?;
        schema::migrate(&mut anchor, &name)?;
        Ok(InMemory {
            _anchor: anchor,
            name,
        })
    }

    pub(in crate::ledger) fn open(&self, node: &str) -> Result<Sqlite, OpenError> {
        let conn = connect(&self.name).map_err(|e| OpenError::of(&self.name, e))?;
        let place = Place::Memory(self.name.clone());
        Sqlite::over(conn, place, node, 0).map_err(|e| schema::sqlite(&self.name, e))
    }
}

pub(super) fn connect(name: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(name, flags)?;
    conn.set_prepared_statement_cache_capacity(schema::STATEMENTS);
    Ok(conn)
}
