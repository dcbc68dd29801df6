//! The seams: ids told again, nobody who publishes, many who wait, and ends that come at a bad time.

use std::time::Duration;

use ringback::{
    challenge::{Challenge, Method},
    config::Config,
    core::Unobserved,
    gateway::Prepared,
    intake::{Answer, Arrival, Job, Ticket},
};
use simulators::script::Faults;
use tokio::sync::oneshot;

use crate::world::{LIMIT, Plan, World, challenge};

/// Hands it in and waits for what the door is told.
async fn answer(doors: &ringback::intake::IntakeHandle, ch: Challenge) -> Answer {
    let (ticket, answered) = oneshot::channel();
    let arrival = Arrival {
        job: Job::Challenge(Box::new(ch)),
        ticket: Ticket::Http(ticket),
    };
    doors
        .jobs
        .send(arrival)
        .await
        .expect("the gateway takes jobs");
    tokio::time::timeout(LIMIT, answered)
        .await
        .expect("an answer in time")
        .expect("no ticket is dropped")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_refused_at_once_is_answered_when_it_comes_again() {
    let w = World::with(Plan::default()).await;
    let first = w.ask(challenge("r-1", "garbage", Method::SmsCode)).await;
    assert_eq!(first["event"], "rejected");
    let again = answer(
        &w.gateway.intake,
        challenge("r-1", "garbage", Method::SmsCode),
    )
    .await;
    assert!(
        matches!(again, Answer::Again { last: Some(_) }),
        "{again:?}"
    );
    let told = w
        .caller
        .until("r-1", |heard| {
            heard.iter().filter(|r| r["final"] == true).nth(1).cloned()
        })
        .await;
    assert_eq!(told["report_id"], first["report_id"]);
    let mut other = challenge("r-1", "garbage", Method::SmsCode);
    other.content = [7; 32];
    let conflict = answer(&w.gateway.intake, other).await;
    assert!(matches!(conflict, Answer::Conflict), "{conflict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_broker_takes_jobs() {
    let w = World::with(Plan::default()).await;
    let folder = &w.folder;
    folder.write(
        "alone.toml",
        &std::fs::read_to_string(folder.0.join("ringback.toml"))
            .expect("the settings")
            .replace("[node]", "[ledger]\nurl = \"sqlite:alone.db\"\n[node]"),
    );
    let config = Config::load(&folder.0.join("alone.toml")).expect("a configuration");
    let prepared = Prepared::open(config, Box::new(Unobserved)).expect("a gateway");
    let gateway = prepared.start(None).await.expect("a running gateway");
    let taken = answer(
        &gateway.intake,
        challenge("h-1", "+12025550123", Method::SmsCode),
    )
    .await;
    assert!(matches!(taken, Answer::Taken), "{taken:?}");
    gateway.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_dead_carrier_hold_up_nobody() {
    let plan = Plan {
        faults: [("litware", dead as fn(&mut Faults))].into(),
        ..Plan::default()
    };
    let w = World::with(plan).await;
    w.smsc["northwind"]
        .faults()
        .change(|f| f.error.often = simulators::script::Often::ALWAYS);
    // Refused by the one carrier, they wait for the other, which is gone.
    for n in 0..12 {
        let number = format!("+1202555{:04}", 200 + n);
        w.send(challenge(&format!("w-{n}"), &number, Method::SmsCode))
            .await;
    }
    for n in 0..12 {
        w.caller
            .until(&format!("w-{n}"), |heard| {
                heard
                    .iter()
                    .find(|r| r["event"] == "attempt_failed")
                    .cloned()
            })
            .await;
    }
    w.smsc["northwind"].faults().set(Faults::default());
    let last = w
        .ask(challenge("w-x", "+12025550123", Method::SmsCode))
        .await;
    assert_eq!(last["event"], "delivered", "{last:#}");
}

fn dead(faults: &mut Faults) {
    faults.down = true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_outlives_a_drain() {
    let w = World::with(Plan::default()).await;
    w.send(challenge("d-1", "+12025559024", Method::VoiceConfirm))
        .await;
    w.caller
        .until("d-1", |heard| {
            heard.iter().find(|r| r["event"] == "answered").cloned()
        })
        .await;
    let World {
        gateway,
        record,
        caller,
        ..
    } = w;
    let begun = std::time::Instant::now();
    gateway.drain(Duration::from_secs(2)).await;
    let talked = begun.elapsed();
    assert!(talked >= Duration::from_secs(2), "cut after {talked:?}");
    let ended = record.calls_to("+12025559024");
    assert_eq!(ended.len(), 1, "hung up before the process ends: {ended:?}");
    assert_eq!(caller.last("d-1").await["event"], "undelivered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_ledger_is_gone_says_that_it_is_over() {
    let w = World::with(Plan::default()).await;
    let over = w.gateway.over();
    assert!(!over.is_cancelled());
    w.gateway.ledger.clone().close().await;
    tokio::time::timeout(LIMIT, over.cancelled())
        .await
        .expect("noticed");
}
