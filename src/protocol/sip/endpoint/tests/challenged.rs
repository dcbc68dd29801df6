//! Challenges: several realms, nonces for one use, on every kind of request.

use std::time::Duration;

use super::far_end::{Bench, SDP, peer};
use crate::protocol::sip::codec::{HeaderName, Message};

fn asks(realm: &str, nonce: &str) -> String {
    format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"\r\n")
}

fn core_asks(nonce: &str) -> String {
    asks("core", nonce).replace("Proxy-", "WWW-")
}

/// Nonce and count of each answer that a request carries: those for proxies, then those for servers.
fn carried(request: &Message) -> Vec<String> {
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap_or(("", ""));
        let end = rest.find(',').unwrap_or(rest.len());
        rest[..end].trim_matches('"').to_owned()
    };
    [HeaderName::ProxyAuthorization, HeaderName::Authorization]
        .into_iter()
        .flat_map(|name| request.lines_of(name))
        .map(|line| format!("{} {}", field(line, "nonce"), field(line, "nc")))
        .collect()
}

/// The last request sent.
fn last(b: &Bench) -> Message {
    let mut requests = b.sent.iter().filter(|m| m.method_name() != "ACK");
    requests.next_back().expect("a request").clone()
}

#[test]
fn two_challengers_in_series_with_nonces_for_one_use_are_satisfied() {
    let mut b = Bench::new();
    b.call();
    let first = last(&b);
    b.answer(&first, 407, "far", &asks("edge", "e1"), "");
    let second = last(&b);
    assert_eq!(carried(&second), ["e1 00000001"]);
    b.answer(&second, 401, "far", &core_asks("c1"), "");
    let third = last(&b);
    assert_eq!(carried(&third), ["e1 00000002", "c1 00000001"]);
    // e1 is used up.
    b.answer(&third, 407, "far", &asks("edge", "e2"), "");
    let fourth = last(&b);
    assert_eq!(carried(&fourth), ["e2 00000001", "c1 00000002"]);
    assert_eq!(fourth.cseq(), first.cseq() + 3);
    b.answer(&fourth, 200, "far", "", SDP);
    let ack = b.sent.last().expect("an ACK").clone();
    assert_eq!(ack.method_name(), "ACK");
    assert_eq!(carried(&ack), carried(&fourth), "22.1: as the INVITE");
}

#[test]
fn two_challenges_in_one_answer_are_both_answered() {
    let mut b = Bench::new();
    b.call();
    let both = format!(
        "{}{}{}",
        asks("edge", "e1"),
        asks("second", "s1"),
        core_asks("c1")
    );
    b.answer(&last(&b), 407, "far", &both, "");
    let answers = carried(&last(&b));
    assert_eq!(answers, ["e1 00000001", "s1 00000001", "c1 00000001"]);
    // One of them does not believe it: the password is wrong there.
    b.answer(&last(&b), 407, "far", &asks("second", "s2"), "");
    assert!(b.told()[0].contains("status: 407"));
}

#[test]
fn a_bye_arrives_at_whoever_wants_another_nonce_for_each_request() {
    let mut b = Bench::new();
    let call = b.call();
    b.answer(&last(&b), 407, "", &asks("edge", "e1"), "");
    b.answer(&last(&b), 200, "far", "", SDP);
    b.endpoint.hangup(b.now, call);
    b.pass(Duration::ZERO);
    let bye = last(&b);
    assert_eq!(carried(&bye), ["e1 00000002"]);
    b.answer(&bye, 407, "", &asks("edge", "e2"), "");
    let again = last(&b);
    assert_eq!(
        (again.cseq(), carried(&again)),
        (bye.cseq() + 1, vec!["e2 00000001".into()])
    );
    assert_ne!(again.header(HeaderName::Via), bye.header(HeaderName::Via));
    assert_eq!(again.header(HeaderName::To), bye.header(HeaderName::To));
    // The server behind it wants its own.
    b.answer(&again, 401, "", &core_asks("c1"), "");
    b.answer(&last(&b), 407, "", &asks("edge", "e3"), "");
    assert_eq!(carried(&last(&b)), ["e3 00000001", "c1 00000002"]);
    b.told();
    b.answer(&last(&b), 200, "", "", "");
    assert_eq!(b.told(), ["cleared"]);
}

#[test]
fn a_server_that_is_never_satisfied_ends_after_some_rounds() {
    for method in ["INVITE", "BYE"] {
        let mut b = Bench::new();
        if method == "BYE" {
            let (call, _) = b.up();
            b.endpoint.hangup(b.now, call);
            b.pass(Duration::ZERO);
        } else {
            b.call();
        }
        let mut rounds = 0;
        while b.told().iter().all(|told| told != "cleared") {
            rounds += 1;
            assert!(rounds < 10, "{method}");
            let stale = asks("edge", &rounds.to_string()).replace("qop", "stale=true, qop");
            b.answer(&last(&b), 407, "", &stale, "");
        }
        assert_eq!(rounds, 7, "{method}");
    }
}

#[test]
fn probes_and_the_byes_of_other_forks_are_challenged_too() {
    let mut b = Bench::new();
    b.endpoint
        .options(b.now, peer(), b.transport, "sip:192.0.2.9:5080");
    b.pass(Duration::ZERO);
    let probe = last(&b);
    b.answer(&probe, 401, "x", &core_asks("c1"), "");
    let again = last(&b);
    assert_eq!(
        (again.method_name(), carried(&again)),
        ("OPTIONS", vec!["c1 00000001".into()])
    );
    b.answer(&again, 200, "x", "", "");
    assert_eq!(b.told(), ["probed Some(200)"]);

    b.take();
    let (_, invite) = b.up();
    b.answer(&invite, 200, "other", "", SDP);
    let bye = last(&b);
    assert_eq!(bye.to_tag(), Some("other"));
    b.answer(&bye, 401, "", &core_asks("c9"), "");
    assert_eq!(last(&b).to_tag(), Some("other"));
    assert_eq!(carried(&last(&b)), ["c9 00000001"]);
}

#[test]
fn the_bye_of_a_call_of_an_earlier_life_is_challenged_too() {
    let mut b = Bench::new();
    b.up();
    let resume = b.resumes.pop().expect("a resume");
    let mut next = Bench::new();
    next.endpoint.end_unterminated(next.now, resume);
    next.pass(Duration::ZERO);
    let bye = last(&next);
    next.answer(&bye, 407, "", &asks("edge", "e1"), "");
    assert_eq!(carried(&last(&next)), ["e1 00000001"]);
    next.answer(&last(&next), 200, "", "", "");
    assert_eq!(next.told(), ["cleared"]);
}
