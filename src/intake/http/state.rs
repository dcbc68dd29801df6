//! The state of a challenge as `GET /v1/challenges/{id}` shows it: its last report, and its attempts so far.

use serde_json::{Map, Value, json};

use crate::{
    challenge::{Challenge, Origin},
    delivery::DeliveryState,
    ledger::{Ledger, ReadError, Stored},
    report::body,
};

/// The last report with `attempts` in it, and beside it when the challenge arrived and when its life ends. Before the
/// first report, and for what came by AMQP until it has ended, without the report's own fields.
pub(super) async fn of(
    ledger: &Ledger,
    tenant: &str,
    id: &str,
) -> Result<Option<Value>, ReadError> {
    let Some(stored) = ledger.find(tenant, id).await? else {
        return Ok(None);
    };
    let last = match &stored.last {
        Some(last) => Some(last.clone()),
        None => {
            let reports = ledger.reports_of(stored.key, 0).await?;
            reports.last().map(|report| report.body.to_vec())
        }
    };
    let last = last.and_then(|body| serde_json::from_slice::<Map<String, Value>>(&body).ok());
    let mut shown = last.unwrap_or_default();
    shown.insert("id".to_owned(), json!(stored.id));
    shown.insert("tenant".to_owned(), json!(stored.tenant));
    shown.insert(
        "arrived".to_owned(),
        json!(crate::clock::said(stored.arrived).rfc3339()),
    );
    shown.insert(
        "deadline".to_owned(),
        json!(crate::clock::said(stored.deadline).rfc3339()),
    );
    shown
        .entry("final")
        .or_insert_with(|| json!(stored.ended.is_some()));
    if let Some(verified) = stored.verified {
        shown.insert("verified".to_owned(), json!(verified));
    }
    if let Ok(life) = serde_json::from_slice::<DeliveryState>(&stored.life) {
        shown.insert("attempts".to_owned(), body::attempts(&life));
    }
    Ok(Some(Value::Object(shown)))
}

/// Are its reports kept for HTTP? What was wiped still says by which door it came.
pub(super) fn by_http(stored: &Stored) -> bool {
    serde_json::from_slice::<Challenge>(&stored.job).is_ok_and(|ch| ch.door == Origin::Http)
}
