//! Reconnecting: how long to wait before the next try. For ever, with jitter, never more than one try a second.
//!
//! The one place that uses the `backoff` crate. Drivers ask it for the next wait; it never connects itself.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// No peer is tried more often than this, whatever the jitter says.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// A peer that comes back is noticed within this and its jitter.
pub const LONGEST: Duration = Duration::from_secs(8);
/// Part of a wait by which it may be longer or shorter, so that many nodes don't come at once.
const JITTER: f64 = 0.25;

/// The waits between tries at one peer.
#[derive(Debug)]
pub struct Waits(ExponentialBackoff);

impl Default for Waits {
    fn default() -> Waits {
        let mut waits = ExponentialBackoff {
            initial_interval: SHORTEST.mul_f64(1.0 + JITTER),
            multiplier: 1.6,
            randomization_factor: JITTER,
            max_interval: LONGEST,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // The crate begins with its own 500 ms otherwise, whatever `initial_interval` says.
        waits.reset();
        Waits(waits)
    }
}

impl Waits {
    /// How long to wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(LONGEST).max(SHORTEST)
    }

    /// The peer answered: begin with the shortest wait again.
    pub fn succeeded(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_a_second_never_end_and_begin_anew() {
        let mut waits = Waits::default();
        let first = waits.next_wait();
        assert!((SHORTEST..SHORTEST * 2).contains(&first), "{first:?}");
        let all: Vec<_> = (0..200).map(|_| waits.next_wait()).collect();
        assert!(
            all.iter()
                .all(|w| (SHORTEST..=LONGEST.mul_f64(1.0 + JITTER)).contains(w))
        );
        assert!(
            all[20..]
                .iter()
                .all(|w| *w >= LONGEST.mul_f64(1.0 - JITTER))
        );
        assert!(all[20..].windows(2).any(|w| w[0] != w[1]), "no jitter");
        waits.succeeded();
        assert!(waits.next_wait() < SHORTEST * 2);
    }
}
