//! The operator's verbs by HTTP: suspend, resume, cancel, trace, and the record of what was done.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query as Parameters, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{
    Control,
    admin::{AdminState, fault, silent},
    answers::{Cancelled, Overlaid, Resumed, Suspended},
    trace::trace,
};
use crate::{
    challenge::Millis,
    dispatch::{Ordered, OverlayOrder, Query, Step},
    intake::{Answer, Arrival, Job, Ticket},
    ledger::{Claim, Waiting},
    overlay::{self, OverlayChange},
    schema::kinds::parse_duration,
};

/// Audit records that are shown at once.
const SHOWN: usize = 200;
/// How long the ledger may take to keep what was asked.
const KEEPS: Duration = Duration::from_secs(5);
/// So many digits in a row, whatever stands between them, are a phone number.
const DIGITS_OF_A_NUMBER: usize = 10;
/// Nothing shorter is worth a change.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is said with a change.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerbBody {
    reason: Option<String>,
    /// Who it is; nobody proves it.
    owner: Option<String>,
    /// `"2h"`; absent: until it is resumed.
    r#for: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Whose {
    tenant: Option<String>,
}

pub(super) async fn suspend(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let said = match said(&headers, &body) {
        Ok(said) => said,
        Err(response) => return *response,
    };
    if said.reason.as_deref().is_none_or(|r| r.trim().is_empty()) {
        return bad("reason", "required: why, for whoever looks at it next");
    }
    let span = match said.r#for.as_deref().map(parse_duration) {
        None => None,
        Some(Some(span)) if (SHORTEST..=overlay::LONGEST).contains(&span) => Some(span),
        Some(_) => return bad("for", "a span from \"1s\" to \"366d\", such as \"2h\""),
    };
    order(&state.control, &name, said, Step::Put(span)).await
}

pub(super) async fn resume(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match said(&headers, &body) {
        Ok(said) => order(&state.control, &name, said, Step::Lift).await,
        Err(response) => *response,
    }
}

/// JSON, said to be JSON: a page of another site can't send that without asking first.
fn said(headers: &HeaderMap, body: &[u8]) -> Result<VerbBody, Box<Response>> {
    if body.is_empty() {
        return Ok(VerbBody::default());
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind
        .trim()
        .to_ascii_lowercase()
        .starts_with("application/json")
    {
        return Err(Box::new(fault(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type",
            "application/json is wanted",
        )));
    }
    let said: VerbBody = serde_json::from_slice(body).map_err(|e| {
        Box::new(bad(
            "body",
            &format!("{e}; reason, owner and for are known"),
        ))
    })?;
    for (field, words) in [("reason", &said.reason), ("owner", &said.owner)] {
        let words = words.as_deref().unwrap_or("");
        if words.chars().count() > overlay::LONGEST_WORDS || words.contains(char::is_control) {
            return Err(Box::new(bad(field, "at most 500 characters, on one line")));
        }
        if has_number(words) {
            return Err(Box::new(bad(
                field,
                "holds something like a phone number; it is kept in clear, so leave that out",
            )));
        }
    }
    Ok(said)
}

fn has_number(words: &str) -> bool {
    let mut run = 0;
    words.chars().any(|c| {
        run = match c {
            '0'..='9' => run + 1,
            ' ' | '-' | '.' | '(' | ')' | '/' => run,
            _ => 0,
        };
        run >= DIGITS_OF_A_NUMBER
    })
}

async fn order(control: &Control, carrier: &str, said: VerbBody, step: Step) -> Response {
    let words = |words: Option<String>, usual: &str| -> Arc<str> {
        let words = words.unwrap_or_default();
        match words.trim() {
            "" => usual.into(),
            words => words.into(),
        }
    };
    let order = OverlayOrder {
        change: OverlayChange::SuspendCarrier {
            carrier: carrier.into(),
        },
        owner: words(said.owner, "not named"),
        reason: words(said.reason, "none given"),
        step,
        claim: Claim::default(),
    };
    if control.ledger.healthy().is_err() {
        return not_kept();
    }
    let (to, answer) = oneshot::channel();
    let waiting = Waiting::new(answer, order.claim.clone());
    let query = Query::Overlay(order, to);
    let hand_over = async { control.queries.send(query).await.is_ok() };
    match waiting.within(KEEPS, hand_over).await {
        Some(Ordered::InForce(until)) => Json(Suspended {
            carrier,
            suspended: true,
            until: until.map(Millis::rfc3339),
        })
        .into_response(),
        Some(Ordered::Lifted) => Json(Resumed {
            carrier,
            suspended: false,
        })
        .into_response(),
        Some(Ordered::NoSuchSubject) => fault(
            StatusCode::NOT_FOUND,
            "carrier",
            "no carrier of that name in force; see /admin/carriers",
        ),
        Some(Ordered::NotInForce) => fault(
            StatusCode::CONFLICT,
            "carrier",
            "not suspended by an operator; what health has suspended comes back by itself",
        ),
        None => not_kept(),
    }
}

/// What the ledger has not kept does not happen, now or later.
fn not_kept() -> Response {
    fault(
        StatusCode::SERVICE_UNAVAILABLE,
        "ledger",
        "not done, and will not be: the ledger does not keep it; see why at /readyz, and ask again",
    )
}

/// What is in force, and what was done, newest first.
pub(super) async fn changes(State(state): State<AdminState>) -> Response {
    let Some(entries) = state.control.ask(Query::Changes).await else {
        return silent();
    };
    let records = state.control.ledger.audit(SHOWN).await.unwrap_or_default();
    let records = records
        .iter()
        .filter_map(|record| serde_json::from_slice(record).ok());
    Json(Overlaid::of(&entries, records.collect())).into_response()
}

pub(super) async fn traced(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    Parameters(whose): Parameters<Whose>,
) -> Response {
    let tenant = whose.tenant.as_deref().unwrap_or("default");
    match trace(&state.control, tenant, &id).await {
        Ok(Some(shown)) => Json(shown).into_response(),
        Ok(None) => unknown(),
        Err(error) => {
            tracing::error!(%error, "a challenge can't be looked up");
            fault(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger",
                "can't be read; see the log",
            )
        }
    }
}

/// Ends an open challenge. One that has ended stays as it is, and nothing is remembered for one that nobody knows.
pub(super) async fn cancel(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    Parameters(whose): Parameters<Whose>,
) -> Response {
    let tenant = whose.tenant.as_deref().unwrap_or("default");
    let before = match trace(&state.control, tenant, &id).await {
        Ok(Some(before)) => before,
        Ok(None) => return unknown(),
        Err(_) => return silent(),
    };
    if before["state"] == "ended" {
        return fault(
            StatusCode::CONFLICT,
            "id",
            &format!("it has ended: {}", before["event"].as_str().unwrap_or("")),
        );
    }
    if state.control.ledger.healthy().is_err() {
        return not_kept();
    }
    let (ticket, answer) = oneshot::channel();
    let claim = Claim::default();
    let waiting = Waiting::new(answer, claim.clone());
    let arrival = Arrival {
        job: Job::Cancel {
            tenant: tenant.into(),
            id: id.as_str().into(),
        },
        ticket: Ticket::Claimed(ticket, claim),
    };
    let hand_over = async { state.control.intake.control.send(arrival).await.is_ok() };
    match waiting.within(KEEPS, hand_over).await {
        Some(Answer::Taken) => {
            tracing::warn!(challenge = %id, tenant, "cancelled by an operator");
            let cancelled = true;
            Json(Cancelled { id: &id, cancelled }).into_response()
        }
        Some(_) => silent(),
        None => not_kept(),
    }
}

fn unknown() -> Response {
    fault(
        StatusCode::NOT_FOUND,
        "id",
        "unknown to this gateway, or longer ago than its ledger remembers; is it another tenant's? (?tenant=)",
    )
}

fn bad(field: &str, reason: &str) -> Response {
    fault(StatusCode::BAD_REQUEST, field, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_may_hold_a_ticket_but_no_phone_number() {
        for fine in ["INC0012345", "maintenance 2026-11", "ports 2775 and 2776"] {
            assert!(!has_number(fine), "{fine}");
        }
        for number in ["+1 (202) 555-0123", "call 0046701740605", "12025550123"] {
            assert!(has_number(number), "{number}");
        }
    }
}
