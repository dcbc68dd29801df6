//! Who waits for a slot: by country, channel and what was tried; tenants take turns, earliest deadline first within one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

use super::tenant_turns::{self, Rank, TenantTurns};
use crate::{
    challenge::{Challenge, ChallengeKey, Channel},
    number::Country,
};

/// Everybody with the same key has the same routes and has tried the same: when the first finds no slot, hardly
/// anybody behind does. Who has tried what others have not (or waits for the budget of hedges) stands elsewhere, so
/// that nobody waits for a free carrier behind those who wait for a full one.
pub type RouteKey = (Channel, Country, TriedSet);

/// What the challenges of a line have behind them; the default: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriedSet(pub u64);

#[derive(Debug, Default)]
struct WaitQueue {
    waiting: tenant_turns::TenantQueue<ChallengeKey>,
    /// Nobody here found a slot since room last changed: newcomers needn't ask.
    blocked: bool,
}

#[derive(Debug, Default)]
pub struct Queue {
    lines: HashMap<RouteKey, WaitQueue>,
    turns: TenantTurns,
    len: usize,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Shares of tenants; 1 where none is given.
    pub fn weigh(&mut self, weights: BTreeMap<Arc<str>, u32>) {
        self.turns.weigh(weights);
    }

    pub fn push(&mut self, at: RouteKey, ch: &Challenge, key: ChallengeKey) {
        let line = self.lines.entry(at).or_default();
        let place = (ch.deadline, key.0);
        if line.waiting.push(&mut self.turns, &ch.tenant, place, key) {
            self.len += 1;
        }
    }

    pub fn remove(&mut self, at: RouteKey, ch: &Challenge, key: ChallengeKey) {
        if let Some(line) = self.lines.get_mut(&at) {
            let place = (ch.deadline, key.0);
            let gone = line.waiting.remove(&mut self.turns, &ch.tenant, place);
            self.len -= usize::from(gone.is_some());
            if line.waiting.is_empty() {
                self.lines.remove(&at);
            }
        }
    }

    /// One of this tenant's has found a slot. Told while it still stands here.
    pub fn served(&mut self, tenant: &Arc<str>) {
        self.turns.served(tenant);
    }

    /// Somewhere a slot, a token or a carrier's health has changed.
    pub fn room_changed(&mut self) {
        for line in self.lines.values_mut() {
            line.blocked = false;
        }
    }

    /// Nobody of this line can be placed until room changes.
    pub fn block(&mut self, at: RouteKey) {
        if let Some(line) = self.lines.get_mut(&at) {
            line.blocked = true;
        }
    }

    /// Somebody of this line may be placed after all.
    pub fn unblock(&mut self, at: RouteKey) {
        if let Some(line) = self.lines.get_mut(&at) {
            line.blocked = false;
        }
    }

    /// The lines that may find a slot, the one whose turn it is on top.
    pub fn open_lines(&mut self) -> BinaryHeap<(Reverse<Rank>, RouteKey)> {
        let turns = &self.turns;
        self.lines
            .iter_mut()
            .filter(|(_, line)| !line.blocked)
            .filter_map(|(at, line)| Some((Reverse(line.waiting.first(turns)?.0), *at)))
            .collect()
    }

    /// The first `many` of a line.
    pub fn heads(&mut self, at: RouteKey, many: usize) -> Vec<ChallengeKey> {
        let line = self.lines.get_mut(&at);
        let heads = line.map(|line| line.waiting.heads(&self.turns, many));
        heads.into_iter().flatten().copied().collect()
    }

    /// Where the first of a line stands among all of them by now.
    pub fn rank(&mut self, at: RouteKey) -> Option<Rank> {
        let line = self.lines.get_mut(&at)?;
        Some(line.waiting.first(&self.turns)?.0)
    }

    /// Who of this line has most life left.
    pub fn longest(&self, at: RouteKey) -> Option<ChallengeKey> {
        self.lines.get(&at)?.waiting.longest().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        challenge::{Expect, Method, Millis, Origin, Until},
        number::Number,
    };

    fn ch(tenant: &str, deadline: i64) -> Challenge {
        Challenge {
            id: "c".into(),
            tenant: tenant.into(),
            user: None,
            to: Number::from_e164("+12025550123"),
            country: Country::parse("US"),
            refused: None,
            extension: None,
            method: Method::SmsCode,
            fallback: Vec::new(),
            until: Until::Delivered,
            expect: Expect::Code,
            code: None,
            code_made: false,
            pin: None,
            text: None,
            locale: "en-US".into(),
            issued: Millis(0),
            deadline: Millis(deadline),
            arrived: Millis(0),
            caller_id: None,
            meta: Default::default(),
            reply_to: None,
            door: Origin::Amqp,
            content: [0; 32],
        }
    }

    fn route(country: &str) -> RouteKey {
        let country = Country::parse(country).expect("a country");
        (Channel::Sms, country, TriedSet::default())
    }

    #[test]
    fn the_earliest_deadline_of_all_lines_comes_first() {
        let (us, se) = (route("US"), route("SE"));
        let mut queue = Queue::default();
        queue.push(us, &ch("t", 30), ChallengeKey(1));
        queue.push(us, &ch("t", 20), ChallengeKey(2));
        queue.push(se, &ch("t", 10), ChallengeKey(3));
        assert_eq!(queue.open_lines().pop().map(|(_, at)| at), Some(se));
        assert_eq!(queue.heads(us, 1), [ChallengeKey(2)]);
        queue.block(se);
        assert_eq!(queue.open_lines().pop().map(|(_, at)| at), Some(us));
        queue.room_changed();
        queue.remove(se, &ch("t", 10), ChallengeKey(3));
        assert_eq!(queue.open_lines().len(), 1);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_tenant_served_in_one_line_lets_the_others_pass_in_all() {
        let (us, se) = (route("US"), route("SE"));
        let mut queue = Queue::default();
        queue.push(us, &ch("noisy", 1), ChallengeKey(1));
        queue.push(us, &ch("noisy", 2), ChallengeKey(2));
        queue.push(se, &ch("noisy", 3), ChallengeKey(3));
        queue.push(se, &ch("quiet", 90), ChallengeKey(4));
        assert_eq!(queue.open_lines().pop().map(|(_, at)| at), Some(us));
        queue.served(&"noisy".into());
        queue.remove(us, &ch("noisy", 1), ChallengeKey(1));
        assert_eq!(queue.open_lines().pop().map(|(_, at)| at), Some(se));
        assert_eq!(queue.heads(se, 8), [ChallengeKey(4), ChallengeKey(3)]);
    }
}
