//! Sliding windows in made-up time: who is refused, when they open again, and what is forgotten.

use std::time::Duration;

use super::*;
use crate::{
    challenge::{Code, Door, Expect, Method, Until},
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
    }
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
        door: Door::Amqp,
        content: [0; 32],
    }
}

#[test]
fn five_pass_the_sixth_does_not_and_the_window_slides() {
    let (mut windows, limits) = (Windows::default(), limits());
    let at = |s: i64| Millis(s * 1000);
    for n in 0..5 {
        assert_eq!(
            windows.take(&ask(None, "+12025550123"), &limits, at(n * 10)),
            None
        );
    }
    assert_eq!(
        windows.take(&ask(None, "+12025550123"), &limits, at(50)),
        Some("too_many_attempts")
    );
    assert_eq!(
        windows.take(&ask(None, "+12025550124"), &limits, at(50)),
        None,
        "another number"
    );
    // The first of the five is five minutes old: one may pass, and only one.
    assert_eq!(
        windows.take(&ask(None, "+12025550123"), &limits, at(300)),
        None
    );
    assert_eq!(
        windows.take(&ask(None, "+12025550123"), &limits, at(301)),
        Some("too_many_attempts")
    );
}

#[test]
fn a_user_with_many_numbers_has_one_window() {
    let (mut windows, limits) = (Windows::default(), limits());
    for n in 0..5 {
        let number = format!("+1202555012{n}");
        assert_eq!(
            windows.take(&ask(Some("ada"), &number), &limits, Millis(n)),
            None
        );
    }
    assert_eq!(
        windows.take(&ask(Some("ada"), "+12025550129"), &limits, Millis(9)),
        Some("too_many_attempts")
    );
    assert_eq!(
        windows.take(&ask(Some("bob"), "+12025550129"), &limits, Millis(9)),
        None
    );
}

#[test]
fn what_turns_out_to_be_known_is_given_back() {
    let (mut windows, limits) = (Windows::default(), limits());
    for n in 0..5 {
        windows.take(&ask(None, "+12025550123"), &limits, Millis(n));
    }
    windows.give_back(&ask(None, "+12025550123"), &limits, Millis(4));
    assert_eq!(
        windows.take(&ask(None, "+12025550123"), &limits, Millis(9)),
        None
    );
}

#[test]
fn a_guard_may_record_only() {
    let (mut windows, mut limits) = (Windows::default(), limits());
    limits.per_prefix = Some(Pace {
        count: 1,
        per: Duration::from_secs(60),
    });
    assert_eq!(
        windows.take(&ask(None, "+12025550123"), &limits, Millis(0)),
        None
    );
    assert_eq!(
        windows.take(&ask(None, "+12025550199"), &limits, Millis(1)),
        Some("fraud_guard")
    );
    limits.guard = Guard::Record;
    assert_eq!(
        windows.take(&ask(None, "+12025550199"), &limits, Millis(2)),
        None
    );
}
