//! A clean stop: what has to be heard and kept before it.

use super::*;
use crate::{
    carrier::{CallMark, CallState},
    challenge::{AttemptKey, ChallengeKey},
};

const CALL: AttemptKey = AttemptKey {
    challenge: ChallengeKey(1),
    attempt: 1,
};
const LIMIT: Duration = Duration::from_secs(10);
/// What is written is durable by then.
const SOON: Duration = Duration::from_secs(2);

/// A life of a process that dies while its call rings; the carrier is one of the configuration, or is not.
fn dies_while_it_rings(memory: &Memory, carrier: &str) {
    let start = Mono::after_start(Duration::from_secs(1));
    life(memory, start, |story| {
        let rings = AttemptEvent::CallState(CallState("rings".into()), CallMark(1));
        story.said(carrier, CarrierEvent::Attempt(CALL, rings));
        story.passes(SOON);
    });
}

fn next_life(memory: &Memory, tell: impl FnOnce(&mut Story)) {
    life(memory, Mono::after_start(Duration::from_secs(5)), tell);
}

/// Whether it is over so long after the order to stop.
fn stops_within(story: &mut Story, so_long: Duration) -> bool {
    story.core.drain(time(story.now), LIMIT);
    story.passes(so_long);
    story.core.is_over()
}

#[test]
fn a_stop_waits_until_a_call_of_an_earlier_life_has_been_ended() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    dies_while_it_rings(&memory, "delta");
    next_life(&memory, |story| {
        assert!(!stops_within(story, SOON), "it may be answered yet");
        let cleared = AttemptEvent::CallCleared;
        story.said("delta", CarrierEvent::Attempt(CALL, cleared));
        assert!(stops_within(story, SOON));
    });
    next_life(&memory, |story| {
        assert!(stops_within(story, SOON), "it is forgotten");
    });
}

#[test]
fn a_stop_waits_no_longer_than_its_limit_for_a_call_of_an_earlier_life() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    dies_while_it_rings(&memory, "delta");
    next_life(&memory, |story| assert!(stops_within(story, LIMIT)));
}

#[test]
fn a_stop_does_not_wait_for_a_call_whose_carrier_is_not_there() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    dies_while_it_rings(&memory, "no-more");
    next_life(&memory, |story| {
        assert!(stops_within(story, SOON));
    });
}

/// Longer than the machines of SIP take to end one.
#[test]
fn a_call_of_an_earlier_life_that_nobody_ends_is_forgotten() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    dies_while_it_rings(&memory, "delta");
    next_life(&memory, |story| {
        story.passes(Duration::from_secs(140));
        assert!(stops_within(story, SOON));
    });
}
