//! By AMQP: the job to the exchange, its reports from a queue of its own that goes with the connection.

use std::{future::Future, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use serde_json::{Map, Value};

use super::{SendArgs, SendError, Teller, faults};
use crate::{broker, config::settings::Amqp};

/// How long the broker may take for each answer.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) async fn send(
    args: &SendArgs,
    url: &str,
    job: &Map<String, Value>,
    teller: &mut Teller,
) -> Result<(), SendError> {
    if !["amqp://", "amqps://"].iter().any(|s| url.starts_with(s)) {
        let reason = "--amqp: write it as amqp://user:password@127.0.0.1:5672";
        return Err(SendError::Usage(reason.to_owned()));
    }
    let connection = broker::connect(&Amqp::at(url), "ringback send").await;
    let connection = connection.map_err(SendError::Failed)?;
    let channel = within("a channel", connection.create_channel()).await?;
    within(
        "confirms",
        channel.confirm_select(ConfirmSelectOptions::default()),
    )
    .await?;
    let (queue, mut reports) = listen(&channel).await?;
    let id = job["id"].as_str().unwrap_or("");
    publish(&channel, &args.exchange, queue, id, job).await?;
    teller.taken(id, None);
    while let Some(delivery) = reports.next().await {
        let delivery = delivery.map_err(|e| SendError::Failed(format!("the broker: {e}")))?;
        let kind = delivery.properties.kind().as_ref().map(ShortString::as_str);
        if kind == Some("error") {
            let said: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
            let reason = said["reason"].as_str().unwrap_or("refused");
            let faults = faults(&said["faults"]);
            return Err(match reason {
                "bad_job" => SendError::Usage(format!("{reason}\n{faults}")),
                _ => SendError::Failed(format!("{reason}\n{faults}").trim_end().to_owned()),
            });
        }
        if teller.report(&delivery.data) {
            // The queue goes with the connection; a broker that is slow to part changes nothing.
            let _ = tokio::time::timeout(ANSWER, connection.close(200, "OK".into())).await;
            return Ok(());
        }
    }
    Err(SendError::Failed(
        "the broker has closed the connection".to_owned(),
    ))
}

/// A queue for this connection alone, and what comes into it.
async fn listen(channel: &Channel) -> Result<(ShortString, Consumer), SendError> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let queue = within("a queue", declared).await?.name().clone();
    let options = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default());
    Ok((queue, within("a consumer", consumed).await?))
}

/// Mandatory: a job that no queue takes is said at once.
async fn publish(
    channel: &Channel,
    exchange: &str,
    reply_to: ShortString,
    id: &str,
    job: &Map<String, Value>,
) -> Result<(), SendError> {
    let body = Value::Object(job.clone()).to_string();
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_type("challenge".into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_reply_to(reply_to)
        .with_correlation_id(id.into());
    let sent = async {
        let confirm = channel
            .basic_publish(
                exchange.into(),
                "challenge".into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await?;
        confirm.await
    };
    match within("a confirm", sent).await? {
        Confirmation::Ack(None) | Confirmation::NotRequested => Ok(()),
        Confirmation::Ack(Some(_)) => {
            let reason = format!(
                "exchange {exchange}: no queue takes jobs there; has a gateway been connected?"
            );
            Err(SendError::Failed(reason))
        }
        Confirmation::Nack(_) => Err(SendError::Failed(
            "the broker did not take the job".to_owned(),
        )),
    }
}

async fn within<T>(
    what: &str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, SendError> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(e)) => Err(SendError::Failed(format!(
            "the broker gives no {what}: {e}"
        ))),
        Err(_) => Err(SendError::Failed(format!(
            "the broker gives no {what}: it does not answer"
        ))),
    }
}
