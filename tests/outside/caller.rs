//! The server that asks: publishes jobs with confirms, hears every report on its own queue and on the exchange, and
//! comes back after every cut.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// Before a cut connection is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest wait for one answer of the broker.
const LIMIT: Duration = Duration::from_secs(15);
/// Jobs without a confirm.
const WINDOW: usize = 500;

type Failed = Box<dyn Error + Send + Sync>;

/// What was heard of one challenge.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Finals on the asker's queue, repeats too.
    pub finals: Vec<Value>,
    /// Finals on the exchange.
    pub copies: Vec<Value>,
    /// The code that the gateway made.
    pub code: Option<String>,
    /// Correlation ids that differ from the challenge's.
    pub strays: usize,
    /// `seq` and event of each report, once.
    pub events: BTreeMap<u64, String>,
    pub errors: Vec<Value>,
}

#[derive(Default)]
struct Heard {
    stories: HashMap<String, Story>,
    ended: usize,
    copied: usize,
    /// Bodies on the dead letters' queue.
    dead: Vec<Vec<u8>>,
    /// Errors that name no challenge.
    errors: Vec<Value>,
    /// Copies of the exchange as they came.
    everyone: Vec<Vec<u8>>,
}

pub struct Caller {
    url: String,
    name: String,
    heard: Arc<Mutex<Heard>>,
    news: Arc<watch::Sender<u64>>,
    listening: JoinHandle<()>,
    keep: Arc<std::sync::atomic::AtomicBool>,
}

/// A job as it goes out.
#[derive(Clone, Debug)]
pub struct Letter {
    pub id: String,
    pub body: Vec<u8>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Caller {
    /// Listens from now on; returns once its queues stand.
    pub async fn start(url: &str, name: &str) -> Caller {
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let news = Arc::new(watch::Sender::new(0));
        let keep = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (standing, mut stands) = watch::channel(false);
        let listening = tokio::spawn({
            let (url, name) = (url.to_owned(), name.to_owned());
            let (heard, news, keep) = (heard.clone(), news.clone(), keep.clone());
            async move {
                loop {
                    let heard = (&*heard, &*news, &*keep);
                    if let Err(e) = listen(&url, &name, heard, &standing).await {
                        eprintln!("the caller's connection: {e}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        let up = timeout(Duration::from_secs(30), stands.wait_for(|up| *up)).await;
        up.expect("the caller's queues in time")
            .expect("a listening task");
        Caller {
            url: url.to_owned(),
            name: name.to_owned(),
            heard,
            news,
            listening,
            keep,
        }
    }

    /// Keeps the exchange's copies whole, for looking into them.
    pub fn keep_copies(&self) {
        self.keep.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub fn reply_queue(&self) -> String {
        format!("{}.replies", self.name)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn story(&self, id: &str) -> Story {
        self.heard().stories.get(id).cloned().unwrap_or_default()
    }

    /// Challenges that have ended, and those whose end was heard on the exchange as well.
    pub fn ended(&self) -> (usize, usize) {
        let heard = self.heard();
        (heard.ended, heard.copied)
    }

    pub fn dead(&self) -> Vec<Vec<u8>> {
        self.heard().dead.clone()
    }

    pub fn errors(&self) -> Vec<Value> {
        let heard = self.heard();
        let named = heard.stories.values().flat_map(|s| s.errors.clone());
        named.chain(heard.errors.clone()).collect()
    }

    pub fn copies(&self) -> Vec<Vec<u8>> {
        self.heard().everyone.clone()
    }

    /// Waits until it holds; false when the time is over.
    pub async fn until(&self, limit: Duration, mut holds: impl FnMut(&Caller) -> bool) -> bool {
        let mut news = self.news.subscribe();
        let wait = async {
            while !holds(self) {
                // The sender lives as long as the caller.
                let _ = news.changed().await;
            }
        };
        timeout(limit, wait).await.is_ok()
    }

    /// Publishes at so many a second, each until the broker has confirmed it.
    pub async fn publish(&self, letters: &[Letter], rate: u32) {
        let mut left: Vec<&Letter> = letters.iter().rev().collect();
        while !left.is_empty() {
            let before = left.len();
            if let Err(e) = self.publish_some(&mut left, rate).await {
                eprintln!(
                    "the caller's publishing, {} left of {before}: {e}",
                    left.len()
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn publish_some(&self, left: &mut Vec<&Letter>, rate: u32) -> Result<(), Failed> {
        let properties = ConnectionProperties::default();
        let connection = timeout(LIMIT, Connection::connect(&self.url, properties)).await??;
        let channel = timeout(LIMIT, connection.create_channel()).await??;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        timeout(LIMIT, confirms).await??;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut in_air = FuturesUnordered::new();
        let mut allowed = 0.0;
        let mut broken = None;
        loop {
            tokio::select! {
                Some((letter, confirm)) = in_air.next() => match confirm {
                    Ok(Confirmation::Ack(None)) => {}
                    Ok(Confirmation::Ack(Some(_))) => panic!("no queue takes jobs"),
                    Ok(_) => left.push(letter),
                    Err(e) => { left.push(letter); broken = Some(e); }
                },
                _ = tick.tick(), if broken.is_none() && !left.is_empty() => {
                    allowed = (allowed + f64::from(rate) / 100.0).min(f64::from(rate));
                    while allowed >= 1.0 && in_air.len() < WINDOW {
                        let Some(letter) = left.pop() else { break };
                        allowed -= 1.0;
                        in_air.push(self.send(&channel, letter));
                    }
                }
                else => break,
            }
        }
        drop(in_air);
        match broken {
            Some(e) => Err(e),
            None => Ok(timeout(LIMIT, connection.close(200, "done".into())).await??),
        }
    }

    async fn send<'a>(
        &self,
        channel: &Channel,
        letter: &'a Letter,
    ) -> (&'a Letter, Result<Confirmation, Failed>) {
        let properties = BasicProperties::default()
            .with_type("challenge".into())
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_correlation_id(letter.id.as_str().into())
            .with_reply_to(self.reply_queue().into());
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let exchange = self.name.as_str().into();
        let key = "challenge".into();
        let confirmed = async {
            let sent = channel.basic_publish(exchange, key, options, &letter.body, properties);
            Ok(timeout(LIMIT, async { sent.await?.await }).await??)
        };
        (letter, confirmed.await)
    }
}

type Ears<'a> = (
    &'a Mutex<Heard>,
    &'a watch::Sender<u64>,
    &'a std::sync::atomic::AtomicBool,
);

/// Until the connection is cut. A broker that goes away may leave the client waiting for ever: nothing here waits
/// without a limit.
async fn listen(
    url: &str,
    name: &str,
    ears: Ears<'_>,
    standing: &watch::Sender<bool>,
) -> Result<(), Failed> {
    let properties = ConnectionProperties::default();
    let connection = timeout(LIMIT, Connection::connect(url, properties)).await??;
    let (mut own, mut everyone) = timeout(LIMIT, consume(&connection, name)).await??;
    standing.send_replace(true);
    let mut look = tokio::time::interval(PAUSE);
    loop {
        let (delivery, own) = tokio::select! {
            Some(delivery) = own.next() => (delivery?, true),
            Some(delivery) = everyone.next() => (delivery?, false),
            _ = look.tick() => match connection.status().connected() {
                true => continue,
                false => return Err("cut".into()),
            },
        };
        hear(&delivery, own, ears);
        timeout(LIMIT, delivery.acker.ack(BasicAckOptions::default())).await??;
    }
}

/// Declares the caller's queues and takes from both: its own replies, and the copies for everyone.
async fn consume(connection: &Connection, name: &str) -> lapin::Result<(Consumer, Consumer)> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(1_000, BasicQosOptions::default()).await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let reports = format!("{name}.reports");
    channel
        .exchange_declare(
            reports.as_str().into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await?;
    let (replies, copies) = (format!("{name}.replies"), format!("{name}.copies"));
    for queue in [&replies, &copies] {
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(queue.as_str().into(), durable, FieldTable::default())
            .await?;
    }
    channel
        .queue_bind(
            copies.as_str().into(),
            reports.as_str().into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let consume = |queue: &str| {
        channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
    };
    Ok((consume(&replies).await?, consume(&copies).await?))
}

fn hear(delivery: &Delivery, own: bool, (heard, news, keep): Ears<'_>) {
    let body: Value = serde_json::from_slice(&delivery.data).expect("a report is JSON");
    let kind = delivery
        .properties
        .kind()
        .as_ref()
        .map_or("", |k| k.as_str());
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let heard = &mut *heard;
    if !own && keep.load(std::sync::atomic::Ordering::Relaxed) {
        heard.everyone.push(delivery.data.clone());
    }
    match (kind, body["challenge"].as_str()) {
        ("error", None) => heard.errors.push(body),
        (kind, Some(id)) => {
            let story = heard.stories.entry(id.to_owned()).or_default();
            if kind == "error" {
                story.errors.push(body);
            } else {
                let first = story.hear(body, own, delivery);
                heard.ended += usize::from(first && own);
                heard.copied += usize::from(first && !own);
            }
        }
        (kind, None) => panic!("a message of type {kind} without its challenge"),
    }
    news.send_modify(|n| *n += 1);
}

impl Story {
    /// True: its first final on this side.
    fn hear(&mut self, body: Value, own: bool, delivery: &Delivery) -> bool {
        let id = delivery.properties.correlation_id();
        if own && id.as_ref().map(|id| id.as_str()) != body["challenge"].as_str() {
            self.strays += 1;
        }
        if let Some(code) = body["code"].as_str() {
            assert!(own, "a code on the exchange");
            self.code = Some(code.to_owned());
        }
        let seq = body["seq"].as_u64().expect("a number");
        let event = body["event"].as_str().expect("a word").to_owned();
        self.events.insert(seq, event);
        if body["final"] != true {
            return false;
        }
        let side = if own {
            &mut self.finals
        } else {
            &mut self.copies
        };
        side.push(body);
        side.len() == 1
    }
}

/// Takes what lies on the dead letters' queue, until nothing has come for a second.
pub async fn take_dead(caller: &Caller) {
    let connection = Connection::connect(&caller.url, ConnectionProperties::default())
        .await
        .expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    let queue = format!("{}.dead", caller.name);
    let mut letters = channel
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("the dead letters' queue");
    while let Ok(Some(Ok(letter))) = timeout(Duration::from_secs(1), letters.next()).await {
        caller.heard().dead.push(letter.data.clone());
        letter
            .acker
            .ack(BasicAckOptions::default())
            .await
            .expect("an ack");
    }
}
