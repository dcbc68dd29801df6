//! What a carrier brings us unasked, and the acknowledgement by which it learns that we have it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::cause::Cause;

/// What a carrier brings us unasked.
#[derive(Clone, Debug)]
pub enum Incoming {
    Receipt(Receipt),
    /// A text from a phone, to one of our senders.
    Text(Inbound),
}

/// The acknowledgement that a driver gives with what it was brought: only when dispatch gives it back is the carrier answered, so
/// that nothing is taken over that a crash could lose. An acknowledgement that is dropped leaves the carrier without an answer, and
/// it will say it again.
#[derive(Debug)]
pub enum Acknowledgement {
    /// Brought in this session, under this number.
    Session(mpsc::UnboundedSender<(u32, Reply)>, u32),
    /// Brought by a request that waits; dropped: refused, it shall come again.
    Request(oneshot::Sender<()>),
}

/// How a carrier is answered that has brought something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is safe with us.
    Taken,
    /// There is no room for it now: it shall come again.
    QueueFull,
}

impl Acknowledgement {
    /// It is safe with us. Whoever brought it may have gone meanwhile: then it comes again, and is known.
    pub fn acknowledge(self) {
        match self {
            Acknowledgement::Session(session, number) => drop(session.send((number, Reply::Taken))),
            Acknowledgement::Request(request) => drop(request.send(())),
        }
    }

    /// We don't take it now, and the carrier is told so at once: its link must not wait for us.
    pub fn refuse(self) {
        match self {
            Acknowledgement::Session(session, number) => {
                let _ = session.send((number, Reply::QueueFull));
            }
            Acknowledgement::Request(request) => drop(request),
        }
    }
}

/// What a carrier said later about something it took. The ledger's inbox keeps it, sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// The reference as the receipt writes it, or none; where it names several, the surest first. In which other forms
    /// the answer to the submit may have written it is found out later ([`super::reference`]).
    pub references: Vec<Arc<str>>,
    pub state: ReceiptState,
    /// `err` of the receipt, or the carrier's own word.
    pub carrier_code: Option<Arc<str>>,
    /// For failures: why, in our words, if the carrier's table says.
    pub cause: Option<Cause>,
    /// The phone and our sender as the receipt names them, to match an attempt in doubt.
    pub phone: Option<Arc<str>>,
    pub sender: Option<Arc<str>>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({}, {:?})", self.state.name(), self.references)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptState {
    Delivered,
    /// Still on its way (ENROUTE, ACCEPTD, SCHEDULED): says nothing final.
    Intermediate,
    Undelivered,
    Expired,
    Rejected,
    /// UNKNOWN and the like: final for the carrier, says nothing.
    Unknown,
}

impl ReceiptState {
    pub const ALL: [ReceiptState; 6] = [
        ReceiptState::Delivered,
        ReceiptState::Intermediate,
        ReceiptState::Undelivered,
        ReceiptState::Expired,
        ReceiptState::Rejected,
        ReceiptState::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ReceiptState::Delivered => "delivered",
            ReceiptState::Intermediate => "intermediate",
            ReceiptState::Undelivered => "undelivered",
            ReceiptState::Expired => "expired",
            ReceiptState::Rejected => "rejected",
            ReceiptState::Unknown => "unknown",
        }
    }
}

/// A text that a person sent to one of our senders.
#[derive(Clone)]
pub struct Inbound {
    pub from: Arc<str>,
    pub to: Arc<str>,
    pub body: Arc<str>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Inbound(to {}, {} characters)",
            self.to,
            self.body.chars().count()
        )
    }
}
