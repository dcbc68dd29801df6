//! The one thread that writes: takes what waits, gives it to the engine in one group, says that it is durable.
//!
//! A group that fails for the store's sake is tried again, for ever and ever slower, with everything in it; until it
//! succeeds the ledger says that it is not well. A batch that the database refuses for what is in it is left out, and said. Nothing is answered before it is durable.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot};

use super::{
    Batch, Done, OpenError, StoreError, StoreErrorKind, Work,
    ending::{Ending, Unwritten},
    engine::Engine,
    keys,
    seal::Keyring,
};
use crate::{
    challenge::Millis,
    clock::{self, Term},
    config::settings::LedgerKey,
};

pub(super) struct Writer {
    pub path: PathBuf,
    pub engine: Engine,
    pub ring: Arc<ArcSwap<Keyring>>,
    pub done: mpsc::UnboundedSender<Done>,
    pub signs: Signs,
    pub term: Term,
}

/// What the handles see of the writer.
#[derive(Clone, Default)]
pub(super) struct Signs {
    pub trouble: Arc<ArcSwapOption<String>>,
    pub pulse: Arc<Pulse>,
    pub ending: Arc<Ending>,
}

impl Writer {
    pub fn start(self, todo: mpsc::Receiver<Work>) -> Result<(), OpenError> {
        let path = self.path.clone();
        let file = |source| OpenError::File {
            path: path.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(file)?;
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                let closed = self.run(todo, &runtime);
                if let Some(reply) = closed {
                    // Whoever closed may have stopped waiting.
                    let _ = reply.send(());
                }
            })
            .map_err(file)?;
        Ok(())
    }

    /// Until closed, or until every handle is gone. Returns whom to tell, after the store is free.
    fn run(
        mut self,
        mut todo: mpsc::Receiver<Work>,
        runtime: &tokio::runtime::Runtime,
    ) -> Option<oneshot::Sender<()>> {
        let (mut group, mut closing) = (Vec::new(), None);
        let worked = self.work(&mut todo, runtime, &mut group, &mut closing);
        if worked.is_none() {
            self.leave(&group, &mut todo, &mut closing);
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
        let Signs {
            trouble, ending, ..
        } = &self.signs;
        let reason = trouble.load_full();
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
        if !ending.is_asked() {
            // Nobody else will say it.
            tracing::error!("{unwritten}");
        }
        ending.left(unwritten);
    }

    /// None: given up.
    fn work(
        &mut self,
        todo: &mut mpsc::Receiver<Work>,
        runtime: &tokio::runtime::Runtime,
        group: &mut Vec<Batch>,
        closing: &mut Option<oneshot::Sender<()>>,
    ) -> Option<()> {
        let mut next_house = Instant::now();
        loop {
            let house_in = next_house.saturating_duration_since(Instant::now());
            let upkeep_in = self.engine.store.upkeep_in();
            let wait = upkeep_in.map_or(house_in, |upkeep| upkeep.min(house_in));
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
            let mut other = gather(first, todo, group);
            if let Some(Work::Close { reply }) = other {
                // Before the rest is written: whoever asked for the end hears what was left, also where nothing can be.
                *closing = Some(reply);
                todo.close();
                other = None;
            }
            if !group.is_empty() {
                self.write(todo, group)?;
            }
            if let Some(other) = other {
                self.other(todo, group, closing, other)?;
            }
            let pulse = self.signs.pulse.clone();
            self.patiently(todo, |engine| pulse.during(|| engine.store.upkeep()))?;
            if Instant::now() >= next_house {
                let busy = self.housekeep(todo, clock::now())?;
                next_house = Instant::now() + if busy { HOUSE_BUSY } else { HOUSE_IDLE };
            }
        }
        self.patiently(todo, |engine| engine.store.finish())
    }

    /// What is no batch.
    fn other(
        &mut self,
        todo: &mut mpsc::Receiver<Work>,
        group: &mut Vec<Batch>,
        closing: &mut Option<oneshot::Sender<()>>,
        work: Work,
    ) -> Option<()> {
        match work {
            Work::Retention { now, reply } => {
                let busy = self.housekeep(todo, now)?;
                let _ = reply.send(busy);
            }
            Work::Rotate { keys, reply } => {
                let _ = reply.send(self.rotate(&keys));
            }
            Work::Retain(retention, outcomes) => {
                self.engine.keeping.retention = retention;
                self.engine.keeping.outcomes = outcomes;
            }
            Work::Close { reply } => *closing = Some(reply),
            Work::Batch(batch) => group.push(batch),
        }
        Some(())
    }

    fn write(&mut self, todo: &mpsc::Receiver<Work>, group: &mut Vec<Batch>) -> Option<()> {
        let pulse = self.signs.pulse.clone();
        let term = self.term.clone();
        let mut mark = term.mark();
        while !group.is_empty() {
            let dones = self.patiently(todo, |engine| {
                // Of the try that took effect: one whose answer was lost may have.
                if !engine.is_in_doubt() {
                    mark = term.mark();
                }
                pulse.during(|| engine.commit(clock::now(), group))
            })?;
            group.drain(..dones.len());
            for mut done in dones {
                done.term = mark;
                // Nobody asks any more: the process is ending, and what is durable stays so.
                let _ = self.done.send(done);
            }
        }
        Some(())
    }

    fn housekeep(&mut self, todo: &mpsc::Receiver<Work>, now: Millis) -> Option<bool> {
        let pulse = self.signs.pulse.clone();
        self.patiently(todo, |engine| pulse.during(|| engine.housekeep(now)))
    }

    /// Again and again until it succeeds. None: it didn't, and nobody is left to wait for it.
    fn patiently<T>(
        &mut self,
        todo: &mpsc::Receiver<Work>,
        mut what: impl FnMut(&mut Engine) -> Result<T, StoreError>,
    ) -> Option<T> {
        let Signs {
            trouble, ending, ..
        } = &self.signs;
        let mut pause = RETRY_FIRST;
        let mut alone_since = None;
        loop {
            let error = match what(&mut self.engine) {
                Ok(value) => {
                    if trouble.load().is_some() && trouble.swap(None).is_some() {
                        tracing::info!(file = %self.path.display(), "the ledger writes again");
                    }
                    return Some(value);
                }
                Err(error) => error,
            };
            let (reason, most) = self.told(&error);
            let before = trouble.swap(Some(Arc::new(reason.clone())));
            if before.is_none_or(|b| *b != reason) {
                tracing::error!(
                    reason,
                    "the ledger can't write; jobs are not acked until it can"
                );
            }
            let mut patience = Duration::MAX;
            if todo.is_closed() || ending.is_asked() {
                let since = *alone_since.get_or_insert_with(Instant::now);
                patience = LAST_PATIENCE.saturating_sub(since.elapsed());
                if patience.is_zero() {
                    return None;
                }
            }
            std::thread::sleep(pause.min(patience));
            pause = (pause * 2).min(most);
        }
    }

    /// An error in the operator's language, and how long at most is waited until the next try.
    fn told(&self, error: &StoreError) -> (String, Duration) {
        let path = self.path.display();
        match error.kind {
            // Names the file.
            StoreErrorKind::Misplaced => (error.reason.clone(), RETRY_FILES),
            // A lock is let go of at any moment, and waiting for it is part of the try.
            StoreErrorKind::Busy | StoreErrorKind::InDoubt => {
                (format!("{path}: {error}"), RETRY_BUSY)
            }
            StoreErrorKind::Damaged | StoreErrorKind::NotADatabase => {
                let reason = format!(
                    "{path}: {error}; see `ringback ledger check`, stop the gateway and bring the right file back"
                );
                (reason, RETRY_MOST)
            }
            StoreErrorKind::Unavailable | StoreErrorKind::Data | StoreErrorKind::Other => {
                (format!("{path}: {error}"), RETRY_MOST)
            }
        }
    }

    fn rotate(&mut self, configured: &[LedgerKey]) -> Result<(), OpenError> {
        let masters = keys::read(|| self.engine.store.keys(), &self.path, configured)?;
        // Readers first know the new key, then rows are sealed with it.
        let ring = &self.ring;
        self.engine
            .rotate(&self.path, masters, |new| ring.store(new))
    }
}

/// Since when the present transaction has been going on: a disk that stalls gives no error.
#[derive(Debug, Default)]
pub(super) struct Pulse(std::sync::Mutex<Option<Instant>>);

impl Pulse {
    fn during<T>(&self, what: impl FnOnce() -> T) -> T {
        self.begins();
        let result = what();
        self.ends();
        result
    }

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

/// Bound of ops in one transaction, give or take a batch: what waits longer than its commit waits for the next.
const GROUP_OPS: usize = 1_024;
const HOUSE_BUSY: Duration = Duration::from_millis(25);
const HOUSE_IDLE: Duration = Duration::from_secs(1);
/// A transaction that takes so long makes the ledger unwell.
const STALL: Duration = Duration::from_millis(800);
const RETRY_BUSY: Duration = Duration::from_millis(100);
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// To look at files costs nothing, and they may come back at any moment.
const RETRY_FILES: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(2);
/// How long a ledger that can't be written is tried again when the process is ending.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ledger::{
        Keeping, Op,
        conformance::{WIPE, new},
        store::maps::{Maps, Refusal},
    };

    /// The last batch and the end wait together: whoever asked for the end hears what was left, not that nobody answers.
    #[test]
    fn the_end_is_not_forgotten_where_the_last_batch_cannot_be_written() {
        let maps = Maps::default();
        let keeping = Keeping {
            wipe: WIPE,
            retention: Duration::from_secs(3_600),
            outcomes: Duration::ZERO,
        };
        let masters = vec![keys::parse("first", &"07".repeat(32)).unwrap()];
        let store = Box::new(maps.open("gw-1"));
        let begun = Engine::begin(store, Path::new("maps"), masters, keeping);
        let (engine, ring, recovered) = begun.unwrap();
        let (done, _dones) = mpsc::unbounded_channel();
        let mut writer = Writer {
            path: "maps".into(),
            ring: Arc::new(ArcSwap::new(ring)),
            engine,
            done,
            signs: Signs::default(),
            term: Term::endless(),
        };
        let (work, mut todo) = mpsc::channel(2);
        let (reply, mut answer) = oneshot::channel();
        let ops = vec![Op::Accept(new(recovered.first_challenge.0, "a"))];
        assert!(work.try_send(Work::Batch(Batch { number: 1, ops })).is_ok());
        assert!(work.try_send(Work::Close { reply }).is_ok());
        maps.refuse(usize::MAX, Refusal::Nothing);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let (mut group, mut closing) = (Vec::new(), None);
        let worked = writer.work(&mut todo, &runtime.unwrap(), &mut group, &mut closing);
        assert!(worked.is_none() && group.len() == 1, "it was written");
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(closing.is_some());
    }
}
