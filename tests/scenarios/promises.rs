//! The promises of the intake: durable before it is answered, bounded, fair, within the deadline, limited over a restart,
//! and on time however the wall clock is set.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ringback::{
    challenge::{Challenge, Method, Millis},
    clock,
    config::settings::Settings,
    dispatch::Query,
    intake::{
        Answer, Arrival, Job, Ticket,
        job::{self, JobKind, Properties},
    },
};
use rusqlite::Connection;
use simulators::script::{Faults, Often};
use tokio::sync::oneshot;

use crate::world::{LIMIT, Plan, World, challenge, life, run};

/// Whom a door would answer.
struct Told {
    answer: oneshot::Receiver<Answer>,
    taken: Option<Answer>,
}

/// Hands it in; the answer comes when it comes.
async fn hand_in(w: &World, job: Job) -> Told {
    let (ticket, answer) = oneshot::channel();
    let doors = &w.gateway.intake;
    let to = match job {
        Job::Challenge(_) => &doors.jobs,
        Job::Cancel { .. } | Job::Feedback { .. } => &doors.control,
    };
    let ticket = Ticket::Http(ticket);
    let sent = to.send(Arrival { job, ticket }).await;
    sent.expect("the gateway takes jobs");
    Told {
        answer,
        taken: None,
    }
}

async fn offer(w: &World, ch: Challenge) -> Told {
    hand_in(w, Job::Challenge(Box::new(ch))).await
}

async fn answer(told: Told) -> Answer {
    let told = tokio::time::timeout(LIMIT, told.answer).await;
    told.expect("an answer in time")
        .expect("no ticket is dropped")
}

/// Everything that came before has been looked at, and what it led to is durable.
async fn settled(w: &World) {
    for n in 0..3 {
        let job = Job::Cancel {
            tenant: "nobody".into(),
            id: format!("settled-{n}").into(),
        };
        answer(hand_in(w, job).await).await;
    }
}

async fn cancel(w: &World, id: &str) {
    let job = Job::Cancel {
        tenant: "default".into(),
        id: id.into(),
    };
    answer(hand_in(w, job).await).await;
}

/// How many of them have been taken by now.
fn answered(all: &mut [Told]) -> usize {
    for told in all.iter_mut().filter(|told| told.taken.is_none()) {
        told.taken = told.answer.try_recv().ok();
    }
    let taken = |told: &&Told| matches!(told.taken, Some(Answer::Taken));
    all.iter().filter(taken).count()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(LIMIT, looking).await;
    found.unwrap_or_else(|_| panic!("never {what}"));
}

/// Ids that dispatch has in hand, durable or not.
async fn in_hand(w: &World) -> Vec<String> {
    let (ask, shown) = oneshot::channel();
    let sent = w.gateway.queries.send(Query::Challenges(ask)).await;
    sent.expect("dispatch runs");
    let shown = shown.await.expect("dispatch answers");
    shown.into_iter().map(|view| view.id.to_string()).collect()
}

/// Another program that holds the ledger's write lock until it is dropped.
fn hold(w: &World) -> Connection {
    let held = Connection::open(w.folder.0.join("data/ringback.db")).expect("the ledger's file");
    held.busy_timeout(Duration::from_secs(5)).expect("patience");
    held.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    held
}

fn dead(faults: &mut Faults) {
    faults.down = true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_or_sent_before_the_ledger_holds_it() {
    let w = World::with(Plan::default()).await;
    let held = hold(&w);
    let text = challenge("p-1", "+12025550123", Method::SmsCode);
    let call = challenge("p-2", "+12025550124", Method::VoiceConfirm);
    let mut told = [offer(&w, text).await, offer(&w, call).await];
    until("taken up", async || in_hand(&w).await.len() == 2).await;
    // Time enough for whoever does not wait for the disk.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(answered(&mut told), 0);
    assert!(
        w.record.lines().is_empty(),
        "nothing has left: {:?}",
        w.record.lines()
    );
    assert_eq!(w.trunks["fabrikam"].live_calls(), 0);
    drop(held);
    for (told, id) in told.into_iter().zip(["p-1", "p-2"]) {
        assert!(matches!(answer(told).await, Answer::Taken));
        let found = w.gateway.ledger.find("default", id).await.expect("read");
        assert!(found.is_some(), "{id} was answered: the ledger holds it");
    }
    assert_eq!(w.caller.last("p-1").await["event"], "delivered");
    assert_eq!(w.caller.last("p-2").await["event"], "confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_taken_than_may_wait_unsent() {
    let w = World::with(Plan {
        settings: "[jobs]\nmax_unsent = 5\n".to_owned(),
        faults: [
            ("northwind", dead as fn(&mut Faults)),
            ("litware", dead as fn(&mut Faults)),
        ]
        .into(),
        ..Plan::default()
    })
    .await;
    let mut told = Vec::new();
    for n in 0..40 {
        let number = format!("+1202555{:04}", 200 + n);
        told.push(offer(&w, challenge(&format!("u-{n}"), &number, Method::SmsCode)).await);
    }
    settled(&w).await;
    assert_eq!(answered(&mut told), 5);
    // One of them ends unsent: its place is free for one more.
    cancel(&w, "u-0").await;
    until("a sixth", async || answered(&mut told) == 6).await;
    settled(&w).await;
    assert_eq!(answered(&mut told), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_open_than_may_be() {
    let w = World::with(Plan {
        settings: "[jobs]\nmax_open = 3\n".to_owned(),
        ..Plan::default()
    })
    .await;
    w.smsc["northwind"]
        .faults()
        .change(|f| f.no_receipts = Often::ALWAYS);
    let mut told = Vec::new();
    for n in 0..20 {
        let number = format!("+1202555{:04}", 200 + n);
        told.push(offer(&w, challenge(&format!("o-{n}"), &number, Method::SmsCode)).await);
    }
    settled(&w).await;
    assert_eq!(answered(&mut told), 3);
    cancel(&w, "o-1").await;
    until("a fourth", async || answered(&mut told) == 4).await;
    settled(&w).await;
    assert_eq!(answered(&mut told), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_tenant_does_not_make_the_others_wait() {
    let w = World::with(Plan {
        settings: "[jobs]\nmax_unsent = 8\n[limits]\nchallenges_per_number = false\n".to_owned(),
        extra: [
            ("northwind", "pace = \"40/s\"".to_owned()),
            ("litware", "pace = \"1/m\"".to_owned()),
        ]
        .into(),
        ..Plan::default()
    })
    .await;
    let sender = |tenant: &'static str, n: u32| {
        let number = format!(
            "+1202555{:04}",
            if tenant == "noisy" { 200 + n } else { 900 + n }
        );
        let mut ch = challenge(&format!("{tenant}-{n}"), &number, Method::SmsCode);
        ch.tenant = tenant.into();
        ch
    };
    for n in 0..200 {
        w.send(sender("noisy", n)).await;
    }
    for n in 0..8 {
        w.send(sender("quiet", n)).await;
    }
    for n in 0..8 {
        assert_eq!(
            w.caller.last(&format!("quiet-{n}")).await["event"],
            "delivered"
        );
    }
    let noisy = (0..200).filter(|n| {
        !w.record
            .texts_to(&format!("+1202555{:04}", 200 + n))
            .is_empty()
    });
    let before = noisy.count();
    assert!(
        before < 100,
        "{before} of the noisy tenant's 200 went before the quiet one's 8"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_for_the_limiter_counts_after_a_restart() {
    let mut w = World::with(Plan {
        settings: "[limits]\nchallenges_per_user = { count = 3, per = \"1h\" }\n\
                   challenges_per_tenant = { count = 5, per = \"24h\" }\n"
            .to_owned(),
        ..Plan::default()
    })
    .await;
    let of = |id: &str, user: &str, to: &str| {
        let mut ch = challenge(id, to, Method::SmsCode);
        ch.user = Some(user.into());
        ch
    };
    // Those that are rejected for another reason count, and those that the limiter refuses don't.
    for id in ["m-1", "m-2"] {
        let last = w.ask(of(id, "ada", "garbage")).await;
        assert_eq!(last["reason"], "invalid_number");
    }
    assert_eq!(
        w.ask(of("m-3", "ada", "+12025550123")).await["event"],
        "delivered"
    );
    for id in ["m-4", "m-5", "m-6"] {
        let last = w.ask(of(id, "ada", "+12025550124")).await;
        assert_eq!(last["reason"], "too_many_attempts");
    }
    w.gateway.drain(Duration::from_secs(5)).await;
    w.gateway = run(&w.folder, &w.caller).await;
    let last = w.ask(of("m-7", "ada", "+12025550125")).await;
    assert_eq!(last["reason"], "too_many_attempts");
    // Three counted for the tenant: two more, and no third.
    for id in ["m-8", "m-9"] {
        assert_eq!(
            w.ask(of(id, "bob", "+12025550126")).await["event"],
            "delivered"
        );
    }
    let last = w.ask(of("m-10", "eve", "+12025550127")).await;
    assert_eq!(last["reason"], "fraud_guard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_after_the_deadline_however_late_the_disk_is() {
    let w = World::with(Plan {
        settings: "[jobs]\nmin_call = \"1s\"\n".to_owned(),
        ..Plan::default()
    })
    .await;
    let held = hold(&w);
    let span = Duration::from_millis(1_500);
    let begun = Instant::now();
    let text = life(challenge("t-1", "+12025550123", Method::SmsCode), span);
    let call = life(challenge("t-2", "+12025550124", Method::VoiceConfirm), span);
    let told = [offer(&w, text).await, offer(&w, call).await];
    until("taken up", async || in_hand(&w).await.len() == 2).await;
    tokio::time::sleep(span.saturating_sub(begun.elapsed()) + Duration::from_millis(100)).await;
    drop(held);
    for told in told {
        answer(told).await;
    }
    for id in ["t-1", "t-2"] {
        let last = w.caller.last(id).await;
        assert_eq!(last["event"], "expired", "{last:#}");
    }
    settled(&w).await;
    assert!(w.record.lines().is_empty(), "{:?}", w.record.lines());
    assert_eq!(w.trunks["fabrikam"].live_calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_slot_is_given_up_at_the_deadline() {
    let w = World::with(Plan {
        faults: [
            ("northwind", dead as fn(&mut Faults)),
            ("litware", dead as fn(&mut Faults)),
        ]
        .into(),
        ..Plan::default()
    })
    .await;
    let span = Duration::from_millis(1_200);
    let ch = life(challenge("g-1", "+12025550123", Method::SmsCode), span);
    let begun = Instant::now();
    let last = w.ask(ch).await;
    assert_eq!(last["event"], "expired", "{last:#}");
    let took = begun.elapsed();
    assert!(
        took > span - Duration::from_millis(200) && took < span * 3,
        "{took:?}"
    );
    for carrier in ["northwind", "litware"] {
        w.smsc[carrier].faults().set(Faults::default());
    }
    let next = w
        .ask(challenge("g-2", "+12025550124", Method::SmsCode))
        .await;
    assert_eq!(next["event"], "delivered", "{next:#}");
    assert!(w.record.texts_to("+12025550123").is_empty());
}

/// How far the wall clock was set, in milliseconds.
static SET: AtomicI64 = AtomicI64::new(0);

fn set_clock() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    Millis(since.as_millis() as i64 + SET.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_the_wall_clock_moves_what_is_said_and_no_deadline() {
    let w = World::with(Plan::default()).await;
    w.smsc["northwind"]
        .faults()
        .change(|f| f.no_receipts = Often::ALWAYS);
    clock::inject(set_clock);
    let hour = 3_600_000;
    for (n, step) in [hour, -2 * hour, 0].into_iter().enumerate() {
        let id = format!("w-{n}");
        let span = Duration::from_secs(3);
        let begun = Instant::now();
        w.send(life(
            challenge(&id, &format!("+1202555020{n}"), Method::SmsCode),
            span,
        ))
        .await;
        let sent =
            |heard: &[serde_json::Value]| heard.iter().find(|r| r["event"] == "sent").cloned();
        w.caller.until(&id, sent).await;
        SET.store(step, Ordering::SeqCst);
        clock::check();
        let last = w.caller.last(&id).await;
        let took = begun.elapsed();
        assert_eq!(last["event"], "unconfirmed", "{last:#}");
        assert!(
            took > span - Duration::from_millis(200),
            "ended early, after {took:?}"
        );
        assert!(
            took < span + Duration::from_secs(5),
            "kept past its time: {took:?}"
        );
        // What is said goes by the clock as it stands.
        let said = last["at"].as_str().expect("a time");
        let said = parsed(said);
        assert!(
            (said - set_clock().0).abs() < 10_000,
            "{said} of {}",
            set_clock().0
        );
        // What somebody dates by that clock is meant by it.
        let issued = Millis(set_clock().0 - 5_000).rfc3339();
        let body = format!(
            r#"{{"id":"i-{n}","to":"+12025550123","method":"sms_code","issued_at":"{issued}","lifetime_s":60}}"#
        );
        let settings = Settings::default().jobs;
        let now = clock::now();
        let job = job::parse(
            JobKind::Challenge,
            body.as_bytes(),
            Properties::http(),
            now,
            &settings,
        );
        let Ok(Job::Challenge(ch)) = job else {
            panic!("{job:?}")
        };
        let left = ch.deadline.since(now);
        assert!(
            left > Duration::from_secs(54) && left <= Duration::from_secs(56),
            "{left:?}"
        );
    }
}

/// RFC 3339 in UTC, as reports write it, in milliseconds.
fn parsed(text: &str) -> i64 {
    let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    (at.expect("a time").unix_timestamp_nanos() / 1_000_000) as i64
}
