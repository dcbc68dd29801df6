//! A whole world in one process: the far end, the gateway, and whoever asks it for challenges.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    far_end::{FarEnd, Places, SimOptions, free_port, is_free},
    folder::Folder,
    follow::Follow,
    setup::{self, Besides, Ports, SetupError},
    shipped::Shipped,
    sim_broker::{self, SimBroker},
};
use crate::{
    broker::{BrokerError, client::Replies},
    clock,
    config::{
        Config,
        settings::{Amqp, Listener},
        watch::{Changed, Watch},
    },
    dispatch::{CarrierView, Query},
    gateway::{Gateway, RunError},
    intake::{
        Answer, Arrival, Job, Ticket,
        job::{self, JobKind, Properties},
    },
    operate::Reloaded,
};

/// What a run needs of its world.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    pub seed: u64,
    /// Lines of the far end's record.
    pub lines: usize,
    pub ear: bool,
    /// Reports of one challenge within this time are read together.
    pub rest: Duration,
    pub data: Option<PathBuf>,
    /// Keys that every carrier's file gets besides.
    pub carriers: Vec<(&'static str, String)>,
    /// Jobs go through this broker, and reports come back through it.
    pub broker: Option<Amqp>,
    /// Jobs and the page where `ringback run` has them, if nobody is there: a person will look for them.
    pub usual_ports: bool,
}

/// Everything that runs.
pub struct World {
    pub config: Arc<Config>,
    pub shipped: Shipped,
    pub far: FarEnd,
    pub follow: Follow,
    pub folder: Folder,
    pub gateway: Gateway,
    /// None: jobs are handed over within the process.
    pub door: Option<SimBroker>,
    following: JoinHandle<()>,
    watch: Watch,
}

/// Why a world can't start.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the simulated carriers can't start: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Gateway(#[from] RunError),
    #[error(
        "the broker can't be used: {0}; see that it runs and lets this user in, or leave --amqp out"
    )]
    Broker(BrokerError),
}

/// Why a job or a cancel did not get to the gateway.
#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The job's faults by field.
    #[error("{0}")]
    Job(String),
    #[error("the gateway has stopped")]
    Stopped,
    /// A cancel was answered otherwise than cancels are; None: it was not answered.
    #[error("the cancel was answered with {0:?}")]
    Answered(Option<Answer>),
}

/// How long what is in the air may take to settle at the end.
const DRAIN: Duration = Duration::from_secs(3);

impl World {
    pub async fn start(order: &WorldConfig) -> Result<World, WorldError> {
        let Some(broker) = &order.broker else {
            return World::begin(order, None).await;
        };
        let (door, replies) = SimBroker::open(broker).await.map_err(WorldError::Broker)?;
        match World::begin(order, Some((door.amqp(), replies))).await {
            Ok(world) => Ok(World {
                door: Some(door),
                ..world
            }),
            Err(error) => {
                door.remove().await;
                Err(error)
            }
        }
    }

    async fn begin(
        order: &WorldConfig,
        broker: Option<(&Amqp, Replies)>,
    ) -> Result<World, WorldError> {
        let folder = Folder::make(order.data.as_deref())?;
        let shipped = Shipped::find(&folder.path().join("shipped"))?;
        let written =
            Config::load(&shipped.root.join("ringback.toml")).map_err(SetupError::Faulty)?;
        let usual = |listener: &Listener| match listener.listen.port() {
            port if order.usual_ports && is_free(port) => port,
            _ => 0,
        };
        let ports = Ports {
            http: usual(&written.settings.http),
            callbacks: free_port()?,
            admin: usual(&written.settings.admin),
        };
        let wish = SimOptions {
            seed: order.seed,
            lines: order.lines,
            ear: order.ear,
            callbacks: ports.callbacks,
            places: Places::Free,
        };
        let far = FarEnd::start(&written, wish).await?;
        let config = setup::write(
            folder.path(),
            &written,
            ports,
            Besides {
                carriers: &order.carriers,
                amqp: broker.as_ref().map(|(amqp, _)| *amqp),
            },
            &|carrier| far.address(carrier),
        )?;
        let config = Arc::new(config);
        // Watching begins before the start is over: a change meanwhile is a change.
        let watch = Watch::start(&config);
        let gateway = Gateway::start_watched((*config).clone(), Some(watch.follow())).await?;
        let (follow, following) = match broker {
            Some((_, replies)) => sim_broker::follow(replies),
            None => by_ledger(&gateway, order.rest),
        };
        Ok(World {
            config,
            shipped,
            far,
            follow,
            folder,
            gateway,
            door: None,
            following,
            watch,
        })
    }

    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// From now on others' challenges by HTTP are followed. Of those by the broker only who asks is told.
    pub fn follow_others(&mut self) {
        if self.door.is_some() {
            let (follow, following) = by_ledger(&self.gateway, Duration::ZERO);
            self.follow = follow;
            std::mem::replace(&mut self.following, following).abort();
        }
    }

    /// The next edit of a route.
    pub async fn edited(&mut self) -> Option<Changed> {
        self.watch.changed().await
    }

    /// Reads routes and carriers again.
    pub async fn reload(&self) -> Reloaded {
        self.gateway.control.reload(false).await
    }

    /// Waits until every carrier that a route names is well, at most so long: the sample wants them all.
    pub async fn ready(&self, limit: Duration) -> Vec<String> {
        let used = self.config.used();
        let ready = async {
            loop {
                let views = self.carriers().await;
                let well = |name: &Arc<str>| {
                    views
                        .iter()
                        .any(|view| view.name == *name && view.is_usable())
                };
                let missing: Vec<String> = used
                    .iter()
                    .filter(|name| !well(name))
                    .map(ToString::to_string)
                    .collect();
                if missing.is_empty() {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(limit, ready).await.is_ok() {
            return Vec::new();
        }
        let views = self.carriers().await;
        views
            .iter()
            .filter(|view| !view.is_usable())
            .map(|view| format!("{} is {} ({})", view.name, view.state, view.reason))
            .collect()
    }

    /// The carriers as the operator sees them.
    pub async fn carriers(&self) -> Vec<CarrierView> {
        let (to, answer) = oneshot::channel();
        let queries = &self.gateway.control.queries;
        let asked = async {
            queries.send(Query::Carriers(to)).await.ok()?;
            answer.await.ok()
        };
        let answer = tokio::time::timeout(ANSWER, asked).await;
        answer.ok().flatten().unwrap_or_default()
    }

    /// Gives a job to the gateway: through the broker, or as it would come by HTTP. Waits while there is no room.
    pub async fn ask(&self, job: &Value) -> Result<(), SendFault> {
        if let Some(door) = &self.door {
            return Ok(door.ask(job).await?);
        }
        let read = job::parse(
            JobKind::Challenge,
            job.to_string().as_bytes(),
            Properties::http(),
            clock::now(),
            &self.config.settings.jobs,
        );
        let job = read.map_err(|bad| {
            let faults: Vec<String> = bad
                .faults
                .iter()
                .map(|fault| format!("{}: {}", fault.field, fault.reason))
                .collect();
            SendFault::Job(faults.join("; "))
        })?;
        let arrival = Arrival {
            job,
            ticket: Ticket::None,
        };
        let sent = self.gateway.control.intake.jobs.send(arrival).await;
        sent.map_err(|_| SendFault::Stopped)
    }

    /// Cancels a challenge. What came of it, its reports tell; without a broker an answer does.
    pub async fn cancel(&self, id: &Arc<str>) -> Result<(), SendFault> {
        if let Some(door) = &self.door {
            return Ok(door.cancel(id).await?);
        }
        let (ticket, answer) = oneshot::channel();
        let arrival = Arrival {
            job: Job::Cancel {
                tenant: "default".into(),
                id: id.clone(),
            },
            ticket: Ticket::Http(ticket),
        };
        let sent = self.gateway.control.intake.control.send(arrival).await;
        sent.map_err(|_| SendFault::Stopped)?;
        match answer.await {
            Ok(Answer::Taken) => Ok(()),
            other => Err(SendFault::Answered(other.ok())),
        }
    }

    /// Drains the gateway, stops the far end, removes the folder and what stands at the broker.
    pub async fn stop(self) {
        self.gateway.drain(DRAIN).await;
        self.following.abort();
        if let Some(door) = self.door {
            door.remove().await;
        }
        self.far.stop().await;
    }
}

/// Follows by the gateway's own ledger.
fn by_ledger(gateway: &Gateway, rest: Duration) -> (Follow, JoinHandle<()>) {
    let control = &gateway.control;
    let wakes = control.intake.reports.subscribe();
    Follow::start(control.ledger.clone(), wakes, rest)
}

/// How long dispatch may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the carriers are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(50);
