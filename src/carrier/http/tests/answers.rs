//! Answers as they come over the wire from a far end that is scripted octet by octet.

use std::{net::SocketAddr, sync::Mutex};

use super::*;
use crate::cause::Blame;

/// A far end that answers each request with the next of these, and keeps what it was asked.
struct Far {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Far {
    async fn start(answers: Vec<Vec<u8>>) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                let (kept, answers) = (kept.clone(), answers.clone());
                tokio::spawn(async move {
                    let mut whole = Vec::new();
                    let mut octets = [0; 4096];
                    // The body ends with its reference, and the probe says nothing at all.
                    while !whole.ends_with(b"\"}") {
                        match peer.read(&mut octets).await {
                            Ok(0) | Err(_) => return,
                            Ok(n) => whole.extend_from_slice(&octets[..n]),
                        }
                    }
                    kept.lock().unwrap().push(String::from_utf8(whole).unwrap());
                    let answer = answers.lock().unwrap().next();
                    let _ = peer.write_all(&answer.unwrap_or_default()).await;
                });
            }
        });
        Far { address, asked }
    }
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(octets).unwrap();
    packed.finish().unwrap()
}

/// What each of these answers is taken for, one text after the other.
async fn events(answers: Vec<Vec<u8>>) -> (Far, Vec<AttemptEvent>) {
    let count = answers.len();
    let far = Far::start(answers).await;
    let (mut rig, _) = rig(&format!("http://{}/v1/messages", far.address), 1, PATIENT);
    rig.link(&Link::Up).await;
    let mut events = Vec::new();
    for n in 0..count as i64 {
        rig.submit(n, "Your code is 482913");
        events.push(rig.event(n).await);
    }
    (far, events)
}

#[tokio::test]
async fn acceptances_are_read_through_codings_charsets_and_framings() {
    let utf_16: Vec<u8> = "\u{feff}{\"id\":\"m-1\"}"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"id\r\n8\r\n\":\"m-1\"}\r\n0\r\n\r\n";
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{\"id\":\"m-1\"}";
    let (far, events) = events(vec![
        http("201 Created", br#"{"id":"m-1"}"#),
        http(
            "200 OK\r\nContent-Encoding: gzip",
            &gzip(br#"{"id":"m-1"}"#),
        ),
        http("200 OK", b"\xef\xbb\xbf{\"id\":\"m-1\"}"),
        http(
            "200 OK\r\nContent-Type: application/json; charset=iso-8859-1",
            b"{\"id\":\"m-1\",\"x\":\"\xe9\"}",
        ),
        http("200 OK\r\nContent-Type: application/json", &utf_16),
        chunked.to_vec(),
        early.to_vec(),
        // Without a length it ends with the connection.
        b"HTTP/1.0 200 OK\r\n\r\n{\"id\":\"m-1\"}".to_vec(),
    ])
    .await;
    for (n, event) in events.iter().enumerate() {
        let AttemptEvent::Accepted { references } = event else {
            panic!("answer {n}: {event:?}")
        };
        assert_eq!(references.first().map(|r| &**r), Some("m-1"), "answer {n}");
    }
    let asked = far.asked.lock().unwrap();
    assert!(
        asked[0].contains("accept-encoding: gzip, deflate, br\r\n"),
        "{}",
        asked[0]
    );
}

#[tokio::test]
async fn an_acceptance_that_can_not_be_read_is_doubt() {
    let bomb = gzip(&vec![b' '; 20_000_000]);
    assert!(bomb.len() < 64 * 1024, "it fits on the wire");
    let (_, events) = events(vec![
        http("200 OK", b"<html>Please log in</html>"),
        http("200 OK", b""),
        http("204 No Content", b""),
        http("200 OK\r\nContent-Encoding: gzip", &bomb),
        http("200 OK\r\nContent-Encoding: zstd", b"\x28\xb5\x2f\xfd"),
        http("200 OK", &vec![b'7'; 70_000]),
        // It breaks off in the body, with a length and in a chunk.
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":\"m-1\"}".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"id\":\"m-1\"}\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}".to_vec(),
        b"HTTP/1.0 200 OK\r\n\r\n{\"id\":\"m-".to_vec(),
        // It is no HTTP, or none is there.
        b"SSH-2.0-x\r\n\r\n".to_vec(),
        Vec::new(),
    ])
    .await;
    for (n, event) in events.iter().enumerate() {
        // 204 is none of the statuses of acceptance here.
        match n {
            2 => assert!(
                matches!(event, AttemptEvent::Failed(_)),
                "answer {n}: {event:?}"
            ),
            _ => assert!(
                matches!(event, AttemptEvent::InDoubt { .. }),
                "answer {n}: {event:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let elsewhere = Far::start(vec![http("201 Created", br#"{"id":"m-1"}"#)]).await;
    let mut answers = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        let head = format!("{status} Moved\r\nLocation: http://{}/", elsewhere.address);
        answers.push(http(&head, b""));
    }
    let (_, events) = events(answers).await;
    for event in &events {
        let AttemptEvent::Failed(failure) = event else {
            panic!("{event:?}")
        };
        assert_eq!(failure.blame, Blame::Carrier);
    }
    assert!(
        elsewhere.asked.lock().unwrap().is_empty(),
        "our token went elsewhere"
    );
}

#[tokio::test]
async fn one_text_that_fits_no_header_is_refused_alone() {
    let far = Far::start(vec![http("201 Created", br#"{"id":"m-1"}"#)]).await;
    let secret = Secrets::new();
    let url = format!("http://{}/v1/messages", far.address);
    let mut config = (*config(&url, 4, PATIENT, secret.secret())).clone();
    let Transport::Http(http) = &mut config.transport else {
        panic!("an HTTP carrier")
    };
    http.request.headers = [("X-Text".into(), "{text} to {to}".into())].into();
    let (to_dispatch, said) = mpsc::channel(crate::carrier::SAID);
    let (handle, _) = start(Arc::new(config), to_dispatch);
    let mut rig = Rig {
        handle,
        said,
        heard: Vec::new(),
        _secret: secret,
    };
    rig.link(&Link::Up).await;
    rig.submit(1, "482913\r\nAuthorization: Bearer other");
    let failure = rig.failed(1).await;
    assert_eq!(
        (failure.verdict, failure.blame),
        (Verdict::NextCandidate, Blame::Us)
    );
    rig.submit(2, "482913");
    rig.accepted(2).await;
    let asked = far.asked.lock().unwrap();
    let header = format!("x-text: 482913 to {}\r\n", phone(2));
    assert!(asked.len() == 1 && asked[0].contains(&header), "{asked:?}");
}
