//! Texts over SMPP, with what can go wrong.

use std::time::Duration;

use ringback::challenge::Method;
use serde_json::Value;

use crate::world::{LIMIT, Plan, World, challenge, life, run, then};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_arrives_with_its_code_and_is_reported_delivered() {
    let w = World::with(Plan::default()).await;
    let last = w
        .ask(challenge("t-1", "+12025550123", Method::SmsCode))
        .await;
    assert_eq!(
        (&last["event"], &last["result"]),
        (&"delivered".into(), &"undetermined".into()),
        "{last:#}"
    );
    assert_eq!(w.caller.events("t-1"), ["accepted", "sent", "delivered"]);
    let text = w.text_to("+12025550123");
    assert!(text.text.contains("482913"), "{text:?}");
    assert_eq!(
        last["attempts"][0]["sender"],
        Value::from(text.from.clone())
    );
    assert_eq!(last["reference"], Value::from(text.reference.clone()));
    assert!(
        text.validity_s.is_some_and(|s| (100..=185).contains(&s)),
        "{text:?}"
    );
    w.no_protocol_errors();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_every_kind_find_their_text() {
    let w = World::with(Plan::default()).await;
    // Early, double, id in the TLV only, an intermediate one first.
    for (n, number) in [
        "+12025559004",
        "+12025559005",
        "+12025559011",
        "+12025559013",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("r-{n}");
        let last = w.ask(challenge(&id, number, Method::SmsCode)).await;
        assert_eq!(last["event"], "delivered", "{number}: {last:#}");
    }
    w.no_protocol_errors();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_network_refuses_is_told_as_it_is() {
    let w = World::with(Plan::default()).await;
    let off = w
        .ask(challenge("n-1", "+12025559001", Method::SmsCode))
        .await;
    assert_eq!(off["event"], "undelivered", "{off:#}");
    let wrong = w
        .ask(challenge("n-2", "+12025559006", Method::SmsCode))
        .await;
    assert_eq!(
        (&wrong["event"], &wrong["reason"]),
        (&"failed".into(), &"invalid_number".into()),
        "{wrong:#}"
    );
    let silent = life(
        challenge("n-3", "+12025559002", Method::SmsCode),
        Duration::from_secs(3),
    );
    let silent = w.ask(silent).await;
    assert_eq!(
        (&silent["event"], &silent["reason"]),
        (&"unconfirmed".into(), &"no_receipt".into()),
        "{silent:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_drops_the_session_leaves_a_doubt_and_one_hedge() {
    let w = World::with(Plan::default()).await;
    let last = w
        .ask(challenge("d-1", "+12025559008", Method::SmsCode))
        .await;
    let attempts = last["attempts"].as_array().expect("attempts");
    assert!(attempts[0]["in_doubt"] == true, "{last:#}");
    assert!(
        attempts.len() <= 2 && attempts[1..].iter().all(|a| a["hedge"] == true),
        "{last:#}"
    );
    assert!(
        ["delivered", "unconfirmed"].contains(&last["event"].as_str().unwrap_or("")),
        "{last:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_first_carrier_costs_no_challenge() {
    let plan = Plan {
        faults: [("northwind", down as fn(&mut _))].into(),
        ..Plan::default()
    };
    let w = World::with(plan).await;
    let last = w
        .ask(challenge("f-1", "+12025550123", Method::SmsCode))
        .await;
    assert_eq!(last["event"], "delivered", "{last:#}");
    assert_eq!(last["carrier"], "litware", "{last:#}");
}

fn down(faults: &mut simulators::script::Faults) {
    faults.down = true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sixth_in_five_minutes_is_refused() {
    let w = World::with(Plan::default()).await;
    for n in 1..=5 {
        let last = w
            .ask(challenge(
                &format!("s-{n}"),
                "+12025550123",
                Method::SmsCode,
            ))
            .await;
        assert_eq!(last["event"], "delivered", "{last:#}");
    }
    // The same id again is no new challenge.
    w.send(challenge("s-5", "+12025550123", Method::SmsCode))
        .await;
    let last = w
        .ask(challenge("s-6", "+12025550123", Method::SmsCode))
        .await;
    assert_eq!(
        (&last["event"], &last["reason"]),
        (&"rejected".into(), &"too_many_attempts".into())
    );
    assert_eq!(w.record.texts_to("+12025550123").len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_again_takes_another_way() {
    let w = World::with(Plan::default()).await;
    let first = w
        .ask(challenge("a-1", "+12025550123", Method::SmsCode))
        .await;
    let second = w
        .ask(challenge("a-2", "+12025550123", Method::SmsCode))
        .await;
    assert_ne!(first["carrier"], second["carrier"], "{first:#}\n{second:#}");
    assert_eq!(second["why"], "retry_avoids");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_numbers_never_reach_a_carrier() {
    let w = World::with(Plan::default()).await;
    for (n, (number, reason)) in [
        ("garbage", "invalid_number"),
        ("+46850550123", "number_type"),
        ("+19002345678", "number_type"),
    ]
    .into_iter()
    .enumerate()
    {
        let last = w
            .ask(challenge(&format!("x-{n}"), number, Method::SmsCode))
            .await;
        assert_eq!(
            (&last["event"], &last["reason"]),
            (&"rejected".into(), &reason.into()),
            "{number}: {last:#}"
        );
        assert_eq!(last["billable"], false);
    }
    assert_eq!(w.record.summary().texts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_told_twice_is_sent_once_and_told_its_final_again() {
    let w = World::with(Plan::default()).await;
    let first = w
        .ask(challenge("i-1", "+12025550123", Method::SmsCode))
        .await;
    w.send(challenge("i-1", "+12025550123", Method::SmsCode))
        .await;
    let again = w
        .caller
        .until("i-1", |heard| {
            heard.iter().filter(|r| r["final"] == true).nth(1).cloned()
        })
        .await;
    assert_eq!(first["report_id"], again["report_id"]);
    w.text_to("+12025550123");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_fails_becomes_a_call() {
    let w = World::with(Plan::default()).await;
    let ch = then(
        challenge("v-1", "+12025559001", Method::SmsCode),
        Method::VoiceConfirm,
        LIMIT,
    );
    let last = w.ask(ch).await;
    assert_eq!(last["event"], "confirmed", "{last:#}");
    assert!(w.caller.events("v-1").contains(&"fallback".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_open_goes_on_after_a_restart() {
    let w = World::with(Plan::default()).await;
    // Its receipt comes late: the gateway ends in between.
    w.send(challenge("z-1", "+12025559002", Method::SmsCode))
        .await;
    w.caller
        .until("z-1", |heard| {
            heard.iter().find(|r| r["event"] == "sent").cloned()
        })
        .await;
    w.gateway.drain(Duration::from_secs(1)).await;
    let gateway = run(&w.folder, &w.caller).await;
    let (jobs, caller) = (gateway.intake.control.clone(), w.caller.clone());
    let cancel = ringback::intake::Arrival {
        job: ringback::intake::Job::Cancel {
            tenant: "default".into(),
            id: "z-1".into(),
        },
        ticket: ringback::intake::Ticket::None,
    };
    jobs.send(cancel).await.expect("the gateway takes words");
    let last = caller.last("z-1").await;
    assert_eq!(last["event"], "cancelled", "{last:#}");
    assert_eq!(w.record.texts_to("+12025559002").len(), 1, "not sent again");
    gateway.drain(Duration::from_secs(1)).await;
}
