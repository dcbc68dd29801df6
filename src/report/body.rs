//! The JSON of a report, and which copies of it are made.
//!
//! Code, reply and digits stand in the copy of the asking server only. Everything else is the same in both.

use std::{borrow::Cow, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    challenge::{Challenge, ChallengeKey, Channel, Meta, Millis},
    clock,
    delivery::{Attempt, DeliveryState, Event, Note, Phase},
    endpoint::written,
    number::Country,
};

use super::enums;

/// What all reports of this gateway share.
#[derive(Clone, Debug)]
pub struct Frame {
    pub node: Arc<str>,
    pub exchange_copy: bool,
    /// How far the wall clock, by which times are said, stands ahead ([`clock::Now::ahead`]).
    pub ahead: i64,
}

fn said(at: Millis, ahead: i64) -> String {
    clock::said_by(at, ahead).rfc3339()
}

/// Who may read a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The server that asked: it alone learns code and digits.
    Asker,
    Everyone,
}

/// The stable id of a report: the same over every re-publishing, in both copies. Keys are one ledger's own, so the
/// node stands in it.
pub fn report_id(node: &str, key: ChallengeKey, seq: u32) -> String {
    format!("{node}-{:x}-{seq}", key.0)
}

/// What tells a report from others, as its body has it: what is published again keeps it, whatever has made it.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct ReportIdentity<'a> {
    #[serde(borrow)]
    pub report_id: Cow<'a, str>,
    pub seq: u32,
}

impl ReportIdentity<'_> {
    /// None: this is no report's body.
    pub fn of(body: &[u8]) -> Option<ReportIdentity<'_>> {
        serde_json::from_slice(body).ok()
    }
}

/// `<event>.<channel>.<country>` in lower case.
pub fn routing_key(ch: &Challenge, life: &DeliveryState, note: &Note) -> String {
    let attempt = note.attempt.and_then(|n| life.attempt(n));
    let channel = attempt.map_or(ch.method.channel(), Attempt::channel).name();
    format!(
        "{}.{channel}.{}",
        note.event.name(),
        country(ch).to_ascii_lowercase()
    )
}

/// ISO 3166 alpha-2, `001`, or `ZZ` where the number was not understood.
pub fn country(ch: &Challenge) -> &str {
    ch.country.as_ref().map_or("ZZ", Country::as_str)
}

/// The report's body for this reader.
pub fn render(
    frame: &Frame,
    key: ChallengeKey,
    ch: &Challenge,
    life: &DeliveryState,
    note: &Note,
    reader: Reader,
) -> Vec<u8> {
    let attempt = note.attempt.and_then(|n| life.attempt(n));
    let end = match note.event {
        Event::Final(end) => Some(end),
        _ => None,
    };
    let asker = reader == Reader::Asker;
    let method = attempt.map_or(ch.method, |a| a.method);
    let body = Body {
        v: 1,
        report_id: report_id(&frame.node, key, note.seq),
        challenge: &ch.id,
        tenant: &ch.tenant,
        user: ch.user.as_deref(),
        at: said(note.at, frame.ahead),
        node: &frame.node,
        meta: &ch.meta,
        seq: note.seq,
        event: note.event.name(),
        r#final: end.is_some(),
        result: end.map(|end| end.result()),
        reason: note.reason,
        method: method.name(),
        channel: method.channel().name(),
        country: country(ch),
        attempt: attempt.map(|a| a.n),
        carrier: attempt.map(|a| &*a.carrier),
        sender: attempt.map(|a| &*a.sender),
        route: attempt.map(|a| &*a.route),
        why: attempt.map(|a| &*a.why),
        reference: attempt.and_then(|a| a.references.first()).map(|r| &**r),
        carrier_code: attempt.and_then(|a| a.carrier_code.as_deref()),
        in_doubt: attempt.is_some_and(|a| a.in_doubt),
        hedge: attempt.is_some_and(|a| a.hedge),
        caller_id: attempt
            .filter(|a| a.channel() == Channel::Voice)
            .map(CallerId::of),
        code: ch
            .code
            .as_ref()
            .filter(|_| asker && ch.code_made && note.tells_code)
            .map(|c| c.reveal()),
        digits: note.digits.as_deref().filter(|_| asker),
        attempts: end.map(|_| attempt_bodies(life, frame.ahead)),
        billable: end.map(|_| life.billable()),
    };
    // Strings, numbers and maps with string keys: this can't fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

#[derive(Serialize, JsonSchema)]
struct Body<'a> {
    v: u8,
    /// The same over every re-publishing and in both copies: drop repeats by it.
    report_id: String,
    /// The job's id.
    challenge: &'a str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[schemars(schema_with = "enums::moment")]
    at: String,
    node: &'a str,
    #[schemars(schema_with = "enums::meta")]
    meta: &'a Meta,
    /// 1, 2, ... per challenge: order by it.
    seq: u32,
    #[schemars(schema_with = "enums::event")]
    event: &'static str,
    /// True on exactly one report of a challenge.
    r#final: bool,
    /// On the final.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "enums::result")]
    result: Option<&'static str>,
    /// Why; more words may come.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[schemars(schema_with = "enums::method")]
    method: &'static str,
    #[schemars(schema_with = "enums::channel")]
    channel: &'static str,
    /// ISO 3166 alpha-2, 001, or ZZ where the number was not understood.
    country: &'a str,
    /// The attempt spoken of; on the final the deciding one.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    /// Why this candidate was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// The carrier's own id; for a call the Call-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier_code: Option<&'a str>,
    in_doubt: bool,
    hedge: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_id: Option<CallerId<'a>>,
    /// A code that the gateway made, for who asked only.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    /// Keys heard, for who asked only.
    #[serde(skip_serializing_if = "Option::is_none")]
    digits: Option<&'a str>,
    /// On the final.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptBody<'a>>>,
    /// On the final: a carrier took an attempt, or one is in doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    billable: Option<bool>,
}

/// What the person's display should show. Nobody signs calls yet, so nothing is attested.
#[derive(Serialize, JsonSchema)]
struct CallerId<'a> {
    sent: &'a str,
    attestation: Option<&'a str>,
    expected_to_show: &'a str,
}

impl<'a> CallerId<'a> {
    fn of(attempt: &'a Attempt) -> CallerId<'a> {
        CallerId {
            sent: &attempt.sender,
            attestation: None,
            expected_to_show: &attempt.sender,
        }
    }
}

/// The JSON Schema of a report.
pub fn schema() -> serde_json::Value {
    written::<Body<'_>>()
}

/// The JSON Schema of one attempt.
pub fn attempt_schema() -> serde_json::Value {
    written::<AttemptBody<'_>>()
}

/// All attempts so far, as a list.
pub fn attempts(life: &DeliveryState) -> serde_json::Value {
    // Strings, numbers and truths: this can't fail.
    serde_json::to_value(attempt_bodies(life, clock::ahead())).unwrap_or_default()
}

fn attempt_bodies(life: &DeliveryState, ahead: i64) -> Vec<AttemptBody<'_>> {
    let over = life.ended.as_ref().map(|end| end.at);
    life.attempts
        .iter()
        .map(|a| AttemptBody::of(a, over, ahead))
        .collect()
}

/// One attempt, as the final report and `GET /v1/challenges/{id}` show it.
#[derive(Serialize, JsonSchema)]
struct AttemptBody<'a> {
    attempt: u16,
    #[schemars(schema_with = "enums::method")]
    method: &'static str,
    #[schemars(schema_with = "enums::channel")]
    channel: &'static str,
    carrier: &'a str,
    sender: &'a str,
    route: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    references: &'a [Arc<str>],
    #[schemars(schema_with = "enums::moment")]
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "enums::moment")]
    ended: Option<String>,
    /// Absent while it rings: only then does no word of a report's fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "enums::outcome")]
    outcome: Option<&'static str>,
    /// `ringing`, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "enums::ringing")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier_code: Option<&'a str>,
    in_doubt: bool,
    hedge: bool,
}

impl<'a> AttemptBody<'a> {
    /// `over`: when the challenge ended, if it has; what was still waited for then ends with it.
    fn of(a: &'a Attempt, over: Option<Millis>, ahead: i64) -> AttemptBody<'a> {
        let rings = a.phase == Phase::Ringing && over.is_none();
        AttemptBody {
            attempt: a.n,
            method: a.method.name(),
            channel: a.channel().name(),
            carrier: &a.carrier,
            sender: &a.sender,
            route: &a.route,
            why: &a.why,
            reference: a.references.first().map(|r| &**r),
            references: &a.references,
            started: said(a.started, ahead),
            ended: a.ended.or(over).map(|at| said(at, ahead)),
            outcome: (!rings).then(|| a.outcome().name()),
            state: rings.then_some("ringing"),
            cause: a.cause.map(|c| c.name()),
            carrier_code: a.carrier_code.as_deref(),
            in_doubt: a.in_doubt,
            hedge: a.hedge,
        }
    }
}
