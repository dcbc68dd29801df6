//! The registry: challenges that are open, those whose ids are not yet known to be new, and what is to be said of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    arrivals::Arrivals,
    open::{Open, OpenTable},
    room::Crowd,
    view::Recent,
};
use crate::{
    carrier::AttemptEvent,
    challenge::{AttemptKey, ChallengeKey},
    clock::Mono,
    intake::Ticket,
    ledger::ControlMessage,
};

pub(super) struct Registry {
    pub open: OpenTable,
    /// Jobs that wait for their turn, by tenant.
    pub arrivals: Arrivals,
    /// Ended before the ledger had said whether their ids are new: kept until it has, for the door's answer.
    pub uncommitted: HashMap<ChallengeKey, Open>,
    /// What drivers said of challenges that are on their way to the disk.
    pub pending_events: Vec<(Arc<str>, AttemptKey, AttemptEvent)>,
    /// Cancels and feedback for challenges that are on their way to the disk: tenant, id, what is said.
    pub pending_control: Vec<(Arc<str>, Arc<str>, ControlMessage, Ticket)>,
    last_challenge: i64,
    /// Accepted, without a first attempt.
    pub unsent: usize,
    pub max_unsent: usize,
    pub crowd: Crowd,
    /// Calls of an earlier life that are being ended.
    pub unterminated: BTreeMap<AttemptKey, Unterminated>,
    /// Ended lately, for the operator.
    pub recent: Recent,
}

/// A call that an earlier life may have left up.
pub struct Unterminated {
    /// Its carrier is in use: the trunk ends it, and says so.
    pub by_trunk: bool,
    /// By then it is over, or can't be ended.
    pub until: Mono,
}

impl Registry {
    /// `first`: the first key that is free.
    pub fn new(first: ChallengeKey) -> Registry {
        Registry {
            open: OpenTable::default(),
            arrivals: Arrivals::default(),
            uncommitted: HashMap::new(),
            pending_events: Vec::new(),
            pending_control: Vec::new(),
            last_challenge: first.0 - 1,
            unsent: 0,
            max_unsent: 0,
            crowd: Crowd::default(),
            unterminated: BTreeMap::new(),
            recent: Recent::default(),
        }
    }

    /// Of a challenge that begins.
    pub fn next_key(&mut self) -> ChallengeKey {
        self.last_challenge += 1;
        ChallengeKey(self.last_challenge)
    }

    /// The last that has begun.
    pub fn newest(&self) -> ChallengeKey {
        ChallengeKey(self.last_challenge)
    }

    /// Takes a challenge out, whether or not the ledger holds it yet.
    pub fn remove(&mut self, key: ChallengeKey) -> Option<Open> {
        let Some(open) = self.open.remove(key) else {
            // Refused at the door, say: over before the ledger knew of it.
            return self.uncommitted.remove(&key);
        };
        if !open.sent {
            self.sent();
        }
        Some(open)
    }

    /// One fewer waits for its first attempt.
    pub fn sent(&mut self) {
        self.unsent = self.unsent.saturating_sub(1);
    }
}
