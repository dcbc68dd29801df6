//! The gateway: what it consists of, in the order in which it starts.
//!
//! Everything is started here and nothing is decided here. First the ports are taken and the tokens read, so that a start
//! that can't be comes to nothing; then the [`service`] runs the way of a challenge; the listeners serve last.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    carrier::callbacks,
    config::{Config, Reloader, watch::Follow},
    intake::http,
    ledger::Unwritten,
    operate::{
        self, BindError, Bound, Control, Guard, Measures, Parts, TokenError, descriptors, recorder,
    },
};

mod broker;
mod drivers;
mod reconfigure;
pub mod service;

pub use drivers::{DriverError, DriverErrors};
pub use service::{Prepared, Publishing, Service, StartError};

/// A running gateway with its listeners. Dropped, its listeners close at once; [`Gateway::drain`] is the good end.
pub struct Gateway {
    pub http: SocketAddr,
    pub callbacks: SocketAddr,
    pub admin: SocketAddr,
    pub control: Arc<Control>,
    stop: DropGuard,
    listeners: Vec<JoinHandle<()>>,
    service: reconfigure::SharedService,
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

impl Gateway {
    /// Takes the ports, opens the ledger, starts the carriers' drivers and serves. Port 0 takes a free one.
    pub async fn start(config: Config) -> Result<Gateway, RunError> {
        Gateway::start_watched(config, None).await
    }

    /// The same; whoever watches the files is told which ones there are after each reload.
    pub async fn start_watched(
        config: Config,
        follow: Option<Follow>,
    ) -> Result<Gateway, RunError> {
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
        let measures = Measures::default();
        let prepared = Prepared::open(config, Box::new(measures.clone()))?;
        let service = prepared.start(None).await?;
        let stop = CancellationToken::new();
        let jobs = http::routes(service.intake.clone(), service.ledger.clone(), stop.clone());
        let receipts = callbacks::router(service.callbacks.clone());
        let parts = Parts {
            node: settings.node.name.clone(),
            intake: service.intake.clone(),
            queries: service.queries.clone(),
            ledger: service.ledger.clone(),
            broker: service.broker(),
            over: service.over(),
            measures,
            guards,
            reloader,
            follow,
        };
        let service = reconfigure::SharedService::new(service);
        let control = Arc::new(Control::new(parts, Box::new(service.clone())));
        let desk = operate::routes(control.clone());
        let addresses = (http.address, callbacks.address, admin.address);
        let served = [http, callbacks, admin]
            .into_iter()
            .zip([jobs, receipts, desk]);
        let listeners = served
            .zip(control.guards())
            .map(|((bound, router), guard)| bound.serve(guard.before(router), stop.clone()))
            .collect();
        Ok(Gateway {
            http: addresses.0,
            callbacks: addresses.1,
            admin: addresses.2,
            control,
            stop: stop.drop_guard(),
            listeners,
            service,
        })
    }

    /// Takes nothing new, lets what is in the air settle within the limit, then closes all. The listeners answer
    /// until the end: receipts still come in, and `/readyz` says that it drains.
    pub async fn drain(self, limit: Duration) -> Drained {
        self.control.leave();
        let ended = match self.service.take().await {
            Some(service) => {
                tokio::time::timeout(limit * 2 + LAST_WORDS, service.drain(limit)).await
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
