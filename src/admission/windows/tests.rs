//! Sliding windows in made-up time: who is refused, when they open again, and what is forgotten.

use std::time::Duration;

use super::*;
use crate::{
    challenge::{Code, Expect, Method, Origin, Until},
    number::Number,
};

fn limits() -> Limits {
    let five = Some(Pace {
        count: 5,
        per: Duration::from_secs(300),
    });
    Limits {
        per_user: five,
        per_number: five,
        per_prefix: None,
        per_country: None,
        per_tenant: None,
        guard: Guard::Deny,
        prefix_guard: None,
    }
}

fn windows() -> Windows {
    Windows::default()
}

fn keys(ch: &Challenge) -> LimitKeys {
    LimitHasher::new(&[7; 32]).keys(ch)
}

fn take(
    windows: &mut Windows,
    ch: &Challenge,
    limits: &Limits,
    now: Millis,
) -> Option<&'static str> {
    windows
        .take(&keys(ch), limits, now)
        .refused
        .map(Kind::reason)
}

fn ask(user: Option<&str>, number: &str) -> Challenge {
    Challenge {
        id: "c".into(),
        tenant: "t".into(),
        user: user.map(Into::into),
        to: Number::from_e164(number),
        country: None,
        refused: None,
        extension: None,
        method: Method::SmsCode,
        fallback: Vec::new(),
        until: Until::Delivered,
        expect: Expect::Code,
        code: Some(Code::new("1234")),
        code_made: false,
        pin: None,
        text: None,
        locale: "en-US".into(),
        issued: Millis(0),
        deadline: Millis(0),
        arrived: Millis(0),
        caller_id: None,
        meta: Default::default(),
        reply_to: None,
        door: Origin::Amqp,
        content: [0; 32],
    }
}

#[test]
fn five_pass_the_sixth_does_not_and_the_window_slides() {
    let (mut windows, limits) = (windows(), limits());
    let at = |s: i64| Millis(s * 1000);
    for n in 0..5 {
        assert_eq!(
            take(
                &mut windows,
                &ask(None, "+12025550123"),
                &limits,
                at(n * 10)
            ),
            None
        );
    }
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550123"), &limits, at(50)),
        Some("too_many_attempts")
    );
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550124"), &limits, at(50)),
        None,
        "another number"
    );
    // The first of the five is five minutes old: one may pass, and only one.
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550123"), &limits, at(300)),
        None
    );
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550123"), &limits, at(301)),
        Some("too_many_attempts")
    );
}

#[test]
fn a_user_with_many_numbers_has_one_window() {
    let (mut windows, limits) = (windows(), limits());
    for n in 0..5 {
        let number = format!("+1202555012{n}");
        assert_eq!(
            take(&mut windows, &ask(Some("ada"), &number), &limits, Millis(n)),
            None
        );
    }
    assert_eq!(
        take(
            &mut windows,
            &ask(Some("ada"), "+12025550129"),
            &limits,
            Millis(9)
        ),
        Some("too_many_attempts")
    );
    assert_eq!(
        take(
            &mut windows,
            &ask(Some("bob"), "+12025550129"),
            &limits,
            Millis(9)
        ),
        None
    );
}

#[test]
fn what_a_transaction_has_counted_goes_with_it() {
    let (mut windows, mut limits) = (windows(), limits());
    limits.per_tenant = Some(Pace {
        count: 3,
        per: Duration::from_secs(60),
    });
    limits.guard = Guard::Record;
    let number = |n: i64| format!("+1202555{:04}", n % 3);
    let count = |windows: &mut Windows, from: i64, to: i64| -> Vec<Taken> {
        let each = from..to;
        each.map(|n| windows.take(&keys(&ask(Some("ada"), &number(n))), &limits, Millis(n)))
            .collect()
    };
    count(&mut windows, 0, 4);
    windows.keep();
    let seen = |windows: &Windows| {
        let mut all: Vec<_> = windows.seen.iter().collect();
        all.sort_by_key(|(key, _)| **key);
        format!("{all:?}")
    };
    let before = seen(&windows);
    let said = count(&mut windows, 4, 6);
    assert_eq!(said[0].refused, None);
    assert_eq!(said[1].refused, Some(Kind::User));
    assert_ne!(seen(&windows), before);
    // A part of it, and the rest.
    let mark = windows.mark();
    let other = keys(&ask(Some("bob"), "+12025550177"));
    let half = seen(&windows);
    windows.take(&other, &limits, Millis(7));
    windows.back_to(mark);
    assert_eq!(seen(&windows), half);
    windows.back_to(0);
    assert_eq!(seen(&windows), before);
    assert_eq!(count(&mut windows, 4, 6), said);
}

#[test]
fn a_guard_may_record_only() {
    let (mut windows, mut limits) = (windows(), limits());
    limits.per_prefix = Some(Pace {
        count: 1,
        per: Duration::from_secs(60),
    });
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550123"), &limits, Millis(0)),
        None
    );
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550199"), &limits, Millis(1)),
        Some("fraud_guard")
    );
    limits.guard = Guard::Record;
    assert_eq!(
        take(&mut windows, &ask(None, "+12025550199"), &limits, Millis(2)),
        None
    );
}

#[test]
fn a_restart_finds_the_windows_as_they_were() {
    let (mut before, mut limits) = (windows(), limits());
    limits.per_tenant = Some(Pace {
        count: 3,
        per: Duration::from_secs(86_400),
    });
    // What the ledger would hold: all that the limiter did not refuse itself.
    let mut ledger = Vec::new();
    for n in 0..6 {
        let ch = ask(Some("ada"), &format!("+1202555012{n}"));
        let (at, keys) = (Millis(n * 1_000), keys(&ch));
        if before.take(&keys, &limits, at).refused.is_none() {
            ledger.push((at, keys));
        }
    }
    assert_eq!(ledger.len(), 3, "the tenant's three");
    let mut after = windows();
    for (at, keys) in &ledger {
        after.refill(keys, &limits, *at);
    }
    for windows in [&mut before, &mut after] {
        let ch = ask(None, "+12025550177");
        assert_eq!(
            take(windows, &ch, &limits, Millis(86_399_999)),
            Some("fraud_guard")
        );
        assert_eq!(take(windows, &ch, &limits, Millis(86_400_000)), None);
        assert_eq!(
            take(windows, &ch, &limits, Millis(86_400_001)),
            Some("fraud_guard")
        );
    }
    // Refused for the tenant, so it counted for the person as little.
    let ada = |windows: &mut Windows| {
        let mut free = limits.clone();
        free.per_tenant = None;
        (0..).find(|n| {
            take(
                windows,
                &ask(Some("ada"), &format!("+1202556{n:04}")),
                &free,
                Millis(9_000),
            )
            .is_some()
        })
    };
    assert_eq!((ada(&mut before), ada(&mut after)), (Some(2), Some(2)));
}

#[test]
fn a_window_left_out_of_the_file_only_records() {
    let (mut windows, mut limits) = (windows(), limits());
    limits.per_prefix = Some(Pace {
        count: 1,
        per: Duration::from_secs(60),
    });
    limits.prefix_guard = Some(Guard::Record);
    let mut over = |number: &str| windows.take(&keys(&ask(None, number)), &limits, Millis(0));
    let first = over("+12025550123");
    assert_eq!(first.recorded, [false; 5]);
    assert_eq!(first.full[Kind::Prefix as usize], Some(Millis(60_000)));
    let taken = over("+12025550199");
    assert!(
        taken.refused.is_none() && taken.recorded[Kind::Prefix as usize],
        "{taken:?}"
    );
}

#[test]
fn memory_has_a_bound_and_what_limits_somebody_is_forgotten_last() {
    let (mut windows, limits) = (windows(), limits());
    windows.most = 1_000;
    for n in 0..5 {
        assert_eq!(
            take(&mut windows, &ask(None, "+12025550123"), &limits, Millis(n)),
            None
        );
    }
    for n in 0..5_000 {
        let number = format!("+4670174{n:04}");
        assert_eq!(
            take(&mut windows, &ask(None, &number), &limits, Millis(10 + n)),
            None
        );
        assert!(windows.seen.len() <= 1_001, "{}", windows.seen.len());
    }
    let sixth = take(
        &mut windows,
        &ask(None, "+12025550123"),
        &limits,
        Millis(5_100),
    );
    assert_eq!(sixth, Some("too_many_attempts"));
}
