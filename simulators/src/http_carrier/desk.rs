//! What a simulated HTTP carrier does with an order: take it or refuse it, and which receipts follow when.
//! Pure: no socket, no clock.

use super::HttpConfig;
use super::courier::{About, Parcel};
use crate::fate::{Fate, Refused, Stat};
use crate::record::{Encoding, Entry, Record, Text, TextResult, code_in};
use crate::script::{Dice, Faults, IdBase};
use crate::smsc::alphabet;
use crate::subscriber::Habits;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

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
        if let Some(refused) = Refused::decide(&mut self.dice, faults, person) {
            let (status, code) = status_of(refused);
            let text = Text {
                result: TextResult::Refused,
                status: Some(status.into()),
                ..line(&order)
            };
            self.record.push(&self.name, Entry::Text(text));
            let hold = Duration::from_millis(faults.response_delay_ms);
            return Ruling {
                way: Way::Refused { status, code },
                hold,
                parcels: Vec::new(),
            };
        }
        let fate = Fate::decide(&mut self.dice, faults, person, &self.habits);
        let (id, receipt_id) = fate.base.ids(self.next_id);
        self.next_id += 1;
        let text = Text {
            result: fate.result(),
            answered: !fate.dropped,
            reference: id.clone(),
            ..line(&order)
        };
        let line = self.record.push(&self.name, Entry::Text(text));
        let receipts = fate.receipts().map(|(after, stat)| {
            let (status, code) = words(stat);
            let about = About::Receipt {
                id: receipt_id.clone(),
                status,
                to: order.to.clone(),
                code,
            };
            Parcel::new(now + after, about, Some((line, stat.word())))
        });
        let mut parcels: Vec<Parcel> = receipts.collect();
        if let (Some(after), Some(code)) = (fate.reply_after, code_in(&order.text)) {
            parcels.push(self.inbound(&order.to, &order.from, code, now + after));
        }
        let way = if fate.dropped {
            Way::Dropped
        } else {
            Way::Taken { id }
        };
        Ruling {
            way,
            hold: fate.answer_after,
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
}

/// HTTP status and the carrier's own word for a refusal.
fn status_of(refused: Refused) -> (u16, &'static str) {
    match refused {
        Refused::Throttled => (429, "throttled"),
        Refused::Error(code) => (
            u16::try_from(code)
                .ok()
                .filter(|code| (400..600).contains(code))
                .unwrap_or(500),
            "error",
        ),
        Refused::NoSuchPhone => (400, "invalid_destination"),
    }
}

/// `status` and `code` of a receipt.
fn words(stat: Stat) -> (&'static str, Option<&'static str>) {
    match stat {
        Stat::Enroute => ("sent", None),
        Stat::Delivered => ("delivered", None),
        Stat::Expired => ("failed", Some("expired")),
        Stat::Undeliverable => ("failed", Some("absent_subscriber")),
        Stat::Rejected => ("failed", Some("rejected")),
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
