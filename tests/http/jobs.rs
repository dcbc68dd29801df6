//! Jobs by HTTP: what is answered, what the phone got, what is reported.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, ask, ask_with, text, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_taken_sent_and_followed_to_its_end() {
    let w = World::new("").await;
    let taken = w.post(&text("t-1", "+12025550123")).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let code = taken.json()["code"]
        .as_str()
        .expect("a made code")
        .to_owned();
    assert_eq!((taken.json()["id"].as_str(), code.len()), (Some("t-1"), 6));

    let reports = w.reports("t-1").await;
    let names: Vec<&str> = reports.iter().map(|(_, name, _)| &**name).collect();
    assert_eq!(names, ["accepted", "sent", "delivered"]);
    let seqs: Vec<u64> = reports.iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(reports[1].2["code"], json!(code));
    assert_eq!(reports[2].2["final"], true);
    let texts = w.record.texts_to("+12025550123");
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].text.contains(&code) && texts[0].from == "97671",
        "{texts:?}"
    );

    // Who comes back goes on where it was, and is told when there is nothing more.
    let path = "/v1/challenges/t-1/reports";
    let rest = ask_with("GET", w.running.http, path, "", &[("Last-Event-ID", "2")]).await;
    assert_eq!(rest.events().len(), 1);
    let none = ask_with("GET", w.running.http, path, "", &[("Last-Event-ID", "3")]).await;
    assert_eq!(none.status, 204);

    let state = ask("GET", w.running.http, "/v1/challenges/t-1", "").await;
    assert_eq!(state.json()["event"], "delivered");
    assert_eq!(state.json()["attempts"][0]["outcome"], "delivered");
    // The same in other words is the same; another number is not.
    let again = w.post(&text("t-1", "+1 (202) 555-0123")).await;
    assert_eq!(
        (again.status, &again.json()["event"]),
        (200, &json!("delivered"))
    );
    assert_eq!(w.post(&text("t-1", "+12025550124")).await.status, 409);
    assert_eq!(w.record.texts_to("+12025550123").len(), 1);
    for (id, status) in [("t-1?tenant=other", 404), ("t-2", 404)] {
        let looked = ask("GET", w.running.http, &format!("/v1/challenges/{id}"), "").await;
        assert_eq!(looked.status, status, "{id}");
    }
    assert_eq!(
        ask("GET", w.running.http, "/v1/challenges/t-2/reports", "")
            .await
            .status,
        404
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_by_an_http_carrier_is_delivered_by_its_callback() {
    let w = World::new("").await;
    let mut job = text("s-1", "+46701740605");
    job["code"] = json!("482913");
    let taken = w.post(&job).await;
    assert_eq!(
        (taken.status, taken.json().get("code")),
        (202, None),
        "{}",
        taken.text()
    );
    assert_eq!(w.names("s-1").await, ["accepted", "sent", "delivered"]);
    assert_eq!(w.record.codes_to("+46701740605"), ["482913"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_job_is_told_at_once() {
    let w = World::new("").await;
    let bad = w
        .post(&json!({ "v": 2, "id": "", "method": "pigeon", "lifetime_s": 1, "colour": "red" }))
        .await;
    assert_eq!(bad.status, 400);
    let body = bad.json();
    let faults: Vec<&str> = body["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| f["field"].as_str().expect("a field"))
        .collect();
    for field in ["v", "id", "to", "method", "lifetime_s", "colour"] {
        assert!(faults.contains(&field), "{field} not in {faults:?}");
    }
    assert!(
        body["errors"]
            .as_array()
            .is_some_and(|all| all.iter().all(|f| f["reason"].is_string()))
    );
    for garbage in ["", "[]", "{", "\u{0}\u{1}", "null"] {
        let answer = ask("POST", w.running.http, "/v1/challenges", garbage).await;
        assert_eq!(answer.status, 400, "{garbage:?}");
    }
    let long = json!({ "id": "l-1", "to": "+12025550123", "method": "sms_code", "text": "x".repeat(70_000) });
    assert_eq!(w.post(&long).await.status, 413);
    assert_eq!(
        ask("PUT", w.running.http, "/v1/challenges", "")
            .await
            .status,
        405
    );
    // Refused by admission is no fault of the job: taken, then rejected.
    let taken = w.post(&text("e-1", "911")).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let reports = w.reports("e-1").await;
    assert_eq!(reports.last().map(|(_, name, _)| &**name), Some("rejected"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_about_a_challenge_count() {
    let w = World::new("").await;
    // This person's phone sends no receipts: the challenge stays open.
    assert_eq!(w.post(&text("c-1", "+12025559002")).await.status, 202);
    let path = "/v1/challenges/c-1";
    until("sent", async || {
        ask("GET", w.running.http, path, "").await.json()["event"] == "sent"
    })
    .await;
    assert_eq!(ask("DELETE", w.running.http, path, "").await.status, 202);
    assert_eq!(w.names("c-1").await, ["accepted", "sent", "cancelled"]);
    // One that nobody knows is remembered, in case the challenge still comes.
    let early = ask("DELETE", w.running.http, "/v1/challenges/c-2", "").await;
    assert_eq!((early.status, &early.json()["known"]), (202, &json!(false)));
    assert_eq!(w.post(&text("c-2", "+12025559002")).await.status, 202);
    assert_eq!(
        w.names("c-2").await.last().map(String::as_str),
        Some("cancelled")
    );

    let mut job = text("f-1", "+12025550123");
    job["until"] = json!("verified");
    assert_eq!(w.post(&job).await.status, 202);
    let path = "/v1/challenges/f-1/feedback";
    let wrong = ask("POST", w.running.http, path, r#"{"verified":"yes"}"#).await;
    assert_eq!(
        (wrong.status, &wrong.json()["errors"][0]["field"]),
        (400, &json!("verified"))
    );
    assert_eq!(
        ask("POST", w.running.http, path, r#"{"verified":false}"#)
            .await
            .status,
        202
    );
    assert_eq!(
        ask("POST", w.running.http, path, r#"{"verified":true}"#)
            .await
            .status,
        202
    );
    let reports = w.reports("f-1").await;
    let last = &reports.last().expect("a final").2;
    assert_eq!(
        (&last["event"], &last["result"]),
        (&json!("verified"), &json!("success"))
    );
    let path = "/v1/challenges/f-2/feedback";
    let early = ask("POST", w.running.http, path, r#"{"verified":true}"#).await;
    assert_eq!((early.status, &early.json()["known"]), (202, &json!(false)));
    assert_eq!(w.post(&text("f-2", "+12025559002")).await.status, 202);
    assert_eq!(
        w.names("f-2").await.last().map(String::as_str),
        Some("verified")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sixth_is_taken_and_then_rejected() {
    let w = World::new("").await;
    for n in 1..=6 {
        let taken = w.post(&text(&format!("n-{n}"), "+12025550123")).await;
        assert_eq!(taken.status, 202, "{n}");
    }
    for n in 1..=5 {
        assert_eq!(
            w.names(&format!("n-{n}")).await.last().map(String::as_str),
            Some("delivered")
        );
    }
    let reports = w.reports("n-6").await;
    let last = &reports.last().expect("a final").2;
    assert_eq!(
        (&last["event"], &last["reason"]),
        (&json!("rejected"), &json!("too_many_attempts"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_where_it_is_set() {
    let settings = "token = { file = \"http.token\" }";
    // The file must be there before the gateway starts: it stands beside the settings.
    let w = World::new_with(settings, |folder| folder.write("http.token", "s3cret")).await;
    let job = text("k-1", "+12025550123").to_string();
    let with = async |value: &str| {
        let headers = [("Authorization", value)];
        ask_with("POST", w.running.http, "/v1/challenges", &job, &headers)
            .await
            .status
    };
    assert_eq!(
        ask("POST", w.running.http, "/v1/challenges", &job)
            .await
            .status,
        401
    );
    assert_eq!(ask("GET", w.running.http, "/nowhere", "").await.status, 401);
    for wrong in ["Bearer s3cre", "Bearer s3cret2", "s3cret", "Basic s3cret"] {
        assert_eq!(with(wrong).await, 401, "{wrong}");
    }
    assert_eq!(with("Bearer s3cret").await, 202);
    assert_eq!(w.admin("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_slow_clients_break_nothing() {
    let w = World::new("").await;
    let mut slow = Vec::new();
    for at in [w.running.http, w.running.callbacks, w.running.admin] {
        let mut raw = tokio::net::TcpStream::connect(at)
            .await
            .expect("a connection");
        raw.write_all(b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
            .await
            .expect("taken");
        let mut answer = Vec::new();
        raw.read_to_end(&mut answer).await.expect("closed in order");
        assert!(
            answer.starts_with(b"HTTP/1.1 400"),
            "{at}: {:?}",
            String::from_utf8_lossy(&answer)
        );
        // A head that never ends, and a body that never comes.
        for begun in [
            "POST /v1/challenges HTTP/1.1\r\nHost: x\r\n",
            "POST /v1/challenges HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        ] {
            let mut raw = tokio::net::TcpStream::connect(at)
                .await
                .expect("a connection");
            raw.write_all(begun.as_bytes()).await.expect("taken");
            slow.push(raw);
        }
    }
    assert_eq!(w.post(&text("g-1", "+12025550123")).await.status, 202);
    assert_eq!(w.names("g-1").await, ["accepted", "sent", "delivered"]);
    assert_eq!(
        ask("POST", w.running.callbacks, "/callbacks/nobody", "x")
            .await
            .status,
        401
    );
    let unsigned = ask("POST", w.running.callbacks, "/callbacks/tailspin", "{}").await;
    assert_eq!(unsigned.status, 401);
    let reasons: Value = w.admin("/readyz").await.json();
    assert_eq!(reasons["reasons"], json!([]));
}
