//! One try on one carrier, as the life of a challenge remembers it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    carrier::ReceiptState,
    cause::{Cause, Verdict},
    challenge::{Channel, Method, Millis},
};

/// One try on one carrier. Numbered from 1 within its challenge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub n: u16,
    /// Which of the challenge's methods, counted from 0.
    pub leg: u8,
    pub method: Method,
    pub carrier: Arc<str>,
    pub sender: Arc<str>,
    pub route: Arc<str>,
    /// Why this candidate was chosen.
    pub why: Arc<str>,
    /// Which carriers and senders were left out when it was chosen, and why; empty where all were well.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub left_out: Box<[Arc<str>]>,
    pub started: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Millis>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Arc<str>>,
    /// The carrier gave it no reference: what it has is its receipts', which were known by the phone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_phone: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_code: Option<Arc<str>>,
    /// It was, at some time, sent and unanswered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_doubt: bool,
    /// It was made because another was in doubt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hedge: bool,
    /// The carrier took it (or its receipt or ringing proved so).
    #[serde(default, skip_serializing_if = "is_false")]
    pub taken: bool,
    pub phase: Phase,
    /// Its driver has it. Not kept: what an earlier life of this process had placed may have been sent.
    #[serde(skip, default = "yes")]
    pub handed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// So long the carrier asked to be left alone, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub asked_pause: u64,
    /// Bit i: part i of the text has a positive receipt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parts_delivered: u64,
    /// The negative receipt that was believed: of which part, and how it put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<(u16, ReceiptState)>,
    /// When a missing receipt ends the wait; NEVER: the challenge's own life.
    pub receipt_by: Millis,
    /// Keys heard in its call, in order. Not kept: what a call said does not outlive it.
    #[serde(skip)]
    pub digits: Option<Arc<str>>,
}

private_debug!(Attempt);

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Handed to the carrier's driver, no answer yet.
    Placed,
    /// Sent and unanswered; at `hedge_at` another carrier may be asked.
    Doubt {
        hedge_at: Millis,
    },
    /// Taken, the receipt (or the ringing) is awaited.
    Taken,
    Ringing,
    Answered,
    /// Over: how.
    Settled(Outcome),
}

/// How an attempt ended, in the words of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Delivered,
    Undelivered,
    /// Taken, and nothing more was heard.
    Accepted,
    Refused,
    InDoubt,
    /// `#` was pressed.
    Confirmed,
    /// Answered, without success.
    Answered,
    Unanswered,
    Cancelled,
}

impl Outcome {
    pub const ALL: [Outcome; 9] = [
        Outcome::Delivered,
        Outcome::Undelivered,
        Outcome::Accepted,
        Outcome::Refused,
        Outcome::InDoubt,
        Outcome::Confirmed,
        Outcome::Answered,
        Outcome::Unanswered,
        Outcome::Cancelled,
    ];

    /// The closed set of words that a report knows; a confirmed call was answered.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Undelivered => "undelivered",
            Outcome::Accepted => "accepted",
            Outcome::Refused => "refused",
            Outcome::InDoubt => "in_doubt",
            Outcome::Confirmed | Outcome::Answered => "answered",
            Outcome::Unanswered => "unanswered",
            Outcome::Cancelled => "cancelled",
        }
    }
}

impl Attempt {
    pub fn channel(&self) -> Channel {
        self.method.channel()
    }

    /// May it still bring something?
    pub fn live(&self) -> bool {
        !matches!(self.phase, Phase::Settled(_))
    }

    /// Intended, and not yet handed to its driver: nothing of it can have left.
    pub fn unsent(&self) -> bool {
        self.phase == Phase::Placed && !self.handed
    }

    /// A text that may have left, of which no reference tells for certain which receipts are its own.
    pub fn known_by_phone(&self) -> bool {
        self.channel() == Channel::Sms
            && self.handed
            && self.phase != Phase::Settled(Outcome::Refused)
            && (self.by_phone || self.references.is_empty())
    }

    /// A call that is up or being set up.
    pub fn call_up(&self) -> bool {
        self.channel() == Channel::Voice && self.live()
    }

    /// A key was heard. Those of a PIN are nobody's to know.
    pub fn press(&mut self, sign: char) {
        let before = self.digits.as_deref().unwrap_or_default();
        if self.method != Method::VoicePin && before.len() < MAX_KEYS {
            self.digits = Some(format!("{before}{sign}").into());
        }
    }

    pub fn settle(&mut self, now: Millis, outcome: Outcome) {
        self.phase = Phase::Settled(outcome);
        self.ended = Some(now);
    }

    /// What a report shows as its outcome, at the end of the challenge.
    pub fn outcome(&self) -> Outcome {
        match self.phase {
            Phase::Settled(outcome) => outcome,
            Phase::Placed | Phase::Doubt { .. } => Outcome::InDoubt,
            Phase::Taken => Outcome::Accepted,
            Phase::Ringing => Outcome::Unanswered,
            Phase::Answered => Outcome::Answered,
        }
    }

    /// Has a receipt said this of this part before? Then it says nothing new.
    pub fn knows(&self, part: u16, state: ReceiptState) -> bool {
        match state {
            ReceiptState::Delivered => {
                self.parts_delivered & (1 << usize::from(part).min(MAX_PARTS - 1)) != 0
            }
            ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => {
                match self.refusal {
                    Some(refusal) => refusal == (part, state),
                    // Written before refusals were kept.
                    None => self.phase == Phase::Settled(Outcome::Undelivered),
                }
            }
            ReceiptState::Intermediate | ReceiptState::Unknown => false,
        }
    }

    /// What receipts have said before the final: of which part, counted from 0, and how.
    pub fn receipts(&self) -> impl Iterator<Item = (u16, ReceiptState)> {
        let bits = self.parts_delivered;
        let delivered = (0..MAX_PARTS as u16).filter(move |part| bits & (1 << part) != 0);
        let delivered = delivered.map(|part| (part, ReceiptState::Delivered));
        delivered.chain(self.refusal)
    }

    /// Notes a positive receipt for one part; true when all parts have one.
    pub fn part_delivered(&mut self, part: u16) -> bool {
        let parts = self.references.len().clamp(1, MAX_PARTS);
        self.parts_delivered |= 1 << usize::from(part).min(MAX_PARTS - 1);
        self.parts_delivered.count_ones() as usize >= parts
    }
}

/// More parts than this no text of ours has; the receipts of later parts count as the last one's.
const MAX_PARTS: usize = 64;

/// Keys kept for the report.
const MAX_KEYS: usize = 32;

fn is_false(b: &bool) -> bool {
    !*b
}

fn yes() -> bool {
    true
}

fn is_empty(list: &[Arc<str>]) -> bool {
    list.is_empty()
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
