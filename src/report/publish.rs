//! Reports on their way to the broker, and the gateway's own messages (errors, dead letters) beside them.
//!
//! Dispatch [`offer`](PublisherHandle::offer)s what has become durable; a connection of its own publishes it with
//! confirms in a bounded window, and the keys of what the broker holds go back to dispatch, which strikes them from
//! the ledger. What does not fit into memory stays in the ledger and is read again from there. So nothing is lost by a
//! full queue, a cut connection or an end of the process; a report may then come twice, with the same `report_id`.
//! What the broker returns is tried again until its time is over and then dead-lettered. May not log a body.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    broker::{Status, Topology},
    config::settings::Amqp,
    ledger::{Ledger, OutboxReport, ReportKey, Target},
};

mod dead_letter;
mod machine;
pub mod pending;
mod published;
mod queue;
mod session;
mod unroutable;

pub use dead_letter::{
    DEAD_LETTER, DeadLetter, DeadLetterMessage, dead_counter, properties as message_properties,
};
pub use machine::{PublishMachine, PublishOutput};
pub use queue::{BasicPublish, Confirm, LetterId, PublishBounds, PublishNames, Returned};
pub use unroutable::ReturnNotice;

/// Everything that the publisher needs.
pub struct Publishing {
    pub amqp: Arc<Amqp>,
    pub topology: Topology,
    pub status: Status,
    pub ledger: Ledger,
    /// Where the keys of published reports go, in batches.
    pub done: mpsc::Sender<Vec<ReportKey>>,
    pub node: Arc<str>,
}

/// The running publisher.
pub struct Publisher {
    handle: PublisherHandle,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
    gauge: JoinHandle<()>,
}

impl Publisher {
    /// Starts; connects when the broker is there, for ever.
    pub fn start(publishing: Publishing) -> Publisher {
        let (reports, reports_in) = mpsc::channel(OFFERED);
        let (letters, letters_in) = mpsc::channel(LETTERS);
        let (stop, stopping) = watch::channel(None);
        let missed = Arc::new(AtomicBool::new(false));
        let handle = PublisherHandle {
            reports,
            letters,
            missed: missed.clone(),
        };
        let gauge = tokio::spawn(count_pending(publishing.ledger.clone()));
        let inbox = session::Inbox {
            reports: reports_in,
            letters: letters_in,
            missed,
            stop: stopping,
        };
        let task = tokio::spawn(session::run(publishing, inbox));
        Publisher {
            handle,
            stop,
            task,
            gauge,
        }
    }

    pub fn handle(&self) -> PublisherHandle {
        self.handle.clone()
    }

    /// Publishes what is at hand, for so long at most, and closes. The rest stays in the ledger.
    pub async fn stop(self, limit: Duration) {
        self.gauge.abort();
        // Refused only where the task has ended already.
        let _ = self.stop.send(Some(limit));
        if self.task.await.is_err() {
            tracing::error!(
                "the publisher ended by a fault of ours; its reports stay in the ledger"
            );
        }
    }
}

/// How dispatch and the doors reach the publisher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PublisherHandle {
    reports: mpsc::Sender<OutboxReport>,
    letters: mpsc::Sender<(DeadLetterMessage, oneshot::Sender<()>)>,
    missed: Arc<AtomicBool>,
}

impl PublisherHandle {
    /// Takes a durable report to be published. Never waits: where there is no room it is read from the ledger later.
    pub fn offer(&self, report: OutboxReport) {
        if report.target != Target::Http && self.reports.try_send(report).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// There are reports in the ledger that were not offered.
    pub fn read_again(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Publishes a message and waits until the broker holds it, however long that takes. False: the publisher has
    /// ended, and nothing is known of the message.
    pub async fn deliver(&self, letter: DeadLetterMessage) -> bool {
        let (told, confirmed) = oneshot::channel();
        self.letters.send((letter, told)).await.is_ok() && confirmed.await.is_ok()
    }
}

async fn count_pending(ledger: Ledger) {
    let mut tick = tokio::time::interval(COUNT);
    loop {
        tick.tick().await;
        if let Err(error) = pending::read(&ledger).await {
            tracing::warn!(%error, "waiting reports can't be counted");
        }
    }
}

/// Reports that wait in memory for the publisher; more stay in the ledger.
const OFFERED: usize = 4_096;
/// Messages that wait for the publisher; more wait at their door.
const LETTERS: usize = 64;
/// How often the waiting reports are counted.
const COUNT: Duration = Duration::from_secs(5);
