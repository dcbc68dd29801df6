//! The gateway's two links to RabbitMQ: reports out first, jobs in last.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use crate::{
    broker::{Status, Topology},
    config::{Config, Settings, account, settings::Amqp},
    intake::{
        IntakeHandle,
        amqp::{self, Accounts, Consumer, Intake},
    },
    ledger::{Ledger, ReportKey},
    report::publish::{Publisher, PublisherHandle, Publishing},
};

/// Reports go out; jobs do not come in yet.
pub struct Out {
    amqp: Arc<Amqp>,
    topology: Topology,
    publisher: Publisher,
    pub status: Status,
}

/// Both links.
pub struct Broker {
    publisher: Publisher,
    consumer: Consumer,
    accounts: watch::Sender<Accounts>,
    pub status: Status,
}

/// The job that was being parsed when the process ended is named in a file beside the ledger.
const SUSPECT: &str = "suspect";

impl Out {
    pub fn start(
        amqp: Arc<Amqp>,
        node: Arc<str>,
        ledger: Ledger,
        done: mpsc::Sender<Vec<ReportKey>>,
    ) -> Out {
        let (topology, status) = (Topology::default(), Status::default());
        let publisher = Publisher::start(Publishing {
            amqp: amqp.clone(),
            topology: topology.clone(),
            status: status.clone(),
            ledger,
            node,
            done,
        });
        Out {
            amqp,
            topology,
            publisher,
            status,
        }
    }

    pub fn handle(&self) -> PublisherHandle {
        self.publisher.handle()
    }

    /// Dispatch runs: jobs may come.
    pub fn open(self, config: &Config, ledger: Ledger, intake: &IntakeHandle) -> Broker {
        let settings = &config.settings;
        let (accounts, in_use) = watch::channel(accounts(config));
        let consumer = amqp::start(Intake {
            amqp: self.amqp,
            settings: intake.settings.clone(),
            topology: self.topology,
            status: self.status.clone(),
            ledger,
            publisher: self.publisher.handle(),
            node: settings.node.name.clone(),
            accounts: in_use,
            suspect: suspect_file(settings),
            stuck_after: amqp::STUCK_AFTER,
            jobs: intake.jobs.clone(),
            control: intake.control.clone(),
        });
        Broker {
            publisher: self.publisher,
            consumer,
            accounts,
            status: self.status,
        }
    }
}

impl Broker {
    /// Other carriers are in use now.
    pub fn reloaded(&self, config: &Config) {
        self.accounts.send_replace(accounts(config));
    }

    /// No more jobs: what was taken is acked. Gives the publisher back, to be stopped last.
    pub async fn close_door(self, limit: Duration) -> Publisher {
        self.consumer.stop(limit).await;
        self.publisher
    }
}

/// Of the carriers that a route names.
fn accounts(config: &Config) -> Accounts {
    let used = config.used();
    let carriers = used.iter().filter_map(|name| config.carriers.get(name));
    carriers
        .flat_map(|carrier| {
            let marks = account::marks(carrier).into_iter();
            marks.map(|mark| (mark, carrier.name.clone()))
        })
        .collect()
}

fn suspect_file(settings: &Settings) -> PathBuf {
    settings.ledger.path().with_extension(SUSPECT)
}
