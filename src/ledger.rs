//! Ledger: what is durable. Everything personal in it is sealed.
//!
//! Dispatch speaks to it in [`Batch`]es: a list of [`Op`]s that become durable together, answered in order on one
//! channel. Many batches share one commit (group commit), so durability costs milliseconds, not throughput. A batch
//! that can't be written (disk full) is tried again until it can; meanwhile nothing is acked and `/readyz` is false.
//!
//! What a challenge's life looks like is the business of `delivery`; here it is an opaque sealed octet string. Sealing,
//! grouping, patience and answers are the same over every store; the store (`store`) keeps sealed rows and knows nothing of
//! what is in them.
//!
//! # For the operator
//!
//! The ledger is one SQLite file with its `-wal` and `-shm` beside it, a `.lock` (one process at a time), a `.mark` (what
//! was durable a second ago: a start that finds less refuses) and, where no keys are configured, a `.key`. It may be looked at while the gateway runs:
//!
//! ```text
//! sqlite3 -readonly data/ringback.db 'SELECT count(*), sum(ended IS NULL) FROM challenges'
//! sqlite3 -readonly data/ringback.db 'SELECT route, count(*) FROM outbox GROUP BY route'
//! sqlite3 -readonly data/ringback.db 'SELECT number, id, sealed FROM keys'
//! ```
//!
//! In clear stand keys, times, the node's name, the queues and routing keys of waiting reports, and what was told after
//! a final; tenant, id, number, code, text, meta and what carriers have brought are sealed. A backup is `sqlite3 data/ringback.db ".backup copy.db"` (never `cp` of a file in
//! use) and, kept apart from it, the key: without its key a copy is worth nothing. A restored copy repeats what was
//! open when it was made, and is older than the mark: remove the `.mark` to say that this file is meant. To change the key, put the new one first in `[ledger] keys` and leave the old one behind it:
//! rows are sealed anew in the background. The old key may go when `keys` no longer shows it as `sealed`; references
//! of carriers stay under the key that wrote them until retention has passed, and late receipts need it until then.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::{
    admission::Limits,
    challenge::{AttemptKey, ChallengeKey, Millis},
    clock::{self, Term},
    config::{
        secret::SecretError,
        settings::{LedgerKey, LedgerSettings},
    },
    number::written::Tail,
};

mod claim;
mod codec;
mod content;
mod ending;
mod engine;
mod errors;
mod group;
pub mod in_memory;
mod keys;
mod letters;
mod limiter;
mod nodes;
mod pack;
mod read;
mod records;
mod recover;
mod rows;
mod seal;
mod store;
mod types;
mod writer;

#[cfg(test)]
mod conformance;

pub use claim::{Claim, Waiting};
pub use content::Content;
pub use ending::Unwritten;
pub use errors::{Gone, ReadError};
pub use letters::LetterOpener;
pub use nodes::{NodeNews, NodeStanding, NodeState, TakenOver};
pub use recover::{Recovered, UnterminatedCall};
pub use store::{
    postgres::status as database,
    sqlite::{Missing, check},
};
pub use types::*;

/// The handle: cheap to clone, one ledger behind all of them. The writer ends when the last one is dropped and all
/// that was submitted is durable; [`Ledger::close`] waits for that.
#[derive(Clone)]
pub struct Ledger {
    work: mpsc::Sender<Work>,
    reader: Arc<read::Reader>,
    signs: writer::Signs,
    term: Term,
    nodes: Option<Arc<nodes::Nodes>>,
    /// By which nodes that have the same ledger know it.
    common: Option<Arc<str>>,
}

/// Where each batch's [`Done`] arrives, in the order in which the batches were given. It holds no more than was
/// submitted and not yet received, so its bound is the submitter's.
pub type DoneReceiver = mpsc::UnboundedReceiver<Done>;

impl Ledger {
    /// Opens the ledger, or makes it, and takes it for this process. Blocks for the time of a few file accesses, and of
    /// reading what counts in these limits.
    pub fn open(
        settings: &LedgerSettings,
        node: &str,
        limits: &Limits,
        wipe: Wipe,
    ) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
        let store: Box<dyn store::Store> = match settings.database() {
            None => Box::new(store::sqlite::Sqlite::open(settings, node)?),
            Some(url) => Box::new(store::postgres::Postgres::open(
                &url?,
                settings.name(),
                node,
            )?),
        };
        Ledger::over(store, settings, limits, wipe)
    }

    /// Over a store that is open for this process, and a writer of its own.
    fn over(
        store: Box<dyn store::Store>,
        settings: &LedgerSettings,
        limits: &Limits,
        wipe: Wipe,
    ) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
        let path = settings.name();
        let keeping = Keeping {
            wipe,
            retention: settings.retention,
            outcomes: settings.outcomes,
        };
        let masters = keys::read(|| store.keys(), settings.path(), &settings.keys)?;
        let failed = |source| OpenError::of(path, source);
        let asked = clock::Now::read().mono;
        let (mut engine, ring, mut recovered) =
            engine::Engine::begin(store, path, masters, keeping)?;
        engine
            .count_arrivals(limits, clock::now(), &mut recovered)
            .map_err(failed)?;
        let rows = engine.store.reader().map_err(failed)?;
        let ring = Arc::new(ArcSwap::new(ring));
        let reader = Arc::new(read::Reader::new(rows, ring.clone()));
        let signs = writer::Signs::default();
        let beside = engine.store.nodes();
        let term = match &beside {
            Some(_) => Term::begun(asked),
            None => Term::endless(),
        };
        let nodes = match beside {
            None => None,
            Some(store) => {
                let watch = nodes::Watch {
                    path: path.to_path_buf(),
                    owner: engine.group.owner,
                    store,
                    rows: engine.store.reader().map_err(failed)?,
                    ring: ring.clone(),
                    term: term.clone(),
                };
                let started = nodes::Nodes::start(watch);
                let started = started.map_err(|source| OpenError::File {
                    path: path.to_path_buf(),
                    source,
                })?;
                Some(Arc::new(started))
            }
        };
        let (work, todo) = mpsc::channel(BATCHES);
        let (done, receiver) = mpsc::unbounded_channel();
        let writer = writer::Writer {
            path: path.to_path_buf(),
            engine,
            ring,
            done,
            signs: signs.clone(),
            term: term.clone(),
        };
        writer.start(todo)?;
        let ledger = Ledger {
            work,
            reader,
            signs,
            term,
            common: nodes.as_ref().map(|_| limiter::mark(&recovered.limiter)),
            nodes,
        };
        Ok((ledger, receiver, recovered))
    }

    /// Gives a batch to the writer; waits while [`BATCHES`] are waiting. Receiving `Done`s need not go on meanwhile.
    pub async fn submit(&self, batch: Batch) -> Result<(), Gone> {
        self.work.send(Work::Batch(batch)).await.map_err(|_| Gone)
    }

    /// Like [`Ledger::submit`], but gives the batch back instead of waiting.
    pub fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        self.work.try_send(Work::Batch(batch)).map_err(|refused| {
            match refused.into_inner() {
                Work::Batch(batch) => batch,
                // Only what was sent comes back.
                Work::Retention { .. }
                | Work::Rotate { .. }
                | Work::Retain(..)
                | Work::Close { .. } => Batch {
                    number: 0,
                    ops: Vec::new(),
                },
            }
        })
    }

    /// Why nothing becomes durable just now, or nothing may be begun, for `/readyz`.
    pub fn healthy(&self) -> Result<(), Unhealthy> {
        match (self.signs.trouble.load_full(), self.signs.pulse.stalled()) {
            (None, None) if self.term.is_held(clock::Now::read().mono) => Ok(()),
            (None, None) => Err(Unhealthy::TermOver),
            (Some(reason), _) => Err(Unhealthy::Refused(reason)),
            (None, Some(since)) => Err(Unhealthy::Stalled(since)),
        }
    }

    /// Takes over changed keys while running: the first seals from now on, older rows are sealed anew by and by. On
    /// an error the keys stay as they were.
    pub async fn rotate(&self, keys: Vec<LedgerKey>) -> Result<(), OpenError> {
        let (reply, answer) = oneshot::channel();
        self.work
            .send(Work::Rotate { keys, reply })
            .await
            .map_err(|_| OpenError::Ended)?;
        answer.await.map_err(|_| OpenError::Ended)?
    }

    /// Another retention, of challenges and of their outcomes, from the next step of housekeeping on.
    pub async fn retain(&self, retention: Duration, outcomes: Duration) -> Result<(), Gone> {
        let told = self.work.send(Work::Retain(retention, outcomes)).await;
        told.map_err(|_| Gone)
    }

    /// One bounded step of wiping, retention and sealing anew, as of `now`; the writer does it by itself about every
    /// second. True: there is more to do.
    pub async fn housekeep(&self, now: Millis) -> Result<bool, Gone> {
        let (reply, answer) = oneshot::channel();
        self.work
            .send(Work::Retention { now, reply })
            .await
            .map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Everything submitted before is durable, the file is closed and free for another process. Other handles are of
    /// no use afterwards. A ledger that can't be written is given a few seconds, and says what was left.
    pub async fn close(self) -> Option<Unwritten> {
        self.signs.ending.ask();
        let (reply, answer) = oneshot::channel();
        if self.work.send(Work::Close { reply }).await.is_ok() {
            // Refused only where the writer is gone: closed as well.
            let _ = answer.await;
        }
        self.signs.ending.unwritten()
    }

    pub async fn find(&self, tenant: &str, id: &str) -> Result<Option<Stored>, ReadError> {
        let (tenant, id): (Arc<str>, Arc<str>) = (tenant.into(), id.into());
        self.read(move |reader| reader.find(&tenant, &id)).await
    }

    pub async fn get(&self, key: ChallengeKey) -> Result<Option<Stored>, ReadError> {
        self.read(move |reader| reader.get(key)).await
    }

    /// The newest challenges, newest first.
    pub async fn newest(&self, limit: usize) -> Result<Vec<Stored>, ReadError> {
        self.read(move |reader| reader.newest(limit)).await
    }

    /// What is remembered of an id after retention, the newest first where it came several times.
    pub async fn outcomes(&self, tenant: &str, id: &str) -> Result<Vec<EndedChallenge>, ReadError> {
        let (tenant, id): (Arc<str>, Arc<str>) = (tenant.into(), id.into());
        self.read(move |reader| reader.outcomes(&tenant, &id)).await
    }

    /// Which attempt a carrier's reference belongs to, also after the end, until retention: the newest, where it has
    /// several.
    pub async fn find_reference(
        &self,
        carrier: &str,
        reference: &str,
    ) -> Result<Option<AttemptKey>, ReadError> {
        let (_, found) = self
            .find_references(carrier.into(), vec![reference.into()], Vec::new())
            .await?;
        Ok(found.first().map(|referred| referred.key))
    }

    /// Where the first of these forms of a reference leads that leads anywhere, with its place among them: the newest
    /// first, at most 64. `phones`: what is asked about.
    pub async fn find_references(
        &self,
        carrier: Arc<str>,
        forms: Vec<Arc<str>>,
        phones: Vec<Tail>,
    ) -> Result<(usize, Vec<Referred>), ReadError> {
        self.read(move |reader| reader.find_references(&carrier, &forms, &phones))
            .await
    }

    /// Whom a receipt may mean, with what is kept of each.
    pub async fn whose(&self, whose: Whose) -> Result<Candidates, ReadError> {
        self.read(move |reader| reader.whose(&whose)).await
    }

    /// A cancel or feedback remembered for an id. It stays until its time is over: reading it again does no harm.
    pub async fn early_word(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<ControlMessage>, ReadError> {
        let (tenant, id): (Arc<str>, Arc<str>) = (tenant.into(), id.into());
        self.read(move |reader| reader.early_word(&tenant, &id))
            .await
    }

    /// Reports that wait to be published, by key, after `after`; never those kept for HTTP.
    pub async fn pending_reports(
        &self,
        after: ReportKey,
        limit: usize,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        self.read(move |reader| reader.pending_reports(after, limit))
            .await
    }

    /// Reports that wait to be published, and how many of them have since these moments.
    pub async fn pending(&self, before: [Millis; AGES]) -> Result<Pending, ReadError> {
        self.read(move |reader| reader.pending(before)).await
    }

    /// The newest audit records of the overlay, newest first.
    pub async fn audit(&self, limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        self.read(move |reader| reader.audit(limit)).await
    }

    /// The reports of a challenge that are kept for HTTP, by `seq`, after `after_seq`.
    pub async fn reports_of(
        &self,
        key: ChallengeKey,
        after_seq: u32,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        self.read(move |reader| reader.reports_of(key, after_seq))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&read::Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || what(&reader))
            .await
            .map_err(|_| ReadError::Gone)?
    }
}

/// What the writer is asked.
enum Work {
    Batch(Batch),
    Retention {
        now: Millis,
        reply: oneshot::Sender<bool>,
    },
    Rotate {
        keys: Vec<LedgerKey>,
        reply: oneshot::Sender<Result<(), OpenError>>,
    },
    Retain(Duration, Duration),
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// Why a ledger can't be opened (exit 2, or 1 where it [may pass](OpenError::may_pass)) or a new key not be taken. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no address where it was looked for.
    #[error("the ledger's address: {0}")]
    Address(#[from] SecretError),
    #[error("{}: no key has sealed anything there; is it the ledger of the gateway that wrote it?", .0.display())]
    NothingSealed(PathBuf),
    #[error("{}: in use by another process; each gateway needs a ledger of its own", .0.display())]
    InUse(PathBuf),
    #[error("{}: another process has the name {node} there; give each gateway its own in [node] name", path.display())]
    NameInUse { path: PathBuf, node: String },
    #[error("{}: made by a newer ringback (version {found}, this one knows {newest}); run that one", path.display())]
    Newer {
        path: PathBuf,
        found: i64,
        newest: i64,
    },
    #[error("{}: a database, but not a ledger of ringback; name another file in [ledger] url", .0.display())]
    Foreign(PathBuf),
    #[error("{}: key {id} is not the one that sealed it; give the right one in [ledger] keys", path.display())]
    WrongKey { path: PathBuf, id: String },
    #[error("{}: sealed by key {id}, which is not there; add it to [ledger] keys, or bring its file back", path.display())]
    MissingKey { path: PathBuf, id: String },
    #[error("{}: {missing}; bring the right file back, with its -wal, or set on_loss = \"continue\" in [ledger] {}", path.display(), missing.remedy())]
    Missing {
        path: PathBuf,
        missing: Box<Missing>,
    },
    #[error("ledger key {id}: {reason}")]
    Key { id: String, reason: String },
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Store { path: PathBuf, source: StoreError },
    #[error("the ledger is closed")]
    Ended,
}

impl OpenError {
    /// What the store under this path says.
    fn of(path: &Path, source: StoreError) -> OpenError {
        OpenError::Store {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Nothing in the configuration is wrong: the disk is full or can't be written, or somebody else has the file for a
    /// while. Another start may go well.
    pub fn may_pass(&self) -> bool {
        use std::io::ErrorKind as Kind;
        match self {
            OpenError::File { source, .. } => matches!(
                source.kind(),
                Kind::StorageFull
                    | Kind::QuotaExceeded
                    | Kind::ReadOnlyFilesystem
                    | Kind::ResourceBusy
                    | Kind::TimedOut
            ),
            OpenError::Store { source, .. } => matches!(
                source.kind,
                StoreErrorKind::Busy | StoreErrorKind::Unavailable
            ),
            OpenError::Address(_)
            | OpenError::NothingSealed(_)
            | OpenError::InUse(_)
            | OpenError::NameInUse { .. }
            | OpenError::Newer { .. }
            | OpenError::Foreign(_)
            | OpenError::WrongKey { .. }
            | OpenError::MissingKey { .. }
            | OpenError::Missing { .. }
            | OpenError::Key { .. }
            | OpenError::Ended => false,
        }
    }
}

/// Bound of batches waiting for the writer: beyond it dispatch waits.
pub const BATCHES: usize = 64;
