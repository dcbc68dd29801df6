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
    seen: HashMap<u64, Window>,
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
            self.seen
                .entry(key.hash)
                .and_modify(|window| window.push(now, key.pace.count as usize))
                .or_insert(Window::One(now));
        }
        None
    }

    /// This challenge turned out to be one that is known: it doesn't count twice.
    pub fn give_back(&mut self, ch: &Challenge, limits: &Limits, at: Millis) {
        for key in self.keys(ch, limits).iter().flatten() {
            if let Some(window) = self.seen.get_mut(&key.hash)
                && window.forget(at)
            {
                self.seen.remove(&key.hash);
            }
        }
    }

    fn full(&mut self, key: &Key<'_>, now: Millis) -> bool {
        let Some(window) = self.seen.get_mut(&key.hash) else {
            return false;
        };
        window.count(now - key.pace.per) >= key.pace.count as usize
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
            .retain(|_, window| window.last().is_some_and(|last| last + longest > now));
    }
}

/// The arrivals that still count in one window. Most hold a single one and need no heap for it.
#[derive(Debug)]
enum Window {
    One(Millis),
    #[expect(
        clippy::box_collection,
        reason = "a window of one stays two words wide"
    )]
    More(Box<VecDeque<Millis>>),
}

impl Window {
    /// Takes an arrival in; of more than `most` the oldest goes.
    fn push(&mut self, now: Millis, most: usize) {
        match self {
            Window::One(first) => {
                *self = Window::More(Box::new(VecDeque::from([*first, now])));
            }
            Window::More(all) => all.push_back(now),
        }
        if let Window::More(all) = self {
            while all.len() > most {
                all.pop_front();
            }
        }
    }

    /// How many arrived after `start`; the others are forgotten.
    fn count(&mut self, start: Millis) -> usize {
        match self {
            Window::One(at) => usize::from(*at > start),
            Window::More(all) => {
                while all.front().is_some_and(|first| *first <= start) {
                    all.pop_front();
                }
                all.len()
            }
        }
    }

    /// Takes one arrival at this moment back. True: nothing is left.
    fn forget(&mut self, at: Millis) -> bool {
        match self {
            Window::One(only) => *only == at,
            Window::More(all) => {
                if let Some(place) = all.iter().rposition(|seen| *seen == at) {
                    all.remove(place);
                }
                all.is_empty()
            }
        }
    }

    fn last(&self) -> Option<Millis> {
        match self {
            Window::One(only) => Some(*only),
            Window::More(all) => all.back().copied(),
        }
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
