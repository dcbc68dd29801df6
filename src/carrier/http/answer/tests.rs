//! What answers are read as: those of the documents, and those that carriers really give.

use super::*;
use crate::cause::Verdict;
use proptest::prelude::*;

const NOW: Millis = Millis(1_445_412_460_000);

fn response() -> HttpResponse {
    HttpResponse {
        accepted: vec![200, 201],
        reference: Some("/id".into()),
        code: Some("/error/code".into()),
        verdict: None,
    }
}

fn own() -> BTreeMap<Arc<str>, Cause> {
    [
        ("21610".into(), Cause::OptedOut),
        ("451".into(), Cause::BlockedByOperator),
    ]
    .into()
}

fn reading(response: &HttpResponse, status: u16, body: Result<&str, Unreadable>) -> Reading {
    let answer = Answer {
        status,
        retry_after: None,
        body,
    };
    read(&answer, response, &own(), NOW)
}

fn event(status: u16, retry_after: Option<&str>, body: &str) -> AttemptEvent {
    let answer = Answer {
        status,
        retry_after,
        body: Ok(body),
    };
    read(&answer, &response(), &own(), NOW).event
}

fn failed(status: u16, retry_after: Option<&str>, body: &str) -> Failure {
    match event(status, retry_after, body) {
        AttemptEvent::Failed(failure) => failure,
        other => panic!("{status} {body}: {other:?}"),
    }
}

/// The reference, where it was taken.
fn taken(reading: &Reading) -> Option<Option<&str>> {
    match &reading.event {
        AttemptEvent::Accepted { references } => Some(references.first().map(|r| &**r)),
        _ => None,
    }
}

#[test]
fn an_accepted_text_has_its_reference() {
    for (body, wanted) in [
        (r#"{"id":"m-1"}"#, "m-1"),
        (r#"{"id":17}"#, "17"),
        (
            r#"{"id":12345678901234567890124}"#,
            "12345678901234567890124",
        ),
        (r#"{"id":"m-1","error":null}"#, "m-1"),
        (r#"{"id":"m-1","error":{"code":0}}"#, "m-1"),
        (r#"{"id":"m-1","error":{"code":""}}"#, "m-1"),
        (r#"{"id":"m-1","error":{"code":"none"}}"#, "m-1"),
    ] {
        let reading = reading(&response(), 201, Ok(body));
        assert_eq!(taken(&reading), Some(Some(wanted)), "{body}");
        assert_eq!(reading.oddity, None);
    }
}

#[test]
fn an_acceptance_without_its_reference_is_one_and_is_odd() {
    for body in [
        "{}",
        r#"{"id":null}"#,
        r#"{"id":""}"#,
        r#"[]"#,
        r#"{"id":"a","id":"b"}"#,
    ] {
        let reading = reading(&response(), 200, Ok(body));
        assert_eq!(taken(&reading), Some(None), "{body}");
        assert_eq!(reading.oddity, Some(Oddity::NoReference));
    }
}

#[test]
fn what_can_not_be_read_is_doubt_where_something_is_to_be_read() {
    let only_status = HttpResponse {
        reference: None,
        ..response()
    };
    for (body, oddity) in [
        (Ok(""), Oddity::Empty),
        (Ok(" \r\n\0"), Oddity::Empty),
        (Ok("null"), Oddity::Empty),
        (Ok("<html>Welcome</html>"), Oddity::NotJson),
        (Ok("OK"), Oddity::NotJson),
        (Ok(r#"{"id":"m-1""#), Oddity::NotJson),
        (Ok(r#"{"id":"m-1"} {"id":"m-2"}"#), Oddity::NotJson),
        (Err(Unreadable::Coding), Oddity::Coding),
    ] {
        let doubtful = reading(&response(), 200, body);
        assert!(
            matches!(doubtful.event, AttemptEvent::InDoubt { .. }),
            "{body:?}"
        );
        assert_eq!(doubtful.oddity, Some(oddity), "{body:?}");
        assert_eq!(taken(&reading(&only_status, 200, body)), Some(None));
    }
    for (cut, oddity) in [
        (Unreadable::CutOff, Oddity::CutOff),
        (Unreadable::TooLong, Oddity::TooLong),
    ] {
        for response in [&response(), &only_status] {
            assert_eq!(reading(response, 200, Err(cut)).oddity, Some(oddity));
        }
        // A refusal needs no body.
        assert!(matches!(
            reading(&response(), 500, Err(cut)).event,
            AttemptEvent::Failed(_)
        ));
    }
}

#[test]
fn a_refusal_is_read_by_the_carriers_table_then_by_its_status() {
    let by_code = failed(400, None, r#"{"error":{"code":21610}}"#);
    assert_eq!(
        (by_code.cause, by_code.carrier_code.as_deref()),
        (Cause::OptedOut, Some("21610"))
    );
    let by_status = failed(451, None, "");
    assert_eq!(
        (by_status.cause, by_status.carrier_code.as_deref()),
        (Cause::BlockedByOperator, Some("451"))
    );
    let in_disguise = failed(200, None, r#"{"error":{"code":21610}}"#);
    assert_eq!(in_disguise.cause, Cause::OptedOut);
}

#[test]
fn what_is_wrong_with_one_request_is_not_the_carriers_blame() {
    for status in [
        400,
        402,
        404,
        405,
        409,
        410,
        413,
        415,
        422,
        431,
        451 + 1,
        499,
    ] {
        let failure = failed(status, None, r#"{"error":{"code":"bad number"}}"#);
        let seen = (failure.verdict, failure.blame);
        assert_eq!(seen, (Verdict::NextCandidate, Blame::Nobody), "{status}");
    }
    for status in [204, 302, 401, 403, 407, 408, 425, 500, 502, 503, 504, 599] {
        let failure = failed(status, None, "");
        let seen = (failure.cause, failure.verdict, failure.blame);
        let wanted = (Cause::CarrierFault, Verdict::NextCandidate, Blame::Carrier);
        assert_eq!(seen, wanted, "{status}");
    }
}

#[test]
fn a_refusal_with_200_and_an_id_is_one() {
    let infobip = HttpResponse {
        reference: Some("/messages/0/messageId".into()),
        code: Some("/messages/0/status/name".into()),
        ..response()
    };
    let answer = |name: &str| {
        let body =
            serde_json::json!({ "messages": [{ "messageId": "m-1", "status": { "name": name } }] });
        reading(&infobip, 200, Ok(&body.to_string()))
    };
    assert_eq!(taken(&answer("PENDING_ACCEPTED")), Some(Some("m-1")));
    let AttemptEvent::Failed(failure) = answer("REJECTED_SOURCE").event else {
        panic!("taken")
    };
    assert_eq!(
        (
            failure.verdict,
            failure.blame,
            failure.carrier_code.as_deref()
        ),
        (
            Verdict::NextCandidate,
            Blame::Nobody,
            Some("REJECTED_SOURCE")
        )
    );
    // At a place for errors any code but a good one is a refusal; elsewhere a number may mean anything.
    assert_eq!(
        failed(200, None, r#"{"id":"m-1","error":{"code":7}}"#).blame,
        Blame::Nobody
    );
    assert_eq!(taken(&answer("26")), Some(Some("m-1")));
}

#[test]
fn a_verdict_of_the_file_decides() {
    let with = |accepted: &[&str], refused: &[&str]| HttpResponse {
        verdict: Some(HttpVerdict {
            at: "/status".into(),
            accepted: accepted.iter().map(|w| Arc::from(*w)).collect(),
            refused: refused.iter().map(|w| Arc::from(*w)).collect(),
        }),
        ..response()
    };
    let both = with(&["queued"], &["REJECTED", "451"]);
    let body = |status: &str| format!(r#"{{"id":"m-1","status":"{status}"}}"#);
    assert_eq!(
        taken(&reading(&both, 200, Ok(&body("Queued")))),
        Some(Some("m-1"))
    );
    let AttemptEvent::Failed(failure) = reading(&both, 200, Ok(&body("rejected"))).event else {
        panic!("taken")
    };
    assert_eq!(failure.carrier_code.as_deref(), Some("rejected"));
    let AttemptEvent::Failed(failure) = reading(&both, 200, Ok(&body("451"))).event else {
        panic!("taken")
    };
    assert_eq!(failure.cause, Cause::BlockedByOperator);
    for unknown in [body("strange"), r#"{"id":"m-1"}"#.to_owned()] {
        let reading = reading(&both, 200, Ok(&unknown));
        assert!(matches!(reading.event, AttemptEvent::InDoubt { .. }));
        assert_eq!(reading.oddity, Some(Oddity::NoVerdict));
    }
    let only_refused = with(&[], &["REJECTED"]);
    assert_eq!(
        taken(&reading(&only_refused, 200, Ok(&body("strange")))),
        Some(Some("m-1"))
    );
    let only_accepted = with(&["queued"], &[]);
    let refused = reading(&only_accepted, 200, Ok(&body("strange")));
    assert!(matches!(refused.event, AttemptEvent::Failed(_)));
    // A code beside it doesn't overrule it.
    let coded = r#"{"id":"m-1","status":"queued","error":{"code":21610}}"#;
    assert_eq!(taken(&reading(&both, 200, Ok(coded))), Some(Some("m-1")));
    // Nor does it make an acceptance of another status.
    assert!(matches!(
        reading(&both, 400, Ok(&body("queued"))).event,
        AttemptEvent::Failed(_)
    ));
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

proptest! {
    #[test]
    fn any_answer_is_read(status in 0u16..1000, retry in proptest::option::of(".{0,30}"), body in ".{0,80}") {
        let event = event(status, retry.as_deref(), &body);
        let settled = matches!(event, AttemptEvent::Failed(_));
        prop_assert!(settled || status == 200 || status == 201);
    }
}
