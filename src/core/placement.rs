//! Placement: who waits for which route entry, and what is known of the carriers that could take it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{carriers::Carriers, queue::Queue};
use crate::{
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    clock::Mono,
    number::Number,
    overlay::Overlay,
    routing::{Availability, Table, plan::Avoid, table::SenderRotation},
};

pub(super) struct Placement {
    pub queue: Queue,
    pub carriers: Carriers,
    /// Of each carrier of the table, as the turn found it.
    pub standing: Vec<Availability>,
    pub rotation: SenderRotation,
    pub people: HashMap<(Number, Channel), Last>,
    /// Hedges that wait for a receipt to be looked up: since when.
    pub hesitating: BTreeMap<AttemptKey, Mono>,
    /// What operators have changed for a while.
    pub overlay: Overlay,
}

/// What a person's last challenge came by.
#[derive(Debug)]
pub(super) struct Last {
    pub carrier: Arc<str>,
    pub sender: Arc<str>,
    pub challenge: ChallengeKey,
    pub at: Millis,
}

/// A carrier that tells its one attempt to come later is left alone for another pause, and all who wait for it with it. So
/// those go last of whom that is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbesOf {
    /// Nobody whom any carrier has told to come later: a trunk hands on what the network of the number says, and the next
    /// trunk leads to the same network.
    Untold,
    /// Nobody whom this carrier has told to come later: for all we know it tells them so again.
    Others,
    Anyone,
}

/// What a person's last challenge came by is avoided this long.
const AVOID_MS: i64 = 300_000;

/// A carrier that comes back, and could be tried now.
pub(super) const FREE_PROBE: Availability = Availability::Probing { free: true };

impl Placement {
    pub fn new(table: &Table) -> Placement {
        Placement {
            queue: Queue::default(),
            carriers: Carriers::default(),
            standing: Vec::new(),
            rotation: SenderRotation::of(table),
            people: HashMap::new(),
            hesitating: BTreeMap::new(),
            overlay: Overlay::default(),
        }
    }

    /// Remembers what a person's newest challenge came by: carrier and sender.
    pub fn came_by(
        &mut self,
        to: Number,
        channel: Channel,
        (carrier, sender): (Arc<str>, Arc<str>),
        challenge: ChallengeKey,
        at: Millis,
    ) {
        let last = Last {
            carrier,
            sender,
            challenge,
            at,
        };
        self.people.insert((to, channel), last);
    }

    /// What the person's last challenge came by, if that was lately.
    pub fn avoided(
        &self,
        to: Option<Number>,
        channel: Channel,
        challenge: ChallengeKey,
        now: Millis,
    ) -> Option<Avoid<'_>> {
        let last = self.people.get(&(to?, channel))?;
        let lately = last.challenge != challenge && last.at.0 + AVOID_MS > now.0;
        lately.then_some(Avoid {
            carrier: &last.carrier,
            sender: &last.sender,
        })
    }

    /// Forgets those whose last challenge is long ago.
    pub fn sweep(&mut self, now: Millis) {
        self.people.retain(|_, last| last.at.0 + AVOID_MS > now.0);
    }

    /// Each carrier that comes back and could be tried now stands as `instead` says, if it says anything. True if it did
    /// of one.
    pub fn spare_probes(
        &mut self,
        table: &Table,
        instead: impl Fn(&Carriers, &str) -> Option<Availability>,
    ) -> bool {
        let mut spared = false;
        let each = table.carriers().iter().zip(&mut self.standing);
        for (name, standing) in each.filter(|(_, standing)| **standing == FREE_PROBE) {
            if let Some(other) = instead(&self.carriers, name) {
                *standing = other;
                spared = true;
            }
        }
        spared
    }
}
