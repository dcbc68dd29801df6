//! Jobs by HTTP: `POST /v1/challenges` and what belongs to it, for the `[http]` listener.
//!
//! A challenge is answered 202 once the ledger holds it. Its reports are kept in the ledger and followed as server-sent
//! events ([`follow`]). One that came by AMQP is shown by its state and may be cancelled, but its reports go to the
//! broker only: following it is 404.
//!
//! A client that goes away, or is told to come again, before its job is taken has left no challenge behind: its id is
//! free, and the ledger doesn't write what its asker gave up ([`Claim`]). What is being written is waited for.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Arrival, IntakeHandle, Job, Ticket,
    job::{self, JobKind, Properties},
};
use crate::{
    challenge::Code,
    clock, endpoint,
    ledger::{Claim, Ledger, Waiting},
    report::JobFault,
};

mod body;
mod endpoints;
mod follow;
mod state;

pub use endpoints::{FAULTS, JOB, REPORT, endpoints};

/// How long a job may wait until the ledger holds it; then the client is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);
/// When to come again, in seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("1");

/// What the handlers share.
#[derive(Clone)]
struct HttpIntake(Arc<Inner>);

struct Inner {
    intake: IntakeHandle,
    ledger: Ledger,
    notifier: follow::ReportNotifier,
}

/// What the `[http]` listener serves; streams end with `stop`.
pub fn routes(intake: IntakeHandle, ledger: Ledger, stop: CancellationToken) -> Router {
    let notifier = follow::ReportNotifier::start(&intake, stop);
    let door = HttpIntake(Arc::new(Inner {
        intake,
        ledger,
        notifier,
    }));
    endpoint::router(endpoints::list())
        .fallback(|| async { fault(StatusCode::NOT_FOUND, "path", "nothing is here") })
        .method_not_allowed_fallback(|| async {
            fault(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "not for this path",
            )
        })
        .with_state(door)
}

/// Whose challenge a path means: `?tenant=`.
#[derive(Deserialize)]
struct Whose {
    #[serde(default = "usual_tenant")]
    tenant: String,
}

fn usual_tenant() -> String {
    "default".to_owned()
}

/// What a job is answered that has been taken.
#[derive(Serialize, JsonSchema)]
struct Taken<'a> {
    id: &'a str,
    /// Made by the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

/// What a cancel or feedback is answered that has been taken.
#[derive(Serialize, JsonSchema)]
struct Known {
    /// False: nobody knows the challenge yet; it is remembered for a while in case it still comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<bool>,
}

async fn challenge(State(door): State<HttpIntake>, request: Request) -> Response {
    if door.0.intake.draining.is_cancelled() {
        return door.refusal();
    }
    let body = match body::read(request).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let parsed = job::parse(
        JobKind::Challenge,
        &body,
        Properties::http(),
        clock::now(),
        &door.0.intake.settings.load().jobs,
    );
    let ch = match parsed {
        Ok(Job::Challenge(ch)) => ch,
        // Only a challenge comes of this kind.
        Ok(Job::Cancel { .. } | Job::Feedback { .. }) => return door.refusal(),
        Err(bad) => return faults(&bad.faults),
    };
    let (tenant, id) = (ch.tenant.clone(), ch.id.clone());
    let made = ch.code.clone().filter(|_| ch.code_made);
    match door.submit(&door.0.intake.jobs, Job::Challenge(ch)).await {
        Ok(Answer::Taken) => {
            let body = Taken {
                id: &id,
                code: made.as_ref().map(Code::reveal),
            };
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Ok(Answer::Again { .. }) => shown(&door, &tenant, &id).await,
        Ok(Answer::Conflict) => fault(
            StatusCode::CONFLICT,
            "id",
            "known with other content; give a new challenge a new id",
        ),
        Ok(Answer::Unknown | Answer::Busy) | Err(NotTaken) => door.refusal(),
    }
}

async fn look(
    State(door): State<HttpIntake>,
    Path(id): Path<String>,
    Query(whose): Query<Whose>,
) -> Response {
    shown(&door, &whose.tenant, &id).await
}

async fn cancel(
    State(door): State<HttpIntake>,
    Path(id): Path<String>,
    Query(whose): Query<Whose>,
) -> Response {
    let body = json!({ "v": 1, "id": id, "tenant": whose.tenant });
    word(&door, JobKind::Cancel, &body).await
}

async fn feedback(
    State(door): State<HttpIntake>,
    Path(id): Path<String>,
    Query(whose): Query<Whose>,
    request: Request,
) -> Response {
    let body = match body::read(request).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let Ok(Value::Object(mut said)) = serde_json::from_slice(&body) else {
        return fault(
            StatusCode::BAD_REQUEST,
            "body",
            "must be a JSON object: { \"verified\": true }",
        );
    };
    if said.get("id").is_some_and(|given| *given != json!(id)) {
        return fault(StatusCode::BAD_REQUEST, "id", "another than the path's");
    }
    said.insert("id".to_owned(), json!(id));
    said.entry("tenant").or_insert_with(|| json!(whose.tenant));
    word(&door, JobKind::Feedback, &Value::Object(said)).await
}

/// A word about a challenge, to dispatch by the control channel.
async fn word(door: &HttpIntake, kind: JobKind, body: &Value) -> Response {
    let body = body.to_string();
    let parsed = job::parse(
        kind,
        body.as_bytes(),
        Properties::http(),
        clock::now(),
        &door.0.intake.settings.load().jobs,
    );
    let job = match parsed {
        Ok(job) => job,
        Err(bad) => return faults(&bad.faults),
    };
    match door.submit(&door.0.intake.control, job).await {
        Ok(Answer::Taken | Answer::Again { .. }) => {
            (StatusCode::ACCEPTED, Json(Known { known: None })).into_response()
        }
        // Remembered in case the challenge still comes: taken as well.
        Ok(Answer::Unknown) => {
            (StatusCode::ACCEPTED, Json(Known { known: Some(false) })).into_response()
        }
        Ok(Answer::Conflict | Answer::Busy) | Err(NotTaken) => door.not_done(),
    }
}

async fn reports(
    State(door): State<HttpIntake>,
    Path(id): Path<String>,
    Query(whose): Query<Whose>,
    request: Request,
) -> Response {
    let last = request.headers().get("last-event-id");
    let after = match last.map(|v| v.to_str().unwrap_or("").trim()) {
        None | Some("") => 0,
        Some(text) => match text.parse() {
            Ok(seq) => seq,
            Err(_) => {
                return fault(
                    StatusCode::BAD_REQUEST,
                    "Last-Event-ID",
                    "must be the number of a report",
                );
            }
        },
    };
    match door.0.ledger.find(&whose.tenant, &id).await {
        Ok(Some(stored)) => match state::by_http(&stored) {
            true => door.0.notifier.follow(&door.0.ledger, &stored, after).await,
            false => fault(
                StatusCode::NOT_FOUND,
                "id",
                "came by AMQP: its reports go to the broker",
            ),
        },
        Ok(None) => unknown(),
        Err(e) => unreadable(&e),
    }
}

/// The state of a challenge, or 404.
async fn shown(door: &HttpIntake, tenant: &str, id: &str) -> Response {
    match state::of(&door.0.ledger, tenant, id).await {
        Ok(Some(body)) => Json(body).into_response(),
        Ok(None) => unknown(),
        Err(e) => unreadable(&e),
    }
}

/// Nothing of the job is left, and nothing of it will be done.
struct NotTaken;

impl HttpIntake {
    /// Hands a job over and waits for the answer. What is on its way to the disk when the client's patience ends is
    /// waited for all the same: only the ledger knows what became of it.
    async fn submit(&self, to: &mpsc::Sender<Arrival>, job: Job) -> Result<Answer, NotTaken> {
        if self.0.ledger.healthy().is_err() {
            return Err(NotTaken);
        }
        let (sender, answer) = oneshot::channel();
        let claim = Claim::default();
        let arrival = Arrival {
            job,
            ticket: Ticket::Claimed(sender, claim.clone()),
        };
        // Either fails only when dispatch ends.
        let hand_over = async { to.send(arrival).await.is_ok() };
        let waiting = Waiting::new(answer, claim);
        waiting.within(PATIENCE, hand_over).await.ok_or(NotTaken)
    }

    /// Why a cancel or feedback is not taken: what the ledger has not kept does not happen, now or later.
    fn not_done(&self) -> Response {
        let ends = self.0.intake.draining.is_cancelled() || self.0.intake.control.is_closed();
        let reason = if ends { STOPPING } else { NOT_DONE };
        come_again(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// Why nothing is taken just now, and when to come again.
    fn refusal(&self) -> Response {
        let Inner { intake, ledger, .. } = &*self.0;
        let stopping = intake.draining.is_cancelled();
        if !stopping && ledger.healthy().is_err() {
            return come_again(StatusCode::SERVICE_UNAVAILABLE, NO_LEDGER);
        }
        if stopping || intake.jobs.is_closed() {
            return come_again(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
        }
        let no_room = *intake.no_room.borrow();
        let reason = match no_room {
            Some(no_room) => format!("{no_room}; come again"),
            None => OVERLOAD.to_owned(),
        };
        come_again(StatusCode::TOO_MANY_REQUESTS, &reason)
    }
}

const STOPPING: &str = "stopping, and takes nothing more: go to another gateway, or come again";
const NO_LEDGER: &str = "the ledger does not answer, so nothing can be taken; come again";
const NOT_DONE: &str = "not done, and will not be: the ledger does not keep it in time; come again";
const OVERLOAD: &str = "more comes in than the carriers take; come again";

fn unknown() -> Response {
    fault(
        StatusCode::NOT_FOUND,
        "id",
        "unknown, or longer ago than the ledger remembers",
    )
}

fn unreadable(e: &crate::ledger::ReadError) -> Response {
    tracing::error!(error = %e, "a challenge can't be looked up");
    come_again(StatusCode::SERVICE_UNAVAILABLE, NO_LEDGER)
}

fn come_again(status: StatusCode, reason: &str) -> Response {
    let mut response = fault(status, "gateway", reason);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, COME_AGAIN);
    response
}

fn faults(faults: &[JobFault]) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "errors": faults }))).into_response()
}

fn fault(status: StatusCode, field: &str, reason: &str) -> Response {
    let body = json!({ "errors": [{ "field": field, "reason": reason }] });
    (status, Json(body)).into_response()
}
