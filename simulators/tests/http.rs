//! The simulated HTTP carrier, the control address and the binary, over real sockets, with HTTP written by
//! hand.

use ring::hmac;
use serde_json::{Value, json};
use simulators::control::{Carrier, Control};
use simulators::http_carrier::{Callback, HttpCarrier, HttpConfig, HttpHandle};
use simulators::record::TextResult;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LONG: Duration = Duration::from_secs(20);

/// One request on its own connection: status and body; none where the connection ends without an answer.
async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Option<(u16, String)> {
    let talk = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    };
    tokio::time::timeout(LONG, talk)
        .await
        .expect("an answer, or the end of the connection, in time")
}

async fn order(carrier: &HttpHandle, body: Value) -> Option<(u16, Value)> {
    let headers = "Content-Type: application/json\r\nAuthorization: Bearer tok\r\n";
    let (status, body) = ask(
        carrier.address(),
        "POST",
        "/v1/messages",
        headers,
        &body.to_string(),
    )
    .await?;
    Some((status, serde_json::from_str(&body).unwrap()))
}

fn text(to: &str) -> Value {
    json!({ "to": to, "from": "97671", "text": "Your code is 482913", "ref": "a-1" })
}

/// Where the gateway would listen: takes callbacks, answers as told.
struct Gateway {
    listener: TcpListener,
}

impl Gateway {
    async fn open() -> Gateway {
        Gateway {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    fn url(&self) -> String {
        format!(
            "http://{}/callbacks/tailspin",
            self.listener.local_addr().unwrap()
        )
    }

    /// The next callback, its signature checked; answered with this status.
    async fn callback(&self, status: u16) -> Value {
        let take = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut request = Vec::new();
            let body_at = loop {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                let head_end = request.windows(4).position(|w| w == b"\r\n\r\n");
                let Some(end) = head_end else { continue };
                let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .unwrap()
                    .split("\r\n")
                    .next()
                    .unwrap();
                if request.len() == end + 4 + length.parse::<usize>().unwrap() {
                    break end + 4;
                }
            };
            let answer =
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (head, body) = (
                String::from_utf8_lossy(&request[..body_at]).to_lowercase(),
                &request[body_at..],
            );
            let signature = head
                .split("x-ringback-signature: t=")
                .nth(1)
                .unwrap()
                .split("\r\n")
                .next()
                .unwrap();
            let (at, sum) = signature.split_once(",v1=").unwrap();
            let key = hmac::Key::new(hmac::HMAC_SHA256, b"callback-key");
            let expected = hmac::sign(&key, &[at.as_bytes(), b".", body].concat());
            assert_eq!(
                sum,
                hex::encode(expected),
                "the signature covers the time and the raw body"
            );
            serde_json::from_slice(body).unwrap()
        };
        tokio::time::timeout(LONG, take)
            .await
            .expect("a callback in time")
    }
}

async fn carrier(gateway: &Gateway) -> HttpHandle {
    let callback = Some(Callback {
        url: gateway.url(),
        key: "callback-key".into(),
    });
    HttpCarrier::start(HttpConfig {
        token: Some("tok".into()),
        callback,
        ..HttpConfig::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_text_is_taken_and_its_receipt_comes_signed_until_it_is_heard() {
    let gateway = Gateway::open().await;
    let carrier = carrier(&gateway).await;
    let (status, answer) = order(&carrier, text("+12025550123")).await.unwrap();
    assert_eq!(status, 201);
    let first = gateway.callback(503).await;
    assert_eq!(
        first,
        json!({ "id": answer["id"], "status": "delivered", "to": "+12025550123" })
    );
    assert_eq!(gateway.callback(200).await, first, "tried again");

    let line = &carrier.record().texts_to("+12025550123")[0];
    assert_eq!(line.receipts, ["DELIVRD"], "however often it is tried");
    assert_eq!(line.sender_reference.as_deref(), Some("a-1"));
    assert_eq!(line.text, "Your code is 482913");
    carrier.stop().await;
}

#[tokio::test]
async fn special_people_and_faults() {
    let gateway = Gateway::open().await;
    let carrier = carrier(&gateway).await;
    assert_eq!(order(&carrier, text("+12025559006")).await.unwrap().0, 400);
    assert!(
        order(&carrier, text("+12025559008")).await.is_none(),
        "taken, but never answered"
    );
    assert_eq!(gateway.callback(200).await["status"], "delivered");
    assert!(!carrier.record().texts_to("+12025559008")[0].answered);

    order(&carrier, text("+12025559001")).await.unwrap();
    let failed = gateway.callback(200).await;
    assert_eq!(
        (failed["status"].as_str(), failed["code"].as_str()),
        (Some("failed"), Some("absent_subscriber"))
    );
    assert_eq!(
        carrier.record().texts_to("+12025559001")[0].result,
        TextResult::Unread
    );

    order(&carrier, text("+12025559012")).await.unwrap();
    gateway.callback(200).await;
    let reply = gateway.callback(200).await;
    assert_eq!(
        (reply["text"].as_str(), reply["to"].as_str()),
        (Some("482913"), Some("97671"))
    );

    carrier.faults().apply(&json!({"throttle": 1.0})).unwrap();
    let (status, body) = order(&carrier, text("+12025550123")).await.unwrap();
    assert_eq!((status, &body["error"]["code"]), (429, &json!("throttled")));
    carrier
        .faults()
        .apply(&json!({"throttle": null, "error": {"often": 1.0, "code": 503}}))
        .unwrap();
    assert_eq!(order(&carrier, text("+12025550123")).await.unwrap().0, 503);
    carrier
        .faults()
        .apply(&json!({"error": null, "down": true}))
        .unwrap();
    while TcpStream::connect(carrier.address()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(carrier.record().summary().protocol_errors, 0);
}

#[tokio::test]
async fn what_is_not_a_sound_order_is_refused() {
    let gateway = Gateway::open().await;
    let carrier = carrier(&gateway).await;
    let at = carrier.address();
    let json_kind = "Content-Type: application/json\r\n";
    let allowed = "Content-Type: application/json\r\nAuthorization: Bearer tok\r\n";
    for (method, headers, body, status) in [
        ("GET", allowed, "", 405),
        ("POST", json_kind, "{}", 401),
        ("POST", "Authorization: Bearer tok\r\n", "{}", 415),
        ("POST", allowed, "{", 400),
        (
            "POST",
            allowed,
            r#"{"to":"+1202abc","from":"97671","text":"x"}"#,
            400,
        ),
        (
            "POST",
            allowed,
            r#"{"to":"+12025550123","from":"97671","text":""}"#,
            400,
        ),
    ] {
        assert_eq!(
            ask(at, method, "/v1/messages", headers, body)
                .await
                .unwrap()
                .0,
            status,
            "{body}"
        );
    }
    assert_eq!(carrier.record().summary().protocol_errors, 5);
    assert_eq!(carrier.record().summary().texts, 0);
}

#[tokio::test]
async fn the_control_address_shows_and_steers() {
    let gateway = Gateway::open().await;
    let carrier = Arc::new(carrier(&gateway).await);
    let record = carrier.record().clone();
    let control = Control::start(
        ([127, 0, 0, 1], 0).into(),
        vec![Carrier::http(&carrier)],
        record,
    )
    .await
    .unwrap();
    let at = control.address();
    let asking = |method, path: &'static str, body: &'static str| async move {
        ask(at, method, path, "", body).await.unwrap()
    };
    assert_eq!(asking("GET", "/healthz", "").await.0, 200);

    let (waiting, _) = tokio::join!(
        asking("GET", "/record?to=12025550123&wait=20000", ""),
        async {
            order(&carrier, text("+12025550122")).await;
            order(&carrier, text("+12025550123")).await;
        }
    );
    let line: Value = serde_json::from_str(waiting.1.lines().next().unwrap()).unwrap();
    assert_eq!(
        (
            waiting.1.lines().count(),
            line["kind"].as_str(),
            line["seq"].as_u64()
        ),
        (1, Some("text"), Some(2))
    );
    assert_eq!(
        asking("GET", "/record?since=1", "").await.1.lines().count(),
        1
    );
    assert_eq!(
        asking("GET", "/codes?to=12025550123", "").await.1,
        r#"["482913"]"#
    );
    let summary: Value = serde_json::from_str(&asking("GET", "/summary", "").await.1).unwrap();
    assert_eq!(
        (&summary["texts"], &summary["protocol_errors"]),
        (&json!(2), &json!(0))
    );

    assert_eq!(asking("POST", "/faults?carrier=nobody", "{}").await.0, 404);
    assert_eq!(asking("POST", "/faults", r#"{"dwon": true}"#).await.0, 422);
    assert_eq!(asking("POST", "/faults", "down").await.0, 400);
    assert_eq!(
        asking("POST", "/faults?carrier=http", r#"{"throttle": 1}"#)
            .await
            .0,
        200
    );
    let faults: Value = serde_json::from_str(&asking("GET", "/faults", "").await.1).unwrap();
    assert_eq!(faults["http"]["throttle"], json!(1.0));
    assert_eq!(order(&carrier, text("+12025550123")).await.unwrap().0, 429);

    let said = asking(
        "POST",
        "/texts",
        r#"{"from": "+12025550123", "to": "97671", "text": "STOP"}"#,
    )
    .await;
    assert_eq!(said.0, 202);
    while gateway.callback(200).await["text"] != "STOP" {}
    assert_eq!(asking("DELETE", "/record", "").await.0, 204);
    assert_eq!(asking("GET", "/record", "").await.1, "");
    control.stop().await;
    assert!(TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn the_binary_says_where_it_listens_and_ends_on_sigterm() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let run = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_carrier-sim"))
            .args([
                "all",
                "--listen",
                "127.0.0.1:0",
                "--control",
                "127.0.0.1:0",
                "--faults",
                r#"{"throttle": 1}"#,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut addresses = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            addresses.push((
                line.clone(),
                line.rsplit(' ')
                    .next()
                    .unwrap()
                    .parse::<SocketAddr>()
                    .unwrap(),
            ));
            if line.starts_with("control") {
                break;
            }
        }
        (child, addresses)
    };
    let (mut child, addresses) = tokio::task::spawn_blocking(run).await.unwrap();
    let (_, control) = addresses.last().unwrap();
    assert!(addresses[0].0.starts_with("smsc ") && addresses[1].0.starts_with("http "));
    assert!(addresses[2].0.starts_with("trunk ") && addresses.len() == 4);
    let (status, faults) = ask(*control, "GET", "/faults?carrier=smsc", "", "")
        .await
        .unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&faults).unwrap()["throttle"],
        json!(1.0)
    );
    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));

    let wrong = Command::new(env!("CARGO_BIN_EXE_carrier-sim"))
        .args(["smsc", "--faults", "{"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
