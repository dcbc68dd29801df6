//! Nothing that a restart could not end leaves: INVITE and ACK wait for the word that their call is recorded.

use std::time::Duration;

use super::far_end::{Bench, SDP};
use crate::protocol::sip::{CallHandle, codec::Message};

const SECOND: Duration = Duration::from_secs(1);
const NONCE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";

/// A call whose INVITE has left; from here on nothing is recorded.
fn invited() -> (Bench, CallHandle, Message) {
    let mut b = Bench::new();
    let call = b.call();
    let invite = b.sent[0].clone();
    b.records = false;
    b.take();
    (b, call, invite)
}

#[test]
fn an_invite_leaves_when_its_call_is_recorded() {
    let mut b = Bench::new();
    b.records = false;
    let call = b.call();
    assert!(b.take().is_empty());
    assert_eq!(b.resumes.len(), 1);
    assert!(!b.resumes[0].is_answered());
    b.now += 3 * SECOND;
    b.endpoint.recorded(b.now, call);
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["INVITE"], "once");
    b.pass(4 * SECOND);
    assert!(
        b.told().is_empty(),
        "the first answer is due from the INVITE on"
    );
    b.pass(2 * SECOND);
    assert_eq!(b.told(), ["ended Silent"]);
}

#[test]
fn a_call_that_is_never_recorded_never_leaves() {
    let mut b = Bench::new();
    b.records = false;
    let call = b.call();
    b.pass(10 * SECOND);
    assert_eq!(b.told(), ["ended Unsent", "cleared"]);
    b.endpoint.recorded(b.now, call);
    b.pass(60 * SECOND);
    assert!(b.take().is_empty());
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn a_call_hung_up_before_it_is_recorded_needs_no_cancel() {
    let mut b = Bench::new();
    b.records = false;
    let call = b.call();
    b.endpoint.hangup(b.now, call);
    b.endpoint.recorded(b.now, call);
    b.pass(60 * SECOND);
    assert_eq!(b.told(), ["ended Cancelled", "cleared"]);
    assert!(b.take().is_empty());
}

#[test]
fn an_invite_with_credentials_waits_as_the_first_one_did() {
    let (mut b, call, invite) = invited();
    b.answer(&invite, 401, "far", NONCE, "");
    assert_eq!(b.take(), ["ACK"]);
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["INVITE"]);
}

#[test]
fn the_ack_waits_until_the_answer_is_recorded_however_often_it_is_said() {
    let (mut b, call, invite) = invited();
    b.answer(&invite, 200, "far", "", SDP);
    assert!(b.take().is_empty());
    assert_eq!(b.told(), ["answered 192.0.2.9:4000"], "talk begins at once");
    assert!(b.resumes.last().is_some_and(|resume| resume.is_answered()));
    b.answer(&invite, 200, "far", "", SDP);
    assert!(b.take().is_empty(), "a restart could not end it");
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["ACK"]);
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert!(b.take().is_empty());
    b.answer(&invite, 200, "far", "", SDP);
    assert_eq!(b.take(), ["ACK"], "that one was lost");
}

#[test]
fn who_hangs_up_before_the_answer_is_recorded_ends_it_once_it_is() {
    let (mut b, call, invite) = invited();
    b.answer(&invite, 200, "far", "", SDP);
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    b.answer(&invite, 200, "far", "", SDP);
    assert!(b.take().is_empty(), "a restart could not end it");
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["ACK", "BYE"]);
}

#[test]
fn an_answer_that_can_t_be_recorded_is_ended_all_the_same() {
    for told in [true, false] {
        let (mut b, call, invite) = invited();
        b.answer(&invite, 200, "far", "", SDP);
        b.endpoint.hangup(b.now, call);
        if told {
            b.endpoint.hangup(b.now, call);
            b.pass(Duration::ZERO);
        } else {
            b.pass(31 * SECOND);
            assert!(b.take().is_empty());
            b.pass(Duration::from_millis(1_100));
        }
        assert_eq!(b.take(), ["ACK", "BYE"]);
    }
}

#[test]
fn another_phone_s_answer_is_ended_once_it_is_recorded() {
    let (mut b, call, invite) = invited();
    b.answer(&invite, 200, "far", "", SDP);
    b.answer(&invite, 200, "other", "", SDP);
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["ACK"], "the first is recorded");
    b.answer(&invite, 200, "other", "", SDP);
    assert!(b.take().is_empty());
    let resume = b.resumes.last().expect("a resume").clone();
    b.endpoint.recorded(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["ACK", "BYE"]);
    b.answer(&invite, 200, "other", "", SDP);
    assert_eq!(b.take(), ["ACK"], "that one was lost");

    let text = serde_json::to_string(&resume).expect("JSON");
    let resume = serde_json::from_str(&text).expect("the same");
    let mut next = Bench::new();
    next.endpoint.end_unterminated(next.now, resume);
    next.pass(Duration::ZERO);
    assert_eq!(next.take(), ["ACK", "ACK", "BYE", "BYE"]);
}

#[test]
fn a_call_is_cleared_when_every_phone_that_answered_is_ended() {
    let mut b = Bench::new();
    let (call, invite) = b.up();
    b.answer(&invite, 200, "other", "", SDP);
    let other = b.sent.last().expect("a BYE").clone();
    assert_eq!(b.take(), ["ACK", "BYE"]);
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    let bye = b.sent.last().expect("a BYE").clone();
    b.answer(&bye, 200, "", "", "");
    assert_eq!(b.told(), ["ended OurBye"]);
    b.pass(10 * SECOND);
    assert!(!b.endpoint.is_settled(), "the other is not");
    b.answer(&other, 200, "", "", "");
    assert_eq!(b.told(), ["cleared"]);
    b.pass(60 * SECOND);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}
