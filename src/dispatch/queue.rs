//! Who waits for a slot: by country, channel and what was tried, earliest deadline first.

use std::collections::{BTreeSet, BinaryHeap, HashMap};

use crate::{
    challenge::{ChallengeKey, Channel, Millis},
    number::Country,
};

/// Everybody with the same key has the same routes and has tried the same: when the first finds no slot, hardly
/// anybody behind does. Who has tried what others have not (or waits for the budget of hedges) stands elsewhere, so
/// that nobody waits for a free carrier behind those who wait for a full one.
pub type RouteKey = (Channel, Country, Tried);

/// What the challenges of a line have behind them; the default: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tried(pub u64);

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<(Millis, ChallengeKey)>,
    /// Nobody here found a slot since room last changed: newcomers needn't ask.
    blocked: bool,
}

#[derive(Debug, Default)]
pub struct Queue {
    lines: HashMap<RouteKey, Line>,
    len: usize,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, at: RouteKey, deadline: Millis, key: ChallengeKey) {
        if self
            .lines
            .entry(at)
            .or_default()
            .waiting
            .insert((deadline, key))
        {
            self.len += 1;
        }
    }

    pub fn remove(&mut self, at: RouteKey, deadline: Millis, key: ChallengeKey) {
        if let Some(line) = self.lines.get_mut(&at)
            && line.waiting.remove(&(deadline, key))
        {
            self.len -= 1;
            if line.waiting.is_empty() {
                self.lines.remove(&at);
            }
        }
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

    /// The lines that may find a slot, the one with the earliest deadline on top.
    pub fn open_lines(&self) -> BinaryHeap<(std::cmp::Reverse<Millis>, RouteKey)> {
        self.lines
            .iter()
            .filter(|(_, line)| !line.blocked)
            .filter_map(|(at, line)| Some((std::cmp::Reverse(line.waiting.first()?.0), *at)))
            .collect()
    }

    /// The first `many` of a line, earliest deadline first.
    pub fn heads(&self, at: RouteKey, many: usize) -> impl Iterator<Item = ChallengeKey> + '_ {
        self.lines
            .get(&at)
            .into_iter()
            .flat_map(move |line| line.waiting.iter().take(many).map(|(_, key)| *key))
    }

    pub fn head_deadline(&self, at: RouteKey) -> Option<Millis> {
        self.lines
            .get(&at)?
            .waiting
            .first()
            .map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_of_all_lines_comes_first() {
        let us = (
            Channel::Sms,
            Country::parse("US").expect("US"),
            Tried::default(),
        );
        let se = (
            Channel::Sms,
            Country::parse("SE").expect("SE"),
            Tried::default(),
        );
        let mut queue = Queue::default();
        queue.push(us, Millis(30), ChallengeKey(1));
        queue.push(us, Millis(20), ChallengeKey(2));
        queue.push(se, Millis(10), ChallengeKey(3));
        assert_eq!(queue.open_lines().pop().map(|(_, at)| at), Some(se));
        assert_eq!(queue.heads(us, 1).collect::<Vec<_>>(), [ChallengeKey(2)]);
        queue.block(se);
        assert_eq!(queue.open_lines().pop().map(|(_, at)| at), Some(us));
        queue.room_changed();
        queue.remove(se, Millis(10), ChallengeKey(3));
        assert_eq!(queue.open_lines().len(), 1);
        assert_eq!(queue.len(), 2);
    }
}
