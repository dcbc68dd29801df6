//! What is taken, and what isn't: a ledger that can't write, a gateway that is on its way out, limits of the intake.
//! Whoever was told to come again finds the id free, and no phone rings for it.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::reload::{Process, one_carrier};
use crate::world::{World, ask, free_port, settings_file, text, until};

/// Another program that holds the ledger's write lock until it is dropped.
pub fn hold(w: &World) -> Connection {
    let held = Connection::open(w.folder.0.join("data/ringback.db")).expect("the ledger's file");
    held.busy_timeout(Duration::from_secs(5)).expect("patience");
    held.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_locked_ledger_could_not_take_is_free_to_come_again() {
    let w = World::new("").await;
    let held = hold(&w);
    let locked = Instant::now();
    // As many as the limiter lets through: what is not taken must not count.
    let jobs: Vec<_> = (0..5)
        .map(|n| text(&format!("l-{n}"), "+12025550123"))
        .collect();
    let told = futures_util::future::join_all(jobs.iter().map(|job| w.post(job))).await;
    for answer in &told {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("ledger"), "{}", answer.text());
        assert!(answer.head.contains_key("retry-after"));
    }
    // A word takes effect once the ledger holds it; it is not made while that can't be.
    let cancel = ask("DELETE", w.running.http, "/v1/challenges/l-0", "").await;
    assert_eq!(cancel.status, 503);
    let ready = w.admin("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(ready.text().contains("locked"), "{}", ready.text());
    assert!(
        locked.elapsed() < Duration::from_secs(5),
        "{:?}",
        locked.elapsed()
    );

    // The retry of one comes while the first is still on its way to the disk that nobody reaches.
    assert_eq!(w.post(&jobs[0]).await.status, 503);
    drop(held);
    until("ready again", async || {
        w.admin("/readyz").await.status == 200
    })
    .await;
    assert_eq!(
        w.record.texts_to("+12025550123").len(),
        0,
        "nothing was taken"
    );
    let look = ask("GET", w.running.http, "/v1/challenges/l-3", "").await;
    assert_eq!(look.status, 404, "{}", look.text());
    for job in &jobs {
        assert_eq!(w.post(job).await.status, 202);
        let id = job["id"].as_str().expect("an id");
        assert_eq!(w.names(id).await, ["accepted", "sent", "delivered"]);
    }
    assert_eq!(w.record.texts_to("+12025550123").len(), 5);
}

/// The lock comes while challenges are open, and nobody knows of it yet when they are cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_that_a_locked_ledger_does_not_keep_is_refused_and_not_done_later() {
    let w = World::new("").await;
    w.smsc
        .faults()
        .change(|faults| faults.receipt_delay_ms = Some(120_000));
    let phones = ["+12025550123", "+12025550124"];
    for (id, to) in ["k-1", "k-2"].into_iter().zip(phones) {
        assert_eq!(w.post(&text(id, to)).await.status, 202);
        until("taken", async || {
            let state = w.admin(&format!("/admin/challenges/{id}")).await.json();
            state["attempts"][0]["reference"].is_string()
        })
        .await;
    }
    let held = hold(&w);
    let begun = Instant::now();
    let (good, path) = (r#"{"verified":true}"#, "/v1/challenges/k-2/feedback");
    let (cancelled, verified) = tokio::join!(
        ask("DELETE", w.running.http, "/v1/challenges/k-1", ""),
        ask("POST", w.running.http, path, good)
    );
    for answer in [cancelled, verified] {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.head.contains_key("retry-after"));
        assert!(answer.text().contains("not done"), "{}", answer.text());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
    until("ready again", async || {
        w.admin("/readyz").await.status == 200
    })
    .await;
    // What was begun before the lock was let go of is on the disk once another job is.
    assert_eq!(w.post(&text("k-3", "+12025550125")).await.status, 202);
    for id in ["k-1", "k-2"] {
        let open = w.admin(&format!("/admin/challenges/{id}")).await.json();
        assert_eq!(open["state"], "under way", "{open}");
        assert_eq!(open["feedback"], json!(null), "{open}");
    }
    // Asked again it is done.
    let again = ask("DELETE", w.running.http, "/v1/challenges/k-1", "").await;
    assert_eq!(again.status, 202, "{}", again.text());
    let again = ask("POST", w.running.http, path, good).await;
    assert_eq!(again.status, 202, "{}", again.text());
    for (id, event) in [("k-1", "cancelled"), ("k-2", "verified")] {
        let names = w.names(id).await;
        assert_eq!(names.last().map(String::as_str), Some(event), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readyz_follows_a_lock_within_a_second_and_no_job_is_answered_before_it_is_durable() {
    let w = World::new("").await;
    let held = hold(&w);
    let begun = Instant::now();
    let job = text("r-1", "+12025550124");
    let (answer, seen) = tokio::join!(w.post(&job), async {
        until("unwell", async || w.admin("/readyz").await.status == 503).await;
        begun.elapsed()
    });
    assert!(seen < Duration::from_millis(1_500), "{seen:?}");
    assert_eq!(answer.status, 503, "nothing durable, so nothing taken");
    drop(held);
    // A short lock is waited out, and the job is taken then.
    until("ready again", async || {
        w.admin("/readyz").await.status == 200
    })
    .await;
    let held = hold(&w);
    let released = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let at = Instant::now();
        drop(held);
        at
    };
    let taken = async { (w.post(&job).await.status, Instant::now()) };
    let ((status, at), released) = tokio::join!(taken, released);
    assert_eq!(status, 202);
    assert!(at > released, "answered before it was durable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_draws_back_leaves_the_id_to_the_next() {
    let w = World::new("").await;
    let held = hold(&w);
    let job = text("i-1", "+12025550125");
    // The first client hangs up while its job waits for the disk; the same job comes again before and after that.
    let first = tokio::time::timeout(Duration::from_millis(150), w.post(&job));
    let second = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        w.post(&job).await.status
    };
    let third = async {
        tokio::time::sleep(Duration::from_millis(220)).await;
        w.post(&job).await.status
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(320)).await;
        drop(held);
    };
    let (first, second, third, ()) = tokio::join!(first, second, third, release);
    assert!(first.is_err(), "gone before it was answered");
    let mut told = [second, third];
    told.sort_unstable();
    assert_eq!(
        told,
        [200, 202],
        "one of them is the challenge, the other the same again"
    );
    assert_eq!(w.names("i-1").await, ["accepted", "sent", "delivered"]);
    assert_eq!(w.record.texts_to("+12025550125").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_it_drains_nothing_is_taken_and_the_answer_says_so() {
    let w = World::new("").await;
    w.smsc
        .faults()
        .change(|faults| faults.response_delay_ms = 3_000);
    assert_eq!(w.post(&text("d-1", "+12025550126")).await.status, 202);
    until("on its way", async || {
        let carriers = w.admin("/admin/carriers").await.json();
        carriers.to_string().contains("\"in_flight\":1")
    })
    .await;
    let (http, admin) = (w.running.http, w.running.admin);
    let control = w.running.control.clone();
    let draining = tokio::spawn(w.running.drain(Duration::from_secs(10)));
    until("draining", async || control.draining()).await;
    let job = text("d-2", "+12025550127").to_string();
    let refused = ask("POST", http, "/v1/challenges", &job).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("stopping"), "{}", refused.text());
    assert!(refused.head.contains_key("retry-after"));
    // What only looks, and words about what is open, go on.
    let state = ask("GET", http, "/v1/challenges/d-1", "").await;
    assert_eq!(state.status, 200, "{}", state.text());
    assert_eq!(
        ask("DELETE", http, "/v1/challenges/d-1", "").await.status,
        202
    );
    assert_eq!(ask("GET", admin, "/readyz", "").await.status, 503);
    draining.await.expect("drained");
    assert_eq!(w.record.texts_to("+12025550127").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_text_that_can_t_be_sent_and_a_code_that_nobody_gets() {
    let w = World::new("").await;
    for (id, body, says) in [
        ("x-1", "a\u{0}b", "U+0000"),
        ("x-2", &*"x".repeat(5_000), "33 segments"),
    ] {
        let mut job = text(id, "+12025550128");
        job["text"] = json!(body);
        let refused = w.post(&job).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["field"]),
            (400, &json!("text"))
        );
        assert!(refused.text().contains(says), "{}", refused.text());
    }
    let mut job = text("x-3", "+12025550128");
    job["text"] = json!("Somebody signed in. Was it you?");
    let taken = w.post(&job).await;
    assert_eq!(
        (taken.status, taken.json().get("code")),
        (202, None),
        "{}",
        taken.text()
    );
    let reports = w.reports("x-3").await;
    assert!(
        reports
            .iter()
            .all(|(_, _, report)| report.get("code").is_none()),
        "{reports:?}"
    );
    // A number with a control character at its edge is none.
    for (n, to) in ["+12025550128\n", "\t+12025550128", "+12025550128\u{85}"]
        .iter()
        .enumerate()
    {
        let id = format!("x-to-{n}");
        assert_eq!(w.post(&text(&id, to)).await.status, 202);
        let reports = w.reports(&id).await;
        let last = &reports.last().expect("a final").2;
        assert_eq!(
            (&last["event"], &last["reason"]),
            (&json!("rejected"), &json!("invalid_number"))
        );
    }
    assert_eq!(w.record.texts_to("+12025550128").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_gateway_names_the_setting_that_is_reached_and_the_log_its_begin_and_end() {
    let (folder, smsc) = one_carrier().await;
    smsc.faults()
        .change(|faults| faults.receipt_delay_ms = Some(120_000));
    let settings = "[jobs]\nmax_open = 2\n[log]\nformat = \"json\"";
    folder.write("ringback.toml", &settings_file(free_port(), settings));
    let p = Process::start(&folder, &[]).await;
    let post = async |id: &str, to: &str| {
        let job = text(id, to).to_string();
        ask("POST", p.http, "/v1/challenges", &job).await
    };
    assert_eq!(post("f-1", "+12025550123").await.status, 202);
    assert_eq!(post("f-2", "+12025550124").await.status, 202);
    for _ in 0..2 {
        let refused = post("f-3", "+12025550125").await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert!(refused.head.contains_key("retry-after"));
        assert!(
            refused.text().contains("max_open is 2"),
            "{}",
            refused.text()
        );
    }
    let begins = [
        "WARN",
        "no room for more challenges",
        "jobs.max_open",
        "\"is\":2",
    ];
    assert_eq!(p.said(&begins), 1, "{:#?}", p.lines());
    for id in ["f-1", "f-2"] {
        let path = format!("/v1/challenges/{id}");
        assert_eq!(ask("DELETE", p.http, &path, "").await.status, 202);
    }
    let ends = ["INFO", "room for more challenges again", "jobs.max_open"];
    until("room again", async || p.said(&ends) == 1).await;
    assert_eq!(post("f-3", "+12025550125").await.status, 202);
}
