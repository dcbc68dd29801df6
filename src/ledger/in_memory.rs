//! The ledger in memory, in the hands of one thread: for rehearsals in invented time.
//!
//! Engine, sealing, recovery and reading are those of the gateway; only the writer's thread is left out. A commit is a call:
//! what was not committed when the engine is dropped is lost, as it would be in a crash.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;

use super::{
    Batch, Candidates, Done, Keeping, OpenError, OutboxReport, ReadError, Recovered, ReportKey,
    StoreError, Stored, Whose, engine, keys,
    read::Reader,
    store::{Store, maps::Maps, sqlite::InMemory},
};
use crate::{
    admission::Limits,
    challenge::{ChallengeKey, Millis},
};

/// What outlives a crash.
pub enum Memory {
    Maps(Maps),
    Sqlite(InMemory),
}

/// One opening of it.
pub struct Engine {
    engine: engine::Engine,
    reader: Reader,
}

/// Of tests alone: nothing that it seals leaves the process.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a ledger in memory is held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// Plain maps.
    Maps,
    /// A database in memory: the tables and statements of the file.
    Sqlite,
}

impl Memory {
    pub fn new(kind: MemoryKind) -> Result<Memory, OpenError> {
        Ok(match kind {
            MemoryKind::Maps => Memory::Maps(Maps::default()),
            MemoryKind::Sqlite => Memory::Sqlite(InMemory::new()?),
        })
    }

    /// Opens it as a process that starts at `now` does; with the end of the engine the process is gone.
    pub fn open(
        &self,
        node: &str,
        keeping: Keeping,
        limits: &Limits,
        now: Millis,
    ) -> Result<(Engine, Recovered), OpenError> {
        let path = Path::new("memory");
        let store: Box<dyn Store> = match self {
            Memory::Maps(maps) => Box::new(maps.open(node)),
            Memory::Sqlite(memory) => Box::new(memory.open(node)?),
        };
        let masters = vec![keys::parse("rehearsal", KEY)?];
        let failed = |source| OpenError::of(path, source);
        let (mut engine, ring, mut recovered) =
            engine::Engine::begin(store, path, masters, keeping)?;
        engine
            .count_arrivals(limits, now, &mut recovered)
            .map_err(failed)?;
        let rows = engine.store.reader().map_err(failed)?;
        let reader = Reader::new(rows, Arc::new(ArcSwap::new(ring)));
        Ok((Engine { engine, reader }, recovered))
    }
}

impl Engine {
    /// Writes a group of batches in one transaction. Answers for the first so many: the others are to be given again.
    pub fn commit(&mut self, now: Millis, group: &[Batch]) -> Result<Vec<Done>, StoreError> {
        self.engine.commit(now, group)
    }

    /// One bounded step of wiping, retention and resealing. True: there is more to do.
    pub fn housekeep(&mut self, now: Millis) -> Result<bool, StoreError> {
        self.engine.housekeep(now)
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

    /// Does this report stand in the outbox?
    pub fn is_waiting(&self, report: ReportKey) -> Result<bool, ReadError> {
        self.reader.is_waiting(report)
    }

    pub fn reports_of(&self, key: ChallengeKey) -> Result<Vec<OutboxReport>, ReadError> {
        self.reader.reports_of(key, 0)
    }

    /// Messages of carriers that nothing has been made of yet.
    pub fn held_messages(&self) -> Result<usize, ReadError> {
        self.reader.held_messages()
    }
}
