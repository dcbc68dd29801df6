//! The other side of the interface: whoever asks for challenges by AMQP, and hears of them by a queue of its own.
//!
//! For `send` and `simulate`; the gateway itself asks nobody. Knows the interface and nothing of the gateway's inside.
//! May not log an address with its password, nor a body.

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer, PublisherConfirm,
    message::Delivery,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{FieldTable, ShortString},
    uri::AMQPUri,
};
use serde_json::Value;

use super::{ANSWER, BrokerError, Link, Topology, Turn, connect, short, within};
use crate::config::settings::Amqp;

/// A connection that asks.
pub struct Client {
    link: Link,
    channel: Channel,
    exchange: ShortString,
    /// Its own, for replies; goes with the connection.
    queue: ShortString,
}

/// What comes into its queue.
pub struct Replies(Consumer);

/// One message of it.
pub enum Reply {
    /// A report's body.
    Report(Vec<u8>),
    /// A job was not understood or not taken.
    Error { reason: String, faults: Value },
}

/// The kinds of messages that are sent, by the property `type`; their routing keys are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Challenge,
    Cancel,
}

impl Message {
    fn name(self) -> &'static str {
        match self {
            Message::Challenge => "challenge",
            Message::Cancel => "cancel",
        }
    }
}

/// A broker by its address, as a person gives it. The error doesn't repeat it: it may hold a password.
pub fn address(url: &str) -> Result<Amqp, BrokerError> {
    let known = ["amqp://", "amqps://"].iter().any(|s| url.starts_with(s));
    match known && url.parse::<AMQPUri>().is_ok() {
        true => Ok(Amqp::at(url)),
        false => Err(BrokerError::NoAddress),
    }
}

impl Client {
    /// Connects, and listens before anything is asked.
    pub async fn connect(amqp: &Amqp, name: &str) -> Result<(Client, Replies), BrokerError> {
        let link = connect(amqp, name, &mut Turn::default()).await?;
        let channel = link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within(ANSWER, "asking for confirms", confirms).await?;
        let (queue, replies) = listen(&channel).await?;
        let client = Client {
            link,
            channel,
            exchange: short(&amqp.exchange),
            queue,
        };
        Ok((client, replies))
    }

    /// Sends one; whether the broker has it, the confirm tells ([`Client::confirmed`]).
    pub async fn publish(
        &self,
        message: Message,
        id: &str,
        body: &[u8],
    ) -> Result<PublisherConfirm, BrokerError> {
        // Mandatory: what no queue takes is said at once.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_type(message.name().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_reply_to(self.queue.clone())
            .with_correlation_id(short(id));
        let sent = self.channel.basic_publish(
            self.exchange.clone(),
            message.name().into(),
            options,
            body,
            properties,
        );
        within(ANSWER, "sending", sent).await
    }

    /// Waits until the broker holds what was sent.
    pub async fn confirmed(&self, confirm: PublisherConfirm) -> Result<(), BrokerError> {
        held(confirm, &self.exchange).await
    }

    pub fn exchange(&self) -> &ShortString {
        &self.exchange
    }

    /// Declares what a gateway with these settings declares: jobs may be sent before it is connected.
    pub async fn declare(&self, amqp: &Amqp) -> Result<(), BrokerError> {
        Topology::default().declare(&self.link, amqp).await
    }

    /// Removes all of that, with whatever is still in it.
    pub async fn remove(&self, amqp: &Amqp) -> Result<(), BrokerError> {
        // Another channel: the usual one may have been closed by the broker.
        let channel = self.link.channel().await?;
        for queue in [&amqp.queue, &amqp.control, &amqp.dead] {
            let removed = channel.queue_delete(short(queue), QueueDeleteOptions::default());
            within(ANSWER, "removing a queue", removed).await?;
        }
        for exchange in [&amqp.exchange, &amqp.reports, &amqp.dead] {
            let options = ExchangeDeleteOptions::default();
            let removed = channel.exchange_delete(short(exchange), options);
            within(ANSWER, "removing an exchange", removed).await?;
        }
        Ok(())
    }

    /// A broker that is slow to part changes nothing.
    pub async fn close(&self) {
        self.link.close().await;
    }
}

impl Replies {
    /// None: the broker has closed the connection.
    pub async fn next(&mut self) -> Option<Result<Reply, BrokerError>> {
        let delivery = self.0.next().await?;
        Some(delivery.map(reply).map_err(BrokerError::Replies))
    }
}

/// Waits for the broker's word on one message to this exchange.
pub async fn held(confirm: PublisherConfirm, exchange: &ShortString) -> Result<(), BrokerError> {
    match within(ANSWER, "waiting for a confirm", confirm).await? {
        Confirmation::Ack(None) | Confirmation::NotRequested => Ok(()),
        Confirmation::Ack(Some(_)) => Err(BrokerError::NoQueue(exchange.to_string())),
        Confirmation::Nack(_) => Err(BrokerError::NotTaken),
    }
}

/// A queue for this connection alone, and what comes into it.
async fn listen(channel: &Channel) -> Result<(ShortString, Replies), BrokerError> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let declared = within(ANSWER, "declaring a queue for replies", declared).await?;
    let queue = declared.name().clone();
    let options = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default());
    let consumer = within(ANSWER, "listening for replies", consumed).await?;
    Ok((queue, Replies(consumer)))
}

fn reply(delivery: Delivery) -> Reply {
    let kind = delivery.properties.kind().as_ref().map(ShortString::as_str);
    if kind != Some("error") {
        return Reply::Report(delivery.data);
    }
    let mut said: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
    let reason = said["reason"].as_str().unwrap_or("refused").to_owned();
    let faults = said.get_mut("faults").map(Value::take).unwrap_or_default();
    Reply::Error { reason, faults }
}

/// AMQP 0-9-1: kept by the broker over its restart.
const PERSISTENT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        for wrong in [
            "",
            "amqp",
            "http://u:hush@h",
            "amqp://u:hush@h:port",
            "u:hush@h",
        ] {
            let fault = address(wrong).expect_err(wrong);
            assert!(!fault.to_string().contains("hush"), "{fault}");
        }
        for right in ["amqp://127.0.0.1", "amqps://u:p@broker.example:5671/%2f"] {
            assert_eq!(address(right).expect(right), Amqp::at(right));
        }
    }
}
