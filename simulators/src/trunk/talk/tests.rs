//! A talk held against the rules of RFC 4733 and of listening, in made-up time.

use super::*;
use crate::subscriber::VoiceBehaviour;

fn talk(keys: KeyWay, voice: VoiceBehaviour) -> Talk {
    Talk::new(Terms {
        remote: "127.0.0.1:4000".parse().unwrap(),
        law: Law::Mu,
        events: Some(101),
        keys,
        person: Person::new(voice, Duration::from_millis(200)),
        early: None,
        sound: Sound::Silence,
        keep: true,
        seed: 3,
    })
}

/// A second of tone arrives and is listened to; the packets sent and the doings.
fn run(talk: &mut Talk) -> (Vec<Vec<u8>>, Vec<Doing>) {
    let start = Instant::now();
    let payload: Vec<u8> = (0..160)
        .map(|at| Law::Mu.encode(Sound::Key('1').sample(at)))
        .collect();
    talk.answer(start);
    let (mut sent, mut doings) = (Vec::new(), Vec::new());
    for frame in 0..50u16 {
        let now = start + Duration::from_millis(20) * u32::from(frame);
        let mut bytes = Vec::new();
        let timestamp = u32::from(frame) * 160;
        Packet {
            marker: false,
            kind: 0,
            sequence: frame,
            timestamp,
            ssrc: 9,
            payload: &payload,
        }
        .write(&mut bytes);
        let spacing = talk.packet(&bytes, "127.0.0.1:4000".parse().unwrap(), 0.0, now);
        assert_eq!(spacing, (frame > 0).then_some(Duration::from_millis(20)));
        let mut out = Vec::new();
        doings.extend(talk.tick(0.0, now, &mut out));
        sent.push(out);
    }
    (sent, doings)
}

#[test]
fn a_key_press_is_start_updates_and_three_ends() {
    let mut talk = talk(KeyWay::Event(101), VoiceBehaviour::Normal);
    let (sent, doings) = run(&mut talk);
    assert!(
        matches!(
            doings.as_slice(),
            [Doing::Key {
                key: '#',
                info: false,
                ..
            }]
        ),
        "{doings:?}"
    );
    let packets: Vec<_> = sent
        .iter()
        .map(|bytes| Packet::read(bytes).unwrap())
        .collect();
    let events: Vec<_> = packets.iter().filter(|p| p.kind == 101).collect();
    let seen: Vec<_> = events
        .iter()
        .map(|p| Event::read(p.payload).unwrap())
        .map(|e| (e.code, e.end, e.duration))
        .collect();
    assert_eq!(
        seen,
        [
            (11, false, 160),
            (11, false, 320),
            (11, false, 480),
            (11, false, 640),
            (11, true, 800),
            (11, true, 800),
            (11, true, 800)
        ]
    );
    assert!(events.iter().all(|p| p.timestamp == events[0].timestamp));
    assert_eq!(events.iter().filter(|p| p.marker).count(), 1);
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
    }
    let told = talk.end();
    assert_eq!((told.arrivals.received, told.arrivals.lost()), (50, 0));
    assert!(told.faults.is_empty());
    assert_eq!(told.audio.map(|a| a.octets.len()), Some(8000));
}

#[test]
fn in_band_keys_are_tones_and_info_keys_are_asked_for() {
    let mut inband = talk(KeyWay::Inband, VoiceBehaviour::InbandDigits);
    let (sent, doings) = run(&mut inband);
    assert!(matches!(
        doings.as_slice(),
        [Doing::Key {
            key: '#',
            info: false,
            ..
        }]
    ));
    let loud = sent
        .iter()
        .filter(|bytes| is_speech(&bytes[12..], Law::Mu))
        .count();
    assert_eq!(loud, usize::from(KEY_FRAMES));
    assert!(
        sent.iter()
            .all(|bytes| Packet::read(bytes).unwrap().kind == 0)
    );

    let mut info = talk(KeyWay::Info, VoiceBehaviour::InfoDigits);
    let (sent, doings) = run(&mut info);
    assert!(matches!(
        doings.as_slice(),
        [Doing::Key {
            key: '#',
            info: true,
            ..
        }]
    ));
    assert!(!sent.iter().any(|bytes| is_speech(&bytes[12..], Law::Mu)));
}

#[test]
fn losses_leave_silence_in_place_and_strange_packets_are_named() {
    let mut talk = talk(KeyWay::Inband, VoiceBehaviour::Silent);
    let now = Instant::now();
    talk.answer(now);
    for (sequence, kind, from) in [
        (0u16, 0u8, 4000u16),
        (2, 0, 4000),
        (3, 18, 4000),
        (4, 101, 4001),
    ] {
        let mut bytes = Vec::new();
        let timestamp = u32::from(sequence) * 160;
        Packet {
            marker: false,
            kind,
            sequence,
            timestamp,
            ssrc: 9,
            payload: &[0x10; 160],
        }
        .write(&mut bytes);
        talk.packet(
            &bytes,
            SocketAddr::new([127, 0, 0, 1].into(), from),
            0.0,
            now,
        );
    }
    talk.packet(b"x", "127.0.0.1:4000".parse().unwrap(), 0.0, now);
    let told = talk.end();
    let octets = told.audio.unwrap().octets;
    assert_eq!(
        (octets[159], octets[160], octets[319], octets[320]),
        (0x10, 0xff, 0xff, 0x10)
    );
    assert_eq!(told.arrivals.lost(), 1);
    assert_eq!(told.faults.len(), 3);
}
