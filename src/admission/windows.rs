//! Sliding windows: so many challenges in so long, per person, number, and whatever else is limited.
//!
//! A window that slides, not a counter that resets: whoever knew the moment of the reset would have twice the limit.
//! Keys are hashes, so no number or user stands here.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
};

use crate::{
    challenge::{Challenge, Millis},
    config::{
        carrier::Pace,
        settings::{Guard, Limits},
    },
};

/// The arrivals that still count, by key.
#[derive(Debug, Default)]
pub struct Windows {
    hasher: RandomState,
    seen: HashMap<u64, VecDeque<Millis>>,
    /// When expired windows are dropped next.
    sweep_at: Millis,
}

/// How often windows without a recent arrival are dropped.
const SWEEP_MS: i64 = 60_000;

impl Windows {
    /// Counts this challenge, or says why it is refused (then it doesn't count).
    pub fn take(&mut self, ch: &Challenge, limits: &Limits, now: Millis) -> Option<&'static str> {
        self.sweep(limits, now);
        let keys = self.keys(ch, limits);
        for (key, pace, kind) in keys.iter().flatten() {
            if self.full(*key, pace, now) {
                match (kind, limits.guard) {
                    (Kind::Person, _) => return Some("too_many_attempts"),
                    (Kind::Guard, Guard::Deny) => return Some("fraud_guard"),
                    (Kind::Guard, Guard::Record) => {
                        tracing::warn!(challenge = %ch.id, "over a fraud guard's limit; recorded, not refused");
                    }
                }
            }
        }
        for (key, pace, _) in keys.iter().flatten() {
            let window = self.seen.entry(*key).or_default();
            window.push_back(now);
            while window.len() > pace.count as usize {
                window.pop_front();
            }
        }
        None
    }

    /// This challenge turned out to be one that is known: it doesn't count twice.
    pub fn give_back(&mut self, ch: &Challenge, limits: &Limits, at: Millis) {
        for (key, ..) in self.keys(ch, limits).iter().flatten() {
            if let Some(window) = self.seen.get_mut(key)
                && let Some(at) = window.iter().rposition(|seen| *seen == at)
            {
                window.remove(at);
            }
        }
    }

    fn full(&mut self, key: u64, pace: &Pace, now: Millis) -> bool {
        let Some(window) = self.seen.get_mut(&key) else {
            return false;
        };
        while window.front().is_some_and(|first| *first + pace.per <= now) {
            window.pop_front();
        }
        window.len() >= pace.count as usize
    }

    fn keys<'a>(&self, ch: &Challenge, limits: &'a Limits) -> [Option<(u64, &'a Pace, Kind)>; 5] {
        let hash = |what: &dyn Fn(&mut dyn FnMut(&str))| {
            let mut all = String::new();
            what(&mut |part| {
                all.push_str(part);
                all.push('\u{1f}');
            });
            self.hasher.hash_one(all)
        };
        let tenant = &*ch.tenant;
        let e164 = ch.to.as_ref().map(|to| to.e164());
        let extension = ch.extension.as_deref().unwrap_or("");
        let user = ch
            .user
            .as_deref()
            .zip(limits.per_user.as_ref())
            .map(|(user, pace)| {
                (
                    hash(&|add| [tenant, user, "user"].iter().for_each(|s| add(s))),
                    pace,
                    Kind::Person,
                )
            });
        let number = e164.zip(limits.per_number.as_ref()).map(|(e164, pace)| {
            (
                hash(&|add| [e164, extension, "number"].iter().for_each(|s| add(s))),
                pace,
                Kind::Person,
            )
        });
        let prefix = ch
            .to
            .as_ref()
            .zip(limits.per_prefix.as_ref())
            .map(|(to, pace)| {
                (
                    hash(&|add| [to.neighbourhood(), "prefix"].iter().for_each(|s| add(s))),
                    pace,
                    Kind::Guard,
                )
            });
        let country =
            ch.country
                .as_ref()
                .zip(limits.per_country.as_ref())
                .map(|(country, pace)| {
                    (
                        hash(&|add| [country.as_str(), "country"].iter().for_each(|s| add(s))),
                        pace,
                        Kind::Guard,
                    )
                });
        let tenant = limits.per_tenant.as_ref().map(|pace| {
            (
                hash(&|add| [tenant, "tenant"].iter().for_each(|s| add(s))),
                pace,
                Kind::Guard,
            )
        });
        [user, number, prefix, country, tenant]
    }

    /// Drops what can't refuse anybody any more, so that memory follows the traffic of the longest window.
    fn sweep(&mut self, limits: &Limits, now: Millis) {
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = Millis(now.0 + SWEEP_MS);
        let longest = [
            &limits.per_user,
            &limits.per_number,
            &limits.per_prefix,
            &limits.per_country,
            &limits.per_tenant,
        ]
        .into_iter()
        .flatten()
        .map(|pace| pace.per)
        .max()
        .unwrap_or_default();
        self.seen
            .retain(|_, window| window.back().is_some_and(|last| *last + longest > now));
    }
}

/// What a window is for: decides the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Person,
    Guard,
}
