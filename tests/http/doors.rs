//! The listeners' doors: names that are not theirs, and callbacks that are turned away.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use ring::hmac;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, ask_with, text};

/// The whole answer to a request that is written octet by octet.
async fn raw(at: SocketAddr, request: &str) -> String {
    let mut peer = tokio::net::TcpStream::connect(at)
        .await
        .expect("a connection");
    peer.write_all(request.as_bytes()).await.expect("taken");
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.expect("an answer");
    answer
}

pub fn signed(key: &str, body: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let time = now.as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let mac = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    format!("t={time},v1={}", hex::encode(mac))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_site_whose_name_was_made_to_lead_here_reaches_nothing() {
    let w = World::new("hosts = [\"jobs.internal\"]").await;
    let job = text("h-1", "+12025550123").to_string();
    let post = |host: &str| {
        format!(
            "POST /v1/challenges HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{job}",
            job.len()
        )
    };
    let foreign = raw(w.running.http, &post("evil.example:8080")).await;
    assert!(foreign.starts_with("HTTP/1.1 421 "), "{foreign}");
    for (at, path) in [
        (w.running.admin, "POST /admin/reload"),
        (w.running.admin, "GET /admin/challenges"),
        (w.running.admin, "GET /metrics"),
        (w.running.callbacks, "POST /callbacks/tailspin"),
        (w.running.http, "GET /v1/challenges/h-1"),
    ] {
        let request = format!(
            "{path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = raw(at, &request).await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
    }
    let named = raw(w.running.http, &post("jobs.internal")).await;
    assert!(named.starts_with("HTTP/1.1 202 "), "{named}");
    assert_eq!(w.names("h-1").await, ["accepted", "sent", "delivered"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_can_not_tell_which_carriers_there_are() {
    let w = World::new("").await;
    let at = w.running.callbacks;
    let ask = async |carrier: &str, headers: &str, body: &str| {
        let request = format!(
            "POST /callbacks/{carrier} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(at, &request).await;
        // The date may turn between two answers.
        let lines = answer.lines().filter(|line| !line.starts_with("date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let forged = format!("X-Ringback-Signature: {}\r\n", signed("another key", "{}"));
    for (headers, body) in [
        ("", "{}"),
        (&*forged, "{}"),
        ("X-Ringback-Signature: nonsense\r\n", ""),
        ("Content-Encoding: gzip\r\n", "{}"),
    ] {
        let known = ask("tailspin", headers, body).await;
        assert!(known.starts_with("HTTP/1.1 401 "), "{known}");
        // By SMPP, without callbacks; and nobody at all.
        for other in ["northwind", "nobody", "%F0%9F%98%80"] {
            assert_eq!(ask(other, headers, body).await, known, "{other}");
        }
    }
    // (How often is not looked at: other tests of this process count with the same recorder.)
    // The operator is told by carrier and reason; names that strangers choose are no labels.
    let metrics = w.admin("/metrics").await.text();
    for line in [
        "ringback_callbacks_refused_total{carrier=\"tailspin\",reason=\"signature_wrong\"}",
        "ringback_callbacks_refused_total{carrier=\"tailspin\",reason=\"signature_missing\"}",
        "ringback_callbacks_refused_total{carrier=\"\",reason=\"unknown_carrier\"}",
    ] {
        assert!(
            metrics.lines().any(|l| l.starts_with(line)),
            "{line} is not in\n{metrics}"
        );
    }
    assert!(!metrics.contains("\"nobody\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callback_brings_many_receipts() {
    let w = World::new("").await;
    // These people's phones send no receipts of their own.
    let mut receipts = Vec::new();
    for n in 1..=3 {
        let job = text(&format!("c-{n}"), &format!("+467017{n}9002"));
        assert_eq!(w.post(&job).await.status, 202);
        let path = format!("/v1/challenges/c-{n}");
        let mut reference = json!(null);
        crate::world::until("sent", async || {
            let state = crate::world::ask("GET", w.running.http, &path, "")
                .await
                .json();
            reference = state["attempts"][0]["reference"].clone();
            state["event"] == "sent"
        })
        .await;
        receipts.push(json!({ "id": reference, "status": "delivered" }));
    }
    let body = json!(receipts).to_string();
    let headers = [("X-Ringback-Signature", &*signed("the callback key", &body))];
    let path = "/callbacks/tailspin";
    let answer = ask_with("POST", w.running.callbacks, path, &body, &headers).await;
    assert_eq!(answer.status, 200);
    for n in 1..=3 {
        let names = w.names(&format!("c-{n}")).await;
        assert_eq!(names, ["accepted", "sent", "delivered"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_one_line_and_right_ones_none() {
    let (folder, _smsc) = crate::reload::one_carrier().await;
    folder.write("admin.token", "s3cret");
    let settings = std::fs::read_to_string(folder.0.join("ringback.toml")).expect("settings");
    let token = "[admin]\ntoken = { file = \"admin.token\" }\n";
    folder.write("ringback.toml", &settings.replace("[admin]\n", token));
    let gateway = crate::reload::Process::start(&folder, &[]).await;
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", &*bearer)];
        ask_with("GET", gateway.admin, "/admin/carriers", "", &headers)
            .await
            .status
    };
    for _ in 0..3 {
        assert_eq!(ask("s3cret").await, 200);
        assert_eq!(ask("a guess").await, 401);
    }
    let line = ["WARN", "requests with a wrong token", "\"admin\""];
    crate::world::until("said", async || gateway.said(&line) > 0).await;
    assert_eq!(gateway.said(&line), 1, "{:#?}", gateway.lines());
    assert_eq!(gateway.said(&["a guess"]) + gateway.said(&["s3cret"]), 0);
}
