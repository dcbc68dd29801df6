//! A request of ours whose answer is awaited: its transaction, its octets, and whose it is.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{CallHandle, ProbeHandle, Transport};
use crate::protocol::sip::digest::Authorization;
use crate::protocol::sip::transaction::{client::Client, invite_client::InviteClient};

/// What waits for the answer of one of our requests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    Invite(CallHandle),
    Cancel(CallHandle),
    Bye(CallHandle),
    /// OPTIONS within a call.
    Alive(CallHandle),
    /// BYE to another phone that has answered: the call, and its tag as a token.
    ForkBye(CallHandle, u64),
    Probe(ProbeHandle),
}

pub(super) enum Machine {
    Invite(InviteClient),
    Other(Client),
    /// Not sent yet.
    Ready,
}

pub(super) struct Pending {
    pub machine: Machine,
    pub owner: Owner,
    /// The request; after a final answer to an INVITE, the ACK of a failure.
    pub bytes: Bytes,
    pub to: SocketAddr,
    pub transport: Transport,
    /// What it answers to challenges, and how many answers brought some. Of an INVITE the call knows that.
    pub carried: Vec<Authorization>,
    pub challenges: u8,
    /// The earliest wake-up in the heap.
    pub woken_at: Option<Instant>,
}

impl Pending {
    /// A request other than INVITE, to be given to [`Endpoint::send_other`].
    pub fn other(owner: Owner, bytes: Bytes, to: (SocketAddr, Transport)) -> Pending {
        Pending::new(Machine::Ready, owner, bytes, to)
    }

    pub fn with(self, carried: Vec<Authorization>, challenges: u8) -> Pending {
        Pending {
            carried,
            challenges,
            ..self
        }
    }

    pub fn new(
        machine: Machine,
        owner: Owner,
        bytes: Bytes,
        (to, transport): (SocketAddr, Transport),
    ) -> Pending {
        Pending {
            machine,
            owner,
            bytes,
            to,
            transport,
            carried: Vec::new(),
            challenges: 0,
            woken_at: None,
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.machine {
            Machine::Invite(machine) => machine.next_deadline(),
            Machine::Other(machine) => machine.next_deadline(),
            Machine::Ready => None,
        }
    }
}
