//! Pace: how fast a carrier may be used. A bucket in pure time: the moment is an argument.

use std::time::Duration;

use crate::clock::Mono;

pub mod written;

/// So many a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub count: u32,
    pub per: Duration,
}

impl Pace {
    pub fn per_second(&self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }
}

/// How much of its pace a carrier may get at once after a pause: 50 ms worth of it, at least one.
const BURST: Duration = Duration::from_millis(50);

/// A token bucket, told as the moment at which it will be full again (the generic cell rate algorithm).
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Time per token; zero: no limit.
    each: Duration,
    /// How far ahead of now `full` may be for a token to be there.
    slack: Duration,
    full: Option<Mono>,
}

impl Bucket {
    /// None: no limit.
    pub fn new(pace: Option<Pace>) -> Bucket {
        let each = pace.map_or(Duration::ZERO, |p| p.per / p.count.max(1));
        Bucket {
            each,
            slack: BURST.saturating_sub(each),
            full: None,
        }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Mono) -> bool {
        if self.each.is_zero() {
            return true;
        }
        let full = self.full.map_or(now, |full| full.max(now));
        if full.saturating_duration_since(now) > self.slack {
            return false;
        }
        self.full = Some(full + self.each);
        true
    }

    /// Is there a token?
    pub fn ready(&self, now: Mono) -> bool {
        self.next(now) <= now
    }

    /// When the next token is there; `now` if one is.
    pub fn next(&self, now: Mono) -> Mono {
        match self.full {
            Some(full) if full > now + self.slack => full - self.slack,
            _ => now,
        }
    }

    /// A new pace from now on; what was taken stays taken.
    pub fn change(&mut self, pace: Option<Pace>) {
        let full = self.full;
        *self = Bucket::new(pace);
        self.full = full;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, start: Mono, millis: u64) -> usize {
        (0..millis * 10)
            .filter(|tick| bucket.take(start + Duration::from_micros(tick * 100)))
            .count()
    }

    #[test]
    fn a_second_at_full_speed_gives_the_pace_and_little_more() {
        for count in [1, 7, 50, 200, 3000] {
            let pace = Pace {
                count,
                per: Duration::from_secs(1),
            };
            let got = taken(&mut Bucket::new(Some(pace)), Mono::default(), 1000);
            let most = count as usize + (count as usize / 20).max(1);
            assert!(got >= count as usize && got <= most, "{count}/s gave {got}");
        }
    }

    #[test]
    fn a_slow_pace_is_spaced_and_next_says_when() {
        let now = Mono::default();
        let mut bucket = Bucket::new(Some(Pace {
            count: 10,
            per: Duration::from_secs(60),
        }));
        assert!(bucket.take(now) && !bucket.take(now) && !bucket.ready(now));
        let next = bucket.next(now);
        assert_eq!(next - now, Duration::from_secs(6));
        assert!(!bucket.take(next - Duration::from_millis(1)) && bucket.take(next));
    }

    #[test]
    fn no_pace_is_no_limit() {
        let now = Mono::default();
        let mut bucket = Bucket::new(None);
        assert!((0..10_000).all(|_| bucket.take(now)));
    }
}
