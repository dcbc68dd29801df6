//! The dead letters' queue, as an operator empties it.

use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicGetOptions},
};

use super::{ANSWER, BrokerError, Link, Turn, connect, short, within};
use crate::config::settings::Amqp;

/// A connection that takes them off.
pub struct DeadLetterQueue {
    link: Link,
    channel: Channel,
    amqp: Amqp,
}

/// One of them. Dropped without [`TakenLetter::is_kept`], it is back in the queue once the connection has ended.
pub struct TakenLetter {
    pub body: Vec<u8>,
    acker: Acker,
}

impl DeadLetterQueue {
    pub async fn connect(amqp: &Amqp, name: &str) -> Result<DeadLetterQueue, BrokerError> {
        let link = connect(amqp, name, &mut Turn::default()).await?;
        let channel = link.channel().await?;
        let amqp = amqp.clone();
        Ok(DeadLetterQueue {
            link,
            channel,
            amqp,
        })
    }

    /// The oldest that is there; None: there is none.
    pub async fn take(&self) -> Result<Option<TakenLetter>, BrokerError> {
        let queue = short(&self.amqp.dead);
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
    pub async fn is_kept(&self) -> Result<(), BrokerError> {
        let acked = self.acker.ack(BasicAckOptions::default());
        within(ANSWER, "acking a dead letter", acked).await?;
        Ok(())
    }
}
