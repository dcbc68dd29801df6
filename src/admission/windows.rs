//! Sliding windows: so many challenges in so long, per person, number, and whatever else is limited.
//!
//! A window that slides, not a counter that resets: whoever knew the moment of the reset would have twice the limit.
//! One rule: each new id counts, but for those that the limiter itself refuses. What counts is also written with the
//! challenge, so that a restart finds the windows as they were ([`Windows::refill`]). Keys are hashes under a secret of
//! the ledger's: no number or user stands here.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use ring::hmac;

use super::{Guard, Limits};
use crate::{
    challenge::{Challenge, Millis},
    pace::Pace,
};

/// What a challenge counts in: a hash for each kind of window (user, number, prefix, country, tenant), made with
/// a secret of the ledger. 0: nothing of this kind.
pub type LimitKeys = [u64; 5];

/// The arrivals that still count, by key.
pub struct Windows {
    secret: hmac::Key,
    seen: HashMap<u64, Window>,
    /// When expired windows are dropped next.
    sweep_at: Millis,
    /// Most windows; beyond it those that hold a single, older arrival are forgotten.
    most: usize,
}

/// What the limiter says of one challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Refused for this limit: then it counts nowhere.
    pub refused: Option<Kind>,
    /// Over these limits, which only record.
    pub recorded: [bool; Kind::ALL.len()],
}

/// How often windows without a recent arrival are dropped.
const SWEEP_MS: i64 = 60_000;
/// Bound of windows: about 100 MB.
const MOST: usize = 2_000_000;
/// Forgetting for want of room goes by arrivals older than this part of the longest window, then of that, and so on.
const FORGET_FROM: u32 = 2;

impl Windows {
    pub fn new(secret: &[u8; 32]) -> Windows {
        Windows {
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            seen: HashMap::new(),
            sweep_at: Millis::default(),
            most: MOST,
        }
    }

    /// What this challenge counts in, whether or not it is limited today.
    pub fn keys(&self, ch: &Challenge) -> LimitKeys {
        let to = ch.to.as_ref();
        let extension = ch.extension.as_deref().unwrap_or("");
        let user = ch.user.as_deref().map(|user| (&*ch.tenant, user));
        Kind::ALL.map(|kind| {
            let what = match kind {
                Kind::User => user,
                Kind::Number => to.map(|to| (to.e164(), extension)),
                Kind::Prefix => to.map(|to| (to.neighbourhood(), "")),
                Kind::Country => ch.country.as_ref().map(|c| (c.as_str(), "")),
                Kind::Tenant => Some((&*ch.tenant, "")),
            };
            what.map_or(0, |(first, second)| self.hash(kind, first, second))
        })
    }

    fn hash(&self, kind: Kind, first: &str, second: &str) -> u64 {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(&[kind as u8]);
        context.update(&(first.len() as u64).to_le_bytes());
        context.update(first.as_bytes());
        context.update(second.as_bytes());
        let mut hash = [0; 8];
        hash.copy_from_slice(&context.sign().as_ref()[..8]);
        // 0 says that there is nothing of this kind.
        u64::from_le_bytes(hash).max(1)
    }

    /// Counts a challenge with these keys, or says for which limit it is refused (then it doesn't count).
    pub fn take(&mut self, keys: &LimitKeys, limits: &Limits, now: Millis) -> Taken {
        self.sweep(limits, now);
        let mut taken = Taken::default();
        for (kind, pace, key) in limited(keys, limits) {
            let full = self
                .seen
                .get_mut(&key)
                .is_some_and(|window| window.count(now - pace.per) >= pace.count as usize);
            match full.then(|| kind.guard(limits)) {
                None => {}
                Some(Guard::Deny) => {
                    taken.refused = Some(kind);
                    return taken;
                }
                Some(Guard::Record) => taken.recorded[kind as usize] = true,
            }
        }
        self.count(keys, limits, now);
        taken
    }

    /// After a start: this one counted when it arrived.
    pub fn refill(&mut self, keys: &LimitKeys, limits: &Limits, arrived: Millis) {
        if self.seen.len() >= self.most {
            self.forget(limits, arrived);
        }
        self.count(keys, limits, arrived);
    }

    fn count(&mut self, keys: &LimitKeys, limits: &Limits, at: Millis) {
        for (_, pace, key) in limited(keys, limits) {
            self.seen
                .entry(key)
                .and_modify(|window| window.push(at, pace.count as usize))
                .or_insert(Window::One(at));
        }
    }

    /// A challenge that counted turned out to be one that is known, or was not taken after all.
    pub fn give_back(&mut self, keys: &LimitKeys, limits: &Limits, at: Millis) {
        for (_, _, key) in limited(keys, limits) {
            if let Some(window) = self.seen.get_mut(&key)
                && window.forget(at)
            {
                self.seen.remove(&key);
            }
        }
    }

    /// Drops what can't refuse anybody any more, so that memory follows the traffic of the longest window, and not beyond
    /// its bound.
    fn sweep(&mut self, limits: &Limits, now: Millis) {
        if now >= self.sweep_at {
            self.sweep_at = Millis(now.0 + SWEEP_MS);
            let longest = longest(limits);
            self.seen.retain(|_, window| window.last() + longest > now);
        }
        if self.seen.len() >= self.most {
            self.forget(limits, now);
        }
    }

    /// There are too many windows: those go that hold a single arrival and limit nobody yet, older ones first; if that is
    /// not enough, all go whose last arrival is older.
    fn forget(&mut self, limits: &Limits, now: Millis) {
        let (before, enough) = (self.seen.len(), self.most / 4 * 3);
        for singles in [true, false] {
            let mut age = longest(limits);
            while self.seen.len() > enough && age > Duration::from_millis(1) {
                age /= FORGET_FROM;
                let since = now - age;
                self.seen.retain(|_, window| {
                    (singles && matches!(window, Window::More(_))) || window.last() > since
                });
            }
        }
        tracing::warn!(
            windows = before,
            kept = self.seen.len(),
            "more persons and numbers than the limiter remembers: those seen longest ago are forgotten"
        );
    }
}

/// How far back arrivals count.
pub fn longest(limits: &Limits) -> Duration {
    let paces = Kind::ALL.iter().filter_map(|kind| kind.pace(limits));
    paces.map(|pace| pace.per).max().unwrap_or_default()
}

/// The windows of these keys that are limited.
fn limited<'a>(
    keys: &'a LimitKeys,
    limits: &'a Limits,
) -> impl Iterator<Item = (Kind, &'a Pace, u64)> {
    let each = Kind::ALL.into_iter().zip(keys);
    each.filter(|(_, key)| **key != 0)
        .filter_map(|(kind, key)| Some((kind, kind.pace(limits)?, *key)))
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

    /// The newest arrival; of none the distant past.
    fn last(&self) -> Millis {
        match self {
            Window::One(only) => *only,
            Window::More(all) => all.back().copied().unwrap_or(Millis(i64::MIN)),
        }
    }
}

/// What a window is for: decides the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    User,
    Number,
    Prefix,
    Country,
    Tenant,
}

impl Kind {
    /// In the order of [`LimitKeys`].
    pub const ALL: [Kind; 5] = [
        Kind::User,
        Kind::Number,
        Kind::Prefix,
        Kind::Country,
        Kind::Tenant,
    ];

    /// The key in `[limits]`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::User => "challenges_per_user",
            Kind::Number => "challenges_per_number",
            Kind::Prefix => "challenges_per_prefix",
            Kind::Country => "challenges_per_country",
            Kind::Tenant => "challenges_per_tenant",
        }
    }

    /// The reason of the final report.
    pub fn reason(self) -> &'static str {
        match self.is_guard() {
            false => "too_many_attempts",
            true => "fraud_guard",
        }
    }

    /// Guards against fraud look at many persons together.
    pub fn is_guard(self) -> bool {
        match self {
            Kind::User | Kind::Number => false,
            Kind::Prefix | Kind::Country | Kind::Tenant => true,
        }
    }

    /// Fraud guards may be set to record only.
    fn guard(self, limits: &Limits) -> Guard {
        match self {
            Kind::User | Kind::Number => Guard::Deny,
            Kind::Prefix => limits.prefix_guard.unwrap_or(limits.guard),
            Kind::Country | Kind::Tenant => limits.guard,
        }
    }

    pub fn pace(self, limits: &Limits) -> Option<&Pace> {
        match self {
            Kind::User => limits.per_user.as_ref(),
            Kind::Number => limits.per_number.as_ref(),
            Kind::Prefix => limits.per_prefix.as_ref(),
            Kind::Country => limits.per_country.as_ref(),
            Kind::Tenant => limits.per_tenant.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
