//! How a node stands, as others see it.

use std::time::Duration;

use crate::clock::Mono;

/// One node as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStanding {
    pub name: String,
    /// This very node.
    pub is_own: bool,
    pub state: NodeState,
    /// Of its program.
    pub version: String,
    /// Tells its routes and carriers from others; empty: it has not said.
    pub configuration: String,
    /// Challenges that it had at its last beat.
    pub open: i64,
    /// Its part of what the carriers allow is one of so many; 0: none.
    pub parts: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It is heard of.
    Live,
    /// It has ended well.
    Gone,
    /// It is not heard of any more, and others have its work.
    Silent,
}

impl NodeState {
    pub fn name(self) -> &'static str {
        match self {
            NodeState::Live => "live",
            NodeState::Gone => "gone",
            NodeState::Silent => "silent",
        }
    }
}

/// Since when another node has another configuration, and whether that was told.
#[derive(Default)]
pub(super) struct Differing(Option<(Mono, bool)>);

/// How long nodes may differ while a new configuration goes round.
const DIFFERS: Duration = Duration::from_secs(60);

impl Differing {
    /// Says once that another node has other routes or carriers, where that lasts; and once that it is over.
    pub fn look(&mut self, known: &[NodeStanding], now: Mono) {
        let own = known.iter().find(|node| node.is_own);
        let own = own.map_or("", |node| node.configuration.as_str());
        let mut others = known.iter().filter(|node| {
            let says = !own.is_empty() && !node.configuration.is_empty();
            says && node.state == NodeState::Live && node.configuration != own
        });
        match (others.next(), self.0) {
            (None, Some((_, told))) => {
                self.0 = None;
                if told {
                    tracing::info!("all nodes have the same routes and carriers");
                }
            }
            (None, None) => {}
            (Some(_), None) => self.0 = Some((now, false)),
            (Some(other), Some((since, false))) if now >= since + DIFFERS => {
                self.0 = Some((since, true));
                tracing::warn!(
                    node = other.name,
                    "another node has other routes or carriers than this one: reload the one that was forgotten"
                );
            }
            (Some(_), Some(_)) => {}
        }
    }
}
