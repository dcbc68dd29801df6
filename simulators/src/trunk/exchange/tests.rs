//! The exchange in made-up time: what goes again when, and what is left at the end.

use super::dialogs::WAIT_FOR_ACK;
use super::*;
use crate::record::{CallResult, EndedBy};
use crate::trunk::sip::param;

const CALLER: &str = "127.0.0.1:7000";

struct Bench {
    exchange: Exchange,
    start: Instant,
    now: Instant,
    sent: Vec<(Duration, Message)>,
    ended: Vec<record::Call>,
    broken: Vec<String>,
}

impl Bench {
    fn new(faults: Faults) -> Bench {
        let mut exchange = Exchange::new(Settings {
            contact: "127.0.0.1:5080".parse().unwrap(),
            credentials: None,
            habits: Habits::default(),
            keep_audio: false,
            media: false,
            seed: 1,
        });
        exchange.set_faults(Arc::new(faults));
        let now = Instant::now();
        Bench {
            exchange,
            start: now,
            now,
            sent: Vec::new(),
            ended: Vec::new(),
            broken: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.exchange.poll() {
            match output {
                Output::Send(peer, bytes) => {
                    assert_eq!(peer.address(), CALLER.parse().unwrap());
                    self.sent
                        .push((self.now - self.start, Message::datagram(&bytes).unwrap()));
                }
                Output::Bind(id) => {
                    self.exchange
                        .bound(id, Some("127.0.0.1:9000".parse().unwrap()), self.now)
                }
                Output::Ended(call, _) => self.ended.push(*call),
                Output::Broken(_, reason) => self.broken.push(reason),
                Output::Talk(..) | Output::Answered(_) | Output::Hush(_) => {}
            }
        }
    }

    /// Let time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.exchange.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.exchange.elapsed(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn say(&mut self, method: &str, number: &str, branch: &str, cseq: &str, to_tag: Option<&str>) {
        let tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let body = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 7002 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
        let text = format!(
            "{method} sip:{number}@t SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch={branch}\r\nFrom: <sip:+1@g>;tag=f\r\n\
             To: <sip:{number}@t>{tag}\r\nCall-ID: c{number}\r\nCSeq: {cseq}\r\nContact: <sip:g@{CALLER}>\r\n\r\n{body}"
        );
        self.exchange
            .datagram(text.as_bytes(), CALLER.parse().unwrap(), self.now);
        self.drain();
    }

    fn invite(&mut self, number: &str) {
        self.say("INVITE", number, "z1", "1 INVITE", None);
    }

    /// Times (ms) at which this status was sent.
    fn times(&self, wanted: u16) -> Vec<u64> {
        let matching = |message: &Message| message.start == Start::Response { status: wanted };
        self.sent
            .iter()
            .filter(|(_, message)| matching(message))
            .map(|(at, _)| at.as_millis() as u64)
            .collect()
    }

    fn requests(&self) -> Vec<(u64, String)> {
        let all = self
            .sent
            .iter()
            .filter_map(|(at, message)| match &message.start {
                Start::Request { method, .. } => Some((at.as_millis() as u64, method.clone())),
                Start::Response { .. } => None,
            });
        all.collect()
    }

    fn tags(&self) -> Vec<String> {
        let answers = self
            .sent
            .iter()
            .filter(|(_, m)| m.start == Start::Response { status: 200 });
        answers
            .filter_map(|(_, m)| param(m.first("to")?, "tag").map(str::to_owned))
            .collect()
    }
}

#[test]
fn a_cancel_that_comes_too_late_is_followed_by_an_answer() {
    let mut b = Bench::new(Faults {
        answer_cancelled: crate::script::Often::ALWAYS,
        ..Faults::default()
    });
    b.invite("+12025550123");
    b.say("CANCEL", "+12025550123", "z1", "1 CANCEL", None);
    assert_eq!(b.times(200).len(), 2, "to the CANCEL and to the INVITE");
    assert!(b.times(487).is_empty());
    assert_eq!(b.exchange.live().collect::<Vec<_>>(), ["c+12025550123"]);
}

#[test]
fn what_is_overtaken_by_an_invite_with_credentials_is_no_fault() {
    let mut b = Bench::new(Faults::default());
    b.say("INVITE", "+12025550123", "z2", "2 INVITE", None);
    b.say("INVITE", "+12025550123", "z1", "1 INVITE", None);
    b.say("ACK", "+12025550123", "z1", "1 ACK", Some("a"));
    assert_eq!(b.broken, [""; 0]);
    assert_eq!(b.exchange.counts().invites, 1);
}

#[test]
fn a_200_without_its_ack_goes_again_for_32_seconds_and_is_then_ended() {
    let mut bench = Bench::new(Faults::default());
    bench.invite("+12025550123");
    bench.pass(Duration::from_secs(120));
    let wanted = [
        300, 800, 1800, 3800, 7800, 11_800, 15_800, 19_800, 23_800, 27_800, 31_800,
    ];
    assert_eq!(bench.times(200), wanted);
    let byes = bench.requests();
    assert_eq!(byes.len(), 11, "a BYE, and its repetitions: {byes:?}");
    assert_eq!(byes[0], (32_300, "BYE".into()));
    assert_eq!(byes[1].0, 32_800);
    assert!(
        bench
            .broken
            .iter()
            .any(|reason| reason == "a 200 was never ACKed"),
        "{:?}",
        bench.broken
    );
    assert_eq!(bench.ended.len(), 1);
    assert!(bench.exchange.is_idle());
    assert_eq!(
        (
            bench.exchange.counts().live,
            bench.exchange.counts().unacked
        ),
        (0, 1)
    );
}

#[test]
fn a_refusal_goes_again_until_its_ack_and_nothing_is_left() {
    let mut bench = Bench::new(Faults::default());
    bench.invite("+12025559020");
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.times(486), [0, 500, 1500, 3500]);
    bench.say("ACK", "+12025559020", "z1", "1 ACK", Some("x"));
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.times(486).len(), 4);
    assert_eq!(bench.ended[0].result, CallResult::Busy);
    assert!(
        bench.exchange.is_idle() && bench.broken.is_empty() && bench.exchange.deadline().is_none()
    );
    // The INVITE once more, late: the same answer, no second call.
    bench.invite("+12025559020");
    assert_eq!(bench.times(486).len(), 5);
    assert!(bench.exchange.is_idle());
}

#[test]
fn an_acked_call_is_silent_until_its_bye_and_the_bye_may_come_twice() {
    let mut bench = Bench::new(Faults::default());
    bench.invite("+12025550123");
    bench.pass(Duration::from_millis(300));
    let tag = bench.tags().remove(0);
    bench.say("ACK", "+12025550123", "z2", "1 ACK", Some(&tag));
    bench.pass(Duration::from_secs(3600));
    assert_eq!(bench.times(200), [300]);
    for _ in 0..2 {
        bench.say("BYE", "+12025550123", "z3", "2 BYE", Some(&tag));
    }
    assert_eq!(bench.times(200).len(), 3);
    assert_eq!(bench.ended.len(), 1);
    assert_eq!(
        (bench.ended[0].answer_ms, bench.ended[0].ended_by),
        (Some(300), EndedBy::Gateway)
    );
    assert!(bench.broken.is_empty(), "{:?}", bench.broken);
}

#[test]
fn who_hangs_up_waits_for_the_ack() {
    let mut bench = Bench::new(Faults::default());
    bench.invite("+12025559029");
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.requests(), []);
    let tag = bench.tags().remove(0);
    bench.say("ACK", "+12025559029", "z2", "1 ACK", Some(&tag));
    bench.pass(WAIT_FOR_ACK);
    let requests: Vec<_> = bench.requests().into_iter().map(|(_, m)| m).collect();
    assert_eq!(requests, ["BYE"]);
}

#[test]
fn a_cancel_that_crosses_the_200_changes_nothing() {
    let mut bench = Bench::new(Faults::default());
    bench.invite("+12025550123");
    bench.pass(Duration::from_millis(300));
    bench.say("CANCEL", "+12025550123", "z1", "1 CANCEL", None);
    assert_eq!((bench.times(200).len(), bench.times(487).len()), (2, 0));
    assert_eq!(bench.exchange.counts().live, 1);
}

#[test]
fn rules_broken_by_the_caller_are_named() {
    let mut bench = Bench::new(Faults::default());
    bench.invite("+12025550123");
    bench.pass(Duration::from_millis(300));
    let tag = bench.tags().remove(0);
    bench.say("ACK", "+12025550123", "z1", "1 ACK", Some("another"));
    bench.say("ACK", "+12025550123", "z1", "9 ACK", Some(&tag));
    assert_eq!(bench.broken.len(), 3, "{:?}", bench.broken);
}

#[test]
fn a_call_that_hangs_is_written_down_when_the_caller_gives_up() {
    let mut bench = Bench::new(Faults {
        hang_calls: true,
        ..Faults::default()
    });
    bench.invite("+12025550123");
    bench.pass(Duration::from_secs(5));
    bench.say("CANCEL", "+12025550123", "z1", "1 CANCEL", None);
    assert_eq!(bench.sent.len(), 1, "100 and nothing more");
    assert_eq!(bench.ended.len(), 1);
    assert_eq!((bench.ended[0].end_ms, bench.ended[0].status), (5000, 0));
    bench.pass(Duration::from_secs(300));
    assert_eq!((bench.ended.len(), bench.sent.len()), (1, 1));
    assert!(bench.exchange.is_idle());
}

#[test]
fn the_same_seed_says_the_same() {
    let run = || {
        let faults = Faults {
            throttle: crate::script::Often::Share(0.5),
            ..Faults::default()
        };
        let mut bench = Bench::new(faults);
        for last in 0..20 {
            bench.invite(&format!("+120255500{last:02}"));
        }
        bench.pass(Duration::from_secs(1));
        bench
            .sent
            .into_iter()
            .map(|(_, message)| message)
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
