//! The way through a broker: jobs and cancels go to the gateway by RabbitMQ, reports come back by a queue of our own.
//!
//! Exchanges and queues have names that nobody else has, and are removed at the end: a real gateway at the same broker
//! notices nothing. May not say the broker's address: it may hold a password.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use lapin::PublisherConfirm;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::follow::{Follow, Told};
use crate::{
    broker::{
        BrokerError,
        client::{self, Client, Message, Replies, Reply},
    },
    config::settings::Amqp,
};

/// A connection to the broker, and what was declared there for this run.
pub struct SimBroker {
    client: Client,
    amqp: Amqp,
    confirms: mpsc::Sender<(Arc<str>, PublisherConfirm)>,
    confirming: JoinHandle<()>,
}

/// Jobs that the broker has not confirmed yet; then sending waits.
const UNCONFIRMED: usize = 1_000;
/// Challenges of which it is remembered what was heard: the same report may come twice.
const REMEMBERED: usize = 200_000;

impl SimBroker {
    /// Connects, and declares what the gateway will find there.
    pub async fn open(broker: &Amqp) -> Result<(SimBroker, Replies), BrokerError> {
        let amqp = named(broker, &prefix());
        let (client, replies) = Client::connect(&amqp, "ringback simulate").await?;
        if let Err(reason) = client.declare(&amqp).await {
            // What came before the fault goes again, where it can.
            let _ = client.remove(&amqp).await;
            client.close().await;
            return Err(reason);
        }
        let (confirms, sent) = mpsc::channel(UNCONFIRMED);
        let exchange = client.exchange().clone();
        let confirming = tokio::spawn(confirm(sent, exchange));
        let door = SimBroker {
            client,
            amqp,
            confirms,
            confirming,
        };
        Ok((door, replies))
    }

    /// The gateway's settings for it.
    pub fn amqp(&self) -> &Amqp {
        &self.amqp
    }

    /// Sends a job. Waits while too many are unconfirmed.
    pub async fn ask(&self, job: &Value) -> Result<(), BrokerError> {
        self.send(Message::Challenge, job).await
    }

    pub async fn cancel(&self, id: &str) -> Result<(), BrokerError> {
        self.send(Message::Cancel, &json!({ "id": id })).await
    }

    async fn send(&self, message: Message, body: &Value) -> Result<(), BrokerError> {
        let id: Arc<str> = body["id"].as_str().unwrap_or("").into();
        let body = body.to_string();
        let sent = self.client.publish(message, &id, body.as_bytes());
        let confirm = sent.await?;
        let waiting = self.confirms.send((id, confirm)).await;
        waiting.map_err(|_| BrokerError::Ended)
    }

    /// Takes away what was declared. The gateway must have gone before.
    pub async fn remove(self) {
        drop(self.confirms);
        self.confirming.abort();
        if let Err(reason) = self.client.remove(&self.amqp).await {
            tracing::error!(
                names = &*self.amqp.exchange,
                %reason,
                "queues and exchanges of this run are left at the broker: remove them there"
            );
        }
        self.client.close().await;
    }
}

/// In the order in which they were sent.
async fn confirm(
    mut sent: mpsc::Receiver<(Arc<str>, PublisherConfirm)>,
    exchange: lapin::types::ShortString,
) {
    while let Some((id, confirm)) = sent.recv().await {
        if let Err(reason) = client::held(confirm, &exchange).await {
            tracing::error!(id = &*id, %reason, "the broker does not hold a job");
        }
    }
}

/// A world of names of its own.
fn prefix() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A process id comes again; what a run that was killed has left behind must not.
    let nanos = since.unwrap_or_default().as_nanos();
    format!("ringback.sim.{}-{nanos:x}", std::process::id())
}

fn named(broker: &Amqp, prefix: &str) -> Amqp {
    let name = |what: &str| -> Arc<str> { format!("{prefix}.{what}").into() };
    Amqp {
        exchange: prefix.into(),
        queue: name("jobs"),
        control: name("control"),
        dead: name("dead"),
        reports: name("reports"),
        ..broker.clone()
    }
}

/// Follows challenges by what comes into the queue of replies.
pub fn follow(mut replies: Replies) -> (Follow, JoinHandle<()>) {
    let follow = Follow::new();
    let stories = follow.clone();
    let task = tokio::spawn(async move {
        let mut heard = Heard::default();
        while let Some(reply) = replies.next().await {
            match reply {
                Ok(Reply::Report(body)) => {
                    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
                        tracing::error!("a report that is no JSON was passed over");
                        continue;
                    };
                    match Told::deserialize(&body) {
                        Ok(told) if heard.first(&told.challenge, told.seq) => {
                            stories.put(told, body);
                        }
                        Ok(_) => {}
                        Err(error) => tracing::error!(%error, "a report in no known form"),
                    }
                }
                // Faults name fields, never their values.
                Ok(Reply::Error { reason, faults }) => {
                    tracing::error!(reason, %faults, "a job was not taken");
                }
                Err(reason) => tracing::error!(%reason, "no more reports"),
            }
        }
    });
    (follow, task)
}

/// What came already.
#[derive(Default)]
struct Heard {
    seqs: HashMap<Arc<str>, Vec<u32>>,
    order: VecDeque<Arc<str>>,
}

impl Heard {
    fn first(&mut self, id: &Arc<str>, seq: u32) -> bool {
        let seqs = self.seqs.entry(id.clone()).or_default();
        if seqs.contains(&seq) {
            return false;
        }
        if seqs.is_empty() {
            self.order.push_back(id.clone());
        }
        seqs.push(seq);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seqs.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_comes_again_is_heard_once() {
        let mut heard = Heard::default();
        let (one, other): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert!(heard.first(&one, 1) && heard.first(&one, 2) && heard.first(&other, 1));
        assert!(!heard.first(&one, 1) && !heard.first(&other, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut heard = Heard::default();
        for n in 0..REMEMBERED + 10 {
            assert!(heard.first(&format!("{n}").into(), 1));
        }
        assert_eq!(
            (heard.seqs.len(), heard.order.len()),
            (REMEMBERED, REMEMBERED)
        );
    }

    #[test]
    fn no_name_is_a_real_gateways() {
        let usual = Amqp::at("amqp://localhost");
        let own = named(&usual, &prefix());
        for name in [
            &own.exchange,
            &own.queue,
            &own.control,
            &own.dead,
            &own.reports,
        ] {
            assert!(name.starts_with("ringback.sim."), "{name}");
        }
        assert_eq!(own.url, usual.url);
    }
}
