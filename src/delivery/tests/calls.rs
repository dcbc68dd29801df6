//! Calls: how each ending is taken, and whose keys are told.

use super::*;

#[test]
fn busy_declined_and_unanswered_calls_go_to_no_other_carrier() {
    for cause in [Cause::Busy, Cause::Declined, Cause::NoAnswer] {
        let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
        let call = s.place("fabrikam");
        s.fails(call, cause);
        assert_eq!(s.last(), ("undelivered", Some(cause.name())));
    }
}

#[test]
fn a_blocked_call_may_try_another_caller_id() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let call = s.place("fabrikam");
    s.fails(call, Cause::BlockedByOperator);
    let want = s.wants().expect("another caller ID");
    let tried: Vec<Tried> = s.life.tried(want.leg, s.now).collect();
    assert!(tried[0].sender.is_some(), "not the whole carrier");
}

#[test]
fn a_cancel_ends_it_and_hangs_up() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let call = s.place("fabrikam");
    s.event(call, AttemptEvent::Ringing);
    s.life.cancel(s.now, &mut s.out);
    assert_eq!(s.last(), ("cancelled", Some("cancelled")));
    assert_eq!(s.hung_up(), [call]);
}

/// A call in which these keys were pressed.
fn pressed(keys: &str) -> (Story, u16) {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let call = s.place("fabrikam");
    s.event(call, AttemptEvent::Answered);
    for key in keys.chars() {
        s.event(
            call,
            AttemptEvent::KeyPressed(Key::from_char(key).expect("a key")),
        );
    }
    (s, call)
}

#[test]
fn the_keys_of_a_call_are_told_with_every_final() {
    let digits = |s: &Story| match s.out.last() {
        Some(Effect::Report(note)) => note.digits.clone(),
        _ => panic!("no report"),
    };
    let (mut s, call) = pressed("12");
    s.ends(call, CallOutcome::Cancelled);
    assert_eq!(digits(&s).as_deref(), Some("#"), "the call's own account");
    for outcome in [
        CallOutcome::NoKeypress,
        CallOutcome::Voicemail,
        CallOutcome::CodeRead,
    ] {
        let (mut s, call) = pressed("");
        s.ends(call, outcome);
        assert_eq!(digits(&s).as_deref(), Some("#"), "{outcome:?}");
    }
    let (mut s, _) = pressed("12");
    s.life.cancel(s.now, &mut s.out);
    assert_eq!(
        (s.last().0, digits(&s).as_deref()),
        ("cancelled", Some("12"))
    );
    let (mut s, _) = pressed("12");
    s.life.feedback(s.now, true, &mut s.out);
    assert_eq!(
        (s.last().0, digits(&s).as_deref()),
        ("verified", Some("12"))
    );
    let (mut s, _) = pressed("12");
    s.at(2000.0);
    assert_eq!(
        (s.last().0, digits(&s).as_deref()),
        ("undelivered", Some("12"))
    );
    let (mut s, call) = pressed(&"7".repeat(500));
    s.fails(call, Cause::CarrierFault);
    s.at(2000.0);
    assert_eq!(digits(&s).as_deref(), Some("7".repeat(32).as_str()));
    let (mut s, _) = pressed("");
    s.life.cancel(s.now, &mut s.out);
    assert_eq!(digits(&s), None);
}

#[test]
fn the_keys_of_a_pin_are_told_to_nobody() {
    let (mut s, call) = pressed("");
    s.life.attempts[0].method = Method::VoicePin;
    s.event(call, AttemptEvent::KeyPressed(Key::POUND));
    s.ends(call, CallOutcome::NoKeypress);
    let told = s
        .out
        .iter()
        .any(|e| matches!(e, Effect::Report(note) if note.digits.is_some()));
    assert!(!told);
}
