//! The one thread that writes: takes what waits, writes it in one transaction, says that it is durable.
//!
//! A transaction that fails for the disk's sake is rolled back and tried again, for ever and ever slower, with
//! everything in it; until it succeeds the ledger says that it is not well. Nothing is answered before it is durable.

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::{
    Batch, Done, Op, OpenError, Work,
    apply::{RowCodec, Statements},
    ending::{Ending, Unwritten},
    files::{Astray, Files},
    keys, limiter, mark,
    retention::{self, Retention},
    schema::{self, Lock},
    seal::Keyring,
};
use crate::{challenge::Millis, clock, config::settings::LedgerKey};

pub(super) struct Writer {
    pub path: PathBuf,
    pub conn: Connection,
    pub files: RefCell<Files>,
    /// Held until the thread ends.
    pub _lock: Lock,
    pub ring: Arc<ArcSwap<Keyring>>,
    pub owner: Arc<str>,
    pub epoch: i64,
    pub retention: retention::Settings,
    pub done: mpsc::UnboundedSender<Done>,
    pub trouble: Arc<ArcSwapOption<String>>,
    pub pulse: Arc<Pulse>,
    pub ending: Arc<Ending>,
    #[cfg(test)]
    pub fault: Arc<Fault>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Files(Astray),
}

impl Writer {
    pub fn start(
        self,
        todo: mpsc::Receiver<Work>,
        mark: mark::Keeper,
        tally: mark::Tally,
    ) -> Result<(), OpenError> {
        let file = |source| OpenError::File {
            path: self.path.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(file)?;
        self.conn
            .busy_timeout(BUSY)
            .map_err(|e| schema::sqlite(&self.path, e))?;
        let early = retention::any_early(&self.conn).map_err(|e| schema::sqlite(&self.path, e))?;
        let mut codec = RowCodec::new(self.ring.load_full(), self.owner.clone(), self.epoch, early)
            .map_err(|e| OpenError::File {
                path: self.path.clone(),
                source: std::io::Error::other(e),
            })?;
        codec.tally = tally;
        let path = self.path.clone();
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                let closed = self.run(codec, mark, todo, &runtime);
                if let Some(reply) = closed {
                    // Whoever closed may have stopped waiting.
                    let _ = reply.send(());
                }
            })
            .map_err(|source| OpenError::File { path, source })?;
        Ok(())
    }

    /// Until closed, or until every handle is gone. Returns whom to tell, after file and lock are free.
    fn run(
        self,
        codec: RowCodec,
        mark: mark::Keeper,
        mut todo: mpsc::Receiver<Work>,
        runtime: &tokio::runtime::Runtime,
    ) -> Option<oneshot::Sender<()>> {
        let (mut group, mut closing) = (Vec::new(), None);
        let worked = self.work(codec, mark, &mut todo, runtime, &mut group, &mut closing);
        if worked.is_none() {
            self.leave(&group, &mut todo, &mut closing);
        }
        // All in one file: who copies it after a clean end has everything. A reader in the way leaves the WAL, which is
        // as good for us.
        if worked.is_some() {
            let _ = self
                .conn
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        closing
    }

    /// Gives up what can't be written, and counts it.
    fn leave(
        &self,
        group: &[Batch],
        todo: &mut mpsc::Receiver<Work>,
        closing: &mut Option<oneshot::Sender<()>>,
    ) {
        let reason = self.trouble.load_full();
        let mut unwritten = Unwritten {
            reason: reason.map_or_else(String::new, |reason| reason.as_ref().clone()),
            ..Unwritten::default()
        };
        group.iter().for_each(|batch| unwritten.add(batch));
        todo.close();
        while let Ok(work) = todo.try_recv() {
            match work {
                Work::Batch(batch) => unwritten.add(&batch),
                Work::Close { reply } => *closing = Some(reply),
                Work::Retention { .. } | Work::Rotate { .. } | Work::Retain(..) => {}
            }
        }
        if !self.ending.is_asked() {
            // Nobody else will say it.
            tracing::error!("{unwritten}");
        }
        self.ending.left(unwritten);
    }

    /// None: given up.
    fn work(
        &self,
        mut codec: RowCodec,
        mut mark: mark::Keeper,
        todo: &mut mpsc::Receiver<Work>,
        runtime: &tokio::runtime::Runtime,
        group: &mut Vec<Batch>,
        closing: &mut Option<oneshot::Sender<()>>,
    ) -> Option<()> {
        let mut retention_pass = Retention::new(&self.conn, &self.retention);
        let mut statements = self.patiently(todo, || Ok(Statements::new(&self.conn)?))?;
        let mut next_house = Instant::now();
        loop {
            let house_in = next_house.saturating_duration_since(Instant::now());
            let wait = mark.wait().map_or(house_in, |stamp| stamp.min(house_in));
            let first = match todo.try_recv() {
                Ok(work) => Some(work),
                Err(_) => match runtime
                    .block_on(async { tokio::time::timeout(wait, todo.recv()).await })
                {
                    Ok(Some(work)) => Some(work),
                    Ok(None) => break,
                    Err(_) => None,
                },
            };
            let other = gather(first, todo, group);
            if !group.is_empty() {
                self.write(todo, &mut statements, &mut codec, &mut mark, group)?;
            }
            match other {
                None => {}
                Some(Work::Retention { now, reply }) => {
                    let busy = self.housekeep(todo, &mut retention_pass, &mut codec, now)?;
                    let _ = reply.send(busy);
                }
                Some(Work::Rotate { keys, reply }) => {
                    let _ = reply.send(self.rotate(&mut codec, &mut retention_pass, &keys));
                }
                Some(Work::Retain(retention, outcomes)) => {
                    retention_pass.retain(retention, outcomes)
                }
                Some(Work::Close { reply }) => {
                    *closing = Some(reply);
                    todo.close();
                }
                Some(Work::Batch(batch)) => group.push(batch),
            }
            if mark.overdue() {
                self.stamp(todo, &mut codec, &mut mark)?;
            }
            if self.files.borrow().due() {
                self.patiently(todo, || self.examine_files())?;
            }
            if Instant::now() >= next_house {
                let busy = self.housekeep(todo, &mut retention_pass, &mut codec, clock::now())?;
                next_house = Instant::now() + if busy { HOUSE_BUSY } else { HOUSE_IDLE };
            }
        }
        if mark.behind() {
            self.stamp(todo, &mut codec, &mut mark)?;
        }
        Some(())
    }

    fn write(
        &self,
        todo: &mpsc::Receiver<Work>,
        statements: &mut Statements<'_>,
        codec: &mut RowCodec,
        mark: &mut mark::Keeper,
        group: &mut Vec<Batch>,
    ) -> Option<()> {
        let before = codec.tally;
        let stamped = mark.due();
        let dones = self.patiently(todo, || {
            codec.now = clock::now();
            self.transaction(|| {
                let dones = group
                    .iter()
                    .map(|batch| statements.batch(codec, batch))
                    .collect::<Result<Vec<_>, _>>()?;
                if stamped {
                    mark::stamp(&self.conn, &mut codec.tally)?;
                }
                Ok(dones)
            })
            .inspect_err(|_| {
                codec.tally = before;
                release(group);
            })
        })?;
        group.clear();
        for done in dones {
            // Nobody asks any more: the process is ending, and what is durable stays so.
            let _ = self.done.send(done);
        }
        match stamped {
            true => mark.keep(codec.tally),
            false => mark.committed(),
        }
        Some(())
    }

    /// A commit for the stamp's own sake: nothing has come that could carry it.
    fn stamp(
        &self,
        todo: &mpsc::Receiver<Work>,
        codec: &mut RowCodec,
        mark: &mut mark::Keeper,
    ) -> Option<()> {
        let before = codec.tally;
        self.patiently(todo, || {
            codec.tally = before;
            self.transaction(|| mark::stamp(&self.conn, &mut codec.tally))
        })?;
        mark.keep(codec.tally);
        Some(())
    }

    fn housekeep(
        &self,
        todo: &mpsc::Receiver<Work>,
        retention_pass: &mut Retention,
        codec: &mut RowCodec,
        now: Millis,
    ) -> Option<bool> {
        if !retention_pass.has_work(&self.conn, codec, now) {
            return Some(false);
        }
        self.patiently(todo, || {
            let before = retention_pass.clone();
            self.unsynced(|| self.transaction(|| retention_pass.step(&self.conn, codec, now)))
                .inspect_err(|_| *retention_pass = before)
        })
    }

    /// A loss of power may take back what is written here, and it is done again: the disk need not be waited for. What is
    /// committed afterwards is synced with it.
    fn unsynced<T>(&self, what: impl FnOnce() -> Result<T, Hindrance>) -> Result<T, Hindrance> {
        self.conn.pragma_update(None, "synchronous", "NORMAL")?;
        let result = what();
        // First of all: no batch may be committed without.
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        result
    }

    /// All or nothing. What was committed into a file that nobody will find again was not: it is done again, as after a
    /// commit whose success was not told.
    fn transaction<T>(&self, what: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, Hindrance> {
        self.examine_files()?;
        self.pulse.begins();
        let result = self.all_or_nothing(what);
        self.pulse.ends();
        let value = result?;
        self.examine_files()?;
        Ok(value)
    }

    fn examine_files(&self) -> Result<(), Hindrance> {
        let mut files = self.files.borrow_mut();
        files.examine(&self.conn).map_err(Hindrance::Files)
    }

    fn all_or_nothing<T>(&self, what: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        #[cfg(test)]
        self.fault.inject(&self.conn)?;
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let result = what().and_then(|value| {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            Ok(value)
        });
        if result.is_err() && !self.conn.is_autocommit() {
            // If even this fails, the next BEGIN does too, and the error stays in sight.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        result
    }

    /// Again and again until it succeeds. None: it didn't, and nobody is left to wait for it.
    fn patiently<T>(
        &self,
        todo: &mpsc::Receiver<Work>,
        mut what: impl FnMut() -> Result<T, Hindrance>,
    ) -> Option<T> {
        let mut pause = RETRY_FIRST;
        let mut alone_since = None;
        loop {
            let error = match what() {
                Ok(value) => {
                    if self.trouble.swap(None).is_some() {
                        tracing::info!(file = %self.path.display(), "the ledger writes again");
                    }
                    return Some(value);
                }
                Err(error) => error,
            };
            let reason = match &error {
                Hindrance::Sqlite(error) => {
                    let path = self.path.display();
                    match error.sqlite_error_code() {
                        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!(
                            "{path}: {error}; see `ringback ledger check`, stop the gateway and bring the right file back"
                        ),
                        _ => format!("{path}: {error}"),
                    }
                }
                // Names the file.
                Hindrance::Files(astray) => astray.to_string(),
            };
            let before = self.trouble.swap(Some(Arc::new(reason.clone())));
            if before.is_none_or(|b| *b != reason) {
                tracing::error!(
                    reason,
                    "the ledger can't write; jobs are not acked until it can"
                );
            }
            let mut patience = Duration::MAX;
            if todo.is_closed() || self.ending.is_asked() {
                let since = *alone_since.get_or_insert_with(Instant::now);
                patience = LAST_PATIENCE.saturating_sub(since.elapsed());
                if patience.is_zero() {
                    return None;
                }
            }
            std::thread::sleep(pause.min(patience));
            // A lock is let go of at any moment, and waiting for it is part of the try.
            let most = match &error {
                Hindrance::Sqlite(error) => match error.sqlite_error_code() {
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => RETRY_BUSY,
                    _ => RETRY_MOST,
                },
                Hindrance::Files(_) => RETRY_FILES,
            };
            pause = (pause * 2).min(most);
        }
    }

    fn rotate(
        &self,
        codec: &mut RowCodec,
        retention_pass: &mut Retention,
        configured: &[LedgerKey],
    ) -> Result<(), OpenError> {
        let masters = keys::read(&self.conn, &self.path, configured)?;
        let ring = Arc::new(keys::register(&self.conn, &self.path, masters)?);
        limiter::secret(&self.conn, &self.path, &ring)?;
        let new = RowCodec::new(ring.clone(), self.owner.clone(), self.epoch, codec.early)
            .map_err(|e| OpenError::Key {
                id: "first".into(),
                reason: e.to_string(),
            })?;
        let tally = codec.tally;
        *codec = new;
        codec.tally = tally;
        // Readers first know the new key, then rows are sealed with it.
        self.ring.store(ring);
        retention_pass.reseal();
        Ok(())
    }
}

/// Rolled back: whoever waits for one of these may give up until the next try.
fn release(group: &[Batch]) {
    for op in group.iter().flat_map(|batch| &batch.ops) {
        let claim = match op {
            Op::Accept(new) => new.claim.as_ref(),
            Op::Early(control) => control.claim.as_ref(),
            Op::Overlay { order, .. } => order.as_ref().map(|order| &order.claim),
            _ => None,
        };
        if let Some(claim) = claim {
            claim.rolled_back();
        }
    }
}

/// Since when the present transaction has been going on: a disk that stalls gives no error.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Pulse(std::sync::Mutex<Option<Instant>>);

impl Pulse {
    fn begins(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn ends(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long it has taken so far, if that is too long.
    pub fn stalled(&self) -> Option<Duration> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since
            .map(|at| at.elapsed())
            .filter(|so_far| *so_far > STALL)
    }
}

/// Takes what waits, up to the bound of a group, and stops at the first work that is no batch.
fn gather(
    first: Option<Work>,
    todo: &mut mpsc::Receiver<Work>,
    group: &mut Vec<Batch>,
) -> Option<Work> {
    let mut ops = 0;
    let mut next = first;
    loop {
        match next {
            Some(Work::Batch(batch)) => {
                ops += batch.ops.len();
                group.push(batch);
            }
            other => return other,
        }
        if ops >= GROUP_OPS {
            return None;
        }
        next = todo.try_recv().ok();
    }
}

/// Makes the disk full, for tests: the bound on the file's pages, set before each transaction where it has changed.
#[cfg(test)]
#[derive(Default)]
pub(in crate::ledger) struct Fault {
    pub max_pages: std::sync::atomic::AtomicI64,
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

/// Bound of ops in one transaction, give or take a batch: what waits longer than its commit waits for the next.
const GROUP_OPS: usize = 4_096;
const HOUSE_BUSY: Duration = Duration::from_millis(25);
const HOUSE_IDLE: Duration = Duration::from_secs(1);
/// Another program may hold the file for a moment (`sqlite3`, a backup); longer than this, and it is said.
const BUSY: Duration = Duration::from_millis(500);
/// A transaction that takes so long makes the ledger unwell.
const STALL: Duration = Duration::from_millis(800);
const RETRY_BUSY: Duration = Duration::from_millis(100);
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// To look at files costs nothing, and they may come back at any moment.
const RETRY_FILES: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(2);
/// How long a ledger that can't be written is tried again when the process is ending.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
