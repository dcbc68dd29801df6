//! One call as the trunk holds it: data and its timers; `exchange` moves it.

use super::sdp::Offer;
use super::sip::{Basics, Message};
use super::talk::Audio;
use crate::record;
use crate::subscriber::VoiceBehaviour;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Where a message came from, and where answers to it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A datagram's source.
    Udp(SocketAddr),
    /// A connection, by the driver's number, and its far end.
    Tcp(u64, SocketAddr),
}

impl Peer {
    /// The far end's address.
    pub fn address(self) -> SocketAddr {
        match self {
            Peer::Udp(address) | Peer::Tcp(_, address) => address,
        }
    }

    /// Streams lose nothing, so most retransmissions are not needed on them.
    pub fn is_reliable(self) -> bool {
        matches!(self, Peer::Tcp(..))
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No final answer yet.
    Proceeding,
    /// A final refusal is out; waits for its ACK.
    Refused,
    /// A 2xx is out.
    Answered,
    /// Nothing is ever said again.
    Mute,
}

/// What a call waits for. Each has at most one deadline per call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The person picks up, or declines.
    Answer,
    /// A final response without its ACK goes again (RFC 3261 sections 13.3.1.4 and 17.2.1).
    Resend,
    /// Our own request without its answer goes again (timer E, section 17.1.2.2).
    Own,
    /// The person hangs up by the clock.
    HangUp,
    /// A muted call is forgotten.
    Forget,
}

/// Kinds of [`Timer`].
pub const TIMERS: usize = 5;

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The INVITE, for the responses.
    pub invite: Message,
    /// Its essentials.
    pub basics: Basics,
    /// Where it came from.
    pub peer: Peer,
    /// How the person behaves.
    pub voice: VoiceBehaviour,
    /// The caller's offer; none where the call was refused before it was read.
    pub offer: Option<Offer>,
    /// Whether telephone events are agreed on.
    pub events: bool,
    /// How far it is.
    pub state: State,
    /// One per answer; two where it forked.
    pub legs: Vec<Leg>,
    /// The tag of the first leg, used in provisional answers too.
    pub tag: String,
    /// The last response to the INVITE, for its retransmissions.
    pub last: Option<Vec<u8>>,
    /// Resending of a refusal.
    pub resend: Resend,
    /// Our media address, once there is a socket.
    pub media: Option<SocketAddr>,
    /// Media is running.
    pub talking: bool,
    /// Early media has begun.
    pub early: bool,
    /// It stands in the record already.
    pub written: bool,
    /// What was heard, where the media ended before the call.
    pub audio: Option<Audio>,
    /// Deadline of each [`Timer`].
    pub deadlines: [Option<Instant>; TIMERS],
    /// When the INVITE came.
    pub since: Instant,
    /// First packet of the last key.
    pub pressed_at: Option<Instant>,
    /// What will be written down.
    pub line: record::Call,
}

/// One answered branch of a call.
#[derive(Debug)]
pub struct Leg {
    /// Our tag.
    pub tag: String,
    /// The 200, as sent.
    pub ok: Vec<u8>,
    /// Resending of it.
    pub resend: Resend,
    /// It has been ACKed.
    pub acked: bool,
    /// A BYE has ended it.
    pub over: bool,
    /// The number of our last request.
    pub cseq: u32,
    /// Our request without its answer.
    pub own: Option<Own>,
}

/// Our own request in a dialog.
#[derive(Debug)]
pub struct Own {
    /// Its branch.
    pub branch: String,
    /// BYE rather than INFO.
    pub is_bye: bool,
    /// Where to.
    pub peer: Peer,
    /// As sent.
    pub bytes: Vec<u8>,
    /// Its repetition.
    pub resend: Resend,
}

/// Repetition with doubling intervals.
#[derive(Clone, Copy, Debug)]
pub struct Resend {
    /// When it is over.
    pub give_up: Instant,
    /// When it goes next.
    pub next: Instant,
    interval: Duration,
}

impl Resend {
    /// Begins at `now`.
    pub fn new(now: Instant) -> Resend {
        Resend {
            give_up: now + GIVE_UP,
            next: now + T1,
            interval: T1,
        }
    }

    /// It has gone again.
    pub fn step(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(T2);
        self.next = now + self.interval;
    }
}

/// RFC 3261 section 17.1.1.1: an estimate of the round trip.
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval of repetition.
pub const T2: Duration = Duration::from_secs(4);
/// 64 times T1.
pub const GIVE_UP: Duration = Duration::from_secs(32);
