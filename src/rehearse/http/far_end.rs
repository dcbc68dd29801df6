//! The far end of an HTTP carrier: which text a request belongs to, what the network decides about it, and the answer, in the
//! shapes that carriers and what stands before them give it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::json;
use simulators::http_carrier::desk::Order;

use super::{Http, latency, now_and_then, packed, reached};
use crate::{
    carrier::{TextOrder, http::body::Unreadable},
    cause::Cause,
    challenge::{AttemptKey, Millis},
    rehearse::{
        stage::{Effect, Stage},
        steps::{HttpAnswer, HttpStep, RequestId},
        texts::{Asked, SubmitAnswer, SubmitRefusal},
    },
};

/// A text that was given to a driver and has not come to the far end.
pub(super) struct Ordered {
    asked: Asked,
    body: Arc<str>,
}

/// What the far end has answered of a text, whether or not it is heard.
pub(super) enum GivenAnswer {
    /// Taken, under this id where the answer has one.
    Taken(Option<Arc<str>>),
    Refused(Cause),
    /// It may have it: nothing that can be read was answered.
    Unclear,
}

impl Http {
    /// The core wants this sent.
    pub(super) fn order(&mut self, order: &TextOrder) {
        let asked = Asked {
            key: order.key,
            to: order.to,
            sender: order.sender.clone(),
            parts: 1,
        };
        let body = order.content.body.clone();
        let reference = format!("{}-{}", order.key.challenge.0, order.key.attempt);
        self.ordered.insert(reference, Ordered { asked, body });
    }

    /// A request has come to the far end.
    pub(super) fn requested(
        &mut self,
        id: RequestId,
        request: &Request<Bytes>,
        stage: &mut Stage<'_>,
    ) {
        let kind = request.headers().get(CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind == "application/json");
        let is_post = request.method() == Method::POST && request.uri().path() == "/v1/messages";
        let order = serde_json::from_slice::<Order>(request.body());
        let order = order.ok().filter(|order| order.check().is_ok());
        let Some(order) = order.filter(|_| is_json && is_post) else {
            let fault = "a carrier got a request that it can't read".to_owned();
            return stage.effects.push(Effect::Broken(fault));
        };
        let reference = order.reference.as_deref().unwrap_or_default();
        let Some(Ordered { asked, body }) = self.ordered.remove(reference) else {
            return stage.effects.push(Effect::Unordered);
        };
        let wanted = (asked.to.e164(), &*asked.sender, &*body);
        if (&*order.to, &*order.from, &*order.text) != wanted {
            let fault = format!("a carrier got another text than {reference} is");
            return stage.effects.push(Effect::Broken(fault));
        }
        let fate = self.network.fate(&asked, stage);
        let own = fate.references.first();
        let (said, answer) = match fate.answer {
            SubmitAnswer::Taken => {
                let answer = taken(own.map(|id| &**id), stage);
                (
                    GivenAnswer::Taken(own.cloned()),
                    Some((fate.answered, answer)),
                )
            }
            SubmitAnswer::Throttled => {
                let answer = throttled(stage);
                (
                    GivenAnswer::Refused(Cause::Throttled),
                    Some((fate.answered, answer)),
                )
            }
            SubmitAnswer::Refused(refusal) => {
                let (cause, answer) = refused(refusal, stage);
                (GivenAnswer::Refused(cause), Some((fate.answered, answer)))
            }
            SubmitAnswer::Silence(late) => match (late, unclear(stage)) {
                (Some(late), _) => {
                    let answer = taken(own.map(|id| &**id), stage);
                    (GivenAnswer::Unclear, Some((late, answer)))
                }
                (None, Some(answer)) => (GivenAnswer::Unclear, Some((fate.answered, answer))),
                (None, None) => (GivenAnswer::Unclear, None),
            },
        };
        self.given.insert(asked.key, said);
        if let Some((after, answer)) = answer {
            stage.later(after, HttpStep::Answers(id, Box::new(answer)));
        } else if stage.dice.chance(500) {
            reached(stage, "an HTTP carrier hung up instead of answering");
            stage.later(fate.answered, HttpStep::Broken(id));
        }
        if fate.is_carried {
            self.network.carry(&asked, &fate, stage);
        }
    }

    /// An answer leaves.
    pub(super) fn answers(
        &mut self,
        id: RequestId,
        mut answer: Box<HttpAnswer>,
        stage: &mut Stage<'_>,
    ) {
        if self.is_down(stage) {
            return;
        }
        let after = latency(stage);
        if stage.dice.chance(stage.profile.wire_breaks) {
            if stage.dice.chance(500) {
                reached(stage, "a connection broke before its answer");
                return stage.later(after, HttpStep::Broken(id));
            }
            reached(stage, "a connection broke within an answer");
            *answer.body_mut() = Err(Unreadable::CutOff);
            self.code_is_lost(id);
        }
        stage.later(after, HttpStep::ToUs(id, answer));
    }

    /// The status alone is left of an answer.
    fn code_is_lost(&mut self, id: RequestId) {
        let key = self.flights.get(&id).map(|flight| flight.key);
        match key.and_then(|key| self.given.get_mut(&key)) {
            Some(GivenAnswer::Refused(cause)) if *cause != Cause::Throttled => {
                *cause = Cause::CarrierFault
            }
            Some(GivenAnswer::Refused(_) | GivenAnswer::Taken(_) | GivenAnswer::Unclear) | None => {
            }
        }
    }

    // --- held against what ours says -----------------------------------------------------------------------------

    pub(super) fn check_accepted(
        &self,
        key: AttemptKey,
        references: &[Arc<str>],
        stage: &mut Stage<'_>,
    ) {
        let wrong = match self.given.get(&key) {
            Some(GivenAnswer::Taken(id)) if id.as_slice() == references => return,
            Some(GivenAnswer::Taken(_)) => "under another id than the carrier gave it",
            Some(GivenAnswer::Refused(_)) => "and the carrier has refused it",
            Some(GivenAnswer::Unclear) | None => "and the carrier has not said so",
        };
        let attempt = key.attempt;
        let fault = format!(
            "attempt {attempt} of {:x} is said to be taken, {wrong}",
            key.challenge.0
        );
        stage.effects.push(Effect::Broken(fault));
    }

    pub(super) fn check_failed(&self, key: AttemptKey, cause: Cause, stage: &mut Stage<'_>) {
        match self.given.get(&key) {
            Some(GivenAnswer::Taken(_) | GivenAnswer::Unclear) => {
                stage.effects.push(Effect::FailedThoughTaken(key));
            }
            Some(GivenAnswer::Refused(why)) if *why != cause => {
                let (attempt, cause, why) = (key.attempt, cause.name(), why.name());
                let fault = format!(
                    "attempt {attempt} of {:x} is said to have failed by {cause}, and the carrier said {why}",
                    key.challenge.0
                );
                stage.effects.push(Effect::Broken(fault));
            }
            Some(GivenAnswer::Refused(_)) | None => {}
        }
    }
}

// --- answers -----------------------------------------------------------------------------------------------------

fn answer(status: u16, kind: &'static str, body: impl Into<Bytes>) -> HttpAnswer {
    let mut answer = Response::new(Ok(body.into()));
    // All that are given here are statuses.
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn in_json(status: u16, body: &serde_json::Value, stage: &mut Stage<'_>) -> HttpAnswer {
    let text = body.to_string();
    if now_and_then(stage) {
        let mut answer = answer(status, "application/json", packed(text.as_bytes()));
        let coding = HeaderValue::from_static("gzip");
        answer.headers_mut().insert(CONTENT_ENCODING, coding);
        return answer;
    }
    match stage.dice.below(10) {
        // What some servers write, though RFC 8259 forbids it.
        0 => answer(status, "application/json", format!("\u{feff}{text}")),
        1 => {
            let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            answer(status, "application/json; charset=utf-16le", octets)
        }
        2 => answer(status, "text/plain", format!(" {text}\r\n")),
        _ => answer(status, "application/json; charset=utf-8", text),
    }
}

fn taken(id: Option<&str>, stage: &mut Stage<'_>) -> HttpAnswer {
    let status = *stage.dice.pick(&[200, 201, 202]);
    let number = id.and_then(|id| id.parse::<u64>().ok());
    let body = match (id, number) {
        (_, Some(number)) if now_and_then(stage) => json!({ "id": number, "error": null }),
        (Some(id), _) => json!({ "id": id, "status": "queued" }),
        (None, _) => json!({ "status": "queued" }),
    };
    in_json(status, &body, stage)
}

/// 429 or 503, with a pause in one of the forms of RFC 9110, 10.2.3, or, 429 alone, without.
fn throttled(stage: &mut Stage<'_>) -> HttpAnswer {
    let pause = match stage.dice.below(4) {
        0 => Some("2".to_owned()),
        1 => http_date(stage.wall),
        _ => None,
    };
    let status = match &pause {
        Some(_) if stage.dice.chance(500) => 503,
        _ => 429,
    };
    let mut answer = error(status, "throttled", stage);
    let pause = pause.and_then(|pause| HeaderValue::from_str(&pause).ok());
    if let Some(pause) = pause {
        answer.headers_mut().insert(RETRY_AFTER, pause);
    }
    answer
}

/// Three seconds from now.
fn http_date(wall: Millis) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(wall.0 / 1_000 + 3).ok()?;
    let rfc = time::format_description::well_known::Rfc2822;
    Some(at.format(&rfc).ok()?.replace("+0000", "GMT"))
}

fn error(status: u16, code: &str, stage: &mut Stage<'_>) -> HttpAnswer {
    in_json(status, &json!({ "error": { "code": code } }), stage)
}

/// A refusal, and what it means by the carrier's file.
fn refused(refusal: SubmitRefusal, stage: &mut Stage<'_>) -> (Cause, HttpAnswer) {
    let (cause, code) = match refusal {
        SubmitRefusal::Number => (Cause::InvalidNumber, "21211"),
        SubmitRefusal::Blocked => (Cause::BlockedByOperator, "30007"),
        SubmitRefusal::HandsetOff => (Cause::HandsetOff, "30003"),
        SubmitRefusal::Sender => (Cause::CarrierFault, "sender_refused"),
        SubmitRefusal::Fault => return (Cause::CarrierFault, fault(stage)),
    };
    // Some say it in the body alone.
    let status = *stage.dice.pick(&[400, 403, 422, 200]);
    (cause, error(status, code, stage))
}

fn fault(stage: &mut Stage<'_>) -> HttpAnswer {
    const PAGE: &str = "<html><body><h1>502 Bad Gateway</h1></body></html>";
    match stage.dice.below(6) {
        0 => answer(500, "application/json", "{\"error\":"),
        1 => answer(502, "text/html", PAGE),
        2 => answer(503, "text/html", PAGE),
        3 => answer(302, "text/html", ""),
        4 => error(401, "unauthorized", stage),
        _ => answer(404, "text/html", PAGE),
    }
}

/// An answer from which nobody can tell whether the text was taken; none: silence.
fn unclear(stage: &mut Stage<'_>) -> Option<HttpAnswer> {
    match stage.dice.below(8) {
        0 => Some(answer(200, "application/json", "")),
        1 => Some(answer(
            200,
            "text/html",
            "<html>Sign in to the network</html>",
        )),
        2 => Some(answer(202, "application/json", "{\"id\":\"48")),
        3 => {
            let mut answer = answer(200, "application/json", "{\"id\":\"1\"}");
            let coding = HeaderValue::from_static("zstd");
            answer.headers_mut().insert(CONTENT_ENCODING, coding);
            Some(answer)
        }
        4 => {
            let mut answer = answer(201, "application/json", "");
            *answer.body_mut() = Err(Unreadable::CutOff);
            Some(answer)
        }
        _ => None,
    }
}
