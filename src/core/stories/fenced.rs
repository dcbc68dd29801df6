//! Stories of a node whose work others have taken.

use super::{config, *};
use crate::{
    ledger::{NodeNews, TakenOver},
    pace::Pace,
};

const KEEPING: Keeping = Keeping {
    wipe: WIPE,
    retention: DAY,
    outcomes: DAY,
};
const TO: [&str; 2] = ["+12025550123", "+12025550177"];

/// Another process opens the ledger beside this one.
fn opens(memory: &Memory, node: &str, now: Mono) -> Engine {
    let limits = &config().settings.limits;
    let opened = memory.open(node, KEEPING, limits, time(now).wall);
    opened.expect("a ledger that opens").0
}

fn accepted() -> AttemptEvent {
    AttemptEvent::Accepted {
        references: vec!["17".into()],
    }
}

fn paced() -> Config {
    let mut paced = config();
    for carrier in Arc::make_mut(&mut paced.carriers).values_mut() {
        Arc::make_mut(carrier).pace = Some(Pace {
            count: 100,
            per: Duration::from_secs(1),
        });
    }
    paced
}

#[test]
fn a_challenge_that_another_node_has_is_forgotten_without_a_word() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life(&memory, start, |s| {
        s.ask("a", TO[0]);
        let (carrier, order) = s.order();
        s.passes(Duration::from_millis(100));
        let said = s.events("a");
        let other = opens(&memory, "gw-2", s.now);
        s.answers(&carrier, &order, accepted());
        let receipt = s.brings(&carrier, "17", &order, ReceiptState::Delivered);
        s.passes(Duration::from_secs(1));
        assert_eq!(s.events("a"), said);
        assert!(s.core.rest().is_none(), "{:?}", s.core.rest());
        assert!(!s.safe.contains(&receipt), "it is brought to the other");
        let stored = other.find("bank", "a").unwrap().expect("it is there");
        assert_eq!(stored.ended, None);
        // What comes from here on is its own.
        s.ask("b", TO[1]);
        let (carrier, order) = s.order();
        s.answers(&carrier, &order, accepted());
        s.brings(&carrier, "17", &order, ReceiptState::Delivered);
        s.passes(Duration::from_secs(1));
        assert!(s.events("b").contains(&"delivered".to_owned()));
    });
}

#[test]
fn a_process_whose_place_another_has_takes_nothing_and_sends_nothing() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life(&memory, start, |s| {
        s.ask("a", TO[0]);
        let (carrier, order) = s.order();
        let other = opens(&memory, "gw-1", s.now);
        s.answers(&carrier, &order, accepted());
        s.ask("b", TO[1]);
        s.passes(Duration::from_secs(1));
        assert!(s.orders.is_empty());
        assert!(s.core.rest().is_none(), "{:?}", s.core.rest());
        assert!(other.find("bank", "b").unwrap().is_none());
    });
}

/// A process was stopped and goes on: what it may send by then was allowed too long ago.
#[test]
fn what_was_allowed_before_the_term_ran_out_is_not_sent() {
    story(|s| {
        s.is_void = true;
        s.ask("a", TO[0]);
        assert!(s.orders.is_empty());
        assert_eq!(s.events("a"), [""; 0]);
        assert!(s.reads_reports, "from the ledger, by whoever has them");
        s.is_void = false;
        s.passes(Duration::from_secs(1));
        let (_, order) = s.order();
        assert_eq!(order.to.e164(), TO[0], "by the next carrier");
    });
}

/// While others may have its work, nothing is begun; afterwards all that waited is.
#[test]
fn a_node_that_is_not_heard_of_begins_nothing() {
    story(|s| {
        s.core.heard_of(false);
        assert!(!s.core.wants().jobs);
        s.ask("a", TO[0]);
        s.passes(Duration::from_secs(5));
        assert!(s.orders.is_empty());
        s.core.heard_of(true);
        s.passes(Duration::from_secs(1));
        let (_, order) = s.order();
        assert_eq!(order.to.e164(), TO[0]);
    });
}

/// What another node had goes on here, once, also where it is told twice.
#[test]
fn what_is_taken_over_goes_on_once() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    let stored = life_of(paced(), &memory, start, |s| {
        // Taken, and not sent.
        s.core.share();
        s.ask("a", TO[0]);
        s.passes(Duration::from_secs(1));
        s.engine.find("bank", "a").unwrap().expect("it is durable")
    });
    story(|s| {
        for _ in 0..2 {
            s.gives(Input::Nodes(NodeNews::TakenOver(Box::new(TakenOver {
                node: "gw-1".into(),
                challenges: vec![stored.clone()],
                calls: Vec::new(),
                messages: Vec::new(),
                reports: 0,
            }))));
        }
        s.passes(Duration::from_secs(1));
        let (_, order) = s.order();
        assert_eq!(order.to.e164(), TO[0]);
        assert!(s.orders.is_empty(), "once");
    });
}

/// Until it is known what the other nodes use, a carrier with a pace is not used.
#[test]
fn a_carrier_with_a_pace_is_used_by_parts() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life_of(paced(), &memory, start, |s| {
        s.core.share();
        s.ask("a", TO[0]);
        s.passes(Duration::from_secs(1));
        assert!(s.orders.is_empty());
        s.gives(Input::Nodes(NodeNews::Others { live: 1, parts: 2 }));
        s.passes(Duration::from_secs(1));
        assert_eq!(s.order().1.to.e164(), TO[0]);
    });
}
