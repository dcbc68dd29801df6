//! Stories of one challenge, in invented time.

mod whatever;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    carrier::{CallEnd, CallOutcome, Event, Receipt},
    challenge::{Code, Door, Expect, Fallback},
    number::{Country, Number},
    protocol::rtp::Key,
};

const MIN_CALL: Duration = Duration::from_secs(30);
const DOUBT: Duration = Duration::from_millis(500);

fn challenge(method: Method, fallback: &[(Method, u64)]) -> Challenge {
    Challenge {
        id: "c-1".into(),
        tenant: "default".into(),
        user: None,
        to: Number::from_e164("+12025550123"),
        country: Country::parse("US"),
        refused: None,
        extension: None,
        method,
        fallback: fallback
            .iter()
            .map(|(method, after)| Fallback {
                method: *method,
                after: Duration::from_secs(*after),
            })
            .collect(),
        until: Until::Delivered,
        expect: Expect::Code,
        code: Some(Code::new("123456")),
        code_made: true,
        pin: None,
        text: None,
        locale: "en-US".into(),
        issued: Millis(0),
        deadline: Millis(180_000),
        arrived: Millis(0),
        caller_id: None,
        meta: Default::default(),
        reply_to: None,
        door: Door::Amqp,
        content: [0; 32],
    }
}

/// A challenge and its life, with everything it has told.
struct Story {
    ch: Challenge,
    life: Life,
    out: Vec<Effect>,
    now: Millis,
}

impl Story {
    fn of(ch: Challenge) -> Story {
        let mut life = Life::new(&ch, MIN_CALL);
        let mut out = Vec::new();
        let refused = vec![false; ch.methods().count()];
        life.start(&ch, Millis(0), &refused, &mut out);
        Story {
            ch,
            life,
            out,
            now: Millis(0),
        }
    }

    fn at(&mut self, seconds: f64) -> &mut Story {
        let until = Millis((seconds * 1000.0) as i64);
        while self.life.wake(&self.ch, self.now, MIN_CALL) <= until {
            let wake = self.life.wake(&self.ch, self.now, MIN_CALL).max(self.now);
            self.now = Millis(wake.0.max(self.now.0 + 1));
            self.life.tick(&self.ch, self.now, MIN_CALL, &mut self.out);
        }
        self.now = until;
        self
    }

    fn wants(&self) -> Option<Want> {
        self.life.want(&self.ch, self.now, MIN_CALL)
    }

    fn place(&mut self, carrier: &str) -> u16 {
        let want = self.wants().expect("an attempt is wanted");
        let by = Placement {
            carrier: carrier.into(),
            sender: "97671".into(),
            route: "us.sms[0]".into(),
            why: "weighted".into(),
            left_out: Box::default(),
            receipt_wait: None,
        };
        let n = self.life.place(&self.ch, self.now, want, by);
        self.life.handed(n);
        n
    }

    fn event(&mut self, n: u16, event: Event) {
        self.life
            .event(&self.ch, self.now, n, event, DOUBT, &mut self.out);
    }

    fn accepted(&mut self, n: u16, references: &[&str]) {
        let references = references.iter().map(|r| Arc::from(*r)).collect();
        self.event(n, Event::Accepted { references });
    }

    fn fails(&mut self, n: u16, cause: Cause) {
        self.event(n, Event::Failed(cause.failure(None)));
    }

    fn receipt(&mut self, n: u16, part: u16, state: ReceiptState) {
        let receipt = Receipt {
            references: vec!["x".into()],
            state,
            carrier_code: None,
            cause: None,
            phone: None,
            sender: None,
        };
        self.life
            .receipt(&self.ch, self.now, n, part, &receipt, &mut self.out);
    }

    fn ends(&mut self, n: u16, outcome: CallOutcome) {
        self.event(
            n,
            Event::CallEnded(CallEnd {
                outcome,
                digits: "#".into(),
                carrier_code: None,
            }),
        );
    }

    fn told(&self) -> Vec<&'static str> {
        self.out
            .iter()
            .filter_map(|e| match e {
                Effect::Report(note) => Some(note.event.name()),
                Effect::HangUp(_) => None,
            })
            .collect()
    }

    fn last(&self) -> (&'static str, Option<&'static str>) {
        let note = self.out.iter().rev().find_map(|e| match e {
            Effect::Report(note) => Some(note),
            Effect::HangUp(_) => None,
        });
        note.map(|n| (n.event.name(), n.reason))
            .expect("something was told")
    }

    fn hung_up(&self) -> Vec<u16> {
        self.out
            .iter()
            .filter_map(|e| {
                if let Effect::HangUp(n) = e {
                    Some(*n)
                } else {
                    None
                }
            })
            .collect()
    }
}

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
fn in_doubt_waits_then_hedges_once() {
    let mut s = Story::of(challenge(Method::SmsCode, &[]));
    let n = s.place("northwind");
    s.at(5.0).event(
        n,
        Event::InDoubt {
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
        Event::InDoubt {
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
        Event::InDoubt {
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
        Event::InDoubt {
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
fn what_was_never_handed_to_a_driver_was_never_sent() {
    let by = || Placement {
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
fn a_call_that_outlives_the_deadline_ends_it_though_a_text_is_unanswered() {
    let mut s = Story::of(challenge(Method::SmsCode, &[(Method::VoiceConfirm, 60)]));
    let text = s.place("northwind");
    s.accepted(text, &["a"]);
    s.at(149.0);
    let call = s.place("fabrikam");
    s.accepted(call, &["b"]);
    s.event(call, Event::Answered);
    s.at(185.0);
    assert!(s.life.ended.is_none(), "a person is on the line");
    s.ends(call, CallOutcome::NoKeypress);
    assert!(s.life.ended.is_some(), "nothing is waited for any more");
    assert_eq!(s.last(), ("unconfirmed", Some("no_receipt")));
}

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
    s.event(call, Event::Answered);
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
    s.event(call, Event::Ringing);
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
    s.event(call, Event::Answered);
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
fn an_answered_call_may_outlive_the_deadline_a_ringing_one_may_not() {
    let mut ch = challenge(Method::VoiceConfirm, &[]);
    ch.deadline = Millis(60_000);
    let mut s = Story::of(ch.clone());
    let call = s.place("fabrikam");
    s.event(call, Event::Answered);
    s.at(70.0);
    assert!(s.life.ended.is_none());
    s.ends(call, CallOutcome::Confirmed);
    assert_eq!(s.last().0, "confirmed");

    let mut s = Story::of(ch);
    let call = s.place("fabrikam");
    s.event(call, Event::Ringing);
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

#[test]
fn a_cancel_ends_it_and_hangs_up() {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let call = s.place("fabrikam");
    s.event(call, Event::Ringing);
    s.life.cancel(s.now, &mut s.out);
    assert_eq!(s.last(), ("cancelled", Some("cancelled")));
    assert_eq!(s.hung_up(), [call]);
}

/// A call in which these keys were pressed.
fn pressed(keys: &str) -> (Story, u16) {
    let mut s = Story::of(challenge(Method::VoiceConfirm, &[]));
    let call = s.place("fabrikam");
    s.event(call, Event::Answered);
    for key in keys.chars() {
        s.event(call, Event::KeyPressed(Key::from_char(key).expect("a key")));
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
    s.event(call, Event::KeyPressed(Key::POUND));
    s.ends(call, CallOutcome::NoKeypress);
    let told = s
        .out
        .iter()
        .any(|e| matches!(e, Effect::Report(note) if note.digits.is_some()));
    assert!(!told);
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
    s.event(call, Event::Answered);
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

#[test]
fn a_refused_first_method_leaves_the_others() {
    let ch = challenge(Method::SmsCode, &[(Method::VoiceCode, 20)]);
    let mut life = Life::new(&ch, MIN_CALL);
    let mut out = Vec::new();
    life.start(&ch, Millis(0), &[true, false], &mut out);
    assert_eq!(
        life.want(&ch, Millis(0), MIN_CALL).map(|w| w.method),
        Some(Method::VoiceCode)
    );
}
