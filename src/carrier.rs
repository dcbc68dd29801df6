//! Carriers: the contract between the core and the drivers, in two.
//!
//! A [`TextCarrier`] is given [`TextOrder`]s, a [`CallCarrier`] [`CallOrder`]s and what else a call needs; what every
//! carrier has (slots, a queue of commands, a way to its end) stands once, in [`Handle`]. The driver answers an order with
//! [`AttemptEvent`]s until the attempt is settled. That is all. What an SMPP status, an HTTP answer or a SIP response
//! means ends in the driver's own table as a [`Failure`], which states its verdict and its blame where it happens. A
//! driver never retries an order, never chooses a carrier, and never knows what a challenge is.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    admission::CallRules,
    cause::{Cause, Failure},
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

/// One try on one carrier, as the core hands it over. A slot of the carrier is already taken for it.
#[derive(Clone, Debug)]
pub struct Order<C> {
    pub key: AttemptKey,
    pub to: Number,
    /// What the person shall see: short code, number in E.164, or alphanumeric; for a call the caller ID.
    pub sender: Arc<str>,
    pub content: C,
    /// Nothing is sent and no call is started after it.
    pub deadline: Millis,
}

impl Order<()> {
    pub fn with<C>(self, content: C) -> Order<C> {
        Order {
            key: self.key,
            to: self.to,
            sender: self.sender,
            content,
            deadline: self.deadline,
        }
    }
}

/// For carriers of texts.
pub type TextOrder = Order<Text>;
/// For carriers of calls.
pub type CallOrder = Order<Call>;

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

/// What a driver of texts may be told.
#[derive(Debug)]
pub enum TextCommand {
    /// Bring this to the person; its intent is durable. A text can't be called back.
    Submit(Box<TextOrder>),
    Finish(Finish),
}

/// What a driver of calls may be told.
#[derive(Debug)]
pub enum CallCommand {
    /// Call this person. The intent may not be durable yet: the INVITE waits for [`CallCommand::Recorded`].
    Submit(Box<CallOrder>),
    /// End this attempt's call (cancelled, or another method has succeeded).
    HangUp(AttemptKey),
    /// This call's last [`AttemptEvent::CallState`] is durable: what waits for it may leave.
    Recorded(CallMark),
    /// End this call, which may be up: another process had it.
    End(CallToEnd),
    /// Another configuration is being prepared: stay, drained or not, until the change has come by what is sent back, or
    /// until that is dropped. The sockets are handed over.
    Prepare(oneshot::Sender<oneshot::Sender<sip::TrunkChange>>),
    Finish(Finish),
}

/// How a driver comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Finish what is in the air, unbind or BYE, then end.
    Drain,
    /// The same, but the process ends: calls that still talk are hung up within seconds.
    End,
}

impl From<Finish> for TextCommand {
    fn from(finish: Finish) -> TextCommand {
        TextCommand::Finish(finish)
    }
}

impl From<Finish> for CallCommand {
    fn from(finish: Finish) -> CallCommand {
        CallCommand::Finish(finish)
    }
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
    /// What a restart needs to end this call. Nothing that makes or answers it leaves before [`CallCommand::Recorded`]
    /// has brought the mark back. Holds until [`AttemptEvent::CallCleared`], which may come well after the attempt is settled: a
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

/// A call that an earlier life of the process may have left up.
#[derive(Clone)]
pub struct CallToEnd {
    pub key: AttemptKey,
    pub state: CallState,
}

private_debug!(CallToEnd);

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

/// The hold on a running driver: what every carrier has, and the way to tell it what its kind may be told. Cheap to clone.
#[derive(Debug)]
pub struct Handle<C> {
    pub id: DriverId,
    pub commands: mpsc::Sender<C>,
    /// How many orders the driver can have in flight now: bound sessions times window, less what throttling took.
    /// The driver writes it, the core reads it and counts what is in flight.
    pub slots: Slots,
}

/// A carrier of texts that runs.
pub type TextCarrier = Handle<TextCommand>;
/// A carrier of calls that runs.
pub type CallCarrier = Handle<CallCommand>;

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Handle<C> {
        Handle {
            id: self.id,
            commands: self.commands.clone(),
            slots: self.slots.clone(),
        }
    }
}

impl<C: From<Finish>> Handle<C> {
    /// A driver that begins, with where it takes its commands.
    pub fn new(slots: Slots) -> (Handle<C>, mpsc::Receiver<C>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let handle = Handle {
            id: DriverId::fresh(),
            commands,
            slots,
        };
        (handle, inbox)
    }

    /// Waits for room in its queue; nothing where it has ended already.
    pub async fn finish(&self, finish: Finish) {
        let _ = self.commands.send(finish.into()).await;
    }

    /// Until it has ended.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }
}

/// A carrier of either kind.
#[derive(Clone, Debug)]
pub enum Carrier {
    Text(TextCarrier),
    Call(CallCarrier),
}

impl Carrier {
    pub fn id(&self) -> DriverId {
        match self {
            Carrier::Text(carrier) => carrier.id,
            Carrier::Call(carrier) => carrier.id,
        }
    }

    pub fn slots(&self) -> &Slots {
        match self {
            Carrier::Text(carrier) => &carrier.slots,
            Carrier::Call(carrier) => &carrier.slots,
        }
    }

    pub fn has_ended(&self) -> bool {
        match self {
            Carrier::Text(carrier) => carrier.commands.is_closed(),
            Carrier::Call(carrier) => carrier.commands.is_closed(),
        }
    }

    pub async fn finish(&self, finish: Finish) {
        match self {
            Carrier::Text(carrier) => carrier.finish(finish).await,
            Carrier::Call(carrier) => carrier.finish(finish).await,
        }
    }

    /// Until it has ended.
    pub async fn ended(&self) {
        match self {
            Carrier::Text(carrier) => carrier.ended().await,
            Carrier::Call(carrier) => carrier.ended().await,
        }
    }
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
