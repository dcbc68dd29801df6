//! Carriers that are well at their link and not at their traffic, and what the operator is told of it.

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ringback::challenge::Method;
use serde_json::Value;
use simulators::script::{Faults, Often, Refusal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    carriers::{carriers, until_state},
    world::{LIMIT, Plan, World, challenge},
};

/// The log of a test that runs in one thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn lines(&self, with: &[&str]) -> Vec<String> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| with.iter().all(|word| line.contains(word)))
            .map(str::to_owned)
            .collect()
    }

    pub fn record(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn number(n: usize) -> String {
    format!("+1202555{:04}", 100 + n)
}

async fn text(w: &World, stem: &str, n: usize) -> Value {
    let ch = challenge(&format!("{stem}-{n}"), &number(n), Method::SmsCode);
    w.ask(ch).await
}

/// An SMSC that answers every bind with this status, every enquire_link, and never a submit.
async fn link_only(bind: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_links(stream, bind));
        }
    });
    address
}

async fn answer_links(mut stream: TcpStream, bind: u32) -> std::io::Result<()> {
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut body = vec![0; word(0) as usize - 16];
        stream.read_exact(&mut body).await?;
        let (name, status): (&[u8], u32) = match word(4) {
            1 | 2 | 9 => (b"link-only\0", bind),
            0x15 => (b"", 0),
            _ => continue,
        };
        let mut answer = (16 + name.len() as u32).to_be_bytes().to_vec();
        answer.extend((word(4) | 0x8000_0000).to_be_bytes());
        answer.extend(status.to_be_bytes());
        answer.extend(&head[12..]);
        answer.extend(name);
        stream.write_all(&answer).await?;
    }
}

const TWO_TIERS: &str = "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"97671\"]\n\
                         [[sms]]\ntier = 2\ncarrier = \"litware\"\nsenders = [\"97671\"]\n";

fn beside_litware(file: String) -> Plan {
    Plan {
        smsc: vec!["litware"],
        trunks: vec![],
        routes: BTreeMap::from([("us", TWO_TIERS.to_owned())]),
        files: BTreeMap::from([("carriers/tailspin.toml", file)]),
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_answers_its_link_and_no_text_is_left_at_low_traffic() {
    let at = link_only(0).await;
    let w = World::with(beside_litware(format!(
        "transport = \"smpp\"\nendpoints = [\"{at}\"]\nsystem_id = \"mfa\"\n\
         response_timeout = \"1200ms\"\nprobe = \"1s\"\n"
    )))
    .await;
    until_state(&w, "tailspin", "healthy").await;
    // One after another: never more than one in the air, and several answered probes between two texts.
    let mut detours = 0;
    for n in 0..3 {
        let last = text(&w, "lt", n).await;
        assert_eq!(last["carrier"], "litware", "{last:#}");
        detours += usize::from(last["attempts"].as_array().map(Vec::len) == Some(2));
    }
    assert_eq!(detours, 3);
    let view = carriers(&w).await;
    let tailspin = view.iter().find(|c| &*c.name == "tailspin").expect("it");
    assert_eq!(tailspin.state, "suspended", "{tailspin:?}");
    assert!(
        tailspin.reason.starts_with("silent: 3 attempts"),
        "{tailspin:?}"
    );
    let last = text(&w, "lt", 3).await;
    assert_eq!(
        last["attempts"].as_array().map(Vec::len),
        Some(1),
        "{last:#}"
    );
}

async fn refuses(code: u32, texts: usize) -> (World, Vec<usize>) {
    let w = World::with(Plan::default()).await;
    until_state(&w, "northwind", "healthy").await;
    until_state(&w, "litware", "healthy").await;
    w.smsc["northwind"].faults().change(|f| {
        f.error = Refusal {
            often: Often::ALWAYS,
            code,
        };
    });
    let mut attempts = Vec::new();
    for n in 0..texts {
        let last = text(&w, "rf", n).await;
        assert_eq!(
            (&last["event"], &last["carrier"]),
            (&"delivered".into(), &"litware".into())
        );
        attempts.push(last["attempts"].as_array().map_or(0, Vec::len));
    }
    (w, attempts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_refuses_everything_for_our_sake_is_not_used() {
    let (w, attempts) = refuses(0x03, 8).await;
    assert_eq!(attempts, [2, 2, 2, 2, 2, 1, 1, 1]);
    let view = carriers(&w).await;
    let northwind = view.iter().find(|c| &*c.name == "northwind").expect("it");
    assert!(northwind.reason.contains("0x00000003"), "{northwind:?}");
    w.smsc["northwind"].faults().set(Faults::default());
    until_by_northwind(&w, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_that_a_carrier_refuses_are_not_used_there() {
    // Five refusals for each of the four senders, and then none.
    let (w, attempts) = refuses(0x0A, 24).await;
    let detours: usize = attempts.iter().filter(|n| **n > 1).count();
    assert!((20..=22).contains(&detours), "{attempts:?}");
    // The trace of one that went the other way at once says why.
    let direct = attempts
        .iter()
        .rposition(|n| *n == 1)
        .expect("a direct one");
    let id = format!("rf-{direct}");
    let kept = w.gateway.ledger.find("default", &id).await;
    let kept = kept.expect("the ledger").expect("it is kept");
    let life: Value = serde_json::from_slice(&kept.life).expect("JSON");
    let left_out = life["attempts"][0]["left_out"].to_string();
    assert!(
        left_out.contains("northwind 97671: refused_by_carrier"),
        "{left_out}"
    );
    let view = carriers(&w).await;
    let northwind = view.iter().find(|c| &*c.name == "northwind").expect("it");
    assert_eq!(northwind.state, "healthy");
    assert!(
        northwind
            .reason
            .contains("refuses sender 97671 in US: 0x0000000a"),
        "{northwind:?}"
    );
    w.smsc["northwind"].faults().set(Faults::default());
    until_by_northwind(&w, 100).await;
}

/// It is tried again, and used again.
async fn until_by_northwind(w: &World, first: usize) {
    let began = Instant::now();
    for n in first.. {
        let last = text(w, "again", n).await;
        if last["carrier"] == "northwind" {
            return;
        }
        assert!(began.elapsed() < LIMIT, "never used again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn each_change_of_a_carriers_state_is_logged_once() {
    let log = Log::default();
    let _guard = log.record();
    let w = World::with(Plan::default()).await;
    until_state(&w, "northwind", "healthy").await;
    w.smsc["northwind"].faults().change(|f| f.down = true);
    until_state(&w, "northwind", "suspended").await;
    text(&w, "lg", 0).await;
    text(&w, "lg", 1).await;
    w.smsc["northwind"].faults().set(Faults::default());
    let began = Instant::now();
    let line = |to| log.lines(&["carrier state", "carrier=northwind", to]);
    while line("to=\"healthy\"").len() < 2 {
        assert!(
            began.elapsed() < LIMIT,
            "{:?}",
            log.lines(&["carrier state"])
        );
        text(&w, "lg", 10 + began.elapsed().as_millis() as usize % 5_000).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let down = line("to=\"suspended");
    let loud = down.iter().filter(|line| !line.contains("WARN")).count();
    assert_eq!(loud, 0, "{down:?}");
    assert!(down[0].contains("from=\"healthy\" "), "{down:?}");
    // The connection is closed, and then refused: two reasons, each once.
    let mut reasons: Vec<&str> = down
        .iter()
        .filter_map(|line| line.split("why=").nth(1))
        .collect();
    let all = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(
        (reasons.len(), (1..=2).contains(&all)),
        (all, true),
        "{down:#?}"
    );
}

#[tokio::test]
async fn a_suspension_is_logged_with_the_state_before_it_why_and_until_when() {
    let log = Log::default();
    let _guard = log.record();
    let (w, _) = refuses(0x03, 6).await;
    let line = |words: &[&str]| {
        let words = [&["carrier state", "carrier=northwind"], words].concat();
        log.lines(&words)
    };
    let suspended = line(&["to=\"suspended (refuses)\" "]);
    assert_eq!(suspended.len(), 1, "{:?}", line(&[]));
    for words in [
        "WARN",
        "from=\"healthy\" ",
        "why=5 refusals in a row",
        "0x00000003",
    ] {
        assert!(suspended[0].contains(words), "{words}: {suspended:?}");
    }
    // A time of day, and how long until then.
    let until = suspended[0].split("until=\"").nth(1);
    let until = until.and_then(|rest| rest.split('"').next()).unwrap_or("");
    let (at, left) = until.split_once(" (").expect("both");
    let left: u64 = left.trim_end_matches(" s)").parse().expect("seconds");
    assert!((1..LIMIT.as_secs()).contains(&left), "{suspended:?}");
    // The line begins with its own time, written alike.
    let logged = suspended[0].get(..at.len() - 1).unwrap_or("");
    assert!(at.ends_with('Z') && at > logged, "{suspended:?}");
    w.smsc["northwind"].faults().set(Faults::default());
    until_by_northwind(&w, 100).await;
    let probing = line(&["from=\"suspended (refuses)\" ", "to=\"probing (refuses)\" "]);
    assert!(!probing.is_empty(), "{:?}", line(&[]));
    let well = |line: &String| line.contains(" INFO ") && !line.contains("until=");
    assert!(probing.iter().all(well), "{probing:?}");
}

/// An HTTP carrier that takes no token of ours.
async fn unauthorised() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                    let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_wrong_token_is_said_once_with_its_status_and_shown() {
    let log = Log::default();
    let _guard = log.record();
    let at = unauthorised().await;
    let w = World::with(beside_litware(format!(
        "transport = \"http\"\n[request]\nmethod = \"POST\"\nurl = \"http://{at}/v1\"\n\
         headers = {{ \"Content-Type\" = \"application/json\" }}\nbody = '{{\"to\":{{to}},\"text\":{{text}}}}'\n\
         [response]\naccepted = [200]\n"
    )))
    .await;
    until_state(&w, "tailspin", "healthy").await;
    for n in 0..8 {
        text(&w, "wt", n).await;
    }
    let said = log.lines(&["WARN", "carrier=tailspin", "401", "credentials"]);
    assert_eq!(said.len(), 1, "{said:?}");
    let state = log.lines(&["WARN", "carrier state", "carrier=tailspin", "401"]);
    assert_eq!(state.len(), 1, "{state:?}");
    let view = carriers(&w).await;
    let tailspin = view.iter().find(|c| &*c.name == "tailspin").expect("it");
    assert!(tailspin.reason.contains("401"), "{tailspin:?}");
}

#[tokio::test]
async fn a_refused_bind_is_said_once_with_its_status_and_shown() {
    const ESME_RINVPASWD: u32 = 0x0E;
    let log = Log::default();
    let _guard = log.record();
    let at = link_only(ESME_RINVPASWD).await;
    let w = World::with(beside_litware(format!(
        "transport = \"smpp\"\nendpoints = [\"{at}\"]\nsystem_id = \"mfa\"\n"
    )))
    .await;
    let began = Instant::now();
    let refused = async || {
        let view = carriers(&w).await;
        let tailspin = view.into_iter().find(|c| &*c.name == "tailspin");
        let tailspin = tailspin.expect("it");
        tailspin.state == "suspended" && tailspin.reason.contains("0x0000000e")
    };
    while !refused().await {
        assert!(began.elapsed() < LIMIT, "{:?}", carriers(&w).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is tried again and again, and each time refused.
    for n in 0..8 {
        let last = text(&w, "rb", n).await;
        assert_eq!(last["carrier"], "litware", "{last:#}");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let said = log.lines(&["WARN", "carrier=tailspin", "0x0000000e"]);
    assert_eq!(said.len(), 1, "{said:#?}");
}

/// So long no receipts come.
const OUTAGE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_receipts_costs_no_text_after_it() {
    let only = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    let w = World::with(Plan {
        smsc: vec!["northwind"],
        trunks: vec![],
        routes: BTreeMap::from([("us", only.to_owned())]),
        ..Plan::default()
    })
    .await;
    until_state(&w, "northwind", "healthy").await;
    let send = async |stem: &str, n: usize| {
        let ch = challenge(&format!("{stem}-{n}"), &number(n), Method::SmsCode);
        w.send(ch).await;
    };
    for n in 0..120 {
        send("well", n).await;
    }
    for n in 0..120 {
        let last = w.caller.last(&format!("well-{n}")).await;
        assert_eq!(last["event"], "delivered", "{last:#}");
    }
    w.smsc["northwind"]
        .faults()
        .change(|f| f.no_receipts = Often::ALWAYS);
    let outage = Instant::now();
    for n in 200..260 {
        send("out", n).await;
    }
    let collapsed = async || {
        let view = carriers(&w).await;
        view[0].reason.starts_with("receipts_collapsed")
    };
    while !collapsed().await {
        // Long before the lives of those texts are over.
        assert!(outage.elapsed() < OUTAGE, "{:?}", carriers(&w).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is sent all the same while it lasts, and marked.
    let (mut during, mut marked) = (0, 0);
    while outage.elapsed() < OUTAGE {
        send("same", 300 + during).await;
        let id = format!("same-{}", 300 + during);
        let sent = |heard: &[Value]| heard.iter().find(|r| r["event"] == "sent").cloned();
        let sent = w.caller.until(&id, sent).await;
        // Now and then one is to show whether receipts come again.
        marked += usize::from(sent["why"] == "receipts_missing");
        during += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(marked + 2 >= during && during > 10, "{marked} of {during}");
    w.smsc["northwind"].faults().set(Faults::default());
    for n in 0..30 {
        let last = text(&w, "back", 1_000 + n).await;
        assert_eq!(last["event"], "delivered", "{last:#}");
        let attempts = last["attempts"].as_array().map(Vec::len);
        assert_eq!(attempts, Some(1), "{last:#}");
    }
    until_state(&w, "northwind", "healthy").await;
}

/// So many texts at 100 a second, half of them by a carrier that has just fallen silent.
const BESIDE_SILENCE: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_carrier_that_falls_silent_texts_wait_little_longer_than_its_timeout() {
    let equal = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n\
                 [[sms]]\ncarrier = \"litware\"\nsenders = [\"97671\"]\n";
    let w = World::with(Plan {
        trunks: vec![],
        routes: BTreeMap::from([("us", equal.to_owned())]),
        extra: BTreeMap::from([("northwind", "response_timeout = \"3s\"".to_owned())]),
        ..Plan::default()
    })
    .await;
    until_state(&w, "northwind", "healthy").await;
    until_state(&w, "litware", "healthy").await;
    for n in 0..40 {
        let last = text(&w, "well", n).await;
        assert_eq!(last["event"], "delivered", "{last:#}");
    }
    w.smsc["northwind"].faults().change(|f| f.silent = true);
    let mut ends = Vec::new();
    for n in 0..BESIDE_SILENCE {
        let (id, caller) = (format!("bs-{n}"), w.caller.clone());
        w.send(challenge(&id, &number(100 + n), Method::SmsCode))
            .await;
        ends.push(tokio::spawn(async move {
            let began = Instant::now();
            let last = caller.last(&id).await;
            assert_eq!(last["event"], "delivered", "{last:#}");
            began.elapsed()
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut took = Vec::new();
    for end in ends {
        took.push(end.await.expect("a final"));
    }
    took.sort_unstable();
    let p95 = took[BESIDE_SILENCE * 95 / 100];
    assert!(p95 < Duration::from_secs(7), "{p95:?}");
}
