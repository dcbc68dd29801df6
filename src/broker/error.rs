//! Why there is no broker, or not any more.

use std::{fmt, sync::Arc, time::Duration};

use crate::config::secret::SecretError;

/// What went wrong between us and a broker. Its text is for the operator and holds no secret and no address with one.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the broker's address is no AMQP URI")]
    NoUri,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("tls.{setting}: {fault}")]
    Tls {
        setting: &'static str,
        fault: TlsFault,
    },
    #[error("tls.cert and tls.key belong together; give both or none")]
    HalfAnIdentity,
    /// Of several brokers each with its place in the configuration, counted from 0, and its host and port.
    #[error("{}", each(.0))]
    Nowhere(Vec<(usize, Arc<str>, BrokerError)>),
    #[error("{doing}: {error}")]
    Refused { doing: String, error: lapin::Error },
    #[error("{doing}: no answer within {} s", .limit.as_secs())]
    Unanswered { doing: String, limit: Duration },
    #[error("the connection has ended")]
    Ended,
    #[error("{0}")]
    Broken(lapin::Error),
    #[error("no confirm within {} s", .0.as_secs())]
    Unconfirmed(Duration),
    #[error("the broker has cancelled the consumer (queue deleted?)")]
    ConsumerCancelled,
    #[error("a delivery tag out of order")]
    TagOutOfOrder,
    #[error(
        "{waiting} messages wait in {queue} and for {} s none came: the consumer is made anew",
        .quiet.as_secs_f32()
    )]
    Stuck {
        waiting: u32,
        queue: String,
        quiet: Duration,
    },
    #[error("dead letters can't be published")]
    NoDeadLetters,
    #[error("the gateway takes no more jobs")]
    GatewayEnds,
    /// Of one who asks by AMQP: no queue is bound for its jobs.
    #[error("exchange {0}: no queue takes jobs there; has a gateway been connected?")]
    NoQueue(String),
    #[error("the broker did not take the job")]
    NotTaken,
    #[error("the broker: {0}")]
    Replies(lapin::Error),
    #[error("--amqp: write it as amqp://user:password@127.0.0.1:5672")]
    NoAddress,
}

/// What is wrong with a certificate or its key.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("{}: {error}", .path.display())]
    File {
        path: std::path::PathBuf,
        error: std::io::Error,
    },
    #[error("{}: not PEM", .0.display())]
    NotPem(std::path::PathBuf),
    #[error(transparent)]
    Secret(SecretError),
}

fn each(reasons: &[(usize, Arc<str>, BrokerError)]) -> impl fmt::Display {
    let reasons = reasons
        .iter()
        .map(|(place, node, reason)| format!("broker {} ({node}): {reason}", place + 1));
    reasons.collect::<Vec<_>>().join("; ")
}
