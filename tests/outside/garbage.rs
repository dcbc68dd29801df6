//! Garbage at every door: the gateway answers clearly, serves on, and grows no fatter for it.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use simulators::script::Dice;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
};

use crate::{
    ALONE,
    broker::Broker,
    caller::{Caller, Letter, take_dead},
    gateway::{Gateway, ask, get, log, post, tail, until},
    jobs::letter,
    town::{RTP, Town},
};

const LIMIT: Duration = Duration::from_secs(60);
/// Over what it had after its first traffic; in KiB. Buffers of what is open at one time fit in, a leak does not.
const GROWTH: u64 = 48 * 1024;
const SEED: u64 = 20_261;

/// One challenge by each way still works.
async fn serves(town: &Town, caller: &Caller, round: usize) {
    let challenges = [
        ("text", "sms_code", "delivered"),
        ("call", "voice_confirm", "confirmed"),
    ];
    for (at, (name, method, event)) in challenges.into_iter().enumerate() {
        let id = format!("{name}-{round}");
        let to = format!("+12025553{round}{at}0");
        let body = json!({ "id": id, "to": to, "method": method });
        caller.publish(&[letter(&id, &body)], 100).await;
        let ended = |c: &Caller| !c.story(&id).finals.is_empty();
        let came = caller.until(LIMIT, ended).await;
        let story = caller.story(&id);
        assert!(
            came && story.finals[0]["event"] == event,
            "{id}: {story:?}\n{}",
            tail(town)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_every_door() {
    let _alone = ALONE.lock().await;
    let Some(broker) = Broker::find() else {
        return;
    };
    let town = Town::build("garbage").await;
    let caller = Caller::start(&broker.url, &town.name).await;
    let mut gateway = Gateway::start(&town, &broker.url, "info,lapin=warn").await;
    serves(&town, &caller, 0).await;
    jobs(&town, &caller, 20).await;
    bytes(&town, 2).await;
    let before = gateway.memory();
    jobs(&town, &caller, 200).await;
    bytes(&town, 20).await;
    posts(&town).await;
    loris(&town).await;
    signalling(&town).await;
    media(&town, &caller).await;
    serves(&town, &caller, 1).await;
    let after = gateway.memory();
    assert!(
        after < before + GROWTH,
        "{before} KiB before the garbage, {after} after it"
    );
    assert!(gateway.alive());
    assert!(!log(&town).contains("panicked"), "{}", tail(&town));
    until(LIMIT, "calls left up", || town.live_calls() == 0).await;
    assert_eq!(gateway.drain().await, 0, "{}", tail(&town));
}

/// Random octets, as a client of each kind would send them.
async fn bytes(town: &Town, times: u64) {
    let mut dice = Dice::new(SEED);
    for n in 0..times {
        for at in [town.http, town.callbacks, town.admin, town.sip] {
            let length = 1 + dice.below(100_000) as usize;
            let mut octets: Vec<u8> = (0..length).map(|_| dice.bits() as u8).collect();
            if n % 2 == 1 {
                // Begins like a request, goes on like nothing.
                octets.splice(
                    0..0,
                    b"POST /v1/challenges HTTP/1.1\r\nHost: x\r\n"
                        .iter()
                        .copied(),
                );
            }
            if let Ok(mut stream) = TcpStream::connect(at).await {
                // It may close before all is written.
                let _ = stream.write_all(&octets).await;
            }
        }
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        for _ in 0..50 {
            let length = dice.below(1_400) as usize;
            let octets: Vec<u8> = (0..length).map(|_| dice.bits() as u8).collect();
            let _ = socket.send_to(&octets, town.sip).await;
        }
    }
    for at in [town.http, town.callbacks, town.admin] {
        let answer = ask(at, b"\x16\x03\x01 what is this\r\n\r\n")
            .await
            .unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 400"), "{at}: {answer}");
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
            "x".repeat(1_000_000)
        );
        let answer = ask(at, head.as_bytes()).await.unwrap_or_default();
        assert!(!answer.starts_with("HTTP/1.1 200"), "{at}: {answer}");
    }
}

/// Requests that are whole, and wrong.
async fn posts(town: &Town) {
    let status = |answer: Option<String>| {
        answer
            .unwrap_or_default()
            .chars()
            .skip(9)
            .take(3)
            .collect::<String>()
    };
    let long = vec![b' '; 1_000_000];
    for (body, expected) in [
        (b"not json".as_slice(), "400"),
        (b"[]", "400"),
        (b"{}", "400"),
        (b"{\"id\":\"x\",\"to\":1,\"method\":\"sms_code\"}", "400"),
        (
            b"{\"id\":\"x\",\"to\":\"+12025550123\",\"method\":\"sms_code\",\"colour\":1}",
            "400",
        ),
        (&long, "413"),
    ] {
        let answer = post(town.http, "/v1/challenges", body).await;
        let told = answer.clone().unwrap_or_default();
        assert_eq!(status(answer), expected, "{told}");
        assert!(expected == "413" || told.contains("\"reason\""), "{told}");
    }
    let wrong =
        json!({ "id": "sp ace", "to": 7, "method": "pigeon", "lifetime_s": 1, "colour": "blue" });
    let told = post(town.http, "/v1/challenges", wrong.to_string().as_bytes()).await;
    let told = told.unwrap_or_default();
    for field in ["id", "to", "method", "lifetime_s", "colour"] {
        assert!(
            told.contains(&format!("\"field\":\"{field}\"")),
            "every fault at once: {told}"
        );
    }
    let unsigned = post(
        town.callbacks,
        "/callbacks/tailspin",
        b"{\"id\":\"1\",\"status\":\"delivered\"}",
    );
    assert_eq!(status(unsigned.await), "401");
    assert_eq!(
        status(post(town.callbacks, "/callbacks/tailspin", &long).await),
        "413"
    );
    assert_eq!(
        status(post(town.callbacks, "/callbacks/nobody", b"{}").await),
        "401"
    );
    assert_eq!(status(get(town.admin, "/no/such/page").await), "404");
}

/// Many who say almost nothing, very slowly, keep nobody else out.
async fn loris(town: &Town) {
    let mut slow = Vec::new();
    for at in [town.http, town.callbacks, town.admin, town.sip] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(at).await.expect("a connection");
            stream.write_all(b"POST /").await.expect("a few octets");
            slow.push(stream);
        }
    }
    for stream in &mut slow {
        // One that was closed meanwhile is the gateway's good right.
        let _ = stream.write_all(b"v").await;
    }
    for (at, path) in [(town.http, "/v1/challenges/none"), (town.admin, "/healthz")] {
        assert!(get(at, path).await.is_some(), "{at} is kept busy");
    }
    drop(slow);
}

/// SIP that is broken in every way that RFC 4475 knows, and some more.
async fn signalling(town: &Town) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rfc4475");
    let files = std::fs::read_dir(folder).expect("the torture messages");
    let mut messages: Vec<Vec<u8>> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "dat"))
        .map(|path| std::fs::read(path).expect("a message"))
        .collect();
    assert!(messages.len() >= 49, "{}", messages.len());
    let head = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKx\r\n";
    messages.push(format!("{head}Content-Length: 4294967295\r\n\r\n").into_bytes());
    messages.push(format!("{head}X: {}", "y".repeat(200_000)).into_bytes());
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut streams = JoinSet::new();
    for message in messages {
        // Larger than a datagram can be: TCP only.
        let _ = socket.send_to(&message, town.sip).await;
        let at = town.sip;
        streams.spawn(async move { converse(at, message).await });
    }
    streams.join_all().await;
    let mut stream = TcpStream::connect(town.sip).await.expect("still listening");
    let options = format!(
        "OPTIONS sip:x@{0} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKlast\r\nMax-Forwards: 70\r\n\
         From: <sip:t@127.0.0.1>;tag=1\r\nTo: <sip:x@{0}>\r\nCall-ID: last\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        town.sip
    );
    stream
        .write_all(options.as_bytes())
        .await
        .expect("a request");
    let mut answer = [0; 12];
    let read = tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await;
    assert!(
        read.is_ok_and(|r| r.is_ok()) && &answer == b"SIP/2.0 200 ",
        "{answer:?}"
    );
}

async fn converse(at: SocketAddr, message: Vec<u8>) {
    let Ok(mut stream) = TcpStream::connect(at).await else {
        return;
    };
    let _ = stream.write_all(&message).await;
    let mut answer = [0; 1_024];
    // An answer or none, as RFC 4475 has it; what counts is who is still there afterwards.
    let _ = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
}

/// Datagrams at every media port while a person listens: the call goes on.
async fn media(town: &Town, caller: &Caller) {
    let id = "amid-noise";
    let body = json!({ "id": id, "to": "+12025559031", "method": "voice_confirm" });
    caller.publish(&[letter(id, &body)], 100).await;
    let answered = |c: &Caller| c.story(id).events.values().any(|e| e == "answered");
    assert!(caller.until(LIMIT, answered).await, "{}", tail(town));
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut dice = Dice::new(SEED);
    for _ in 0..5 {
        for port in RTP {
            let length = dice.below(400) as usize;
            let mut octets: Vec<u8> = (0..length).map(|_| dice.bits() as u8).collect();
            if let Some(first) = octets.first_mut() {
                // Half of them look like RTP.
                *first = if *first & 1 == 0 { 0x80 } else { *first };
            }
            let _ = socket.send_to(&octets, ("127.0.0.1", port)).await;
        }
    }
    let ended = |c: &Caller| !c.story(id).finals.is_empty();
    assert!(caller.until(LIMIT, ended).await, "{}", tail(town));
    let story = caller.story(id);
    assert_eq!(
        story.finals[0]["event"], "confirmed",
        "{:#}",
        story.finals[0]
    );
}

/// Bad jobs: each an error to the asker and a record on the dead letters, and acked.
async fn jobs(town: &Town, caller: &Caller, times: usize) {
    let (told, buried) = (caller.errors().len(), caller.dead().len());
    let good = json!({ "id": "g", "to": "+12025550123", "method": "sms_code" });
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body.to_string().into_bytes()
    };
    let mut bodies: Vec<Vec<u8>> = vec![
        b"not JSON".to_vec(),
        b"".to_vec(),
        b"[1, 2".to_vec(),
        b"\"text\"".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        vec![b'['; 60_000],
        vec![b'x'; 1_000_000],
        with("colour", json!("blue")),
        with("v", json!(2)),
        with("to", json!(12)),
        with("id", json!("")),
        with("id", json!("a b")),
        with("id", json!("x".repeat(129))),
        with("method", json!("pigeon")),
        with("method", json!(["sms_code"])),
        with("code", json!(482_913)),
        with("code", json!("12")),
        with("lifetime_s", json!(901)),
        with("lifetime_s", json!(-1)),
        with("issued_at", json!("yesterday")),
        with("fallback", json!({})),
        with("meta", json!({ "name": 1 })),
        with("text", json!("")),
        with("user", json!("a\u{0}b")),
        with("caller_id", json!("Bob")),
        with("region", json!("SWE")),
        with("tenant", json!(0)),
    ];
    let kinds = bodies.len();
    bodies = (0..times.max(kinds))
        .map(|n| bodies[n % kinds].clone())
        .collect();
    let letters: Vec<Letter> = bodies
        .into_iter()
        .map(|body| Letter {
            id: "garbage".into(),
            body,
        })
        .collect();
    caller.publish(&letters, 500).await;
    let all = |c: &Caller| c.errors().len() >= told + letters.len();
    let came = caller.until(LIMIT, all).await;
    assert!(
        came,
        "{} errors of {}\n{}",
        caller.errors().len() - told,
        letters.len(),
        tail(town)
    );
    for error in &caller.errors()[told..] {
        let faults = error["faults"].as_array().is_some_and(|f| !f.is_empty());
        assert!(error["reason"] == "bad_job" && faults, "{error:#}");
    }
    take_dead(caller).await;
    assert_eq!(caller.dead().len() - buried, letters.len(), "dead letters");
    // A control character in a number is no bad job: it is a number that is none.
    let id = format!("control-{told}");
    let body = json!({ "id": id, "to": "+1202555\u{7}0123", "method": "sms_code" });
    caller.publish(&[letter(&id, &body)], 100).await;
    let ended = |c: &Caller| !c.story(&id).finals.is_empty();
    assert!(caller.until(LIMIT, ended).await, "{}", tail(town));
    let story = caller.story(&id);
    assert_eq!(story.finals[0]["reason"], "invalid_number");
}
