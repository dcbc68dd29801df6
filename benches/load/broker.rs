//! The load on the broker's side: jobs go in, reports come back to eight queues. The same for gateway and floor.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::sync::Notify;

use super::{Result, gateway::phone};

/// One run's names at the broker, unlike those of any other run.
#[derive(Clone, Debug)]
pub struct Names {
    pub prefix: String,
    pub jobs: String,
    pub replies: Vec<String>,
}

impl Names {
    pub fn new(what: &str) -> Names {
        let stamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let prefix = format!("bench.{what}.{stamp}");
        Names {
            jobs: format!("{prefix}.jobs"),
            replies: (0..REPLIES)
                .map(|n| format!("{prefix}.reply.{n}"))
                .collect(),
            prefix,
        }
    }

    /// `[jobs.amqp]`: `sent` and the final to the asker, and no other copy.
    pub fn section(&self, url: &str) -> String {
        let (prefix, jobs) = (&self.prefix, &self.jobs);
        format!(
            "[jobs.amqp]\nevents = [\"sent\"]\nexchange_copy = false\nurl = \"{url}\"\nqueue = \"{jobs}\"\n\
             exchange = \"{prefix}\"\ncontrol = \"{prefix}.control\"\ndead = \"{prefix}.dead\"\n\
             reports = \"{prefix}.reports\"\nprefetch = 2000\n"
        )
    }
}

/// Connections to publish and to listen with.
pub struct Load {
    pub names: Names,
    publishing: Connection,
    listening: Connection,
    pub seen: Arc<Seen>,
}

/// What has come back.
pub struct Seen {
    finals: AtomicU64,
    reports: AtomicU64,
    /// Finals per challenge, by its number.
    each: Vec<AtomicU8>,
    changed: Notify,
    /// When each final came (ms since 1970), and its body; the first [`KEPT`].
    kept: Mutex<Vec<(i64, Vec<u8>)>>,
}

impl Seen {
    pub fn finals_with_time(&self) -> Vec<(i64, Vec<u8>)> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn finals(&self) -> u64 {
        self.finals.load(Ordering::Relaxed)
    }

    pub fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// Challenges of the first `count` without a final, and with more than one.
    pub fn wrong(&self, count: usize) -> (usize, usize) {
        let each = || {
            self.each
                .iter()
                .take(count)
                .map(|n| n.load(Ordering::Relaxed))
        };
        (
            each().filter(|n| *n == 0).count(),
            each().filter(|n| *n > 1).count(),
        )
    }

    fn report(&self, n: usize, body: &[u8]) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        if is_final(body) {
            if let Some(each) = self.each.get(n) {
                each.fetch_add(1, Ordering::Relaxed);
            }
            if self.finals.fetch_add(1, Ordering::Relaxed) < KEPT {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push((millis(), body.to_vec()));
            }
            self.changed.notify_one();
        }
    }
}

impl Load {
    /// Connects, and makes the reply queues. `count`: challenges at most.
    pub async fn open(url: &str, names: Names, count: usize) -> Result<Load> {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let load = Load {
            publishing: connect().await?,
            listening: connect().await?,
            names,
            seen: Arc::new(Seen {
                finals: AtomicU64::new(0),
                reports: AtomicU64::new(0),
                each: (0..count).map(|_| AtomicU8::new(0)).collect(),
                changed: Notify::new(),
                kept: Mutex::default(),
            }),
        };
        let channel = load.listening.create_channel().await?;
        for queue in &load.names.replies {
            let options = QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            };
            channel
                .queue_declare(queue.as_str().into(), options, FieldTable::default())
                .await?;
            let seen = load.seen.clone();
            let options = BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            let mut reports = channel
                .basic_consume(
                    queue.as_str().into(),
                    "".into(),
                    options,
                    FieldTable::default(),
                )
                .await?;
            tokio::spawn(async move {
                while let Some(Ok(delivery)) = reports.next().await {
                    let id = delivery.properties.correlation_id().as_ref();
                    let n = id.and_then(|id| id.as_str().parse().ok());
                    seen.report(n.unwrap_or(usize::MAX), &delivery.data);
                }
            });
        }
        Ok(load)
    }

    /// What the gateway would declare, for the floor.
    pub async fn declare_jobs(&self) -> Result<()> {
        let channel = self.publishing.create_channel().await?;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (exchange, queue) = (self.names.prefix.as_str(), self.names.jobs.as_str());
        channel
            .exchange_declare(
                exchange.into(),
                ExchangeKind::Topic,
                durable,
                FieldTable::default(),
            )
            .await?;
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(queue.into(), options, arguments)
            .await?;
        let bound = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                "challenge".into(),
                bound,
                FieldTable::default(),
            )
            .await?;
        Ok(())
    }

    /// A channel whose publishes are confirmed, and the window on it.
    pub async fn publisher(&self) -> Result<Publisher> {
        let channel = self.publishing.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Publisher {
            channel,
            exchange: self.names.prefix.as_str().into(),
            window: VecDeque::with_capacity(WINDOW),
        })
    }

    /// Challenges `0..count` as fast as they are taken, with at most `open` on their way.
    pub async fn flood(
        &self,
        count: usize,
        open: u64,
        job: impl Fn(usize) -> String,
    ) -> Result<()> {
        let mut publisher = self.publisher().await?;
        for n in 0..count {
            while n as u64 >= self.seen.finals() + open {
                let wait = tokio::time::timeout(STUCK, self.seen.changed.notified()).await;
                wait.map_err(|_| format!("stuck after {} finals", self.seen.finals()))?;
            }
            publisher.publish(&self.names, n, &job(n)).await?;
        }
        publisher.settle().await
    }

    /// Until so many finals have come.
    pub async fn finals(&self, count: u64) -> Result<Instant> {
        let mut last = (self.seen.finals(), Instant::now());
        loop {
            let now = self.seen.finals();
            if now >= count {
                return Ok(Instant::now());
            }
            if now > last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > STUCK {
                return Err(format!("stuck after {now} finals of {count}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes the run's queues away.
    pub async fn close(self) -> Result<()> {
        let channel = self.publishing.create_channel().await?;
        let (prefix, jobs) = (&self.names.prefix, &self.names.jobs);
        let own = [
            jobs.clone(),
            format!("{prefix}.control"),
            format!("{prefix}.dead"),
        ];
        for queue in self.names.replies.iter().chain(&own) {
            channel
                .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
                .await?;
        }
        self.publishing.close(200, "OK".into()).await?;
        self.listening.close(200, "OK".into()).await?;
        Ok(())
    }
}

/// Publishes jobs with a bounded window of confirms.
pub struct Publisher {
    channel: Channel,
    exchange: ShortString,
    window: VecDeque<lapin::PublisherConfirm>,
}

impl Publisher {
    /// Challenge `n`: persistent, its reports to one of the eight queues.
    pub async fn publish(&mut self, names: &Names, n: usize, body: &str) -> Result<()> {
        if self.window.len() >= WINDOW
            && let Some(first) = self.window.pop_front()
        {
            confirmed(first).await?;
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_type("challenge".into())
            .with_correlation_id(n.to_string().into())
            .with_reply_to(names.replies[n % REPLIES].as_str().into());
        let options = BasicPublishOptions::default();
        let key = "challenge".into();
        let confirm = self
            .channel
            .basic_publish(
                self.exchange.clone(),
                key,
                options,
                body.as_bytes(),
                properties,
            )
            .await?;
        self.window.push_back(confirm);
        Ok(())
    }

    pub async fn settle(&mut self) -> Result<()> {
        while let Some(first) = self.window.pop_front() {
            confirmed(first).await?;
        }
        Ok(())
    }
}

async fn confirmed(confirm: lapin::PublisherConfirm) -> Result<()> {
    match confirm.await? {
        confirmation if confirmation.is_ack() => Ok(()),
        _ => Err("the broker refused a message".into()),
    }
}

/// A challenge by text for the `n`-th person, about 300 octets.
pub fn text_job(n: usize) -> String {
    format!(
        r#"{{"v":1,"id":"login-{n:08}","to":"{}","method":"sms_code","code":"{:06}","user":"user-{n}","locale":"en-US","lifetime_s":300,"meta":{{"name":"Alex Example","server":"radius-{}","client_ip":"192.0.2.{}","trace":"0190f1f0-6f7a-7c55-8d7e-{n:012}"}}}}"#,
        phone(n),
        n % 1_000_000,
        n % 8,
        n % 250,
    )
}

fn is_final(body: &[u8]) -> bool {
    // It stands in the first half of a report.
    body.windows(FINAL.len()).any(|w| w == FINAL)
}

/// Now, since 1970.
pub fn millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

const FINAL: &[u8] = br#""final":true"#;
const REPLIES: usize = 8;
/// Finals whose bodies are kept.
const KEPT: u64 = 5_000;
/// Jobs published and not yet confirmed.
const WINDOW: usize = 1_000;
const STUCK: Duration = Duration::from_secs(20);
