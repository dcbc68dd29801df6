//! What a callback must be signed with, what it is read as, and what is turned away.

use std::collections::VecDeque;

use super::*;
use crate::{
    carrier::{Receipt, ReceiptState},
    cause::Cause,
    config::carrier::{HttpConfig, HttpRequest, HttpResponse, Secret, Tls, Transport},
};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use ring::hmac;

const NOW: Millis = Millis(1_700_000_000_000);
const RECEIPT: &[u8] = br#"{"id":"m-1","status":"delivered","to":"+12025550123"}"#;

fn callback(keys: Vec<Secret>) -> HttpCallback {
    HttpCallback {
        keys,
        each: None,
        id: Some("/inbound_id".into()),
        reference: "/id".into(),
        state: "/status".into(),
        delivered: vec!["delivered".into()],
        undelivered: vec!["failed".into()],
        code: Some("/code".into()),
        from: Some("/from".into()),
        to: Some("/to".into()),
        text: Some("/text".into()),
    }
}

fn config() -> Arc<CarrierConfig> {
    let request = HttpRequest {
        method: "POST".into(),
        url: "http://h/".into(),
        headers: Default::default(),
        auth: None,
        body: "".into(),
    };
    let response = HttpResponse {
        accepted: vec![200],
        reference: None,
        code: None,
        verdict: None,
    };
    Arc::new(CarrierConfig {
        name: "tailspin".into(),
        enabled: true,
        transport: Transport::Http(HttpConfig {
            window: 1,
            request,
            response,
            callback: None,
        }),
        endpoints: Vec::new(),
        tls: Tls::default(),
        pace: None,
        response_timeout: Duration::from_secs(5),
        receipt_wait: None,
        probe: None,
        status: [("30005".into(), Cause::Unreachable)].into(),
    })
}

/// Two keys in files: the rotated one and the next.
struct CallbackReceiver {
    handle: CallbackHandle,
    said: mpsc::Receiver<CarrierMessage>,
    brought: VecDeque<Incoming>,
    _keys: tempdir::Dir,
}

/// A directory that goes with its owner.
mod tempdir {
    pub struct Dir(pub std::path::PathBuf);

    impl Dir {
        pub fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("ringback-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Dir(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn desk(name: &str, room: usize) -> CallbackReceiver {
    desk_with(name, room, |_| {})
}

fn desk_with(name: &str, room: usize, change: impl Fn(&mut HttpCallback)) -> CallbackReceiver {
    let dir = tempdir::Dir::new(name);
    let keys = ["old", "new"].map(|key| {
        let path = dir.0.join(key);
        std::fs::write(&path, format!("{key}-key\n")).unwrap();
        Secret::File(path)
    });
    let (to_dispatch, said) = mpsc::channel(room);
    let mut callback = callback(keys.to_vec());
    change(&mut callback);
    let handle = CallbackHandle::new(config(), Some(Box::new(callback)), to_dispatch);
    CallbackReceiver {
        handle,
        said,
        brought: VecDeque::new(),
        _keys: dir,
    }
}

fn signed(key: &str, seconds: i64, body: &[u8]) -> HeaderMap {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let mac = hmac::sign(&key, &[seconds.to_string().as_bytes(), b".", body].concat());
    let value = format!("t={seconds},v1={}", hex::encode(mac));
    HeaderMap::from_iter([(
        HeaderName::from_static(signature::NAME),
        HeaderValue::from_str(&value).unwrap(),
    )])
}

const T: i64 = NOW.0 / 1_000;

fn status(answer: Result<usize, Refused>) -> u16 {
    answer.map_or_else(Refused::status, |_| 200)
}

impl CallbackReceiver {
    /// The answer, where what is brought is safe at once.
    async fn status(&mut self, headers: &HeaderMap, body: &[u8]) -> u16 {
        let answer = self.handle.receive(headers, body, NOW);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return status(answer),
                Some(said) = self.said.recv() => {
                    let CarrierEvent::Incoming(incoming, ack) = said.what else { panic!("nothing else is said") };
                    ack.acknowledge();
                    self.brought.push_back(incoming);
                }
            }
        }
    }

    async fn signed(&mut self, key: &str, body: &[u8]) -> u16 {
        self.status(&signed(key, T, body), body).await
    }

    fn receipt(&mut self) -> Receipt {
        match self.brought.pop_front() {
            Some(Incoming::Receipt(receipt)) => receipt,
            other => panic!("no receipt: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_signed_receipt_is_taken() {
    let mut desk = desk("once", 8);
    assert_eq!(desk.signed("old-key", RECEIPT).await, 200);
    let receipt = desk.receipt();
    assert_eq!(
        (receipt.state, &*receipt.references[0]),
        (ReceiptState::Delivered, "m-1")
    );
    assert_eq!(receipt.phone.as_deref(), Some("12025550123"));
    // The same words after our 200, signed with the other key: dispatch knows what it has.
    assert_eq!(desk.signed("new-key", RECEIPT).await, 200);
    assert_eq!(desk.receipt().state, ReceiptState::Delivered);
}

#[tokio::test]
async fn a_body_that_brings_one_receipt_twice_brings_it_once_and_is_taken() {
    let mut desk = desk("twice", 8);
    let one = r#"{"inbound_id":"i-1","id":"m-1","status":"delivered"}"#;
    let body = format!("[{one},{one}]");
    assert_eq!(desk.signed("old-key", body.as_bytes()).await, 200);
    assert_eq!(desk.brought.len(), 1);
}

#[tokio::test]
async fn a_repeat_is_told_by_its_id_and_without_one_the_same_words_are_new() {
    let mut desk = desk("repeats", 8);
    let yes = br#"{"from":"+12025550123","to":"97671","text":"YES"}"#;
    for _ in 0..2 {
        assert_eq!(desk.signed("old-key", yes).await, 200);
    }
    assert_eq!(
        desk.brought.len(),
        2,
        "two people's answers, or one's second"
    );
    desk.brought.clear();
    let named = br#"{"inbound_id":"i-1","from":"+12025550123","to":"97671","text":"YES"}"#;
    for _ in 0..2 {
        assert_eq!(desk.signed("old-key", named).await, 200);
    }
    assert_eq!(desk.brought.len(), 1);
    desk.brought.clear();
    // An id that is the message's hides no later state.
    for state in ["sent", "delivered", "delivered"] {
        let body = format!(r#"{{"inbound_id":"m-1","id":"m-1","status":"{state}"}}"#);
        assert_eq!(desk.signed("old-key", body.as_bytes()).await, 200);
    }
    assert_eq!(desk.brought.len(), 2);
}

/// Each receipt's reference.
fn references(desk: &mut CallbackReceiver) -> Vec<String> {
    let brought = std::mem::take(&mut desk.brought);
    let reference = |incoming| match incoming {
        Incoming::Receipt(receipt) => receipt.references[0].to_string(),
        Incoming::Text(text) => text.body.to_string(),
    };
    brought.into_iter().map(reference).collect()
}

#[tokio::test]
async fn every_receipt_of_a_body_is_taken() {
    type Change = fn(&mut HttpCallback);
    let plain: Change = |_| {};
    let each: Change = |callback| callback.each = Some("/data/list".into());
    let first: Change = |callback| {
        callback.reference = "/results/0/id".into();
        callback.state = "/results/0/status/name".into();
    };
    let nested: Change = |callback| {
        callback.reference = "/results/0/ids/0".into();
        callback.state = "/results/0/status".into();
    };
    let root: Change = |callback| {
        callback.reference = "/0/id".into();
        callback.state = "/0/status".into();
    };
    let long = "12345678901234567890123";
    let bodies: [(Change, String, &[&str]); 12] = [
        (plain, r#"[{"id":"a","status":"delivered"},{"id":"b","status":"failed"}]"#.into(), &["a", "b"]),
        (root, r#"[{"id":"a","status":"delivered"},{"id":"b","status":"failed"}]"#.into(), &["a", "b"]),
        (plain, "{\"id\":\"a\",\"status\":\"sent\"}\n{\"id\":\"b\",\"status\":\"sent\"}\r\n".into(), &["a", "b"]),
        (plain, format!(r#"[{{"id":{long}1,"status":"sent"}},{{"id":{long}2,"status":"sent"}}]"#),
            &["123456789012345678901231", "123456789012345678901232"]),
        (each, r#"{"data":{"list":[{"id":"a","status":"sent"},{"id":"b","status":"sent"}]}}"#.into(), &["a", "b"]),
        (each, r#"{"data":{"list":{"id":"a","status":"sent"}}}"#.into(), &["a"]),
        (each, r#"{"from":"+12025550123","to":"97671","text":"yes"}"#.into(), &["yes"]),
        (each, r#"{"data":{"list":[]}}"#.into(), &[]),
        (first, r#"{"results":[{"id":"a","status":{"name":"sent"}},{"id":"b","status":{"name":"sent"}},{"id":"c","status":{"name":"sent"}}]}"#.into(), &["a", "b", "c"]),
        (first, r#"{"from":"+12025550123","to":"97671","text":"yes"}"#.into(), &["yes"]),
        (nested, r#"{"results":[{"ids":["a","b"],"status":"sent"},{"ids":["c"],"status":"sent"}]}"#.into(), &["a", "b", "c"]),
        // One that can't be understood doesn't hold up the others.
        (first, r#"{"results":[{"id":"a","status":{"name":"sent"}},{"id":null},7,{"id":"c","status":{"name":"sent"}}]}"#.into(), &["a", "c"]),
    ];
    for (change, body, wanted) in bodies {
        let mut desk = desk_with("many", 8, change);
        assert_eq!(desk.signed("old-key", body.as_bytes()).await, 200, "{body}");
        assert_eq!(references(&mut desk), wanted, "{body}");
    }
    let mut desk = desk_with("too-many", 8, nested);
    let ids = vec!["1"; format::MAX_BROUGHT + 1].join(",");
    let body = format!(r#"{{"results":[{{"ids":[{ids}],"status":"sent"}}]}}"#);
    assert_eq!(desk.signed("old-key", body.as_bytes()).await, 413);
}

#[tokio::test(start_paused = true)]
async fn of_many_receipts_those_that_are_safe_are_not_handed_over_again() {
    let mut desk = desk("partly", 8);
    let body = br#"[{"id":"a","status":"sent"},{"id":"b","status":"sent"}]"#;
    let headers = signed("old-key", T, body);
    let handle = desk.handle.clone();
    let first = tokio::spawn(async move { handle.receive(&headers, body, NOW).await });
    let mut acks = Vec::new();
    for _ in 0..2 {
        let Some(CarrierMessage {
            what: CarrierEvent::Incoming(_, ack),
            ..
        }) = desk.said.recv().await
        else {
            panic!("nothing was said")
        };
        acks.push(ack);
    }
    // The second is refused: the queue is full.
    acks.drain(..).next().unwrap().acknowledge();
    assert_eq!(first.await.unwrap(), Err(Refused::Busy));
    assert_eq!(desk.signed("old-key", body).await, 200);
    assert_eq!(references(&mut desk), ["b"]);
    // That was answered 200: the same words again are new.
    assert_eq!(desk.signed("old-key", body).await, 200);
    assert_eq!(references(&mut desk), ["a", "b"]);
}

#[tokio::test]
async fn a_carrier_that_hangs_up_early_finds_its_repeat_known() {
    let mut desk = desk("early", 8);
    let headers = signed("old-key", T, RECEIPT);
    let handle = desk.handle.clone();
    let gone = tokio::spawn(async move { handle.receive(&headers, RECEIPT, NOW).await });
    let Some(CarrierMessage {
        what: CarrierEvent::Incoming(_, ack),
        ..
    }) = desk.said.recv().await
    else {
        panic!("nothing was said")
    };
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    ack.acknowledge();
    // Its task may not have heard of it yet: until then the carrier is asked to come again.
    while desk.signed("old-key", RECEIPT).await == 503 {
        tokio::task::yield_now().await;
    }
    assert!(desk.brought.is_empty(), "it was taken once");
}

#[tokio::test]
async fn bodies_are_read_through_codings_and_charsets() {
    use hyper::header::CONTENT_ENCODING;
    use std::io::Write as _;
    let mut desk = desk("coded", 8);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(RECEIPT).unwrap();
    let packed = packed.finish().unwrap();
    let mut headers = signed("old-key", T, &packed);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(desk.status(&headers, &packed).await, 200);
    assert_eq!(&*desk.receipt().references[0], "m-1");
    let marked = [b"\xef\xbb\xbf", RECEIPT].concat();
    assert_eq!(desk.signed("old-key", &marked).await, 200);
    assert_eq!(&*desk.receipt().references[0], "m-1");
    let form = b"id=m-1&status=delivered";
    let mut headers = signed("old-key", T, form);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, kind);
    assert_eq!(desk.status(&headers, form).await, 415);
}

#[tokio::test]
async fn a_refusal_says_why_to_the_operator_only() {
    let desk = desk("why", 8);
    let why = async |headers: HeaderMap| desk.handle.receive(&headers, RECEIPT, NOW).await;
    let old = signed("old-key", T - 301, RECEIPT);
    for (headers, wanted) in [
        (HeaderMap::new(), Refused::SignatureMissing),
        (signed("other-key", T, RECEIPT), Refused::SignatureWrong),
        (old, Refused::SignatureTooOld),
    ] {
        assert_eq!(why(headers).await, Err(wanted));
        assert_eq!(wanted.status(), Refused::UnknownCarrier.status());
    }
    let none = CallbackHandle::new(config(), None, mpsc::channel(1).0);
    let headers = signed("old-key", T, RECEIPT);
    let answer = none.receive(&headers, RECEIPT, NOW).await;
    assert_eq!(answer, Err(Refused::NoCallbacks));
    assert_eq!(stranger(&headers, RECEIPT, NOW), Refused::UnknownCarrier);
    let unread = desk_with("unread", 8, |callback| {
        callback.keys = vec![Secret::File("/nonexistent/key".into())];
    });
    let answer = unread.handle.receive(&headers, RECEIPT, NOW).await;
    assert_eq!(answer, Err(Refused::NoKeys));
}

#[tokio::test]
async fn what_is_not_signed_now_by_a_known_key_is_refused() {
    let mut desk = desk("refused", 8);
    assert_eq!(desk.status(&HeaderMap::new(), RECEIPT).await, 401);
    assert_eq!(
        desk.status(&signed("other-key", T, RECEIPT), RECEIPT).await,
        401
    );
    assert_eq!(
        desk.status(&signed("old-key", T, b"{}"), RECEIPT).await,
        401
    );
    assert_eq!(
        desk.status(&signed("old-key", T - 301, RECEIPT), RECEIPT)
            .await,
        401
    );
    assert_eq!(
        desk.status(&signed("old-key", T + 301, RECEIPT), RECEIPT)
            .await,
        401
    );
    assert_eq!(
        desk.status(&signed("old-key", i64::MAX, RECEIPT), RECEIPT)
            .await,
        401
    );
    for header in ["", "t=", "v1=00", "t=1,v1=zz", "t=1,,,=", "\u{7f}"] {
        let Ok(value) = HeaderValue::from_str(header) else {
            continue;
        };
        let headers = HeaderMap::from_iter([(HeaderName::from_static(signature::NAME), value)]);
        assert_eq!(desk.status(&headers, RECEIPT).await, 401, "{header}");
    }
    assert!(desk.brought.is_empty());
    assert_eq!(
        desk.status(&signed("old-key", T - 299, RECEIPT), RECEIPT)
            .await,
        200
    );
}

#[tokio::test]
async fn sizes_and_shapes() {
    let mut desk = desk("shapes", 8);
    let long = vec![b' '; MAX_BODY + 1];
    assert_eq!(desk.status(&signed("old-key", T, &long), &long).await, 413);
    for body in [
        &b"{"[..],
        b"",
        b"7",
        br#"{"id":"m-1"}"#,
        br#"{"text":"yes","from":"+12025550123"}"#,
    ] {
        assert_eq!(desk.status(&signed("old-key", T, body), body).await, 400);
    }
}

#[tokio::test]
async fn a_failure_has_its_cause_and_a_text_is_no_receipt() {
    let mut desk = desk("kinds", 8);
    let failed = br#"{"id":9,"status":"FAILED","code":30005}"#;
    assert_eq!(
        desk.status(&signed("old-key", T, failed), failed).await,
        200
    );
    let receipt = desk.receipt();
    assert_eq!(
        (receipt.state, receipt.cause),
        (ReceiptState::Undelivered, Some(Cause::Unreachable))
    );
    assert_eq!(
        (&*receipt.references[0], receipt.carrier_code.as_deref()),
        ("9", Some("30005"))
    );

    let on_the_way = br#"{"id":9,"status":"sent"}"#;
    assert_eq!(
        desk.status(&signed("old-key", T, on_the_way), on_the_way)
            .await,
        200
    );
    let receipt = desk.receipt();
    assert_eq!(receipt.state, ReceiptState::Intermediate);

    let text = br#"{"inbound_id":"i-1","from":"+12025550123","to":"97671","text":"yes"}"#;
    assert_eq!(desk.status(&signed("old-key", T, text), text).await, 200);
    let Some(Incoming::Text(text)) = desk.brought.pop_front() else {
        panic!("no text")
    };
    assert_eq!(
        (&*text.from, &*text.to, &*text.body),
        ("+12025550123", "97671", "yes")
    );
}

#[tokio::test(start_paused = true)]
async fn a_carrier_is_asked_to_come_again_until_what_it_brought_is_safe() {
    let mut desk = desk("behind", 1);
    let headers = signed("old-key", T, RECEIPT);
    let (first, again) = tokio::join!(
        desk.handle.receive(&headers, RECEIPT, NOW),
        desk.handle.receive(&headers, RECEIPT, NOW)
    );
    assert_eq!((status(first), status(again)), (503, 503));
    // Dropped: as by a process that ends.
    drop(desk.said.recv().await.unwrap());
    while desk.said.try_recv().is_ok() {}
    tokio::task::yield_now().await;
    assert_eq!(desk.status(&headers, RECEIPT).await, 200);
    assert_eq!(desk.brought.len(), 1);
}
