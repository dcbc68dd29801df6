//! A whole world in one process: the far end, the gateway, and whoever asks it for challenges.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    far_end::{FarEnd, Wish, free_port},
    folder::Folder,
    follow::Follow,
    setup::{self, Ports, SetupError},
    shipped::Shipped,
};
use crate::{
    clock,
    config::{
        Config,
        watch::{Changed, Watch},
    },
    dispatch::{CarrierView, Query},
    intake::{
        Answer, Arrival, Job, Ticket,
        job::{self, Kind, Properties},
    },
    operate::{Reloaded, RunError, Running},
};

/// What a run needs of its world.
#[derive(Clone, Debug)]
pub struct Order {
    pub seed: u64,
    /// Lines of the far end's record.
    pub lines: usize,
    pub ear: bool,
    /// Reports of one challenge within this time are read together.
    pub rest: Duration,
    pub data: Option<PathBuf>,
    /// Keys that every carrier's file gets besides.
    pub carriers: Vec<(&'static str, String)>,
}

/// Everything that runs.
pub struct World {
    pub config: Arc<Config>,
    pub shipped: Shipped,
    pub far: FarEnd,
    pub follow: Follow,
    pub folder: Folder,
    pub gateway: Running,
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
}

/// How long what is in the air may take to settle at the end.
const DRAIN: Duration = Duration::from_secs(3);

impl World {
    pub async fn start(order: &Order) -> Result<World, WorldError> {
        let folder = Folder::make(order.data.as_deref())?;
        let shipped = Shipped::find(&folder.path().join("shipped"))?;
        let written =
            Config::load(&shipped.root.join("ringback.toml")).map_err(SetupError::Faulty)?;
        let ports = Ports {
            callbacks: free_port()?,
        };
        let wish = Wish {
            seed: order.seed,
            lines: order.lines,
            ear: order.ear,
            callbacks: ports.callbacks,
        };
        let far = FarEnd::start(&written, wish).await?;
        let config = setup::write(
            folder.path(),
            &written,
            ports,
            &order.carriers,
            &|carrier| far.address(carrier),
        )?;
        let config = Arc::new(config);
        // Watching begins before the start is over: a change meanwhile is a change.
        let watch = Watch::start(&config.settings);
        let gateway = Running::start((*config).clone()).await?;
        let (follow, following) = Follow::start(
            gateway.control.ledger.clone(),
            gateway.control.doors.reports.subscribe(),
            order.rest,
        );
        Ok(World {
            config,
            shipped,
            far,
            follow,
            folder,
            gateway,
            following,
            watch,
        })
    }

    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// The next edit of a route.
    pub async fn edited(&mut self) -> Option<Changed> {
        self.watch.changed().await
    }

    /// Reads routes and carriers again.
    pub async fn reload(&self) -> Reloaded {
        self.gateway.control.reload().await
    }

    /// Waits until every carrier that a route names is well, at most so long: the sample wants them all.
    pub async fn ready(&self, limit: Duration) -> Vec<String> {
        let used = self.config.routes().used();
        let ready = async {
            loop {
                let views = self.carriers().await;
                let well = |name: &Arc<str>| {
                    views
                        .iter()
                        .any(|view| view.name == *name && view.slots > 0 && view.state == "healthy")
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
            .filter(|view| view.state != "healthy" || view.slots == 0)
            .map(|view| format!("{} is {} ({})", view.name, view.state, view.reason))
            .collect()
    }

    /// The carriers as the operator sees them.
    pub async fn carriers(&self) -> Vec<CarrierView> {
        let (to, answer) = oneshot::channel();
        let queries = &self.gateway.control.doors.queries;
        let asked = async {
            queries.send(Query::Carriers(to)).await.ok()?;
            answer.await.ok()
        };
        let answer = tokio::time::timeout(ANSWER, asked).await;
        answer.ok().flatten().unwrap_or_default()
    }

    /// Gives a job to the gateway, as it would come by HTTP. Waits while there is no room.
    pub async fn ask(&self, job: &Value) -> Result<(), String> {
        let read = job::parse(
            Kind::Challenge,
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
            faults.join("; ")
        })?;
        let arrival = Arrival {
            job,
            ticket: Ticket::None,
        };
        let sent = self.gateway.control.doors.jobs.send(arrival).await;
        sent.map_err(|_| "the gateway has stopped".to_owned())
    }

    /// Cancels a challenge.
    pub async fn cancel(&self, id: &Arc<str>) -> Result<(), String> {
        let (ticket, answer) = oneshot::channel();
        let arrival = Arrival {
            job: Job::Cancel {
                tenant: "default".into(),
                id: id.clone(),
            },
            ticket: Ticket::Http(ticket),
        };
        let sent = self.gateway.control.doors.control.send(arrival).await;
        sent.map_err(|_| "the gateway has stopped".to_owned())?;
        match answer.await {
            Ok(Answer::Taken) => Ok(()),
            other => Err(format!("the cancel was answered with {other:?}")),
        }
    }

    /// Drains the gateway, stops the far end, removes the folder.
    pub async fn stop(self) {
        self.gateway.drain(DRAIN).await;
        self.following.abort();
        self.far.stop().await;
    }
}

/// How long dispatch may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the carriers are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(50);
