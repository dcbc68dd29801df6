//! What the operator sees and does while the gateway runs.

use serde_json::{Value, json};

use crate::world::{World, ask, text, until};

fn carrier(all: &Value, name: &str) -> Value {
    let found = all
        .as_array()
        .and_then(|all| all.iter().find(|c| c["name"] == name));
    found
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in {all}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_what_it_shows() {
    let w = World::new("").await;
    let page = w.admin("/").await;
    assert_eq!(page.status, 200);
    let html = page.text();
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!html.contains(outside), "the page loads {outside}");
    }
    let code = w.post(&text("p-1", "+12025550123")).await.json()["code"].clone();
    assert_eq!(
        w.names("p-1").await.last().map(String::as_str),
        Some("delivered")
    );
    let shown = w.admin("/admin/challenges").await;
    let first = &shown.json()[0];
    assert_eq!(
        (&first["id"], &first["to"], &first["state"]),
        (&json!("p-1"), &json!("+1202•••••23"), &json!("delivered"))
    );
    assert_eq!(first["attempts"][0]["carrier"], "northwind");
    // One that nobody carried says why.
    assert_eq!(w.post(&text("p-2", "911")).await.status, 202);
    assert_eq!(w.names("p-2").await, ["rejected"]);
    let refused = w.admin("/admin/challenges").await.json()[0].clone();
    assert_eq!(
        (&refused["id"], &refused["state"], &refused["attempts"]),
        (&json!("p-2"), &json!("rejected"), &json!([]))
    );
    assert_eq!(refused["reason"], "number_type");
    let overview = w.admin("/admin/overview").await;
    assert_eq!(overview.json()["ready"], true);
    for seen in [
        shown.text(),
        overview.text(),
        w.admin("/metrics").await.text(),
    ] {
        assert!(!seen.contains("2025550123"), "a whole number: {seen}");
        assert!(
            !seen.contains(code.as_str().expect("a code")),
            "a code: {seen}"
        );
    }
    let routes = w.admin("/admin/routes").await.json();
    let us = routes
        .as_array()
        .and_then(|all| all.iter().find(|r| r["country"] == "US"));
    assert_eq!(us.map(|r| &r["senders"]), Some(&json!(["97671"])));
    let plan = w
        .admin("/admin/explain?number=%2B12025550123&method=sms_code")
        .await
        .json();
    assert_eq!(
        (&plan["refused"], &plan["candidates"][0]["carrier"]),
        (&Value::Null, &json!("northwind"))
    );
    assert_eq!(
        w.admin("/admin/explain?number=+12025550123").await.json()["e164"],
        "+12025550123"
    );
    assert_eq!(w.admin("/admin/explain").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_have_their_names() {
    let w = World::new("").await;
    assert_eq!(w.post(&text("m-1", "+12025550123")).await.status, 202);
    assert_eq!(
        w.names("m-1").await.last().map(String::as_str),
        Some("delivered")
    );
    let text = w.admin("/metrics").await.text();
    for line in [
        "ringback_final_reports_total{event=\"delivered\",reason=\"delivered\",channel=\"sms\",country=\"US\"}",
        "ringback_attempts_total{carrier=\"northwind\",sender=\"97671\",country=\"US\",outcome=\"delivered\"}",
        "ringback_receipts_total{carrier=\"northwind\",state=\"delivered\",matched=\"true\"}",
        "ringback_carrier_state{carrier=\"northwind\",state=\"healthy\"} 1",
        "ringback_carrier_state{carrier=\"northwind\",state=\"suspended\"} 0",
        "ringback_carrier_in_flight{carrier=\"northwind\"} 0",
        "ringback_broker_connected",
        "ringback_broker_blocked",
        "ringback_jobs_unacked",
        "ringback_challenges_open",
        "ringback_reports_pending 0",
        "ringback_reports_pending_by_age{at_least=\"1m\"} 0",
        "ringback_reports_pending_oldest_seconds 0",
        "ringback_reports_returned_waiting 0",
        "ringback_gateways_beside 0",
        "ringback_reports_unroutable_total",
        "ringback_dead_total{reason=\"bad_job\"}",
        "ringback_job_to_wire_seconds_bucket{le=\"0.005\"}",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(
            text.lines().any(|l| l.starts_with(line)),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_what_has_not_changed() {
    let w = World::new("").await;
    let slots = carrier(&w.admin("/admin/carriers").await.json(), "northwind")["slots"].clone();
    // A challenge that waits for a receipt on a session that must not go.
    assert_eq!(w.post(&text("r-1", "+12025559002")).await.status, 202);

    w.folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"69829\"]\n",
    );
    let carriers = w.folder.0.join("carriers");
    let tailspin = std::fs::read_to_string(carriers.join("tailspin.toml")).expect("a file");
    w.folder.write(
        "carriers/tailspin.toml",
        &tailspin.replacen("transport", "window = 7\ntransport", 1),
    );
    let reloaded = ask("POST", w.running.admin, "/admin/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let body = reloaded.json();
    assert_eq!(
        (&body["reloaded"], &body["unchanged"], &body["changed"]),
        (&json!(true), &json!(["northwind"]), &json!(["tailspin"]))
    );
    let northwind = carrier(&w.admin("/admin/carriers").await.json(), "northwind");
    assert_eq!(
        (&northwind["state"], &northwind["slots"]),
        (&json!("healthy"), &slots)
    );
    assert_eq!(w.post(&text("r-2", "+12025550123")).await.status, 202);
    assert_eq!(
        w.names("r-2").await.last().map(String::as_str),
        Some("delivered")
    );
    assert_eq!(w.record.texts_to("+12025550123")[0].from, "69829");
    assert_eq!(
        ask("POST", w.running.admin, "/admin/reload", "")
            .await
            .json()["reloaded"],
        false
    );

    // Whole or nothing.
    w.folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"nobody\"\nsenders = [\"97671\", \"11111\"]\ncolour = 1\n",
    );
    let refused = ask("POST", w.running.admin, "/admin/reload", "").await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.json()["errors"]
            .as_array()
            .is_some_and(|all| all.len() >= 3),
        "{}",
        refused.text()
    );
    let routes = w.admin("/admin/routes").await.json();
    let us = routes
        .as_array()
        .and_then(|all| all.iter().find(|r| r["country"] == "US"))
        .cloned();
    assert_eq!(us.expect("a route")["senders"], json!(["69829"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_why_not() {
    let w = World::new("").await;
    assert_eq!(w.admin("/readyz").await.status, 200);
    // Only northwind is left, and it goes away.
    std::fs::remove_file(w.folder.0.join("routes/se.toml")).expect("removed");
    std::fs::remove_file(w.folder.0.join("carriers/tailspin.toml")).expect("removed");
    assert_eq!(
        ask("POST", w.running.admin, "/admin/reload", "")
            .await
            .status,
        200
    );
    w.smsc.faults().change(|f| f.down = true);
    until("not ready", async || w.admin("/readyz").await.status == 503).await;
    let said = w.admin("/readyz").await.json();
    let reason = said["reasons"][0].as_str().expect("a reason").to_owned();
    assert!(
        reason.contains("northwind") && reason.contains("suspended"),
        "{reason}"
    );
    assert_eq!(w.admin("/healthz").await.status, 200);
    w.smsc.faults().change(|f| f.down = false);
    until("ready", async || w.admin("/readyz").await.status == 200).await;
    let admin = w.running.admin;
    w.running.drain(std::time::Duration::from_secs(5)).await;
    assert!(
        tokio::net::TcpStream::connect(admin).await.is_err(),
        "closed after the drain"
    );
}
