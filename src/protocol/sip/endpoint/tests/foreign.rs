//! A forger who knows everything of a call but can't send from the trunk's addresses: nothing may change.

use std::net::SocketAddr;
use std::time::Duration;

use super::far_end::{Bench, SDP, peer};
use crate::protocol::sip::codec::HeaderName;

const SECOND: Duration = Duration::from_secs(1);

fn forger() -> SocketAddr {
    "203.0.113.66:5080".parse().expect("an address")
}

#[test]
fn requests_from_elsewhere_are_those_of_strangers() {
    let mut b = Bench::new();
    let (call, invite) = b.up();
    b.from = forger();
    for (at, method) in [
        "INFO", "BYE", "INVITE", "UPDATE", "OPTIONS", "CANCEL", "PRACK", "REFER",
    ]
    .into_iter()
    .enumerate()
    {
        let body = match method {
            "INFO" => ("application/dtmf-relay", "Signal=#\r\nDuration=160\r\n"),
            "INVITE" | "UPDATE" => ("application/sdp", SDP),
            _ => ("", ""),
        };
        b.request(&invite, method, 10 + at as u32, &format!("x{at}"), body);
        assert_eq!(b.take(), ["481"], "{method}");
    }
    b.request(&invite, "ACK", 1, "y", ("application/sdp", SDP));
    assert_eq!(b.take(), [""; 0]);
    assert_eq!(b.told(), ["foreign 203.0.113.66"], "told once");

    // The same from the trunk, with the CSeq it would have used.
    b.from = SocketAddr::new(peer().ip(), 9);
    b.request(&invite, "INFO", 1, "z1", ("application/dtmf", "#"));
    b.request(&invite, "BYE", 2, "z2", ("", ""));
    assert_eq!(b.take(), ["200", "200"]);
    assert_eq!(b.told(), ["key #", "ended PeerBye", "cleared"]);
    b.endpoint.hangup(b.now, call);
}

#[test]
fn answers_from_elsewhere_are_none() {
    let mut b = Bench::new();
    let call = b.call();
    let invite = b.sent[0].clone();
    for status in [100, 180, 183, 200, 302, 401, 407, 486, 603] {
        b.from = forger();
        b.answer(&invite, status, "evil", "", SDP);
        assert_eq!(
            b.take().len(),
            usize::from(status == 100),
            "{status}: nothing but the INVITE"
        );
    }
    assert_eq!(b.told(), ["foreign 203.0.113.66"]);
    b.from = peer();
    b.answer(&invite, 180, "far", "", "");
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    let cancel = b.sent[0].clone();
    b.from = forger();
    b.answer(&cancel, 200, "evil", "", "");
    b.answer(&invite, 487, "evil", "", "");
    b.take();
    b.pass(SECOND);
    assert_eq!(b.take(), ["CANCEL"], "it is still sent again");
    b.from = peer();
    b.answer(&invite, 487, "far", "", "");
    assert_eq!(
        b.told(),
        ["progress 180 false", "ended Cancelled", "cleared"]
    );

    b.take();
    let (call, _) = b.up();
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    let bye = b.sent[0].clone();
    b.from = forger();
    b.answer(&bye, 200, "", "", "");
    assert_eq!(b.told(), ["ended OurBye"]);
    b.from = peer();
    b.answer(&bye, 200, "", "", "");
    assert_eq!(b.told(), ["cleared"]);

    b.endpoint
        .options(b.now, peer(), b.transport, "sip:192.0.2.9:5080");
    b.pass(Duration::ZERO);
    let probe = b.sent.pop().expect("a probe");
    b.from = forger();
    b.answer(&probe, 200, "", "", "");
    assert_eq!(b.told(), [""; 0]);
}

#[test]
fn a_bye_from_elsewhere_does_not_end_a_call_whose_answer_is_not_known() {
    let mut b = Bench::new();
    b.call();
    let invite = b.sent[0].clone();
    b.from = forger();
    b.request(&invite, "BYE", 1, "x", ("", ""));
    assert_eq!(b.take(), ["INVITE", "481"]);
    assert_eq!(b.told(), ["foreign 203.0.113.66"]);
}

#[test]
fn the_addresses_of_the_trunk_are_those_at_the_start_and_now_those_sent_to_and_those_allowed() {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let mut b = Bench::new();
    let first = address("198.51.100.1:1");
    let (second, third) = (address("198.51.100.2:1"), address("[2001:db8::3]:1"));
    b.endpoint.set_peers([first.ip()].into_iter());
    let call = b.call();
    let invite = b.sent[0].clone();
    b.endpoint.set_peers([second.ip(), third.ip()].into_iter());
    // The answer's own Contact is where the ACK goes, and a route may be asked from then on.
    let there = "Record-Route: <sip:198.51.100.40;lr>\r\n";
    b.from = first;
    b.answer(&invite, 200, "far", there, SDP);
    b.take();
    b.told();
    let known = [
        first,
        second,
        third,
        peer(),
        address("198.51.100.40:777"),
        address("[::ffff:198.51.100.2]:5"),
    ];
    for (at, from) in known.into_iter().enumerate() {
        b.from = from;
        b.request(
            &invite,
            "INFO",
            1 + at as u32,
            &format!("b{at}"),
            ("application/dtmf", "5"),
        );
        assert_eq!(
            (b.take(), b.told()),
            (vec!["200".into()], vec!["key 5".into()]),
            "{from}"
        );
    }
    b.from = address("198.51.100.3:5080");
    b.request(&invite, "INFO", 20, "c", ("application/dtmf", "5"));
    assert_eq!(b.take(), ["481"]);
    assert_eq!(b.told(), ["foreign 198.51.100.3"]);
    b.endpoint.hangup(b.now, call);
    let mut allowing = Bench::allowing("198.51.100.0/29");
    let (_, invite) = allowing.up();
    allowing.from = address("198.51.100.3:5080");
    allowing.request(&invite, "INFO", 1, "d", ("application/dtmf", "5"));
    assert_eq!(allowing.told(), ["key 5"]);
    assert_eq!(invite.header(HeaderName::CSeq), Some("1 INVITE"));
}

#[test]
fn media_goes_only_where_the_trunk_may_put_it() {
    let mut b = Bench::with(|config| {
        config.media_allow = vec!["192.0.2.0/28".parse().expect("a block")].into();
    });
    let (_, invite) = b.up();
    let moved = SDP.replace("192.0.2.9", "192.0.2.77");
    for method in ["INVITE", "UPDATE"] {
        b.request(
            &invite,
            method,
            if method == "INVITE" { 1 } else { 2 },
            method,
            ("application/sdp", &moved),
        );
        assert_eq!(b.take(), ["488"], "{method}");
    }
    b.request(&invite, "ACK", 1, "INVITE", ("", ""));
    let within = SDP.replace("192.0.2.9", "192.0.2.10");
    b.request(&invite, "UPDATE", 3, "w", ("application/sdp", &within));
    assert_eq!(b.take(), ["200"]);
    assert_eq!(b.told(), ["media 192.0.2.10:4000 true"]);
    b.call();
    let invite = b.sent[0].clone();
    b.answer(&invite, 200, "far", "", &moved);
    assert_eq!(b.take(), ["INVITE", "ACK", "BYE"]);
    assert_eq!(b.told(), ["ended BrokenMedia"]);
}

/// Else whoever forges the source of its requests has us send as much as it likes to the owner of that address.
#[test]
fn of_a_flood_of_foreign_requests_some_are_answered_and_the_trunk_s_own_all() {
    let mut b = Bench::new();
    b.endpoint.set_peers([peer().ip()].into_iter());
    b.call();
    let invite = b.sent[0].clone();
    b.take();
    let mut answers = |from, n: usize| {
        b.from = from;
        for _ in 0..n {
            b.request(&invite, "OPTIONS", 1, "x", ("", ""));
        }
        b.take().len()
    };
    assert_eq!(answers(forger(), 500), 20);
    assert_eq!(answers(peer(), 500), 500);
    assert_eq!(answers(forger(), 1), 0);
    b.pass(SECOND);
    b.take();
    b.from = forger();
    b.request(&invite, "OPTIONS", 1, "x", ("", ""));
    assert_eq!(b.take().len(), 1, "another second");
}
