//! What an HTTP carrier's answer means: taken, refused and why, or too busy. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    carrier::{Cause, Event, Failure},
    challenge::Millis,
    config::carrier::HttpResponse,
};

/// A longer pause than this is not believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Octets of the longest reference or code that is taken.
const MAX_WORD: usize = 255;

/// One whole answer. `body` is None where it broke off or was too long.
pub struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<&'a str>,
    pub body: Option<&'a [u8]>,
}

/// The event that an answer is.
pub fn read(
    answer: &Answer<'_>,
    response: &HttpResponse,
    own: &BTreeMap<Arc<str>, Cause>,
    now: Millis,
) -> Event {
    let body: Value = answer
        .body
        .and_then(|body| serde_json::from_slice(body).ok())
        .unwrap_or_default();
    let code = response
        .code
        .as_deref()
        .and_then(|pointer| word(&body, pointer));
    if response.accepted.contains(&answer.status) {
        if answer.body.is_none() {
            return Event::InDoubt {
                cause: Cause::InDoubt,
            };
        }
        let reference = response
            .reference
            .as_deref()
            .and_then(|pointer| word(&body, pointer));
        // Some carriers refuse with 200 and a code instead of an id.
        if reference.is_some() || response.reference.is_none() || code.is_none() {
            return Event::Accepted {
                references: reference.into_iter().collect(),
            };
        }
    }
    Event::Failed(failure(answer, code, own, now))
}

/// By the carrier's own table (its code first, then the status), then by the status:
///
/// | status | cause | verdict |
/// |---|---|---|
/// | 429; 503 with Retry-After | throttled | later |
/// | 5xx, 408 | carrier fault | next candidate |
/// | other 3xx, 4xx, and 2xx that is no acceptance | carrier fault | next candidate |
fn failure(
    answer: &Answer<'_>,
    code: Option<Arc<str>>,
    own: &BTreeMap<Arc<str>, Cause>,
    now: Millis,
) -> Failure {
    let status: Arc<str> = answer.status.to_string().into();
    let named = code
        .as_ref()
        .and_then(|code| own.get(code))
        .or_else(|| own.get(&status))
        .copied();
    let pause = answer.retry_after.and_then(|text| pause(text, now));
    let cause = named.unwrap_or(match answer.status {
        429 => Cause::Throttled,
        503 if pause.is_some() => Cause::Throttled,
        _ => Cause::CarrierFault,
    });
    let retry_after = pause.filter(|_| cause == Cause::Throttled);
    Failure {
        retry_after,
        ..cause.failure(Some(code.unwrap_or(status)))
    }
}

/// The value at a JSON pointer (RFC 6901) as a word: a string or a number, not empty.
pub fn word(body: &Value, pointer: &str) -> Option<Arc<str>> {
    let text = match body.pointer(pointer)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    // A longer one is left out, not cut: cut, it would be another.
    (1..=MAX_WORD).contains(&text.len()).then(|| text.into())
}

/// Retry-After (RFC 9110, 10.2.3): seconds, or a date.
fn pause(text: &str, now: Millis) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date =
                time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822)
                    .ok()?;
            Millis(date.unix_timestamp().saturating_mul(1_000)).since(now)
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Verdict;
    use proptest::prelude::*;

    const NOW: Millis = Millis(1_445_412_460_000);

    fn response() -> HttpResponse {
        HttpResponse {
            accepted: vec![200, 201],
            reference: Some("/id".into()),
            code: Some("/error/code".into()),
        }
    }

    fn event(status: u16, retry_after: Option<&str>, body: &str) -> Event {
        let own = [
            ("21610".into(), Cause::OptedOut),
            ("403".into(), Cause::BlockedByOperator),
        ]
        .into();
        let answer = Answer {
            status,
            retry_after,
            body: Some(body.as_bytes()),
        };
        read(&answer, &response(), &own, NOW)
    }

    fn failed(status: u16, retry_after: Option<&str>, body: &str) -> Failure {
        match event(status, retry_after, body) {
            Event::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_accepted_text_has_its_reference() {
        for (body, wanted) in [
            (r#"{"id":"m-1"}"#, Some("m-1")),
            (r#"{"id":17}"#, Some("17")),
            ("", None),
            ("<html>", None),
        ] {
            let Event::Accepted { references } = event(201, None, body) else {
                panic!("{body}")
            };
            assert_eq!(references.first().map(|r| &**r), wanted, "{body}");
        }
    }

    #[test]
    fn a_refusal_is_read_by_the_carriers_table_then_by_its_status() {
        let by_code = failed(400, None, r#"{"error":{"code":21610}}"#);
        assert_eq!(
            (by_code.cause, by_code.carrier_code.as_deref()),
            (Cause::OptedOut, Some("21610"))
        );
        let by_status = failed(403, None, "");
        assert_eq!(
            (by_status.cause, by_status.carrier_code.as_deref()),
            (Cause::BlockedByOperator, Some("403"))
        );
        let unknown = failed(400, None, r#"{"error":{"code":"bad"}}"#);
        assert_eq!(
            (unknown.cause, unknown.verdict),
            (Cause::CarrierFault, Verdict::NextCandidate)
        );
        assert_eq!(failed(500, None, "").cause, Cause::CarrierFault);
        let in_disguise = failed(200, None, r#"{"error":{"code":21610}}"#);
        assert_eq!(in_disguise.cause, Cause::OptedOut);
    }

    #[test]
    fn a_busy_carrier_says_how_long() {
        let busy = failed(429, Some("7"), "");
        assert_eq!(
            (busy.cause, busy.verdict, busy.retry_after),
            (
                Cause::Throttled,
                Verdict::Later,
                Some(Duration::from_secs(7))
            )
        );
        let dated = failed(503, Some("Wed, 21 Oct 2015 07:28:00 GMT"), "");
        assert_eq!(dated.retry_after, Some(Duration::from_secs(20)));
        assert_eq!(failed(503, None, "").cause, Cause::CarrierFault);
        assert_eq!(
            failed(429, Some("99999999"), "").retry_after,
            Some(LONGEST_PAUSE)
        );
    }

    #[test]
    fn an_acceptance_that_broke_off_is_doubt() {
        let answer = Answer {
            status: 201,
            retry_after: None,
            body: None,
        };
        assert!(matches!(
            read(&answer, &response(), &BTreeMap::new(), NOW),
            Event::InDoubt { .. }
        ));
    }

    proptest! {
        #[test]
        fn any_answer_is_read(status in 0u16..1000, retry in proptest::option::of(".{0,30}"), body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let answer = Answer { status, retry_after: retry.as_deref(), body: Some(&body) };
            let event = read(&answer, &response(), &BTreeMap::new(), NOW);
            prop_assert_eq!(matches!(event, Event::Accepted { .. }), status == 200 || status == 201);
        }
    }
}
