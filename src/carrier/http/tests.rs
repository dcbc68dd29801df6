//! Over real sockets, against the simulated HTTP carrier, callbacks through the router.

use std::time::Duration;

use arc_swap::ArcSwap;
use simulators::{
    http_carrier::{self, HttpCarrier, HttpHandle},
    record::TextResult,
    script::{Faults, Often},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    carrier::{
        AttemptEvent, CarrierEvent, Finish, Incoming, Link, Receipt, ReceiptState, Text, callbacks,
    },
    cause::{Cause, Failure, Verdict},
    challenge::ChallengeKey,
    config::carrier::{HttpAuth, HttpCallback, HttpConfig, HttpRequest, HttpResponse, Secret, Tls},
    number::Number,
};

mod answers;

const LIMIT: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-token";

struct Rig {
    handle: TextCarrier,
    said: mpsc::Receiver<CarrierMessage>,
    heard: Vec<CarrierEvent>,
    _secret: Secrets,
}

/// The token and the callback key in a file of this test's own.
struct Secrets(std::path::PathBuf);

impl Secrets {
    fn new() -> Secrets {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringback-http-{}-{n}", std::process::id()));
        std::fs::write(&path, TOKEN).unwrap();
        Secrets(path)
    }

    fn secret(&self) -> Secret {
        Secret::File(self.0.clone())
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn config(url: &str, window: u32, timeout: Duration, secret: Secret) -> Arc<CarrierConfig> {
    let request = HttpRequest {
        method: "POST".into(),
        url: url.into(),
        headers: Default::default(),
        auth: Some(HttpAuth::Bearer(secret.clone())),
        body: r#"{"to":{to},"from":{sender},"text":{text},"ref":{ref}}"#.into(),
    };
    let response = HttpResponse {
        accepted: vec![200, 201, 202],
        reference: Some("/id".into()),
        code: Some("/error/code".into()),
        verdict: None,
    };
    let callback = HttpCallback {
        keys: vec![secret],
        each: None,
        id: None,
        reference: "/id".into(),
        state: "/status".into(),
        delivered: vec!["delivered".into()],
        undelivered: vec!["failed".into()],
        code: Some("/code".into()),
        from: Some("/from".into()),
        to: Some("/to".into()),
        text: Some("/text".into()),
    };
    Arc::new(CarrierConfig {
        name: "tailspin".into(),
        enabled: true,
        transport: Transport::Http(HttpConfig {
            window,
            request,
            response,
            callback: Some(Box::new(callback)),
        }),
        endpoints: Vec::new(),
        tls: Tls::default(),
        pace: None,
        response_timeout: timeout,
        receipt_wait: None,
        probe: Some(Duration::from_secs(30)),
        status: [("422".into(), Cause::InvalidNumber)].into(),
    })
}

fn rig(url: &str, window: u32, timeout: Duration) -> (Rig, CallbackHandle) {
    let secret = Secrets::new();
    let (to_dispatch, said) = mpsc::channel(crate::carrier::SAID);
    let (handle, callbacks) = start(config(url, window, timeout, secret.secret()), to_dispatch);
    (
        Rig {
            handle,
            said,
            heard: Vec::new(),
            _secret: secret,
        },
        callbacks,
    )
}

/// The simulated carrier, its callbacks served, and the driver on it, up.
async fn served(faults: Faults, window: u32, timeout: Duration) -> (HttpHandle, Rig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/callbacks/tailspin",
        listener.local_addr().unwrap()
    );
    let carrier = HttpCarrier::start(http_carrier::HttpConfig {
        token: Some(TOKEN.into()),
        callback: Some(http_carrier::Callback {
            url,
            key: TOKEN.into(),
        }),
        ..http_carrier::HttpConfig::default()
    });
    let carrier = carrier.await.unwrap();
    carrier.faults().set(faults);
    let (mut rig, callbacks) = rig(
        &format!("http://{}/v1/messages", carrier.address()),
        window,
        timeout,
    );
    let table: callbacks::Table = Arc::new(ArcSwap::from_pointee(
        [("tailspin".into(), callbacks)].into(),
    ));
    tokio::spawn(async move { axum::serve(listener, callbacks::router(table)).await });
    rig.link(&Link::Up).await;
    (carrier, rig)
}

fn key(n: i64) -> AttemptKey {
    AttemptKey {
        challenge: crate::challenge::ChallengeKey(n),
        attempt: 1,
    }
}

fn phone(n: i64) -> String {
    format!("+120255{:05}", n % 9_000 + 10_000)
}

impl Rig {
    fn submit(&self, n: i64, body: &str) {
        self.submit_until(n, body, crate::clock::now() + Duration::from_secs(180));
    }

    fn submit_until(&self, n: i64, body: &str, deadline: crate::challenge::Millis) {
        let order = TextOrder {
            key: AttemptKey {
                challenge: ChallengeKey(n),
                attempt: 1,
            },
            to: Number::from_e164(&phone(n)).unwrap(),
            sender: "97671".into(),
            content: Text { body: body.into() },
            deadline,
        };
        self.handle
            .commands
            .try_send(TextCommand::Submit(Box::new(order)))
            .unwrap();
    }

    async fn wait<T>(&mut self, wanted: impl Fn(&CarrierEvent) -> Option<T>) -> T {
        let looking = async {
            let mut at = 0;
            loop {
                while at < self.heard.len() {
                    if let Some(found) = wanted(&self.heard[at]) {
                        self.heard.remove(at);
                        return found;
                    }
                    at += 1;
                }
                let said = self.said.recv().await.expect("the driver has ended");
                self.heard.push(said.what.taken());
            }
        };
        tokio::time::timeout(LIMIT, looking)
            .await
            .expect("nothing of the kind was said")
    }

    async fn link(&mut self, link: &Link) {
        self.wait(|what| matches!(what, CarrierEvent::Link(l) if l == link).then_some(()))
            .await;
    }

    async fn down(&mut self) -> String {
        let down = |what: &CarrierEvent| match what {
            CarrierEvent::Link(Link::Down { reason }) => Some(reason.to_string()),
            _ => None,
        };
        self.wait(down).await
    }

    async fn event(&mut self, n: i64) -> AttemptEvent {
        let of_it = |what: &CarrierEvent| match what {
            CarrierEvent::Attempt(k, event) if *k == key(n) => Some(event.clone()),
            _ => None,
        };
        self.wait(of_it).await
    }

    async fn accepted(&mut self, n: i64) -> Vec<Arc<str>> {
        match self.event(n).await {
            AttemptEvent::Accepted { references } => references,
            other => panic!("{other:?}"),
        }
    }

    async fn failed(&mut self, n: i64) -> Failure {
        match self.event(n).await {
            AttemptEvent::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    async fn receipt(&mut self) -> Receipt {
        let receipt = |what: &CarrierEvent| match what {
            CarrierEvent::Incoming(Incoming::Receipt(receipt), _)
                if receipt.state != ReceiptState::Intermediate =>
            {
                Some(receipt.clone())
            }
            _ => None,
        };
        self.wait(receipt).await
    }
}

const QUICK: Duration = Duration::from_millis(400);
const PATIENT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_text_is_read_and_its_receipt_comes_by_callback() {
    let (carrier, mut rig) = served(
        Faults {
            double_receipts: Often::ALWAYS,
            ..Faults::default()
        },
        10,
        PATIENT,
    )
    .await;
    assert_eq!(rig.handle.slots.get(), 10);
    let text = "Your \"code\" is\n482913 — Grüße 😀";
    rig.submit(1, text);
    let references = rig.accepted(1).await;
    let receipt = rig.receipt().await;
    assert_eq!(
        (receipt.state, &receipt.references),
        (ReceiptState::Delivered, &references)
    );
    let read = &carrier.record().texts_to(&phone(1))[0];
    assert_eq!(
        (&*read.text, &*read.from, read.sender_reference.as_deref()),
        (text, "97671", Some("1-1"))
    );
    assert_eq!(carrier.record().summary().protocol_errors, 0);
}

#[tokio::test]
async fn the_window_is_kept() {
    let (carrier, mut rig) = served(
        Faults {
            response_delay_ms: 40,
            ..Faults::default()
        },
        4,
        PATIENT,
    )
    .await;
    let began = Instant::now();
    for n in 0..40 {
        rig.submit(n, "Your code is 482913");
    }
    for n in 0..40 {
        rig.accepted(n).await;
    }
    assert!(
        began.elapsed() >= Duration::from_millis(390),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(carrier.record().summary().texts_read, 40);
}

#[tokio::test]
async fn what_waits_past_its_deadline_is_never_sent() {
    let slow = Faults {
        response_delay_ms: 600,
        ..Faults::default()
    };
    let (carrier, mut rig) = served(slow, 1, PATIENT).await;
    rig.submit(1, "Your code is 482913");
    let soon = crate::clock::now() + Duration::from_millis(200);
    rig.submit_until(2, "Your code is 482913", soon);
    assert_eq!(rig.failed(2).await.cause, Cause::Expired);
    rig.submit_until(3, "Your code is 482913", crate::clock::now());
    assert_eq!(rig.failed(3).await.cause, Cause::Expired);
    rig.accepted(1).await;
    assert_eq!(carrier.record().summary().texts_read, 1);
}

#[tokio::test]
async fn a_text_without_a_connection_at_its_deadline_is_not_sent_over_a_later_one() {
    // It takes connections, and no handshake of TLS ever ends.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1/messages", silent.local_addr().unwrap());
    let (mut rig, _) = rig(&url, 10, PATIENT);
    let soon = crate::clock::now() + Duration::from_millis(300);
    rig.submit_until(1, "Your code is 482913", soon);
    assert_eq!(rig.failed(1).await.cause, Cause::Expired);
}

#[tokio::test]
async fn a_busy_carrier_gets_less() {
    let (carrier, mut rig) = served(
        Faults {
            throttle: Often::ALWAYS,
            ..Faults::default()
        },
        16,
        PATIENT,
    )
    .await;
    rig.submit(1, "Your code is 482913");
    let failure = rig.failed(1).await;
    assert_eq!(
        (failure.cause, failure.verdict),
        (Cause::Throttled, Verdict::Later)
    );
    assert_eq!(rig.handle.slots.get(), 8);
    carrier.faults().set(Faults::default());
    rig.link(&Link::Room).await;
    assert_eq!(rig.handle.slots.get(), 9);
}

#[tokio::test]
async fn refusals_are_read_by_status_and_table() {
    let mut faults = Faults::default();
    faults.error.often = Often::ALWAYS;
    let (carrier, mut rig) = served(faults, 4, PATIENT).await;
    rig.submit(1, "Your code is 482913");
    assert_eq!(rig.failed(1).await.verdict, Verdict::NextCandidate);
    carrier.faults().change(|faults| faults.error.code = 422);
    rig.submit(2, "Your code is 482913");
    assert_eq!(rig.failed(2).await.cause, Cause::InvalidNumber);
}

#[tokio::test]
async fn no_answer_is_doubt_whether_the_carrier_is_silent_or_hangs_up() {
    let (carrier, mut rig) = served(
        Faults {
            drop_after_send: Often::ALWAYS,
            ..Faults::default()
        },
        4,
        QUICK,
    )
    .await;
    rig.submit(1, "Your code is 482913");
    assert!(matches!(rig.event(1).await, AttemptEvent::InDoubt { .. }));
    assert_eq!(
        carrier.record().texts_to(&phone(1))[0].result,
        TextResult::Read,
        "doubt was right"
    );
    carrier.faults().set(Faults {
        silent: true,
        ..Faults::default()
    });
    rig.submit(2, "Your code is 482913");
    assert!(matches!(rig.event(2).await, AttemptEvent::InDoubt { .. }));
}

#[tokio::test]
async fn a_carrier_that_is_down_is_known_and_found_again() {
    let (carrier, mut rig) = served(Faults::default(), 4, PATIENT).await;
    carrier.faults().change(|faults| faults.down = true);
    // It may take a moment until the port is closed: texts go on until one finds nobody.
    let mut n = 0;
    let failure = loop {
        n += 1;
        rig.submit(n, "Your code is 482913");
        if let AttemptEvent::Failed(failure) = rig.event(n).await {
            break failure;
        }
    };
    assert_eq!(
        (failure.cause, failure.verdict),
        (Cause::CarrierFault, Verdict::NextCandidate)
    );
    assert!(rig.down().await.ends_with("connection refused"));
    assert_eq!(rig.handle.slots.get(), 0);
    carrier.faults().change(|faults| faults.down = false);
    rig.link(&Link::Up).await;
    rig.submit(1_000, "back again");
    rig.accepted(1_000).await;
}

#[tokio::test]
async fn what_is_wrong_in_the_file_is_the_links_reason() {
    for (url, wanted) in [
        ("ftp://sms.example/", "request.url: "),
        ("http://sms example/", "request.url: "),
    ] {
        let (mut rig, _) = rig(url, 4, PATIENT);
        assert!(rig.down().await.starts_with(wanted));
        rig.submit(1, "to nobody");
        assert_eq!(rig.failed(1).await.verdict, Verdict::NextCandidate);
    }
    let (mut rig, _) = rig("http://127.0.0.1:9/", 4, PATIENT);
    std::fs::remove_file(&rig._secret.0).unwrap();
    assert!(rig.down().await.starts_with("request.auth: "));
}

#[tokio::test]
async fn draining_waits_for_answers_and_then_ends() {
    let (_carrier, mut rig) = served(
        Faults {
            response_delay_ms: 200,
            ..Faults::default()
        },
        4,
        PATIENT,
    )
    .await;
    for n in 0..3 {
        rig.submit(n, "Your code is 482913");
    }
    rig.handle.finish(Finish::Drain).await;
    for n in 0..3 {
        rig.accepted(n).await;
    }
    tokio::time::timeout(LIMIT, rig.handle.commands.closed())
        .await
        .unwrap();
    assert_eq!(rig.handle.slots.get(), 0);
}

#[tokio::test]
async fn strangers_at_the_callbacks_door_get_bare_refusals() {
    let (_, callbacks) = rig("http://127.0.0.1:9/", 4, PATIENT);
    let table: callbacks::Table = Arc::new(ArcSwap::from_pointee(
        [("tailspin".into(), callbacks)].into(),
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, callbacks::router(table)).await });
    let long = "x".repeat(70_000);
    for (line, body, wanted) in [
        ("POST /callbacks/nobody", "{}", "401"),
        ("POST /callbacks/tailspin", "{}", "401"),
        ("GET /callbacks/tailspin", "", "405"),
        ("GET /callbacks/nobody", "", "405"),
        ("POST /callbacks/tailspin", &*long, "413"),
        ("POST /callbacks/nobody", &*long, "413"),
    ] {
        let mut peer = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        peer.write_all(head.as_bytes()).await.unwrap();
        let _ = peer.write_all(body.as_bytes()).await;
        let mut answer = [0; 12];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer[9..]).unwrap(), wanted, "{line}");
    }
}

#[tokio::test]
async fn https_shows_our_certificate_and_checks_theirs() {
    use crate::carrier::tls::testing;
    let carrier = HttpCarrier::start(http_carrier::HttpConfig::default())
        .await
        .unwrap();
    let front = testing::front(carrier.address()).await;
    let over_tls = |name: &str| {
        let secret = Secrets::new();
        let url = format!("https://{front}/v1/messages");
        let mut config = (*config(&url, 4, PATIENT, secret.secret())).clone();
        config.tls = Tls {
            name: Some(name.into()),
            ..testing::ours()
        };
        let (to_dispatch, said) = mpsc::channel(crate::carrier::SAID);
        let (handle, _) = start(Arc::new(config), to_dispatch);
        Rig {
            handle,
            said,
            heard: Vec::new(),
            _secret: secret,
        }
    };
    let mut rig = over_tls(testing::NAME);
    rig.link(&Link::Up).await;
    rig.submit(1, "Your code is 482913");
    rig.accepted(1).await;
    assert_eq!(carrier.record().texts_to(&phone(1)).len(), 1);

    let mut stranger = over_tls("other.test");
    let reason = stranger.down().await;
    assert!(reason.contains(": tls: "), "{reason}");
    stranger.submit(2, "Your code is 482913");
    assert_eq!(stranger.failed(2).await.verdict, Verdict::NextCandidate);
}
