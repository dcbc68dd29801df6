//! Other gateways at the same exchange, each with a ledger of its own.
//!
//! Until gateways can share a ledger, two that use the same carrier accounts hurt each other: a receipt may come to the
//! one that didn't send, limits count twice over, and a repeated id is known to one of them only. The broker gives them
//! jobs all the same, so they must notice: each has a queue of its own at a fanout exchange and says there, now and
//! then, that it lives. Nothing stays at the broker when they are gone.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Consumer, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Intake;
use crate::broker::{ANSWER, Link, short, within};

/// One gateway, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    v: u8,
    /// Of the process: a restart is no neighbour of its predecessor.
    instance: String,
    node: String,
}

/// Who was heard, and when. Pure.
#[derive(Debug, Default)]
struct Heard {
    others: BTreeMap<String, (String, Instant)>,
}

impl Heard {
    /// True: not known yet.
    fn hear(&mut self, hello: Hello, now: Instant) -> bool {
        let known = self.others.contains_key(&hello.instance);
        if known || self.others.len() < MOST {
            self.others.insert(hello.instance, (hello.node, now));
        }
        !known
    }

    /// The nodes that have been silent for too long; they are forgotten.
    fn gone(&mut self, now: Instant) -> Vec<String> {
        let mut gone = Vec::new();
        self.others.retain(|_, (node, at)| {
            let here = now.duration_since(*at) < SILENT;
            if !here {
                gone.push(std::mem::take(node));
            }
            here
        });
        gone
    }

    fn nodes(&self) -> Vec<String> {
        self.others.values().map(|(node, _)| node.clone()).collect()
    }
}

/// This process among its neighbours; outlives its connections.
pub(super) struct Neighbours {
    hello: Hello,
    heard: Heard,
    refused: bool,
}

impl Neighbours {
    pub fn new(node: &str) -> Neighbours {
        let mut octets = [0; 8];
        // Without a random number two gateways of one name would not notice each other; nothing else hangs on it.
        let _ = SystemRandom::new().fill(&mut octets);
        let hello = Hello {
            v: 1,
            instance: hex::encode(octets),
            node: node.to_owned(),
        };
        Neighbours {
            hello,
            heard: Heard::default(),
            refused: false,
        }
    }

    /// As long as the connection lasts. It never ends by itself: a gateway that can't look for others works on.
    pub async fn look(&mut self, intake: &Intake, link: &Link) {
        // While there was no connection nobody could be heard.
        for (_, at) in self.heard.others.values_mut() {
            *at = Instant::now();
        }
        if let Err(reason) = self.work(intake, link).await
            && !std::mem::replace(&mut self.refused, true)
        {
            tracing::info!(
                reason,
                "whether other gateways take jobs from the same exchange can't be told"
            );
        }
        std::future::pending().await
    }

    async fn work(&mut self, intake: &Intake, link: &Link) -> Result<(), String> {
        let exchange = short(&format!("{}.gateways", intake.amqp.exchange));
        let channel = link.channel().await?;
        let mut hellos = listen(&channel, &exchange, &self.hello).await?;
        self.say(&channel, &exchange).await?;
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => self.say(&channel, &exchange).await?,
                came = hellos.next() => {
                    let came = came.ok_or("its queue is gone")?.map_err(|e| e.to_string())?;
                    match serde_json::from_slice::<Hello>(&came.data) {
                        Ok(hello) if hello.instance != self.hello.instance => {
                            // Answered at once, so that both know.
                            if self.meet(hello) {
                                self.say(&channel, &exchange).await?;
                            }
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
            for node in self.heard.gone(Instant::now()) {
                tracing::warn!(node, "the other gateway at the same exchange is gone");
            }
            intake.status.set_neighbours(self.heard.nodes());
        }
    }

    fn meet(&mut self, hello: Hello) -> bool {
        let node = hello.node.clone();
        let new = self.heard.hear(hello, Instant::now());
        if new {
            tracing::warn!(
                node,
                "another gateway with a ledger of its own takes jobs from the same exchange: with the same carrier \
                 accounts receipts may reach the wrong one, limits count twice, and repeats of an id may be sent again"
            );
        }
        new
    }

    async fn say(&self, channel: &Channel, exchange: &ShortString) -> Result<(), String> {
        // Three strings: this can't fail.
        let body = serde_json::to_vec(&self.hello).unwrap_or_default();
        let published = channel.basic_publish(
            exchange.clone(),
            short(""),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default().with_type(short("gateway")),
        );
        within(ANSWER, "telling other gateways", published).await?;
        Ok(())
    }
}

async fn listen(
    channel: &Channel,
    exchange: &ShortString,
    hello: &Hello,
) -> Result<Consumer, String> {
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    let declared =
        channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, options, none());
    within(ANSWER, "declaring the exchange of gateways", declared).await?;
    let queue = short(&format!("{exchange}.{}", hello.instance));
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.clone(), options, none());
    within(ANSWER, "declaring a queue for it", declared).await?;
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(queue.clone(), exchange.clone(), short(""), options, none());
    within(ANSWER, "binding it", bound).await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue, short(""), options, none());
    within(ANSWER, "consuming from it", consumed).await
}

/// How often a gateway says that it lives.
const EVERY: Duration = Duration::from_secs(10);
/// Silent for longer, it is gone.
const SILENT: Duration = Duration::from_secs(35);
/// Others remembered.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_new_once_and_gone_when_it_is_silent() {
        let start = Instant::now();
        let hello = |instance: &str| Hello {
            v: 1,
            instance: instance.into(),
            node: format!("node of {instance}"),
        };
        let mut heard = Heard::default();
        assert!(heard.hear(hello("a"), start));
        assert!(heard.hear(hello("b"), start));
        assert!(!heard.hear(hello("a"), start + EVERY));
        assert_eq!(heard.nodes(), ["node of a", "node of b"]);
        assert!(heard.gone(start + SILENT - EVERY).is_empty());
        assert_eq!(heard.gone(start + SILENT), ["node of b"]);
        assert!(heard.gone(start + SILENT).is_empty());
        assert!(heard.hear(hello("b"), start + SILENT));
    }

    #[test]
    fn a_crowd_is_bounded() {
        let mut heard = Heard::default();
        for n in 0..2 * MOST {
            let hello = Hello {
                v: 1,
                instance: n.to_string(),
                node: String::new(),
            };
            heard.hear(hello, Instant::now());
        }
        assert_eq!(heard.others.len(), MOST);
    }
}
