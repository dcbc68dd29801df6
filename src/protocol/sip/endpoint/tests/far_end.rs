//! The bench: one endpoint, a clock that stands still, and a far end that answers by text.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::protocol::sip::codec::{HeaderName, Message};
use crate::protocol::sip::digest::Credentials;
use crate::protocol::sip::endpoint::{
    CallHandle, Config, Endpoint, Event, Invite, Limits, Output, Resume, Transport,
};
use crate::protocol::sip::sdp::{Codec, Local};
use crate::protocol::sip::transaction::Timing;

pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

pub struct Bench {
    pub endpoint: Endpoint,
    pub now: Instant,
    pub transport: Transport,
    /// Where the far end sends from.
    pub from: SocketAddr,
    pub sent: Vec<Message>,
    pub events: Vec<Event>,
    pub resumes: Vec<Resume>,
    /// What is told is durable at once; else it never is.
    pub records: bool,
}

pub fn peer() -> SocketAddr {
    "192.0.2.9:5080".parse().expect("an address")
}

/// Our requests are good; our answers hold what the request has brought.
fn sent(octets: &[u8]) -> Message {
    if octets.starts_with(b"SIP/2.0 ") {
        return Message::read(octets)
            .or_else(|rejected| rejected.salvage.map(|message| *message).ok_or(()))
            .expect("an answer");
    }
    Message::parse(octets).expect("our requests are good")
}

impl Bench {
    pub fn new() -> Bench {
        Bench::over(Transport::Udp)
    }

    pub fn over(transport: Transport) -> Bench {
        Bench::of(transport, |_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Bench {
        Bench::of(Transport::Udp, change)
    }

    /// Messages from this block are the trunk's too.
    pub fn allowing(block: &str) -> Bench {
        Bench::with(|config| config.allow = vec![block.parse().expect("a block")].into())
    }

    fn of(transport: Transport, change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = Config {
            sent_by: "192.0.2.1:5060".into(),
            user: "mfa".into(),
            user_agent: "test".into(),
            credentials: Some(Credentials {
                username: "u".into(),
                password: "p".into(),
            }),
            timing: Timing::default(),
            allow: Default::default(),
            media_allow: Default::default(),
        };
        change(&mut config);
        let (sent, events, resumes) = (Vec::new(), Vec::new(), Vec::new());
        Bench {
            endpoint: Endpoint::new(config, 42),
            now: Instant::now(),
            transport,
            from: peer(),
            sent,
            events,
            resumes,
            records: true,
        }
    }

    pub fn order(&self) -> Invite {
        Invite {
            to: peer(),
            transport: self.transport,
            uri: "sip:+12025550123@192.0.2.9:5080".into(),
            from: "sip:+18553308653@192.0.2.1".into(),
            headers: vec![(
                "P-Asserted-Identity".into(),
                "<sip:+18553308653@192.0.2.1>".into(),
            )],
            media: Local {
                address: "192.0.2.1:20000".parse().expect("an address"),
                codecs: vec![Codec::Pcmu, Codec::Pcma],
                session: 7,
            },
            limits: Limits {
                first_answer: Duration::from_secs(5),
                ring: Duration::from_secs(30),
                call: Duration::from_secs(90),
            },
        }
    }

    /// Places a call; the INVITE is the first message sent.
    pub fn call(&mut self) -> CallHandle {
        let order = self.order();
        let call = self.endpoint.invite(self.now, order).expect("a fit order");
        self.drain();
        call
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => {
                    self.sent.push(sent(&bytes));
                }
                Output::Event(Event::Resume { call, resume }) => {
                    self.resumes.push(*resume);
                    if self.records {
                        self.endpoint.recorded(self.now, call);
                    }
                }
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    pub fn receive(&mut self, text: &str) {
        self.endpoint
            .receive(self.now, self.from, self.transport, text.as_bytes());
        self.drain();
    }

    /// Answers `request` with `status`, a To tag, further header lines and a body.
    pub fn answer(&mut self, request: &Message, status: u16, tag: &str, extra: &str, body: &str) {
        let copied = |name: HeaderName| request.header(name).unwrap_or("").to_owned();
        let to = if tag.is_empty() {
            String::new()
        } else {
            format!(";tag={tag}")
        };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "SIP/2.0 {status} Phrase\r\nVia: {}\r\nFrom: {}\r\nTo: {}{to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:far@192.0.2.9:5080>\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            copied(HeaderName::Via),
            copied(HeaderName::From),
            copied(HeaderName::To),
            copied(HeaderName::CallId),
            copied(HeaderName::CSeq),
            body.len(),
        );
        self.receive(&text);
    }

    /// A request of the far end within the dialog of `invite`.
    pub fn request(
        &mut self,
        invite: &Message,
        method: &str,
        cseq: u32,
        branch: &str,
        body: (&str, &str),
    ) {
        let head = self.request_head(invite, method, cseq, branch);
        let kind = if body.0.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {}\r\n", body.0)
        };
        self.receive(&format!(
            "{head}{kind}Content-Length: {}\r\n\r\n{}",
            body.1.len(),
            body.1
        ));
    }

    pub fn request_head(&self, invite: &Message, method: &str, cseq: u32, branch: &str) -> String {
        format!(
            "{method} sip:mfa@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5080;branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
            invite.header(HeaderName::To).unwrap_or(""),
            invite.header(HeaderName::From).unwrap_or(""),
            invite.call_id(),
        )
    }

    /// Lets time pass, waking the endpoint whenever it wants.
    pub fn pass(&mut self, time: Duration) {
        self.drain();
        let until = self.now + time;
        while let Some(at) = self.endpoint.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// A call that is up; what was sent and told so far is dropped. Returns the INVITE.
    pub fn up(&mut self) -> (CallHandle, Message) {
        let call = self.call();
        let invite = self.sent[0].clone();
        self.answer(&invite, 180, "far", "", "");
        self.answer(&invite, 200, "far", "", SDP);
        self.take();
        self.events.clear();
        (call, invite)
    }

    /// What was sent since the last look: methods, or statuses.
    pub fn take(&mut self) -> Vec<String> {
        self.sent
            .drain(..)
            .map(|m| {
                m.status()
                    .map_or_else(|| m.method_name().to_owned(), |status| status.to_string())
            })
            .collect()
    }

    /// What was told since the last look, by the names of the events.
    pub fn told(&mut self) -> Vec<String> {
        self.events
            .drain(..)
            .map(|event| match event {
                Event::Progress { status, early, .. } => {
                    format!("progress {status} {}", early.is_some())
                }
                Event::Answered { remote, .. } => format!("answered {}", remote.address),
                Event::Key { key, .. } => format!("key {key}"),
                Event::Media { remote, .. } => format!("media {} {}", remote.address, remote.hears),
                Event::Ended { end, .. } => format!("ended {end:?}"),
                Event::Cleared { .. } => "cleared".into(),
                Event::Probed { status, .. } => format!("probed {status:?}"),
                Event::Resume { .. } => "resume".into(),
                Event::Foreign { from } => format!("foreign {from}"),
                Event::Malformed { fault, taken } => format!("malformed {fault:?} {taken}"),
            })
            .collect()
    }
}
