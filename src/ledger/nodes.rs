//! Beside other nodes: a thread that lets them know that this one lives, takes over what those have left that don't, and
//! brings what others have left for this one. Over connections of its own: a commit that takes long ends no term.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::{
    ChallengeKey, ControlMessage, InboxKey, InboxMessage, ReadError, StoreError, Stored,
    UnterminatedCall,
    group::Owner,
    read::open,
    records::word_of,
    recover::call,
    rows::InboxRow,
    seal::{Keyring, Opener, Part},
    store::{Beat, NodeRow, StoreNodes, StoreReads, TakenRows},
};
use crate::{
    challenge::Millis,
    clock::{self, Mono, Now, TERM, Term},
};

mod handle;
mod judge;
mod shares;
mod view;

use judge::{Judge, Judgement};
use shares::Shares;
use view::Differing;
pub use view::{NodeStanding, NodeState};

/// What this node hears of others.
#[derive(Debug)]
pub enum NodeNews {
    /// So many others live; and this node's part of what all of them share is one of so many, or none (0).
    Others { live: usize, parts: u32 },
    /// What a node that is no longer there had is this one's.
    TakenOver(Box<TakenOver>),
    /// Said at another node of a challenge that is open here.
    Word(ChallengeKey, ControlMessage),
    /// Brought to another node for a challenge that is open here.
    Handed(InboxMessage),
}

/// What was taken over at once.
pub struct TakenOver {
    /// Whose it was.
    pub node: Arc<str>,
    pub challenges: Vec<Stored>,
    pub calls: Vec<UnterminatedCall>,
    pub messages: Vec<InboxMessage>,
    /// So many reports wait for the broker.
    pub reports: u64,
}

private_debug!(TakenOver);

/// What the ledger's handles have of it.
pub(super) struct Nodes {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    /// Where news go, once somebody takes them.
    news: Mutex<Option<mpsc::Sender<NodeNews>>>,
    /// What is said of this node with each beat.
    open: AtomicI64,
    configuration: ArcSwap<String>,
    /// As they stood at the last beat.
    known: ArcSwap<Vec<NodeStanding>>,
}

impl Shared {
    fn news(&self) -> MutexGuard<'_, Option<mpsc::Sender<NodeNews>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own.
pub(super) struct Watch {
    pub path: PathBuf,
    pub owner: Owner,
    pub store: Box<dyn StoreNodes>,
    pub rows: Box<dyn StoreReads>,
    pub ring: Arc<ArcSwap<Keyring>>,
    pub term: Term,
}

impl Nodes {
    /// Beats from now on, for as long as this is kept.
    pub fn start(watch: Watch) -> std::io::Result<Nodes> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::downgrade(&shared);
        let thread = thread::Builder::new()
            .name("ledger-nodes".into())
            .spawn(move || {
                let opener = Opener::new(watch.ring.load_full());
                Run {
                    watch,
                    opener,
                    judge: Judge::default(),
                    done: HashSet::new(),
                    again: HashSet::new(),
                    trouble: None,
                    shares: Shares::default(),
                    others: None,
                    differing: Differing::default(),
                }
                .until_gone(&theirs);
            })?;
        Ok(Nodes {
            shared,
            thread: thread.thread().clone(),
        })
    }

    /// From now on this node takes over what others leave, and is told.
    pub fn attend(&self) -> mpsc::Receiver<NodeNews> {
        let (news, told) = mpsc::channel(NEWS);
        *self.shared.news() = Some(news);
        self.thread.unpark();
        told
    }

    pub fn known(&self) -> Arc<Vec<NodeStanding>> {
        self.shared.known.load_full()
    }

    pub fn says(&self, open: usize) {
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        self.shared.open.store(open, Ordering::Relaxed);
    }

    pub fn configured(&self, hash: String) {
        self.shared.configuration.store(Arc::new(hash));
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

struct Run {
    watch: Watch,
    opener: Opener,
    judge: Judge,
    /// Words and messages that were told: they are found again until they are over.
    done: HashSet<Told>,
    /// Messages that were told once more.
    again: HashSet<i64>,
    trouble: Option<String>,
    shares: Shares,
    /// As was told: how many live, and the parts.
    others: Option<(usize, u32)>,
    differing: Differing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Word(i64, i64, i64),
    Message(i64),
}

impl Run {
    fn until_gone(mut self, shared: &Weak<Shared>) {
        let mut next_beat = now();
        loop {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let asked = now();
            let attends = shared.news().is_some();
            if asked >= next_beat || (attends && self.others.is_none()) {
                next_beat = asked + BEAT;
                if self.beats(&shared).is_none() {
                    return;
                }
            }
            let news = shared.news().clone();
            drop(shared);
            if let Some(news) = &news
                && self.watch.term.is_held(now())
            {
                // Where the database does not answer, the next beat says so.
                let _ = self.errands(news);
            }
            let until_beat = next_beat - now();
            thread::park_timeout(ERRANDS.min(until_beat));
        }
    }

    /// Counts a beat and looks at the others. None: this opening is over.
    fn beats(&mut self, shared: &Shared) -> Option<()> {
        let asked = now();
        let beat = Beat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: shared.configuration.load().as_ref().clone(),
            open: shared.open.load(Ordering::Relaxed),
            parts: i32::try_from(self.shares.parts()).unwrap_or(i32::MAX),
            seen: self.shares.seen(),
        };
        let nodes = match self.watch.store.beat(&beat) {
            Ok(Some(nodes)) => nodes,
            Ok(None) => {
                self.watch.term.over();
                tracing::error!(
                    "another process has this node's name in the ledger: nothing is begun here any more; give each gateway a name of its own in [node] name"
                );
                return None;
            }
            Err(error) => {
                self.said(Err(error));
                return Some(());
            }
        };
        self.said(Ok(()));
        let answered = now();
        if !self.watch.term.is_held(answered) {
            // Its part may be others' by now.
            self.shares.lapsed();
        }
        if self.watch.term.renewed(asked, answered) {
            tracing::warn!(
                "this node was not heard of for a whole term: what it had and had not sent is void, and others may have taken it over"
            );
        }
        let Judgement { live, dead } =
            self.judge
                .look(asked, answered, self.watch.owner.node, &nodes);
        let known = nodes.iter().map(|node| self.standing(node, &live));
        let known: Vec<NodeStanding> = known.collect();
        self.differing.look(&known, answered);
        shared.known.store(Arc::new(known));
        let news = shared.news().clone();
        if let Some(news) = news {
            self.counts(&live, &news);
            let left = self.left_over(&news);
            self.said(left);
            for node in dead {
                let taken = self.takes(&node, &news);
                self.said(taken);
            }
        }
        Some(())
    }

    fn standing(&self, node: &NodeRow, live: &[NodeRow]) -> NodeStanding {
        let is_own = node.number == self.watch.owner.node;
        NodeStanding {
            name: node.name.clone(),
            is_own,
            state: match is_own || live.iter().any(|other| other.number == node.number) {
                true => NodeState::Live,
                false if node.gone => NodeState::Gone,
                false => NodeState::Silent,
            },
            version: node.version.clone(),
            configuration: node.configuration.clone(),
            open: node.open,
            parts: node.parts,
        }
    }

    /// How many share what the carriers allow.
    fn counts(&mut self, live: &[NodeRow], news: &mpsc::Sender<NodeNews>) {
        // What this node says that it uses is what dispatch was told.
        let Ok(room) = news.try_reserve() else {
            return;
        };
        let parts = self.shares.look(self.watch.owner.term, live);
        let others = (live.len(), parts);
        if self.others == Some(others) {
            return;
        }
        room.send(NodeNews::Others {
            live: live.len(),
            parts,
        });
        let before = self.others.replace(others).map_or(0, |(live, _)| live);
        if before != live.len() {
            tracing::info!(others = live.len(), "other nodes that have this ledger");
        }
    }

    /// Takes over what this node has left, bite by bite, as long as there is room for what comes of it.
    fn takes(&mut self, node: &NodeRow, news: &mpsc::Sender<NodeNews>) -> Result<(), StoreError> {
        let (mut challenges, mut calls, mut receipts, mut reports) = (0, 0, 0, 0);
        let ended = loop {
            let Ok(room) = news.try_reserve() else {
                break Ok(());
            };
            if !self.watch.term.is_held(now()) {
                break Ok(());
            }
            let taken = match self.watch.store.take(node, BITE) {
                Ok(taken) if taken.is_nothing() => {
                    self.judge.emptied(node);
                    break Ok(());
                }
                Ok(taken) => taken,
                Err(error) => break Err(error),
            };
            let is_more = taken.is_more;
            let taken = self.opened(node, taken);
            challenges += taken.challenges.len();
            calls += taken.calls.len();
            receipts += taken.messages.len();
            reports += taken.reports;
            room.send(NodeNews::TakenOver(Box::new(taken)));
            if !is_more {
                break Ok(());
            }
        };
        if challenges + calls + receipts > 0 || reports > 0 {
            tracing::warn!(
                node = node.name,
                challenges,
                calls,
                receipts,
                reports,
                "a node is no longer there: this one goes on with what it had"
            );
        }
        ended
    }

    /// Rows that nothing opens are left out, with a word in the log.
    fn opened(&mut self, node: &NodeRow, taken: TakenRows) -> TakenOver {
        self.keys();
        let mut challenges = Vec::with_capacity(taken.challenges.len());
        for row in taken.challenges {
            let key = row.key;
            match open(row, self.watch.rows.as_mut(), &mut self.opener) {
                Ok(stored) => challenges.push(stored),
                Err(error) => self.unreadable("live", key, &error),
            }
        }
        challenges.sort_by_key(|stored| (stored.deadline, stored.key));
        let mut calls = Vec::with_capacity(taken.calls.len());
        for row in taken.calls {
            let key = row.challenge;
            match call(row, &mut self.opener) {
                Ok(call) => calls.push(call),
                Err(error) => self.unreadable("calls", key, &error),
            }
        }
        TakenOver {
            node: node.name.as_str().into(),
            challenges,
            calls,
            messages: self.messages(taken.inbox),
            reports: taken.reports,
        }
    }

    fn messages(&mut self, rows: Vec<InboxRow>) -> Vec<InboxMessage> {
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            match self.opener.open(Part::Inbox, row.key, &row.body) {
                Ok(body) => messages.push(InboxMessage {
                    key: InboxKey(row.key),
                    at: Millis(row.at),
                    body,
                }),
                Err(error) => self.unreadable("inbox", row.key, &error.into()),
            }
        }
        messages
    }

    fn unreadable(&self, table: &str, key: i64, error: &ReadError) {
        let file = self.watch.path.display();
        tracing::error!(table, key, %file, %error, "a row that another node has left can't be opened and is left alone");
    }

    /// The keys may have changed.
    fn keys(&mut self) {
        let ring = self.watch.ring.load_full();
        if !Arc::ptr_eq(&ring, &self.opener.ring) {
            self.opener = Opener::new(ring);
        }
    }

    /// What others have left for this node's challenges, once each.
    fn errands(&mut self, news: &mpsc::Sender<NodeNews>) -> Result<(), StoreError> {
        let errands = self.watch.store.errands()?;
        self.keys();
        let mut found = HashSet::new();
        for (key, word, until) in errands.words {
            let told = Told::Word(key, word, until);
            if let Some(word) = word_of(word)
                && !self.done.contains(&told)
                && news
                    .try_send(NodeNews::Word(ChallengeKey(key), word))
                    .is_err()
            {
                continue;
            }
            found.insert(told);
        }
        for row in errands.inbox {
            let told = Told::Message(row.key);
            let message = match self.done.contains(&told) {
                true => None,
                false => self.messages(vec![row]).pop(),
            };
            if let Some(message) = message
                && news.try_send(NodeNews::Handed(message)).is_err()
            {
                continue;
            }
            found.insert(told);
        }
        // What is not found any more is over.
        self.done = found;
        Ok(())
    }

    /// Messages of carriers that have waited here for long are told once more: what was to become of them may have been left
    /// out, with what another node had by then. Who still has them in hand knows.
    fn left_over(&mut self, news: &mpsc::Sender<NodeNews>) -> Result<(), StoreError> {
        let before = clock::now() - LEFT_OVER;
        let rows = self.watch.store.waiting(before)?;
        self.keys();
        let mut found = HashSet::new();
        for row in rows {
            let key = row.key;
            if !self.again.contains(&key)
                && let Some(message) = self.messages(vec![row]).pop()
                && news.try_send(NodeNews::Handed(message)).is_err()
            {
                continue;
            }
            found.insert(key);
        }
        self.again = found;
        Ok(())
    }

    /// Trouble is told once when it begins and once when it is over.
    fn said(&mut self, result: Result<(), StoreError>) {
        let file = self.watch.path.display();
        match result {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!(%file, "this node is heard of by others again");
                }
            }
            Err(error) => {
                if self.trouble.replace(error.reason.clone()).as_ref() != Some(&error.reason) {
                    tracing::warn!(%file, reason = error.reason, "this node can't tell others that it lives; it stops beginning anything when its term runs out");
                }
            }
        }
    }
}

impl TakenRows {
    fn is_nothing(&self) -> bool {
        self.challenges.is_empty()
            && self.calls.is_empty()
            && self.inbox.is_empty()
            && self.reports == 0
    }
}

fn now() -> Mono {
    Now::read().mono
}

/// Between two beats: several in a term, so that one that is late ends nothing.
const BEAT: Duration = Duration::from_secs(TERM.as_secs() / 10);
/// Between two looks at what others have left.
const ERRANDS: Duration = Duration::from_millis(50);
/// Longer than a message of a carrier waits for anything while its text is open.
const LEFT_OVER: Duration = Duration::from_secs(45);
/// Rows of each kind that are taken over at once.
const BITE: usize = 200;
/// Bound of news that wait for dispatch; what finds no room stays where it is.
const NEWS: usize = 256;
