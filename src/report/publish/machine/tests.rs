//! What the publisher does about confirms, lost connections, blocked brokers and pages of the outbox, in invented time.

use std::time::Duration;

use super::*;
use crate::{
    challenge::{ChallengeKey, Millis},
    ledger::Target,
    report::publish::queue::Returned,
};

const BOUNDS: PublishBounds = PublishBounds {
    window: 3,
    fresh: 8,
    again: 4,
    page: 4,
};

fn at(millis: u64) -> Now {
    Now {
        wall: Millis(millis as i64),
        mono: Mono::after_start(Duration::from_millis(millis)),
        ahead: 0,
    }
}

fn report(key: i64) -> OutboxReport {
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
        until: Millis(3_600_000),
    }
}

/// What follows at this moment: keys that are published (here the lane is the key), with their slots; the page that is read;
/// keys that are done; whether the connection is given up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    published: Vec<(u64, usize)>,
    read: Option<i64>,
    done: Vec<i64>,
    given_up: bool,
}

fn step(machine: &mut PublishMachine, now: Now) -> Step {
    let mut step = Step::default();
    machine.turn(now);
    while let Some(output) = machine.poll_output(now) {
        match output {
            PublishOutput::Publish(slot, message) => step.published.push((slot, message.lane)),
            PublishOutput::Read(ReportKey(after), limit) => {
                assert_eq!(limit, BOUNDS.page);
                step.read = Some(after);
            }
            PublishOutput::Done(keys) => step.done.extend(keys.iter().map(|key| key.0)),
            PublishOutput::Unconfirmed(_) => step.given_up = true,
            PublishOutput::LetterOver(_)
            | PublishOutput::Unroutable(_)
            | PublishOutput::Notice(..) => {}
        }
    }
    step
}

fn keys(step: &Step) -> Vec<usize> {
    step.published.iter().map(|(_, key)| *key).collect()
}

/// Connected, with an outbox that was read and is empty.
fn machine() -> PublishMachine {
    let mut machine = PublishMachine::new(PublishNames::default(), BOUNDS);
    machine.connected(at(0));
    assert_eq!(step(&mut machine, at(0)).read, Some(i64::MIN));
    machine.page(ReportKey(i64::MIN), Ok(Vec::new()));
    machine
}

fn confirm(machine: &mut PublishMachine, now: Now, slots: &[u64], ack: bool) {
    let confirms = slots.iter().map(|slot| Confirm {
        slot: *slot,
        ack,
        returned: None,
    });
    machine.confirmed(now, confirms.collect());
}

#[test]
fn the_window_is_kept_and_what_was_on_its_way_goes_again_on_the_next_connection() {
    let mut machine = machine();
    (1..=5).for_each(|key| machine.report(report(key)));
    let first = step(&mut machine, at(0));
    assert_eq!(keys(&first), [1, 2, 3]);
    confirm(&mut machine, at(1), &[first.published[1].0], true);
    let second = step(&mut machine, at(1));
    assert_eq!((keys(&second), second.done), (vec![4], vec![2]));
    machine.lost();
    assert!(!machine.has_room() && machine.deadline().is_none());
    assert_eq!(step(&mut machine, at(2)), Step::default());
    machine.connected(at(3));
    let again = step(&mut machine, at(3));
    assert_eq!((keys(&again), again.read), (vec![1, 3, 4], None));
    let slots: Vec<u64> = again.published.iter().map(|(slot, _)| *slot).collect();
    confirm(&mut machine, at(4), &slots, true);
    let last = step(&mut machine, at(4));
    assert_eq!((keys(&last), last.read), (vec![5], Some(i64::MIN)));
}

#[test]
fn the_outbox_is_read_page_by_page_and_a_page_for_a_lost_connection_is_not_taken_for_another() {
    let mut machine = machine();
    machine.lost();
    machine.connected(at(1));
    assert_eq!(step(&mut machine, at(1)).read, Some(i64::MIN));
    machine.page(ReportKey(i64::MIN), Ok((1..=4).map(report).collect()));
    // No more is read before there is room for it.
    let first = step(&mut machine, at(1));
    assert_eq!((keys(&first), first.read), (vec![1, 2, 3], None));
    let next = step(&mut machine, at(1));
    assert_eq!(next.read, Some(4));
    machine.lost();
    machine.connected(at(2));
    machine.page(ReportKey(4), Ok(vec![report(9)]));
    let again = step(&mut machine, at(2));
    assert_eq!((keys(&again), again.read), (vec![1, 2, 3], None));
    assert_eq!(step(&mut machine, at(2)).read, Some(i64::MIN));
    machine.page(
        ReportKey(i64::MIN),
        Ok(vec![report(1), report(4), report(5)]),
    );
    let slots: Vec<u64> = again.published.iter().map(|(slot, _)| *slot).collect();
    confirm(&mut machine, at(3), &slots, true);
    assert_eq!(keys(&step(&mut machine, at(3))), [4, 5]);
}

#[test]
fn what_was_left_in_the_ledger_is_read_again_but_not_at_once() {
    let mut machine = machine();
    machine.missed();
    assert_eq!(step(&mut machine, at(100)).read, None);
    assert_eq!(machine.deadline(), Some(at(2_000).mono));
    assert_eq!(step(&mut machine, at(2_000)).read, Some(i64::MIN));
    machine.page(ReportKey(i64::MIN), Err(ReadError::Gone));
    assert_eq!(step(&mut machine, at(3_000)).read, None);
    assert_eq!(
        step(&mut machine, at(4_000)).read,
        Some(i64::MIN),
        "tried again"
    );
    machine.page(ReportKey(i64::MIN), Ok(Vec::new()));
    assert_eq!(machine.deadline(), None, "nothing more is left");
}

#[test]
fn a_confirm_that_never_comes_ends_the_connection_though_others_come() {
    let mut machine = machine();
    machine.report(report(1));
    step(&mut machine, at(0));
    for n in 1..40 {
        let now = at(n * 500);
        machine.report(report(n as i64 + 1));
        let next = step(&mut machine, now);
        assert!(!next.given_up, "after {n}");
        confirm(&mut machine, now, &[next.published[0].0], true);
    }
    machine.report(report(99));
    assert!(step(&mut machine, at(20_000)).given_up);
    machine.connected(at(20_000));
    assert_eq!(keys(&step(&mut machine, at(20_000))), [1, 99]);
}

#[test]
fn while_the_broker_is_blocked_nothing_goes_nothing_is_late_and_nothing_wakes() {
    let mut machine = machine();
    machine.report(report(1));
    machine.report(report(2));
    let first = step(&mut machine, at(0));
    confirm(&mut machine, at(1), &[first.published[0].0], false);
    assert!(machine.blocked(at(2), true) && !machine.blocked(at(2), true));
    machine.report(report(3));
    for n in 1..100 {
        let now = at(n * 1_000);
        assert_eq!(step(&mut machine, now), Step::default());
        assert!(
            machine.deadline().is_some_and(|at| at > now.mono),
            "it spins"
        );
    }
    assert!(machine.blocked(at(100_000), false));
    let now = at(100_000);
    assert_eq!(keys(&step(&mut machine, now)), [1, 3]);
    assert!(!step(&mut machine, at(119_999)).given_up);
    assert!(step(&mut machine, at(120_000)).given_up);
}

#[test]
fn a_full_window_is_no_reason_to_wake_for_what_is_due() {
    let mut machine = machine();
    (1..=4).for_each(|key| machine.report(report(key)));
    let first = step(&mut machine, at(0));
    confirm(&mut machine, at(1), &[first.published[0].0], false);
    assert_eq!(keys(&step(&mut machine, at(1))), [4]);
    let now = at(1_500);
    assert!(keys(&step(&mut machine, now)).is_empty());
    assert!(
        machine.deadline().is_some_and(|at| at > now.mono),
        "it spins"
    );
}

#[test]
fn a_returned_message_counts_for_its_own_report_whosever_confirm_brings_it() {
    let mut machine = machine();
    machine.report(report(1));
    machine.report(report(2));
    let slots = step(&mut machine, at(0)).published;
    let returned = Returned {
        exchange: "".into(),
        routing_key: "q".into(),
        message_id: Some("-2-1".to_owned()),
    };
    let confirms = slots.iter().zip([Some(returned), None]);
    let confirms = confirms.map(|((slot, _), returned)| Confirm {
        slot: *slot,
        ack: true,
        returned,
    });
    machine.confirmed(at(1), confirms.collect());
    assert_eq!(step(&mut machine, at(1)).done, [1]);
    assert!(!machine.is_at_rest());
    assert_eq!(keys(&step(&mut machine, at(1_001))), [2]);
}

#[test]
fn told_to_stop_it_brings_out_what_is_at_hand_and_reads_no_more() {
    let mut machine = machine();
    (1..=5).for_each(|key| machine.report(report(key)));
    machine.missed();
    machine.stop(at(0), Duration::from_secs(3));
    let mut slots = step(&mut machine, at(0)).published;
    assert!(!machine.is_over(at(0)));
    while let Some((slot, _)) = slots.pop() {
        confirm(&mut machine, at(2_100), &[slot], true);
        let next = step(&mut machine, at(2_100));
        assert_eq!(next.read, None);
        slots.extend(next.published);
    }
    assert!(machine.is_over(at(2_100)));
    machine.report(report(6));
    assert_eq!(keys(&step(&mut machine, at(2_200))), [6]);
    assert!(!machine.is_over(at(2_999)) && machine.is_over(at(3_000)));
}

#[test]
fn what_no_queue_takes_is_not_read_again_sooner_than_what_waits_in_hand_goes_again() {
    let mut machine = machine();
    (1..=6)
        .map(report)
        .for_each(|report| machine.report(report));
    for _ in 0..2 {
        let published = step(&mut machine, at(100)).published;
        let slots: Vec<u64> = published.into_iter().map(|(slot, _)| slot).collect();
        assert_eq!(slots.len(), BOUNDS.window);
        confirm(&mut machine, at(100), &slots, false);
    }
    assert_eq!(machine.in_hand(), BOUNDS.again, "two stay in the ledger");
    assert_eq!(step(&mut machine, at(15_000)).read, None);
    assert_eq!(machine.rescan_at(), Some(at(30_000).mono));
    // One that was never tried has not to wait for that.
    machine.missed();
    assert_eq!(step(&mut machine, at(15_000)).read, Some(i64::MIN));
}
