//! The binds of one carrier together: who gets the next order, how many slots there are, and what is said of the link.
//! Pure: each bind's events pass through here on their way to the core.

use std::{sync::Arc, time::Instant};

use super::{bind::BindEvent, orders::OrderOutcome};
use crate::{
    carrier::{AttemptEvent, CarrierEvent, Incoming, Link, Slots, throttle::ThrottleLimiter},
    cause::Cause,
};

pub struct Pool {
    binds: Vec<Load>,
    window: u32,
    throttle: ThrottleLimiter,
    /// As the core sees them.
    slots: Slots,
    /// What was last said to be wrong, while no session is bound.
    down: Option<Arc<str>>,
    /// Nothing is said of the link any more: after a reload the name is a successor's.
    is_draining: bool,
    /// The reference of the last text in several parts: one sequence for all binds.
    concatenation: u8,
}

/// One bind as the pool sees it.
#[derive(Clone, Debug, Default)]
struct Load {
    is_bound: bool,
    /// Orders given to it that have no outcome yet.
    orders: u32,
}

/// Where an order goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindChoice {
    pub bind: usize,
    /// Marks the parts of its text.
    pub concatenation: u8,
}

/// What the core is told of a bind's event.
#[derive(Debug)]
pub enum PoolEvent {
    Say(CarrierEvent),
    /// The same, with an acknowledgement that leads back to the bind, under this number.
    Bring(Incoming, u32),
}

impl Pool {
    /// `concatenation`: where that sequence begins. After a restart it is another than before: an old part must not join
    /// a new text.
    pub fn new(binds: usize, window: u32, concatenation: u8) -> Pool {
        Pool {
            binds: vec![Load::default(); binds.max(1)],
            window,
            throttle: ThrottleLimiter::default(),
            slots: Slots::default(),
            down: None,
            is_draining: false,
            concatenation,
        }
    }

    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The bound bind with the fewest orders gets the next; none: no session is bound.
    pub fn place(&mut self) -> Option<BindChoice> {
        let bound = self.binds.iter_mut().enumerate();
        let bound = bound.filter(|(_, load)| load.is_bound);
        let (bind, load) = bound.min_by_key(|(_, load)| load.orders)?;
        load.orders += 1;
        self.concatenation = self.concatenation.wrapping_add(1);
        Some(BindChoice {
            bind,
            concatenation: self.concatenation,
        })
    }

    /// The order could not be handed to that bind after all.
    pub fn take_back(&mut self, bind: usize) {
        let load = &mut self.binds[bind];
        load.orders = load.orders.saturating_sub(1);
    }

    /// A bind says something. Loads and slots follow it before the core hears of it.
    pub fn heard(&mut self, bind: usize, event: BindEvent, now: Instant) -> Option<PoolEvent> {
        let link = match event {
            BindEvent::Outcome(outcome) => return Some(self.outcome(bind, outcome, now)),
            BindEvent::Brought { incoming, sequence } => {
                return Some(PoolEvent::Bring(incoming, sequence));
            }
            BindEvent::Probe { ok } => Some(Link::Probe { ok }),
            BindEvent::Bound => {
                self.binds[bind].is_bound = true;
                self.down = None;
                self.count_slots();
                Some(match self.bound() {
                    1 => Link::Up,
                    _ => Link::Room,
                })
            }
            BindEvent::Lost { reason, .. } => {
                self.binds[bind].is_bound = false;
                self.count_slots();
                self.down(&reason)
            }
            BindEvent::NotBound(reason) => self.down(&reason),
        };
        let link = link.filter(|_| !self.is_draining)?;
        Some(PoolEvent::Say(CarrierEvent::Link(link)))
    }

    fn outcome(&mut self, bind: usize, outcome: OrderOutcome, now: Instant) -> PoolEvent {
        if outcome.first {
            self.take_back(bind);
        }
        if let AttemptEvent::Failed(failure) = &outcome.event
            && failure.cause == Cause::Throttled
        {
            self.throttle.throttled(self.all(), None, now);
            self.count_slots();
        }
        PoolEvent::Say(CarrierEvent::Attempt(outcome.key, outcome.event))
    }

    /// While none is bound it is said once for each reason.
    fn down(&mut self, reason: &str) -> Option<Link> {
        if self.bound() > 0 || self.down.as_deref() == Some(reason) {
            return None;
        }
        let reason: Arc<str> = reason.into();
        self.down = Some(reason.clone());
        Some(Link::Down { reason })
    }

    /// Gives back what throttling has taken, as time allows. Something to say: there is more room than before.
    pub fn recover(&mut self, now: Instant) -> Option<Link> {
        let more = self.throttle.recover(self.all(), now);
        self.count_slots();
        (more && self.bound() > 0).then_some(Link::Room)
    }

    /// When [`Pool::recover`] wants to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        self.throttle.next_deadline()
    }

    pub fn change(&mut self, window: u32) {
        self.window = window;
        self.count_slots();
    }

    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    fn bound(&self) -> u32 {
        self.binds.iter().map(|load| u32::from(load.is_bound)).sum()
    }

    fn all(&self) -> u32 {
        self.bound().saturating_mul(self.window)
    }

    fn count_slots(&self) {
        self.slots.set(self.throttle.slots(self.all()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        carrier::smpp::bind::unplaced,
        challenge::{AttemptKey, ChallengeKey},
    };

    const KEY: AttemptKey = AttemptKey {
        challenge: ChallengeKey(1),
        attempt: 1,
    };

    fn lost(reason: &str) -> BindEvent {
        BindEvent::Lost {
            reason: reason.to_owned(),
            counters: Default::default(),
        }
    }

    fn link(said: Option<PoolEvent>) -> Option<Link> {
        match said {
            Some(PoolEvent::Say(CarrierEvent::Link(link))) => Some(link),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn orders_go_to_the_bound_bind_with_the_fewest() {
        let (mut pool, now) = (Pool::new(2, 10, 0), Instant::now());
        assert_eq!(pool.place(), None);
        pool.heard(0, BindEvent::Bound, now);
        pool.heard(1, BindEvent::Bound, now);
        let mut given = [0, 0];
        for n in 1..=6 {
            let place = pool.place().unwrap();
            assert_eq!(place.concatenation, n);
            given[place.bind] += 1;
        }
        assert_eq!(given, [3, 3]);
        pool.heard(1, BindEvent::Outcome(unplaced(KEY)), now);
        assert_eq!(pool.place().unwrap().bind, 1);
        pool.heard(1, lost("cut"), now);
        assert_eq!(pool.place().unwrap().bind, 0);
    }

    #[test]
    fn the_link_is_up_with_the_first_and_down_with_the_last_once_for_each_reason() {
        let (mut pool, now) = (Pool::new(2, 10, 0), Instant::now());
        assert_eq!(link(pool.heard(0, BindEvent::Bound, now)), Some(Link::Up));
        assert_eq!(link(pool.heard(1, BindEvent::Bound, now)), Some(Link::Room));
        assert_eq!(pool.slots().get(), 20);
        assert_eq!(link(pool.heard(0, lost("cut"), now)), None);
        assert_eq!(pool.slots().get(), 10);
        let down = |reason: &str| {
            Some(Link::Down {
                reason: reason.into(),
            })
        };
        assert_eq!(link(pool.heard(1, lost("cut"), now)), down("cut"));
        let refused = || BindEvent::NotBound("refused".to_owned());
        assert_eq!(link(pool.heard(0, refused(), now)), down("refused"));
        assert_eq!(link(pool.heard(1, refused(), now)), None);
        assert_eq!(link(pool.heard(1, BindEvent::Bound, now)), Some(Link::Up));
        pool.drain();
        assert_eq!(link(pool.heard(1, lost("drained"), now)), None);
        assert_eq!(pool.slots().get(), 0);
    }

    #[test]
    fn throttling_takes_slots_and_time_gives_them_back() {
        let (mut pool, start) = (Pool::new(1, 16, 0), Instant::now());
        pool.heard(0, BindEvent::Bound, start);
        assert_eq!(pool.deadline(), None);
        let throttled = OrderOutcome {
            key: KEY,
            event: AttemptEvent::Failed(Cause::Throttled.failure(None)),
            first: true,
        };
        pool.heard(0, BindEvent::Outcome(throttled), start);
        assert_eq!(pool.slots().get(), 8);
        let due = pool.deadline().unwrap();
        assert_eq!(pool.recover(due - Duration::from_millis(1)), None);
        assert_eq!(pool.recover(due), Some(Link::Room));
        assert_eq!(pool.slots().get(), 9);
    }
}
