//! By AMQP: the job to the exchange, its reports from a queue of its own that goes with the connection.

use serde_json::{Map, Value};

use super::{SendArgs, SendError, Teller};
use crate::cli::client::faults;
use crate::{
    broker::{
        BrokerError,
        client::{self, Client, Message, Reply},
    },
    config::settings::Amqp,
};

pub(super) async fn send(
    args: &SendArgs,
    url: &str,
    job: &Map<String, Value>,
    teller: &mut Teller,
) -> Result<(), SendError> {
    let amqp = Amqp {
        exchange: args.exchange.as_str().into(),
        ..client::address(url).map_err(|fault| SendError::Usage(fault.to_string()))?
    };
    let connected = Client::connect(&amqp, "ringback send").await;
    let (client, mut replies) = connected.map_err(failed)?;
    let id = job["id"].as_str().unwrap_or("");
    let body = Value::Object(job.clone()).to_string();
    let sent = async {
        let confirm = client
            .publish(Message::Challenge, id, body.as_bytes())
            .await?;
        client.confirmed(confirm).await
    };
    sent.await.map_err(failed)?;
    teller.taken(id, None);
    while let Some(reply) = replies.next().await {
        match reply.map_err(failed)? {
            Reply::Error {
                reason,
                faults: list,
            } => {
                let text = format!("{reason}\n{}", faults(&list));
                return Err(match reason.as_str() {
                    "bad_job" => SendError::Usage(text),
                    _ => SendError::Failed(text.trim_end().to_owned()),
                });
            }
            Reply::Report(body) if teller.report(&body) => {
                client.close().await;
                return Ok(());
            }
            Reply::Report(_) => {}
        }
    }
    Err(SendError::Failed(
        "the broker has closed the connection".to_owned(),
    ))
}

fn failed(fault: BrokerError) -> SendError {
    SendError::Failed(fault.to_string())
}
