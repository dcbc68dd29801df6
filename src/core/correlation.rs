//! Correlation: whose is what a carrier brings? Receipts that wait for their text, texts that no reference leads to,
//! look-ups in the ledger, and carriers that are out of use but still have texts of ours.

use super::{
    doubts::Doubts, inbox::Inbox, late::Lookups, leaving::Leaving, receipts::UnclearReceipts,
};
use crate::ledger::InboxKey;

pub(super) struct Correlation {
    pub inbox: Inbox,
    pub unclear: UnclearReceipts,
    pub doubts: Doubts,
    /// The same of those that are settled, of challenges that go on: another receipt may be theirs.
    pub settled_doubts: Doubts,
    pub late: Lookups,
    pub leaving: Leaving,
}

impl Correlation {
    /// `first`: the first key that is free.
    pub fn new(first: InboxKey) -> Correlation {
        Correlation {
            inbox: Inbox::new(first.0),
            unclear: UnclearReceipts::default(),
            doubts: Doubts::default(),
            settled_doubts: Doubts::default(),
            late: Lookups::default(),
            leaving: Leaving::default(),
        }
    }
}
