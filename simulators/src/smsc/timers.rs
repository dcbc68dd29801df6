//! What a message centre does later: one heap, soonest first, in the order of adding where the time is the
//! same. Bounded by what feeds it: at most three per text taken, one per session.

use super::delivery::Delivery;
use super::session::SessionId;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Something to do at a time.
#[derive(Debug)]
pub enum Event {
    /// A receipt or a person's text is due.
    Deliver(Box<Delivery>),
    /// An answer that was held back.
    Answer {
        /// Where to.
        session: SessionId,
        /// The whole PDU.
        octets: Vec<u8>,
    },
    /// Look the sessions over.
    Sweep,
}

/// The heap.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Timed>,
    added: u64,
}

#[derive(Debug)]
struct Timed {
    at: Instant,
    order: u64,
    event: Event,
}

impl Timers {
    /// Do `event` at `at`.
    pub fn add(&mut self, at: Instant, event: Event) {
        self.added += 1;
        self.heap.push(Timed {
            at,
            order: self.added,
            event,
        });
    }

    /// The soonest time.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|timed| timed.at)
    }

    /// The next event whose time has come.
    pub fn due(&mut self, now: Instant) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|timed| timed.event)
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first: the soonest is the greatest.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timed {}
