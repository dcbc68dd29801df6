//! Reconnecting: how long to wait before the next try. For ever, with jitter, never more than one try a second.
//!
//! The one place that uses the `backoff` crate. Drivers ask it for the next wait; it never connects itself. The jitter comes
//! out of a seed, so that a machine that is given one waits the same again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// No peer is tried more often than this, whatever the jitter says.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// A peer that comes back is noticed within this and its jitter.
pub const LONGEST: Duration = Duration::from_secs(8);
/// Part of a wait by which it may be longer or shorter, so that many nodes don't come at once.
const JITTER: f64 = 0.25;

/// The waits between tries at one peer.
#[derive(Debug)]
pub struct Waits {
    growing: ExponentialBackoff,
    jitter: u64,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits::seeded(RandomState::new().hash_one(0))
    }
}

impl Waits {
    /// Where the same seed shall give the same waits.
    pub fn seeded(seed: u64) -> Waits {
        let mut growing = ExponentialBackoff {
            initial_interval: SHORTEST.mul_f64(1.0 + JITTER),
            multiplier: 1.6,
            // Ours instead: the crate's can't be repeated.
            randomization_factor: 0.0,
            max_interval: LONGEST,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // The crate begins with its own 500 ms otherwise, whatever `initial_interval` says.
        growing.reset();
        Waits {
            growing,
            jitter: seed,
        }
    }

    /// How long to wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.growing.next_backoff().unwrap_or(LONGEST);
        let (least, most) = (wait.mul_f64(1.0 - JITTER), wait.mul_f64(1.0 + JITTER));
        let span = (most - least).as_millis() as u64;
        let wait = least + Duration::from_millis(self.roll() % (span + 1));
        wait.max(SHORTEST)
    }

    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.jitter;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The peer answered: begin with the shortest wait again.
    pub fn succeeded(&mut self) {
        self.growing.reset();
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
