//! The way of a challenge, running: ledger, core, carriers' drivers and the broker, without listeners.
//!
//! Everything is started here and nothing is decided here: the ledger is opened, every carrier gets its driver, what
//! the ledger held goes on, and the broker's door is opened last. It ends when it is told to drain.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    broker::{Broker, Out},
    drivers::{self, DriverErrors, Drivers},
};
use crate::{
    broker::Status,
    carrier::SAID,
    clock::Now,
    config::{Config, LiveSettings, settings::Amqp},
    core::{Core, CoreSettings, Observer, WIPE, notice::Notices, take_up},
    dispatch::{Dispatch, Inputs, Outputs, Query},
    intake::{ARRIVALS, IntakeHandle, NoRoom},
    ledger::{Ledger, OpenError, OutboxReport, ReadError, Recovered, ReportKey, Unwritten},
    operate::notices,
    report::publish::PublisherHandle,
};

/// The running way, from jobs to reports.
pub struct Service {
    pub intake: IntakeHandle,
    pub queries: mpsc::Sender<Query>,
    pub ledger: Ledger,
    /// For the `[callbacks]` listener.
    pub callbacks: crate::carrier::callbacks::Table,
    config: Arc<Config>,
    drivers: Drivers,
    broker: Option<Broker>,
    dispatch: JoinHandle<()>,
    over: CancellationToken,
    clock: JoinHandle<()>,
}

/// Where dispatch puts reports instead of on the configured broker: for tests, and for what runs without one.
pub struct Publishing {
    pub publish: Box<dyn FnMut(OutboxReport) + Send>,
}

/// Why it can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Ledger(#[from] OpenError),
    #[error(transparent)]
    Driver(#[from] DriverErrors),
    #[error("the ledger can't be read: {0}")]
    Recover(String),
}

/// After all else has ended, so long for the reports at hand; the others stay in the ledger.
const LAST_REPORTS: Duration = Duration::from_secs(3);
/// Bound of an operator's questions that wait.
const QUERIES: usize = 64;
/// Bound of batches of published reports that wait for dispatch.
const PUBLISHED: usize = 1_024;
/// Bound of wake-ups that a slow follower may be behind before it looks into the ledger again by itself.
const WAKES: usize = 1_024;

/// A configuration for which all is made ready.
pub struct ReadyConfig {
    config: Arc<Config>,
    drivers: drivers::PreparedDrivers,
}

/// An service that is set up but not yet running: the broker's doors are attached in between.
pub struct Prepared {
    config: Arc<Config>,
    pub ledger: Ledger,
    recovered: Recovered,
    pub intake: IntakeHandle,
    pub queries: mpsc::Sender<Query>,
    inputs: Inputs,
    /// Where a publisher says which reports are done.
    pub published: mpsc::Sender<Vec<ReportKey>>,
    said: mpsc::Sender<crate::carrier::CarrierMessage>,
    no_room: watch::Sender<Option<NoRoom>>,
    observer: Box<dyn Observer>,
}

impl Prepared {
    /// Opens the ledger. Nothing runs yet.
    pub fn open(config: Config, observer: Box<dyn Observer>) -> Result<Prepared, StartError> {
        let node = config.settings.node.name.clone();
        let (settings, limits) = (&config.settings.ledger, &config.settings.limits);
        let (ledger, done, recovered) = Ledger::open(settings, &node, limits, WIPE)?;
        let (jobs, jobs_in) = mpsc::channel(ARRIVALS);
        let (control, control_in) = mpsc::channel(ARRIVALS);
        let (queries, queries_in) = mpsc::channel(QUERIES);
        let (published, published_in) = mpsc::channel(PUBLISHED);
        let (said, said_in) = mpsc::channel(SAID);
        let (reports, _) = broadcast::channel(WAKES);
        let (no_room, crowded) = watch::channel(None);
        let settings = LiveSettings::new(config.settings.clone().into());
        Ok(Prepared {
            config: Arc::new(config),
            ledger,
            recovered,
            intake: IntakeHandle {
                jobs,
                control,
                reports,
                draining: CancellationToken::new(),
                settings,
                no_room: crowded,
            },
            queries,
            inputs: Inputs {
                jobs: jobs_in,
                control: control_in,
                said: said_in,
                done,
                published: published_in,
                queries: queries_in,
                nodes: None,
            },
            published,
            said,
            no_room,
            observer,
        })
    }

    /// Starts the drivers, takes up what the ledger held, and runs.
    pub async fn start(mut self, publishing: Option<Publishing>) -> Result<Service, StartError> {
        let now = Now::read();
        let reports = self.intake.reports.clone();
        let amqp = self.config.settings.jobs.amqp.clone();
        let out = amqp
            .filter(|_| publishing.is_none())
            .map(|amqp| self.publisher(amqp));
        let publish = publishing.map(|p| p.publish).or_else(|| {
            let handle = out.as_ref()?.handle();
            Some(Box::new(move |report| handle.offer(report)) as _)
        });
        let handle = out.as_ref().map(Out::handle);
        let outputs = Outputs {
            ledger: self.ledger.clone(),
            publish,
            read_reports: Box::new(move || {
                handle.iter().for_each(PublisherHandle::read_again);
            }),
            wake: Box::new(move |key| {
                // Nobody follows: nobody is woken.
                let _ = reports.send(key);
            }),
            no_room: self.no_room,
        };
        let settings = CoreSettings {
            config: self.config.clone(),
            broker: outputs.publish.is_some(),
            epoch: self.recovered.epoch(),
            observer: self.observer,
            notices: Notices::to(|notice| notices::write(&notice)),
        };
        let core = Core::new(settings, now);
        let mut dispatch = Dispatch::new(core, outputs);
        let mut drivers = Drivers::new(self.said);
        let broken = |e: ReadError| StartError::Recover(e.to_string());
        let unterminated = self.recovered.calls().map_err(broken)?;
        drivers.unterminated(&unterminated);
        let ready = drivers.prepare(&self.config).await?;
        dispatch.configure(self.config.clone(), drivers.commit(ready));
        dispatch
            .core()
            .overlay(self.recovered.overlay().map_err(broken)?);
        take_up(&mut self.recovered, dispatch.core(), now.wall).map_err(broken)?;
        for call in unterminated {
            dispatch.core().unterminated(&call);
        }
        let over = CancellationToken::new();
        // Dropped however dispatch ends, by a panic as well.
        let ends = over.clone().drop_guard();
        self.ledger.says_configuration(&self.config.common());
        let inputs = beside_others(self.inputs, &self.ledger, dispatch.core());
        let dispatch = tokio::spawn(async move {
            dispatch.run(inputs).await;
            drop(ends);
        });
        let broker = out.map(|out| out.open(&self.config, self.ledger.clone(), &self.intake));
        Ok(Service {
            intake: self.intake,
            queries: self.queries,
            callbacks: drivers.callbacks(),
            drivers,
            config: self.config,
            broker,
            dispatch,
            over,
            clock: tokio::spawn(crate::clock::watch()),
            ledger: self.ledger,
        })
    }

    /// The link on which reports go to the broker.
    fn publisher(&self, amqp: Amqp) -> Out {
        let node = self.config.settings.node.name.clone();
        let (ledger, published) = (self.ledger.clone(), self.published.clone());
        Out::start(Arc::new(amqp), node, ledger, published)
    }
}

/// From now on what other nodes leave is taken over, where there may be others.
fn beside_others(mut inputs: Inputs, ledger: &Ledger, core: &mut Core) -> Inputs {
    inputs.nodes = ledger.attend();
    if inputs.nodes.is_some() {
        core.share();
    }
    inputs
}

impl Service {
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How the links to the broker stand; None: there is none.
    pub fn broker(&self) -> Option<Status> {
        self.broker.as_ref().map(|broker| broker.status.clone())
    }

    /// Cancelled once dispatch has ended. Without a drain that is a fault of ours (a panic, the ledger's writer gone):
    /// nothing goes on, and the process must end so that what is open is taken up by the next one.
    pub fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Makes everything ready for another configuration, or says what stands in its way. What runs is not touched, and
    /// nothing has happened when this is given up.
    pub async fn prepare(&self, config: Config) -> Result<ReadyConfig, StartError> {
        let drivers = self.drivers.prepare(&config).await?;
        Ok(ReadyConfig {
            config: Arc::new(config),
            drivers,
        })
    }

    /// The configuration takes over. Nothing of it can fail.
    pub async fn commit(&mut self, ready: ReadyConfig) {
        let ReadyConfig { config, drivers } = ready;
        let updates = self.drivers.commit(drivers);
        let (done, wait) = oneshot::channel();
        let taken = Query::Reload(config.clone(), updates, done);
        if self.queries.send(taken).await.is_ok() {
            // Dispatch answers at its next turn; only its end would drop the question.
            let _ = wait.await;
        }
        let (before, now) = (&self.config.settings.ledger, &config.settings.ledger);
        if (before.retention, before.outcomes) != (now.retention, now.outcomes) {
            // Refused only where the ledger has ended: then so has dispatch.
            let _ = self.ledger.retain(now.retention, now.outcomes).await;
        }
        self.ledger.says_configuration(&config.common());
        self.intake.settings.store(config.settings.clone());
        if let Some(broker) = &self.broker {
            broker.reloaded(&config);
        }
        self.config = config;
    }

    /// Stops taking, lets what is in the air settle within the limit, unbinds and hangs up, closes the ledger.
    /// Says what of it could not be written.
    pub async fn drain(self, limit: Duration) -> Option<Unwritten> {
        self.intake.draining.cancel();
        let publisher = match self.broker {
            Some(broker) => Some(broker.close_door(limit).await),
            None => None,
        };
        let _ = self.queries.send(Query::Drain(limit)).await;
        if self.dispatch.await.is_err() {
            tracing::error!(
                "dispatch ended by a fault of ours; open challenges stay in the ledger"
            );
        }
        self.drivers.finished().await;
        if let Some(publisher) = publisher {
            publisher.stop(LAST_REPORTS).await;
        }
        self.clock.abort();
        self.ledger.close().await
    }
}
