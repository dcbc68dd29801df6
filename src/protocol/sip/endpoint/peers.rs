//! Who the far end is. Signalling tells a call by its Call-ID and tags, which others may have seen; so nothing matches a
//! call, or a request of ours, that does not come from an address of the trunk's.
//!
//! Addresses are compared, never ports: far ends answer from other ports than they listen on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CallHandle, Endpoint, Event, Owner, Pending};
use crate::protocol::cidr::Cidr;

/// Addresses of one call's requests that are remembered beyond the trunk's own.
const MAX_SENT_TO: usize = 8;
/// Foreign addresses that are told of, per trunk.
const MAX_TOLD: usize = 8;
/// Requests of foreign addresses that are answered within a second, per trunk: whoever forges a source address makes us send no
/// more than that to its owner.
const MAX_ANSWERED: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// The addresses of a trunk, as far as they are known.
#[derive(Default)]
pub(super) struct Peers {
    /// Those of its endpoints now.
    current: Arc<[IpAddr]>,
    /// Those that the operator names.
    allow: Arc<[Cidr]>,
    /// Foreign ones that were told of.
    told: Vec<IpAddr>,
    /// Requests of foreign ones that were answered within the second that began then.
    answered: u32,
    second: Option<Instant>,
}

/// The addresses of one call.
#[derive(Default)]
pub(super) struct CallPeers {
    /// The trunk's when the call began.
    at_start: Arc<[IpAddr]>,
    /// Those that requests of the call went to.
    sent_to: Vec<IpAddr>,
}

impl CallPeers {
    pub fn sent_to(&mut self, to: SocketAddr) {
        let to = to.ip().to_canonical();
        if !self.knows(to) && self.sent_to.len() < MAX_SENT_TO {
            self.sent_to.push(to);
        }
    }

    fn knows(&self, address: IpAddr) -> bool {
        self.at_start.contains(&address) || self.sent_to.contains(&address)
    }
}

impl Peers {
    pub fn new(allow: Arc<[Cidr]>) -> Peers {
        Peers {
            allow,
            ..Peers::default()
        }
    }

    pub fn of_call(&self) -> CallPeers {
        CallPeers {
            at_start: self.current.clone(),
            sent_to: Vec::new(),
        }
    }

    fn know(&self, address: IpAddr) -> bool {
        self.current.contains(&address) || self.allow.iter().any(|block| block.contains(address))
    }
}

impl Endpoint {
    /// How we are reached, what we are called, and who else speaks for the trunk and may hear (`allow`), from the next
    /// message on. Calls stay.
    pub fn change(&mut self, sent_by: String, user: &str, allow: (Arc<[Cidr]>, Arc<[Cidr]>)) {
        self.config.sent_by = sent_by;
        user.clone_into(&mut self.config.user);
        self.peers.allow = allow.0.clone();
        (self.config.allow, self.config.media_allow) = allow;
    }

    /// The addresses of the trunk's endpoints, as they resolve now. Calls keep those of their start too.
    pub fn set_peers(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        let mut all: Vec<IpAddr> = addresses.map(|a| a.to_canonical()).collect();
        all.sort_unstable();
        all.dedup();
        self.peers.current = all.into();
    }

    /// Is it one of the trunk's, whatever the call?
    pub(super) fn is_peer(&self, from: SocketAddr) -> bool {
        self.peers.know(from.ip().to_canonical())
    }

    /// May a request that belongs to no call be answered? The trunk's always, of foreign ones some.
    pub(super) fn is_answered(&mut self, now: Instant, from: SocketAddr) -> bool {
        if self.is_peer(from) {
            return true;
        }
        let peers = &mut self.peers;
        let is_over = |began: Instant| now.saturating_duration_since(began) >= SECOND;
        if peers.second.is_none_or(is_over) {
            (peers.second, peers.answered) = (Some(now), 0);
        }
        peers.answered += 1;
        peers.answered <= MAX_ANSWERED
    }

    /// May a message from there belong to this call?
    pub(super) fn is_peer_of(&self, call: CallHandle, from: SocketAddr) -> bool {
        let from = from.ip().to_canonical();
        self.peers.know(from)
            || self
                .calls
                .get(&call.0)
                .is_some_and(|state| state.peers.knows(from))
    }

    /// May an answer to this request come from there?
    pub(super) fn may_answer(&self, pending: &Pending, from: SocketAddr) -> bool {
        let address = from.ip().to_canonical();
        pending.to.ip().to_canonical() == address
            || match pending.owner {
                Owner::Invite(call)
                | Owner::Cancel(call)
                | Owner::Bye(call)
                | Owner::Alive(call) => self.is_peer_of(call, from),
                Owner::ForkBye(..) | Owner::Probe(_) => self.peers.know(address),
            }
    }

    /// What would have matched a call came from elsewhere: told once per address.
    pub(super) fn foreign(&mut self, from: SocketAddr) {
        let from = from.ip().to_canonical();
        if self.peers.told.len() < MAX_TOLD && !self.peers.told.contains(&from) {
            self.peers.told.push(from);
            self.tell(Event::Foreign { from });
        }
    }
}
