//! The way in for HTTP carriers: `POST /callbacks/{carrier}`, for the `[callbacks]` listener.
//!
//! It finds the carrier's [`CallbackHandle`] and lets it decide. The table is swapped as a whole when carriers are
//! reloaded. Answers are bare status codes: a stranger learns nothing, not even which carriers there are. What was
//! refused is counted, and said once a minute for each carrier and reason.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
};
use http_body_util::{BodyExt, Limited};

use super::http::{self, CallbackHandle, MAX_CALLBACK, Refused};
use crate::{
    clock,
    endpoint::{self, HttpAnswer, HttpEndpoint, Parameter, Presence, Served, Shape},
    telemetry::{counters, minutely::Minutely},
};

/// Carriers by name.
pub type Table = Arc<ArcSwap<HashMap<Arc<str>, CallbackHandle>>>;

/// The whole body must be there in this time.
const BODY_TIME: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Callbacks {
    table: Table,
    /// By carrier, where it is one of ours, and reason.
    refused: Arc<Minutely<(Option<Arc<str>>, Refused)>>,
}

/// The routes, over a table that may change while they serve.
pub fn router(table: Table) -> Router {
    let refused = Minutely::new(|(carrier, why): &(Option<Arc<str>>, Refused), count| {
        let carrier = carrier.as_deref().unwrap_or("");
        let reason = why.name();
        tracing::warn!(
            carrier,
            reason,
            count,
            "callbacks were not taken: {}",
            explained(*why)
        );
    });
    endpoint::router(list()).with_state(Callbacks {
        table,
        refused: Arc::new(refused),
    })
}

fn list() -> Vec<Served<Callbacks>> {
    let told = Parameter::header(
        "X-Ringback-Signature",
        "t=UNIX,v1=HEX of HMAC-SHA256(key, t \".\" body).",
    );
    vec![
        HttpEndpoint::post(
            "/callbacks/{carrier}",
            "receiveCallback",
            "A receipt or an inbound text of an HTTP carrier.",
        )
        .takes(&[
            Parameter::path("carrier", "A file of carriers/."),
            told.required(),
        ])
        .body(BODY, Presence::Required)
        .answers(&[
            HttpAnswer::nothing(200, "Taken, or a repeat of what was taken."),
            HttpAnswer::nothing(400, "Not understood."),
            HttpAnswer::nothing(
                401,
                "No such carrier, or no signature of its keys within five minutes.",
            ),
            HttpAnswer::nothing(408, "The body came too slowly."),
            HttpAnswer::nothing(413, "The body is longer than 64 KiB."),
            HttpAnswer::nothing(415, "The body is not JSON."),
            HttpAnswer::nothing(503, "The ledger is behind: come again."),
        ])
        .served_by(receive),
    ]
}

/// What the listener serves, for the OpenAPI document.
pub fn endpoints() -> Vec<HttpEndpoint> {
    endpoint::described(list())
}

/// The carrier's own JSON: its file says by pointers where reference, state and text stand.
const BODY: Shape = Shape::new(
    "CallbackBody",
    || serde_json::json!({ "type": ["object", "array"] }),
);

async fn receive(
    State(callbacks): State<Callbacks>,
    Path(carrier): Path<String>,
    request: Request,
) -> StatusCode {
    let (head, body) = request.into_parts();
    let handle = callbacks
        .table
        .load()
        .get_key_value(carrier.as_str())
        .map(|(name, handle): (&Arc<str>, &CallbackHandle)| (name.clone(), handle.clone()));
    // The sender dated its signature by its wall clock.
    let now = clock::wall();
    // The body is read first, whoever it is for: what is too long or too slow is so for all alike.
    let taken = match (whole(body).await, &handle) {
        (Err(why), _) => Err(why),
        (Ok(body), Some((_, handle))) => handle.receive(&head.headers, &body, now).await,
        (Ok(body), None) => Err(http::stranger(&head.headers, &body, now)),
    };
    let (refused, count) = match taken {
        Ok(0) => return StatusCode::OK,
        Ok(skipped) => (Refused::PartNotUnderstood, skipped),
        Err(why) => (why, 1),
    };
    let carrier = handle.map(|(name, _)| name);
    counters::callback_refused(carrier.as_ref(), refused.name(), count as u64);
    callbacks.refused.note((carrier, refused));
    StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn whole(body: Body) -> Result<bytes::Bytes, Refused> {
    let reading = Limited::new(body, MAX_CALLBACK).collect();
    match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refused::TooLong),
        Ok(Err(_)) => Err(Refused::Unreadable),
        Err(_) => Err(Refused::TooSlow),
    }
}

/// For the operator.
fn explained(why: Refused) -> &'static str {
    match why {
        Refused::UnknownCarrier => {
            "no carrier of that name: is the address that the carrier calls right?"
        }
        Refused::NoCallbacks => "its file has no [callback]",
        Refused::SignatureMissing => {
            "they have no X-Ringback-Signature: t=<unix>,v1=<hex of HMAC-SHA256>"
        }
        Refused::SignatureWrong => "no key of callback.keys has made their signature",
        Refused::SignatureTooOld => {
            "their signature is right, but its time is more than five minutes from ours: repeated late, or a clock is wrong"
        }
        Refused::NoKeys => "none of callback.keys can be read",
        Refused::TooLong => "longer than 64 KiB, or more than 2000 receipts in one",
        Refused::TooSlow => "their bodies came too slowly",
        Refused::Unreadable => "their bodies broke off, or have an unknown Content-Encoding",
        Refused::ContentType => "their bodies are not JSON",
        Refused::NotUnderstood => {
            "they hold nothing at callback.reference and callback.state, nor a text"
        }
        Refused::PartNotUnderstood => {
            "parts of their lists hold nothing at callback.reference and callback.state, nor a text; the others were taken"
        }
        Refused::Busy => "the ledger is behind: the carrier shall come again",
    }
}
