//! Stories of limits, of which the ledger has the word.

use std::time::Duration;

use super::{config, life_of, *};
use crate::{config::settings::Limits, pace::Pace};

/// Two a number in five minutes.
fn limited() -> Config {
    let mut config = config();
    let limits = &mut Arc::make_mut(&mut config.settings).limits;
    *limits = Limits {
        per_number: Some(Pace {
            count: 2,
            per: Duration::from_secs(300),
        }),
        ..limits.clone()
    };
    config
}

/// What the final says, as event and reason.
fn final_of(s: &Story, id: &str) -> (String, String) {
    let bodies = s.reports.iter();
    let mut bodies = bodies.map(|r| serde_json::from_slice::<serde_json::Value>(&r.body).unwrap());
    let last = bodies.find(|body| body["challenge"] == id && body["final"] == true);
    let last = last.expect("a final");
    let text = |field: &str| last[field].as_str().unwrap_or_default().to_owned();
    (text("event"), text("reason"))
}

fn rejected() -> (String, String) {
    ("rejected".to_owned(), "too_many_attempts".to_owned())
}

const TO: &str = "+12025550123";

#[test]
fn over_a_limit_by_the_ledgers_word_nothing_is_sent_and_its_final_says_why() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life_of(limited(), &memory, start, |s| {
        // All in one turn: the core can't know yet which of them count.
        for id in ["a", "b", "c", "d"] {
            let asked = s.asks(id, TO);
            s.core.handle(time(s.now), asked);
        }
        s.turns();
        s.passes(Duration::from_millis(100));
        assert_eq!(s.orders.len(), 2);
        for id in ["c", "d"] {
            assert_eq!(s.events(id), ["rejected"]);
            assert_eq!(final_of(s, id), rejected());
            let stored = s.engine.find("bank", id).unwrap().expect("durable");
            assert!(stored.ended.is_some() && stored.last.is_some());
        }
        let rest = s.core.rest().expect("two are under way");
        assert_eq!((rest.open, rest.in_flight, rest.waiting), (2, 2, 0));
        // By now it is known that the window is full: refused at once.
        s.ask("e", TO);
        s.passes(Duration::from_millis(100));
        assert_eq!(final_of(s, "e"), rejected());
        // The same id again is known, not over the limit.
        s.ask("a", TO);
        s.passes(Duration::from_millis(100));
        assert!(s.events("a").iter().all(|event| event != "rejected"));
    });
}

#[test]
fn windows_slide_and_outlive_the_process() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    let next = life_of(limited(), &memory, start, |s| {
        s.ask("a", TO);
        s.passes(Duration::from_secs(10));
        s.ask("b", TO);
        s.passes(Duration::from_secs(10));
        s.now
    });
    life_of(limited(), &memory, next, |s| {
        s.ask("c", TO);
        s.passes(Duration::from_millis(100));
        assert_eq!(final_of(s, "c"), rejected());
        s.passes(Duration::from_secs(280));
        s.orders.clear();
        s.ask("d", TO);
        s.ask("e", TO);
        s.passes(Duration::from_millis(100));
        assert_eq!(s.orders.len(), 1, "one of the two has left the window");
        assert_eq!(final_of(s, "e"), rejected());
    });
}

#[test]
fn other_limits_hold_from_the_next_challenge_on() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life_of(limited(), &memory, start, |s| {
        for id in ["a", "b", "c"] {
            s.ask(id, TO);
        }
        s.passes(Duration::from_millis(100));
        assert_eq!((s.orders.len(), final_of(s, "c")), (2, rejected()));
        s.core.configure(Arc::new(config()), Vec::new());
        s.ask("d", TO);
        s.passes(Duration::from_millis(100));
        assert_eq!(s.orders.len(), 3);
    });
}

#[test]
fn what_was_filled_under_other_limits_while_they_changed_is_not_full() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life_of(limited(), &memory, start, |s| {
        for id in ["a", "b"] {
            let asked = s.asks(id, TO);
            s.core.handle(time(s.now), asked);
        }
        s.core.take_arrivals(time(s.now).wall);
        s.core.configure(Arc::new(config()), Vec::new());
        s.turns();
        s.ask("c", TO);
        s.passes(Duration::from_millis(100));
        assert_eq!(s.orders.len(), 3);
    });
}
