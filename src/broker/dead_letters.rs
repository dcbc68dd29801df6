//! The dead letters' queue, as an operator empties it.

use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicGetOptions},
    types::ShortString,
};

use super::{ANSWER, BrokerError, Link, Turn, connect, short, within};
use crate::config::settings::Amqp;

/// A connection that takes them off.
pub struct DeadLetterQueue {
    link: Link,
    channel: Channel,
    queue: ShortString,
}

/// One of them. Dropped without [`TakenLetter::ack`], it is back in the queue once the connection has ended.
pub struct TakenLetter {
    pub body: Vec<u8>,
    acker: Acker,
}

impl DeadLetterQueue {
    pub async fn connect(amqp: &Amqp, name: &str) -> Result<DeadLetterQueue, BrokerError> {
        let link = connect(amqp, name, &mut Turn::default()).await?;
        let channel = link.channel().await?;
        Ok(DeadLetterQueue {
            link,
            channel,
            queue: short(&amqp.dead),
        })
    }

    /// The oldest that is there; None: there is none.
    pub async fn take(&self) -> Result<Option<TakenLetter>, BrokerError> {
        let queue = self.queue.clone();
        let got = self.channel.basic_get(queue, BasicGetOptions::default());
        let got = within(ANSWER, "taking a dead letter", got).await?;
        Ok(got.map(|message| TakenLetter {
            body: message.delivery.data,
            acker: message.delivery.acker,
        }))
    }

    pub async fn close(&self) {
        self.link.close().await;
    }
}

impl TakenLetter {
    /// Whoever took it has it in safety: it leaves the queue.
    pub async fn ack(&self) -> Result<(), BrokerError> {
        let acked = self.acker.ack(BasicAckOptions::default());
        within(ANSWER, "acking a dead letter", acked).await?;
        Ok(())
    }
}
