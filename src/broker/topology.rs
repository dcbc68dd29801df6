//! What must stand at the broker: exchanges, queues and bindings, declared in the order in which they need one
//! another. Saying it twice changes nothing. What stands there in another shape is used as it is, and said once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use lapin::{
    Channel, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::{ANSWER, BrokerError, Link, short, within};
use crate::config::settings::Amqp;

/// What must stand there, by name.
pub struct Plan<'a> {
    pub exchanges: [(&'a str, ExchangeKind); 3],
    /// Quorum queues.
    pub queues: [&'a str; 3],
    pub bindings: [Binding<'a>; 4],
}

/// What goes from an exchange into a queue.
pub struct Binding<'a> {
    pub queue: &'a str,
    pub exchange: &'a str,
    pub key: &'static str,
}

impl<'a> Plan<'a> {
    pub fn of(amqp: &'a Amqp) -> Plan<'a> {
        let bind = |queue, exchange, key| Binding {
            queue,
            exchange,
            key,
        };
        Plan {
            exchanges: [
                (&amqp.exchange, ExchangeKind::Topic),
                (&amqp.reports, ExchangeKind::Topic),
                (&amqp.dead, ExchangeKind::Fanout),
            ],
            queues: [&amqp.dead, &amqp.queue, &amqp.control],
            bindings: [
                bind(&amqp.dead, &amqp.dead, ""),
                bind(&amqp.queue, &amqp.exchange, "challenge"),
                bind(&amqp.control, &amqp.exchange, "cancel"),
                bind(&amqp.control, &amqp.exchange, "feedback"),
            ],
        }
    }
}

/// Declares; remembers what it has said about differences. One for the process, shared by both connections.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    told: Arc<Mutex<HashSet<String>>>,
}

impl Topology {
    /// Declares everything. A channel that the broker closes over a difference is replaced by another.
    pub async fn declare(&self, link: &Link, amqp: &Amqp) -> Result<(), BrokerError> {
        let unlimited = link.major.is_some_and(|major| major >= 4);
        let mut hand = Hand {
            link,
            channel: None,
            told: self,
            unlimited,
        };
        let plan = Plan::of(amqp);
        for (name, kind) in plan.exchanges {
            hand.exchange(name, kind).await?;
        }
        for queue in plan.queues {
            hand.queue(queue).await?;
        }
        for Binding {
            queue,
            exchange,
            key,
        } in plan.bindings
        {
            hand.bind(queue, exchange, key).await?;
        }
        if let Some(channel) = hand.channel {
            // The connection goes on; a channel that doesn't close in time is closed with it.
            let _ = within(ANSWER, "closing", channel.close(200, "OK".into())).await;
        }
        Ok(())
    }

    fn tell(&self, what: &str, difference: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(what.to_owned()) {
            tracing::warn!(
                what,
                difference,
                "stands at the broker in another shape than declared here; used as it is"
            );
        }
    }
}

/// One round of declaring.
struct Hand<'a> {
    link: &'a Link,
    channel: Option<Channel>,
    told: &'a Topology,
    /// Queues have a delivery limit unless told otherwise (from 4.0 on).
    unlimited: bool,
}

/// What became of one declaration.
enum Declined {
    Done,
    /// 406: it stands there with other arguments, or the broker doesn't know one of ours.
    Differs(String),
}

impl Hand<'_> {
    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some(channel) = self.channel.as_ref().filter(|c| c.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.link.channel().await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    async fn exchange(&mut self, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel.exchange_declare(short(name), kind, options, FieldTable::default());
        if let Declined::Differs(how) = self.said(&format!("exchange {name}"), declared).await? {
            self.told.tell(&format!("exchange {name}"), &how);
        }
        Ok(())
    }

    /// A quorum queue without a delivery limit. From 4.0 on brokers have a limit by default, and it is switched off;
    /// older ones have none, and would take -1 for a limit that every second delivery exceeds.
    async fn queue(&mut self, name: &str) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let what = format!("queue {name}");
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        if self.unlimited {
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(-1));
        }
        let declared = channel.queue_declare(short(name), options, arguments);
        if let Declined::Differs(how) = self.said(&what, declared).await? {
            self.told.tell(&what, &how);
        }
        Ok(())
    }

    async fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let bound = channel.queue_bind(
            short(queue),
            short(exchange),
            short(key),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        within(ANSWER, &format!("binding queue {queue}"), bound).await
    }

    async fn said<T>(
        &mut self,
        what: &str,
        declared: impl Future<Output = lapin::Result<T>>,
    ) -> Result<Declined, BrokerError> {
        match tokio::time::timeout(ANSWER, declared).await {
            Ok(Ok(_)) => Ok(Declined::Done),
            Ok(Err(e)) => match e.kind() {
                ErrorKind::ProtocolError(amqp) if amqp.get_id() == PRECONDITION_FAILED => {
                    self.channel = None;
                    Ok(Declined::Differs(amqp.get_message().to_string()))
                }
                _ => Err(BrokerError::Refused {
                    doing: format!("declaring {what}"),
                    error: e,
                }),
            },
            Err(_) => Err(BrokerError::Unanswered {
                doing: format!("declaring {what}"),
                limit: ANSWER,
            }),
        }
    }
}

/// AMQP 0-9-1, reply code of a declaration that differs from what stands there.
const PRECONDITION_FAILED: u16 = 406;
