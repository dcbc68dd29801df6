//! A trunk in invented time, with a far end of text.

use std::path::Path;

use super::*;
use crate::{
    carrier::{
        AttemptEvent, CallState, CarrierEvent,
        sip::tests::{config, order, peer, sip},
    },
    challenge::{ChallengeKey, Method},
    config::carrier::{Carry, Transport as Kind},
    protocol::sip::{HeaderName, Message},
};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const TO: &str = "+12025550123";
const KEY: AttemptKey = AttemptKey {
    challenge: ChallengeKey(1),
    attempt: 1,
};

fn first() -> SocketAddr {
    "192.0.2.9:5060".parse().expect("an address")
}

fn second() -> SocketAddr {
    "192.0.2.10:5060".parse().expect("an address")
}

fn unterminated(state: &CallState) -> CallToEnd {
    CallToEnd {
        key: KEY,
        state: state.clone(),
    }
}

struct Bench {
    trunk: Trunk,
    now: Moment,
    /// Sent: whereto, and what.
    sent: Vec<(SocketAddr, Message)>,
    last_sent: Option<(SocketAddr, Message)>,
    told: Vec<String>,
    slots: u32,
    /// Audio is asked for, and is to be answered by the test.
    holds_audio: bool,
    /// What is to be recorded is, at once.
    records: bool,
    opened: u64,
    closed: Vec<MediaId>,
    /// The last state of a call, and its mark.
    state: Option<CallState>,
    mark: Option<CallMark>,
}

impl Bench {
    fn new() -> Bench {
        let mut config = config(vec![peer(Carry::Udp, first()), peer(Carry::Udp, second())]);
        config.probe = None;
        sip(&mut config).ring = Duration::from_secs(30);
        let Kind::Sip(sip) = config.transport.clone() else {
            panic!("a trunk");
        };
        let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
        let ip = [192, 0, 2, 1].into();
        let own = Local {
            bind: SocketAddr::new(ip, 5060),
            rtp: ip,
        };
        let trunk = Trunk::new(TrunkSetup {
            config: Arc::new(config),
            sip,
            voices: Arc::new(Catalogue::load(&prompts).expect("prompts")),
            own,
            bound: own.bind,
            seeds: Seeds {
                signalling: 7,
                session: 1,
            },
        });
        let mut bench = Bench {
            trunk,
            now: Moment {
                at: Instant::now(),
                wall: Millis(1_800_000_000_000),
            },
            sent: Vec::new(),
            last_sent: None,
            told: Vec::new(),
            slots: 0,
            holds_audio: false,
            records: true,
            opened: 0,
            closed: Vec::new(),
            state: None,
            mark: None,
        };
        bench.trunk.begin(bench.now);
        bench.drain();
        assert_eq!(bench.told(), ["link Up"]);
        assert_eq!(bench.slots, 100);
        bench
    }

    fn handle(&mut self, input: TrunkInput<'_>) {
        self.trunk.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.trunk.poll_output() {
            match output {
                TrunkOutput::Transmit { to, bytes, .. } => {
                    let message = Message::parse(&bytes).expect("our messages are good");
                    self.last_sent = Some((to, message.clone()));
                    self.sent.push((to, message));
                }
                TrunkOutput::Event(message) => self.event(message.what),
                TrunkOutput::Slots(slots) => self.slots = slots,
                TrunkOutput::OpenMedia if !self.holds_audio => self.open(true),
                TrunkOutput::CloseMedia(media, _) => self.closed.push(media),
                _ => {}
            }
        }
    }

    fn event(&mut self, event: CarrierEvent) {
        match event {
            CarrierEvent::Attempt(_, AttemptEvent::CallState(state, mark)) => {
                self.state = Some(state);
                self.mark = Some(mark);
                if self.records {
                    self.trunk.handle(self.now, TrunkInput::Recorded(mark));
                }
            }
            CarrierEvent::Attempt(_, AttemptEvent::Failed(failure)) => {
                self.told.push(failure.cause.name().to_owned());
            }
            CarrierEvent::Attempt(_, AttemptEvent::CallEnded(end)) => {
                self.told.push(format!("{:?}", end.outcome));
            }
            CarrierEvent::Attempt(_, AttemptEvent::CallCleared) => self.told.push("cleared".into()),
            CarrierEvent::Attempt(_, AttemptEvent::InDoubt { .. }) => {
                self.told.push("in doubt".into());
            }
            CarrierEvent::Attempt(..) => {}
            CarrierEvent::Link(link) => self.told.push(format!("link {link:?}")),
            CarrierEvent::Incoming(..) => panic!("no texts here"),
        }
    }

    fn open(&mut self, there_is: bool) {
        self.opened += 1;
        let port = MediaPort {
            id: MediaId::of(self.opened),
            local: SocketAddr::from(([192, 0, 2, 1], 20_000)),
        };
        let opened = if there_is {
            Ok(port)
        } else {
            Err(OpenError::Full { max_calls: 0 })
        };
        self.handle(TrunkInput::MediaOpened(opened));
    }

    fn order(&mut self) -> AttemptKey {
        let key = KEY;
        let deadline = self.now.wall + Duration::from_secs(120);
        let order = order(key, TO, Method::VoiceConfirm, deadline);
        self.handle(TrunkInput::Order(Box::new(order)));
        key
    }

    fn recorded(&mut self) {
        let mark = self.mark.expect("something is to be recorded");
        self.handle(TrunkInput::Recorded(mark));
    }

    /// The last message of this method that was sent.
    fn last(&self, method: &str) -> (SocketAddr, Message) {
        let mut all = self.sent.iter().rev();
        let found = all.find(|(_, message)| message.method_name() == method);
        found.expect("it was sent").clone()
    }

    fn answer(&mut self, request: &Message, status: u16, body: &str) {
        let header = |name| request.header(name).unwrap_or("").to_owned();
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=far\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:far@192.0.2.9:5060>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            header(HeaderName::Via),
            header(HeaderName::From),
            header(HeaderName::To),
            header(HeaderName::CallId),
            header(HeaderName::CSeq),
            body.len(),
        );
        self.handle(TrunkInput::Received {
            from: first(),
            transport: Transport::Udp,
            octets: text.as_bytes(),
        });
    }

    /// The far end's BYE from this address: the status that answers it.
    fn hangs_up(&mut self, invite: &Message, from: SocketAddr) -> Option<u16> {
        self.last_sent = None;
        let header = |name| invite.header(name).unwrap_or("");
        let text = format!(
            "BYE sip:mfa@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            from.ip(),
            header(HeaderName::To),
            header(HeaderName::From),
            header(HeaderName::CallId),
        );
        self.handle(TrunkInput::Received {
            from,
            transport: Transport::Udp,
            octets: text.as_bytes(),
        });
        let (_, answer) = self.last_sent.clone()?;
        answer.status()
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.at + time;
        let due = |b: &Bench| b.trunk.next_deadline(b.now.at).filter(|at| *at <= until);
        while let Some(at) = due(self) {
            self.go_to(at);
            self.handle(TrunkInput::Timer);
        }
        self.go_to(until);
    }

    fn go_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.at);
        self.now = Moment {
            at: self.now.at + step,
            wall: self.now.wall + step,
        };
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// Methods and statuses that were sent since the last look.
    fn sent(&mut self) -> Vec<String> {
        let sent = self.sent.drain(..);
        sent.map(|(_, message)| message.method_name().to_owned())
            .collect()
    }
}

#[test]
fn a_target_that_refuses_is_followed_by_the_next_and_nothing_is_cleared_between_them() {
    let mut b = Bench::new();
    b.holds_audio = true;
    b.order();
    b.open(true);
    let (to, invite) = b.last("INVITE");
    assert_eq!(to, first());
    b.answer(&invite, 503, "");
    assert_eq!(b.told(), [""; 0], "it goes on");
    b.open(true);
    let (to, invite) = b.last("INVITE");
    assert_eq!(to, second());
    b.answer(&invite, 486, "");
    assert_eq!(b.told(), ["busy", "cleared"]);
    assert!(b.trunk.is_settled());
}

#[test]
fn what_goes_on_and_finds_no_audio_is_cleared_after_it_has_failed() {
    let mut b = Bench::new();
    b.holds_audio = true;
    b.order();
    b.open(true);
    let (_, invite) = b.last("INVITE");
    b.answer(&invite, 503, "");
    b.open(false);
    assert_eq!(b.told(), ["gateway_limit", "cleared"]);
    assert!(b.trunk.is_settled());
}

#[test]
fn who_is_hung_up_before_there_is_audio_is_never_called() {
    let mut b = Bench::new();
    b.holds_audio = true;
    let key = b.order();
    b.handle(TrunkInput::HangUp(key));
    assert_eq!(b.told(), ["cancelled"]);
    b.open(true);
    assert_eq!(b.sent(), [""; 0]);
    assert_eq!(b.closed, [MediaId::of(1)], "the audio is given back");
    assert!(b.trunk.is_settled());
}

#[test]
fn a_restart_ends_the_call_of_every_target_that_was_asked() {
    let mut b = Bench::new();
    b.order();
    b.pass(Duration::from_secs(2));
    assert_eq!(b.last("INVITE").0, second(), "the first is silent");
    let state = b.state.clone().expect("a state");

    let mut next = Bench::new();
    next.handle(TrunkInput::Unterminated(&unterminated(&state)));
    let ended: Vec<SocketAddr> = next.sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(next.sent(), ["CANCEL", "CANCEL"]);
    assert_eq!(ended, [second(), first()]);
    assert_eq!(crate::carrier::sip::port_of(&state), Some(5060));
    next.handle(TrunkInput::Unterminated(&unterminated(&CallState(
        "[{}]".into(),
    ))));
    assert_eq!(next.sent(), [""; 0], "what can't be read ends nothing");
    assert!(
        next.told().is_empty(),
        "the other calls of the attempt end yet"
    );
}

#[test]
fn an_answer_that_crosses_a_cancel_is_acknowledged_and_ended() {
    let mut b = Bench::new();
    let key = b.order();
    let (_, invite) = b.last("INVITE");
    b.answer(&invite, 180, "");
    b.handle(TrunkInput::HangUp(key));
    assert_eq!(b.sent(), ["INVITE", "CANCEL"]);
    assert_eq!(b.told(), ["cancelled"]);
    b.answer(&invite, 200, SDP);
    assert_eq!(b.sent(), ["ACK", "BYE"]);
    assert!(!b.trunk.is_settled());
}

#[test]
fn a_drained_trunk_stays_while_another_configuration_is_prepared() {
    let mut b = Bench::new();
    b.handle(TrunkInput::Held(true));
    b.handle(TrunkInput::Finish(Finish::End));
    assert_eq!(b.slots, 0);
    assert_eq!(b.trunk.next_deadline(b.now.at), None);
    b.pass(Duration::from_secs(60));
    assert!(!b.trunk.is_finished(b.now.at, false));
    b.handle(TrunkInput::Held(false));
    assert!(b.trunk.is_finished(b.now.at, true), "patience is over");
}

#[test]
fn an_answer_that_crosses_a_cancel_has_its_ack_once_a_restart_could_end_it() {
    let mut b = Bench::new();
    let key = b.order();
    let (_, invite) = b.last("INVITE");
    b.answer(&invite, 180, "");
    b.handle(TrunkInput::HangUp(key));
    assert_eq!(b.sent(), ["INVITE", "CANCEL"]);
    b.records = false;
    b.answer(&invite, 200, SDP);
    b.answer(&invite, 200, SDP);
    assert_eq!(b.sent(), [""; 0], "it is not recorded");
    let state = b.state.clone().expect("a state");
    b.recorded();
    assert_eq!(b.sent(), ["ACK", "BYE"]);

    let mut next = Bench::new();
    next.handle(TrunkInput::Unterminated(&unterminated(&state)));
    assert_eq!(next.sent(), ["ACK", "BYE"], "the dialog is known");
}

#[test]
fn the_answer_of_a_call_that_was_left_up_is_recorded_before_it_is_ended() {
    let mut b = Bench::new();
    b.order();
    let (_, invite) = b.last("INVITE");
    b.answer(&invite, 180, "");
    let state = b.state.clone().expect("a state");

    let mut next = Bench::new();
    next.records = false;
    next.handle(TrunkInput::Unterminated(&unterminated(&state)));
    assert_eq!(next.sent(), ["CANCEL"]);
    next.answer(&invite, 200, SDP);
    assert_eq!(next.sent(), [""; 0], "it is not recorded");
    let state = next.state.clone().expect("a state");
    next.recorded();
    let (_, bye) = next.last("BYE");
    assert_eq!(next.sent(), ["ACK", "BYE"]);
    next.told();
    next.answer(&bye, 200, "");
    next.pass(Duration::from_secs(40));
    assert_eq!(next.told(), ["cleared"], "its end is told once");
    assert!(!next.trunk.ends_unterminated());

    let mut last = Bench::new();
    last.handle(TrunkInput::Unterminated(&unterminated(&state)));
    assert_eq!(
        last.sent(),
        ["ACK", "BYE"],
        "the BYE was lost with its process"
    );
}

#[test]
fn where_nothing_is_recorded_any_more_an_answered_call_is_ended_and_none_is_begun() {
    let mut b = Bench::new();
    let key = b.order();
    let (_, invite) = b.last("INVITE");
    b.answer(&invite, 180, "");
    b.handle(TrunkInput::HangUp(key));
    b.records = false;
    b.answer(&invite, 200, SDP);
    let order = order(
        AttemptKey { attempt: 2, ..KEY },
        TO,
        Method::VoiceConfirm,
        b.now.wall + Duration::from_secs(120),
    );
    b.handle(TrunkInput::Order(Box::new(order)));
    assert_eq!(b.sent(), ["INVITE", "CANCEL"]);
    b.handle(TrunkInput::Unheard);
    assert_eq!(b.sent(), ["ACK", "BYE"]);
}

#[test]
fn a_call_is_cleared_when_no_target_of_it_may_answer_any_more() {
    let mut b = Bench::new();
    b.order();
    let (_, silent) = b.last("INVITE");
    b.pass(Duration::from_secs(2));
    let (to, invite) = b.last("INVITE");
    assert_eq!(to, second(), "the first is silent");
    b.answer(&invite, 486, "");
    assert_eq!(b.told(), ["busy"], "the first may still answer");
    b.sent();
    b.answer(&silent, 200, SDP);
    assert_eq!(b.sent(), ["ACK", "BYE"]);
    let (_, bye) = b.last_sent.clone().expect("a BYE");
    b.answer(&bye, 200, "");
    assert_eq!(b.told(), ["cleared"]);
    assert!(b.trunk.is_settled());
}

#[test]
fn a_name_that_does_not_resolve_any_more_leaves_targets_and_peers_as_they_were_last() {
    let third: SocketAddr = "192.0.2.11:5060".parse().expect("an address");
    let mut b = Bench::new();
    b.order();
    let (_, invite) = b.last("INVITE");
    b.answer(&invite, 200, SDP);
    // The call has never been there.
    let moved = Resolved {
        endpoint: 0,
        addresses: vec![third],
    };
    b.handle(TrunkInput::Resolved(Ok(moved)));
    let unresolved = || TrunkInput::Resolved(Err("a.example does not resolve".into()));
    b.handle(unresolved());
    assert_eq!((b.told(), b.slots), (vec![], 100), "its link is as it was");
    let stranger = "203.0.113.66:5060".parse().expect("an address");
    assert_eq!(b.hangs_up(&invite, stranger), Some(481));
    assert_eq!(b.hangs_up(&invite, third), Some(200));
    b.told();
    b.handle(unresolved());
    let next = AttemptKey { attempt: 2, ..KEY };
    let deadline = b.now.wall + Duration::from_secs(120);
    let order = order(next, TO, Method::VoiceConfirm, deadline);
    b.handle(TrunkInput::Order(Box::new(order)));
    assert_eq!(b.last("INVITE").0, third);
}
