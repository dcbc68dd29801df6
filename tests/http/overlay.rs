//! The operator's verbs, as an operator types them against a running gateway.

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use ringback::gateway::Gateway;
use serde_json::{Value, json};

use crate::{
    taking::hold,
    world::{World, ask_with, text, until},
};

/// Runs the binary beside the gateway; its configuration says where the admin listener is.
async fn ringback(w: &World, words: &[&str]) -> Output {
    let at = w.running.admin;
    w.folder
        .write("cli.toml", &format!("[admin]\nlisten = \"{at}\"\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command
        .args(words)
        .args(["--config", "cli.toml"])
        .current_dir(&w.folder.0)
        .env("USER", "ada")
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    ran.expect("no panic").expect("the binary starts")
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

async fn state(w: &World, carrier: &str) -> (String, String) {
    let all = w.admin("/admin/carriers").await.json();
    let found = all.as_array().and_then(|all| {
        all.iter()
            .find(|c| c["name"] == carrier)
            .map(|c| (c["state"].clone(), c["reason"].clone()))
    });
    let (state, reason) = found.expect("the carrier");
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    (word(state), word(reason))
}

async fn again(w: World) -> World {
    let World {
        folder,
        running,
        record,
        smsc,
        tailspin,
    } = w;
    running.drain(Duration::from_secs(2)).await;
    let running = Gateway::start(folder.config()).await;
    let running = running.unwrap_or_else(|e| panic!("{e}"));
    World {
        folder,
        running,
        record,
        smsc,
        tailspin,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_an_operator_suspends_stays_so_over_a_restart_until_it_is_resumed() {
    let w = World::new("").await;
    let reason = "ports move tonight";
    let output = ringback(
        &w,
        &["suspend", "northwind", "--for", "2h", "--reason", reason],
    )
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let (stands, why) = state(&w, "northwind").await;
    assert_eq!(stands, "suspended");
    assert!(why.contains(reason) && why.contains("ada"), "{why}");
    assert_eq!(state(&w, "tailspin").await.0, "healthy");

    // What runs knows it, and says so to whoever asks why.
    let output = ringback(&w, &["explain", "+12025550123", "--json"]).await;
    assert!(
        said(&output).contains("suspended: by_operator"),
        "{}",
        said(&output)
    );
    assert_eq!(w.post(&text("o-1", "+12025550123")).await.status, 202);
    let output = ringback(&w, &["trace", "o-1"]).await;
    assert!(
        said(&output).contains("waiting for a slot"),
        "{}",
        said(&output)
    );

    let w = again(w).await;
    assert_eq!(state(&w, "northwind").await.0, "suspended");
    assert!(w.record.texts_to("+12025550123").is_empty());
    let output = ringback(&w, &["resume", "northwind", "--reason", "moved"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let names = w.names("o-1").await;
    assert_eq!(names.last().map(String::as_str), Some("delivered"));

    let done = w.admin("/admin/overlay").await.json();
    assert_eq!(done["in_force"], json!([]));
    let acts: Vec<&Value> = done["audit"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|record| &record["act"])
        .collect();
    assert_eq!(acts, ["lift", "put"]);
    assert_eq!(
        (&done["audit"][1]["reason"], &done["audit"][1]["owner"]),
        (&json!(reason), &json!("ada"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_ends_by_itself() {
    let w = World::new("").await;
    let words = [
        "suspend",
        "northwind",
        "--for",
        "1s",
        "--reason",
        "a moment",
    ];
    assert_eq!(ringback(&w, &words).await.status.code(), Some(0));
    assert_eq!(w.post(&text("e-1", "+12025550123")).await.status, 202);
    let names = w.names("e-1").await;
    assert_eq!(names.last().map(String::as_str), Some("delivered"));
    let audit = w.admin("/admin/overlay").await.json()["audit"].clone();
    assert_eq!(audit[0]["act"], "expire");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_challenge_is_traced_from_its_job_to_its_last_report_and_shows_nothing_personal() {
    let w = World::new("").await;
    let answer = w.post(&text("t-1", "+12025550123")).await.json();
    let code = answer["code"].as_str().expect("a code").to_owned();
    w.names("t-1").await;
    let output = ringback(&w, &["trace", "t-1", "--json"]).await;
    let trace: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        (&trace["event"], &trace["state"], &trace["country"]),
        (&json!("delivered"), &json!("ended"), &json!("US"))
    );
    let attempt = &trace["attempts"][0];
    assert_eq!(
        (&attempt["carrier"], &attempt["why"], &attempt["outcome"]),
        (
            &json!("northwind"),
            &json!("only_candidate"),
            &json!("delivered")
        )
    );
    assert!(attempt["reference"].is_string() && attempt["ended"].is_string());
    assert_eq!(
        attempt["receipts"],
        json!([{ "part": 1, "state": "delivered" }])
    );
    let told: Vec<&Value> = trace["reports"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|report| &report["event"])
        .collect();
    assert_eq!(told, ["accepted", "sent", "delivered"]);
    let person = ringback(&w, &["trace", "t-1"]).await;
    for shown in [said(&output), said(&person)] {
        assert!(!shown.contains("2025550123"), "a whole number: {shown}");
        assert!(!shown.contains(&code), "a code: {shown}");
    }
    let unknown = ringback(&w, &["trace", "t-2"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("unknown"), "{}", said(&unknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_an_open_challenge_and_no_other() {
    let w = World::new("").await;
    let words = ["suspend", "northwind", "--reason", "nothing leaves"];
    assert_eq!(ringback(&w, &words).await.status.code(), Some(0));
    assert_eq!(w.post(&text("c-1", "+12025550123")).await.status, 202);
    let output = ringback(&w, &["cancel", "c-1"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let names = w.names("c-1").await;
    assert_eq!(names.last().map(String::as_str), Some("cancelled"));
    for (words, because) in [
        (["cancel", "c-1"], "it has ended: cancelled"),
        (["cancel", "c-2"], "unknown"),
        (["resume", "tailspin"], "not suspended by an operator"),
    ] {
        let output = ringback(&w, &words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains(because), "{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_change_is_said_and_nothing_is_changed() {
    let w = World::new("").await;
    for (words, because) in [
        (
            &["suspend", "nobody", "--reason", "x"][..],
            "no carrier of that name",
        ),
        (
            &["suspend", "northwind", "--reason", " "],
            "reason: required",
        ),
        (
            &["suspend", "northwind", "--reason", "x", "--for", "soon"],
            "for: a span",
        ),
        (
            &["suspend", "northwind", "--reason", "asked by +12025550123"],
            "phone number",
        ),
    ] {
        let output = ringback(&w, words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains(because), "{}", said(&output));
    }
    // A form of another site's page is not taken for an operator.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let path = "/admin/carriers/northwind/suspend";
    let body = r#"{"reason":"x"}"#;
    let answer = ask_with("POST", w.running.admin, path, body, &form).await;
    assert_eq!(answer.status, 415);
    until("healthy", async || {
        state(&w, "northwind").await.0 == "healthy"
    })
    .await;
    let changes = w.admin("/admin/overlay").await.json();
    assert_eq!(changes, json!({ "in_force": [], "audit": [] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_carrier_refuses_stands_in_explain() {
    let w = World::new("").await;
    w.smsc.faults().change(|f| {
        f.error = simulators::script::Refusal {
            often: simulators::script::Often::ALWAYS,
            // ESME_RINVSRCADR (SMPP 3.4, 5.1.3): the sender.
            code: 0x0A,
        };
    });
    for n in 0..5 {
        let id = format!("rf-{n}");
        assert_eq!(w.post(&text(&id, "+12025550123")).await.status, 202);
        assert_eq!(
            w.names(&id).await.last().map(String::as_str),
            Some("failed")
        );
    }
    let (stands, why) = state(&w, "northwind").await;
    assert_eq!(stands, "healthy", "{why}");
    let refused = "refuses sender 97671 in US: 0x0000000a";
    assert!(why.contains(refused), "{why}");
    let output = ringback(&w, &["explain", "+12025550123", "--json"]).await;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let plan: Value = serde_json::from_str(&lines).unwrap_or_else(|e| panic!("{e}: {lines}"));
    assert_eq!(
        plan["left_out"],
        json!([{ "carrier": "northwind", "sender": "97671", "why": "refused_by_carrier" }])
    );
}

async fn order(w: &World, path: &str) -> crate::world::Answer {
    let json = [("Content-Type", "application/json")];
    let reason = r#"{"reason":"a test"}"#;
    ask_with("POST", w.running.admin, path, reason, &json).await
}

async fn ready(w: &World, wanted: bool) {
    until("as wanted", async || {
        (w.admin("/readyz").await.status == 200) == wanted
    })
    .await;
}

/// What was answered with a failure does not happen when the ledger can be written again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_that_a_locked_ledger_did_not_keep_is_not_done_later_either() {
    let w = World::new("").await;
    let words = ["suspend", "tailspin", "--reason", "before"];
    assert_eq!(ringback(&w, &words).await.status.code(), Some(0));
    let audit = w.admin("/admin/overlay").await.json();

    // The first two come while nobody knows of the lock, the others once it is known.
    let held = hold(&w);
    let suspend = "/admin/carriers/northwind/suspend";
    let resume = "/admin/carriers/tailspin/resume";
    let (suspended, resumed) = tokio::join!(order(&w, suspend), order(&w, resume));
    for answer in [suspended, resumed] {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("not done"), "{}", answer.text());
    }
    ready(&w, false).await;
    for words in [
        &["suspend", "northwind", "--reason", "x"][..],
        &["resume", "tailspin"],
    ] {
        let output = ringback(&w, words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains("not done"), "{}", said(&output));
    }
    assert_eq!(state(&w, "northwind").await.0, "healthy");
    assert_eq!(state(&w, "tailspin").await.0, "suspended");
    drop(held);
    ready(&w, true).await;
    assert_eq!(w.post(&text("n-1", "+12025550123")).await.status, 202);
    assert_eq!(
        w.names("n-1").await.last().map(String::as_str),
        Some("delivered")
    );
    assert_eq!(w.admin("/admin/overlay").await.json(), audit);
    let w = again(w).await;
    assert_eq!(w.admin("/admin/overlay").await.json(), audit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_under_a_locked_ledger_is_refused_and_not_done_later() {
    let w = World::new("").await;
    let words = ["suspend", "northwind", "--reason", "nothing leaves"];
    assert_eq!(ringback(&w, &words).await.status.code(), Some(0));
    for id in ["c-1", "c-2"] {
        assert_eq!(w.post(&text(id, "+12025550123")).await.status, 202);
    }
    let held = hold(&w);
    // The first comes while nobody knows of the lock, the other once it is known.
    let early = order(&w, "/admin/challenges/c-1/cancel").await;
    assert_eq!(early.status, 503, "{}", early.text());
    assert!(early.text().contains("not done"), "{}", early.text());
    ready(&w, false).await;
    let output = ringback(&w, &["cancel", "c-2"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not done"), "{}", said(&output));
    drop(held);
    ready(&w, true).await;
    for id in ["c-1", "c-2"] {
        let open = w.admin(&format!("/admin/challenges/{id}")).await.json();
        assert_ne!(open["state"], "ended", "{open}");
        let path = format!("/admin/challenges/{id}/cancel");
        assert_eq!(order(&w, &path).await.status, 200);
        let names = w.names(id).await;
        assert_eq!(names.last().map(String::as_str), Some("cancelled"), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn explain_does_not_guess_where_a_running_gateway_refuses_its_token() {
    let w = World::new("").await;
    let settings = std::fs::read_to_string(w.folder.0.join("ringback.toml")).expect("settings");
    w.folder.write("admin.token", "s3cret");
    let token = "[admin]\ntoken = { file = \"admin.token\" }\n";
    let with = settings.replace("[admin]\n", token);
    w.folder.write("ringback.toml", &with);
    let reloaded = ask_with("POST", w.running.admin, "/admin/reload", "", &[]).await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());

    let explain = async |token: &str, more: &[&str]| {
        let at = w.running.admin;
        let cli = format!("[admin]\nlisten = \"{at}\"\n{token}");
        w.folder.write("other.toml", &cli);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
        command
            .args(["explain", "+12025550123", "--config", "other.toml"])
            .args(more)
            .current_dir(&w.folder.0);
        let ran = tokio::task::spawn_blocking(move || command.output()).await;
        ran.expect("no panic").expect("the binary starts")
    };
    w.folder.write("wrong.token", "0ther");
    for (token, names) in [
        ("", "sets none under [admin] token"),
        ("token = { file = \"wrong.token\" }\n", "wrong.token"),
    ] {
        let output = explain(token, &[]).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(output.stdout.is_empty(), "no plan: {}", said(&output));
        for words in ["asks for its admin token", names, "other.toml", "--offline"] {
            assert!(said(&output).contains(words), "{words}: {}", said(&output));
        }
        assert!(!said(&output).contains("0ther"), "{}", said(&output));
        let output = explain(token, &["--offline"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let output = explain("token = { file = \"admin.token\" }\n", &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("as the gateway at"),
        "{}",
        said(&output)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_challenge_that_ended_without_an_attempt_says_what_was_left_out() {
    let prompts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let settings = format!("[paths]\nprompts = {:?}\n", prompts.display().to_string());
    let w = World::new(&settings).await;
    let trunk = "transport = \"sip\"\nendpoints = [\"udp:127.0.0.1:9\"]\nbind = \"127.0.0.1:0\"\nrtp = { address = \"127.0.0.1\" }\n";
    w.folder.write("carriers/fabrikam.toml", trunk);
    let caller = "[[sender]]\nid = \"+18553308653\"\nkind = \"toll_free\"\ncountries = \"all\"\nvoice = true\n";
    w.folder.write(
        "routes/senders.toml",
        &format!("{}{caller}", crate::world::SENDERS),
    );
    w.folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n",
    );
    let reloaded = order(&w, "/admin/reload").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let words = ["suspend", "northwind", "--reason", "ports move"];
    assert_eq!(ringback(&w, &words).await.status.code(), Some(0));
    let traced = async |id: &str| w.admin(&format!("/admin/challenges/{id}")).await.json();

    let mut job = text("e-1", "+12025550123");
    job["lifetime_s"] = json!(10);
    assert_eq!(w.post(&job).await.status, 202);
    let suspended = json!(["northwind: suspended: by_operator"]);
    let waits = traced("e-1").await;
    assert_eq!(
        (&waits["state"], &waits["left_out"]),
        (&json!("waiting for a slot"), &suspended),
        "{waits}"
    );
    // A call that comes too late, after a text that nobody brings: each method by its name.
    let mut job = text("e-2", "+12025550124");
    job["lifetime_s"] = json!(12);
    job["fallback"] = json!([{ "method": "voice_code", "after_s": 1 }]);
    assert_eq!(w.post(&job).await.status, 202);
    for id in ["e-1", "e-2"] {
        assert_eq!(
            w.names(id).await.last().map(String::as_str),
            Some("expired")
        );
    }
    let ended = traced("e-1").await;
    assert_eq!(
        (&ended["event"], &ended["left_out"], &ended["attempts"]),
        (&json!("expired"), &suspended, &json!([])),
        "{ended}"
    );
    let ended = traced("e-2").await;
    let both = ended["left_out"].as_array().cloned().unwrap_or_default();
    for words in [
        "sms_code: northwind: suspended: by_operator",
        "voice_code: too late: no call is begun with less than 30s left (min_call)",
    ] {
        assert!(both.contains(&json!(words)), "{words}: {ended}");
    }
    let output = ringback(&w, &["trace", "e-1"]).await;
    assert!(
        said(&output).contains("no attempt\n  left out   northwind: suspended: by_operator"),
        "{}",
        said(&output)
    );
    // The ledger has it.
    let w = again(w).await;
    let ended = w.admin("/admin/challenges/e-1").await.json();
    assert_eq!(ended["left_out"], suspended, "{ended}");
}
