//! The media engine on real sockets: packets in time, keys heard, ports given back.

use super::*;
use crate::protocol::rtp::{FRAME, Sound};
use rtp_rs::{RtpPacketBuilder, RtpReader, Seq};
use std::net::{Ipv4Addr, UdpSocket};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long past anything that happens by itself on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> EngineConfig {
    EngineConfig {
        address: HOST,
        first_port: 34_000,
        last_port: 39_999,
        max_calls: 100,
        seed: 1,
    }
}

/// An engine, its events, and a runtime-free way to wait for them.
struct Bench {
    engine: Engine,
    events: mpsc::Receiver<MediaEvent>,
}

impl Bench {
    fn new() -> Bench {
        let (engine, events) = Engine::start(config()).unwrap();
        Bench { engine, events }
    }

    fn event(&mut self) -> MediaEvent {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.events.try_recv() {
                Ok(event) => return event,
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("no event: {error}"),
            }
        }
    }

    fn until(&self, id: MediaId, mut holds: impl FnMut(MediaStats) -> bool) -> MediaStats {
        let until = Instant::now() + PATIENCE;
        loop {
            let stats = self.engine.stats(id).unwrap();
            if holds(stats) {
                return stats;
            }
            assert!(Instant::now() < until, "{stats:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn far_end() -> UdpSocket {
    let socket = UdpSocket::bind((HOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn to(socket: &UdpSocket) -> Connection {
    Connection {
        remote: socket.local_addr().unwrap(),
        hears: true,
        symmetric: false,
        codec: Codec::Pcmu,
        key_type: Some(101),
    }
}

fn packet(kind: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let builder = RtpPacketBuilder::new()
        .payload_type(kind)
        .sequence(Seq::from(sequence));
    builder
        .timestamp(timestamp)
        .ssrc(9)
        .payload(payload)
        .build()
        .unwrap()
}

fn event_packet(sequence: u16, timestamp: u32, code: u8) -> Vec<u8> {
    packet(101, sequence, timestamp, &[code, 0x8a, 0x03, 0x20])
}

#[test]
fn a_recording_arrives_whole_in_order_and_evenly() {
    let mut bench = Bench::new();
    let far = far_end();
    let port = bench.engine.open().unwrap();
    let sound = Sound::encode(
        &(0..FRAME * 50)
            .map(|i| (i % 8_000 * 4) as i16)
            .collect::<Vec<_>>(),
    );
    bench.engine.connect(port.id, to(&far));
    bench
        .engine
        .play(port.id, 5, &[Segment::Sound(sound.clone())]);
    let (mut heard, mut arrivals, mut last) = (Vec::new(), Vec::new(), None);
    let mut buffer = [0; 400];
    while heard.len() < FRAME * 50 {
        let (length, from) = far.recv_from(&mut buffer).unwrap();
        assert_eq!(from, port.local);
        let reader = RtpReader::new(&buffer[..length]).unwrap();
        let sequence = u16::from(reader.sequence_number());
        assert!(last.is_none_or(|last: u16| last.wrapping_add(1) == sequence));
        last = Some(sequence);
        if !heard.is_empty() || reader.payload()[1] != 0xff {
            heard.extend_from_slice(reader.payload());
            arrivals.push(Instant::now());
        }
    }
    assert_eq!(heard, sound.octets(Codec::Pcmu));
    // The median is what the timer means; the outliers are this machine's.
    let mut gaps: Vec<Duration> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort();
    let median = gaps[gaps.len() / 2];
    assert!(
        median.abs_diff(Duration::from_millis(20)) < Duration::from_millis(5),
        "{median:?}"
    );
    // Neither too slow nor too fast as a whole.
    let whole = arrivals[arrivals.len() - 1] - arrivals[0];
    assert!(whole > Duration::from_millis(900), "{whole:?}");
    assert_eq!(
        bench.event(),
        MediaEvent::PlayDone {
            id: port.id,
            tag: 5
        }
    );
    let stats = bench.engine.close(port.id).unwrap();
    assert!(stats.sent >= 50 && stats.unsent == 0, "{stats:?}");
}

/// Sends this, and is told that nobody there listens to us.
fn is_refused(stranger: &UdpSocket, packet: &[u8], to: SocketAddr) {
    stranger.connect(to).unwrap();
    // An answer to what was sent to it before would come first.
    stranger.set_nonblocking(true).unwrap();
    let mut buffer = [0; 400];
    while stranger.recv(&mut buffer).is_ok() {}
    stranger.set_nonblocking(false).unwrap();
    stranger.send(packet).unwrap();
    let refused = stranger.recv(&mut buffer).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_key_from_the_signalled_address_counts_and_a_forged_one_does_not() {
    let mut bench = Bench::new();
    let (far, forger) = (far_end(), far_end());
    let port = bench.engine.open().unwrap();
    far.send_to(&event_packet(1, 100, 1), port.local).unwrap();
    bench.until(port.id, |stats| stats.early == 1);
    bench.engine.connect(port.id, to(&far));
    for sequence in 0..5 {
        is_refused(&forger, &event_packet(sequence, 9_000, 11), port.local);
    }
    for sequence in 0..3 {
        far.send_to(&event_packet(sequence, 500, 7), port.local)
            .unwrap();
    }
    let MediaEvent::Key {
        id, key, source, ..
    } = bench.event()
    else {
        panic!("not a key")
    };
    assert_eq!((id, key.sign(), source), (port.id, '7', KeySource::Event));
    let stats = bench.until(port.id, |stats| stats.received == 3);
    assert_eq!((stats.early, stats.ignored), (1, 0));
    // The forger does not become the far end by talking more, and the key has come once.
    is_refused(&forger, &event_packet(9, 70_000, 11), port.local);
    far.send_to(b"no RTP, but from the right place", port.local)
        .unwrap();
    bench.until(port.id, |stats| stats.ignored == 1);
    assert!(bench.events.try_recv().is_err());
}

#[test]
fn a_new_signalled_address_takes_over() {
    let mut bench = Bench::new();
    let (old, new) = (far_end(), far_end());
    let port = bench.engine.open().unwrap();
    bench.engine.connect(port.id, to(&old));
    let mut buffer = [0; 400];
    let (length, _) = old.recv_from(&mut buffer).unwrap();
    let ssrc = RtpReader::new(&buffer[..length]).unwrap().ssrc();
    bench.engine.connect(port.id, to(&new));
    let (length, _) = new.recv_from(&mut buffer).unwrap();
    assert_eq!(RtpReader::new(&buffer[..length]).unwrap().ssrc(), ssrc);
    is_refused(&old, &event_packet(1, 100, 1), port.local);
    new.send_to(&event_packet(1, 100, 2), port.local).unwrap();
    assert!(matches!(bench.event(), MediaEvent::Key { key, .. } if key.sign() == '2'));
}

#[test]
fn what_was_lost_on_the_way_is_counted() {
    let bench = Bench::new();
    let far = far_end();
    let port = bench.engine.open().unwrap();
    bench.engine.connect(port.id, to(&far));
    for sequence in (0..40u16).filter(|sequence| sequence % 4 != 1) {
        far.send_to(
            &packet(0, sequence, 160 * u32::from(sequence), &[0xff; FRAME]),
            port.local,
        )
        .unwrap();
    }
    let stats = bench.until(port.id, |stats| stats.received == 30);
    assert_eq!(stats.lost, 10);
}

#[test]
fn calls_of_one_engine_hear_each_others_keys() {
    let mut bench = Bench::new();
    let ports: Vec<MediaPort> = (0..12).map(|_| bench.engine.open().unwrap()).collect();
    for pair in ports.chunks(2) {
        for (a, b) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            // Half of them without events: the key goes as tones.
            let key_type = (a.id.0 % 4 < 2).then_some(101);
            bench.engine.connect(
                a.id,
                Connection {
                    remote: b.local,
                    hears: true,
                    symmetric: false,
                    codec: Codec::Pcma,
                    key_type,
                },
            );
        }
    }
    for pair in ports.chunks(2) {
        let keys = ['4', '2', '#'].map(|sign| Segment::Key(Key::from_char(sign).unwrap()));
        bench.engine.play(pair[0].id, 1, &keys);
    }
    let mut heard = std::collections::HashMap::new();
    let (mut ends, mut keys) = (0, 0);
    while ends < 6 || keys < 18 {
        match bench.event() {
            MediaEvent::PlayDone { tag, .. } => ends += tag,
            MediaEvent::Silent { .. } => panic!("nobody has vanished"),
            MediaEvent::Key {
                id, key, source, ..
            } => {
                heard
                    .entry((id, source))
                    .or_insert_with(String::new)
                    .push(key.sign());
                keys += 1;
            }
        }
    }
    for pair in ports.chunks(2) {
        let source = if pair[0].id.0 % 4 < 2 {
            KeySource::Event
        } else {
            KeySource::InBand
        };
        assert_eq!(
            heard.get(&(pair[1].id, source)).map(String::as_str),
            Some("42#")
        );
    }
    for port in ports {
        let stats = bench.engine.close(port.id).unwrap();
        assert_eq!(stats.lost, 0);
    }
    assert_eq!(bench.engine.dropped_events(), 0);
}

#[test]
fn a_press_by_info_is_not_counted_beside_its_event() {
    let mut bench = Bench::new();
    let far = far_end();
    let port = bench.engine.open().unwrap();
    assert!(
        !bench.engine.info(port.id, Key::POUND, Instant::now()),
        "nobody is connected"
    );
    bench.engine.connect(port.id, to(&far));
    far.send_to(&event_packet(1, 100, 11), port.local).unwrap();
    let MediaEvent::Key { at, .. } = bench.event() else {
        panic!("not a key")
    };
    assert!(!bench.engine.info(port.id, Key::POUND, at));
    assert!(bench.engine.info(port.id, Key::STAR, at));
}

#[test]
fn reports_go_to_the_port_above() {
    // A pair of far-end ports by the same means as ours.
    let (rtp, rtcp, remote) = Ports::new(HOST, 34_000, 39_999).open().unwrap();
    let (engine, _events) = Engine::start(config()).unwrap();
    let port = engine.open().unwrap();
    engine.connect(
        port.id,
        Connection {
            remote,
            hears: true,
            symmetric: false,
            codec: Codec::Pcmu,
            key_type: None,
        },
    );
    rtcp.set_nonblocking(false).unwrap();
    rtcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 200];
    let (length, from) = rtcp.recv_from(&mut buffer).unwrap();
    assert_eq!(from.port(), port.local.port() + 1);
    assert_eq!(
        (
            buffer[1],
            rtcp_types::Compound::parse(&buffer[..length])
                .unwrap()
                .count()
        ),
        (200, 2)
    );
    drop(rtp);
}

#[test]
fn ports_are_even_taken_in_turn_and_run_out() {
    let (_a, _b, found) = Ports::new(HOST, 34_000, 39_999).open().unwrap();
    drop((_a, _b));
    let first = found.port();
    let limits = EngineConfig {
        first_port: first,
        last_port: first + 5,
        max_calls: 3,
        ..config()
    };
    let (engine, _events) = Engine::start(limits).unwrap();
    let mut opened = Vec::new();
    while let Ok(port) = engine.open() {
        assert!(
            port.local.port().is_multiple_of(2)
                && port.local.port() >= first
                && port.local.port() < first + 5
        );
        opened.push(port);
    }
    assert!(!opened.is_empty() && engine.calls() == opened.len());
    // A port in use elsewhere is passed over, one given back is found again.
    let back = opened.remove(0);
    assert!(engine.close(back.id).is_some());
    assert!(engine.close(back.id).is_none());
    assert_eq!(engine.calls(), opened.len());
    assert_eq!(engine.open().unwrap().local.port(), back.local.port());
}

#[test]
fn a_range_without_a_pair_and_too_many_calls_say_so() {
    for (first, last) in [
        (34_001, 34_001),
        (34_001, 34_002),
        (34_002, 34_002),
        (35_000, 34_000),
        (65_535, 65_535),
    ] {
        let error = Ports::new(HOST, first, last)
            .open()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("{first}-{last}")) && error.contains("rtp.ports"),
            "{error}"
        );
    }
    let (engine, _events) = Engine::start(EngineConfig {
        max_calls: 1,
        ..config()
    })
    .unwrap();
    let _port = engine.open().unwrap();
    assert!(engine.open().unwrap_err().to_string().contains("max_calls"));
    assert_eq!(engine.calls(), 1);
}

#[test]
fn an_engine_that_is_dropped_gives_its_ports_back() {
    let (engine, mut events) = Engine::start(config()).unwrap();
    let port = engine.open().unwrap();
    drop(engine);
    UdpSocket::bind(port.local).unwrap();
    assert!(events.blocking_recv().is_none());
}

/// What has arrived there by now, thrown away.
fn empty(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut count = 0;
    while socket.recv(&mut [0; 400]).is_ok() {
        count += 1;
    }
    socket.set_nonblocking(false).unwrap();
    count
}

#[test]
fn on_hold_nothing_is_sent_and_tones_are_no_keys() {
    let mut bench = Bench::new();
    let far = far_end();
    let port = bench.engine.open().unwrap();
    let heard = Connection {
        key_type: None,
        ..to(&far)
    };
    let held = Connection {
        hears: false,
        ..heard
    };
    let zeros = Connection {
        remote: "0.0.0.0:9".parse().unwrap(),
        ..heard
    };
    bench.engine.connect(port.id, heard);
    far.recv(&mut [0; 400]).unwrap();
    for hold in [held, zeros] {
        bench
            .engine
            .play(port.id, 4, &[Segment::Silence(Duration::from_millis(40))]);
        bench.engine.connect(port.id, hold);
        let sent = bench.engine.stats(port.id).unwrap().sent;
        empty(&far);
        // Music with a key in it, from where the far end was last.
        let tone = crate::protocol::rtp::tone(Key::POUND, Duration::from_millis(200));
        let before = bench.engine.stats(port.id).unwrap().received;
        for (i, frame) in tone.octets(Codec::Pcmu).chunks(FRAME).enumerate() {
            let sequence = (before as u16).wrapping_add(i as u16);
            let bytes = packet(0, sequence, 160 * u32::from(sequence), frame);
            far.send_to(&bytes, port.local).unwrap();
        }
        let stats = bench.until(port.id, |stats| stats.received == before + 10);
        assert_eq!((stats.sent, empty(&far)), (sent, 0));
        bench.engine.connect(port.id, heard);
        far.recv(&mut [0; 400]).unwrap();
    }
    // Neither the key nor the end of what was interrupted.
    assert!(bench.events.try_recv().is_err());
}

#[test]
fn a_symmetric_far_end_is_taken_from_the_first_port_and_from_no_other_address() {
    let mut bench = Bench::new();
    let (signalled, behind_nat, other) = (far_end(), far_end(), far_end());
    let elsewhere = UdpSocket::bind("127.0.0.2:0").unwrap();
    let port = bench.engine.open().unwrap();
    let symmetric = Connection {
        symmetric: true,
        ..to(&signalled)
    };
    bench.engine.connect(port.id, symmetric);
    signalled.recv(&mut [0; 400]).unwrap();
    elsewhere
        .send_to(&event_packet(1, 100, 11), port.local)
        .unwrap();
    bench.until(port.id, |stats| stats.early == 1);
    other.send_to(b"no RTP", port.local).unwrap();
    bench.until(port.id, |stats| stats.ignored == 1);
    behind_nat
        .send_to(&event_packet(1, 500, 7), port.local)
        .unwrap();
    assert!(matches!(bench.event(), MediaEvent::Key { key, .. } if key.sign() == '7'));
    // Locked: packets go there, and come from there alone, also after an offer that changes nothing.
    behind_nat.recv(&mut [0; 400]).unwrap();
    bench.engine.connect(port.id, symmetric);
    for stranger in [&other, &elsewhere, &signalled] {
        stranger
            .send_to(&event_packet(9, 9_000, 11), port.local)
            .unwrap();
    }
    bench.until(port.id, |stats| stats.early == 4);
    behind_nat
        .send_to(&event_packet(2, 1_500, 8), port.local)
        .unwrap();
    assert!(matches!(bench.event(), MediaEvent::Key { key, .. } if key.sign() == '8'));
    empty(&behind_nat);
    behind_nat.recv(&mut [0; 400]).unwrap();
}

#[test]
fn a_key_from_before_the_answer_counts_for_nothing() {
    let mut bench = Bench::new();
    let far = far_end();
    let port = bench.engine.open().unwrap();
    for sequence in 0..20 {
        far.send_to(&event_packet(sequence, 100, 11), port.local)
            .unwrap();
    }
    bench.engine.connect(port.id, to(&far));
    bench.until(port.id, |stats| stats.early == 20);
    far.send_to(&event_packet(30, 5_000, 1), port.local)
        .unwrap();
    assert!(matches!(bench.event(), MediaEvent::Key { key, .. } if key.sign() == '1'));
}
