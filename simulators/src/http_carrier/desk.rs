//! What a simulated HTTP carrier does with an order: take it or refuse it, and which receipts follow when.
//! Pure: no socket, no clock.

use super::HttpConfig;
use super::courier::{About, Parcel};
use crate::record::{Encoding, Entry, Record, Text, TextResult, code_in};
use crate::script::{Chance, Dice, Faults, IdBase};
use crate::smsc::alphabet;
use crate::subscriber::{Habits, TextBehaviour};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How much earlier than the answer an early receipt is.
const EARLY_BY: Duration = Duration::from_millis(100);
/// How much later than the first a second receipt is.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a person takes to send the code back.
const REPLY_AFTER: Duration = Duration::from_millis(500);

/// A text to be sent, as the gateway writes it. Further fields are the operator's own.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// The phone, E.164 with or without `+`.
    pub to: String,
    /// The sender to show.
    pub from: String,
    /// What the person reads.
    pub text: String,
    /// The gateway's own reference.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

impl Order {
    /// What is wrong with it, as an error code.
    pub fn check(&self) -> Result<(), &'static str> {
        let digits = self.to.strip_prefix('+').unwrap_or(&self.to);
        if !(3..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err("bad_to");
        }
        if self.from.is_empty() || self.from.len() > 16 || self.from.chars().any(char::is_control) {
            return Err("bad_from");
        }
        if self.text.is_empty() {
            Err("bad_text")
        } else {
            Ok(())
        }
    }
}

/// What is done with an order.
#[derive(Debug)]
pub struct Ruling {
    /// The answer.
    pub way: Way,
    /// How long it is held back.
    pub hold: Duration,
    /// Callbacks to come, each with its time.
    pub parcels: Vec<Parcel>,
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// 201.
    Taken {
        /// The carrier's id.
        id: String,
    },
    /// An error.
    Refused {
        /// HTTP status.
        status: u16,
        /// The carrier's own word.
        code: &'static str,
    },
    /// None: the connection is closed.
    Dropped,
}

/// A carrier's mind.
#[derive(Debug)]
pub struct Desk {
    name: Arc<str>,
    habits: Habits,
    record: Record,
    dice: Dice,
    next_id: u64,
}

impl Desk {
    /// As configured.
    pub fn new(config: &HttpConfig) -> Desk {
        Desk {
            name: config.name.as_str().into(),
            habits: config.habits,
            record: config.record.clone(),
            dice: Dice::new(config.seed),
            next_id: IdBase::first(SystemTime::now()),
        }
    }

    /// An order has come.
    pub fn rule(&mut self, order: Order, faults: &Faults, now: Instant) -> Ruling {
        let person = faults.behaviour(&order.to).text;
        let hold = Duration::from_millis(faults.response_delay_ms);
        if let Some((status, code)) = self.refusal(faults, person) {
            let refused = Text {
                result: TextResult::Refused,
                status: Some(status.into()),
                ..line(&order)
            };
            self.record.push(&self.name, Entry::Text(refused));
            return Ruling {
                way: Way::Refused { status, code },
                hold,
                parcels: Vec::new(),
            };
        }
        let base = if person == TextBehaviour::OtherIdBase {
            IdBase::HexDec
        } else {
            faults.id_base
        };
        let (id, receipt_id) = base.ids(self.next_id);
        self.next_id += 1;
        let failure = self.failure(faults, person);
        let dropped = self
            .dice
            .strikes(Chance::DropAfterSend, faults.drop_after_send)
            || person == TextBehaviour::DroppedUnanswered;
        let result = if failure.is_some() {
            TextResult::Unread
        } else {
            TextResult::Read
        };
        let text = Text {
            result,
            answered: !dropped,
            reference: id.clone(),
            ..line(&order)
        };
        let line = self.record.push(&self.name, Entry::Text(text));
        let early = self
            .dice
            .strikes(Chance::EarlyReceipt, faults.early_receipts)
            || person == TextBehaviour::EarlyReceipt;
        let usual = faults
            .receipt_delay_ms
            .map_or(self.habits.receipt_delay, Duration::from_millis);
        let late = if person == TextBehaviour::LateReceipt {
            self.habits.late_receipt
        } else {
            Duration::ZERO
        };
        let late = late + Duration::from_millis(faults.late_receipt_ms);
        let due = if early {
            now
        } else {
            now + hold + usual + late
        };
        let mut parcels = Vec::new();
        if person == TextBehaviour::RepliesWithCode
            && let Some(code) = code_in(&order.text)
        {
            parcels.push(self.inbound(
                &order.to,
                &order.from,
                code,
                now + hold + usual + REPLY_AFTER,
            ));
        }
        if !self.keeps_silent(faults, person) {
            let receipt =
                |due, status: &'static str, stat: &'static str, code: Option<&'static str>| {
                    let about = About::Receipt {
                        id: receipt_id.clone(),
                        status,
                        to: order.to.clone(),
                        code,
                    };
                    Parcel::new(due, about, Some((line, stat)))
                };
            if person == TextBehaviour::IntermediateFirst {
                parcels.push(receipt(now + hold + usual / 2, "sent", "ENROUTE", None));
            }
            let (status, stat) = match failure {
                None => ("delivered", "DELIVRD"),
                Some("expired") => ("failed", "EXPIRED"),
                Some("rejected") => ("failed", "REJECTD"),
                Some(_) => ("failed", "UNDELIV"),
            };
            parcels.push(receipt(due, status, stat, failure));
            let twice = person == TextBehaviour::DoubleReceipt;
            if self
                .dice
                .strikes(Chance::DoubleReceipt, faults.double_receipts)
                || twice
            {
                parcels.push(receipt(due + AGAIN_AFTER, status, stat, failure));
            }
        }
        let way = if dropped {
            Way::Dropped
        } else {
            Way::Taken { id }
        };
        Ruling {
            way,
            hold: if early { hold + EARLY_BY } else { hold },
            parcels,
        }
    }

    /// A person's own text, as a callback due at `due`.
    pub fn inbound(&mut self, person: &str, sender: &str, text: &str, due: Instant) -> Parcel {
        let inbound_id = format!("in-{}", self.next_id);
        self.next_id += 1;
        let about = About::Inbound {
            inbound_id,
            from: person.to_owned(),
            to: sender.to_owned(),
            text: text.to_owned(),
        };
        Parcel::new(due, about, None)
    }

    fn refusal(&mut self, faults: &Faults, person: TextBehaviour) -> Option<(u16, &'static str)> {
        if self.dice.strikes(Chance::Throttle, faults.throttle) {
            return Some((429, "throttled"));
        }
        if self.dice.strikes(Chance::Error, faults.error.often) {
            return Some((
                u16::try_from(faults.error.code)
                    .ok()
                    .filter(|code| *code >= 400)
                    .unwrap_or(500),
                "error",
            ));
        }
        (person == TextBehaviour::RefusedAtSubmit).then_some((400, "invalid_destination"))
    }

    /// Why the person never reads it, as the receipt's code.
    fn failure(&mut self, faults: &Faults, person: TextBehaviour) -> Option<&'static str> {
        match person {
            TextBehaviour::HandsetOff => Some("absent_subscriber"),
            TextBehaviour::Rejected => Some("rejected"),
            TextBehaviour::Expired => Some("expired"),
            _ => self
                .dice
                .strikes(Chance::Undelivered, faults.undelivered)
                .then_some("absent_subscriber"),
        }
    }

    fn keeps_silent(&mut self, faults: &Faults, person: TextBehaviour) -> bool {
        self.dice.strikes(Chance::NoReceipt, faults.no_receipts)
            || person == TextBehaviour::NoReceipt
    }
}

fn line(order: &Order) -> Text {
    let (coding, octets) = alphabet::encode(&order.text);
    let encoding = if coding == 0 {
        Encoding::Gsm7
    } else {
        Encoding::Ucs2
    };
    let parts = match octets.len() {
        length if length <= alphabet::room(encoding, false) => 1,
        length => length.div_ceil(alphabet::room(encoding, true)) as u32,
    };
    Text {
        to: order.to.clone(),
        from: order.from.clone(),
        text: order.text.clone(),
        parts,
        encoding: Encoding::Unicode,
        sender_reference: order.reference.clone(),
        answered: true,
        receipt_wanted: true,
        ..Text::default()
    }
}
