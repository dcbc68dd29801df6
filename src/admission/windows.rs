//! Sliding windows: so many challenges in so long, per person, number, and whatever else is limited.
//!
//! A window that slides, not a counter that resets: whoever knew the moment of the reset would have twice the limit.
//! Keys are hashes, so no number or user stands here.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
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
        for key in keys.iter().flatten() {
            if !self.full(key, now) {
                continue;
            }
            match (key.kind.is_guard(), limits.guard) {
                (false, _) => return Some("too_many_attempts"),
                (true, Guard::Deny) => return Some("fraud_guard"),
                (true, Guard::Record) => {
                    tracing::warn!(challenge = %ch.id, "over a fraud guard's limit; recorded, not refused");
                }
            }
        }
        for key in keys.iter().flatten() {
            let window = self.seen.entry(key.hash).or_default();
            window.push_back(now);
            while window.len() > key.pace.count as usize {
                window.pop_front();
            }
        }
        None
    }

    /// This challenge turned out to be one that is known: it doesn't count twice.
    pub fn give_back(&mut self, ch: &Challenge, limits: &Limits, at: Millis) {
        for key in self.keys(ch, limits).iter().flatten() {
            if let Some(window) = self.seen.get_mut(&key.hash)
                && let Some(at) = window.iter().rposition(|seen| *seen == at)
            {
                window.remove(at);
            }
        }
    }

    fn full(&mut self, key: &Key<'_>, now: Millis) -> bool {
        let Some(window) = self.seen.get_mut(&key.hash) else {
            return false;
        };
        while window
            .front()
            .is_some_and(|first| *first + key.pace.per <= now)
        {
            window.pop_front();
        }
        window.len() >= key.pace.count as usize
    }

    /// The windows that this challenge counts in.
    fn keys<'a>(&self, ch: &Challenge, limits: &'a Limits) -> [Option<Key<'a>>; 5] {
        let of = |kind: Kind, pace: &'a Option<Pace>, what: Option<(&str, &str)>| {
            let (pace, what) = (pace.as_ref()?, what?);
            Some(Key {
                hash: self.hasher.hash_one((kind, what)),
                pace,
                kind,
            })
        };
        let to = ch.to.as_ref();
        let extension = ch.extension.as_deref().unwrap_or("");
        let user = ch.user.as_deref().map(|user| (&*ch.tenant, user));
        let country = ch.country.as_ref().map(|c| (c.as_str(), ""));
        [
            of(Kind::User, &limits.per_user, user),
            of(
                Kind::Number,
                &limits.per_number,
                to.map(|to| (to.e164(), extension)),
            ),
            of(
                Kind::Prefix,
                &limits.per_prefix,
                to.map(|to| (to.neighbourhood(), "")),
            ),
            of(Kind::Country, &limits.per_country, country),
            of(Kind::Tenant, &limits.per_tenant, Some((&ch.tenant, ""))),
        ]
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

/// One window of one challenge.
struct Key<'a> {
    hash: u64,
    pace: &'a Pace,
    kind: Kind,
}

/// What a window is for: decides the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    User,
    Number,
    Prefix,
    Country,
    Tenant,
}

impl Kind {
    /// Fraud guards may be set to record only.
    fn is_guard(self) -> bool {
        matches!(self, Kind::Prefix | Kind::Country | Kind::Tenant)
    }
}

#[cfg(test)]
mod tests;
