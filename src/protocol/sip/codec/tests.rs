//! Tests of the codec beyond the torture messages.

use proptest::prelude::*;

use super::*;

const INVITE: &str = "INVITE sip:+12025550123@192.0.2.9 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n\
    Via: SIP/2.0/TCP a.example:5061;branch=z9hG4bKb, SIP/2.0/TLS [2001:db8::1]:5061;received=192.0.2.3\r\n\
    f: \"A, <B>\" <sip:a@example.com>;tag=1\r\nt: <sip:b@example.com>\r\ni: x@y\r\nCSeq: 7\r\n INVITE\r\n\
    X-Own:  kept \r\nl: 3\r\n\r\nabcd";

fn invite() -> Message {
    Message::parse(INVITE.as_bytes()).expect("a good INVITE")
}

#[test]
fn a_message_is_read_with_compact_folded_and_combined_headers() {
    let message = invite();
    assert_eq!(
        (message.method(), message.uri()),
        (Some(Method::Invite), "sip:+12025550123@192.0.2.9")
    );
    let hosts: Vec<_> = message
        .values(HeaderName::Via)
        .map(|v| Via::parse(v).map(|via| (via.host, via.port)))
        .collect();
    assert_eq!(
        hosts,
        [
            Ok(("192.0.2.1", None)),
            Ok(("a.example", Some(5061))),
            Ok(("[2001:db8::1]", Some(5061)))
        ]
    );
    assert_eq!(
        message.from().map(|f| (f.display(), f.uri)),
        Some(("A, <B>".into(), "sip:a@example.com"))
    );
    assert_eq!((message.cseq(), message.cseq_method()), (7, Method::Invite));
    assert_eq!((message.from_tag(), message.to_tag()), (Some("1"), None));
    assert_eq!(message.header_named("x-own"), Some("kept"));
    assert_eq!(message.body(), b"abc");
}

#[test]
fn encoding_keeps_what_was_read() {
    let text = String::from_utf8(invite().encode()).expect("text");
    assert!(
        text.starts_with("INVITE sip:+12025550123@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1"),
        "{text}"
    );
    assert!(text.contains("\r\nX-Own: kept\r\n"), "{text}");
    assert!(text.ends_with("Content-Length: 3\r\n\r\nabc"), "{text}");
}

#[test]
fn a_carriage_return_inside_a_value_is_refused() {
    let smuggled = INVITE.replace("kept", "kept\rVia: no");
    assert_eq!(
        Message::parse(smuggled.as_bytes()).map_err(|r| r.fault),
        Err(Fault::HeaderLine)
    );
}

#[test]
fn a_stream_is_cut_by_content_length() {
    let one = String::from_utf8(invite().encode()).expect("text");
    let stream = format!("\r\n\r\n{one}{one}");
    for step in [1, 7, 1000] {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for chunk in stream.as_bytes().chunks(step) {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame().expect("good frames") {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [one.as_bytes(), one.as_bytes()]);
        assert!(!framer.is_partial());
    }
}

#[test]
fn a_stream_without_a_length_or_without_an_end_is_closed() {
    let framed = |text: &str| {
        let mut framer = Framer::default();
        framer.push(text.as_bytes());
        framer.next_frame()
    };
    assert_eq!(
        framed("OPTIONS a SIP/2.0\r\nTo: x\r\n\r\n"),
        Err(FrameFault::ContentLength)
    );
    assert_eq!(
        framed("OPTIONS a SIP/2.0\r\nl: -1\r\n\r\n"),
        Err(FrameFault::ContentLength)
    );
    assert_eq!(
        framed("OPTIONS a SIP/2.0\r\nl: 1\r\nContent-Length: 1\r\n\r\nx"),
        Err(FrameFault::ContentLength)
    );
    assert_eq!(
        framed("OPTIONS a SIP/2.0\r\nl: 65535\r\n\r\n"),
        Err(FrameFault::TooLong)
    );
    assert_eq!(
        framed(&"a".repeat(MAX_MESSAGE + 1)),
        Err(FrameFault::TooLong)
    );
}

#[test]
fn uris_are_taken_apart() {
    let uri = Uri::parse("sips:a%40b:pw@[2001:db8::1]:5071;transport=tcp;lr?x=y").expect("a URI");
    assert_eq!(
        (uri.secure, uri.user, uri.host, uri.port),
        (true, Some("a%40b:pw"), "[2001:db8::1]", Some(5071))
    );
    assert_eq!(
        (uri.param("TRANSPORT"), uri.param("lr"), uri.param("x")),
        (Some("tcp"), Some(""), None)
    );
    assert_eq!(
        (uri.headers, uri.user_unescaped()),
        ("x=y", Some(b"a@b:pw".to_vec()))
    );
    for bad in [
        "",
        "sip:",
        "sip:@x",
        "sip:a@",
        "sip:a@b:99999",
        "sip:a@b c",
        "sip:a@b@c",
        "sip:a@[::1",
        "x",
    ] {
        assert!(Uri::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Message::parse(&octets);
        let mut framer = Framer::default();
        framer.push(&octets);
        let _ = framer.next_frame();
    }

    #[test]
    fn mangled_messages_never_panic_and_good_ones_are_stable(
        edits in proptest::collection::vec((0usize..INVITE.len(), any::<u8>()), 0..6),
        cut in 0usize..INVITE.len(),
    ) {
        let mut octets = INVITE.as_bytes().to_vec();
        for (at, octet) in &edits {
            octets[*at] = *octet;
        }
        let _ = Message::parse(&octets[..cut]);
        if let Ok(message) = Message::parse(&octets) {
            let encoded = message.encode();
            let again = Message::parse(&encoded).expect("what we encode can be parsed");
            prop_assert_eq!(again.encode(), encoded);
            prop_assert_eq!(again.cseq(), message.cseq());
            prop_assert_eq!(again.body(), message.body());
        }
    }
}
