//! What the publisher has in hand, in invented time.

use super::*;
use crate::challenge::ChallengeKey;

fn at(span: Duration) -> Now {
    let mono = Mono::default() + span;
    let wall = Millis(span.as_millis() as i64);
    Now {
        wall,
        mono,
        ahead: 0,
    }
}

fn report(key: i64, until: i64) -> OutboxReport {
    OutboxReport {
        report: ReportKey(key),
        challenge: ChallengeKey(key),
        seq: 1,
        target: Target::ReplyTo {
            queue: "q".into(),
            correlation_id: None,
        },
        body: b"{}".as_slice().into(),
        is_final: false,
        until: Millis(until),
    }
}

fn queue() -> PublishQueue {
    bounded(PublishBounds::default())
}

fn bounded(bounds: PublishBounds) -> PublishQueue {
    let names = PublishNames {
        reports: "r".into(),
        dead: "d".into(),
        node: "n".into(),
    };
    PublishQueue::new(names, bounds)
}

#[test]
fn a_report_is_in_hand_once_and_not_again_when_done() {
    let (mut queue, now) = (queue(), at(Duration::ZERO));
    queue.report(report(1, 9));
    queue.report(report(1, 9));
    let (slot, _) = queue.take(now).unwrap();
    assert!(queue.take(now).is_none());
    queue.confirmed(slot, true, now);
    assert_eq!(queue.done(), [ReportKey(1)]);
    queue.report(report(1, 9));
    assert!(queue.take(now).is_none());
}

#[test]
fn what_was_on_its_way_goes_first_and_in_order() {
    let (mut queue, now) = (queue(), at(Duration::ZERO));
    for key in 1..=3 {
        queue.report(report(key, 9));
    }
    for _ in 0..2 {
        queue.take(now).unwrap();
    }
    queue.requeued();
    let lanes: Vec<usize> =
        std::iter::from_fn(|| queue.take(now).map(|(_, message)| message.lane)).collect();
    assert_eq!(lanes, [1, 2, 3]);
}

#[test]
fn refused_it_waits_longer_each_time_and_ends_as_a_dead_letter() {
    let (mut queue, now) = (queue(), at(Duration::ZERO));
    queue.report(report(1, 2_000));
    let (slot, _) = queue.take(now).unwrap();
    queue.confirmed(slot, false, now);
    assert!(queue.take(now).is_none(), "not at once");
    assert_eq!(queue.due(), Some(now.mono + PAUSE));
    let later = at(PAUSE);
    let (slot, message) = queue.take(later).unwrap();
    assert_eq!(&*message.routing_key, "q");
    queue.confirmed(slot, false, later);
    assert_eq!(
        queue.due(),
        Some(later.mono + Duration::from_secs(1)),
        "not beyond its time"
    );
    let end = at(Duration::from_secs(2));
    let (slot, _) = queue.take(end).unwrap();
    queue.confirmed(slot, false, end);
    let (slot, message) = queue.take(end).unwrap();
    assert_eq!(&*message.exchange, "d");
    assert!(
        queue.done().is_empty(),
        "not before the dead letter is held"
    );
    queue.confirmed(slot, true, end);
    assert_eq!(queue.done(), [ReportKey(1)]);
}

#[test]
fn what_waits_to_go_again_is_bounded_where_dead_letters_come_back_too() {
    let bounds = PublishBounds {
        again: 8,
        ..PublishBounds::default()
    };
    let mut queue = bounded(bounds);
    for n in 0..200 {
        // No queue takes anything, and the time of all is over.
        let now = at(Duration::from_secs(10 * n));
        queue.report(report(n as i64 + 1, 0));
        while let Some((slot, _)) = queue.take(now) {
            queue.confirmed(slot, false, now);
        }
        assert!(queue.in_hand() <= bounds.again, "{}", queue.in_hand());
    }
    assert!(queue.left == Left::PutBack, "the others are read again");
}

#[test]
fn a_message_says_when_by_the_wall_clock_as_it_stands() {
    let mut queue = queue();
    let hour = 3_600_000;
    let now = Now {
        ahead: hour,
        ..at(Duration::from_secs(5))
    };
    queue.report(report(1, 0));
    let (slot, message) = queue.take(now).unwrap();
    assert_eq!(*message.properties.timestamp(), Some(3_605));
    // Its time is over by what is waited for.
    queue.confirmed(slot, false, now);
    let (_, message) = queue.take(now).unwrap();
    assert_eq!(&*message.exchange, "d");
    assert_eq!(*message.properties.timestamp(), Some(3_605));
    let letter: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(letter["at"], Millis(3_605_000).rfc3339());
}
