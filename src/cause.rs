//! Why a carrier failed, in our words: what to do about it, whom it speaks against, and how far it speaks for what comes
//! next. Drivers state it where it happens; delivery and health go by it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

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
