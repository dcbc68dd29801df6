//! Calls as they should go, and what the far end may ask within them.

use std::time::Duration;

use super::far_end::{Bench, SDP};
use crate::protocol::sip::codec::HeaderName;
use crate::protocol::sip::endpoint::{Event, Transport};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_call_is_placed_answered_and_hung_up() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut b = Bench::over(transport);
        let call = b.call();
        let invite = b.sent[0].clone();
        assert_eq!(invite.uri(), "sip:+12025550123@192.0.2.9:5080");
        assert_eq!(
            invite.header(HeaderName::PAssertedIdentity),
            Some("<sip:+18553308653@192.0.2.1>")
        );
        assert!(
            invite.from().is_some_and(
                |from| from.uri == "sip:+18553308653@192.0.2.1" && from.tag().is_some()
            )
        );
        assert!(
            std::str::from_utf8(invite.body())
                .is_ok_and(|sdp| sdp.contains("m=audio 20000 RTP/AVP 0 8 101"))
        );
        b.answer(&invite, 100, "", "", "");
        b.answer(&invite, 180, "far", "", "");
        b.answer(&invite, 200, "far", "", SDP);
        assert_eq!(
            b.told(),
            [
                "progress 100 false",
                "progress 180 false",
                "answered 192.0.2.9:4000"
            ]
        );
        assert_eq!(b.take(), ["INVITE", "ACK"]);
        b.pass(10 * SECOND);
        assert_eq!(b.take(), [""; 0], "nothing is sent while they talk");
        b.endpoint.hangup(b.now, call);
        b.pass(Duration::ZERO);
        let bye = b.sent[0].clone();
        assert_eq!(
            (bye.method_name(), bye.cseq(), bye.uri()),
            ("BYE", invite.cseq() + 1, "sip:far@192.0.2.9:5080")
        );
        assert_eq!(
            (bye.to_tag(), bye.from_tag()),
            (Some("far"), invite.from_tag())
        );
        b.answer(&bye, 200, "", "", "");
        assert_eq!(b.told(), ["ended OurBye", "cleared"]);
        assert!(b.endpoint.is_settled());
        b.pass(70 * SECOND);
        assert_eq!(b.endpoint.kept(), (0, 0, 0), "nothing is left");
    }
}

#[test]
fn each_copy_of_the_answer_is_acked() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    b.answer(&invite, 200, "far", "", SDP);
    b.answer(&invite, 200, "far", "", SDP);
    assert_eq!(b.take(), ["ACK", "ACK"]);
    assert_eq!(b.told(), [""; 0]);
}

#[test]
fn another_fork_that_answers_gets_ack_and_bye() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    b.answer(&invite, 200, "other", "", SDP);
    let tags: Vec<_> = b
        .sent
        .iter()
        .map(|m| (m.method_name().to_owned(), m.to_tag().map(str::to_owned)))
        .collect();
    let other = Some("other".to_owned());
    assert_eq!(
        tags,
        [("ACK".to_owned(), other.clone()), ("BYE".to_owned(), other)]
    );
    b.take();
    b.answer(&invite, 200, "other", "", SDP);
    assert_eq!(b.take(), ["ACK"]);
    assert_eq!(b.told(), [""; 0], "the call itself goes on");
}

#[test]
fn early_media_is_no_answer() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 183, "far", "", SDP);
    assert_eq!(b.told(), ["progress 183 true"]);
    b.answer(&invite, 200, "far", "", "");
    assert_eq!(b.told(), ["answered 192.0.2.9:4000"]);
}

#[test]
fn the_far_end_hangs_up_and_its_copies_are_answered() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    b.request(&invite, "BYE", 1, "x", ("", ""));
    assert_eq!(b.told(), ["ended PeerBye", "cleared"]);
    b.request(&invite, "BYE", 1, "x", ("", ""));
    assert_eq!(b.take(), ["200", "200"]);
    b.pass(70 * SECOND);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
    b.request(&invite, "BYE", 1, "x", ("", ""));
    assert_eq!(b.take(), ["481"]);
}

#[test]
fn keys_come_by_info() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    b.request(
        &invite,
        "INFO",
        1,
        "a",
        ("application/dtmf-relay", "Signal=#\r\nDuration=160\r\n"),
    );
    b.request(
        &invite,
        "INFO",
        1,
        "a",
        ("application/dtmf-relay", "Signal=#\r\nDuration=160\r\n"),
    );
    b.request(&invite, "INFO", 2, "b", ("application/dtmf", "11"));
    b.request(&invite, "INFO", 3, "c", ("application/dtmf", "nonsense"));
    b.request(&invite, "INFO", 4, "d", ("text/plain", "5"));
    assert!(
        matches!(&b.events[0], Event::Key { key: '#', held: Some(held), .. } if held.as_millis() == 160)
    );
    assert_eq!(b.told(), ["key #", "key #"], "a copy is not a second key");
    assert_eq!(b.take(), ["200"; 5]);
}

#[test]
fn a_reinvite_moves_the_media_and_is_sent_until_acked() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    let moved = SDP.replace("4000", "4444");
    b.request(&invite, "INVITE", 1, "a", ("application/sdp", &moved));
    assert_eq!(b.told(), ["media 192.0.2.9:4444 true"]);
    let answer = b.sent[0].clone();
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(
        body.contains("o=- 7 2 IN") && body.contains("m=audio 20000 RTP/AVP 0 101"),
        "{body}"
    );
    assert!(answer.header(HeaderName::Contact).is_some());
    b.take();
    b.pass(SECOND);
    assert_eq!(b.take(), ["200"]);
    b.request(&invite, "INVITE", 2, "b", ("application/sdp", &moved));
    assert_eq!(b.take(), ["500"], "not two at once");
    b.request(&invite, "ACK", 1, "c", ("", ""));
    b.pass(10 * SECOND);
    assert!(b.take().iter().all(|sent| sent == "500"));
}

#[test]
fn a_reinvite_without_an_ack_ends_the_call() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    b.request(&invite, "INVITE", 1, "a", ("", ""));
    assert!(
        String::from_utf8_lossy(b.sent[0].body()).contains("RTP/AVP 0 8 101"),
        "an offer of ours"
    );
    b.pass(33 * SECOND);
    assert_eq!(b.told(), ["ended Vanished"]);
    assert!(b.take().contains(&"BYE".to_owned()));
}

#[test]
fn a_reinvite_with_nothing_in_common_is_refused_and_the_call_goes_on() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    b.request(
        &invite,
        "INVITE",
        1,
        "a",
        ("application/sdp", &SDP.replace("AVP 0 101", "AVP 18")),
    );
    b.request(&invite, "ACK", 1, "a", ("", ""));
    b.pass(10 * SECOND);
    assert_eq!((b.take(), b.told()), (vec!["488".to_owned()], vec![]));
    b.request(&invite, "UPDATE", 2, "b", ("", ""));
    b.request(&invite, "OPTIONS", 3, "c", ("", ""));
    b.request(&invite, "REFER", 4, "d", ("", ""));
    b.request(&invite, "INFO", 2, "e", ("", ""));
    assert_eq!(
        b.take(),
        ["200", "200", "405", "500"],
        "the last one is out of order"
    );
}

#[test]
fn hold_is_told() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    let held = format!("{SDP}a=sendonly\r\n");
    b.request(&invite, "UPDATE", 1, "a", ("application/sdp", &held));
    assert_eq!(b.told(), ["media 192.0.2.9:4000 false"]);
    assert!(String::from_utf8_lossy(b.sent[0].body()).contains("a=recvonly"));
}

#[test]
fn requests_that_do_not_fit_the_dialog_touch_no_call() {
    let mut b = Bench::new();
    let (_, invite) = b.up();
    let forged = b
        .request_head(&invite, "BYE", 1, "x")
        .replace("tag=far", "tag=forged");
    b.receive(&format!("{forged}Content-Length: 0\r\n\r\n"));
    assert_eq!((b.take(), b.told()), (vec!["481".to_owned()], vec![]));
    assert_eq!(b.endpoint.live_calls(), 1);
}

#[test]
fn probes_are_answered_or_not() {
    let mut b = Bench::new();
    let now = b.now;
    b.endpoint.options(
        now,
        super::far_end::peer(),
        Transport::Udp,
        "sip:192.0.2.9:5080",
    );
    b.endpoint.options(
        now,
        super::far_end::peer(),
        Transport::Udp,
        "sip:192.0.2.9:5080",
    );
    b.pass(Duration::ZERO);
    let first = b.sent[0].clone();
    b.answer(&first, 405, "x", "", "");
    assert_eq!(b.told(), ["probed Some(405)"]);
    b.pass(33 * SECOND);
    assert_eq!(b.told(), ["probed None"]);
    assert_eq!(b.endpoint.kept(), (0, 0, 0));
}

#[test]
fn a_hold_in_any_form_is_told_and_nothing_is_sent_to_a_machine_that_is_not_theirs() {
    let held = [
        SDP.to_owned() + "a=sendonly\r\n",
        SDP.to_owned() + "a=inactive\r\n",
        SDP.replace("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0"),
        SDP.replace("m=audio 4000", "m=audio 0"),
    ];
    let mut b = Bench::new();
    let (_, invite) = b.up();
    let mut cseq = 0;
    let mut offer = |b: &mut Bench, body: &str| {
        cseq += 1;
        let branch = format!("h{cseq}");
        b.request(&invite, "INVITE", cseq, &branch, ("application/sdp", body));
        b.request(&invite, "ACK", cseq, &branch, ("", ""));
        (b.take(), b.told())
    };
    for body in &held {
        let (sent, told) = offer(&mut b, body);
        assert_eq!(sent, ["200"], "{body}");
        assert!(
            told.len() == 1 && told[0].ends_with("false"),
            "{body}: {told:?}"
        );
        assert_eq!(offer(&mut b, SDP).1, ["media 192.0.2.9:4000 true"]);
    }
    for elsewhere in ["127.0.0.1", "224.0.0.5", "255.255.255.255"] {
        let body = SDP.replace("c=IN IP4 192.0.2.9", &format!("c=IN IP4 {elsewhere}"));
        assert_eq!(
            offer(&mut b, &body),
            (vec!["488".to_owned()], vec![]),
            "{elsewhere}"
        );
        let mut b = Bench::new();
        b.call();
        let invite = b.sent[0].clone();
        b.answer(&invite, 200, "far", "", &body);
        assert_eq!(b.told(), ["ended BrokenMedia"], "{elsewhere}");
    }
}

#[test]
fn who_may_have_vanished_is_asked_and_only_who_is_gone_loses_the_call() {
    for (answer, gone) in [
        (Some(200), false),
        (Some(405), false),
        (Some(401), false),
        (Some(481), true),
        (Some(408), true),
        (None, true),
    ] {
        let mut b = Bench::new();
        let (call, _) = b.up();
        b.endpoint.ask_alive(b.now, call);
        b.endpoint.ask_alive(b.now, call);
        b.pass(Duration::ZERO);
        let question = b.sent[0].clone();
        assert_eq!(b.take(), ["OPTIONS"], "one question at a time");
        if let Some(status) = answer {
            b.answer(&question, status, "", "", "");
        }
        b.pass(33 * SECOND);
        let told = b.told();
        assert_eq!(
            told.first().map(String::as_str),
            gone.then_some("ended Vanished"),
            "{answer:?}"
        );
        assert_eq!(b.take().contains(&"BYE".to_owned()), gone, "{answer:?}");
    }
}
