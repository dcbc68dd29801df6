//! Calls that fail, are given up, cross each other on the wire, or outlive their process.

use std::time::Duration;

use super::far_end::{Bench, SDP, peer};
use crate::protocol::sip::codec::HeaderName;
use crate::protocol::sip::endpoint::{Resume, Transport, Unfit};

const SECOND: Duration = Duration::from_secs(1);
const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"\r\n";

#[test]
fn a_refusal_is_told_with_its_reasons_and_acked_each_time() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.answer(
        &invite,
        603,
        "far",
        "Reason: SIP;cause=603;text=\"Network Blocked\"\r\nRetry-After: 18 (x)\r\n",
        "",
    );
    b.answer(&invite, 603, "far", "", "");
    assert_eq!(b.take(), ["INVITE", "ACK", "ACK"]);
    let told = b.told();
    assert!(
        told[0].contains("status: 603") && told[0].contains("Network Blocked"),
        "{told:?}"
    );
    assert!(told[0].contains("retry_after: Some(18)"), "{told:?}");
    assert_eq!(told[1..], ["cleared"]);
    b.pass(33 * SECOND);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn the_ack_of_a_refusal_belongs_to_the_invite() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 486, "far", "", "");
    let ack = b.sent[1].clone();
    assert_eq!((ack.uri(), ack.cseq()), (invite.uri(), invite.cseq()));
    assert_eq!(ack.header(HeaderName::Via), invite.header(HeaderName::Via));
    assert_eq!(
        (ack.to_tag(), ack.from_tag()),
        (Some("far"), invite.from_tag())
    );
}

#[test]
fn silence_is_told_after_five_seconds_and_a_late_call_is_ended() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.pass(6 * SECOND);
    assert_eq!(b.told(), ["ended Silent"]);
    assert_eq!(b.take(), ["INVITE"; 4]);
    b.pass(4 * SECOND);
    assert_eq!(
        b.take(),
        [""; 0],
        "an INVITE nobody waits for is not sent again"
    );
    b.answer(&invite, 180, "far", "", "");
    assert_eq!(b.take(), ["CANCEL"]);
    b.answer(&invite, 200, "far", "", SDP);
    assert_eq!(b.take(), ["ACK", "BYE"]);
    assert_eq!(b.told(), [""; 0]);
}

#[test]
fn silence_to_the_end_leaves_nothing() {
    let mut b = Bench::new();
    b.call();
    b.pass(40 * SECOND);
    assert_eq!(b.told(), ["ended Silent", "cleared"]);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn cancel_waits_for_a_provisional() {
    let mut b = Bench::new();
    let call = b.call();
    let invite = b.sent[0].clone();
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    assert_eq!(b.take(), ["INVITE"]);
    assert_eq!(b.told(), ["ended Cancelled"]);
    b.answer(&invite, 100, "", "", "");
    let cancel = b.sent[0].clone();
    assert_eq!(
        (cancel.method_name(), cancel.cseq()),
        ("CANCEL", invite.cseq())
    );
    assert_eq!(
        cancel.header(HeaderName::Via),
        invite.header(HeaderName::Via)
    );
    b.answer(&cancel, 200, "far", "", "");
    b.answer(&invite, 487, "far", "", "");
    assert_eq!(b.take(), ["CANCEL", "ACK"]);
    assert_eq!(b.told(), ["cleared"]);
}

#[test]
fn ringing_too_long_is_cancelled_and_an_answer_that_crosses_is_hung_up() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 180, "far", "", "");
    b.take();
    b.told();
    b.pass(31 * SECOND);
    assert_eq!(b.told(), ["ended RungOut"]);
    assert_eq!(b.take()[0], "CANCEL");
    b.answer(&invite, 200, "far", "", SDP);
    let sent = b.sent.clone();
    assert_eq!(b.take(), ["ACK", "BYE"]);
    b.answer(&sent[1], 200, "", "", "");
    assert_eq!(b.told(), ["cleared"]);
    assert!(b.endpoint.is_settled());
}

#[test]
fn a_cancel_that_is_never_heeded_is_given_up() {
    let mut b = Bench::new();
    let call = b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 180, "far", "", "");
    b.endpoint.hangup(b.now, call);
    b.pass(70 * SECOND);
    assert_eq!(
        b.told(),
        ["progress 180 false", "ended Cancelled", "cleared"]
    );
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn a_call_over_its_cap_is_hung_up() {
    let mut b = Bench::new();
    b.up();
    b.pass(91 * SECOND);
    assert_eq!(b.told(), ["ended Capped"]);
    assert_eq!(b.take()[0], "BYE");
}

#[test]
fn an_answer_without_usable_media_is_acked_and_hung_up() {
    for body in [
        "",
        "v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 18\r\n",
    ] {
        let mut b = Bench::new();
        b.call();
        let invite = b.sent[0].clone();
        b.answer(&invite, 200, "far", "", body);
        assert_eq!(b.take(), ["INVITE", "ACK", "BYE"]);
        assert_eq!(b.told(), ["ended BrokenMedia"]);
    }
}

#[test]
fn a_challenge_is_answered_once_and_remembered_for_the_next_call() {
    let mut b = Bench::new();
    b.call();
    let first = b.sent[0].clone();
    b.answer(&first, 401, "far", CHALLENGE, "");
    let second = b.sent[2].clone();
    assert_eq!(b.take(), ["INVITE", "ACK", "INVITE"]);
    assert_eq!(
        (second.call_id(), second.cseq()),
        (first.call_id(), first.cseq() + 1)
    );
    assert_eq!(second.from_tag(), first.from_tag());
    assert!(
        second
            .header(HeaderName::Authorization)
            .is_some_and(|a| a.contains("nc=00000001"))
    );
    b.answer(&second, 401, "far", CHALLENGE, "");
    assert!(
        b.told()[0].contains("status: 401"),
        "a wrong password is not tried again"
    );

    b.take();
    b.call();
    let next = b.sent[0].clone();
    assert!(
        next.header(HeaderName::Authorization)
            .is_some_and(|a| a.contains("nc=00000002"))
    );
    b.answer(&next, 401, "far", &CHALLENGE.replace("n1", "n2"), "");
    let again = b.sent[2].clone();
    assert!(
        again
            .header(HeaderName::Authorization)
            .is_some_and(|a| a.contains("nonce=\"n2\""))
    );
    let stale = CHALLENGE
        .replace("n1", "n3")
        .replace("qop", "stale=true, qop");
    b.answer(&again, 401, "far", &stale, "");
    assert_eq!(b.take(), ["INVITE", "ACK", "INVITE", "ACK", "INVITE"]);
}

#[test]
fn a_proxy_challenge_of_a_bye_is_answered() {
    let mut b = Bench::new();
    let (call, _) = b.up();
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    let bye = b.sent[0].clone();
    b.answer(
        &bye,
        407,
        "",
        &CHALLENGE.replace("WWW-Authenticate", "Proxy-Authenticate"),
        "",
    );
    let again = b.sent[1].clone();
    assert!(again.header(HeaderName::ProxyAuthorization).is_some());
    assert_eq!(again.cseq(), bye.cseq() + 1);
    b.answer(&again, 200, "", "", "");
    assert_eq!(b.told(), ["ended OurBye", "cleared"]);
}

#[test]
fn a_redirection_ends_the_call_and_says_where_to() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    let more =
        "Contact: <sip:a@192.0.2.77>;q=0.1, <sip:b@192.0.2.77>;q=0.7\r\nContact: tel:911\r\n";
    b.answer(&invite, 302, "far", more, "");
    assert_eq!(b.take(), ["INVITE", "ACK"]);
    assert_eq!(
        b.told(),
        [
            "ended Redirected { status: 302, phrase: \"Phrase\", contacts: [\"sip:far@192.0.2.9:5080\", \"tel:911\", \"sip:b@192.0.2.77\", \"sip:a@192.0.2.77\"] }",
            "cleared"
        ]
    );
    b.pass(33 * SECOND);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn a_connection_that_cannot_be_made_is_told_at_once() {
    let mut b = Bench::over(Transport::Tcp);
    b.call();
    b.endpoint.unreachable(b.now, peer(), Transport::Tcp);
    b.pass(Duration::ZERO);
    assert_eq!(b.told(), ["ended Unreachable", "cleared"]);
    b.pass(10 * SECOND);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn an_unterminated_call_that_was_answered_gets_a_bye() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    let resume = b.resumes.last().expect("a resume").clone();
    let text = serde_json::to_string(&resume).expect("JSON");
    let resume: Resume = serde_json::from_str(&text).expect("the same");
    assert!(resume.is_answered());
    assert!(!format!("{resume:?}").contains("2025550123"));

    let mut next = Bench::new();
    next.endpoint.end_unterminated(next.now, resume);
    next.pass(Duration::ZERO);
    // The process before may have died before its ACK.
    let (ack, bye) = (next.sent[0].clone(), next.sent[1].clone());
    assert_eq!((ack.method_name(), ack.cseq()), ("ACK", 1));
    assert_eq!((bye.method_name(), bye.to_tag()), ("BYE", Some("far")));
    assert!(bye.cseq() > 2);
    next.take();
    next.answer(&invite, 200, "far", "", SDP);
    assert_eq!(next.take(), ["ACK"], "the first was lost");
    next.answer(&bye, 200, "", "", "");
    assert_eq!(next.told(), ["cleared"]);
}

#[test]
fn an_unterminated_call_that_rings_is_cancelled_and_a_crossing_answer_hung_up() {
    for crossing in [false, true] {
        let mut b = Bench::new();
        b.call();
        let invite = b.sent[0].clone();
        b.answer(&invite, 180, "far", "", "");
        let resume = b.resumes.last().expect("a resume").clone();

        let mut next = Bench::new();
        next.endpoint.end_unterminated(next.now, resume);
        next.pass(Duration::ZERO);
        assert_eq!(
            next.sent[0].header(HeaderName::Via),
            invite.header(HeaderName::Via)
        );
        assert_eq!(
            next.sent[0].header(HeaderName::From),
            invite.header(HeaderName::From)
        );
        assert_eq!(next.take(), ["CANCEL"]);
        if crossing {
            next.answer(&invite, 200, "far", "", SDP);
            let bye = next.sent[1].clone();
            assert_eq!(next.take(), ["ACK", "BYE"]);
            next.answer(&bye, 200, "", "", "");
        } else {
            next.answer(&invite, 487, "far", "", "");
            assert_eq!(next.take(), ["ACK"]);
            // That ACK was lost.
            next.answer(&invite, 487, "far", "", "");
            assert_eq!(next.take(), ["ACK"]);
        }
        assert_eq!(next.told(), ["cleared"]);
    }
}

#[test]
fn a_provisional_after_the_cancel_does_not_keep_a_call_for_ever() {
    let mut b = Bench::new();
    let call = b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 180, "far", "", "");
    b.endpoint.hangup(b.now, call);
    // It was sent before the CANCEL came, and overtaken. Nothing more is ever said.
    b.answer(&invite, 100, "", "", "");
    b.pass(Duration::from_secs(40));
    let told = b.told();
    assert_eq!(told.last().map(String::as_str), Some("cleared"), "{told:?}");
    assert!(b.endpoint.is_settled());
}

#[test]
fn an_unterminated_call_whose_answer_was_lost_may_be_hung_up_by_the_far_end() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    let resume = b.resumes.last().expect("a resume").clone();

    let mut next = Bench::new();
    next.endpoint.end_unterminated(next.now, resume);
    next.pass(Duration::ZERO);
    let cancel = next.sent[0].clone();
    assert_eq!(next.take(), ["CANCEL"]);
    next.answer(&cancel, 481, "", "", "");
    next.request(&invite, "BYE", 1, "b1", ("", ""));
    next.request(&invite, "BYE", 1, "b1", ("", ""));
    assert_eq!(next.take(), ["200", "200"]);
    // The answer comes again, as nobody has ACKed it.
    next.answer(&invite, 200, "far", "", SDP);
    let bye = next.sent[1].clone();
    assert_eq!(next.take(), ["ACK", "BYE"]);
    next.answer(&bye, 481, "", "", "");
    assert_eq!(next.told(), ["cleared"]);
}

#[test]
fn a_call_whose_answer_was_lost_ends_with_the_bye() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 180, "far", "", "");
    b.request(&invite, "BYE", 1, "b1", ("", ""));
    assert_eq!(b.take(), ["INVITE", "CANCEL", "200"]);
    assert!(b.told().contains(&"ended PeerBye".to_owned()));
    // Somebody else's tag is a stranger's.
    let mut other = Bench::new();
    other.call();
    let theirs = other.sent[0].clone();
    other.take();
    let head = other.request_head(&theirs, "BYE", 1, "b1");
    other.receive(&format!(
        "{}Content-Length: 0\r\n\r\n",
        head.replace(";tag=", ";tag=x")
    ));
    assert_eq!(other.take(), ["481"]);
}

#[test]
fn an_order_that_would_break_out_of_its_line_is_unfit() {
    let mut b = Bench::new();
    for bad in ["sip:a@b\r\nX: y", "sip:a b@c", "sip:a>@b", "tel:+1", ""] {
        let mut order = b.order();
        order.uri = bad.into();
        assert_eq!(b.endpoint.invite(b.now, order), Err(Unfit), "{bad}");
    }
    let mut order = b.order();
    order.headers = vec![("X".into(), "a\r\nVia: b".into())];
    assert_eq!(b.endpoint.invite(b.now, order), Err(Unfit));
}

#[test]
fn strangers_get_their_answers() {
    let mut b = Bench::new();
    for (method, to_tag, status) in [
        ("OPTIONS", "", "200"),
        ("INVITE", "", "403"),
        ("REGISTER", "", "405"),
        ("REFER", "", "405"),
        ("MESSAGE", "", "405"),
        ("BYE", ";tag=x", "481"),
        ("INVITE", ";tag=x", "481"),
        ("CANCEL", "", "481"),
        ("WHATEVER", "", "501"),
    ] {
        b.receive(&format!(
            "{method} sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKx\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>{to_tag}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
        ));
        let answer = b.sent[0].clone();
        assert!(answer.to_tag().is_some());
        assert!(
            answer
                .header(HeaderName::Via)
                .is_some_and(|via| via.contains("rport=5080;"))
        );
        assert_eq!(b.take(), [status], "{method}");
    }
    b.receive("ACK sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n\r\n");
    b.receive("\r\n\r\n");
    b.receive("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(b.take(), [""; 0]);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn many_calls_leave_nothing_and_wake_ups_stay_in_proportion() {
    let mut b = Bench::new();
    for _ in 0..2_000 {
        let call = b.call();
        let invite = b.sent[0].clone();
        b.answer(&invite, 180, "far", "", "");
        b.answer(&invite, 200, "far", "", SDP);
        b.endpoint.hangup(b.now, call);
        b.pass(Duration::from_millis(1));
        let bye = b
            .sent
            .iter()
            .find(|m| m.method_name() == "BYE")
            .expect("a BYE")
            .clone();
        b.answer(&bye, 200, "", "", "");
        b.take();
        b.told();
        b.resumes.clear();
    }
    let (calls, pending, wakes) = b.endpoint.kept();
    assert!(
        wakes <= 3 * (calls + pending),
        "{wakes} wake-ups for {calls} calls and {pending} requests"
    );
    b.pass(60 * SECOND);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}
