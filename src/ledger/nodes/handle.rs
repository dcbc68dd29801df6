//! What the ledger's handle has for several nodes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{NodeNews, NodeStanding};
use crate::{clock::Term, ledger::Ledger};

impl Ledger {
    /// How long this node may act on what was committed.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// All nodes that this ledger knows, as they stood at the last beat. None: it is this one's alone.
    pub fn nodes(&self) -> Option<Arc<Vec<NodeStanding>>> {
        self.nodes.as_ref().map(|nodes| nodes.known())
    }

    /// The same for all nodes that have this ledger. None: it is this one's alone.
    pub fn common(&self) -> Option<&str> {
        self.common.as_deref()
    }

    /// From now on this node takes over what others leave, and hears of it here. None: no other can be there.
    pub fn attend(&self) -> Option<mpsc::Receiver<NodeNews>> {
        self.nodes.as_ref().map(|nodes| nodes.attend())
    }

    /// What other nodes are told of this one: how many challenges are open here.
    pub fn says_open(&self, open: usize) {
        if let Some(nodes) = &self.nodes {
            nodes.says(open);
        }
    }

    /// The same, of its configuration: a hash of it.
    pub fn says_configuration(&self, hash: &str) {
        if let Some(nodes) = &self.nodes {
            nodes.configured(hash.to_owned());
        }
    }
}
