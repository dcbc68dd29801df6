//! Calls over SIP and RTP: what the person heard and pressed, and what was reported.

use std::{collections::BTreeMap, net::UdpSocket};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_are_told_and_the_fraud_key_never_approves() {
    let w = World::with(Plan {
        ear: true,
        ..Plan::default()
    })
    .await;
    for (n, (number, event, digits, clip)) in [
        ("+12025559025", "confirmed", "5#", "wrong-key"),
        ("+12025559026", "undelivered", "575", "not-approved"),
        ("+12025559030", "undelivered", "0", "not-approved"),
    ]
    .into_iter()
    .enumerate()
    {
        let last = w
            .ask(challenge(&format!("k-{n}"), number, Method::VoiceConfirm))
            .await;
        assert_eq!(
            (&last["event"], &last["digits"]),
            (&event.into(), &digits.into()),
            "{number}: {last:#}"
        );
        let call = call_to(&w, number).await;
        assert!(
            call.heard.iter().any(|h| h.clip == clip),
            "{:?}",
            call.heard
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_asked_for_again_is_placed_once() {
    let w = World::with(Plan::default()).await;
    let ch = || challenge("c-4", "+12025550123", Method::VoiceConfirm);
    let first = w.ask(ch()).await;
    assert_eq!(first["event"], "confirmed", "{first:#}");
    // The challenge is over: that its id is known, the ledger alone can say.
    w.send(ch()).await;
    let finals = |heard: &[Value]| heard.iter().filter(|r| r["final"] == true).nth(1).cloned();
    let again = w.caller.until("c-4", finals).await;
    assert_eq!(first["report_id"], again["report_id"]);
    let next = w
        .ask(challenge("c-5", "+12025550124", Method::VoiceConfirm))
        .await;
    assert_eq!(next["event"], "confirmed", "{next:#}");
    assert_eq!(w.trunks["fabrikam"].stats().counts.invites, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_without_a_free_port_for_audio_is_passed_over() {
    // The one port for audio is somebody else's.
    let (_taken, port) = std::iter::repeat_with(|| UdpSocket::bind("127.0.0.1:0").expect("a port"))
        .map(|socket| (socket.local_addr().expect("an address").port(), socket))
        .find(|(port, _)| port % 2 == 0)
        .map(|(port, socket)| (socket, port))
        .expect("an even one");
    let rtp = format!(
        "rtp = {{ address = \"127.0.0.1\", ports = \"{port}-{}\" }}",
        port + 1
    );
    let route = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n\
                 [[voice]]\ntier = 2\ncarrier = \"contoso\"\ncaller_ids = [\"+18553308653\"]\n";
    let w = World::with(Plan {
        smsc: Vec::new(),
        trunks: vec!["fabrikam", "contoso"],
        extra: BTreeMap::from([("fabrikam", rtp)]),
        routes: BTreeMap::from([("us", route.to_owned())]),
        ..Plan::default()
    })
    .await;
    let last = w
        .ask(challenge("c-6", "+12025550123", Method::VoiceConfirm))
        .await;
    assert_eq!(last["event"], "confirmed", "{last:#}");
    let carriers: Vec<_> = last["attempts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|attempt| attempt["carrier"].clone())
        .collect();
    assert_eq!(carriers, ["fabrikam", "contoso"], "{last:#}");
    assert_eq!(w.trunks["fabrikam"].stats().counts.invites, 0);
}
