//! Messages of the gateway's own: what is dead, and why. In clear they say nothing personal: the body of a job only
//! sealed, the body of a report without everything that a person would call theirs.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lapin::BasicProperties;
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    broker::{octets, short},
    challenge::Millis,
    clock,
    endpoint::Shape,
    ledger::OutboxReport,
    report::{
        JobFault,
        body::{ReportIdentity, report_id},
    },
};

/// A message of ours that is no report.
#[derive(Clone)]
pub struct DeadLetterMessage {
    pub exchange: Arc<str>,
    pub routing_key: Arc<str>,
    /// Returned as unroutable, it is tried again for ever; otherwise that is its end.
    pub mandatory: bool,
    pub properties: BasicProperties,
    pub body: Arc<[u8]>,
}

/// Shows where it goes, never what it says.
impl std::fmt::Debug for DeadLetterMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter(to {:?}/{:?})", self.exchange, self.routing_key)
    }
}

/// For the AsyncAPI document.
pub const DEAD_LETTER: Shape = Shape::of::<DeadLetter<'_>>("DeadLetter");

/// The record on the dead letters' queue.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeadLetter<'a> {
    v: u8,
    pub reason: &'static str,
    #[serde(skip_serializing_if = "<[JobFault]>::is_empty")]
    pub faults: &'a [JobFault],
    /// The challenge's id, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<&'a str>,
    /// Octets of the body.
    pub size: usize,
    pub sha256: String,
    pub at: String,
    pub node: &'a str,
    /// The body, sealed with the ledger's key; base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// A report's own copy, stripped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
}

impl<'a> DeadLetter<'a> {
    /// Of a job; `sealed` is its body as the ledger seals it.
    pub fn of_job(
        reason: &'static str,
        faults: &'a [JobFault],
        challenge: Option<&'a str>,
        body: &[u8],
        sealed: Option<Vec<u8>>,
        (at, node): (Millis, &'a str),
    ) -> DeadLetter<'a> {
        DeadLetter {
            v: 1,
            reason,
            faults,
            challenge,
            size: body.len(),
            sha256: hex::encode(digest(&SHA256, body)),
            at: clock::said(at).rfc3339(),
            node,
            sealed: sealed.map(|sealed| STANDARD.encode(sealed)),
            report: None,
        }
    }

    /// Of a report that nobody took in time; `at` as it is said.
    pub(super) fn of_report(report: &OutboxReport, at: Millis, node: &str) -> Vec<u8> {
        let mut told = serde_json::from_slice(&report.body).unwrap_or(serde_json::Value::Null);
        if let serde_json::Value::Object(fields) = &mut told {
            fields.retain(|name, _| !PERSONAL.contains(&name.as_str()));
        }
        let letter = DeadLetter {
            v: 1,
            reason: "unroutable",
            faults: &[],
            challenge: told.get("challenge").and_then(|id| id.as_str()),
            size: report.body.len(),
            sha256: hex::encode(digest(&SHA256, &report.body)),
            at: at.rfc3339(),
            node,
            sealed: None,
            report: Some(told.clone()),
        };
        letter.body()
    }

    pub fn body(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: this can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The message that carries it to the dead letters' exchange.
    pub fn letter(&self, dead: &Arc<str>, now: Millis) -> DeadLetterMessage {
        dead_counter(self.reason);
        DeadLetterMessage {
            exchange: dead.clone(),
            routing_key: "".into(),
            mandatory: true,
            properties: properties("dead", clock::said(now)),
            body: self.body().into(),
        }
    }
}

/// One more dead letter for this reason.
pub fn dead_counter(reason: &'static str) {
    metrics::counter!("ringback_dead_total", "reason" => reason).increment(1);
}

/// What all our messages have in common: JSON, kept by the broker over its restart. `at` as it is said.
pub fn properties(kind: &str, at: Millis) -> BasicProperties {
    BasicProperties::default()
        .with_type(kind.into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(u64::try_from(at.0 / 1_000).unwrap_or_default())
}

/// The same for a report. Its `message_id` is what its body has as `report_id`, also where a node of another name wrote it.
pub(super) fn report_properties(report: &OutboxReport, node: &str, at: Millis) -> BasicProperties {
    let id = match ReportIdentity::of(&report.body) {
        Some(identity) => identity.report_id,
        None => report_id(node, report.challenge, report.seq).into(),
    };
    let properties = properties("report", at).with_message_id(short(&id));
    match &report.target {
        crate::ledger::Target::ReplyTo {
            correlation_id: Some(id),
            ..
        } => octets::with_correlation_id(properties, id),
        _ => properties,
    }
}

/// Fields of a report that a dead letter goes without: secrets, and whose they are.
const PERSONAL: [&str; 6] = ["code", "reply", "digits", "meta", "user", "caller_id"];
const PERSISTENT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        challenge::ChallengeKey,
        ledger::{ReportKey, Target},
    };

    fn report(body: &str) -> OutboxReport {
        OutboxReport {
            report: ReportKey(1),
            challenge: ChallengeKey(2),
            seq: 3,
            target: Target::ReplyTo {
                queue: "gone".into(),
                correlation_id: None,
            },
            body: body.as_bytes().into(),
            is_final: false,
            until: Millis(0),
        }
    }

    #[test]
    fn the_message_id_is_the_report_id_whichever_node_wrote_it() {
        let id = |body| {
            let properties = report_properties(&report(body), "new", Millis(0));
            let id = properties.message_id().as_ref();
            id.map(ToString::to_string)
        };
        let body = r#"{"v":1,"report_id":"old-2-5","challenge":"c-1","seq":5,"event":"sent"}"#;
        assert_eq!(id(body).as_deref(), Some("old-2-5"));
        assert_eq!(id("{}").as_deref(), Some("new-2-3"), "it says nothing");
    }

    #[test]
    fn a_dead_report_tells_nothing_personal() {
        let report = report(
            r##"{"challenge":"c-1","code":"482913","digits":"12#","reply":"yes","meta":{"name":"Ada"},"user":"u","event":"sent"}"##,
        );
        let text = String::from_utf8(DeadLetter::of_report(&report, Millis(0), "n")).unwrap();
        for secret in ["482913", "12#", "yes", "Ada", "\"u\""] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains(r#""challenge":"c-1""#) && text.contains(r#""reason":"unroutable""#));
    }
}
