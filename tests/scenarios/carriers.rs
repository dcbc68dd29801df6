//! Carriers that go down, come back, are full, and are changed while traffic runs.

use std::time::{Duration, Instant};

use ringback::{
    challenge::Method,
    config::reload::{ReloadOutcome, Reloader},
    dispatch::{CarrierView, Query},
    intake::{Arrival, Job, Ticket},
};
use serde_json::Value;
use simulators::script::{Faults, Often};
use tokio::sync::oneshot;

use crate::world::{LIMIT, Plan, World, challenge, then};

pub async fn carriers(w: &World) -> Vec<CarrierView> {
    let (ask, answer) = oneshot::channel();
    w.gateway
        .queries
        .send(Query::Carriers(ask))
        .await
        .expect("dispatch is there");
    answer.await.expect("dispatch answers")
}

pub async fn until_state(w: &World, name: &str, state: &str) {
    let began = Instant::now();
    loop {
        let all = carriers(w).await;
        if all.iter().any(|c| &*c.name == name && c.state == state) {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{name} is never {state}: {all:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends texts one after another until one goes by this carrier; none may fail on the way.
async fn until_by(w: &World, carrier: &str, stem: &str, limit: Duration) -> usize {
    let began = Instant::now();
    for n in 0.. {
        let number = format!("+1202555{:04}", 100 + n);
        let last = w
            .ask(challenge(&format!("{stem}-{n}"), &number, Method::SmsCode))
            .await;
        assert_eq!(last["event"], "delivered", "{last:#}");
        if last["carrier"] == carrier {
            return n;
        }
        assert!(
            began.elapsed() < limit,
            "traffic is not on {carrier} after {limit:?}"
        );
    }
    unreachable!("the loop ends above")
}

async fn outage(name: &str, fault: fn(&mut Faults), heal: bool) {
    let plan = Plan {
        extra: [(
            "northwind",
            "response_timeout = \"1s\"\nprobe = \"1s\"".to_owned(),
        )]
        .into(),
        ..Plan::default()
    };
    let w = World::with(plan).await;
    until_state(&w, "northwind", "healthy").await;
    until_by(&w, "northwind", &format!("{name}-a"), LIMIT).await;
    w.smsc["northwind"].faults().change(fault);
    until_by(&w, "litware", &format!("{name}-b"), Duration::from_secs(10)).await;
    if heal {
        w.smsc["northwind"].faults().set(Faults::default());
        until_by(&w, "northwind", &format!("{name}-c"), LIMIT).await;
        until_state(&w, "northwind", "healthy").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_is_down_is_left_and_comes_back() {
    outage("down", |f| f.down = true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_is_silent_is_left_and_comes_back() {
    outage("silent", |f| f.silent = true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_throttles_everything_is_left() {
    outage("full", |f| f.throttle = Often::Share(1.0), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_call() {
    let w = World::with(Plan::default()).await;
    w.send(challenge("k-1", "+12025559021", Method::VoiceConfirm))
        .await;
    w.caller
        .until("k-1", |heard| {
            heard.iter().find(|r| r["event"] == "ringing").cloned()
        })
        .await;
    let cancel = Arrival {
        job: Job::Cancel {
            tenant: "default".into(),
            id: "k-1".into(),
        },
        ticket: Ticket::None,
    };
    w.gateway
        .intake
        .control
        .send(cancel)
        .await
        .expect("the gateway takes words");
    let last = w.caller.last("k-1").await;
    assert_eq!(last["event"], "cancelled", "{last:#}");
    let line = w
        .record
        .wait_for(LIMIT, |line| line.entry.call().is_some())
        .await;
    assert!(line.is_some(), "the call has ended at the phone");
    assert_eq!(w.trunks["fabrikam"].live_calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_comes_first_is_remembered() {
    let w = World::with(Plan::default()).await;
    let (ticket, answer) = oneshot::channel();
    let cancel = Arrival {
        job: Job::Cancel {
            tenant: "default".into(),
            id: "e-1".into(),
        },
        ticket: Ticket::Http(ticket),
    };
    w.gateway
        .intake
        .control
        .send(cancel)
        .await
        .expect("the gateway takes words");
    answer.await.expect("answered");
    let last = w
        .ask(challenge("e-1", "+12025550123", Method::SmsCode))
        .await;
    assert_eq!(last["event"], "cancelled", "{last:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_verifies_an_open_challenge_and_is_kept_after_it() {
    let w = World::with(Plan::default()).await;
    let mut ch = challenge("fb-1", "+12025550123", Method::SmsCode);
    ch.until = ringback::challenge::Until::Verified;
    w.send(ch).await;
    w.caller
        .until("fb-1", |heard| {
            heard.iter().find(|r| r["event"] == "sent").cloned()
        })
        .await;
    let feedback = |verified| Arrival {
        job: Job::Feedback {
            tenant: "default".into(),
            id: "fb-1".into(),
            verified,
        },
        ticket: Ticket::None,
    };
    w.gateway
        .intake
        .control
        .send(feedback(true))
        .await
        .expect("the gateway takes words");
    let last = w.caller.last("fb-1").await;
    assert_eq!(
        (&last["event"], &last["result"]),
        (&"verified".into(), &"success".into()),
        "{last:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fallback_starts_by_time() {
    let w = World::with(Plan::default()).await;
    let ch = challenge("ft-1", "+12025559002", Method::SmsCode);
    let ch = then(ch, Method::VoiceConfirm, Duration::from_secs(1));
    let last = w.ask(ch).await;
    assert_eq!(last["event"], "confirmed", "{last:#}");
    assert_eq!(last["attempts"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_are_used_evenly() {
    let w = World::with(Plan::default()).await;
    until_state(&w, "northwind", "healthy").await;
    let mut ids = Vec::new();
    for n in 0..40 {
        let id = format!("ev-{n}");
        w.send(challenge(
            &id,
            &format!("+1202555{:04}", 100 + n),
            Method::SmsCode,
        ))
        .await;
        ids.push(id);
    }
    let mut shown = std::collections::BTreeMap::<String, usize>::new();
    for id in ids {
        let last = w.caller.last(&id).await;
        *shown
            .entry(last["sender"].as_str().unwrap_or("").to_owned())
            .or_default() += 1;
    }
    assert_eq!(
        shown.values().copied().collect::<Vec<_>>(),
        [10, 10, 10, 10],
        "{shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_route_takes_effect_and_sessions_stay() {
    let mut w = World::with(Plan::default()).await;
    until_by(&w, "northwind", "rl-a", LIMIT).await;
    let mut reloader = Reloader::new(w.gateway.config());
    w.folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"litware\"\nsenders = [\"67671\"]\n",
    );
    assert!(
        matches!(reloader.read(false), ReloadOutcome::Faulty { .. }),
        "a sender that nobody has leased"
    );
    let last = w
        .ask(challenge("rl-b", "+12025550999", Method::SmsCode))
        .await;
    assert_eq!(last["carrier"], "northwind", "the old set is in force");
    w.folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"litware\"\nsenders = [\"97671\"]\n[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n",
    );
    let ReloadOutcome::New(new) = reloader.read(false) else {
        panic!("a good set is taken")
    };
    let ready = w.gateway.prepare(new.config).await.expect("ready");
    w.gateway.commit(ready).await;
    let last = w
        .ask(challenge("rl-c", "+12025550998", Method::SmsCode))
        .await;
    assert_eq!(
        (&last["carrier"], &last["sender"]),
        (&Value::from("litware"), &Value::from("97671")),
        "{last:#}"
    );
}
