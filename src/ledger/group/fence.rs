//! Whose a group is, and what of it is not its owner's any more.

use std::collections::{BTreeMap, BTreeSet};

use super::Row;

/// In whose name a group is written. A node has a number in its store, by its name; each opening has a term of its own,
/// above all that were before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Owner {
    pub node: u16,
    pub term: i64,
}

/// What of a group is not its owner's any more. Rows that belong to an open challenge are written only for the node that
/// owns it.
#[derive(Debug, Default)]
pub(in crate::ledger) enum Fence {
    /// All of it is.
    #[default]
    Open,
    /// Challenges of other nodes; true: it has ended, so whoever knows something more may add it.
    Others(BTreeMap<i64, bool>),
    /// The term is over: whatever the node says was decided while others had its work.
    Over,
}

impl Fence {
    /// The challenges of which nothing in this batch may be written.
    pub(super) fn off(&self, rows: &[Row]) -> BTreeSet<i64> {
        let owned = || rows.iter().filter_map(Row::owned);
        match self {
            Fence::Open => BTreeSet::new(),
            Fence::Over => owned().collect(),
            Fence::Others(others) if others.is_empty() => BTreeSet::new(),
            Fence::Others(others) => {
                let steps = rows.iter().filter(|row| row.is_step());
                let steps: BTreeSet<i64> = steps.filter_map(Row::owned).collect();
                let off = |key: &i64| {
                    let ended = others.get(key);
                    ended.is_some_and(|ended| !ended || steps.contains(key))
                };
                owned().filter(off).collect()
            }
        }
    }
}
