//! Calls over SIP and RTP: what the person heard and pressed, and what was reported.

use ringback::challenge::Method;
use serde_json::Value;

use crate::world::{LIMIT, Plan, World, challenge};

async fn call_to(w: &World, number: &str) -> simulators::record::Call {
    let line = w
        .record
        .wait_for(LIMIT, |line| {
            line.entry
                .call()
                .is_some_and(|c| c.to.ends_with(&number[1..]))
        })
        .await
        .unwrap_or_else(|| panic!("no call to {number}: {:?}", w.record.lines()));
    line.entry.call().cloned().expect("a call")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_presses_the_pound_key() {
    let w = World::with(Plan {
        ear: true,
        ..Plan::default()
    })
    .await;
    let last = w
        .ask(challenge("c-1", "+12025550123", Method::VoiceConfirm))
        .await;
    assert_eq!(
        (&last["event"], &last["result"]),
        (&"confirmed".into(), &"success".into()),
        "{last:#}"
    );
    assert_eq!(last["digits"], "#");
    assert_eq!(last["caller_id"]["sent"], "+18553308653");
    let call = call_to(&w, "+12025550123").await;
    assert_eq!(call.shown, "+18553308653", "{call:?}");
    assert_eq!(Value::from(call.call_id), last["reference"]);
    assert!(
        call.heard.iter().any(|h| h.clip == "greeting"),
        "{:?}",
        call.heard
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_read_only_after_a_key() {
    let w = World::with(Plan {
        ear: true,
        ..Plan::default()
    })
    .await;
    let last = w
        .ask(challenge("c-2", "+12025550123", Method::VoiceCode))
        .await;
    assert_eq!(last["event"], "delivered", "{last:#}");
    let call = call_to(&w, "+12025550123").await;
    assert!(call.digits_heard.starts_with("482913"), "{call:?}");

    let last = w
        .ask(challenge("c-3", "+12025559024", Method::VoiceCode))
        .await;
    assert_eq!(
        (&last["event"], &last["reason"]),
        (&"undelivered".into(), &"no_keypress".into()),
        "{last:#}"
    );
    let call = call_to(&w, "+12025559024").await;
    assert_eq!(call.digits_heard, "", "no code before a key press");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_with_a_call_is_told() {
    let w = World::with(Plan::default()).await;
    for (n, (number, event, reason)) in [
        ("+12025559020", "undelivered", "busy"),
        ("+12025559021", "undelivered", "no_answer"),
        ("+12025559022", "undelivered", "declined"),
        ("+12025559027", "undelivered", "unreachable"),
        ("+12025559025", "confirmed", "confirmed"),
        ("+12025559032", "confirmed", "confirmed"),
        ("+12025559033", "confirmed", "confirmed"),
        ("+12025559034", "confirmed", "confirmed"),
        ("+12025559038", "confirmed", "confirmed"),
    ]
    .into_iter()
    .enumerate()
    {
        let last = w
            .ask(challenge(&format!("p-{n}"), number, Method::VoiceConfirm))
            .await;
        assert_eq!(
            (&last["event"], &last["reason"]),
            (&event.into(), &reason.into()),
            "{number}: {last:#}"
        );
    }
}
