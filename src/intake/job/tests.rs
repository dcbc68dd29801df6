//! The tables of the job, row by row: what passes, what doesn't, and that all faults come at once.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    challenge::{Challenge, Expect, Method, Until},
    config::settings::Settings,
};

const NOW: Millis = Millis(1_800_000_000_000);

fn read(kind: JobKind, body: &[u8]) -> Result<Job, BadJob> {
    parse(
        kind,
        body,
        Properties::http(),
        NOW,
        &Settings::default().jobs,
    )
}

fn challenge(body: &Value) -> Box<Challenge> {
    match read(JobKind::Challenge, body.to_string().as_bytes()) {
        Ok(Job::Challenge(ch)) => ch,
        other => panic!("{other:?}"),
    }
}

fn faults(body: &[u8]) -> Vec<(String, String)> {
    let bad = read(JobKind::Challenge, body).unwrap_err();
    bad.faults
        .into_iter()
        .map(|f| (f.field, f.reason))
        .collect()
}

fn fields(body: &Value) -> Vec<String> {
    faults(body.to_string().as_bytes())
        .into_iter()
        .map(|(field, _)| field)
        .collect()
}

fn least() -> Value {
    json!({ "id": "a-1", "to": "+14255550100", "method": "sms_code" })
}

fn with(field: &str, value: Value) -> Value {
    let mut job = least();
    job[field] = value;
    job
}

#[test]
fn the_least_job_takes_the_defaults() {
    let ch = challenge(&least());
    assert_eq!(
        (&*ch.id, &*ch.tenant, &*ch.locale),
        ("a-1", "default", "en-US")
    );
    assert_eq!(ch.to.unwrap().e164(), "+14255550100");
    assert_eq!(
        (ch.method, ch.until, ch.expect),
        (Method::SmsCode, Until::Delivered, Expect::Code)
    );
    assert_eq!((ch.issued, ch.deadline), (NOW, Millis(NOW.0 + 180_000)));
    assert!(ch.code_made && ch.code.as_ref().unwrap().reveal().len() == 6);
    assert!(ch.user.is_none() && ch.reply_to.is_none() && ch.meta.is_empty());
}

#[test]
fn what_is_left_at_its_default_is_one_text_for_all() {
    let (one, other) = (challenge(&least()), challenge(&least()));
    assert!(Arc::ptr_eq(&one.tenant, &other.tenant));
    assert!(Arc::ptr_eq(&one.locale, &other.locale));
}

#[test]
fn the_fullest_job_keeps_everything() {
    let ch = challenge(&json!({
        "v": 1, "id": "A.b_c:d-9", "to": "070-174 06 05", "region": "se", "extension": "204",
        "method": "voice_pin", "expect": "yes", "fallback": [{ "method": "sms_code", "after_s": 30 }],
        "until": "verified", "code": "4711", "pin": "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b7d",
        "text": "Your code is {code}", "locale": "sv-SE", "lifetime_s": 900,
        "issued_at": "2027-01-15T09:00:00+01:00", "tenant": "bank", "user": "u-7",
        "caller_id": "+18553308653", "meta": { "name": "Ada", "shoe_size": "38" }
    }));
    assert_eq!(ch.to.unwrap().e164(), "+46701740605");
    assert_eq!(ch.country.unwrap().as_str(), "SE");
    assert_eq!(ch.extension.as_deref(), Some("204"));
    assert_eq!(ch.fallback[0].after.as_secs(), 30);
    assert_eq!(ch.code.as_ref().unwrap().reveal(), "4711");
    assert!(!ch.code_made);
    assert_eq!(ch.issued, Millis(1_800_000_000_000));
    assert_eq!(ch.deadline.0 - ch.issued.0, 900_000);
    assert_eq!(ch.caller_id.unwrap().e164(), "+18553308653");
    assert_eq!(
        ch.meta.keys().map(|k| &**k).collect::<Vec<_>>(),
        ["name"],
        "the allow-list"
    );
}

#[test]
fn all_faults_come_at_once_and_repeat_no_value() {
    let job = json!({
        "v": 2, "id": "a b", "region": "SWE", "extension": "12a", "method": "fax", "expect": "no",
        "fallback": [{ "method": "sms_code", "after_s": -1 }, { "after_s": 1, "more": 1 }], "until": "ever",
        "code": "123", "pin": "1234", "text": "", "locale": "en_US", "lifetime_s": 9, "issued_at": "yesterday",
        "tenant": "", "user": "", "caller_id": "0701740605", "meta": { "name": 5 }, "colour": "+14255550100"
    });
    let told = faults(job.to_string().as_bytes());
    let mut names: Vec<&str> = told.iter().map(|(field, _)| field.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "caller_id",
            "code",
            "colour",
            "expect",
            "extension",
            "fallback[0].after_s",
            "fallback[1].method",
            "fallback[1].more",
            "id",
            "issued_at",
            "lifetime_s",
            "locale",
            "meta.name",
            "method",
            "pin",
            "region",
            "tenant",
            "text",
            "to",
            "until",
            "user",
            "v"
        ]
    );
    for (field, reason) in &told {
        for secret in ["0701740605", "14255550100", "1234", "yesterday"] {
            assert!(
                !field.contains(secret) && !reason.contains(secret),
                "{field}: {reason}"
            );
        }
    }
}

#[test]
fn wrong_types_and_what_stands_twice_are_faults() {
    for field in [
        "id",
        "to",
        "method",
        "text",
        "locale",
        "tenant",
        "user",
        "code",
        "issued_at",
    ] {
        for value in [json!(5), json!(true), json!([]), json!({})] {
            assert_eq!(fields(&with(field, value)), [field]);
        }
    }
    for field in ["v", "lifetime_s"] {
        for value in [json!("180"), json!(180.5), json!(u64::MAX), json!([1])] {
            assert_eq!(fields(&with(field, value)), [field]);
        }
    }
    assert_eq!(fields(&with("fallback", json!({}))), ["fallback"]);
    assert_eq!(
        fields(&with("fallback", json!(["sms_code"]))),
        ["fallback[0]"]
    );
    assert_eq!(fields(&with("meta", json!([]))), ["meta"]);
    assert_eq!(fields(&with("verified", json!(true))), ["verified"]);
    let twice =
        br#"{"id":"a","id":"a","to":"+14255550100","method":"sms_code","meta":{"x":"1","x":"2"}}"#;
    let mut told = faults(twice);
    told.sort();
    assert_eq!(
        told,
        [
            ("id".to_owned(), "stands twice".to_owned()),
            ("meta.x".to_owned(), "stands twice".to_owned())
        ]
    );
}

#[test]
fn null_is_the_same_as_absent() {
    assert_eq!(
        challenge(&with("user", Value::Null)).content,
        challenge(&least()).content
    );
    assert_eq!(fields(&with("to", Value::Null)), ["to"]);
}

#[test]
fn what_is_no_json_object_says_so() {
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"17",
        b"\"x\"",
        b"{}}",
        b"\xff\xfe",
        b"{\"id\": \"\xff\"}",
        b"nul",
        b"{\"id\":\"\\ud800\"}",
    ] {
        let told = faults(body);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "body", "{body:?}");
    }
    let deep = [b"[".repeat(30_000), b"]".repeat(30_000)].concat();
    assert_eq!(faults(&deep)[0].0, "body");
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(BODY));
    assert_eq!(
        faults(long.as_bytes()),
        [("body".to_owned(), "longer than 64 KiB".to_owned())]
    );
}

#[test]
fn bounds_hold_on_both_sides() {
    for (field, good, bad) in [
        (
            "id",
            vec![json!("x"), json!("x".repeat(128))],
            vec![json!(""), json!("x".repeat(129)), json!("é")],
        ),
        (
            "code",
            vec![json!("0000"), json!("0123456789")],
            vec![json!("01234567890"), json!("12x4"), json!("١٢٣٤")],
        ),
        (
            "lifetime_s",
            vec![json!(10), json!(900)],
            vec![json!(9), json!(901), json!(-1)],
        ),
        (
            "locale",
            vec![json!("de"), json!("zh-Hant-TW"), json!("x-own")],
            vec![json!("e"), json!("en-"), json!("x"), json!("12")],
        ),
        ("v", vec![json!(1)], vec![json!(0), json!(2)]),
        (
            "issued_at",
            vec![
                json!("2027-01-15T08:00:00Z"),
                json!("2027-01-15T08:00:00.5+02:00"),
            ],
            vec![
                json!("2027-01-15T08:00:00"),
                json!("1800000000"),
                json!("2027-13-01T00:00:00Z"),
            ],
        ),
        (
            "extension",
            vec![json!("1")],
            vec![json!(""), json!("1".repeat(21))],
        ),
        (
            "region",
            vec![json!("SE"), json!("us")],
            vec![json!(""), json!("S"), json!("S1")],
        ),
        (
            "caller_id",
            vec![json!("+18553308653")],
            vec![json!("18553308653"), json!("+0")],
        ),
    ] {
        for value in good {
            challenge(&with(field, value));
        }
        for value in bad {
            assert_eq!(fields(&with(field, value.clone())), [field], "{value}");
        }
    }
}

#[test]
fn a_pin_is_a_hash_of_a_known_kind() {
    for pin in [
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "$pbkdf2-sha256$i=600000,l=32$c2FsdHNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
    ] {
        challenge(&with("pin", json!(pin)));
    }
    for pin in [
        "1234",
        "",
        "$",
        "$argon2id",
        "$argon2id$c2FsdA",
        "$argon2i$v=19$m=1,t=1,p=1$c2FsdA$wWKIMhR9lyDFvRz9",
        "$md5$c2FsdA$wWKIMhR9lyDFvRz9",
        "$argon2id$v=19$m=1$$",
        "$scrypt$ln=16$c2FsdA$1234",
    ] {
        assert_eq!(fields(&with("pin", json!(pin))), ["pin"], "{pin}");
    }
}

#[test]
fn a_number_that_is_none_is_no_bad_job() {
    for to in [
        "",
        "hello",
        "+1425555\u{7}0100",
        "070-174 06 05",
        "+1425555\n0100",
    ] {
        let ch = challenge(&with("to", json!(to)));
        assert!(ch.to.is_none(), "{to}");
        assert_eq!(
            ch.refused.unwrap().reason.as_str(),
            "invalid_number",
            "{to}"
        );
    }
    let emergency = challenge(&with("to", json!("112")));
    assert!(emergency.refused.is_some());
}

#[test]
fn a_start_ahead_of_the_clock_counts_as_now() {
    let at = |ahead: i64| {
        let job = with("issued_at", json!(Millis(NOW.0 + ahead).rfc3339()));
        challenge(&job).issued.0 - NOW.0
    };
    assert_eq!((at(-9_000), at(5_000), at(5_001)), (-9_000, 5_000, 0));
}

#[test]
fn codes_are_made_only_where_one_is_needed() {
    let made = |job: Value| challenge(&job).code.is_some();
    assert!(made(with("method", json!("voice_code"))));
    assert!(!made(with("method", json!("voice_confirm"))));
    assert!(made(with("method", json!("sms_reply"))));
    let mut yes = with("method", json!("sms_reply"));
    yes["expect"] = json!("yes");
    assert!(!made(yes));
    let mut later = with("method", json!("voice_confirm"));
    later["fallback"] = json!([{ "method": "sms_code", "after_s": 0 }]);
    assert!(made(later.clone()));
    // A text without a place for it carries none.
    assert!(!made(with("text", json!("Call us, please."))));
    assert!(made(with("text", json!("Your code is {code}."))));
    later["text"] = json!("Call us, please.");
    assert!(!made(later.clone()));
    later["method"] = json!("voice_code");
    assert!(made(later), "the call reads it out");
}

#[test]
fn a_text_holds_no_control_character_but_lf() {
    let text = |text: &str| {
        read(
            JobKind::Challenge,
            with("text", json!(text)).to_string().as_bytes(),
        )
    };
    for good in ["a\nb {code}", "\n", "{code} \u{2019}\u{1f600}\u{200f}"] {
        assert!(text(good).is_ok(), "{good:?}");
    }
    for bad in [
        "\0", "\u{1b}", "\u{7}", "\r\n", "\t", "\u{7f}", "\u{85}", "\u{9b}",
    ] {
        for text in [
            format!("{bad}{{code}}"),
            format!("{{code}}{bad}"),
            bad.to_owned(),
        ] {
            assert_eq!(fields(&with("text", json!(text))), ["text"], "{text:?}");
        }
    }
    let told = faults(with("text", json!("a\r\nb")).to_string().as_bytes());
    assert!(told[0].1.contains("U+000D"), "{told:?}");
}

#[test]
fn a_text_takes_at_most_the_configured_segments() {
    let most = |text: String| faults_or_none(&with("text", json!(text)));
    // Four segments of GSM 7-bit with a code of six digits in the place of six characters; then one more.
    assert_eq!(most(format!("{}{{code}}", "x".repeat(4 * 153 - 6))), None);
    let reason = most(format!("{}{{code}}", "x".repeat(4 * 153 - 5)));
    assert_eq!(
        reason.as_deref(),
        Some("takes 5 segments, at most 4 are sent ([jobs] max_segments)")
    );
    // One character outside of the alphabet, and it holds less than half.
    assert_eq!(most(format!("\u{2019}{}", "x".repeat(4 * 67 - 1))), None);
    assert!(most(format!("\u{2019}{}", "x".repeat(4 * 67))).is_some());
    assert!(most("x".repeat(5_000)).is_some_and(|reason| reason.contains("33 segments")));
    // Each place takes the whole code.
    let mut long = with("text", json!("{code}".repeat(90)));
    long["code"] = json!("1234567890");
    assert!(faults_or_none(&long).is_some());
}

/// What is wrong with the text, if anything.
fn faults_or_none(job: &Value) -> Option<String> {
    let bad = read(JobKind::Challenge, job.to_string().as_bytes()).err()?;
    assert_eq!(bad.faults.len(), 1);
    assert_eq!(bad.faults[0].field, "text");
    Some(bad.faults[0].reason.clone())
}

#[test]
fn the_same_meaning_has_the_same_content() {
    let base = challenge(&least()).content;
    let same = [
        r#"{"method":"sms_code","to":"+1 (425) 555-0100","id":"a-1","v":1}"#,
        r#"{"id":"a-1","to":"+14255550100","method":"sms_code","until":"delivered","expect":"code",
            "fallback":[],"lifetime_s":180,"locale":"EN-us","tenant":"default","meta":{}}"#,
        r#"{"id":"a-1","to":"(425) 555-0100","region":"US","method":"sms_code"}"#,
    ];
    for body in same {
        let Ok(Job::Challenge(ch)) = read(JobKind::Challenge, body.as_bytes()) else {
            panic!("{body}")
        };
        assert_eq!(ch.content, base, "{body}");
    }
    for (field, value) in [
        ("to", json!("+14255550101")),
        ("method", json!("voice_code")),
        ("code", json!("123456")),
        ("text", json!("x")),
        ("user", json!("u")),
        ("lifetime_s", json!(181)),
        ("until", json!("verified")),
        ("meta", json!({ "name": "x" })),
        ("extension", json!("1")),
        ("locale", json!("en-GB")),
        ("issued_at", json!("2027-01-15T08:00:00Z")),
        ("caller_id", json!("+18553308653")),
        ("fallback", json!([{ "method": "sms_code", "after_s": 0 }])),
    ] {
        assert_ne!(challenge(&with(field, value)).content, base, "{field}");
    }
}

#[test]
fn control_words_are_short() {
    assert!(matches!(
        read(JobKind::Cancel, br#"{"v":1,"id":"a","tenant":"t"}"#),
        Ok(Job::Cancel { tenant, id }) if &*tenant == "t" && &*id == "a"
    ));
    assert!(matches!(
        read(JobKind::Feedback, br#"{"id":"a","verified":false}"#),
        Ok(Job::Feedback {
            verified: false,
            ..
        })
    ));
    let bad = |kind, body: &[u8]| read(kind, body).unwrap_err().faults[0].field.clone();
    assert_eq!(bad(JobKind::Feedback, br#"{"id":"a"}"#), "verified");
    assert_eq!(
        bad(JobKind::Cancel, br#"{"id":"a","verified":true}"#),
        "verified"
    );
    assert_eq!(
        bad(JobKind::Cancel, br#"{"id":"a","to":"+14255550100"}"#),
        "to"
    );
    assert_eq!(bad(JobKind::Cancel, b"{}"), "id");
    let strange = parse_typed(
        Some("order"),
        b"{}",
        Properties::http(),
        NOW,
        &Settings::default().jobs,
    );
    assert_eq!(strange.unwrap_err().faults[0].field, "type");
}

#[test]
fn reply_to_is_never_a_queue_of_ours() {
    let mut jobs = Settings::default().jobs;
    jobs.amqp = Some(Amqp::at("amqp://localhost"));
    let body = least().to_string();
    let reply = |queue: &str| {
        let properties = Properties {
            door: Origin::Amqp,
            reply_to: Some(queue.into()),
            correlation_id: Some("c".into()),
        };
        parse(JobKind::Challenge, body.as_bytes(), properties, NOW, &jobs)
    };
    for own in ["ringback.jobs", "ringback.control", "ringback.dead"] {
        assert_eq!(reply(own).unwrap_err().faults[0].field, "reply_to");
    }
    let Ok(Job::Challenge(ch)) = reply("answers") else {
        panic!()
    };
    assert_eq!(&*ch.reply_to.unwrap().queue, "answers");
}

proptest! {
    #[test]
    fn no_octets_break_it(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(JobKind::Challenge, &body);
        let _ = read(JobKind::Feedback, &body);
    }

    /// The short way and the long one agree on what is sound.
    #[test]
    fn an_unknown_field_changes_nothing_else(id in "[a-z]{1,9}", life in 0_i64..1_000, code in "[0-9]{2,12}") {
        let mut job = json!({ "id": id, "to": "+14255550100", "method": "sms_code", "lifetime_s": life, "code": code });
        let short = match read(JobKind::Challenge, job.to_string().as_bytes()) {
            Ok(_) => Vec::new(),
            Err(bad) => bad.faults,
        };
        job["zzz"] = json!(1);
        let mut long = read(JobKind::Challenge, job.to_string().as_bytes()).unwrap_err().faults;
        long.retain(|f| f.field != "zzz");
        prop_assert_eq!(short, long);
    }
}
