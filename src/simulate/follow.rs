//! Follows challenges by their reports, as the asking server would: woken by the gateway, read from its ledger (where
//! they come through a broker: [`super::door`]).
//!
//! Knows nothing of what was expected. What has been told is kept until somebody takes it out ([`Follow::take`]), so
//! it is bounded by what its users have under way.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::JoinHandle,
};

use crate::{challenge::ChallengeKey, ledger::Ledger};

/// A report, as far as a run looks at it.
#[derive(Clone, Default, Deserialize)]
pub struct Told {
    pub challenge: Arc<str>,
    pub tenant: Arc<str>,
    pub at: String,
    pub seq: u32,
    pub event: String,
    pub r#final: bool,
    pub result: Option<String>,
    pub reason: Option<String>,
    pub method: String,
    pub country: String,
    pub attempt: Option<u16>,
    pub carrier: Option<String>,
    pub sender: Option<String>,
    #[serde(default)]
    pub in_doubt: bool,
    pub code: Option<String>,
    pub digits: Option<String>,
    #[serde(default)]
    pub attempts: Vec<Try>,
}

private_debug!(Told);

/// An attempt, as the final report tells it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Try {
    pub attempt: u16,
    pub method: String,
    pub carrier: String,
    pub sender: String,
    pub route: String,
    pub why: String,
    pub reference: Option<String>,
    #[serde(default)]
    pub references: Vec<String>,
    pub started: String,
    pub ended: Option<String>,
    pub outcome: String,
    pub cause: Option<String>,
    #[serde(default)]
    pub in_doubt: bool,
    #[serde(default)]
    pub hedge: bool,
}

/// Everything that was told of one challenge, in order.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub reports: Vec<Told>,
    /// The reports themselves.
    pub bodies: Vec<serde_json::Value>,
}

impl Story {
    pub fn last(&self) -> Option<&Told> {
        self.reports.iter().find(|told| told.r#final)
    }

    pub fn ended(&self) -> bool {
        self.last().is_some()
    }

    /// Has this been told?
    pub fn has(&self, event: &str) -> bool {
        self.reports.iter().any(|told| told.event == event)
    }
}

/// The handle; clones follow the same stories.
#[derive(Clone)]
pub struct Follow(Arc<Shared>);

struct Shared {
    stories: Mutex<HashMap<Arc<str>, Story>>,
    changed: watch::Sender<u64>,
}

impl Follow {
    /// Begins to follow everything that the gateway tells from now on. Reads are put together over `rest`: many
    /// reports of one challenge are then one reading.
    pub fn start(
        ledger: Ledger,
        wakes: broadcast::Receiver<ChallengeKey>,
        rest: Duration,
    ) -> (Follow, JoinHandle<()>) {
        let follow = Follow::new();
        let reader = Reader {
            ledger,
            follow: follow.clone(),
            read: BTreeMap::new(),
            newest: ChallengeKey(0),
        };
        (follow, tokio::spawn(reader.run(wakes, rest)))
    }

    /// Knows nothing yet; somebody puts in what is told.
    pub(super) fn new() -> Follow {
        Follow(Arc::new(Shared {
            stories: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }

    /// What has been told of a challenge so far.
    pub fn story(&self, id: &str) -> Story {
        self.stories().get(id).cloned().unwrap_or_default()
    }

    /// The same, and forgets it.
    pub fn take(&self, id: &str) -> Story {
        self.stories().remove(id).unwrap_or_default()
    }

    /// Takes out every story that has ended.
    pub fn take_ended(&self) -> Vec<(Arc<str>, Story)> {
        let mut stories = self.stories();
        let ended: Vec<Arc<str>> = stories
            .iter()
            .filter(|(_, story)| story.ended())
            .map(|(id, _)| id.clone())
            .collect();
        ended
            .into_iter()
            .filter_map(|id| stories.remove_entry(&id))
            .collect()
    }

    /// Waits until the story is as wanted; false when `limit` has passed.
    pub async fn until(
        &self,
        id: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Story) -> bool,
    ) -> bool {
        let mut changed = self.0.changed.subscribe();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                if self.stories().get(id).is_some_and(&mut wanted) {
                    return true;
                }
                if changed.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.unwrap_or(false)
    }

    /// Changes with every report.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    pub(super) fn put(&self, told: Told, body: serde_json::Value) {
        let mut stories = self.stories();
        let story = stories.entry(told.challenge.clone()).or_default();
        story.reports.push(told);
        story.bodies.push(body);
        drop(stories);
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Nothing panics while it is held; a poisoned lock still holds whole stories.
    fn stories(&self) -> MutexGuard<'_, HashMap<Arc<str>, Story>> {
        self.0
            .stories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    ledger: Ledger,
    follow: Follow,
    /// How far each challenge has been read.
    read: BTreeMap<ChallengeKey, u32>,
    newest: ChallengeKey,
}

/// How many of the newest challenges are looked up after wake-ups were missed.
const LOOK_BACK: usize = 10_000;
/// Challenges of which it is remembered how far they were read.
const REMEMBERED: usize = 200_000;

impl Reader {
    async fn run(mut self, mut wakes: broadcast::Receiver<ChallengeKey>, rest: Duration) {
        loop {
            let mut woken = BTreeSet::new();
            let mut missed = false;
            match wakes.recv().await {
                Ok(key) => _ = woken.insert(key),
                Err(RecvError::Lagged(_)) => missed = true,
                Err(RecvError::Closed) => return,
            }
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
            loop {
                match wakes.try_recv() {
                    Ok(key) => _ = woken.insert(key),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => missed = true,
                    Err(_) => break,
                }
            }
            if missed {
                woken.extend(self.read.keys());
                woken.extend(self.newer().await);
            }
            for key in woken {
                self.read(key).await;
            }
        }
    }

    /// Challenges that came since the newest known one.
    async fn newer(&self) -> Vec<ChallengeKey> {
        // A ledger that can't be read now is read at the next word.
        let stored = self.ledger.newest(LOOK_BACK).await.unwrap_or_default();
        let keys = stored.into_iter().map(|stored| stored.key);
        keys.filter(|key| *key > self.newest).collect()
    }

    async fn read(&mut self, key: ChallengeKey) {
        let after = self.read.get(&key).copied();
        self.newest = self.newest.max(key);
        let Ok(reports) = self.ledger.reports_of(key, after.unwrap_or(0)).await else {
            return;
        };
        for report in reports {
            let Ok(body) = serde_json::from_slice::<serde_json::Value>(&report.body) else {
                continue;
            };
            let Ok(told) = Told::deserialize(&body) else {
                continue;
            };
            if told.r#final {
                self.read.insert(key, u32::MAX);
            } else {
                self.read.insert(key, told.seq);
            }
            self.follow.put(told, body);
        }
        while self.read.len() > REMEMBERED {
            self.read.pop_first();
        }
    }
}
