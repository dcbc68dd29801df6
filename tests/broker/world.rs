//! A door and a publisher on a vhost of their own, with the test in dispatch's place, and a client beside them.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use ringback::{
    broker::{Status, Topology},
    challenge::{ChallengeKey, Millis},
    clock,
    config::settings::{Amqp, LedgerSettings, LedgerUrl, OnLoss, Settings},
    intake::{
        ARRIVALS, Arrival,
        amqp::{self, Consumer, Intake},
    },
    ledger::{
        Batch, DoneReceiver, Ledger, LetterOpener, Op, OutboxReport, ReportKey, Target, Wipe,
    },
    report::publish::{Publisher, Publishing},
};
use tokio::sync::{mpsc, watch};

/// Nothing in these tests takes longer, but for a broker's restart.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct World {
    pub url: String,
    pub folder: PathBuf,

    pub status: Status,
    pub ledger: Ledger,
    pub written: DoneReceiver,
    pub publisher: Publisher,
    pub consumer: Option<Consumer>,
    pub jobs: mpsc::Receiver<Arrival>,
    pub control: mpsc::Receiver<Arrival>,
    pub done: mpsc::Receiver<Vec<ReportKey>>,
    intake: Intake,
}

/// Runs a test in a runtime of its own, with a limit.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(LIMIT * 2, test)
            .await
            .expect("the test ends in time");
    });
}

pub fn fresh(name: &str) -> (String, PathBuf) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{name}-{}-{n}", std::process::id());
    let folder = std::env::temp_dir().join(format!("ringback-broker-{name}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    (super::rabbit::vhost(&name), folder)
}

impl World {
    pub async fn new(name: &str) -> World {
        let (url, folder) = fresh(name);
        World::at(url, folder, |_| {}).await
    }

    pub async fn at(url: String, folder: PathBuf, change: impl FnOnce(&mut Amqp)) -> World {
        World::with_accounts(url, folder, change, &[]).await
    }

    /// With these marks of accounts, and whose they are.
    pub async fn with_accounts(
        url: String,
        folder: PathBuf,
        change: impl FnOnce(&mut Amqp),
        accounts: &[(&str, &str)],
    ) -> World {
        let mut amqp = Amqp::at(&url);
        change(&mut amqp);
        let amqp = Arc::new(amqp);
        let mut settings = Settings::default();
        settings.jobs.amqp = Some((*amqp).clone());
        let (ledger, written) = open_ledger(&folder);
        let (status, topology) = (Status::default(), Topology::default());
        let (jobs_out, jobs) = mpsc::channel(ARRIVALS);
        let (control_out, control) = mpsc::channel(ARRIVALS);
        let (done_out, done) = mpsc::channel(1_024);
        let accounts = accounts.iter();
        let accounts = accounts.map(|(mark, carrier)| ((*mark).to_owned(), (*carrier).into()));
        let (_, accounts) = watch::channel(accounts.collect());
        let publisher = Publisher::start(Publishing {
            amqp: amqp.clone(),
            topology: topology.clone(),
            status: status.clone(),
            ledger: ledger.clone(),
            done: done_out,
            node: "gw-t".into(),
        });
        let intake = Intake {
            amqp: amqp.clone(),
            settings: Arc::new(Arc::new(settings).into()),
            topology,
            status: status.clone(),
            ledger: ledger.clone(),
            publisher: publisher.handle(),
            node: "gw-t".into(),
            accounts,
            suspect: folder.join("suspect"),
            stuck_after: Duration::from_secs(1),
            jobs: jobs_out,
            control: control_out,
        };
        let consumer = Some(amqp::start(intake.clone()));
        let world = World {
            url,
            folder,
            status,
            ledger,
            written,
            publisher,
            consumer,
            jobs,
            control,
            done,
            intake,
        };
        world.connected().await;
        world
    }

    /// What opens the bodies of its dead letters.
    pub fn opener(&self) -> LetterOpener {
        LetterOpener::of(&ledger_in(&self.folder)).expect("its key is there")
    }

    pub async fn connected(&self) {
        until("both connections stand", || self.status.connected()).await;
    }

    pub async fn restart_consumer(&mut self) {
        self.stop_consumer().await;
        self.consumer = Some(amqp::start(self.intake.clone()));
        self.connected().await;
    }

    pub async fn stop_consumer(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.stop(Duration::from_secs(2)).await;
        }
    }

    pub async fn job(&mut self) -> Arrival {
        within("a job", self.jobs.recv())
            .await
            .expect("the door is open")
    }

    /// Makes reports durable, as dispatch does before it offers them.
    pub async fn write(&mut self, reports: &[OutboxReport]) {
        self.write_as(1, reports).await;
    }

    /// As the batch of this number.
    pub async fn write_as(&mut self, number: u64, reports: &[OutboxReport]) {
        let ops = reports
            .iter()
            .map(|r| Op::Report(Box::new(r.clone())))
            .collect();
        self.ledger
            .submit(Batch { number, ops })
            .await
            .expect("the ledger is open");
        within("a commit", self.written.recv())
            .await
            .expect("the ledger answers");
    }

    /// Keys that the publisher says are done, so many.
    pub async fn published(&mut self, count: usize) -> Vec<ReportKey> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(
                within("a confirm", self.done.recv())
                    .await
                    .expect("the publisher lives"),
            );
        }
        all
    }
}

fn ledger_in(folder: &std::path::Path) -> LedgerSettings {
    LedgerSettings {
        url: LedgerUrl::Sqlite(folder.join("ringback.db")),
        keys: Vec::new(),
        retention: Duration::from_secs(86_400),
        outcomes: Duration::ZERO,
        on_loss: OnLoss::Refuse,
    }
}

pub fn open_ledger(folder: &std::path::Path) -> (Ledger, DoneReceiver) {
    let settings = ledger_in(folder);
    let wipe = Wipe {
        job: <[u8]>::to_vec,
        life: <[u8]>::to_vec,
        report: <[u8]>::to_vec,
        outcome: |_| Vec::new(),
    };
    let (ledger, written, _) =
        Ledger::open(&settings, "gw-t", &Settings::default().limits, wipe).expect("a ledger");
    (ledger, written)
}

pub fn report(key: i64, queue: &str, until: Millis) -> OutboxReport {
    OutboxReport {
        report: ReportKey(key),
        challenge: ChallengeKey(key),
        seq: 1,
        target: Target::ReplyTo {
            queue: queue.into(),
            correlation_id: Some(format!("c-{key}").into()),
        },
        body: Arc::from(
            format!(r#"{{"challenge":"ch-{key}","code":"482913","seq":1}}"#).into_bytes(),
        ),
        is_final: false,
        until,
    }
}

pub fn in_an_hour() -> Millis {
    clock::now() + Duration::from_secs(3_600)
}

/// The other side: whoever publishes jobs and reads answers.
pub struct Client {
    pub connection: Connection,
    pub channel: Channel,
}

impl Client {
    pub async fn at(url: &str) -> Client {
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .expect("a client");
        let channel = connection.create_channel().await.expect("a channel");
        Client {
            connection,
            channel,
        }
    }

    pub async fn queue(&self, name: &str) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await
            .expect("a queue");
    }

    pub async fn depth(&self, name: &str) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = self
            .channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await;
        queue.expect("the queue").message_count()
    }

    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        self.channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .expect("published");
    }

    pub async fn challenge(&self, id: &str) {
        let body = format!(r#"{{"id":"{id}","to":"+14255550100","method":"sms_code"}}"#);
        self.publish(
            "ringback",
            "challenge",
            body.as_bytes(),
            BasicProperties::default(),
        )
        .await;
    }

    /// The next messages of a queue, so many, acked.
    pub async fn take(&self, queue: &str, count: usize) -> Vec<Delivery> {
        let channel = self.connection.create_channel().await.expect("a channel");
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a consumer");
        let mut all = Vec::new();
        while all.len() < count {
            let delivery = within("a message", consumer.next())
                .await
                .expect("open")
                .expect("a delivery");
            delivery
                .ack(BasicAckOptions::default())
                .await
                .expect("acked");
            all.push(delivery);
        }
        let _ = channel.close(200, "OK".into()).await;
        all
    }
}

pub async fn within<T>(what: &str, doing: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, doing).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Waits for a condition of the outside world.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
