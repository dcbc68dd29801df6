//! Jobs that go no further than the door: the error message to who asked, and the dead letter.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::Intake;
use crate::{
    broker::octets::{self, NoText},
    clock,
    endpoint::Shape,
    intake::job::is_own_queue,
    report::{
        JobFault,
        publish::{DeadLetter, DeadLetterMessage, message_properties},
    },
};

/// A job as far as the door knows it.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub data: Vec<u8>,
    /// The broker has given it out often.
    pub suspect: bool,
    pub kind: Option<Arc<str>>,
    /// Err: octets that name no queue.
    pub reply_to: Result<Option<Arc<str>>, NoText>,
    pub correlation_id: Option<Arc<str>>,
}

/// Why it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    BadJob,
    /// The same id with other content.
    Duplicate,
    Poison,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Why::BadJob => "bad_job",
            Why::Duplicate => "duplicate",
            Why::Poison => "poison",
        }
    }
}

/// For the AsyncAPI document.
pub const ERROR: Shape = Shape::of::<ErrorBody<'_>>("Error");

/// The body of an `error` message.
#[derive(Serialize, JsonSchema)]
struct ErrorBody<'a> {
    v: u8,
    /// Null where it can't be read.
    challenge: Option<&'a str>,
    reason: &'static str,
    faults: &'a [JobFault],
}

/// Publishes both and waits until the broker holds them. False: the publisher has ended; the job must not be acked.
pub(super) async fn dead_letter(
    intake: Intake,
    body: Body,
    why: Why,
    faults: Vec<JobFault>,
    challenge: Option<Arc<str>>,
) -> bool {
    let now = clock::now();
    tracing::info!(
        reason = why.name(),
        octets = body.data.len(),
        faults = faults.len(),
        "a job goes to the dead letters"
    );
    let sealed = intake.ledger.seal_letter(&body.data);
    let dead = DeadLetter::of_job(
        why.name(),
        &faults,
        challenge.as_deref(),
        &body.data,
        sealed,
        (now, &intake.node),
    );
    let dead = intake
        .publisher
        .deliver(dead.letter(&intake.amqp.dead, now));
    let reply_to = body
        .reply_to
        .unwrap_or_default()
        .filter(|queue| !queue.is_empty() && !is_own_queue(&intake.amqp, queue));
    let Some(reply_to) = reply_to else {
        return dead.await;
    };
    let error = ErrorBody {
        v: 1,
        challenge: challenge.as_deref(),
        reason: why.name(),
        faults: &faults,
    };
    let mut properties = message_properties("error", clock::said(now));
    if let Some(id) = &body.correlation_id {
        properties = octets::with_correlation_id(properties, id);
    }
    let error = intake.publisher.deliver(DeadLetterMessage {
        exchange: "".into(),
        routing_key: reply_to,
        mandatory: false,
        properties,
        // Strings and lists of them: this can't fail.
        body: serde_json::to_vec(&error).unwrap_or_default().into(),
    });
    let (dead, error) = tokio::join!(dead, error);
    dead && error
}
