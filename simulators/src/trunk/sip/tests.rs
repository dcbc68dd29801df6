//! Messages read and written, and garbage refused.

use super::*;

const INVITE: &str = "INVITE sip:+12025550123@127.0.0.1:5080 SIP/2.0\r\n\
    v: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKa1;rport, SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKb\r\n\
    Max-Forwards: 70\r\nFrom: \"A <b>, \\\"c\\\"\" <sip:+18553308653@gw>;tag=f1\r\nt: <sip:+12025550123@127.0.0.1>\r\n\
    Call-ID: abc@gw\r\nCSeq: 7 INVITE\r\nSubject: folded\r\n  line\r\nContent-Length: 4\r\n\r\nv=0\nrest";

#[test]
fn an_invite_is_read() {
    let message = Message::datagram(INVITE.as_bytes()).unwrap();
    let basics = Basics::of(&message).unwrap();
    assert_eq!(basics.branch, "z9hG4bKa1@127.0.0.1:5062");
    assert_eq!(
        (basics.cseq, basics.from_tag.as_str(), basics.to_tag),
        (7, "f1", None)
    );
    assert_eq!(user_of(&basics.uri), Some("+12025550123"));
    assert_eq!(host_of(&basics.uri), Some(("127.0.0.1", Some(5080))));
    assert_eq!(message.first("subject"), Some("folded line"));
    assert_eq!(message.body, b"v=0\n");
    let from = message.first("from").unwrap();
    assert_eq!(uri_of(from), "sip:+18553308653@gw");
}

#[test]
fn a_response_goes_back_to_where_the_request_came_from() {
    let message = Message::datagram(INVITE.as_bytes()).unwrap();
    let bytes = message
        .response(180, Some("t9"), "127.0.0.1:40000".parse().unwrap())
        .end();
    let answer = Message::datagram(&bytes).unwrap();
    assert_eq!(answer.start, Start::Response { status: 180 });
    let via = answer.first("via").unwrap();
    assert_eq!(split_commas(via).count(), 2);
    let top = split_commas(via).next().unwrap();
    assert_eq!(param(top, "rport"), Some("40000"));
    assert_eq!(param(top, "received"), Some("127.0.0.1"));
    assert_eq!(param(answer.first("to").unwrap(), "tag"), Some("t9"));
    assert_eq!(answer.first("cseq"), Some("7 INVITE"));
}

#[test]
fn a_stream_is_cut_at_content_length() {
    let one = "\r\n\r\nOPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
    let two = format!("{one}BYE sip:b SIP/2.0\r\n\r\n");
    for cut in 0..one.len() {
        assert_eq!(
            Message::from_stream(&one.as_bytes()[..cut]),
            Ok(None),
            "{cut}"
        );
    }
    let (first, used) = Message::from_stream(two.as_bytes()).unwrap().unwrap();
    assert_eq!(
        (first.body.as_slice(), used),
        (b"abc".as_slice(), one.len())
    );
    assert!(
        Message::from_stream(&two.as_bytes()[used..])
            .unwrap()
            .is_some()
    );
    assert!(Message::from_stream(&[b'x'; MAX_MESSAGE + 2]).is_err());
}

#[test]
fn garbage_is_refused_and_never_panics() {
    for bad in [
        "",
        "\r\n",
        "INVITE\r\n\r\n",
        "SIP/2.0 99 x\r\n\r\n",
        "BYE a SIP/2.0\r\n : x\r\n\r\n",
        "BYE a SIP/2.0\r\nl: 9\r\n\r\n",
    ] {
        assert!(Message::datagram(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let mut dice = 7u64;
    for round in 0..20_000usize {
        let mut bytes = INVITE.as_bytes().to_vec();
        for _ in 0..=round % 5 {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (dice >> 33) as usize % bytes.len();
            bytes[at] = (dice >> 17) as u8;
        }
        if let Ok(message) = Message::datagram(&bytes) {
            let _ = Basics::of(&message);
            let _ = message
                .response(200, Some("t"), "[::1]:1".parse().unwrap())
                .end();
        }
    }
}
