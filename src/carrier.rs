//! Carriers: the postcard between dispatch and the drivers.
//!
//! Dispatch hands a driver an [`Order`]; the driver answers with [`AttemptEvent`]s until the attempt is settled.
//! That is the whole contract. What an SMPP status, an HTTP answer or a SIP response means ends in the driver's
//! own table as a [`Failure`], which states its verdict and its blame where it happens. A driver never retries an
//! order, never chooses a carrier, and never knows what a challenge is.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    admission::CallRules,
    challenge::{AttemptKey, Code, Method, Millis},
    number::Number,
    protocol::rtp::Key,
};

pub mod callbacks;
pub mod connect;
pub mod http;
mod incoming;
pub mod reference;
pub mod sip;
pub mod smpp;
mod throttle;
pub mod tls;

pub use incoming::{Acknowledgement, Inbound, Incoming, Receipt, ReceiptState, Reply};

/// One try on one carrier, as dispatch hands it over. A slot of the carrier is already taken for it.
#[derive(Clone, Debug)]
pub struct Order {
    pub key: AttemptKey,
    pub to: Number,
    /// What the person shall see: short code, number in E.164, or alphanumeric; for voice the caller ID.
    pub sender: Arc<str>,
    pub content: Content,
    /// Nothing is sent and no call is started after it.
    pub deadline: Millis,
}

#[derive(Clone, Debug)]
pub enum Content {
    Text(Text),
    Call(Call),
}

/// A text, not yet encoded: how it goes on the air is the driver's matter (`message::text`).
#[derive(Clone)]
pub struct Text {
    pub body: Arc<str>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.body.chars().count())
    }
}

/// A call: what is to be said and asked (`carrier::sip::call_script` plays it).
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub locale: Arc<str>,
    pub code: Option<Code>,
    pub extension: Option<Arc<str>>,
    /// Where a redirection may lead.
    pub rules: Arc<CallRules>,
}

private_debug!(Call);

/// What dispatch may tell a driver.
#[derive(Debug)]
pub enum Command {
    /// Bring this to the person. The intent of a text is durable then; that of a call perhaps not yet: its INVITE waits for
    /// [`Command::Recorded`].
    Submit(Box<Order>),
    /// End this attempt's call (cancelled, or another method has succeeded). Texts can't be called back.
    HangUp(AttemptKey),
    /// This call's last [`AttemptEvent::CallState`] is durable: what waits for it may leave.
    Recorded(CallMark),
    /// Finish what is in the air, unbind or BYE, then end.
    Drain,
    /// As [`Command::Drain`], but the process ends: calls that still talk are hung up within seconds.
    End,
    /// Another configuration is being prepared: stay, drained or not, until the change has come by what is sent back, or
    /// until that is dropped. For trunks, whose sockets are handed over.
    Prepare(oneshot::Sender<oneshot::Sender<sip::TrunkChange>>),
}

/// Sets a driver going, or changes one that runs. All that could fail was done before.
pub type Commit = Box<dyn FnOnce() + Send>;

/// What a driver says, in order, on one bounded channel to dispatch.
#[derive(Debug)]
pub struct CarrierMessage {
    /// The carrier's name, as its file is called.
    pub carrier: Arc<str>,
    pub what: CarrierEvent,
}

#[derive(Debug)]
pub enum CarrierEvent {
    Attempt(AttemptKey, AttemptEvent),
    /// From the network. The carrier is told that we have it when the acknowledgement comes back.
    Incoming(Incoming, Acknowledgement),
    Link(Link),
}

#[cfg(test)]
impl CarrierEvent {
    /// As dispatch does it: what was brought is safe.
    pub fn taken(self) -> CarrierEvent {
        match self {
            CarrierEvent::Incoming(incoming, ack) => {
                ack.acknowledge();
                CarrierEvent::Incoming(
                    incoming,
                    Acknowledgement::Request(tokio::sync::oneshot::channel().0),
                )
            }
            other => other,
        }
    }
}

/// What became of an order, step by step.
#[derive(Clone, Debug)]
pub enum AttemptEvent {
    /// The carrier took it. A text of several parts has several references, in order. For a call: the first
    /// provisional answer; the reference is the Call-ID. May come after [`AttemptEvent::InDoubt`]: then the doubt is over.
    Accepted {
        references: Vec<Arc<str>>,
    },
    /// 180 or 183.
    Ringing,
    Answered,
    /// A key was pressed in the call, and counts: never one of a PIN.
    KeyPressed(Key),
    /// What a restart needs to end this call. Nothing that makes or answers it leaves before [`Command::Recorded`] has
    /// brought the mark back. Holds until [`AttemptEvent::CallCleared`], which may come well after the attempt is settled: a
    /// goodbye is still spoken.
    CallState(CallState, CallMark),
    /// Nothing of this call is up any more. The one event that may follow a settling one.
    CallCleared,
    /// A call that was placed is over; the attempt is settled.
    CallEnded(CallEnd),
    /// The carrier did not take it, or took it back; the attempt is settled.
    Failed(Failure),
    /// Sent, and no answer within `response_timeout` (or the link was lost in between): it may or may not have
    /// reached the carrier. An [`AttemptEvent::Accepted`] or [`AttemptEvent::Failed`] may still follow.
    InDoubt {
        cause: Cause,
    },
}

/// A call's dialog, small and opaque to everyone but the SIP driver.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallState(pub Arc<str>);

private_debug!(CallState);

/// Which call of its driver a state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallMark(pub u64);

/// How an answered call ended.
#[derive(Clone, PartialEq, Eq)]
pub struct CallEnd {
    pub outcome: CallOutcome,
    /// Keys heard in order, never those of a PIN.
    pub digits: Arc<str>,
    /// What the carrier did with the call on its way, where that is worth a word (a redirection that was followed).
    pub carrier_code: Option<Arc<str>>,
}

impl fmt::Debug for CallEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CallEnd({:?}, {} digits)",
            self.outcome,
            self.digits.len()
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// `#` was pressed (`voice_confirm`).
    Confirmed,
    /// The code was read out whole at least once (`voice_code`).
    CodeRead,
    /// Answered, but nobody pressed what was asked.
    NoKeypress,
    /// A machine answered.
    Voicemail,
    /// Hung up on our demand or by the cap before an outcome.
    Cancelled,
}

/// Why an attempt failed, what to do about it, and whom it speaks against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    pub verdict: Verdict,
    pub blame: Blame,
    /// What would have to be another for the carrier to take it.
    pub about: About,
    /// The carrier's own word: SMPP status as `0x0000000b`, HTTP or body code, SIP status with reason phrase.
    pub carrier_code: Option<Arc<str>>,
    /// The carrier asked for a pause (Retry-After).
    pub retry_after: Option<Duration>,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Another carrier may bring it.
    NextCandidate,
    /// No other carrier will do better on this channel; a fallback method may.
    StopChannel,
    /// The carrier is fine but full: this candidate later, another now.
    Later,
}

/// Whom a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    Carrier,
    Number,
    Person,
    /// Our own text, setting or limit.
    Us,
    Nobody,
}

/// What a refusal is about: how far it speaks for what comes next. Health counts it there and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// This one request: its number, its text. Says nothing of the next, unless nearly all are refused so.
    Request,
    /// The sender, in the country of the number.
    Sender,
    /// The country of the number, whatever the sender.
    Country,
    /// Our account: credentials, rights, credit.
    Account,
    /// The carrier as a whole, or how we speak to it.
    Carrier,
}

impl About {
    /// Where another carrier has said no as well, it is of the challenge: its number, or what the person's network thinks
    /// of our sender.
    pub fn is_of_the_challenge(self) -> bool {
        match self {
            About::Request | About::Sender | About::Country => true,
            About::Account | About::Carrier => false,
        }
    }
}

/// Why, in our words: the field's standard reasons (interfaces, "Reasons at least").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Busy,
    NoAnswer,
    Declined,
    Voicemail,
    NoKeypress,
    Unreachable,
    HandsetOff,
    BlockedByOperator,
    CarrierFault,
    /// Throttled, queue full, 429, 503 with Retry-After.
    Throttled,
    /// A limit of ours, before the carrier was asked: no file descriptor, port or place is left for a call's audio.
    GatewayLimit,
    NoReceipt,
    InDoubt,
    Cancelled,
    Expired,
    InvalidNumber,
    /// The carrier says this number has opted out.
    OptedOut,
}

impl Cause {
    pub const ALL: [Cause; 17] = [
        Cause::Busy,
        Cause::NoAnswer,
        Cause::Declined,
        Cause::Voicemail,
        Cause::NoKeypress,
        Cause::Unreachable,
        Cause::HandsetOff,
        Cause::BlockedByOperator,
        Cause::CarrierFault,
        Cause::Throttled,
        Cause::GatewayLimit,
        Cause::NoReceipt,
        Cause::InDoubt,
        Cause::Cancelled,
        Cause::Expired,
        Cause::InvalidNumber,
        Cause::OptedOut,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Cause::Busy => "busy",
            Cause::NoAnswer => "no_answer",
            Cause::Declined => "declined",
            Cause::Voicemail => "voicemail",
            Cause::NoKeypress => "no_keypress",
            Cause::Unreachable => "unreachable",
            Cause::HandsetOff => "handset_off",
            Cause::BlockedByOperator => "blocked_by_operator",
            Cause::CarrierFault => "carrier_fault",
            Cause::Throttled => "throttled",
            Cause::GatewayLimit => "gateway_limit",
            Cause::NoReceipt => "no_receipt",
            Cause::InDoubt => "in_doubt",
            Cause::Cancelled => "cancelled",
            Cause::Expired => "expired",
            Cause::InvalidNumber => "invalid_number",
            Cause::OptedOut => "opted_out",
        }
    }

    pub fn parse(name: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|c| c.name() == name)
    }

    /// The usual reaction to this cause; a driver's table may state another.
    pub fn failure(self, carrier_code: Option<Arc<str>>) -> Failure {
        let (verdict, blame) = match self {
            Cause::CarrierFault | Cause::NoReceipt => (Verdict::NextCandidate, Blame::Carrier),
            Cause::BlockedByOperator => (Verdict::NextCandidate, Blame::Nobody),
            Cause::Throttled => (Verdict::Later, Blame::Nobody),
            Cause::GatewayLimit => (Verdict::Later, Blame::Us),
            Cause::InDoubt | Cause::Cancelled | Cause::Expired => {
                (Verdict::StopChannel, Blame::Nobody)
            }
            Cause::Busy
            | Cause::NoAnswer
            | Cause::Declined
            | Cause::Voicemail
            | Cause::NoKeypress => (Verdict::StopChannel, Blame::Person),
            Cause::Unreachable | Cause::HandsetOff | Cause::InvalidNumber | Cause::OptedOut => {
                (Verdict::StopChannel, Blame::Number)
            }
        };
        let about = match self {
            Cause::BlockedByOperator => About::Sender,
            Cause::CarrierFault
            | Cause::NoReceipt
            | Cause::Throttled
            | Cause::GatewayLimit
            | Cause::InDoubt
            | Cause::Cancelled
            | Cause::Expired => About::Carrier,
            Cause::Busy
            | Cause::NoAnswer
            | Cause::Declined
            | Cause::Voicemail
            | Cause::NoKeypress
            | Cause::Unreachable
            | Cause::HandsetOff
            | Cause::InvalidNumber
            | Cause::OptedOut => About::Request,
        };
        Failure {
            cause: self,
            verdict,
            blame,
            about,
            carrier_code,
            retry_after: None,
        }
    }
}

/// What a driver knows of its link: health and slots are derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// At least one session is bound, or a probe was answered.
    Up,
    /// No session left, with the reason for the operator.
    Down { reason: Arc<str> },
    /// A probe (enquire_link, OPTIONS) was answered, or not.
    Probe { ok: bool },
    /// A probe was answered: the far end takes nothing now, with its own word (OPTIONS answered 503).
    Unavailable { reason: Arc<str> },
    /// Slots have become free beyond what events tell (a session came, throttling eased).
    Room,
}

/// Which running driver: never used twice in a process. A carrier whose driver is replaced keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverId(pub u64);

impl DriverId {
    /// Of a driver that begins.
    pub fn fresh() -> DriverId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        DriverId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The hold on a running driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub id: DriverId,
    pub name: Arc<str>,
    pub commands: mpsc::Sender<Command>,
    /// How many orders the driver can have in flight now: bound sessions times window, less what throttling took.
    /// The driver writes it, dispatch reads it and counts what is in flight.
    pub slots: Slots,
}

/// The number of orders a driver can have in flight.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<AtomicU32>);

impl Slots {
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, slots: u32) {
        self.0.store(slots, Ordering::Relaxed);
    }
}

/// Bound of a driver's command channel: above the largest window times binds that the configuration takes,
/// so that an order for which a slot was free always fits.
pub const COMMANDS: usize = 20_000;
/// Bound of the one channel on which all drivers speak to dispatch.
pub const SAID: usize = 8_192;
