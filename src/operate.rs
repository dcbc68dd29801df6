//! Operate: the gateway as a process with its listeners. Page, admin API, metrics, health, reload, logs.
//!
//! [`Running`] is the whole gateway with its three listeners, as `ringback run`, `ringback simulate` and the tests
//! run it. Nothing here decides about a challenge; what the operator sees is asked of dispatch.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex as Blocking,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    broker::Status,
    carrier::callbacks,
    config::{Config, Reloader, watch::Follow},
    dispatch::Query,
    gateway::{Gateway, IntakeHandle, Prepared, StartError},
    intake::http,
    ledger::{Ledger, Unwritten},
};

pub mod admin;
pub mod descriptors;
pub mod dumps;
pub mod explain;
mod gauges;
mod guard;
mod listen;
pub mod log;
pub mod metrics;
pub mod minutely;
mod process;
mod ready;
mod recorder;
pub mod reload;
mod trace;
mod verbs;

pub use guard::TokenError;
pub use listen::BindError;
pub use reload::Reloaded;

use guard::Guard;
use listen::Bound;

/// A running gateway with its listeners. Dropped, its listeners close at once; [`Running::drain`] is the good end.
pub struct Running {
    pub http: SocketAddr,
    pub callbacks: SocketAddr,
    pub admin: SocketAddr,
    pub control: Arc<Control>,
    stop: DropGuard,
    listeners: Vec<JoinHandle<()>>,
}

/// What the operator has in hand while the gateway runs.
pub struct Control {
    pub intake: IntakeHandle,
    pub ledger: Ledger,
    started: Instant,
    node: Arc<str>,
    /// None once it drains.
    gateway: Mutex<Option<Gateway>>,
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

/// Why it can't run. All but a broken ledger's reading are the configuration's or the machine's: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl RunError {
    /// The configuration may be right, and another start go well.
    pub fn may_pass(&self) -> bool {
        matches!(self, RunError::Start(StartError::Ledger(e)) if e.may_pass())
    }
}

/// How a drain went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    Whole,
    /// All has ended, but the ledger could not be written.
    Unwritten(Unwritten),
    /// Something did not end; the ledger has what was answered.
    Late,
}

/// After the limit of a drain, once for the broker and once for what is in the air: for unbinding, hanging up and closing the ledger.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// How long dispatch may take to answer the operator.
const ANSWER: Duration = Duration::from_secs(1);

impl Running {
    /// Takes the ports, opens the ledger, starts the carriers' drivers and serves. Port 0 takes a free one.
    pub async fn start(config: Config) -> Result<Running, RunError> {
        Running::start_watched(config, None).await
    }

    /// The same; whoever watches the files is told which ones there are after each reload.
    pub async fn start_watched(
        config: Config,
        follow: Option<Follow>,
    ) -> Result<Running, RunError> {
        recorder::install();
        let settings = config.settings.clone();
        let http = Bound::take("http", settings.http.listen).await?;
        let callbacks = Bound::take("callbacks", settings.callbacks.listen).await?;
        let admin = Bound::take("admin", settings.admin.listen).await?;
        let guards = vec![
            Guard::new("http", &settings.http)?,
            Guard::new("callbacks", &settings.callbacks)?,
            Guard::new("admin", &settings.admin)?,
        ];
        descriptors::ask(&config);
        let reloader = Reloader::new(&config);
        let gateway = Prepared::open(config)?.start(None).await?;
        let stop = CancellationToken::new();
        let jobs = http::routes(gateway.intake.clone(), gateway.ledger.clone(), stop.clone());
        let receipts = callbacks::router(gateway.callbacks.clone());
        let control = Arc::new(Control {
            intake: gateway.intake.clone(),
            ledger: gateway.ledger.clone(),
            started: Instant::now(),
            node: settings.node.name.clone(),
            broker: gateway.broker(),
            over: gateway.over(),
            gateway: Mutex::new(Some(gateway)),
            reloader: Arc::new(Blocking::new(reloader)),
            standing: reload::ReloadStatus::default(),
            follow,
            allow_empty: AtomicBool::new(false),
            guards,
            leaves: CancellationToken::new(),
        });
        let desk = admin::routes(control.clone());
        let addresses = (http.address, callbacks.address, admin.address);
        let served = [http, callbacks, admin]
            .into_iter()
            .zip([jobs, receipts, desk]);
        let listeners = served
            .zip(&control.guards)
            .map(|((bound, router), guard)| bound.serve(guard.before(router), stop.clone()))
            .collect();
        Ok(Running {
            http: addresses.0,
            callbacks: addresses.1,
            admin: addresses.2,
            control,
            stop: stop.drop_guard(),
            listeners,
        })
    }

    /// Takes nothing new, lets what is in the air settle within the limit, then closes all. The listeners answer
    /// until the end: receipts still come in, and `/readyz` says that it drains.
    pub async fn drain(self, limit: Duration) -> Drained {
        self.control.leaves.cancel();
        let gateway = self.control.gateway.lock().await.take();
        let ended = match gateway {
            Some(gateway) => {
                tokio::time::timeout(limit * 2 + LAST_WORDS, gateway.drain(limit)).await
            }
            None => Ok(None),
        };
        drop(self.stop);
        for listener in self.listeners {
            // A listener that was broken by a fault of ours is closed as well.
            let _ = listener.await;
        }
        match ended {
            Ok(None) => Drained::Whole,
            Ok(Some(unwritten)) => Drained::Unwritten(unwritten),
            Err(_) => Drained::Late,
        }
    }
}

impl Control {
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
            self.intake.queries.send(question(to)).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER, asked).await.ok().flatten()
    }
}
