//! Which of the other nodes live: by whether their beat moves on, as this node's own clock sees it. Wall clocks are never
//! compared. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::{Mono, TERM},
    ledger::store::NodeRow,
};

/// Most time between two looks: after a longer one nothing is known of anybody, and a whole term is waited again, so that a
/// database that was away ends nobody.
const BLIND: u32 = 2;

#[derive(Default)]
pub(super) struct Judge {
    looked: Option<Mono>,
    seen: BTreeMap<u16, Seen>,
    /// Nodes that have left nothing: number, term and beat.
    emptied: BTreeSet<(u16, i64, i64)>,
}

struct Seen {
    term: i64,
    beat: i64,
    /// When it was seen first as it is.
    since: Mono,
}

/// How the others stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub live: Vec<NodeRow>,
    /// Whose work is to be taken over.
    pub dead: Vec<NodeRow>,
}

impl Judge {
    /// `asked` and `answered`: when the database was asked for these rows, and when it had answered.
    pub fn look(&mut self, asked: Mono, answered: Mono, own: u16, nodes: &[NodeRow]) -> Judgement {
        let blind = self
            .looked
            .is_none_or(|looked| asked >= looked + TERM / BLIND);
        self.looked = Some(answered);
        let mut judgement = Judgement::default();
        for node in nodes.iter().filter(|node| node.number != own) {
            let new = Seen {
                term: node.term,
                beat: node.beat,
                since: answered,
            };
            let known = self.seen.get(&node.number);
            let known = known.filter(|seen| (seen.term, seen.beat) == (node.term, node.beat));
            let since = match known {
                Some(seen) if !blind => seen.since,
                Some(_) | None => {
                    self.seen.insert(node.number, new);
                    answered
                }
            };
            match node.gone || asked >= since + TERM {
                true if self.emptied.contains(&mark(node)) => {}
                true => judgement.dead.push(node.clone()),
                false => judgement.live.push(node.clone()),
            }
        }
        judgement
    }

    /// Nothing of what this node had is left.
    pub fn emptied(&mut self, node: &NodeRow) {
        self.emptied.retain(|(number, ..)| *number != node.number);
        self.emptied.insert(mark(node));
    }
}

fn mark(node: &NodeRow) -> (u16, i64, i64) {
    (node.number, node.term, node.beat)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::after_start(Duration::from_secs(seconds))
    }

    fn node(number: u16, beat: i64) -> NodeRow {
        NodeRow {
            number,
            name: format!("gw-{number}"),
            term: 7,
            beat,
            gone: false,
            version: String::new(),
            configuration: String::new(),
            open: 0,
            parts: 1,
            seen: 7,
        }
    }

    /// A look each two seconds, with the beat of node 2 as it is then: the seconds at which it was dead.
    fn dead_at(looks: impl IntoIterator<Item = (u64, NodeRow)>) -> Vec<u64> {
        let mut judge = Judge::default();
        let looks = looks.into_iter().filter_map(|(second, row)| {
            let judged = judge.look(at(second), at(second), 1, &[node(1, 0), row]);
            assert_eq!(judged.live.is_empty(), !judged.dead.is_empty());
            (!judged.dead.is_empty()).then_some(second)
        });
        looks.collect()
    }

    #[test]
    fn a_beat_that_stands_still_for_a_term_is_dead_and_one_that_moves_is_not() {
        let stands = (0..8).map(|n| (2 * n, node(2, 5)));
        assert_eq!(dead_at(stands), [10, 12, 14]);
        let moves = (0..60).map(|n| (2 * n, node(2, n as i64 / 4)));
        assert_eq!(dead_at(moves), [0; 0]);
        let back = [5, 5, 5, 5, 5, 5, 6, 6].into_iter().enumerate();
        assert_eq!(
            dead_at(back.map(|(n, beat)| (2 * n as u64, node(2, beat)))),
            [10]
        );
    }

    #[test]
    fn after_a_time_without_looks_a_whole_term_is_waited_again() {
        let looks = [0, 2, 4, 60, 62, 64, 66, 68, 70, 72];
        let stands = looks.map(|second| (second, node(2, 5)));
        assert_eq!(dead_at(stands), [70, 72]);
    }

    #[test]
    fn one_that_left_is_dead_at_once_and_one_that_was_emptied_is_nobody() {
        let gone = NodeRow {
            gone: true,
            ..node(2, 5)
        };
        let mut judge = Judge::default();
        let judged = judge.look(at(0), at(0), 1, std::slice::from_ref(&gone));
        assert_eq!(judged.dead, std::slice::from_ref(&gone));
        judge.emptied(&gone);
        let judged = judge.look(at(2), at(2), 1, std::slice::from_ref(&gone));
        assert_eq!(judged, Judgement::default());
        let back = node(2, 6);
        let judged = judge.look(at(4), at(4), 1, &[back]);
        assert_eq!(judged.live, [node(2, 6)]);
    }
}
