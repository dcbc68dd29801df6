//! How long a carrier takes to answer: a histogram of fixed size that forgets.

use std::time::Duration;

/// Each slot is a quarter longer than the one before; the last begins at about 90 s.
const SLOTS: usize = 52;
const GROWTH: f64 = 1.25;
/// So many answers are remembered at most; then each counts half.
const MEMORY: u32 = 2_000;
/// Fewer say nothing about one in a hundred.
const LEAST: u32 = 50;

#[derive(Clone, Debug)]
pub struct Answers {
    slots: [u32; SLOTS],
    total: u32,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers {
            slots: [0; SLOTS],
            total: 0,
        }
    }
}

impl Answers {
    pub fn add(&mut self, after: Duration) {
        let millis = after.as_secs_f64() * 1000.0;
        let slot = if millis <= 1.0 {
            0.0
        } else {
            millis.ln() / GROWTH.ln()
        };
        self.slots[(slot as usize).min(SLOTS - 1)] += 1;
        self.total += 1;
        if self.total >= MEMORY {
            self.slots.iter_mut().for_each(|count| *count /= 2);
            self.total = self.slots.iter().sum();
        }
    }

    /// The upper edge of the slot in which the 99th of 100 lies.
    pub fn p99(&self) -> Option<Duration> {
        if self.total < LEAST {
            return None;
        }
        let beyond = self.total / 100;
        let mut seen = 0;
        let slot = self.slots.iter().rposition(|count| {
            seen += count;
            seen > beyond
        })?;
        Some(Duration::from_secs_f64(
            GROWTH.powi(slot as i32 + 1) / 1000.0,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p99_follows_the_carrier_and_forgets() {
        let mut answers = Answers::default();
        (0..49).for_each(|_| answers.add(Duration::from_millis(20)));
        assert_eq!(answers.p99(), None);
        (0..500).for_each(|_| answers.add(Duration::from_millis(20)));
        answers.add(Duration::from_secs(3));
        let p99 = answers.p99().unwrap();
        assert!(
            p99 >= Duration::from_millis(20) && p99 < Duration::from_millis(26),
            "{p99:?}"
        );
        (0..300).for_each(|_| answers.add(Duration::from_millis(900)));
        assert!(answers.p99().unwrap() >= Duration::from_millis(900));
        (0..20_000).for_each(|_| answers.add(Duration::from_millis(5)));
        assert!(answers.p99().unwrap() < Duration::from_millis(8));
    }
}
