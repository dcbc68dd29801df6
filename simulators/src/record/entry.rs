//! The lines of the record: one type for each thing that can happen, and how it reads as JSON.

use crate::clock;
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::SystemTime;

/// One line of the record.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// 1, 2, ... in the order of happening; what `?since=` counts by.
    pub seq: u64,
    /// When: RFC 3339 with milliseconds.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: SystemTime,
    /// Which simulated carrier.
    #[serde(serialize_with = "as_name")]
    pub carrier: Arc<str>,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// One thing that happened, `kind` in JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A text, written when it was submitted (its receipts are filled in later).
    Text(Text),
    /// A call, written when it ended.
    Call(Call),
    /// The gateway broke a rule of the protocol. A test of the gateway wants none.
    ProtocolError(ProtocolError),
}

impl Entry {
    /// The number it went to; empty for a protocol error.
    pub fn to(&self) -> &str {
        match self {
            Entry::Text(text) => &text.to,
            Entry::Call(call) => &call.to,
            Entry::ProtocolError(_) => "",
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&Text> {
        match self {
            Entry::Text(text) => Some(text),
            Entry::Call(_) | Entry::ProtocolError(_) => None,
        }
    }

    /// The call, if it is one.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Entry::Call(call) => Some(call),
            Entry::Text(_) | Entry::ProtocolError(_) => None,
        }
    }
}

/// A text, all its parts joined.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Text {
    /// The number, as the gateway wrote it.
    pub to: String,
    /// The sender shown to the person.
    pub from: String,
    /// What the person reads.
    pub text: String,
    /// How many parts it came in.
    pub parts: u32,
    /// Encoding on the air.
    pub encoding: Encoding,
    /// The carrier's reference, as in its answer to the (last) submit; empty where it was refused.
    pub reference: String,
    /// The gateway's own reference, where the transport has one (HTTP `ref`, SMPP `user_message_reference`).
    pub sender_reference: Option<String>,
    /// What became of it.
    pub result: TextResult,
    /// False where the carrier kept its answer to itself.
    pub answered: bool,
    /// The status of a refusal (SMPP command status, HTTP status).
    pub status: Option<u32>,
    /// Receipts sent so far, their states in order.
    pub receipts: Vec<String>,
    /// Validity asked for, in seconds from the submit.
    pub validity_s: Option<i64>,
    /// Whether a receipt was asked for.
    pub receipt_wanted: bool,
}

/// How a text was encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// GSM 03.38 default alphabet (with its extension table).
    #[default]
    Gsm7,
    /// ISO 8859-1.
    Latin1,
    /// UCS-2 (surrogate pairs read as UTF-16).
    Ucs2,
    /// Unicode as JSON carries it (HTTP).
    Unicode,
}

/// What became of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextResult {
    /// The person reads it.
    #[default]
    Read,
    /// The carrier took it, the person never sees it.
    Unread,
    /// The carrier refused it.
    Refused,
}

/// A call, from INVITE to its end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Call {
    /// User part of the Request-URI.
    pub to: String,
    /// User part of From.
    pub from: String,
    /// User part of P-Asserted-Identity.
    pub asserted: Option<String>,
    /// What the phone shows; `anonymous` where the trunk strips it.
    pub shown: String,
    /// Call-ID.
    pub call_id: String,
    /// How far it got.
    pub result: CallResult,
    /// Recognised clips in the order they were heard.
    pub heard: Vec<Heard>,
    /// Whose recordings they were, such as `sv-SE`; none where nothing was recognised.
    pub locale: Option<String>,
    /// Spoken digits in order.
    pub digits_heard: String,
    /// Keys the person pressed, in order.
    pub pressed: String,
    /// INVITE to the first ring (ms).
    pub ring_ms: Option<u64>,
    /// INVITE to the answer (ms).
    pub answer_ms: Option<u64>,
    /// INVITE to the end (ms).
    pub end_ms: u64,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// The final SIP status of the INVITE; 0 where none was sent.
    pub status: u16,
    /// Media packets received.
    pub packets_received: u64,
    /// Media packets missing by their sequence numbers.
    pub packets_lost: u64,
    /// Codec agreed on.
    pub codec: Option<String>,
}

/// A recognised piece of a prompt.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Heard {
    /// The clip's name: its file without extension.
    pub clip: String,
    /// From the answer to the clip's beginning (ms).
    pub at_ms: u64,
    /// False where it was cut off.
    pub whole: bool,
}

/// How far a call got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// Somebody, or a voicemail, answered.
    Answered,
    /// 486.
    Busy,
    /// Rung without an answer until the gateway gave up.
    #[default]
    NoAnswer,
    /// 603.
    Declined,
    /// 404.
    Unreachable,
    /// 608.
    Blocked,
    /// 480.
    TemporarilyUnavailable,
    /// Refused by the trunk itself: 503, throttled, errors.
    Refused,
    /// Cancelled before it rang, or never answered by the trunk.
    Cancelled,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// BYE or CANCEL of the gateway.
    #[default]
    Gateway,
    /// BYE of the person's side.
    Person,
    /// The trunk: a final refusal, a hang, the simulator's end.
    Trunk,
}

/// A rule the gateway broke.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProtocolError {
    /// Who says so, such as `smpp`, `http`, `sip`, `rtp`.
    pub protocol: String,
    /// What is wrong, without any content of the message.
    pub reason: String,
}

fn as_rfc3339<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&clock::rfc3339_ms(*at))
}

fn as_name<S: Serializer>(name: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name)
}
