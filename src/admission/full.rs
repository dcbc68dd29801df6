//! Windows that the ledger has said to be full: until there is room again, their challenges need not be begun to be refused.
//! A hint that is never wrong, and never the whole: what it does not know the ledger's store says.

use std::collections::HashMap;

use super::{
    Guard, Limits,
    windows::{LimitKeys, Taken, limited},
};
use crate::challenge::Millis;

#[derive(Debug, Default)]
pub struct FullWindows(HashMap<u64, Millis>);

/// Most that are remembered: a few megabytes.
const MOST: usize = 100_000;

impl FullWindows {
    /// What the ledger has said of a challenge with these keys.
    pub fn note(&mut self, keys: &LimitKeys, taken: &Taken, now: Millis) {
        for (key, until) in keys.iter().zip(taken.full) {
            if let Some(until) = until {
                self.insert(*key, until, now);
            }
        }
    }

    pub fn insert(&mut self, key: u64, until: Millis, now: Millis) {
        if self.0.len() >= MOST {
            self.sweep(now);
        }
        if self.0.len() < MOST && until > now {
            self.0.insert(key, until);
        }
    }

    /// For which limit such a challenge is refused, if it surely is.
    pub fn refuses(&self, keys: &LimitKeys, limits: &Limits, now: Millis) -> Option<Taken> {
        if self.0.is_empty() {
            return None;
        }
        let mut taken = Taken::default();
        for (kind, _, key) in limited(keys, limits) {
            if self.0.get(&key).is_none_or(|until| *until <= now) {
                continue;
            }
            match kind.guard(limits) {
                Guard::Deny => {
                    taken.refused = Some(kind);
                    return Some(taken);
                }
                Guard::Record => taken.recorded[kind as usize] = true,
            }
        }
        None
    }

    pub fn sweep(&mut self, now: Millis) {
        self.0.retain(|_, until| *until > now);
    }

    /// The limits are others now.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{admission::Windows, config::settings::Settings, pace::Pace};

    #[test]
    fn it_refuses_what_the_windows_would_and_for_the_same_limit() {
        let pace = |count, seconds| {
            Some(Pace {
                count,
                per: Duration::from_secs(seconds),
            })
        };
        let limits = Limits {
            per_user: pace(2, 60),
            per_number: pace(3, 90),
            per_prefix: pace(4, 120),
            per_tenant: pace(9, 300),
            prefix_guard: Some(Guard::Record),
            ..Settings::default().limits
        };
        let (mut windows, mut full) = (Windows::default(), FullWindows::default());
        let (mut refused, mut known) = (0, 0);
        for n in 0..4_000_u64 {
            let now = Millis(n as i64 * 1_700);
            let keys = [1 + n % 5, 100 + n % 7, 200 + n % 3, 0, 300];
            let said = full.refuses(&keys, &limits, now);
            let taken = windows.take(&keys, &limits, now);
            windows.keep();
            if let Some(said) = said {
                known += 1;
                assert_eq!(said.refused, taken.refused, "at {n}");
                assert_eq!(said.recorded, taken.recorded, "at {n}");
            }
            refused += usize::from(taken.refused.is_some());
            full.note(&keys, &taken, now);
        }
        assert!(refused > 1_000);
        assert_eq!(known, refused, "one asker's limits are known before");
        full.sweep(Millis(i64::MAX));
        assert!(full.0.is_empty());
    }
}
