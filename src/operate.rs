//! Operate: the operator's side. Page, admin API, metrics, health, reload, logs, and what every listener has before it.
//!
//! Nothing here decides about a challenge or starts anything; what the operator sees is asked of dispatch.

use std::{
    sync::{
        Arc, Mutex as Blocking,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Status,
    config::{Reloader, watch::Follow},
    dispatch::Query,
    intake::IntakeHandle,
    ledger::Ledger,
};

mod admin;
mod answers;
pub mod descriptors;
pub mod dumps;
mod endpoints;
pub mod explain;
mod gauges;
mod guard;
mod listen;
pub mod log;
pub mod metrics;
pub mod notices;
mod process;
mod ready;
pub mod recorder;
pub mod reload;
mod trace;
mod verbs;

pub use endpoints::{endpoints, routes};
pub use guard::{Guard, TokenError};
pub use listen::{BindError, Bound};
pub use metrics::Measures;
pub use reload::Reloaded;

use reload::Reconfigure;

/// What the operator has in hand while the gateway runs.
pub struct Control {
    pub intake: IntakeHandle,
    pub queries: mpsc::Sender<Query>,
    measures: Measures,
    pub ledger: Ledger,
    started: Instant,
    node: Arc<str>,
    service: Box<dyn Reconfigure>,
    /// One reload at a time.
    reloading: Mutex<()>,
    /// Used by whoever holds the gateway, on a thread that may wait for a disk.
    reloader: Arc<Blocking<Reloader>>,
    standing: reload::ReloadStatus,
    /// Who watches the files; None: nobody does.
    follow: Option<Follow>,
    allow_empty: AtomicBool,
    guards: Vec<Guard>,
    /// None: no broker is configured.
    broker: Option<Status>,
    /// Cancelled once it drains.
    leaves: CancellationToken,
    over: CancellationToken,
}

/// What the gateway gives its operator's side.
pub struct Parts {
    pub node: Arc<str>,
    pub intake: IntakeHandle,
    pub queries: mpsc::Sender<Query>,
    pub ledger: Ledger,
    /// None: no broker is configured.
    pub broker: Option<Status>,
    /// Cancelled once dispatch has ended.
    pub over: CancellationToken,
    pub measures: Measures,
    /// http, callbacks, admin.
    pub guards: Vec<Guard>,
    pub reloader: Reloader,
    pub follow: Option<Follow>,
}

/// How long dispatch may take to answer the operator.
const ANSWER: Duration = Duration::from_secs(1);

impl Control {
    pub fn new(parts: Parts, service: Box<dyn Reconfigure>) -> Control {
        let Parts {
            node,
            intake,
            queries,
            ledger,
            broker,
            over,
            measures,
            guards,
            reloader,
            follow,
        } = parts;
        Control {
            intake,
            queries,
            ledger,
            started: Instant::now(),
            node,
            measures,
            service,
            reloading: Mutex::new(()),
            reloader: Arc::new(Blocking::new(reloader)),
            standing: reload::ReloadStatus::default(),
            follow,
            allow_empty: AtomicBool::new(false),
            guards,
            broker,
            leaves: CancellationToken::new(),
            over,
        }
    }

    /// What stands before each listener: http, callbacks, admin.
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// From now on it drains.
    pub fn leave(&self) {
        self.leaves.cancel();
    }

    pub fn draining(&self) -> bool {
        self.leaves.is_cancelled()
    }

    /// Waits until dispatch has ended; without a drain that is a fault of ours, and the process is of no use.
    pub async fn broken(&self) {
        self.over.cancelled().await;
    }

    /// From now on a reload takes emptied files, and a set without routes, for what is meant.
    pub fn allow_empty(&self) {
        self.allow_empty.store(true, Ordering::Relaxed);
    }

    fn allows_empty(&self) -> bool {
        self.allow_empty.load(Ordering::Relaxed)
    }

    /// What does not hinder, but must be known: a configuration that is refused, a restart that is needed, reports that no
    /// queue takes, other gateways.
    fn detail(&self) -> Vec<String> {
        let mut detail = self.standing.detail();
        detail.extend(self.broker.iter().flat_map(ready::broker_detail));
        detail
    }

    /// Asks dispatch; None if it does not answer in time.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (to, answer) = oneshot::channel();
        let asked = async {
            self.queries.send(question(to)).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER, asked).await.ok().flatten()
    }
}
