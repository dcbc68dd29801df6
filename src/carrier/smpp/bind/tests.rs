//! One bind's life in invented time.

use bytes::BufMut;

use super::*;
use crate::{
    carrier::{
        AttemptEvent, Text,
        smpp::tests::rig::{Setting, config},
    },
    challenge::ChallengeKey,
    config::carrier::Transport,
    number::Number,
    protocol::smpp::pdu::{self, command},
};

const WALL: Millis = Millis(1_700_000_000_000);
const RESPONSE: u32 = command::RESPONSE;
const RECEIPT: &[u8] =
    b"\0\x01\x0112025550123\0\x03\x0097671\0\x04\0\0\0\0\0\0\0\0\x1aid:4711 stat:DELIVRD err:0";

/// A bind to two endpoints, and its time.
struct Bench {
    bind: Bind,
    now: Instant,
}

impl Bench {
    fn begin() -> Bench {
        let config = config(&[1, 2], &Setting::default());
        let Transport::Smpp(smpp) = config.transport.clone() else {
            unreachable!()
        };
        let now = Instant::now();
        let live = Arc::new(Live::new(config, smpp));
        let bind = Bind::new(1, live, 7, now);
        Bench { bind, now }
    }

    fn bound() -> Bench {
        let mut bench = Bench::begin();
        bench.bind.connected(Ok(String::new()), bench.now);
        assert_eq!(bench.said(), [(command::BIND_TRANSCEIVER, 0, 1)]);
        bench.hears(command::BIND_TRANSCEIVER | RESPONSE, 0, 1, b"smsc\0");
        assert!(matches!(&bench.events()[..], [BindEvent::Bound]));
        bench
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.bind.timeout(self.now);
    }

    fn hears(&mut self, command: u32, status: u32, sequence: u32, body: &[u8]) {
        let mut octets = BytesMut::new();
        for word in [16 + body.len() as u32, command, status, sequence] {
            octets.put_u32(word);
        }
        octets.put_slice(body);
        self.bind.receive(&mut octets, self.now);
    }

    fn submits(&mut self, n: i64) {
        let order = TextOrder {
            key: key(n),
            to: Number::from_e164("+12025550123").unwrap(),
            sender: "97671".into(),
            content: Text {
                body: "Your code is 482913".into(),
            },
            deadline: WALL + Duration::from_secs(90),
        };
        self.bind.submit(order, 0);
    }

    fn events(&mut self) -> Vec<BindEvent> {
        self.bind.settle(self.now, WALL);
        std::iter::from_fn(|| self.bind.poll_event()).collect()
    }

    /// The PDUs written since the last look.
    fn said(&mut self) -> Vec<(u32, u32, u32)> {
        self.bind.settle(self.now, WALL);
        let mut said = Vec::new();
        while let Some(frame) = pdu::take_frame(self.bind.output()).unwrap() {
            said.push((frame.command, frame.status, frame.sequence));
        }
        said
    }
}

fn key(n: i64) -> AttemptKey {
    AttemptKey {
        challenge: ChallengeKey(n),
        attempt: 1,
    }
}

fn outcome(event: &BindEvent) -> (i64, &AttemptEvent) {
    match event {
        BindEvent::Outcome(outcome) => (outcome.key.challenge.0, &outcome.event),
        other => panic!("{other:?}"),
    }
}

#[test]
fn endpoints_are_asked_in_turn_from_its_own_on_and_then_it_waits() {
    let mut bench = Bench::begin();
    assert_eq!(bench.bind.connection(), Connection::Wanted(1));
    bench.submits(1);
    assert!(matches!(
        outcome(&bench.events()[0]),
        (1, AttemptEvent::Failed(failure)) if failure.cause == Cause::CarrierFault
    ));
    bench.bind.connect_failed("two is down".into(), bench.now);
    assert_eq!(bench.bind.connection(), Connection::Wanted(0));
    assert!(bench.events().is_empty());
    bench.bind.connect_failed("one is down".into(), bench.now);
    let events = bench.events();
    assert!(
        matches!(&events[..], [BindEvent::NotBound(reason)] if reason == "two is down; one is down"),
        "{events:?}"
    );
    assert_eq!(bench.bind.connection(), Connection::None);
    let wait = bench.bind.deadline().unwrap() - bench.now;
    assert!((SHORTEST..SHORTEST * 2).contains(&wait), "{wait:?}");
    bench.passes(wait);
    assert_eq!(bench.bind.connection(), Connection::Wanted(1));
}

#[test]
fn a_lost_session_says_so_first_and_leaves_doubt_only_for_what_may_have_left() {
    let mut bench = Bench::bound();
    bench.submits(1);
    assert_eq!(bench.said().len(), 1);
    bench.submits(2);
    assert!(bench.events().is_empty());
    // Of the second no octet has left.
    bench.bind.disconnected("cut".into(), bench.now);
    let events = bench.events();
    assert!(matches!(&events[0], BindEvent::Lost { reason, .. } if reason == "cut"));
    assert!(matches!(
        outcome(&events[1]),
        (1, AttemptEvent::InDoubt { .. })
    ));
    assert!(matches!(outcome(&events[2]), (2, AttemptEvent::Failed(_))));
    assert_eq!(events.len(), 3);
    assert_eq!(bench.bind.connection(), Connection::None);
    assert!(bench.bind.output().is_empty(), "its octets go nowhere else");
}

#[test]
fn a_refused_bind_and_a_silent_one_are_reasons() {
    let mut bench = Bench::begin();
    let missing = SecretError::NotSet("SMSC".into());
    bench.bind.connected(Err(missing), bench.now);
    assert!(matches!(
        &bench.events()[..],
        [BindEvent::NotBound(reason)] if reason == "password: environment variable SMSC is not set"
    ));
    bench.passes(SHORTEST * 2);
    bench.bind.connected(Ok(String::new()), bench.now);
    bench.hears(command::BIND_TRANSCEIVER | RESPONSE, 0x0E, 1, b"");
    assert!(matches!(
        &bench.events()[..],
        [BindEvent::NotBound(reason)] if reason.starts_with("bind refused: 0x0000000e")
    ));
    bench.passes(SHORTEST * 4);
    bench.bind.connected(Ok(String::new()), bench.now);
    bench.passes(Duration::from_secs(5));
    assert!(matches!(
        &bench.events()[..],
        [BindEvent::NotBound(reason)] if reason == "bind not answered"
    ));
}

#[test]
fn a_delivery_is_answered_when_it_is_said_so_and_not_before() {
    let mut bench = Bench::bound();
    bench.hears(command::DELIVER_SM, 0, 40, RECEIPT);
    bench.hears(command::DELIVER_SM, 0, 41, RECEIPT);
    let events = bench.events();
    assert!(
        matches!(
            &events[..],
            [
                BindEvent::Brought {
                    incoming: Incoming::Receipt(_),
                    sequence: 40
                },
                BindEvent::Brought { sequence: 41, .. },
            ]
        ),
        "{events:?}"
    );
    assert!(bench.said().is_empty());
    bench.bind.answer(41, Reply::Taken);
    bench.bind.answer(40, Reply::QueueFull);
    assert_eq!(
        bench.said(),
        [
            (command::DELIVER_SM | RESPONSE, 0, 41),
            (command::DELIVER_SM | RESPONSE, 0x14, 40)
        ]
    );
}

#[test]
fn a_drain_waits_for_what_is_in_the_air_and_says_goodbye() {
    let mut bench = Bench::bound();
    bench.submits(1);
    assert_eq!(bench.said(), [(command::SUBMIT_SM, 0, 2)]);
    bench.bind.drain(bench.now);
    assert!(!bench.bind.takes_orders());
    assert!(bench.said().is_empty());
    bench.hears(command::SUBMIT_SM | RESPONSE, 0, 2, b"4711\0");
    assert!(matches!(
        outcome(&bench.events()[0]),
        (1, AttemptEvent::Accepted { .. })
    ));
    assert_eq!(bench.said(), [(command::UNBIND, 0, 3)]);
    bench.hears(command::UNBIND | RESPONSE, 0, 3, b"");
    assert!(matches!(&bench.events()[..], [BindEvent::Lost { .. }]));
    assert_eq!(bench.bind.connection(), Connection::Over);
    bench.submits(2);
    assert!(matches!(
        outcome(&bench.events()[0]),
        (2, AttemptEvent::Failed(_))
    ));
}

#[test]
fn a_drain_whose_time_is_over_says_goodbye_once_and_waits_for_the_answer() {
    let mut bench = Bench::bound();
    // Nobody says whether this one is safe: the session stays busy.
    bench.hears(command::DELIVER_SM, 0, 40, RECEIPT);
    assert_eq!(bench.events().len(), 1);
    bench.bind.drain(bench.now);
    bench.passes(Duration::from_secs(5) + DRAIN_GRACE);
    assert_eq!(bench.said(), [(command::UNBIND, 0, 2)]);
    let next = bench.bind.deadline().unwrap();
    assert!(next > bench.now, "it would be woken again and again");
    assert!(bench.said().is_empty());
}

#[test]
fn a_drain_without_a_session_is_over_at_once() {
    let mut bench = Bench::begin();
    bench.bind.drain(bench.now);
    assert_eq!(bench.bind.connection(), Connection::Over);
    assert_eq!(bench.bind.deadline(), None);
}

#[test]
fn after_a_long_session_the_next_try_comes_soon() {
    let mut bench = Bench::bound();
    bench.passes(Duration::from_secs(60));
    bench.bind.disconnected("cut".into(), bench.now);
    assert_eq!(bench.bind.deadline(), Some(bench.now));
    bench.passes(Duration::ZERO);
    assert_eq!(bench.bind.connection(), Connection::Wanted(1));
}
