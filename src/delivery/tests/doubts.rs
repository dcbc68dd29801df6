//! What nobody answered, and what a restart finds: in doubt, hedged once, or given up.

use super::*;

#[test]
fn in_doubt_waits_then_hedges_once() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.at(5.0).event(
        n,
        AttemptEvent::InDoubt {
            cause: Cause::InDoubt,
        },
    );
    assert!(s.wants().is_none(), "first the measured wait");
    s.at(5.6);
    let want = s.wants().expect("then the hedge");
    assert!(want.hedge);
    let hedge = s.place("tailspin");
    s.event(
        hedge,
        AttemptEvent::InDoubt {
            cause: Cause::InDoubt,
        },
    );
    s.at(20.0);
    assert!(s.wants().is_none(), "at most once");
    s.at(180.0);
    assert_eq!(s.last(), ("unconfirmed", Some("in_doubt")));
    assert!(s.life.attempts.iter().all(|a| a.in_doubt) && s.life.attempts[1].hedge);
}

#[test]
fn an_answer_after_the_doubt_ends_it() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.event(
        n,
        AttemptEvent::InDoubt {
            cause: Cause::InDoubt,
        },
    );
    s.accepted(n, &["a"]);
    s.at(10.0);
    assert!(s.wants().is_none());
    s.receipt(n, 0, ReceiptState::Delivered);
    assert_eq!(s.last().0, "delivered");
}

#[test]
fn a_receipt_proves_a_text_that_nobody_answered() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.event(
        n,
        AttemptEvent::InDoubt {
            cause: Cause::InDoubt,
        },
    );
    s.receipt(n, 0, ReceiptState::Delivered);
    assert_eq!(
        s.told(),
        ["accepted", "attempt_failed", "sent", "delivered"]
    );
}

#[test]
fn what_was_never_handed_to_a_driver_was_never_sent() {
    let by = || NewAttempt {
        carrier: "northwind".into(),
        sender: "97671".into(),
        route: "us.sms[0]".into(),
        why: "weighted".into(),
        left_out: Box::default(),
        receipt_wait: None,
    };
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let want = s.wants().expect("a text");
    s.life.place(&s.ch, s.now, want, by());
    s.at(180.0);
    assert_eq!(s.last(), ("expired", Some("expired")));
    assert!(!s.life.billable() && !s.life.attempts[0].in_doubt);

    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let want = s.wants().expect("a text");
    s.life.place(&s.ch, s.now, want, by());
    s.life.cancel(s.now, &mut s.out);
    assert_eq!(s.last().0, "cancelled");
    assert!(!s.life.billable() && !s.life.attempts[0].in_doubt);
    // After a restart nobody knows any more.
    let json = serde_json::to_string(&s.life.attempts[0]).expect("an attempt");
    let again: Attempt = serde_json::from_str(&json).expect("an attempt");
    assert!(again.handed);
}

#[test]
fn after_a_restart_an_open_intent_is_in_doubt_and_hedged() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    s.place("northwind");
    let stored = serde_json::to_vec(&s.life).expect("a life");
    s.life = serde_json::from_slice(&stored).expect("the same life");
    s.life
        .resume(&s.ch, Millis(4_000), Duration::from_secs(3), &mut s.out);
    s.at(7.1);
    assert!(s.wants().is_some_and(|w| w.hedge));
}

#[test]
fn after_a_restart_a_call_that_was_up_is_given_up() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let call = s.place("fabrikam");
    s.accepted(call, &["id"]);
    s.event(call, AttemptEvent::Answered);
    s.life
        .resume(&s.ch, Millis(4_000), Duration::from_secs(3), &mut s.out);
    assert_eq!(s.last(), ("unconfirmed", Some("in_doubt")));
}

#[test]
fn after_a_restart_a_call_that_perhaps_never_rang_is_placed_again_as_a_hedge() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    s.place("fabrikam");
    s.life
        .resume(&s.ch, Millis(4_000), Duration::from_secs(3), &mut s.out);
    assert!(s.wants().is_some_and(|w| w.hedge));
}

#[test]
fn a_call_in_doubt_that_nobody_can_hedge_gives_way_to_the_next_method() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[(Method::SmsCode, 120)]));
    s.place("fabrikam");
    s.life
        .resume(&s.ch, Millis(4_000), Duration::from_secs(3), &mut s.out);
    s.now = Millis(4_000);
    let want = s.wants().expect("a hedge");
    s.life.nobody_left(&s.ch, s.now, want, &mut s.out);
    assert!(s.wants().is_some_and(|w| w.method == Method::SmsCode));

    // The hedge fails: the same.
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    s.place("fabrikam");
    s.life
        .resume(&s.ch, Millis(4_000), Duration::from_secs(3), &mut s.out);
    s.now = Millis(4_000);
    let hedge = s.place("contoso");
    s.fails(hedge, Cause::CarrierFault);
    assert_eq!(s.last(), ("unconfirmed", Some("in_doubt")));
}
