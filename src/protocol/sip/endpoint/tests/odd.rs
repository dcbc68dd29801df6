//! Far ends that write odd lines: the call goes on, or at least ends.

use super::far_end::{Bench, SDP};
use crate::protocol::sip::codec::HeaderName;

/// A 200 to the INVITE of a fresh call, changed by hand.
fn answered(change: impl FnOnce(String) -> String) -> Bench {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    let copied = |name: HeaderName| invite.header(name).unwrap_or("").to_owned();
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=far\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:far@192.0.2.9:5080>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        copied(HeaderName::Via),
        copied(HeaderName::From),
        copied(HeaderName::To),
        copied(HeaderName::CallId),
        copied(HeaderName::CSeq),
        SDP.len(),
    );
    b.receive(&change(text));
    b
}

#[test]
fn an_answer_with_an_odd_line_is_an_answer() {
    let contact = "Contact: <sip:far@192.0.2.9:5080>";
    let length = format!("Content-Length: {}", SDP.len());
    let cases: &[(&str, &str, &str)] = &[
        (
            contact,
            "Contact: <sip:far@192.0.2.9:5080;x=\"VG8=\";ob>",
            "sip:far@192.0.2.9:5080;ob",
        ),
        (
            contact,
            "Contact: <sip:far@192.0.2.9:5080>;",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact: <sip:far@192.0.2.9:5080>;;expires=",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact: < sip:far@192.0.2.9:5080 >",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact: \"a <sip:far@192.0.2.9:5080>",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact: far <<sip:far@192.0.2.9:5080>>",
            "sip:+12025550123@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact: nothing at all",
            "sip:+12025550123@192.0.2.9:5080",
        ),
        (
            contact,
            "m: <sip:far@192.0.2.9:5080>\r\nA header without colon",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact\r\n  : <sip:far@192.0.2.9:5080>",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact:\r\n <sip:far@192.0.2.9:5080>\r\nX Y: z\r\n: z\r\nX: a\rb",
            "sip:far@192.0.2.9:5080",
        ),
        (
            contact,
            "Contact: <sip:far@192.0.2.9:5080>\r\nMax-Forwards: 700\r\nMax-Forwards: x",
            "sip:far@192.0.2.9:5080",
        ),
        (
            "SIP/2.0 200 OK",
            "SIP/2.0  200  OK",
            "sip:far@192.0.2.9:5080",
        ),
        ("SIP/2.0 200 OK", "SIP/2.0 200", "sip:far@192.0.2.9:5080"),
        (
            "SIP/2.0 200 OK",
            "sip/2.0 200 D\u{e9}croch\u{e9}",
            "sip:far@192.0.2.9:5080",
        ),
        (";tag=far", ";tag=far;", "sip:far@192.0.2.9:5080"),
        (
            ";tag=far",
            ";x=\"open;tag=no\";tag=far",
            "sip:far@192.0.2.9:5080",
        ),
        (";tag=far", " ; tag = far ;x=", "sip:far@192.0.2.9:5080"),
        ("To: <", "To: \"unbalanced <", "sip:far@192.0.2.9:5080"),
        ("To: <", "To: a@b <", "sip:far@192.0.2.9:5080"),
        (
            ";rport;",
            ";rport=;received=[::1];;",
            "sip:far@192.0.2.9:5080",
        ),
        (
            "Via:",
            "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=BRANCH\r\nVia: rubbish\r\nX:",
            "sip:far@192.0.2.9:5080",
        ),
        (&length, "Content-Length: many", "sip:far@192.0.2.9:5080"),
        (&length, "Content-Length: 9999", "sip:far@192.0.2.9:5080"),
        (
            &length,
            "Content-Length: -1\r\nl: 5",
            "sip:far@192.0.2.9:5080",
        ),
    ];
    for (line, odd, target) in cases {
        let b = &mut answered(|text| {
            assert!(text.contains(line), "{line}");
            let (_, branch) = text.split_once("branch=").expect("a branch");
            let branch = branch[..branch.find("\r\n").expect("an end")].to_owned();
            text.replacen(line, &odd.replace("BRANCH", &branch), 1)
        });
        let ack = b.sent.last().expect("something sent").clone();
        assert_eq!(
            (b.take(), ack.uri()),
            (vec!["INVITE".into(), "ACK".into()], *target),
            "{odd}"
        );
        let told = b.told();
        assert_eq!(
            told.last().map(String::as_str),
            Some("answered 192.0.2.9:4000"),
            "{odd}: {told:?}"
        );
    }
}

#[test]
fn each_kind_of_odd_line_is_told_once() {
    let mut b = answered(|text| text.replace("CSeq", "no colon\r\nCSeq"));
    assert_eq!(
        b.told(),
        ["malformed HeaderLine true", "answered 192.0.2.9:4000"]
    );
    let invite = b.sent[0].clone();
    let head = b.request_head(&invite, "INFO", 1, "x");
    b.receive(&format!("{head}no colon\r\nMax-Forwards: x\r\nContent-Type: application/dtmf\r\nContent-Length: 1\r\n\r\n5"));
    assert_eq!(
        b.told(),
        [
            "malformed Repeated true",
            "malformed MaxForwards true",
            "key 5"
        ]
    );
}

#[test]
fn an_answer_without_a_to_tag_is_acked_and_ended() {
    for change in [
        |text: String| text.replace(";tag=far", ""),
        |text: String| text.replace(";tag=far", ";tag="),
        |text: String| text.replace(";tag=far", "").replace("To: <", "To: \"<"),
    ] {
        let mut b = answered(change);
        let bye = b.sent.last().expect("something sent").clone();
        assert_eq!(b.take(), ["INVITE", "ACK", "BYE"]);
        assert_eq!(
            b.told().last().map(String::as_str),
            Some("ended BrokenMedia")
        );
        assert_eq!(bye.to_tag(), None);
        b.answer(&bye, 200, "", "", "");
        assert_eq!(b.told(), ["cleared"]);
    }
}

#[test]
fn a_bye_with_an_odd_line_ends_the_call() {
    for (line, odd) in [
        ("Max-Forwards: 70", "Max-Forwards: lots"),
        ("Max-Forwards: 70", "no colon here"),
        ("Max-Forwards: 70", "Contact: <sip:x y@z"),
        ("Max-Forwards: 70", "Content-Length: 77"),
        ("Max-Forwards: 70", "Require: what"),
        ("sip:mfa@192.0.2.1:5060 SIP", "sip:mfa@192.0.2.1:5060?x SIP"),
        ("sip:mfa@192.0.2.1:5060 SIP", "sip:mfa@192.0.2.1:5060  SIP"),
        ("sip:mfa@192.0.2.1:5060 SIP", "x:y SIP"),
        (";tag=far", ";tag=far;"),
        (";branch", ";;branch"),
    ] {
        let mut b = Bench::new();
        let (_, invite) = b.up();
        let head = b.request_head(&invite, "BYE", 1, "x");
        assert!(head.contains(line), "{line}");
        b.receive(&format!("{}\r\n", head.replacen(line, odd, 1)));
        assert_eq!(b.take(), ["200"], "{odd}");
        assert!(
            b.told()
                .ends_with(&["ended PeerBye".into(), "cleared".into()]),
            "{odd}"
        );
    }
    // Without the empty line at the end.
    let mut b = Bench::new();
    let (_, invite) = b.up();
    let head = b.request_head(&invite, "BYE", 1, "x");
    b.receive(&head);
    assert_eq!(b.take(), ["200"]);
}

#[test]
fn what_leaves_the_call_in_doubt_costs_the_message() {
    for (line, odd, fault) in [
        ("Call-ID: ", "Call-ID: a b", "CallId"),
        ("Call-ID: ", "Call-ID: x\r\nCall-ID: ", "Repeated"),
        ("CSeq: 1 ", "CSeq: one ", "CSeq"),
        ("CSeq: 1 BYE", "CSeq: 1 INFO", "CSeqMethod"),
        ("Via: ", "Viola: ", "Missing"),
        ("To: ", "To: <sip:a@b>;tag=1\r\nTo: ", "Repeated"),
    ] {
        let mut b = Bench::allowing("192.0.2.0/24");
        let (_, invite) = b.up();
        let head = b.request_head(&invite, "BYE", 1, "x");
        assert!(head.contains(line), "{line}");
        b.receive(&format!("{}\r\n", head.replacen(line, odd, 1)));
        let answers = if fault == "Missing" {
            vec![]
        } else {
            vec!["400".to_owned()]
        };
        assert_eq!(b.take(), answers, "{odd}");
        assert_eq!(b.told(), [format!("malformed {fault} false")], "{odd}");
    }
}
