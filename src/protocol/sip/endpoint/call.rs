//! One call of ours: its phase, its dialog, and the deadline of the phase it is in.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::peers::CallPeers;
use super::{Invite, Transport};
use crate::protocol::sip::codec::Method;
use crate::protocol::sip::dialog::Dialog;
use crate::protocol::sip::digest::Authorization;
use crate::protocol::sip::sdp;
use crate::protocol::sip::transaction::{invite_server::InviteServer, server::Server};

/// Requests of the peer whose answers are kept for their copies, per call; the oldest goes first.
pub(super) const MAX_SERVED: usize = 16;
/// Further 2xx with other To tags that are ACKed and hung up, per call.
pub(super) const MAX_FORKS: usize = 8;
/// Contacts of a redirection that are told.
pub(super) const MAX_CONTACTS: usize = 5;

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// INVITE sent, nothing heard.
    Calling,
    /// A provisional was heard.
    Proceeding,
    /// Ended before an answer. Nothing heard so far: the first provisional brings the CANCEL.
    Abandoned,
    /// CANCEL sent, the final answer is awaited.
    Cancelling,
    /// Answered.
    Up,
    /// BYE sent, its answer is awaited.
    Closing,
    /// Cleared; lingers for late copies.
    Over,
}

pub(super) struct Call {
    pub phase: Phase,
    pub invite: Invite,
    pub call_id: String,
    /// Our From value, tag and all.
    pub from: String,
    /// The last CSeq of an INVITE, and its branch.
    pub cseq: u32,
    pub branch: u64,
    /// What the INVITE answers to challenges, and how many answers brought some.
    pub authorizations: Vec<Authorization>,
    pub challenges: u8,
    pub peers: CallPeers,
    pub ring_until: Instant,
    /// The end of the phase.
    pub deadline: Option<Instant>,
    pub dialog: Option<Dialog>,
    /// What waits until the last `Event::Resume` is durable.
    pub held: Option<Held>,
    /// The ACK of the 2xx, for its copies.
    pub ack: Option<(Bytes, SocketAddr, Transport)>,
    /// Other phones that have answered.
    pub forks: Vec<Fork>,
    /// So often a restart's needs were told, and were recorded.
    pub told_resumes: u32,
    pub recorded_resumes: u32,
    /// It is over but for forks: `Event::Cleared` has not been said.
    pub owes_cleared: bool,
    pub remote: Option<sdp::Remote>,
    /// Version of our SDP in this call.
    pub version: u32,
    pub served: Vec<Served>,
    /// `Event::Ended` has been said.
    pub told: bool,
    pub woken_at: Option<Instant>,
}

/// A message that leaves only once a restart could end the call it makes.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// The INVITE, ready to go. Nothing has left.
    Invite(Bytes),
    /// The ACK of the 2xx: without it the peer says its answer again, to us or to who comes after us.
    Ack,
    /// The same, and a BYE after it: nobody wants the call any more.
    AckAndBye,
}

private_debug!(Held);

/// Another phone that has answered.
pub(super) struct Fork {
    pub dialog: Dialog,
    pub ack: (Bytes, SocketAddr, Transport),
    pub state: ForkState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ForkState {
    /// What a restart needs was told as this call's so manieth.
    Held(u32),
    /// BYE sent, its answer is awaited.
    Closing,
    Over,
}

impl Fork {
    pub fn is_over(&self) -> bool {
        self.state == ForkState::Over
    }
}

/// A request of the peer that we answered.
pub(super) struct Served {
    pub branch: String,
    pub method: Method,
    pub cseq: u32,
    pub machine: ServedMachine,
    pub answer: Bytes,
    pub to: SocketAddr,
    pub transport: Transport,
}

pub(super) enum ServedMachine {
    Invite(InviteServer),
    Other(Server),
}

impl Served {
    fn next_deadline(&self) -> Option<Instant> {
        match &self.machine {
            ServedMachine::Invite(machine) => machine.next_deadline(),
            ServedMachine::Other(machine) => machine.next_deadline(),
        }
    }
}

impl Call {
    /// The answer is not recorded, and not acknowledged.
    pub fn holds_ack(&self) -> bool {
        matches!(self.held, Some(Held::Ack | Held::AckAndBye))
    }

    pub fn unended_forks(&self) -> Vec<Dialog> {
        let unended = self.forks.iter().filter(|fork| !fork.is_over());
        unended.map(|fork| fork.dialog.clone()).collect()
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Calling | Phase::Proceeding | Phase::Up)
    }

    pub fn is_cleared(&self) -> bool {
        self.phase == Phase::Over && !self.owes_cleared
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.served
            .iter()
            .filter_map(Served::next_deadline)
            .chain(self.deadline)
            .min()
    }

    /// Keeps only what late copies need.
    pub fn strip(&mut self) {
        self.phase = Phase::Over;
        self.held = None;
        self.invite.headers = Vec::new();
        self.invite.uri = String::new();
        self.authorizations = Vec::new();
        self.remote = None;
    }

    /// Where the far end wants its audio, as this SDP says; in a call that is up it may also take the stream away.
    pub fn read_sdp(&self, body: &[u8]) -> Result<sdp::Remote, sdp::SdpFault> {
        let before = self.remote.as_ref().filter(|_| self.phase == Phase::Up);
        let remote = sdp::read_again(body, &self.invite.media.codecs, before)?;
        if remote.fits(self.invite.to.ip()) {
            Ok(remote)
        } else {
            Err(sdp::SdpFault::Unfit)
        }
    }

    pub fn next_hop(&self, dialog: &Dialog) -> (SocketAddr, Transport) {
        dialog.next_hop((self.invite.to, self.invite.transport))
    }
}
