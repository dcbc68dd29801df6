//! What a callback must be signed with, what it is read as, and what is turned away.

use super::*;
use crate::config::carrier::{HttpConfig, HttpRequest, HttpResponse, Secret, Tls, Transport};
use hyper::header::HeaderValue;

const NOW: Millis = Millis(1_700_000_000_000);
const RECEIPT: &[u8] = br#"{"id":"m-1","status":"delivered","to":"+12025550123"}"#;

fn callback(keys: Vec<Secret>) -> HttpCallback {
    HttpCallback {
        keys,
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
struct Desk {
    handle: CallbackHandle,
    said: mpsc::Receiver<Said>,
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

fn desk(name: &str, room: usize) -> Desk {
    let dir = tempdir::Dir::new(name);
    let keys = ["old", "new"].map(|key| {
        let path = dir.0.join(key);
        std::fs::write(&path, format!("{key}-key\n")).unwrap();
        Secret::File(path)
    });
    let (to_dispatch, said) = mpsc::channel(room);
    let handle = CallbackHandle::new(config(), Some(callback(keys.to_vec())), to_dispatch);
    Desk {
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
        hyper::header::HeaderName::from_static(SIGNATURE),
        HeaderValue::from_str(&value).unwrap(),
    )])
}

const T: i64 = NOW.0 / 1_000;

impl Desk {
    /// The answer, where what is brought is safe at once.
    async fn status(&mut self, headers: &HeaderMap, body: &[u8]) -> u16 {
        let answer = self.handle.receive(headers, body, NOW);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer.status,
                Some(said) = self.said.recv() => {
                    let What::Incoming(incoming, slip) = said.what else { panic!("nothing else is said") };
                    slip.give_back();
                    self.brought.push_back(incoming);
                }
            }
        }
    }

    fn receipt(&mut self) -> Receipt {
        match self.brought.pop_front() {
            Some(Incoming::Receipt(receipt)) => receipt,
            other => panic!("no receipt: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_signed_receipt_is_taken_once() {
    let mut desk = desk("once", 8);
    assert_eq!(
        desk.status(&signed("old-key", T, RECEIPT), RECEIPT).await,
        200
    );
    let receipt = desk.receipt();
    assert_eq!(
        (receipt.state, &*receipt.references[0]),
        (ReceiptState::Delivered, "m-1")
    );
    assert_eq!(receipt.phone.as_deref(), Some("12025550123"));

    // The same again, signed anew with the other key: taken, not counted.
    assert_eq!(
        desk.status(&signed("new-key", T + 9, RECEIPT), RECEIPT)
            .await,
        200
    );
    assert!(desk.brought.is_empty());
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
        let headers =
            HeaderMap::from_iter([(hyper::header::HeaderName::from_static(SIGNATURE), value)]);
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
        b"[]",
        br#"{"id":"m-1"}"#,
        br#"{"text":"yes","from":"+12025550123"}"#,
    ] {
        assert_eq!(desk.status(&signed("old-key", T, body), body).await, 400);
    }
    let closed = CallbackHandle::new(config(), None, mpsc::channel(1).0);
    assert_eq!(
        closed
            .receive(&signed("old-key", T, RECEIPT), RECEIPT, NOW)
            .await
            .status,
        404
    );
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
    assert_eq!((first.status, again.status), (503, 503));
    // The place is taken: nobody listens.
    let other = br#"{"id":"m-2","status":"delivered"}"#;
    let signature = signed("old-key", T, other);
    let behind = desk.handle.receive(&signature, other, NOW).await;
    assert_eq!(behind.status, 503);
    // Dropped: as by a process that ends.
    drop(desk.said.recv().await.unwrap());
    assert_eq!(desk.status(&headers, RECEIPT).await, 200);
    assert_eq!(desk.status(&headers, RECEIPT).await, 200);
    assert_eq!(desk.brought.len(), 1);
}

#[test]
fn memory_of_repeats_is_bounded() {
    let mut seen = Seen::default();
    for n in 0..MAX_SEEN + 10 {
        assert_eq!(seen.remember(mark(&n.to_be_bytes())), Memory::New);
    }
    assert_eq!((seen.bodies.len(), seen.order.len()), (MAX_SEEN, MAX_SEEN));
    let last = mark(&(MAX_SEEN + 1).to_be_bytes());
    assert_eq!(seen.remember(last), Memory::Waiting);
    seen.taken(last);
    assert_eq!(seen.remember(last), Memory::Known);
}
