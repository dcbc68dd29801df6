//! Redirections, forged messages and odd answers, over real sockets.

use std::{collections::HashMap, net::SocketAddr};

use tokio::net::UdpSocket;

use super::*;
use crate::config::carrier::Redirects;

/// A trunk of text: answers each INVITE by what stands for the user of its Request-URI.
struct Scripted {
    socket: UdpSocket,
    address: SocketAddr,
    answers: HashMap<&'static str, String>,
    called: Vec<String>,
}

impl Scripted {
    async fn new(answers: &[(&'static str, &str)]) -> Scripted {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let own = address.to_string();
        let answers = answers
            .iter()
            .map(|(user, text)| (*user, text.replace("OWN", &own)))
            .collect();
        Scripted {
            socket,
            address,
            answers,
            called: Vec::new(),
        }
    }

    /// Answers what comes until a call is settled.
    async fn serve(&mut self, b: &mut Bench, key: AttemptKey) -> String {
        let mut buffer = [0; 4_000];
        loop {
            tokio::select! {
                got = self.socket.recv_from(&mut buffer) => {
                    let (length, from) = got.expect("a datagram");
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    if let Some(answer) = self.answer(&text) {
                        self.socket.send_to(answer.as_bytes(), from).await.expect("sent");
                    }
                }
                () = b.until(|b| b.settled(key)) => return b.story(key).join(", "),
            }
        }
    }

    fn answer(&mut self, text: &str) -> Option<String> {
        let request = crate::protocol::sip::Message::parse(text.as_bytes()).ok()?;
        let header = |name| request.header(name).unwrap_or("");
        use crate::protocol::sip::HeaderName as H;
        let status = match request.method_name() {
            "INVITE" => {
                let user = request.uri().split(['@', ':']).nth(1).unwrap_or("");
                let uri = request.uri().replace(&self.address.to_string(), "OWN");
                if self.called.last() != Some(&uri) {
                    self.called.push(uri);
                }
                self.answers.get(user)?.clone()
            }
            "ACK" => return None,
            _ => "200 OK".to_owned(),
        };
        let contact = status
            .split_once('|')
            .map_or(String::new(), |(_, c)| format!("Contact: {c}\r\n"));
        let status = status.split('|').next().unwrap_or("");
        Some(format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: {}\r\n{contact}Content-Length: 0\r\n\r\n",
            header(H::Via),
            header(H::From),
            header(H::To),
            header(H::CallId),
            header(H::CSeq),
        ))
    }
}

async fn redirected(
    redirects: Redirects,
    answers: &[(&'static str, &str)],
) -> (String, Vec<String>, Option<String>) {
    let mut far = Scripted::new(answers).await;
    let mut config = config(vec![peer(Carry::Udp, far.address)]);
    config.probe = None;
    sip(&mut config).redirects = redirects;
    let mut b = Bench::start(config).await;
    let key = b.call("+12025550123", Method::VoiceConfirm).await;
    let story = far.serve(&mut b, key).await;
    let code = b.log.iter().find_map(|(_, event)| match event {
        AttemptEvent::Failed(failure) => failure.carrier_code.as_deref().map(str::to_owned),
        _ => None,
    });
    (story, far.called, code)
}

#[tokio::test]
async fn a_redirection_to_another_number_is_not_followed() {
    for (contact, why) in [
        ("<sip:911@OWN>", "to another number"),
        ("<sip:+12025550199@OWN>", "to another number"),
        ("<tel:112>", "to another number"),
        (
            "<sip:+12025550123@192.0.2.66>",
            "to a host that is not the trunk's",
        ),
        (
            "<sip:+12025550123@evil.example>",
            "to a host that is not the trunk's",
        ),
        ("nonsense", "no usable contact"),
    ] {
        let answer = format!("302 Moved Temporarily|{contact}");
        let (story, called, code) = redirected(Redirects::Keep, &[("+12025550123", &answer)]).await;
        assert_eq!(story, "carrier_fault NextCandidate", "{contact}");
        assert_eq!(called, ["sip:+12025550123@OWN"], "{contact}");
        assert_eq!(code, Some(format!("302 Moved Temporarily ({why})")));
    }
}

#[tokio::test]
async fn a_redirection_is_followed_within_the_trunk_and_to_a_number_that_may_be_called() {
    let busy = ("+12025550199", "486 Busy Here");
    let other = (
        "+12025550123",
        "302 Moved Temporarily|<sip:+12025550199@OWN;user=phone>",
    );
    let (story, called, code) = redirected(Redirects::Follow, &[other, busy]).await;
    assert_eq!(story, "busy StopChannel");
    let code = code.unwrap_or_default();
    assert!(
        code.starts_with("302 redirected to +1202") && code.ends_with(", then 486 Busy Here"),
        "the attempt tells of both: {code}"
    );
    assert_eq!(called, ["sip:+12025550123@OWN", "sip:+12025550199@OWN"]);
    let elsewhere = (
        "+12025550123",
        "302 Moved Temporarily|<sip:+12025550199@evil.example>",
    );
    let (_, called, _) = redirected(Redirects::Follow, &[elsewhere, busy]).await;
    assert_eq!(called, ["sip:+12025550123@OWN", "sip:+12025550199@OWN"]);

    for contact in [
        "<sip:911@OWN>",
        "<sip:+19005550100@OWN>",
        "<sip:+18765550123@OWN>",
        "<tel:112>",
    ] {
        let answer = format!("302 Moved Temporarily|{contact}");
        let (story, called, _) = redirected(Redirects::Follow, &[("+12025550123", &answer)]).await;
        assert_eq!(story, "carrier_fault NextCandidate", "{contact}");
        assert_eq!(called.len(), 1, "{contact}");
    }
}

#[tokio::test]
async fn redirections_end_after_five_and_in_a_circle() {
    let chain = [
        (
            "+12025550123",
            "302 Moved Temporarily|<sip:+12025550101@OWN>",
        ),
        (
            "+12025550101",
            "302 Moved Temporarily|<sip:+12025550102@OWN>",
        ),
        (
            "+12025550102",
            "302 Moved Temporarily|<sip:+12025550103@OWN>",
        ),
        (
            "+12025550103",
            "302 Moved Temporarily|<sip:+12025550104@OWN>",
        ),
        (
            "+12025550104",
            "302 Moved Temporarily|<sip:+12025550105@OWN>",
        ),
        (
            "+12025550105",
            "302 Moved Temporarily|<sip:+12025550106@OWN>",
        ),
        ("+12025550106", "486 Busy Here"),
    ];
    let (_, called, code) = redirected(Redirects::Follow, &chain).await;
    assert_eq!(called.len(), 6);
    let code = code.unwrap_or_default();
    assert!(
        code.ends_with(", then 302 Moved Temporarily (too many)"),
        "{code}"
    );
    let circle = [(
        "+12025550123",
        "302 Moved Temporarily|<sip:+12025550123@OWN>",
    )];
    let (_, called, code) = redirected(Redirects::Keep, &circle).await;
    // Once more, since it asks for it; not twice.
    assert_eq!(called.len(), 1, "the same Request-URI: {called:?}");
    assert_eq!(
        code.as_deref(),
        Some("302 redirected to +1202•••••23, then 302 Moved Temporarily (in a circle)")
    );
}
