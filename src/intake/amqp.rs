//! Jobs and control words from RabbitMQ.
//!
//! A connection of its own, two channels on it: jobs, and the control words that must never wait behind them. A
//! delivery is parsed, handed to dispatch with a [`Ticket`], and acked when the ticket is answered; acks go out in
//! batches. A ticket belongs to the channel that its delivery came on: answered after that channel's end it moves
//! nothing. What can't be understood becomes an error message and a dead letter, both held by the broker before the
//! job is acked. May not log anything of a job but its sizes and reasons.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{Answer, Arrival};
use crate::{
    broker::{Status, Topology},
    config::{LiveSettings, settings::Amqp},
    ledger::Ledger,
    report::publish::PublisherHandle,
};

mod consumer;
mod neighbours;
mod poison_guard;
mod rejected;
mod session;
mod tags;
mod watchdog;

pub use neighbours::Accounts;
pub use rejected::ERROR;

/// A delivery that waits for its ack. Dropped unanswered it counts as [`Answer::Busy`].
#[derive(Debug)]
pub struct Ticket {
    tag: u64,
    /// The channel's own; once it is closed, nobody listens.
    answers: Option<mpsc::UnboundedSender<(u64, Answer)>>,
}

impl Ticket {
    /// Of the delivery with this tag, answered on its channel's own way.
    pub fn new(tag: u64, answers: mpsc::UnboundedSender<(u64, Answer)>) -> Ticket {
        Ticket {
            tag,
            answers: Some(answers),
        }
    }

    pub fn answer(mut self, answer: Answer) {
        self.give(answer);
    }

    fn give(&mut self, answer: Answer) {
        if let Some(answers) = self.answers.take() {
            // Refused where the channel has ended: the broker gives the job to someone again.
            let _ = answers.send((self.tag, answer));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give(Answer::Busy);
    }
}

/// Everything that the door needs.
#[derive(Clone)]
pub struct Intake {
    pub amqp: Arc<Amqp>,
    pub settings: LiveSettings,
    pub topology: Topology,
    pub status: Status,
    /// Seals the bodies of dead letters.
    pub ledger: Ledger,
    pub publisher: PublisherHandle,
    pub node: Arc<str>,
    /// The carriers' accounts in use: other gateways are told.
    pub accounts: watch::Receiver<Accounts>,
    /// Beside the ledger: which job was being parsed when the process ended.
    pub suspect: PathBuf,
    /// Messages wait and none arrives for so long: the consumer is made anew.
    pub stuck_after: Duration,
    pub jobs: mpsc::Sender<Arrival>,
    pub control: mpsc::Sender<Arrival>,
}

/// For [`Intake::stuck_after`], where nobody says otherwise.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// The running door.
pub struct Consumer {
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

/// Starts; connects when the broker is there, for ever.
pub fn start(intake: Intake) -> Consumer {
    let (stop, stopping) = watch::channel(None);
    let task = tokio::spawn(session::run(intake, stopping));
    Consumer { stop, task }
}

impl Consumer {
    /// Takes nothing new, acks what is answered within the limit, closes. The rest goes back to the broker.
    pub async fn stop(self, limit: Duration) {
        // Refused only where the task has ended already.
        let _ = self.stop.send(Some(limit));
        if self.task.await.is_err() {
            tracing::error!(
                "the door for jobs ended by a fault of ours; the broker keeps what was not acked"
            );
        }
    }
}
