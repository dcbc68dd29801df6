//! The driver over real sockets, against the simulated trunk and its phones.

mod bench;
mod redirects;

use std::{path::Path, time::Duration};

use simulators::record::CallResult;
use tokio::{net::UdpSocket, time::timeout};

use super::*;
use crate::{
    carrier::{AttemptEvent, CallState, Link},
    challenge::{AttemptKey, Method},
    config::carrier::{Carry, Secret},
};
use bench::*;

#[tokio::test]
async fn each_kind_of_phone_is_reported_as_it_behaves() {
    let trunk = trunk(|_| {}).await;
    let mut b = Bench::start(config(vec![peer(Carry::Udp, trunk.address())])).await;
    let up = "accepted 1, ringing, answered, ";
    let mut calls = Vec::new();
    for (to, expected) in [
        ("+12025550123", format!("{up}key, Confirmed #")),
        ("+12025559020", "accepted 1, busy StopChannel".into()),
        (
            "+12025559021",
            "accepted 1, ringing, no_answer StopChannel".into(),
        ),
        (
            "+12025559022",
            "accepted 1, ringing, declined StopChannel".into(),
        ),
        ("+12025559024", format!("{up}NoKeypress ")),
        ("+12025559027", "accepted 1, unreachable StopChannel".into()),
        ("+12025559028", "accepted 1, throttled Later".into()),
        ("+12025559029", format!("{up}NoKeypress ")),
        ("+12025559032", format!("{up}key, Confirmed #")),
        ("+12025559033", format!("{up}key, Confirmed #")),
        ("+12025559034", format!("{up}key, Confirmed #")),
        ("+12025559035", format!("{up}NoKeypress ")),
        (
            "+12025559036",
            "accepted 1, blocked_by_operator NextCandidate".into(),
        ),
        ("+12025559037", "accepted 1, no_answer StopChannel".into()),
        ("+12025559038", format!("{up}key, Confirmed #")),
    ] {
        calls.push((b.call(to, Method::VoiceConfirm).await, to, expected));
    }
    for (key, to, expected) in calls {
        let story = b.settle(key).await;
        let plain = |story: &str| story.replace("accepted 1, ", "").replace("ringing, ", "");
        assert_eq!(plain(&story), plain(&expected), "{to}: {story}");
    }
    let call = seen(&trunk, "+12025550123").await;
    assert_eq!(
        (call.result, call.from.as_str(), call.asserted.as_deref()),
        (CallResult::Answered, CALLER, Some(CALLER))
    );
    b.drained().await;
    assert_eq!(trunk.live_calls(), 0, "no call is left up");
}

#[tokio::test]
async fn a_code_is_read_after_a_key_over_tcp_with_a_digest() {
    let trunk = trunk(|config| {
        config.credentials = Some(("mfa".into(), "sesame".into()));
        config.ear = true;
        config.prompts = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts"));
    })
    .await;
    let password = std::env::temp_dir().join(format!("ringback-sip-{}", std::process::id()));
    std::fs::write(&password, "sesame\n").expect("a file");
    let mut config = config(vec![peer(Carry::Tcp, trunk.address())]);
    sip(&mut config).username = Some("mfa".into());
    sip(&mut config).password = Some(Secret::File(password.clone()));
    let mut b = Bench::start(config).await;
    let key = b.call("+12025550123", Method::VoiceCode).await;
    let story = b.settle(key).await;
    assert!(story.ends_with("answered, key, CodeRead #"), "{story}");
    assert!(
        seen(&trunk, "+12025550123")
            .await
            .digits_heard
            .starts_with("1357")
    );
    b.drained().await;
    assert_eq!(trunk.live_calls(), 0);

    std::fs::write(&password, "wrong").expect("a file");
    let mut wrong = self::config(vec![peer(Carry::Udp, trunk.address())]);
    sip(&mut wrong).username = Some("mfa".into());
    sip(&mut wrong).password = Some(Secret::File(password.clone()));
    let mut b = Bench::start(wrong).await;
    let key = b.call("+12025550124", Method::VoiceConfirm).await;
    let story = b.settle(key).await;
    assert!(story.ends_with("carrier_fault NextCandidate"), "{story}");
    std::fs::remove_file(password).expect("removed");
}

#[tokio::test]
async fn the_second_endpoint_takes_over_and_a_dead_trunk_is_in_doubt_then_a_fault() {
    let trunk = trunk(|_| {}).await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let silent = (silent.local_addr().expect("an address"), silent);
    let refusing = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let closed = refusing.local_addr().expect("an address");
    drop(refusing);
    let mut both = config(vec![
        peer(Carry::Tcp, closed),
        peer(Carry::Udp, silent.0),
        peer(Carry::Udp, trunk.address()),
    ]);
    both.response_timeout = Duration::from_millis(300);
    let mut b = Bench::start(both).await;
    let key = b.call("+12025550123", Method::VoiceConfirm).await;
    let story = b.settle(key).await;
    assert!(story.ends_with("answered, key, Confirmed #"), "{story}");

    let mut dead = config(vec![peer(Carry::Udp, silent.0)]);
    dead.response_timeout = Duration::from_millis(300);
    let mut b = Bench::start(dead).await;
    let key = b.call("+12025550124", Method::VoiceConfirm).await;
    b.until(|b| !b.story(key).is_empty()).await;
    assert_eq!(b.story(key), ["in doubt"]);
    let mut refused = config(vec![peer(Carry::Tcp, closed)]);
    refused.probe = None;
    let mut b = Bench::start(refused).await;
    let key = b.call("+12025550124", Method::VoiceConfirm).await;
    assert_eq!(b.settle(key).await, "carrier_fault NextCandidate");
}

#[tokio::test]
async fn no_call_is_placed_past_its_deadline_and_none_rings_beyond_it() {
    let trunk = trunk(|_| {}).await;
    let mut slow = config(vec![peer(Carry::Udp, trunk.address())]);
    // The phone would be given much longer.
    sip(&mut slow).ring = LONG;
    let mut b = Bench::start(slow).await;
    let late = b
        .call_within("+12025550123", Method::VoiceConfirm, Duration::ZERO)
        .await;
    assert_eq!(b.settle(late).await, "expired StopChannel");
    assert_eq!(trunk.stats().counts.invites, 0);
    let began = std::time::Instant::now();
    let never_answers = b
        .call_within("+12025559021", Method::VoiceConfirm, Duration::from_secs(1))
        .await;
    let story = b.settle(never_answers).await;
    assert!(story.ends_with("no_answer StopChannel"), "{story}");
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    b.drained().await;
    assert_eq!(trunk.live_calls(), 0);
}

#[tokio::test]
async fn calls_are_hung_up_on_command_before_and_after_the_answer() {
    let trunk = trunk(|_| {}).await;
    let mut quiet = config(vec![peer(Carry::Udp, trunk.address())]);
    sip(&mut quiet).ring = LONG;
    sip(&mut quiet).key_wait = LONG;
    let mut b = Bench::start(quiet).await;
    let ringing = b.call("+12025559021", Method::VoiceConfirm).await;
    let talking = b.call("+12025559024", Method::VoiceConfirm).await;
    b.until(|b| {
        b.story(ringing).contains(&"ringing".into())
            && b.story(talking).contains(&"answered".into())
    })
    .await;
    b.command(CallCommand::HangUp(ringing)).await;
    b.command(CallCommand::HangUp(talking)).await;
    assert!(
        b.settle(ringing)
            .await
            .ends_with("ringing, cancelled StopChannel")
    );
    assert!(b.settle(talking).await.ends_with("answered, Cancelled "));
    b.drained().await;
    assert_eq!(trunk.live_calls(), 0);
}

#[tokio::test]
async fn calls_of_a_process_that_died_are_ended_by_the_next() {
    let trunk = trunk(|_| {}).await;
    let mut quiet = config(vec![peer(Carry::Udp, trunk.address())]);
    sip(&mut quiet).bind = free_address().into();
    sip(&mut quiet).ring = LONG;
    sip(&mut quiet).key_wait = LONG;
    let mut b = Bench::start(quiet.clone()).await;
    let ringing = b.call("+12025559021", Method::VoiceConfirm).await;
    let talking = b.call("+12025559024", Method::VoiceConfirm).await;
    b.until(|b| {
        b.story(ringing).contains(&"ringing".into())
            && b.story(talking).contains(&"answered".into())
    })
    .await;
    let last = |b: &Bench, key: AttemptKey| -> Option<CallToEnd> {
        let mut states = b.log.iter().rev().filter(|(k, _)| *k == key);
        states.find_map(|(_, e)| match e {
            AttemptEvent::CallState(state, _) => Some(CallToEnd {
                key,
                state: state.clone(),
            }),
            _ => None,
        })
    };
    let (first, second) = (
        last(&b, ringing).expect("a state"),
        last(&b, talking).expect("a state"),
    );
    b.task.abort();
    assert_eq!(trunk.live_calls(), 2);

    let unreadable = CallToEnd {
        key: ringing,
        state: CallState("{}".into()),
    };
    let _next = Bench::start_after(quiet, &[first, second, unreadable]).await;
    seen(&trunk, "+12025559021").await;
    seen(&trunk, "+12025559024").await;
    assert_eq!(trunk.live_calls(), 0);
}

#[tokio::test]
async fn no_phone_rings_for_a_call_that_a_restart_would_not_know() {
    let trunk = trunk(|_| {}).await;
    let mut b = Bench::start(config(vec![peer(Carry::Udp, trunk.address())])).await;
    b.records = false;
    let key = b.call("+12025550123", Method::VoiceConfirm).await;
    assert_eq!(b.settle(key).await, "carrier_fault NextCandidate");
    assert!(trunk.record().calls_to("+12025550123").is_empty());
    b.records = true;
    let key = b.call("+12025550124", Method::VoiceConfirm).await;
    assert!(b.settle(key).await.ends_with("Confirmed #"));
    b.drained().await;
}

#[tokio::test]
async fn strangers_are_answered_over_both_transports_and_garbage_is_survived() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let trunk = trunk(|_| {}).await;
    let address = free_address();
    let mut fixed = config(vec![peer(Carry::Udp, trunk.address())]);
    sip(&mut fixed).bind = address.into();
    let mut b = Bench::start(fixed).await;
    let request = |method: &str| {
        format!(
            "{method} sip:x@{address} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut buffer = [0; 2_000];
    for garbage in [
        &b"\0\xff\xfe"[..],
        b"INVITE",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"",
    ] {
        stranger.send_to(garbage, address).await.expect("sent");
    }
    for (method, answer) in [
        ("OPTIONS", "SIP/2.0 200"),
        ("INVITE", "SIP/2.0 403"),
        ("BYE", "SIP/2.0 481"),
    ] {
        stranger
            .send_to(request(method).as_bytes(), address)
            .await
            .expect("sent");
        let (length, _) = timeout(LONG, stranger.recv_from(&mut buffer))
            .await
            .expect("an answer")
            .expect("an answer");
        assert!(buffer[..length].starts_with(answer.as_bytes()), "{method}");
    }
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    stream
        .write_all(request("OPTIONS").as_bytes())
        .await
        .expect("sent");
    let length = timeout(LONG, stream.read(&mut buffer))
        .await
        .expect("an answer")
        .expect("an answer");
    assert!(buffer[..length].starts_with(b"SIP/2.0 200"));
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(
        timeout(LONG, stream.read(&mut buffer))
            .await
            .expect("closed")
            .ok(),
        Some(0)
    );

    let key = b.call("+12025550123", Method::VoiceConfirm).await;
    assert!(
        b.settle(key).await.ends_with("Confirmed #"),
        "and calls go on"
    );
}

#[tokio::test]
async fn probes_tell_a_trunk_that_has_gone() {
    let trunk = trunk(|_| {}).await;
    let mut probing = config(vec![peer(Carry::Udp, trunk.address())]);
    probing.response_timeout = Duration::from_millis(100);
    let mut b = Bench::start(probing).await;
    b.until(|b| b.links.contains(&Link::Probe { ok: true }))
        .await;
    trunk.stop().await;
    b.until(|b| b.links.contains(&Link::Probe { ok: false }))
        .await;
}

#[tokio::test]
async fn a_call_that_finds_no_room_for_its_audio_is_not_the_trunks_fault() {
    let trunk = trunk(|_| {}).await;
    let mut config = config(vec![peer(Carry::Udp, trunk.address())]);
    // One pair.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("a port").port() & !1;
    drop(free);
    (
        sip(&mut config).rtp.first_port,
        sip(&mut config).rtp.last_port,
    ) = (port, port + 1);
    let mut b = Bench::start(config).await;
    let first = b.call("+12025559021", Method::VoiceConfirm).await;
    let second = b.call("+12025550123", Method::VoiceConfirm).await;
    assert_eq!(b.settle(second).await, "gateway_limit Later");
    b.command(CallCommand::HangUp(first)).await;
    b.settle(first).await;
    b.drained().await;
}
