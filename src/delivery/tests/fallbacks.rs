//! From one method to the next: when, and when not.

use super::*;

#[test]
fn a_call_for_which_too_little_time_is_left_gives_way_at_once() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[(Method::SmsCode, 170)]));
    s.at(150.0);
    assert!(s.wants().is_some_and(|w| w.method == Method::VoiceConfirm));
    s.at(150.1);
    assert!(s.wants().is_some_and(|w| w.method == Method::SmsCode));

    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    s.at(150.1);
    assert_eq!(s.last(), ("expired", Some("expired")));

    // The fallback is a call, and its time comes too late: the text's word is still waited for.
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 160)]));
    let text = s.place("northwind");
    s.accepted(text, &["a"]);
    s.at(161.0);
    assert!(s.life.ended.is_none() && s.wants().is_none());
    assert!(!s.told().contains(&"fallback"), "{:?}", s.told());
    s.receipt(text, 0, ReceiptState::Undelivered);
    assert_eq!(s.last().0, "undelivered", "at once, not at the deadline");
}

#[test]
fn a_fallback_that_cant_happen_is_not_told_and_stops_nothing() {
    // Too little time for the call when its turn comes by time: the text goes on to its next carrier.
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 155)]));
    let first = s.place("northwind");
    s.at(156.0).fails(first, Cause::CarrierFault);
    assert!(s.wants().is_some_and(|w| w.method == Method::SmsCode));
    // The text has failed for good: over at once, with what the text came to.
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 20)]));
    s.ch.deadline = Millis(25_000);
    let text = s.place("northwind");
    s.accepted(text, &["a"]);
    s.receipt(text, 0, ReceiptState::Undelivered);
    assert_eq!(s.last().0, "undelivered");
    assert!(!s.told().contains(&"fallback"), "{:?}", s.told());
    // A call passed over gives way to the method behind it, when that one's time has come.
    let fallback = [(Method::VoiceConfirm, 155), (Method::SmsCode, 170)];
    let mut s = Story::of(challenge(Method::SmsCode, &fallback));
    let text = s.place("northwind");
    s.accepted(text, &["a"]);
    s.at(169.0);
    assert!(!s.told().contains(&"fallback"), "{:?}", s.told());
    s.at(170.0);
    assert_eq!(s.last(), ("fallback", Some("sms_code")));
}

#[test]
fn a_negative_receipt_ends_it_or_starts_the_fallback() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.receipt(n, 0, ReceiptState::Expired);
    assert_eq!(s.last(), ("undelivered", Some("handset_off")));

    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceCode, 60)]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.at(3.0).receipt(n, 0, ReceiptState::Undelivered);
    assert_eq!(s.last().0, "fallback");
    let call = s.place("fabrikam");
    s.accepted(call, &["call-id"]);
    s.event(call, AttemptEvent::Answered);
    s.ends(call, CallOutcome::CodeRead);
    assert_eq!(s.last().0, "delivered");
    assert_eq!(s.life.ended.as_ref().and_then(|e| e.attempt), Some(call));
}

#[test]
fn the_fallback_starts_by_time_and_what_the_text_brings_counts() {
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 20)]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.at(20.0);
    assert_eq!(s.last().0, "fallback");
    let call = s.place("fabrikam");
    s.event(call, AttemptEvent::Ringing);
    s.receipt(n, 0, ReceiptState::Delivered);
    assert_eq!(s.last().0, "delivered");
    assert_eq!(s.hung_up(), [call]);
}

#[test]
fn a_person_on_the_line_may_still_confirm() {
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 20)]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.at(20.0);
    let call = s.place("fabrikam");
    s.event(call, AttemptEvent::Answered);
    s.receipt(n, 0, ReceiptState::Delivered);
    assert!(s.life.ended.is_none(), "the person is talking");
    s.ends(call, CallOutcome::Confirmed);
    assert_eq!(s.last().0, "confirmed");
}

#[test]
fn a_positive_receipt_stops_the_fallback() {
    let mut ch = challenge(Method::SmsCode, &[(Method::VoiceCode, 20)]);
    ch.until = Until::Verified;
    let mut s = Story::of(ch);
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.receipt(n, 0, ReceiptState::Delivered);
    s.at(20.0);
    assert_eq!(
        s.last().0,
        "fallback",
        "until verified, a receipt alone stops nothing"
    );
    s.life.feedback(s.now, true, &mut s.out);
    assert_eq!(s.last().0, "verified");
}

#[test]
fn until_verified_a_receipt_is_told_at_the_deadline() {
    let mut ch = challenge(Method::SmsCode, &[]);
    ch.until = Until::Verified;
    let mut s = Story::of(ch);
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.receipt(n, 0, ReceiptState::Delivered);
    assert!(s.life.ended.is_none());
    s.life.feedback(s.now, false, &mut s.out);
    s.at(180.0);
    assert_eq!(s.last().0, "delivered");
}

#[test]
fn a_refused_first_method_leaves_the_others() {
    let ch = challenge(Method::SmsCode, &[(Method::VoiceCode, 20)]);
    let mut life = DeliveryState::new(&ch, MIN_CALL);
    let mut out = Vec::new();
    life.start(&ch, Millis(0), &[true, false], &mut out);
    assert_eq!(
        life.want(&ch, Millis(0), MIN_CALL).map(|w| w.method),
        Some(Method::VoiceCode)
    );
}
