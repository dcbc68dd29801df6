//! The open challenges: by key, by the caller's id, by the carriers' references, and by time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::queue::RouteKey;
use crate::{
    carrier::Receipt,
    challenge::{AttemptKey, Challenge, ChallengeKey, Channel, Millis},
    delivery::{Life, Want},
    ledger::Claim,
    number::Number,
};

/// A challenge that has not ended.
#[derive(Debug)]
pub struct Open {
    pub ch: Challenge,
    pub life: Life,
    /// The ledger holds it.
    pub durable: bool,
    /// Until then its asker may give it up.
    pub claim: Option<Claim>,
    /// It counts in the limiter's windows.
    pub counted: bool,
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

/// What a carrier's reference leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartOf {
    pub attempt: AttemptKey,
    /// Which part of the text, counted from 0.
    pub part: u16,
}

type CallerId = (Arc<str>, Arc<str>);
type Reference = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub struct OpenTable {
    /// Boxed: a table that grows moves what it holds.
    all: HashMap<ChallengeKey, Box<Open>>,
    ids: HashMap<CallerId, ChallengeKey>,
    references: HashMap<Reference, PartOf>,
    lately: Lately,
    timers: BinaryHeap<Reverse<(Millis, ChallengeKey)>>,
}

/// References of texts that ended lately, so that a second receipt is known for what it is. As keyed hashes of 64 bits:
/// among so few no two will be met that share one.
#[derive(Debug, Default)]
struct Lately {
    hasher: RandomState,
    hashes: HashSet<u64>,
    in_order: VecDeque<u64>,
}

/// How many references of ended texts are remembered.
const LATELY: usize = 20_000;
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
                let reference = (attempt.carrier.clone(), reference.clone());
                if self
                    .references
                    .get(&reference)
                    .is_some_and(|at| at.attempt.challenge == key)
                {
                    self.references.remove(&reference);
                    if attempt.channel() == Channel::Sms {
                        self.lately.remember(&reference);
                    }
                }
            }
        }
        Some(*open)
    }

    /// From now on a receipt with this reference speaks of this attempt.
    pub fn refer(&mut self, carrier: &Arc<str>, reference: &Arc<str>, at: PartOf) {
        self.references
            .insert((carrier.clone(), reference.clone()), at);
    }

    /// The attempt that a receipt speaks of. Its reference as it stands is believed; another form of it (hex for
    /// decimal, padded) only for the same phone, since carriers that count upwards have such neighbours.
    pub fn referred(&self, carrier: &Arc<str>, receipt: &Receipt) -> Option<PartOf> {
        let of = |reference: &Arc<str>| {
            self.references
                .get(&(carrier.clone(), reference.clone()))
                .copied()
        };
        let (literal, derived) = receipt.references.split_first()?;
        of(literal).or_else(|| {
            derived.iter().find_map(|form| {
                let at = of(form)?;
                let to = self.all.get(&at.attempt.challenge)?.ch.to?;
                same_phone(receipt, to).then_some(at)
            })
        })
    }

    /// Did a challenge that ended lately have this reference?
    pub fn ended_lately(&self, carrier: &Arc<str>, receipt: &Receipt) -> bool {
        receipt
            .references
            .first()
            .is_some_and(|literal| self.lately.knows(&(carrier.clone(), literal.clone())))
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

impl Lately {
    fn remember(&mut self, reference: &Reference) {
        if self.in_order.len() >= LATELY
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        let hash = self.hasher.hash_one(reference);
        self.hashes.insert(hash);
        self.in_order.push_back(hash);
    }

    fn knows(&self, reference: &Reference) -> bool {
        self.hashes.contains(&self.hasher.hash_one(reference))
    }
}

/// Does the receipt name this phone? Carriers write numbers with and without plus or country code; one that names none
/// contradicts nothing.
pub fn same_phone(receipt: &Receipt, to: Number) -> bool {
    let Some(phone) = &receipt.phone else {
        return true;
    };
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    digits.len() >= LEAST_DIGITS
        && (to.digits().ends_with(&digits) || digits.ends_with(to.digits()))
}

/// Fewer digits than this name no phone.
const LEAST_DIGITS: usize = 6;
