//! What becomes of an order: its submits, its answers, its doubts.

use super::*;
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::{
    carrier::Text,
    challenge::ChallengeKey,
    number::Number,
    protocol::smpp::{self, pdu},
};

const WALL: Millis = Millis(1_700_000_000_000);

fn order(n: i64, body: &str) -> TextOrder {
    TextOrder {
        key: AttemptKey {
            challenge: ChallengeKey(n),
            attempt: 1,
        },
        to: Number::from_e164("+12025550123").unwrap(),
        sender: "97671".into(),
        content: Text { body: body.into() },
        deadline: WALL + Duration::from_millis(90_500),
    }
}

fn session(window: usize, now: Instant) -> Session {
    let settings = smpp::Settings {
        system_id: "mfa".into(),
        password: String::new(),
        system_type: String::new(),
        window,
        response_timeout: Duration::from_secs(5),
        probe: None,
    };
    let mut session = Session::new(settings, now);
    let mut answer = BytesMut::new();
    answer.put_slice(&[0, 0, 0, 16, 0x80, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
    session.receive(&mut answer, now);
    assert_eq!(session.poll_event(), Some(smpp::SessionEvent::Bound));
    session.output().clear();
    session
}

fn long() -> String {
    "x".repeat(400) // three parts
}

fn orders() -> Orders {
    Orders::new(Arc::default())
}

fn fill(orders: &mut Orders, session: &mut Session) -> Vec<OrderOutcome> {
    let mut out = Vec::new();
    orders.fill(session, Instant::now(), WALL, &mut out);
    out
}

/// The bodies of the submits that were written.
fn written(session: &mut Session) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while let Some(frame) = pdu::take_frame(session.output()).unwrap() {
        bodies.push(frame.body.to_vec());
    }
    bodies
}

fn holds(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_text_becomes_one_submit_with_what_is_left_of_its_life() {
    let (mut orders, mut session) = (orders(), session(10, Instant::now()));
    assert!(orders.take(order(1, "Your code is 482913"), 7).is_none());
    assert!(fill(&mut orders, &mut session).is_empty());
    let bodies = written(&mut session);
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].starts_with(b"\0\x03\x0097671\0\x01\x0112025550123\0\0\0\0\0"));
    assert!(
        holds(&bodies[0], b"000000000131000R\0\x01\0\0\0"),
        "91 s, rounded up, receipt asked for"
    );
    let done = orders.answered(0, 0, "A1".into()).unwrap();
    assert!(done.first);
    assert!(
        matches!(done.event, AttemptEvent::Accepted { references } if references == ["A1".into()])
    );
    assert_eq!(orders.unsettled(), 0);
}

#[test]
fn a_long_text_goes_in_parts_through_a_small_window_and_names_them_in_order() {
    let (mut orders, mut session) = (orders(), session(2, Instant::now()));
    orders.take(order(1, &long()), 7);
    fill(&mut orders, &mut session);
    let first = written(&mut session);
    assert_eq!(first.len(), 2);
    for (body, part) in first.iter().zip(1u8..) {
        assert!(holds(body, &[0x05, 0x00, 0x03, 7, 3, part]), "part {part}");
        assert!(
            holds(body, b"12025550123\0\x40\0\0"),
            "esm_class announces the header"
        );
    }
    // The session's own numbering: the bind was 1, so the parts are 2 and 3.
    for (sequence, id) in [(3u32, "B"), (2, "A")] {
        let mut answer = BytesMut::new();
        answer.put_u32(18);
        answer.put_u32(0x8000_0004);
        answer.put_u32(0);
        answer.put_u32(sequence);
        answer.put_slice(id.as_bytes());
        answer.put_u8(0);
        session.receive(&mut answer, Instant::now());
        let Some(smpp::SessionEvent::Answered {
            token,
            status,
            message_id,
        }) = session.poll_event()
        else {
            panic!()
        };
        assert!(orders.answered(token, status, message_id).is_none());
    }
    fill(&mut orders, &mut session);
    assert_eq!(written(&mut session).len(), 1);
    let done = orders.answered(2, 0, "C".into()).unwrap();
    assert!(
        matches!(done.event, AttemptEvent::Accepted { references } if references == ["A".into(), "B".into(), "C".into()])
    );
}

#[test]
fn a_part_that_fails_fails_the_text_once() {
    let (mut orders, mut session) = (orders(), session(2, Instant::now()));
    orders.take(order(1, &long()), 7);
    fill(&mut orders, &mut session);
    assert_eq!(written(&mut session).len(), 2);
    let failed = orders.answered(1, 0x0B, String::new()).unwrap();
    assert!(matches!(failed.event, AttemptEvent::Failed(f) if f.cause == Cause::InvalidNumber));
    assert!(orders.answered(0, 0, "A".into()).is_none());
    let mut fresh = super::tests::session(10, Instant::now());
    fill(&mut orders, &mut fresh);
    assert!(
        written(&mut fresh).is_empty(),
        "the third part is not sent any more"
    );
    assert_eq!(orders.unsettled(), 0);
}

#[test]
fn doubt_is_said_once_and_a_late_answer_ends_it() {
    let (mut orders, mut session) = (orders(), session(10, Instant::now()));
    orders.take(order(1, &long()), 7);
    fill(&mut orders, &mut session);
    let doubt = orders.unanswered(0).unwrap();
    assert!(doubt.first && matches!(doubt.event, AttemptEvent::InDoubt { .. }));
    assert!(orders.unanswered(1).is_none());
    assert_eq!(orders.unsettled(), 0);
    assert!(orders.answered(0, 0, "A".into()).is_none());
    assert!(orders.answered(1, 0, "B".into()).is_none());
    let late = orders.answered(2, 0, "C".into()).unwrap();
    assert!(!late.first && matches!(late.event, AttemptEvent::Accepted { .. }));
}

#[test]
fn nothing_is_sent_after_the_deadline() {
    let (mut orders, mut session) = (orders(), session(10, Instant::now()));
    orders.take(
        TextOrder {
            deadline: WALL,
            ..order(1, "late")
        },
        7,
    );
    let out = fill(&mut orders, &mut session);
    assert!(
        matches!(&out[..], [OrderOutcome { event: AttemptEvent::Failed(f), first: true, .. }] if f.cause == Cause::Expired)
    );
    assert!(written(&mut session).is_empty());
}

#[test]
fn what_may_be_whole_at_the_phone_is_in_doubt_the_rest_has_failed() {
    let (mut orders, mut session) = (orders(), session(4, Instant::now()));
    orders.take(order(1, "sent"), 7);
    orders.take(order(2, &long()), 8);
    orders.take(order(3, "in the queue"), 9);
    orders.take(order(4, "in the queue, too"), 9);
    fill(&mut orders, &mut session);
    orders.answered(token(1, 0), 0, "A".into()); // a part of the long one
    // Token of the last part: written into our buffer, and never out of it.
    let mut out = Vec::new();
    orders.lost([token(1, 2)].into_iter(), &mut out);
    let said: Vec<(i64, bool)> = out
        .iter()
        .map(|outcome| {
            (
                outcome.key.challenge.0,
                matches!(outcome.event, AttemptEvent::InDoubt { .. }),
            )
        })
        .collect();
    assert_eq!(said, [(1, true), (2, false), (3, false), (4, false)]);
    assert_eq!(orders.unsettled(), 0);
}

#[test]
fn what_we_cannot_send_speaks_against_us() {
    let (mut orders, mut session) = (orders(), session(4, Instant::now()));
    let too_long = orders.take(order(1, &"y".repeat(50_000)), 1).unwrap();
    assert!(matches!(too_long.event, AttemptEvent::Failed(f) if f.blame == Blame::Us));
    orders.take(
        TextOrder {
            sender: "A name that is far too long".into(),
            ..order(2, "hi")
        },
        1,
    );
    let out = fill(&mut orders, &mut session);
    assert!(
        matches!(&out[..], [OrderOutcome { event: AttemptEvent::Failed(f), .. }] if f.blame == Blame::Us)
    );
    assert_eq!(orders.unsettled(), 0);
}
