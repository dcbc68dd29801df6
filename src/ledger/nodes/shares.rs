//! Among how many nodes the company's figures of a carrier are divided: so that the sum of what they use is never above them,
//! also while nodes come and go. Pure.
//!
//! A node that sees another lowers its part at once. It takes a larger one, or its first, only when every other has said
//! that it counts all the nodes that are there, and among so many. Who is not heard of for a term uses nothing.

use crate::ledger::store::NodeRow;

#[derive(Debug, Default)]
pub(super) struct Shares {
    /// 0: none yet.
    parts: u32,
    seen: i64,
}

impl Shares {
    pub fn parts(&self) -> u32 {
        self.parts
    }

    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// This node was not heard of for a term: others may use its part.
    pub fn lapsed(&mut self) {
        self.parts = 0;
    }

    /// The parts from now on, beside these others; `term`: this node's own opening.
    pub fn look(&mut self, term: i64, live: &[NodeRow]) -> u32 {
        let nodes = u32::try_from(live.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let newest = live.iter().map(|node| node.term).fold(term, i64::max);
        self.seen = newest;
        let is_less = self.parts > 0 && nodes >= self.parts;
        if is_less || live.iter().all(|node| leaves_room(node, nodes, newest)) {
            self.parts = nodes;
        }
        self.parts
    }
}

/// It counts all that are there, and uses no more than one part of so many.
fn leaves_room(node: &NodeRow, nodes: u32, newest: i64) -> bool {
    let parts = u32::try_from(node.parts).unwrap_or(0);
    node.seen >= newest && (parts == 0 || parts >= nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its opening, its part, and what it has published last.
    type Node = (i64, Shares, (u32, i64));

    /// Nodes that look at each other in some order, each by what the others have published at their last look.
    #[derive(Default)]
    struct Company {
        nodes: Vec<Node>,
        next: i64,
    }

    impl Company {
        fn comes(&mut self) {
            self.next += 1;
            self.nodes.push((self.next, Shares::default(), (0, 0)));
        }

        fn looks(&mut self, at: usize) {
            let (term, shares, published) = &mut self.nodes[at];
            *published = (shares.parts(), shares.seen());
            let term = *term;
            let others = self.nodes.iter().filter(|node| node.0 != term);
            let live: Vec<NodeRow> = others.map(row).collect();
            self.nodes[at].1.look(term, &live);
        }

        fn parts(&self) -> Vec<u32> {
            self.nodes.iter().map(|node| node.1.parts()).collect()
        }

        fn used(&self) -> f64 {
            let parts = self.parts().into_iter().filter(|parts| *parts > 0);
            parts.map(|parts| 1.0 / f64::from(parts)).sum()
        }
    }

    fn row((term, _, (parts, seen)): &Node) -> NodeRow {
        NodeRow {
            number: *term as u16,
            name: format!("gw-{term}"),
            term: *term,
            beat: 0,
            gone: false,
            version: String::new(),
            configuration: String::new(),
            open: 0,
            parts: *parts as i32,
            seen: *seen,
        }
    }

    #[test]
    fn one_that_comes_waits_until_the_others_use_less() {
        let mut company = Company::default();
        company.comes();
        company.looks(0);
        company.comes();
        company.looks(1);
        assert_eq!(company.parts(), [1, 0], "the first uses all");
        company.looks(0);
        company.looks(1);
        assert_eq!(company.parts(), [2, 0], "it has not said that it uses less");
        company.looks(0);
        company.looks(1);
        assert_eq!(company.parts(), [2, 2]);
        company.nodes.pop();
        company.looks(0);
        assert_eq!(company.parts(), [1], "a dead one's part is used again");
    }

    #[test]
    fn one_that_was_not_heard_of_takes_its_part_anew() {
        let mut company = Company::default();
        company.comes();
        company.comes();
        for at in [0, 1, 0, 1, 0, 1] {
            company.looks(at);
        }
        assert_eq!(company.parts(), [2, 2]);
        // The other has taken it for dead, and uses all.
        company.nodes[1].1.parts = 1;
        company.nodes[1].2.0 = 1;
        company.nodes[0].1.lapsed();
        company.looks(0);
        assert_eq!(company.parts(), [0, 1]);
        for at in [1, 0, 1, 0] {
            company.looks(at);
        }
        assert_eq!(company.parts(), [2, 2]);
    }

    /// Nodes come, go and look in thousands of orders: never more than the whole, and all of it in the end.
    #[test]
    fn the_sum_is_never_above_the_whole() {
        let mut dice = 1_u64;
        let mut roll = |sides: usize| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) as usize % sides
        };
        for _ in 0..2_000 {
            let mut company = Company::default();
            company.comes();
            for _ in 0..60 {
                let many = company.nodes.len();
                match roll(10) {
                    0 if many < 5 => company.comes(),
                    1 if many > 1 => drop(company.nodes.remove(roll(many))),
                    _ => company.looks(roll(many)),
                }
                assert!(company.used() < 1.0 + 1e-9, "{:?}", company.parts());
            }
            for _ in 0..4 {
                (0..company.nodes.len()).for_each(|at| company.looks(at));
            }
            assert!(company.used() > 1.0 - 1e-9, "{:?}", company.parts());
        }
    }
}
