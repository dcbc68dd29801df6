//! One trunk's SIP machine: calls we make, probes, and what strangers ask.
//!
//! Bytes and time in ([`Endpoint::receive`], [`Endpoint::timeout`]), orders in ([`Endpoint::invite`],
//! [`Endpoint::hangup`], [`Endpoint::options`], [`Endpoint::end_unterminated`]); bytes and events out
//! ([`Endpoint::poll_output`]), and the next deadline ([`Endpoint::next_deadline`]). We only place calls (UAC), so a
//! request from outside is either part of one of our dialogs (`incoming`) or a stranger's (`out_of_dialog`).
//!
//! No call outlives the memory of it: an INVITE, and the ACK of its answer, wait until the owner has made durable what
//! a restart needs to end the call ([`Event::Resume`], [`Endpoint::recorded`]).
//!
//! Timers: one heap of wake-ups; what is due is asked of the transaction or call itself, so a wake-up that has
//! become pointless costs one look-up, and stale ones are swept when they outnumber the live.

mod alive;
mod call;
mod challenges;
mod ending;
mod forks;
mod incoming;
mod out_of_dialog;
mod outgoing;
mod peers;
mod pending;
mod resume;
mod write;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::codec::{Fault, Message};
use super::digest::Credentials;
use super::sdp;
use super::token::Tokens;
use super::transaction::{Timing, client::Client};
pub use super::transport::Transport;
use crate::protocol::cidr::Cidr;
use call::Call;
use challenges::Realms;
use peers::Peers;
use pending::{Machine, Owner, Pending};
pub use resume::Resume;

/// What stays the same for all calls of a trunk.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` in Via and Contact: where answers and requests reach us.
    pub sent_by: String,
    /// User part of Contact.
    pub user: String,
    pub user_agent: String,
    pub credentials: Option<Credentials>,
    pub timing: Timing,
    /// Addresses that speak for the trunk beyond those of its endpoints.
    pub allow: Arc<[Cidr]>,
    /// Where the far end may put its media; empty: anywhere.
    pub media_allow: Arc<[Cidr]>,
}

/// A call to be made.
#[derive(Clone)]
pub struct Invite {
    pub to: SocketAddr,
    pub transport: Transport,
    /// Request-URI and To.
    pub uri: String,
    /// URI of From: the caller ID.
    pub from: String,
    /// Further headers: P-Asserted-Identity, Identity, ...
    pub headers: Vec<(String, String)>,
    pub media: sdp::Local,
    pub limits: Limits,
}

private_debug!(Invite);

/// How long each part of a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From INVITE to the first answer of any kind.
    pub first_answer: Duration,
    /// From INVITE to the answer of the person.
    pub ring: Duration,
    /// From the answer on.
    pub call: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallHandle(u64);

impl CallHandle {
    /// As a number, to be given back by [`CallHandle::from_bits`].
    pub fn to_bits(self) -> u64 {
        self.0
    }

    pub fn from_bits(bits: u64) -> CallHandle {
        CallHandle(bits)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeHandle(u64);

/// An order that can't be written as SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a control character or a blank in a URI or header of the call")]
pub struct Unfit;

#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    Transmit {
        to: SocketAddr,
        transport: Transport,
        bytes: Bytes,
    },
    Event(Event),
}

private_debug!(Output);

#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A provisional answer; `early` when it brought SDP (early media: not an answer).
    Progress {
        call: CallHandle,
        status: u16,
        early: Option<sdp::Remote>,
    },
    Answered {
        call: CallHandle,
        remote: sdp::Remote,
    },
    /// A key by SIP INFO.
    Key {
        call: CallHandle,
        key: char,
        held: Option<Duration>,
    },
    /// The peer moved its media by re-INVITE or UPDATE.
    Media {
        call: CallHandle,
        remote: sdp::Remote,
    },
    /// What a restart needs to end this call; replaces what was said before. An INVITE or an ACK waits for
    /// [`Endpoint::recorded`].
    Resume {
        call: CallHandle,
        resume: Box<Resume>,
    },
    /// The call is over as far as anyone cares: exactly once per call.
    Ended { call: CallHandle, end: End },
    /// Nothing of the call is left at the peer (or the peer never said so and all patience is used up): its
    /// [`Resume`] may be forgotten. After `Ended`, once per call, also of an earlier life.
    Cleared { call: CallHandle },
    /// An OPTIONS was answered, or not.
    Probed {
        probe: ProbeHandle,
        status: Option<u16>,
    },
    /// A message that would have matched a call came from an address that is not the trunk's, and was not taken. Once
    /// per address, for the first few.
    Foreign { from: IpAddr },
    /// The far end writes messages with this fault: a header was left out of account, or the message was not taken.
    /// Once per fault.
    Malformed { fault: Fault, taken: bool },
}

private_debug!(Event);

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A final failure; `reason` is the Reason header (RFC 3326), `retry_after` in seconds.
    Refused {
        status: u16,
        phrase: String,
        reason: Option<String>,
        retry_after: Option<u32>,
    },
    /// A redirection (3xx): where the peer would have us call instead, by its own preference.
    Redirected {
        status: u16,
        phrase: String,
        contacts: Vec<String>,
    },
    /// Not one answer within `Limits::first_answer`: it may or may not have arrived.
    Silent,
    /// The connection was refused: nothing has left.
    Unreachable,
    /// Never [`Endpoint::recorded`] in time: nothing has left.
    Unsent,
    /// Rang longer than `Limits::ring`.
    RungOut,
    /// Answered with SDP that can't be used, or none, or without a To tag.
    BrokenMedia,
    /// The peer hung up an answered call.
    PeerBye,
    /// We hung up an answered call.
    OurBye,
    /// Answered, and longer than `Limits::call`.
    Capped,
    /// We hung up before an answer.
    Cancelled,
    /// The peer stopped talking SIP within the call (no ACK to our answer).
    Vanished,
}

/// Keys are tokens or keyed hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Boxed: a table keeps the room of its fullest hour.
type Table<T> = HashMap<u64, Box<T>, BuildHasherDefault<Identity>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Pending(u64),
    Call(u64),
}

/// One trunk's SIP machine.
pub struct Endpoint {
    config: Config,
    tokens: Tokens,
    calls: Table<Call>,
    /// Our requests by [`pending_key`].
    pending: Table<Pending>,
    wakes: BinaryHeap<Reverse<(Instant, Wake)>>,
    out: VecDeque<Output>,
    realms: Realms,
    peers: Peers,
    /// Faults that were told of.
    faults: Vec<Fault>,
}

impl Endpoint {
    pub fn new(config: Config, seed: u128) -> Endpoint {
        Endpoint {
            peers: Peers::new(config.allow.clone()),
            config,
            tokens: Tokens::new(seed),
            calls: Table::default(),
            pending: Table::default(),
            wakes: BinaryHeap::new(),
            out: VecDeque::new(),
            realms: Realms::default(),
            faults: Vec::new(),
        }
    }

    /// Other credentials, from the next request on.
    pub fn set_credentials(&mut self, credentials: Option<Credentials>) {
        self.config.credentials = credentials;
        self.realms.forget();
    }

    /// One datagram or frame from a peer.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, transport: Transport, octets: &[u8]) {
        let answer = match Message::read(octets) {
            Ok(message) if message.method().is_some() => {
                return self.request(now, from, transport, &message);
            }
            Ok(response) => return self.response(now, from, &response),
            Err(rejected) => {
                if self.is_peer(from) {
                    self.malformed(rejected.fault, false);
                }
                out_of_dialog::to_rejected(&rejected, from, &self.tokens)
                    .filter(|_| self.is_answered(now, from))
            }
        };
        if let Some(bytes) = answer {
            self.transmit(from, transport, bytes);
        }
    }

    /// Probes a peer. The answer, or its lack after 64*T1, is an [`Event::Probed`].
    pub fn options(
        &mut self,
        now: Instant,
        to: SocketAddr,
        transport: Transport,
        uri: &str,
    ) -> ProbeHandle {
        let branch = self.tokens.draw();
        let (call, tag) = (self.tokens.draw(), self.tokens.draw());
        let uri: String = uri
            .chars()
            .filter(|c| !c.is_control() && *c != ' ')
            .collect();
        let bytes = write::options(&self.config, &uri, transport, (branch, call, tag));
        let probe = ProbeHandle(branch);
        let pending = Pending::other(Owner::Probe(probe), bytes, (to, transport));
        self.send_other(now, branch, pending);
        probe
    }

    /// What to send or to tell next; ask until `None` after every call that takes `now`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Endpoint::timeout`] wants to be called. May come early: then nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    pub fn timeout(&mut self, now: Instant) {
        while let Some(Reverse((at, wake))) = self.wakes.peek().copied() {
            if at > now {
                break;
            }
            self.wakes.pop();
            match wake {
                Wake::Pending(key) => self.pending_timeout(now, at, key),
                Wake::Call(key) => self.call_timeout(now, at, CallHandle(key)),
            }
        }
        self.sweep();
    }

    /// Calls that nobody has ended yet.
    pub fn live_calls(&self) -> usize {
        self.calls.values().filter(|call| call.is_live()).count()
    }

    /// Nothing is left at any peer that we know of.
    pub fn is_settled(&self) -> bool {
        self.calls.values().all(|call| call.is_cleared())
    }

    /// Everything that is kept, in entries: calls, requests, wake-ups.
    pub fn kept(&self) -> (usize, usize, usize) {
        (self.calls.len(), self.pending.len(), self.wakes.len())
    }

    fn transmit(&mut self, to: SocketAddr, transport: Transport, bytes: Bytes) {
        self.out.push_back(Output::Transmit {
            to,
            transport,
            bytes,
        });
    }

    fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Sends a request other than INVITE and ACK and waits for its answer.
    fn send_other(&mut self, now: Instant, key: u64, mut pending: Pending) {
        let (to, transport) = (pending.to, pending.transport);
        pending.machine = Machine::Other(Client::new(
            now,
            transport.is_reliable(),
            self.config.timing,
        ));
        if let Owner::Bye(CallHandle(call)) | Owner::Cancel(CallHandle(call)) = pending.owner
            && let Some(state) = self.calls.get_mut(&call)
        {
            state.peers.sent_to(to);
        }
        self.transmit(to, transport, pending.bytes.clone());
        self.pending.insert(key, Box::new(pending));
        self.arm_pending(key);
    }

    /// Says once that the far end writes messages with this fault.
    fn malformed(&mut self, fault: Fault, taken: bool) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
            self.tell(Event::Malformed { fault, taken });
        }
    }

    /// Puts the transaction's next deadline into the heap unless an earlier wake-up stands there already.
    fn arm_pending(&mut self, key: u64) {
        let Some(pending) = self.pending.get_mut(&key) else {
            return;
        };
        let Some(at) = pending.next_deadline() else {
            return;
        };
        if pending.woken_at.is_none_or(|earlier| at < earlier) {
            pending.woken_at = Some(at);
            self.wakes.push(Reverse((at, Wake::Pending(key))));
        }
    }

    fn arm_call(&mut self, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let Some(at) = state.next_deadline() else {
            return;
        };
        if state.woken_at.is_none_or(|earlier| at < earlier) {
            state.woken_at = Some(at);
            self.wakes.push(Reverse((at, Wake::Call(call.0))));
        }
    }

    /// Drops wake-ups of what is gone once they outnumber the rest.
    fn sweep(&mut self) {
        let live = self.pending.len() + self.calls.len();
        if live == 0 {
            self.wakes.clear();
        } else if self.wakes.len() > MIN_SWEEP && self.wakes.len() > live * 2 {
            let (pending, calls) = (&self.pending, &self.calls);
            self.wakes.retain(|Reverse((at, wake))| match wake {
                Wake::Pending(key) => pending.get(key).is_some_and(|p| p.woken_at == Some(*at)),
                Wake::Call(key) => calls.get(key).is_some_and(|c| c.woken_at == Some(*at)),
            });
        }
    }
}

/// Below so many wake-ups sweeping is not worth it.
const MIN_SWEEP: usize = 256;

/// A CANCEL shares its INVITE's branch (9.1), so it needs a key of its own.
fn pending_key(branch: u64, is_cancel: bool) -> u64 {
    if is_cancel { !branch } else { branch }
}

#[cfg(test)]
mod tests;
