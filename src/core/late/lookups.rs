//! Which receipts wait for the ledger's answer, and what ended meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{Held, tails};
use crate::{ledger::InboxKey, number::written::Tail};

#[derive(Debug, Default)]
pub struct Lookups {
    pub queue: VecDeque<InboxKey>,
    /// What the round under way was asked.
    pub asked: Vec<InboxKey>,
    /// A round is under way, or what it told is not yet durable.
    pub busy: bool,
    pub failing: bool,
    /// Receipts that wait for the ledger, with how many texts had ended when that began.
    waiting: HashMap<InboxKey, u64>,
    ended: u64,
    /// Texts that have ended since the first of them began to wait: the ledger's answer may not know them yet.
    ended_since: VecDeque<(u64, Arc<str>, Tail)>,
}

impl Lookups {
    pub fn waits(&mut self, key: InboxKey) {
        self.waiting.insert(key, self.ended);
    }

    pub fn waits_no_longer(&mut self, key: InboxKey) {
        self.waiting.remove(&key);
        if self.waiting.is_empty() {
            self.ended_since.clear();
        }
    }

    /// A text has ended, and its rows are on their way to the ledger.
    pub fn text_ended(&mut self, carrier: &Arc<str>, phone: Tail) {
        self.ended += 1;
        if !self.waiting.is_empty() {
            self.ended_since
                .push_back((self.ended, carrier.clone(), phone));
        }
    }

    /// Has a text to this phone ended while this receipt waited?
    pub fn any_ended_meanwhile(&self, key: InboxKey, held: &Held) -> bool {
        let since = self.waiting.get(&key).copied().unwrap_or_default();
        tails(&held.receipt).any(|tail| {
            let mut ended = self.ended_since.iter();
            ended.any(|(at, carrier, phone)| {
                *at > since && *carrier == held.carrier && *phone == tail
            })
        })
    }
}
