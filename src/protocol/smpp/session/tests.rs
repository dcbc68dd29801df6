//! Sessions in made-up time: window, answers, timers, and a peer that breaks the rules.

use super::*;
use bytes::BufMut;
use proptest::prelude::*;

use crate::protocol::smpp::pdu::Sender;

fn settings() -> Settings {
    Settings {
        system_id: "mfa".into(),
        password: "secret".into(),
        system_type: String::new(),
        window: 3,
        response_timeout: Duration::from_secs(5),
        probe: Some(Duration::from_secs(30)),
    }
}

const SUBMIT: Submit<'static> = Submit {
    source: Sender {
        ton: 3,
        npi: 0,
        address: "97671",
    },
    destination: "12025550123",
    esm_class: 0,
    data_coding: 0,
    validity_s: 60,
    message: b"hello",
};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> BytesMut {
    let mut octets = BytesMut::new();
    octets.put_u32(16 + body.len() as u32);
    octets.put_u32(command);
    octets.put_u32(status);
    octets.put_u32(sequence);
    octets.put_slice(body);
    octets
}

fn hear(
    session: &mut Session,
    now: Instant,
    command: u32,
    status: u32,
    sequence: u32,
    body: &[u8],
) {
    session.receive(&mut pdu(command, status, sequence, body), now);
}

/// The PDUs written since the last look: command, status, sequence.
fn said(session: &mut Session) -> Vec<(u32, u32, u32)> {
    let mut said = Vec::new();
    while let Some(frame) = pdu::take_frame(session.output()).unwrap() {
        said.push((frame.command, frame.status, frame.sequence));
    }
    assert!(session.output().is_empty(), "half a PDU was written");
    said
}

fn events(session: &mut Session) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn bound(now: Instant) -> Session {
    let mut session = Session::new(settings(), now);
    assert_eq!(said(&mut session), [(command::BIND_TRANSCEIVER, 0, 1)]);
    hear(
        &mut session,
        now,
        command::BIND_TRANSCEIVER | command::RESPONSE,
        0,
        1,
        b"smsc\0",
    );
    assert_eq!(events(&mut session), [SessionEvent::Bound]);
    session
}

const SUBMIT_RESP: u32 = command::SUBMIT_SM | command::RESPONSE;

fn answered(token: u64, status: u32, id: &str) -> SessionEvent {
    SessionEvent::Answered {
        token,
        status,
        message_id: id.into(),
    }
}

#[test]
fn responses_find_their_submit_in_any_order_and_the_window_holds() {
    let now = Instant::now();
    let mut session = bound(now);
    for token in [10, 20, 30] {
        assert!(session.submit(token, &SUBMIT, now));
    }
    assert!(!session.submit(40, &SUBMIT, now), "the window holds three");
    let sent = said(&mut session);
    assert_eq!(sent.iter().map(|s| s.2).collect::<Vec<_>>(), [2, 3, 4]);

    hear(&mut session, now, SUBMIT_RESP, 0, 4, b"C\0");
    hear(&mut session, now, SUBMIT_RESP, 0x58, 2, b"");
    hear(&mut session, now, SUBMIT_RESP, 0, 4, b"C\0");
    hear(&mut session, now, SUBMIT_RESP, 0, 99, b"?\0");
    assert_eq!(
        events(&mut session),
        [answered(30, 0, "C"), answered(10, 0x58, "")]
    );
    assert_eq!(session.counters().stray_responses, 2);
    assert_eq!((session.room(), session.in_flight()), (2, 1));
}

#[test]
fn an_unanswered_submit_is_said_once_and_a_late_answer_still_counts() {
    let start = Instant::now();
    let mut session = bound(start);
    session.submit(10, &SUBMIT, start);
    assert_eq!(session.next_deadline(), Some(start + seconds(5)));
    session.timeout(start + seconds(4));
    assert!(events(&mut session).is_empty());
    // Something else is heard meanwhile: the peer lives, no probe is needed.
    hear(
        &mut session,
        start + seconds(4),
        command::ENQUIRE_LINK,
        0,
        1,
        &[],
    );
    session.timeout(start + seconds(5));
    assert_eq!(
        events(&mut session),
        [SessionEvent::Unanswered { token: 10 }]
    );
    assert_eq!(session.room(), 3);
    hear(
        &mut session,
        start + seconds(60),
        SUBMIT_RESP,
        0,
        2,
        b"late\0",
    );
    assert_eq!(events(&mut session), [answered(10, 0, "late")]);
}

#[test]
fn a_silent_peer_is_probed_at_once_and_given_up() {
    let start = Instant::now();
    let mut session = bound(start);
    said(&mut session);
    let sent = start + seconds(1);
    session.submit(10, &SUBMIT, sent);
    session.timeout(sent + seconds(5));
    let commands: Vec<u32> = said(&mut session).iter().map(|s| s.0).collect();
    assert_eq!(commands, [command::SUBMIT_SM, command::ENQUIRE_LINK]);
    session.timeout(sent + seconds(10));
    let expected = [
        SessionEvent::Unanswered { token: 10 },
        SessionEvent::Probe { ok: false },
        SessionEvent::Closed(Closed::ProbeUnanswered),
    ];
    assert_eq!(events(&mut session), expected);
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn probes_go_out_and_come_back() {
    let start = Instant::now();
    let mut session = bound(start);
    assert_eq!(session.next_deadline(), Some(start + seconds(30)));
    session.timeout(start + seconds(30));
    assert_eq!(said(&mut session), [(command::ENQUIRE_LINK, 0, 2)]);
    hear(
        &mut session,
        start + seconds(31),
        command::ENQUIRE_LINK | command::RESPONSE,
        0,
        2,
        &[],
    );
    assert_eq!(events(&mut session), [SessionEvent::Probe { ok: true }]);
    assert_eq!(session.next_deadline(), Some(start + seconds(60)));
}

#[test]
fn the_peers_requests_are_answered() {
    let now = Instant::now();
    let mut session = bound(now);
    hear(&mut session, now, command::ENQUIRE_LINK, 0, 70, &[]);
    hear(&mut session, now, 0x0000_0777, 0, 71, b"whatever");
    hear(&mut session, now, command::DELIVER_SM, 0, 72, b"broken");
    hear(
        &mut session,
        now,
        command::DATA_SM,
        0,
        73,
        b"\0\x01\x01123\0\0\x00456\0\x04\0\0",
    );
    hear(&mut session, now, command::ALERT_NOTIFICATION, 0, 74, &[]);
    let expected = [
        (command::ENQUIRE_LINK | command::RESPONSE, 0, 70),
        (command::GENERIC_NACK, status::UNKNOWN_COMMAND, 71),
        (
            command::DELIVER_SM | command::RESPONSE,
            status::REFUSED_FOR_GOOD,
            72,
        ),
    ];
    assert_eq!(said(&mut session), expected);
    assert_eq!(
        session.counters(),
        Counters {
            stray_responses: 0,
            unknown_commands: 1,
            malformed: 1
        }
    );
    let events = events(&mut session);
    let [SessionEvent::Delivered { deliver, sequence }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(deliver.destination.digits, "456");
    // Answered once we have it for good, and once only.
    assert_eq!((said(&mut session), session.undelivered()), (vec![], 1));
    session.delivered(*sequence);
    session.delivered(*sequence);
    let answer = (command::DATA_SM | command::RESPONSE, 0, 73);
    assert_eq!(
        (said(&mut session), session.undelivered()),
        (vec![answer], 0)
    );
}

/// A deliver_sm with nothing in it but two addresses.
const DELIVER: &[u8] = b"\0\x01\x01123\0\0\x00456\0\x04\0\0\0\0\0\0\0\0\0";

#[test]
fn what_there_is_no_room_for_is_refused_and_the_link_is_read_on() {
    let now = Instant::now();
    let mut session = bound(now);
    hear(&mut session, now, command::DELIVER_SM, 0, 5, DELIVER);
    session.refused(5);
    let deliver_resp = command::DELIVER_SM | command::RESPONSE;
    assert_eq!(said(&mut session), [(deliver_resp, status::QUEUE_FULL, 5)]);
    for n in 0..MAX_BROUGHT as u32 {
        hear(&mut session, now, command::DELIVER_SM, 0, 10 + n, DELIVER);
    }
    assert_eq!(said(&mut session), []);
    assert!(session.wants_input());
    let next = 10 + MAX_BROUGHT as u32;
    hear(&mut session, now, command::DELIVER_SM, 0, next, DELIVER);
    hear(&mut session, now, command::ENQUIRE_LINK, 0, 9, &[]);
    let probed = (command::ENQUIRE_LINK | command::RESPONSE, 0, 9);
    assert_eq!(
        said(&mut session),
        [(deliver_resp, status::QUEUE_FULL, next), probed]
    );
    assert_eq!(session.undelivered(), MAX_BROUGHT);
}

#[test]
fn a_nack_of_a_submit_is_its_answer_and_never_an_acceptance() {
    let now = Instant::now();
    let mut session = bound(now);
    session.submit(10, &SUBMIT, now);
    session.submit(20, &SUBMIT, now);
    hear(&mut session, now, command::GENERIC_NACK, 0x02, 2, &[]);
    hear(&mut session, now, command::GENERIC_NACK, 0, 3, &[]);
    assert_eq!(
        events(&mut session),
        [
            answered(10, 0x02, ""),
            answered(20, status::UNKNOWN_COMMAND, "")
        ]
    );
}

#[test]
fn a_bind_refused_unanswered_or_garbage_ends_the_session() {
    let start = Instant::now();
    let mut refused = Session::new(settings(), start);
    hear(
        &mut refused,
        start,
        command::BIND_TRANSCEIVER | command::RESPONSE,
        0x0E,
        1,
        &[],
    );
    assert_eq!(
        events(&mut refused),
        [SessionEvent::Closed(Closed::BindRefused(0x0E))]
    );
    assert!(!refused.submit(1, &SUBMIT, start));

    let mut silent = Session::new(settings(), start);
    assert_eq!(silent.next_deadline(), Some(start + seconds(5)));
    silent.timeout(start + seconds(5));
    assert_eq!(
        events(&mut silent),
        [SessionEvent::Closed(Closed::BindUnanswered)]
    );

    let mut garbage = Session::new(settings(), start);
    garbage.receive(&mut BytesMut::from(&b"HTTP/1.1 400 Bad Request"[..]), start);
    assert_eq!(
        events(&mut garbage),
        [SessionEvent::Closed(Closed::Framing(FrameError::TooLong(
            0x4854_5450
        )))]
    );
}

#[test]
fn unbinding_waits_for_the_answer_and_takes_late_responses() {
    let start = Instant::now();
    let mut session = bound(start);
    session.submit(10, &SUBMIT, start);
    session.unbind(start);
    assert_eq!(said(&mut session).last(), Some(&(command::UNBIND, 0, 3)));
    assert_eq!(session.room(), 0);
    hear(&mut session, start, SUBMIT_RESP, 0, 2, b"A\0");
    hear(
        &mut session,
        start,
        command::UNBIND | command::RESPONSE,
        0,
        3,
        &[],
    );
    assert_eq!(
        events(&mut session),
        [answered(10, 0, "A"), SessionEvent::Closed(Closed::Unbound)]
    );

    let mut left_alone = bound(start);
    left_alone.unbind(start);
    left_alone.timeout(start + seconds(5));
    assert_eq!(
        events(&mut left_alone),
        [SessionEvent::Closed(Closed::Unbound)]
    );
}

#[test]
fn the_peers_unbind_is_answered_and_what_was_never_written_is_known() {
    let now = Instant::now();
    let mut session = bound(now);
    said(&mut session);
    session.submit(10, &SUBMIT, now);
    let _written = session.output().split_to(1); // the socket took one octet of it
    session.submit(20, &SUBMIT, now);
    hear(&mut session, now, command::UNBIND, 0, 9, &[]);
    assert_eq!(
        events(&mut session),
        [SessionEvent::Closed(Closed::PeerUnbound)]
    );
    let mut lost: Vec<_> = session.unanswered().collect();
    lost.sort_unstable();
    assert_eq!(lost, [(10, true), (20, false)]);
}

#[test]
fn a_peer_that_asks_and_never_listens_is_not_read_on() {
    let now = Instant::now();
    let mut session = bound(now);
    let question = pdu(command::ENQUIRE_LINK, 0, 1, &[]);
    let mut asked = 0;
    while session.wants_input() {
        session.receive(&mut question.clone(), now);
        asked += 1;
        assert!(asked <= MAX_OUTPUT, "output grows without bound");
    }
    assert!(session.output().len() < MAX_OUTPUT + HEADERS);
    const HEADERS: usize = 1_024;
}

proptest! {
    #[test]
    fn garbage_never_panics_and_every_whole_pdu_written_is_framed(
        pieces in proptest::collection::vec((any::<u16>(), 0u32..6, 0u32..12, proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..60)
    ) {
        let start = Instant::now();
        let mut session = bound(start);
        let commands = [command::SUBMIT_SM, command::DELIVER_SM, command::DATA_SM, command::ENQUIRE_LINK, command::GENERIC_NACK, command::UNBIND];
        let mut open: std::collections::BTreeSet<u64> = Default::default();
        for (step, (jump, kind, sequence, body, response)) in pieces.into_iter().enumerate() {
            let now = start + Duration::from_millis(u64::from(jump) / 64 + step as u64 * 1_000);
            let token = step as u64;
            if session.submit(token, &SUBMIT, now) {
                open.insert(token);
            }
            let bit = if response { command::RESPONSE } else { 0 };
            session.receive(&mut pdu(commands[kind as usize] | bit, 0, sequence, &body), now);
            session.timeout(now);
            for event in events(&mut session) {
                if let SessionEvent::Answered { token, .. } = event {
                    prop_assert!(open.remove(&token), "answered twice");
                }
            }
            prop_assert!(session.in_flight() <= 3);
            said(&mut session);
        }
    }

    #[test]
    fn random_octets_close_or_wait_but_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let now = Instant::now();
        let mut session = bound(now);
        let mut input = BytesMut::from(&octets[..]);
        session.receive(&mut input, now);
        let _ = events(&mut session);
    }
}
