//! What delivery says of a challenge: a report to be, before anyone has made words of it.

use serde::{Deserialize, Serialize};

use crate::challenge::Millis;

/// Something that happened to a challenge and that its caller may want to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    /// 1, 2, ... per challenge, given before any event is suppressed.
    pub seq: u32,
    pub at: Millis,
    pub event: Event,
    /// The attempt spoken of; on the final the deciding one.
    pub attempt: Option<u16>,
    pub reason: Option<&'static str>,
    /// This report carries a made code to the asking server.
    pub tells_code: bool,
    /// Keys heard, for the asking server.
    pub digits: Option<std::sync::Arc<str>>,
}

private_debug!(Note);

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Accepted,
    Sent,
    Ringing,
    Answered,
    AttemptFailed,
    Fallback,
    /// After the final, exchange copy only.
    Late,
    Final(Final),
}

impl Event {
    /// Those that are no final.
    pub const OTHERS: [Event; 7] = [
        Event::Accepted,
        Event::Sent,
        Event::Ringing,
        Event::Answered,
        Event::AttemptFailed,
        Event::Fallback,
        Event::Late,
    ];

    pub fn all() -> impl Iterator<Item = Event> {
        let finals = Final::ALL.map(Event::Final);
        Event::OTHERS.into_iter().chain(finals)
    }

    pub fn name(self) -> &'static str {
        match self {
            Event::Accepted => "accepted",
            Event::Sent => "sent",
            Event::Ringing => "ringing",
            Event::Answered => "answered",
            Event::AttemptFailed => "attempt_failed",
            Event::Fallback => "fallback",
            Event::Late => "late",
            Event::Final(end) => end.name(),
        }
    }
}

/// The finals, strongest first: with several methods the strongest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Final {
    Confirmed,
    Replied,
    Verified,
    Denied,
    Fraud,
    Delivered,
    Unconfirmed,
    /// `sms_reply`: no reply by the deadline.
    NoReply,
    Undelivered,
    Failed,
    Expired,
    Rejected,
    Cancelled,
}

impl Final {
    pub const ALL: [Final; 13] = [
        Final::Confirmed,
        Final::Replied,
        Final::Verified,
        Final::Denied,
        Final::Fraud,
        Final::Delivered,
        Final::Unconfirmed,
        Final::NoReply,
        Final::Undelivered,
        Final::Failed,
        Final::Expired,
        Final::Rejected,
        Final::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Final::Confirmed => "confirmed",
            Final::Replied => "replied",
            Final::Verified => "verified",
            Final::Denied => "denied",
            Final::Fraud => "fraud",
            Final::Delivered => "delivered",
            Final::Unconfirmed => "unconfirmed",
            Final::NoReply | Final::Expired => "expired",
            Final::Undelivered => "undelivered",
            Final::Failed => "failed",
            Final::Rejected => "rejected",
            Final::Cancelled => "cancelled",
        }
    }

    /// `success`, `denied` or `undetermined`.
    pub fn result(self) -> &'static str {
        match self {
            Final::Confirmed | Final::Replied | Final::Verified => "success",
            Final::Denied | Final::Fraud | Final::NoReply | Final::Rejected => "denied",
            Final::Delivered
            | Final::Unconfirmed
            | Final::Undelivered
            | Final::Failed
            | Final::Expired
            | Final::Cancelled => "undetermined",
        }
    }
}
