//! How many slots a carrier gets after what it said about being full: halved when it throttles, grown back slowly.
//!
//! One per carrier, shared by its sessions; pure (time is an argument). It never holds an order back itself: the
//! drivers put its figure into [`Slots`](super::Slots), and dispatch obeys.

use std::time::{Duration, Instant};

/// Refusals within this of a halving belong to the same moment and count once.
const SAME_MOMENT: Duration = Duration::from_millis(500);
/// How often the figure grows while nothing is refused.
const STEP: Duration = Duration::from_secs(1);
/// Part of the whole that a step gives back: from a half to the whole in eight steps.
const STEPS: u32 = 16;

#[derive(Clone, Debug, Default)]
pub struct ThrottleLimiter {
    /// None: no pressure.
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    slots: u32,
    halved: Instant,
    next_step: Instant,
}

impl ThrottleLimiter {
    /// The slots of `all` that are given out now.
    pub fn slots(&self, all: u32) -> u32 {
        self.limit.map_or(all, |limit| limit.slots.min(all))
    }

    /// The carrier said that it is full; it may have named a pause.
    pub fn throttled(&mut self, all: u32, pause: Option<Duration>, now: Instant) {
        let next_step = now + pause.unwrap_or(STEP).max(STEP);
        match &mut self.limit {
            Some(limit) if now < limit.halved + SAME_MOMENT => {
                limit.next_step = limit.next_step.max(next_step)
            }
            _ => {
                let slots = (self.slots(all) / 2).max(1);
                self.limit = Some(Limit {
                    slots,
                    halved: now,
                    next_step,
                });
            }
        }
    }

    /// Grows back what time allows; true if there is more room than before.
    pub fn recover(&mut self, all: u32, now: Instant) -> bool {
        let Some(limit) = &mut self.limit else {
            return false;
        };
        if now < limit.next_step {
            return false;
        }
        limit.slots = limit.slots.saturating_add((all / STEPS).max(1));
        limit.next_step = now + STEP;
        if limit.slots >= all {
            self.limit = None;
        }
        true
    }

    /// When [`ThrottleLimiter::recover`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.limit.map(|limit| limit.next_step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_once_a_moment_and_comes_back_slowly() {
        let start = Instant::now();
        let mut throttle = ThrottleLimiter::default();
        assert_eq!((throttle.slots(100), throttle.next_deadline()), (100, None));
        for _ in 0..50 {
            throttle.throttled(100, None, start);
        }
        assert_eq!(throttle.slots(100), 50);
        let later = start + SAME_MOMENT;
        throttle.throttled(100, None, later);
        assert_eq!(throttle.slots(100), 25);

        assert!(!throttle.recover(100, later + STEP / 2));
        let mut now = later;
        let mut steps = 0;
        while throttle.slots(100) < 100 {
            now += STEP;
            assert!(throttle.recover(100, now));
            steps += 1;
        }
        assert_eq!(steps, 13);
        assert_eq!(throttle.next_deadline(), None);
    }

    #[test]
    fn it_never_reaches_nothing_and_keeps_a_named_pause() {
        let start = Instant::now();
        let mut throttle = ThrottleLimiter::default();
        for n in 0..20 {
            throttle.throttled(4, Some(Duration::from_secs(30)), start + SAME_MOMENT * n);
        }
        assert_eq!(throttle.slots(4), 1);
        assert!(throttle.next_deadline() >= Some(start + Duration::from_secs(30)));
        assert_eq!(throttle.slots(0), 0, "no session, no slot");
    }
}
