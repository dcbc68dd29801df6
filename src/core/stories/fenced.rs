//! Stories of a node whose work others have taken.

use super::{config, *};

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
