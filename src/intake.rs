//! Intake: jobs from AMQP and HTTP, parsed once into challenges.
//!
//! A door (`amqp`, `http`) turns what came into an [`Arrival`] and hands it to dispatch on one bounded channel; the
//! [`Ticket`] is how dispatch answers when the ledger holds it. A job that can't be understood never gets further than
//! its door: an `error` message and a dead letter (AMQP), or 400 (HTTP).

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    challenge::{Challenge, ChallengeKey},
    config::LiveSettings,
    ledger::Claim,
};

pub mod amqp;
pub mod http;
pub mod job;
mod room;

pub use room::NoRoom;

/// How the doors reach dispatch. Cheap to clone.
#[derive(Clone)]
pub struct IntakeHandle {
    pub jobs: mpsc::Sender<Arrival>,
    /// Cancels and feedback.
    pub control: mpsc::Sender<Arrival>,
    /// Says which challenge has a new report for those who follow by HTTP.
    pub reports: broadcast::Sender<ChallengeKey>,
    /// Cancelled once nothing new is taken any more.
    pub draining: CancellationToken,
    pub settings: LiveSettings,
    /// The setting that jobs wait for, where there is no room for more challenges.
    pub no_room: watch::Receiver<Option<NoRoom>>,
}

/// Something that came in by a door and was understood.
#[derive(Debug)]
pub struct Arrival {
    pub job: Job,
    pub ticket: Ticket,
}

#[derive(Debug)]
pub enum Job {
    Challenge(Box<Challenge>),
    Cancel {
        tenant: Arc<str>,
        id: Arc<str>,
    },
    Feedback {
        tenant: Arc<str>,
        id: Arc<str>,
        verified: bool,
    },
}

/// How dispatch answers the door. Dropped unanswered, the door treats it as [`Answer::Busy`] (the broker keeps the job).
#[derive(Debug)]
pub enum Ticket {
    Amqp(amqp::Ticket),
    /// Somebody within the process waits, for as long as it takes.
    Http(oneshot::Sender<Answer>),
    /// A client waits that may give up; what it gave up is not taken ([`Claim`]).
    Claimed(oneshot::Sender<Answer>, Claim),
    /// Nobody waits (tests, simulate's own sample).
    None,
}

impl Ticket {
    /// The client has gone, or was told to come again: its job was not taken and must not be.
    pub fn is_void(&self) -> bool {
        match self {
            Ticket::Http(waiting) => waiting.is_closed(),
            Ticket::Claimed(_, claim) => claim.given_up(),
            Ticket::Amqp(_) | Ticket::None => false,
        }
    }

    /// What the ledger asks before it writes.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Ticket::Claimed(_, claim) => Some(claim),
            Ticket::Http(_) | Ticket::Amqp(_) | Ticket::None => None,
        }
    }

    /// Does somebody wait who would rather be told at once that there is no room? A broker keeps its jobs.
    pub fn is_impatient(&self) -> bool {
        matches!(self, Ticket::Http(_) | Ticket::Claimed(..))
    }

    pub fn answer(self, answer: Answer) {
        match self {
            Ticket::Amqp(ticket) => ticket.answer(answer),
            Ticket::Http(waiting) | Ticket::Claimed(waiting, _) => {
                // The client may have gone; the challenge lives on without it.
                let _ = waiting.send(answer);
            }
            Ticket::None => {}
        }
    }
}

/// What became of an arrival at the door.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Durable, and there is room: acked; 202.
    Taken,
    /// The same id with the same content is known: acked; 200. Its final, if it has ended.
    Again { last: Option<Arc<[u8]>> },
    /// The same id with other content: error message and dead letter; 409.
    Conflict,
    /// A cancel or feedback for an id nobody knows (remembered for 15 minutes): acked; 202.
    Unknown,
    /// No room, or stopping: the broker keeps it; 429, 503.
    Busy,
}

/// Bound of arrivals between the doors and dispatch.
pub const ARRIVALS: usize = 4_096;
