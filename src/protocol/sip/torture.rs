//! The fifty messages of RFC 4475 against the codec and the endpoint, driven by the table beside them.

use std::path::PathBuf;
use std::time::Instant;

use super::codec::{Address, HeaderName, Message, Method, Rejected, Uri, Via, unescape};
use super::endpoint::{Config, Endpoint, Output, Transport};
use super::transaction::Timing;

fn octets(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rfc4475")
}

fn good(name: &str) -> Message {
    Message::parse(&octets(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// File, what parsing must yield, verdict, and the endpoint's answer over UDP.
fn table() -> Vec<[String; 4]> {
    let text = std::fs::read_to_string(folder().join("index.csv")).expect("the table");
    let rows: Vec<[String; 4]> = text
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(row)
        .collect();
    assert_eq!(rows.len(), 50);
    rows
}

/// The first seven fields hold no quotes around a comma.
fn row(line: &str) -> [String; 4] {
    let fields: Vec<&str> = line.splitn(8, ',').collect();
    [fields[0], fields[4], fields[5], fields[6]].map(str::to_owned)
}

fn answers(octets: &[u8]) -> Vec<u16> {
    let config = Config {
        sent_by: "192.0.2.200:5060".into(),
        user: "mfa".into(),
        user_agent: "test".into(),
        credentials: None,
        timing: Timing::default(),
        allow: Default::default(),
        media_allow: Default::default(),
    };
    let mut endpoint = Endpoint::new(config, 1);
    let from = "192.0.2.50:40000".parse().expect("an address");
    endpoint.receive(Instant::now(), from, Transport::Udp, octets);
    let mut statuses = Vec::new();
    while let Some(output) = endpoint.poll_output() {
        let Output::Transmit { to, bytes, .. } = output else {
            panic!("a stranger makes no event")
        };
        assert_eq!(to, from, "answers go whence the request came");
        let status = std::str::from_utf8(&bytes[8..11])
            .expect("a status line")
            .parse()
            .expect("a status");
        statuses.push(status);
    }
    assert_eq!(endpoint.kept(), (0, 0, 0), "a stranger costs no memory");
    statuses
}

#[test]
fn every_message_is_parsed_as_the_table_says() {
    for [file, parse, verdict, _] in table() {
        let parsed = Message::parse(&octets(&file));
        match (parse.as_str(), verdict.as_str()) {
            ("must-parse", "accept") => assert!(parsed.is_ok(), "{file}: {parsed:?}"),
            ("must-not-crash", "reject") => assert!(parsed.is_err(), "{file} must be rejected"),
            ("should-parse" | "must-not-crash", "either") => {}
            other => panic!("{file}: the table says {other:?}"),
        }
        if let Ok(message) = parsed {
            let again =
                Message::parse(&message.encode()).unwrap_or_else(|e| panic!("{file} again: {e}"));
            assert_eq!(again, message, "{file}");
        }
    }
}

#[test]
fn the_endpoint_answers_as_the_table_says() {
    for [file, _, _, reaction] in table() {
        let answered = answers(&octets(&file));
        let allowed: Vec<u16> = reaction
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        match reaction.as_str() {
            "any" => assert!(answered.len() <= 1, "{file}: {answered:?}"),
            "discard" => assert_eq!(answered, [0u16; 0], "{file}"),
            _ if reaction.contains("tolerate") => {
                assert!(answered.len() <= 1, "{file}: {answered:?}")
            }
            _ => assert!(
                answered.len() == 1 && allowed.contains(&answered[0]),
                "{file}: {answered:?}"
            ),
        }
    }
}

#[test]
fn every_prefix_of_every_message_is_survived() {
    for [file, ..] in table() {
        let whole = octets(&file);
        for length in 0..whole.len().min(2_000) {
            answers(&whole[..length]);
        }
    }
}

#[test]
fn a_tortuous_invite_yields_its_facts() {
    let m = good("wsinv.dat");
    assert_eq!(
        (m.method(), m.cseq(), m.header(HeaderName::MaxForwards)),
        (Some(Method::Invite), 9, Some("0068"))
    );
    assert_eq!(
        (m.from_tag(), m.to_tag()),
        (Some("98asjd8"), Some("1918181833n"))
    );
    assert_eq!(
        m.from().map(|from| from.display()),
        Some("J Rosenberg \\\"".into())
    );
    assert_eq!(m.header(HeaderName::Subject), Some(""));
    let hosts: Vec<_> = m
        .values(HeaderName::Via)
        .map(|v| Via::parse(v).expect("a Via").host)
        .collect();
    assert_eq!(
        hosts,
        ["192.0.2.2", "spindle.example.com", "192.168.255.111"]
    );
    assert_eq!(m.values(HeaderName::Route).count(), 1);
    assert_eq!(
        m.header_named("UnknownHeaderWithUnusualValue"),
        Some(";;,,;;,;")
    );
    assert_eq!(m.body().len(), 150);
}

#[test]
fn wide_ranges_of_characters_are_kept() {
    let m = good("intmeth.dat");
    assert_eq!(
        (m.method(), m.method_name().len()),
        (Some(Method::Other), 43)
    );
    assert_eq!(
        m.to().map(|to| to.display()),
        Some("BEL:\u{7} NUL:\0 DEL:\u{7f}".into())
    );
    assert!(
        m.header_named("extensionHeader-!.%*+_`'~")
            .is_some_and(|v| v.contains('大'))
    );
    let user = Uri::parse(m.uri()).expect("a URI").user.expect("a user");
    assert!(
        user.starts_with("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1"),
        "{user}"
    );
}

#[test]
fn escapes_are_resolved_once() {
    let m = good("esc01.dat");
    let user = |uri: &str| {
        String::from_utf8(
            Uri::parse(uri)
                .expect("a URI")
                .user_unescaped()
                .expect("a user"),
        )
    };
    assert_eq!(user(m.uri()), Ok("sips:user@example.com".into()));
    assert_eq!(m.to().map(|to| user(to.uri)), Some(Ok("user".into())));
    assert_eq!(
        m.from().map(|from| user(from.uri)),
        Some(Ok("I have spaces".into()))
    );
    let contact = Address::parse(m.header(HeaderName::Contact).expect("one")).expect("good");
    let name = Uri::parse(contact.uri)
        .expect("a URI")
        .param("name")
        .map(unescape);
    assert_eq!(name, Some(b"value%41".to_vec()));

    let m = good("escnull.dat");
    assert_eq!(
        m.to().map(|to| user(to.uri)),
        Some(Ok("null-\0-null".into()))
    );
    let contacts: Vec<_> = m.values(HeaderName::Contact).collect();
    assert_eq!(contacts.len(), 2);
    assert_ne!(contacts[0], contacts[1]);

    let m = good("esc02.dat");
    assert_eq!(
        (m.method(), m.method_name()),
        (Some(Method::Other), "RE%47IST%45R")
    );
    let contacts: Vec<_> = m.values(HeaderName::Contact).collect();
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    assert!(
        contacts
            .iter()
            .chain([&m.header(HeaderName::To).unwrap_or("")])
            .any(|a| a.contains("%Z%45")),
        "{contacts:?}"
    );
}

#[test]
fn uris_and_their_parameters_are_told_apart() {
    let m = good("semiuri.dat");
    let uri = Uri::parse(m.uri()).expect("a URI");
    assert_eq!(
        (uri.user_unescaped(), uri.host),
        (Some(b"user;par=u@example.net".to_vec()), "example.com")
    );

    let contact = |name: &str| {
        let m = good(name);
        let value = m.header(HeaderName::Contact).expect("one").to_owned();
        let address = Address::parse(&value).expect("good");
        let of_uri = Uri::parse(address.uri)
            .expect("a URI")
            .param("unknownparam")
            .is_some();
        (of_uri, address.param("unknownparam").is_some())
    };
    assert_eq!(contact("cparam01.dat"), (false, true));
    assert_eq!(contact("cparam02.dat"), (true, false));
    let m = good("regescrt.dat");
    let address = Address::parse(m.header(HeaderName::Contact).expect("one")).expect("good");
    assert_eq!(
        Uri::parse(address.uri).map(|uri| uri.headers),
        Ok("Route=%3Csip:sip.example.com%3E")
    );
    assert_eq!(m.header(HeaderName::Route), None);
    assert_eq!(
        good("lwsdisp.dat").from().map(|from| from.display()),
        Some("caller".into())
    );
}

#[test]
fn many_and_odd_vias_are_read() {
    let m = good("longreq.dat");
    assert_eq!(m.values(HeaderName::Via).count(), 34);
    assert!(m.from_tag().is_some_and(|tag| tag.len() > 100));
    let m = good("transports.dat");
    let transports: Vec<_> = m
        .values(HeaderName::Via)
        .map(|v| Via::parse(v).expect("a Via").transport)
        .collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
}

#[test]
fn bodies_and_phrases_are_exact() {
    let m = good("mpart01.dat");
    assert_eq!((m.body().len(), m.body().contains(&0)), (553, true));
    assert_eq!(good("dblreq.dat").body(), b"");
    let m = good("unreason.dat");
    assert_eq!((m.status(), m.reason().is_ascii()), (Some(200), false));
    let m = good("noreason.dat");
    assert_eq!((m.status(), m.reason()), (Some(100), ""));
}

#[test]
fn an_escaped_header_never_becomes_one() {
    match Message::parse(&octets("escruri.dat")) {
        Ok(m) => assert_eq!(m.header(HeaderName::Route), None),
        Err(Rejected { salvage, .. }) => {
            assert!(salvage.is_some_and(|m| m.header(HeaderName::Route).is_none()));
        }
    }
}
