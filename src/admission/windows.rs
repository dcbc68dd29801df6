//! Sliding windows: so many challenges in so long, per person, number, and whatever else is limited.
//!
//! A window that slides, not a counter that resets: whoever knew the moment of the reset would have twice the limit.
//! One rule: each new id counts, but for those that the limiter itself refuses. What counts is also written with the
//! challenge, so that a restart finds the windows as they were ([`Windows::refill`]). Keys are hashes under a secret of
//! the ledger's: no number or user stands here.
//!
//! The ledger's store gives the verdict, in the transaction in which it takes the challenge; one that keeps the windows in
//! memory ([`Windows`]) takes back with a transaction what was counted in it.

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
pub type LimitKeys = [u64; Kind::ALL.len()];

/// Makes the keys, with the ledger's secret.
pub struct LimitHasher(hmac::Key);

impl LimitHasher {
    pub fn new(secret: &[u8; 32]) -> LimitHasher {
        LimitHasher(hmac::Key::new(hmac::HMAC_SHA256, secret))
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
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind as u8]);
        context.update(&(first.len() as u64).to_le_bytes());
        context.update(first.as_bytes());
        context.update(second.as_bytes());
        let mut hash = [0; 8];
        hash.copy_from_slice(&context.sign().as_ref()[..8]);
        // 0 says that there is nothing of this kind.
        u64::from_le_bytes(hash).max(1)
    }
}

/// The arrivals that still count, by key.
pub struct Windows {
    seen: HashMap<u64, Window>,
    /// When expired windows are dropped next.
    sweep_at: Millis,
    /// Most windows; beyond it those that hold a single, older arrival are forgotten.
    most: usize,
    /// What the present transaction has changed, in order.
    changes: Vec<Counted>,
    /// Windows have gone for want of room, and nobody has been told yet.
    forgotten: Option<Forgotten>,
}

/// There were more windows than are remembered: those seen longest ago are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    pub windows: usize,
    pub kept: usize,
}

/// What the limiter says of one challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Refused for this limit: then it counts nowhere.
    pub refused: Option<Kind>,
    /// Over these limits, which only record.
    pub recorded: [bool; Kind::ALL.len()],
    /// Windows that are full with it, or that it is refused for, and until when.
    pub full: [Option<Millis>; Kind::ALL.len()],
}

impl Taken {
    /// Is there anything to say of it?
    pub fn is_plain(&self) -> bool {
        *self == Taken::default()
    }
}

/// A change of one window.
#[derive(Clone, Copy, Debug)]
enum Counted {
    Came(u64),
    /// An older arrival went, since there were more than the limit looks at.
    Went(u64, Millis),
}

/// How often windows without a recent arrival are dropped.
const SWEEP_MS: i64 = 60_000;
/// Bound of windows: about 100 MB.
const MOST: usize = 2_000_000;
/// Forgetting for want of room goes by arrivals older than this part of the longest window, then of that, and so on.
const FORGET_FROM: u32 = 2;

impl Default for Windows {
    fn default() -> Windows {
        Windows {
            seen: HashMap::new(),
            sweep_at: Millis::default(),
            most: MOST,
            changes: Vec::new(),
            forgotten: None,
        }
    }
}

impl Windows {
    /// Counts a challenge with these keys, or says for which limit it is refused (then it doesn't count).
    pub fn take(&mut self, keys: &LimitKeys, limits: &Limits, now: Millis) -> Taken {
        self.sweep(limits, now);
        let mut taken = Taken::default();
        for (kind, pace, key) in limited(keys, limits) {
            let window = self.seen.get_mut(&key);
            let full = window.and_then(|window| {
                window.forget_before(now - pace.per);
                window.full_until(pace)
            });
            if full.is_none() {
                continue;
            }
            match kind.guard(limits) {
                Guard::Deny => {
                    taken.refused = Some(kind);
                    taken.full[kind as usize] = full;
                    return taken;
                }
                Guard::Record => taken.recorded[kind as usize] = true,
            }
        }
        self.count(keys, limits, now, &mut taken);
        taken
    }

    /// After a start: this one counted when it arrived. What is full with it.
    pub fn refill(&mut self, keys: &LimitKeys, limits: &Limits, arrived: Millis) -> Taken {
        if self.seen.len() >= self.most {
            self.forget(limits, arrived);
        }
        let mut taken = Taken::default();
        self.count(keys, limits, arrived, &mut taken);
        self.changes.clear();
        taken
    }

    fn count(&mut self, keys: &LimitKeys, limits: &Limits, at: Millis, taken: &mut Taken) {
        for (kind, pace, key) in limited(keys, limits) {
            let window = self.seen.entry(key).or_insert(Window::None);
            window.push(at);
            self.changes.push(Counted::Came(key));
            while let Some(gone) = window.pop_beyond(pace.count as usize) {
                self.changes.push(Counted::Went(key, gone));
            }
            taken.full[kind as usize] = window.full_until(pace);
        }
    }

    /// The arrivals that count in a window, oldest first, as a store has kept them.
    pub fn set(&mut self, key: u64, arrivals: Vec<Millis>) {
        let mut window = Window::None;
        arrivals.into_iter().for_each(|at| window.push(at));
        if window.is_empty() {
            self.seen.remove(&key);
        } else {
            self.seen.insert(key, window);
        }
    }

    /// To be kept by a store.
    pub fn arrivals(&self, key: u64) -> Vec<Millis> {
        match self.seen.get(&key) {
            None | Some(Window::None) => Vec::new(),
            Some(Window::One(at)) => vec![*at],
            Some(Window::More(all)) => all.iter().copied().collect(),
        }
    }

    /// Until when a window is full, if it is.
    pub fn full_until(&mut self, key: u64, pace: &Pace, now: Millis) -> Option<Millis> {
        let window = self.seen.get_mut(&key)?;
        window.forget_before(now - pace.per);
        window.full_until(pace)
    }

    /// How much the present transaction has counted.
    pub fn mark(&self) -> usize {
        self.changes.len()
    }

    /// What was counted since then was not, after all.
    pub fn back_to(&mut self, mark: usize) {
        for change in self.changes.drain(mark.min(self.changes.len())..).rev() {
            let key = match change {
                Counted::Came(key) | Counted::Went(key, _) => key,
            };
            let Some(window) = self.seen.get_mut(&key) else {
                continue;
            };
            match change {
                Counted::Went(_, at) => window.push_first(at),
                Counted::Came(_) => window.pop_last(),
            }
            if window.is_empty() {
                self.seen.remove(&key);
            }
        }
    }

    /// The transaction is durable: what was counted stays.
    pub fn keep(&mut self) {
        self.changes.clear();
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
        self.forgotten = Some(Forgotten {
            windows: before,
            kept: self.seen.len(),
        });
    }

    /// Told once each time that windows go for want of room.
    pub fn forgotten(&mut self) -> Option<Forgotten> {
        self.forgotten.take()
    }
}

/// How far back arrivals count.
pub fn longest(limits: &Limits) -> Duration {
    let paces = Kind::ALL.iter().filter_map(|kind| kind.pace(limits));
    paces.map(|pace| pace.per).max().unwrap_or_default()
}

/// The windows of these keys that are limited.
pub fn limited<'a>(
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
    None,
    One(Millis),
    #[expect(
        clippy::box_collection,
        reason = "a window of one stays two words wide"
    )]
    More(Box<VecDeque<Millis>>),
}

impl Window {
    fn push(&mut self, at: Millis) {
        match self {
            Window::None => *self = Window::One(at),
            Window::One(first) => *self = Window::More(Box::new(VecDeque::from([*first, at]))),
            Window::More(all) => all.push_back(at),
        }
    }

    fn push_first(&mut self, at: Millis) {
        match self {
            Window::None => *self = Window::One(at),
            Window::One(last) => *self = Window::More(Box::new(VecDeque::from([at, *last]))),
            Window::More(all) => all.push_front(at),
        }
    }

    fn pop_last(&mut self) {
        match self {
            Window::None | Window::One(_) => *self = Window::None,
            Window::More(all) => {
                all.pop_back();
                if let [only] = all.make_contiguous() {
                    *self = Window::One(*only);
                }
            }
        }
    }

    /// The oldest, where there are more than so many.
    fn pop_beyond(&mut self, most: usize) -> Option<Millis> {
        match self {
            Window::None | Window::One(_) => None,
            Window::More(all) => match all.len() > most {
                true => all.pop_front(),
                false => None,
            },
        }
    }

    /// Those that arrived at `start` or before count no longer.
    fn forget_before(&mut self, start: Millis) {
        match self {
            Window::None => {}
            Window::One(at) if *at <= start => *self = Window::None,
            Window::One(_) => {}
            Window::More(all) => {
                while all.front().is_some_and(|first| *first <= start) {
                    all.pop_front();
                }
            }
        }
    }

    /// When it has room again; None: it has. Asked for once those that count no longer are forgotten.
    fn full_until(&self, pace: &Pace) -> Option<Millis> {
        let most = pace.count as usize;
        let first = match self {
            Window::None => None,
            Window::One(at) => (most <= 1).then_some(*at),
            Window::More(all) => {
                let freeing = all.len().checked_sub(most.max(1));
                freeing.and_then(|place| all.get(place).copied())
            }
        };
        first.map(|first| first + pace.per)
    }

    fn is_empty(&self) -> bool {
        match self {
            Window::None => true,
            Window::One(_) => false,
            Window::More(all) => all.is_empty(),
        }
    }

    /// The newest arrival; of none the distant past.
    fn last(&self) -> Millis {
        match self {
            Window::None => Millis(i64::MIN),
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
    pub fn guard(self, limits: &Limits) -> Guard {
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
