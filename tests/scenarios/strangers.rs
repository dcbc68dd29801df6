//! Somebody who has seen a call's signalling, and sends from an address that is not the trunk's.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use ringback::challenge::Method;
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    carriers::until_state,
    health::Log,
    world::{LIMIT, Plan, World, challenge},
};

/// A trunk that answers every call at once, and keeps what it was sent.
#[derive(Clone)]
struct Far {
    socket: Arc<UdpSocket>,
    at: SocketAddr,
    got: Arc<Mutex<Vec<(String, SocketAddr)>>>,
}

impl Far {
    async fn start() -> Far {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let far = Far {
            at: socket.local_addr().expect("an address"),
            socket: Arc::new(socket),
            got: Arc::default(),
        };
        let all = far.clone();
        tokio::spawn(async move {
            let mut datagram = vec![0; 4_096];
            while let Ok((length, from)) = all.socket.recv_from(&mut datagram).await {
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                if let Some(answer) = all.answer(&text)
                    && all.socket.send_to(answer.as_bytes(), from).await.is_err()
                {
                    return;
                }
                let mut got = all.got.lock().unwrap_or_else(PoisonError::into_inner);
                got.push((text, from));
            }
        });
        far
    }

    fn answer(&self, request: &str) -> Option<String> {
        let body = match request.split(' ').next()? {
            "INVITE" => self.sdp(),
            "OPTIONS" | "BYE" => String::new(),
            _ => return None,
        };
        let (port, length) = (self.at.port(), body.len());
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for line in request.lines() {
            let copied = ["Via:", "From:", "Call-ID:", "CSeq:"];
            if copied.iter().any(|name| line.starts_with(name)) {
                answer.push_str(&format!("{line}\r\n"));
            } else if line.starts_with("To:") {
                let tag = if line.contains(";tag=") {
                    ""
                } else {
                    ";tag=far"
                };
                answer.push_str(&format!("{line}{tag}\r\n"));
            }
        }
        answer.push_str(&format!(
            "Contact: <sip:far@127.0.0.1:{port}>\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        Some(answer)
    }

    /// Audio goes to the signalling's own socket, which looks at none of it.
    fn sdp(&self) -> String {
        let port = self.at.port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        )
    }

    fn got(&self, method: &str) -> Vec<(String, SocketAddr)> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let of = got.iter().filter(|(text, _)| text.starts_with(method));
        of.cloned().collect()
    }

    async fn first(&self, method: &str) -> (String, SocketAddr) {
        let began = Instant::now();
        loop {
            if let Some(first) = self.got(method).into_iter().next() {
                return first;
            }
            assert!(began.elapsed() < LIMIT, "no {method}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// A request within the call of this INVITE, as its callee would write it.
fn within(invite: &str, method: &str, cseq: u32, from: SocketAddr, body: (&str, &str)) -> String {
    let value = |name: &str| {
        let line = invite.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {invite}"))
            .trim()
            .to_owned()
    };
    let contact = value("Contact:");
    let uri = contact.trim_matches(['<', '>']);
    let (kind, content) = body;
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
         From: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:far@{from}>\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{content}",
        value("To:"),
        value("From:"),
        value("Call-ID:"),
        content.len()
    )
}

/// Sends it and gives the status of the answer.
async fn asked(socket: &UdpSocket, request: &str, to: SocketAddr) -> String {
    let sent = socket.send_to(request.as_bytes(), to).await;
    sent.expect("sent");
    let mut datagram = vec![0; 4_096];
    let answer = timeout(LIMIT, socket.recv_from(&mut datagram)).await;
    let (length, _) = answer.expect("an answer in time").expect("a datagram");
    let answer = String::from_utf8_lossy(&datagram[..length]).into_owned();
    answer.split(' ').nth(1).expect("a status").to_owned()
}

const ROUTE: &str = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n";

#[tokio::test]
async fn what_a_stranger_sends_into_a_call_changes_nothing() {
    let log = Log::default();
    let _guard = log.record();
    let far = Far::start().await;
    let file = format!(
        "transport = \"sip\"\nendpoints = [\"udp:{}\"]\nbind = \"127.0.0.1:0\"\nprobe = \"1s\"\n\
         rtp = {{ address = \"127.0.0.1\", ports = \"30000-39999\" }}\n",
        far.at
    );
    let w = World::with(Plan {
        smsc: vec![],
        trunks: vec![],
        routes: BTreeMap::from([("us", ROUTE.to_owned())]),
        files: BTreeMap::from([("carriers/fabrikam.toml", file)]),
        ..Plan::default()
    })
    .await;
    until_state(&w, "fabrikam", "healthy").await;
    w.send(challenge("x-1", "+12025550123", Method::VoiceConfirm))
        .await;
    far.first("ACK ").await;
    let (invite, ours) = far.first("INVITE ").await;

    // The whole of 127.0.0.0/8 is this machine; the trunk is at 127.0.0.1 alone.
    let forger = UdpSocket::bind("127.0.0.2:0").await.expect("a port");
    let from = forger.local_addr().expect("an address");
    let pound = ("application/dtmf-relay", "Signal=#\r\nDuration=160\r\n");
    let moved = far.sdp().replace("127.0.0.1", "127.0.0.2");
    for (n, (method, body)) in [
        ("INFO", pound),
        ("INVITE", ("application/sdp", &*moved)),
        ("UPDATE", ("application/sdp", &*moved)),
        ("BYE", ("text/plain", "")),
    ]
    .into_iter()
    .enumerate()
    {
        let request = within(&invite, method, 7 + n as u32, from, body);
        assert_eq!(asked(&forger, &request, ours).await, "481", "{method}");
    }
    assert!(
        w.caller.of("x-1").iter().all(|told| told["final"] != true),
        "{:?}",
        w.caller.events("x-1")
    );
    assert_eq!(far.got("BYE ").len(), 0);
    let advice = ["WARN", "carrier=fabrikam", "allow = [\"127.0.0.2\"]"];
    assert_eq!(log.lines(&advice).len(), 1, "{:#?}", log.lines(&["WARN"]));

    // The same key from the trunk, by another port of its own.
    let other = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let from = other.local_addr().expect("an address");
    let request = within(&invite, "INFO", 1, from, pound);
    assert_eq!(asked(&other, &request, ours).await, "200");
    let last = w.caller.last("x-1").await;
    assert_eq!(
        (&last["event"], &last["digits"]),
        (&"confirmed".into(), &"#".into()),
        "{last:#}"
    );
    far.first("BYE ").await;
    assert_eq!(log.lines(&advice).len(), 1, "told once");
}
