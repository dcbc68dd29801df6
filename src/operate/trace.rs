//! `trace`: one challenge from its job to its last report, as memory and the ledger know it.
//!
//! For an operator who asks why: the plan's choice with its reason and what was left out, each attempt with the carrier's
//! own codes, what keeps or kept it from any attempt, the reports with their times. Numbers are masked, codes and digits never stand here.

use serde_json::{Map, Value, json};

use super::Control;
use crate::{
    carrier::ReceiptState,
    challenge::{Challenge, Millis, Origin},
    core::late_receipts,
    delivery::{Attempt, DeliveryState, Event},
    dispatch::Query,
    ledger::{ReadError, Stored},
    report::body,
};

/// None: nobody knows this id.
pub async fn trace(control: &Control, tenant: &str, id: &str) -> Result<Option<Value>, ReadError> {
    let open = control
        .ask(|to| Query::Open(tenant.into(), id.into(), to))
        .await
        .flatten();
    let stored = control.ledger.find(tenant, id).await?;
    let (challenge, life) = match (open, &stored) {
        (Some((challenge, life)), _) => (Some(challenge), Some(life)),
        // What was wiped of it can't be read any more.
        (None, Some(stored)) => (
            serde_json::from_slice(&stored.job).ok(),
            serde_json::from_slice(&stored.life).ok(),
        ),
        (None, None) => return remembered(control, tenant, id).await,
    };
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(id));
    shown.insert("tenant".to_owned(), json!(tenant));
    if let Some(challenge) = &challenge {
        shown.extend(of_job(challenge));
    }
    if let Some(stored) = &stored {
        shown.extend(of_ledger(stored));
    }
    if let Some(life) = &life {
        let late = stored.as_ref().map(late_receipts).unwrap_or_default();
        shown.extend(of_life(life, &late));
    }
    Ok(Some(Value::Object(shown)))
}

/// Retention is over: how it ended is all that is left. The newest, where the id came several times.
async fn remembered(control: &Control, tenant: &str, id: &str) -> Result<Option<Value>, ReadError> {
    let found = control.ledger.outcomes(tenant, id).await?;
    Ok(found.first().map(|outcome| {
        let mut shown = match serde_json::from_slice(&outcome.outcome) {
            Ok(Value::Object(shown)) => shown,
            _ => Map::new(),
        };
        shown.remove("challenge");
        shown.extend(object(json!({
            "id": id,
            "tenant": tenant,
            "arrived": crate::clock::said(outcome.arrived).rfc3339(),
            "ended": crate::clock::said(outcome.ended).rfc3339(),
            "state": "ended",
            "left": "its outcome alone: the ledger's retention is over",
        })));
        Value::Object(shown)
    }))
}

fn of_job(challenge: &Challenge) -> Map<String, Value> {
    let methods: Vec<&str> = challenge.methods().map(|method| method.name()).collect();
    let door = match challenge.door {
        Origin::Http => "http",
        Origin::Amqp => "amqp",
    };
    object(json!({
        // A number shows itself masked.
        "to": challenge.to.map(|to| to.to_string()),
        "country": body::country(challenge),
        "methods": methods,
        "locale": challenge.locale,
        "door": door,
        "arrived": crate::clock::said(challenge.arrived).rfc3339(),
        "deadline": crate::clock::said(challenge.deadline).rfc3339(),
    }))
}

fn of_ledger(stored: &Stored) -> Map<String, Value> {
    let mut shown = object(json!({
        "arrived": crate::clock::said(stored.arrived).rfc3339(),
        "deadline": crate::clock::said(stored.deadline).rfc3339(),
        "ended": stored.ended.map(|at| crate::clock::said(at).rfc3339()),
    }));
    if let Some(verified) = stored.verified {
        shown.insert("verified".to_owned(), json!(verified));
    }
    let last = stored.last.as_deref().map(serde_json::from_slice::<Value>);
    if let Some(Ok(last)) = last {
        shown.insert("event".to_owned(), last["event"].clone());
        shown.insert("reason".to_owned(), last["reason"].clone());
    }
    shown
}

/// `late`: receipts after the final.
fn of_life(life: &DeliveryState, late: &[(u16, u16, ReceiptState)]) -> Map<String, Value> {
    let report = |(seq, (at, event, attempt)): (u32, (Millis, Event, Option<u16>))| {
        let mut shown = object(json!({
            "seq": seq,
            "at": crate::clock::said(at).rfc3339(),
            "event": event.name(),
            "final": matches!(event, Event::Final(_)),
        }));
        if let Some(attempt) = attempt {
            shown.insert("attempt".to_owned(), json!(attempt));
        }
        Value::Object(shown)
    };
    let mut attempts = body::attempts(life);
    if let Value::Array(shown) = &mut attempts {
        for (shown, attempt) in shown.iter_mut().zip(&life.attempts) {
            shown["left_out"] = json!(attempt.left_out);
            shown["receipts"] = receipts(attempt, late);
        }
    }
    let mut shown = object(json!({
        "state": match &life.ended {
            Some(_) => "ended",
            None if life.attempts.is_empty() => "waiting for a slot",
            None => "under way",
        },
        "feedback": life.feedback,
        "attempts": attempts,
        "reports": (1..).zip(life.told()).map(report).collect::<Vec<_>>(),
    }));
    if !life.left_out.is_empty() {
        shown.insert("left_out".to_owned(), json!(life.left_out));
    }
    shown
}

/// Of one attempt: those that counted, then those that came after the challenge's final.
fn receipts(attempt: &Attempt, late: &[(u16, u16, ReceiptState)]) -> Value {
    let one = |part: u16, state: ReceiptState, is_late: bool| {
        let mut shown = json!({ "part": part + 1, "state": state.name() });
        if is_late {
            shown["late"] = json!(true);
        }
        shown
    };
    let counted = attempt.receipts();
    let counted = counted.map(|(part, state)| one(part, state, false));
    let late = late.iter().filter(|(n, ..)| *n == attempt.n);
    let late = late.map(|(_, part, state)| one(*part, *state, true));
    counted.chain(late).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
