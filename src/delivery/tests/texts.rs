//! Texts: taken, refused, delivered, or passed on to the next carrier.

use super::*;

#[test]
fn a_text_is_taken_and_delivered() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.at(2.0).receipt(n, 0, ReceiptState::Delivered);
    assert_eq!(s.told(), ["accepted", "sent", "delivered"]);
    assert!(s.life.billable() && s.wants().is_none());
}

#[test]
fn the_made_code_is_told_with_the_first_sent_and_the_final() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.accepted(n, &["a"]);
    s.receipt(n, 0, ReceiptState::Delivered);
    let told: Vec<bool> = s
        .out
        .iter()
        .filter_map(|e| {
            if let Effect::Report(note) = e {
                Some(note.tells_code)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(told, [false, true, true]);
}

#[test]
fn a_carrier_fault_goes_to_the_next_and_never_back() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.fails(n, Cause::CarrierFault);
    let want = s.wants().expect("another one");
    assert_eq!(s.life.tried(want.leg, s.now).count(), 1);
    let n = s.place("tailspin");
    s.accepted(n, &["b"]);
    s.receipt(n, 0, ReceiptState::Delivered);
    assert_eq!(
        s.told(),
        ["accepted", "attempt_failed", "sent", "delivered"]
    );
}

#[test]
fn when_nobody_is_left_it_has_failed() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.fails(n, Cause::CarrierFault);
    let want = s.wants().expect("another one");
    s.life.nobody_left(&s.ch, s.now, want, &mut s.out);
    assert_eq!(s.last(), ("failed", Some("carriers_exhausted")));
    assert!(!s.life.billable());
}

#[test]
fn a_text_of_two_parts_needs_both_receipts() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.accepted(n, &["a", "b"]);
    s.receipt(n, 1, ReceiptState::Delivered);
    s.receipt(n, 1, ReceiptState::Delivered);
    assert!(s.life.ended.is_none());
    s.receipt(n, 0, ReceiptState::Delivered);
    assert_eq!(s.last().0, "delivered");
}

#[test]
fn a_positive_receipt_outweighs_a_negative_one_and_is_not_taken_back() {
    let mut ch = challenge(Method::SmsCode, &[]);
    ch.until = Until::Verified;
    let mut s = Story::of(ch);
    let n = s.place("northwind");
    s.accepted(n, &["a", "b"]);
    s.receipt(n, 0, ReceiptState::Rejected);
    s.receipt(n, 0, ReceiptState::Rejected);
    assert_eq!(
        s.told(),
        ["accepted", "sent", "attempt_failed"],
        "told once"
    );
    let next = s.place("tailspin");
    s.receipt(n, 0, ReceiptState::Delivered);
    s.receipt(n, 1, ReceiptState::Delivered);
    s.receipt(n, 1, ReceiptState::Undelivered);
    assert!(s.life.attempt(next).is_some_and(|a| a.live()));
    s.at(180.0);
    assert_eq!(s.last(), ("delivered", Some("delivered")));
    assert_eq!(s.life.ended.as_ref().and_then(|e| e.attempt), Some(n));
}

#[test]
fn a_full_carrier_is_asked_again_until_the_deadline_ever_more_seldom() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let mut tries = 0;
    for tenth in 0..1_800 {
        s.at(f64::from(tenth) / 10.0);
        let free = s
            .wants()
            .filter(|want| s.life.tried(want.leg, s.now).count() == 0);
        if let Some(want) = free {
            assert!(!s.life.worn_out(want.leg), "given up after {tries}");
            let n = s.place("northwind");
            s.fails(n, Cause::Throttled);
            tries += 1;
        }
    }
    assert!((20..40).contains(&tries), "{tries}");
    assert!(s.life.ended.is_none());
    s.at(180.0);
    assert_eq!(s.last(), ("expired", Some("expired")));
}

#[test]
fn throttled_means_later_not_never() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.fails(n, Cause::Throttled);
    assert_eq!(s.life.tried(0, s.now).count(), 1);
    s.at(0.6);
    assert_eq!(s.life.tried(0, s.now).count(), 0);
    assert!(s.wants().is_some());
}

#[test]
fn a_challenge_keeps_to_the_pause_that_it_was_told() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    let failure = Failure {
        retry_after: Some(Duration::from_secs(30)),
        ..Cause::Throttled.failure(None)
    };
    s.event(n, AttemptEvent::Failed(failure));
    assert!(s.life.throttled_by("northwind") && !s.life.throttled_by("litware"));
    assert!(!s.life.refused_elsewhere("litware"), "later is no refusal");
    s.at(29.0);
    assert_eq!(s.life.tried(0, s.now).count(), 1);
    s.at(30.0);
    assert_eq!(s.life.tried(0, s.now).count(), 0);
    let n = s.place("northwind");
    s.fails(n, Cause::CarrierFault);
    assert!(s.life.refused_elsewhere("litware") && !s.life.refused_elsewhere("northwind"));
}

#[test]
fn a_limit_of_ours_is_waited_for_and_no_word_of_the_carrier() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let n = s.place("fabrikam");
    s.fails(n, Cause::GatewayLimit);
    assert!(!s.life.throttled_by("fabrikam") && !s.life.refused_elsewhere("contoso"));
    assert!(s.wants().is_some(), "another may have room now");
    assert_eq!(s.life.tried(0, s.now).count(), 1);
    s.at(0.6);
    assert_eq!(s.life.tried(0, s.now).count(), 0, "and this one soon");
}
