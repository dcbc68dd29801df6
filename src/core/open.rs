//! The open challenges: by key, by the caller's id, by the carriers' references, and by time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use super::{queue::RouteKey, references::References};
use crate::{
    challenge::{Challenge, ChallengeKey, Millis},
    delivery::{DeliveryState, Want},
    ledger::Claim,
};

/// A challenge that has not ended.
#[derive(Debug)]
pub struct Open {
    pub ch: Challenge,
    pub life: DeliveryState,
    /// The ledger holds it.
    pub durable: bool,
    /// Until then its asker may give it up.
    pub claim: Option<Claim>,
    /// Standing in the queue for this attempt, in this line.
    pub waiting: Option<(Want, RouteKey)>,
    /// The soonest timer that is set for it.
    pub wake: Millis,
    /// The first attempt has been handed to a carrier.
    pub sent: bool,
}

impl Open {
    /// Its asker was told to come again before the ledger held it: it won't, and its id is free.
    pub fn given_up(&self) -> bool {
        !self.durable && self.claim.as_ref().is_some_and(Claim::given_up)
    }
}

type CallerId = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub struct OpenTable {
    /// Boxed: a table that grows moves what it holds.
    all: HashMap<ChallengeKey, Box<Open>>,
    ids: HashMap<CallerId, ChallengeKey>,
    pub references: References,
    timers: BinaryHeap<Reverse<(Millis, ChallengeKey)>>,
}

/// The timer heap is rebuilt when it holds this many times more than there are open challenges, and some.
const STALE_TIMERS: usize = 4;
const SPARE_TIMERS: usize = 1_024;

impl OpenTable {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn insert(&mut self, key: ChallengeKey, open: Open) {
        self.ids
            .insert((open.ch.tenant.clone(), open.ch.id.clone()), key);
        self.all.insert(key, Box::new(open));
    }

    pub fn iter(&self) -> impl Iterator<Item = (ChallengeKey, &Open)> {
        self.all.iter().map(|(key, open)| (*key, &**open))
    }

    pub fn get(&self, key: ChallengeKey) -> Option<&Open> {
        self.all.get(&key).map(|open| &**open)
    }

    pub fn get_mut(&mut self, key: ChallengeKey) -> Option<&mut Open> {
        self.all.get_mut(&key).map(|open| &mut **open)
    }

    pub fn by_id(&self, tenant: &Arc<str>, id: &Arc<str>) -> Option<ChallengeKey> {
        self.ids.get(&(tenant.clone(), id.clone())).copied()
    }

    /// Takes it out, with everything that leads to it.
    pub fn remove(&mut self, key: ChallengeKey) -> Option<Open> {
        let open = self.all.remove(&key)?;
        self.ids
            .remove(&(open.ch.tenant.clone(), open.ch.id.clone()));
        for attempt in &open.life.attempts {
            for reference in &attempt.references {
                self.references.remove(&attempt.carrier, reference, key);
            }
        }
        Some(*open)
    }

    /// Wakes this challenge at `at`, or sooner if it was to be woken sooner.
    pub fn wake_at(&mut self, key: ChallengeKey, at: Millis) {
        let Some(open) = self.all.get_mut(&key) else {
            return;
        };
        if at < open.wake {
            open.wake = at;
            self.timers.push(Reverse((at, key)));
            if self.timers.len() > STALE_TIMERS * self.all.len() + SPARE_TIMERS {
                self.rebuild_timers();
            }
        }
    }

    /// The next moment at which somebody wants to be woken.
    pub fn next_wake(&self) -> Option<Millis> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Somebody whose time has come. Asked again until none is left.
    pub fn due(&mut self, now: Millis) -> Option<ChallengeKey> {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                return None;
            }
            self.timers.pop();
            match self.all.get_mut(&key) {
                Some(open) if open.wake == at => {
                    open.wake = Millis::NEVER;
                    return Some(key);
                }
                // Ended, or set again: a stale entry.
                _ => {}
            }
        }
        None
    }

    fn rebuild_timers(&mut self) {
        self.timers = self
            .all
            .iter()
            .filter(|(_, open)| open.wake != Millis::NEVER)
            .map(|(key, open)| Reverse((open.wake, *key)))
            .collect();
    }
}
