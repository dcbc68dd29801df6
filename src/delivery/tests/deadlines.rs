//! What a deadline ends, and what may outlive it.

use super::*;

#[test]
fn no_receipt_by_the_deadline_is_unconfirmed() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.at(180.0);
    assert_eq!(s.last(), ("unconfirmed", Some("no_receipt")));
}

#[test]
fn nothing_taken_by_the_deadline_is_expired() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    s.at(180.0);
    assert_eq!(s.last(), ("expired", Some("expired")));
}

#[test]
fn a_call_that_outlives_the_deadline_ends_it_though_a_text_is_unanswered() {
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 60)]));
    let text = s.place("northwind");
    s.accepted(text, &["a"]);
    s.at(149.0);
    let call = s.place("fabrikam");
    s.accepted(call, &["b"]);
    s.event(call, AttemptEvent::Answered);
    s.at(185.0);
    assert!(s.life.ended.is_none(), "a person is on the line");
    s.ends(call, CallOutcome::NoKeypress);
    assert!(s.life.ended.is_some(), "nothing is waited for any more");
    assert_eq!(s.last(), ("unconfirmed", Some("no_receipt")));
}

#[test]
fn an_answered_call_may_outlive_the_deadline_a_ringing_one_may_not() {
    let mut ch = challenge(Method::VoiceConfirm, &[]);
    ch.deadline = Millis(60_000);
    let mut s = Story::of(ch.clone());
    let call = s.place("fabrikam");
    s.event(call, AttemptEvent::Answered);
    s.at(70.0);
    assert!(s.life.ended.is_none());
    s.ends(call, CallOutcome::Confirmed);
    assert_eq!(s.last().0, "confirmed");

    let mut s = Story::of(ch);
    let call = s.place("fabrikam");
    s.event(call, AttemptEvent::Ringing);
    s.at(61.0);
    assert_eq!(s.last(), ("undelivered", Some("no_answer")));
    assert_eq!(s.hung_up(), [call]);
}

#[test]
fn no_call_is_started_with_too_little_left() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    s.at(151.0);
    assert!(s.wants().is_none());
    s.at(180.0);
    assert_eq!(s.last(), ("expired", Some("expired")));
}
