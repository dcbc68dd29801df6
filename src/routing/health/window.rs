//! Good and bad over a sliding stretch of time, in a fixed number of slots.

use std::time::Duration;

use crate::clock::Mono;

/// Slots of a window: it slides in steps of a twelfth.
const SLOTS: usize = 12;

#[derive(Clone, Debug)]
pub struct Sliding {
    origin: Mono,
    step: Duration,
    /// The number of the newest slot, counted from `origin`.
    newest: u64,
    slots: [(u32, u32); SLOTS],
}

impl Sliding {
    pub fn new(now: Mono, length: Duration) -> Sliding {
        Sliding {
            origin: now,
            step: (length / SLOTS as u32).max(Duration::from_millis(1)),
            newest: 0,
            slots: [(0, 0); SLOTS],
        }
    }

    pub fn add(&mut self, now: Mono, good: bool) {
        self.slide(now);
        let slot = &mut self.slots[(self.newest % SLOTS as u64) as usize];
        match good {
            true => slot.0 = slot.0.saturating_add(1),
            false => slot.1 = slot.1.saturating_add(1),
        }
    }

    /// Good and bad within the window.
    pub fn sums(&mut self, now: Mono) -> (u32, u32) {
        self.slide(now);
        self.slots.iter().fold((0u32, 0u32), |(g, b), slot| {
            (g.saturating_add(slot.0), b.saturating_add(slot.1))
        })
    }

    pub fn clear(&mut self) {
        self.slots = [(0, 0); SLOTS];
    }

    fn slide(&mut self, now: Mono) {
        let passed = now.saturating_duration_since(self.origin).as_nanos() / self.step.as_nanos();
        let current = u64::try_from(passed).unwrap_or(u64::MAX).max(self.newest);
        for slot in (self.newest + 1..=current).take(SLOTS) {
            self.slots[(slot % SLOTS as u64) as usize] = (0, 0);
        }
        if current - self.newest >= SLOTS as u64 {
            self.clear();
        }
        self.newest = current;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Mono::default();
        let mut window = Sliding::new(start, Duration::from_secs(12));
        window.add(start, false);
        window.add(start + Duration::from_secs(5), true);
        assert_eq!(window.sums(start + Duration::from_secs(11)), (1, 1));
        assert_eq!(window.sums(start + Duration::from_secs(12)), (1, 0));
        assert_eq!(window.sums(start + Duration::from_secs(600)), (0, 0));
    }
}
