//! The time of timers: nanoseconds that never jump and count through a suspend of the machine.
//! Finer than any timer needs: the time per token of a pace is no whole number of microseconds.

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A moment of the monotonic clock. Made by [`super::Now::read`] alone, or invented: pure modules only compare and add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// So long after the clock's own beginning: where invented time begins.
    pub fn after_start(span: Duration) -> Mono {
        Mono::default() + span
    }

    /// How long after the clock's own beginning.
    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The time since `earlier`; none if that is still to come.
    pub fn saturating_duration_since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// CLOCK_BOOTTIME: since the machine was started, times of suspension included.
pub(super) fn read() -> Mono {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Mono(seconds * 1_000_000_000 + nanos)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Mono {
    type Output = Mono;

    /// Never beyond the end of time.
    fn add(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;

    /// Never before the clock's beginning.
    fn sub(self, span: Duration) -> Mono {
        Mono(self.0.saturating_sub(nanos(span)))
    }
}

impl Sub for Mono {
    type Output = Duration;

    fn sub(self, earlier: Mono) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_leaves_its_range() {
        let (start, second) = (Mono::default(), Duration::from_secs(1));
        assert_eq!(start - second, start);
        assert_eq!((start + second) - start, second);
        assert_eq!(start - (start + second), Duration::ZERO);
        assert_eq!(start + Duration::MAX, Mono(u64::MAX));
    }
}
