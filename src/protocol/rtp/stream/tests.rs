//! Streams packet by packet: order, loss, strangers, keys.

use super::*;
use crate::protocol::rtp::{FRAME_TIME, Sound, tone};
use proptest::prelude::*;
use std::time::Duration;

fn stream(seed: u64) -> Stream {
    Stream::new(StreamConfig {
        codec: Codec::Pcmu,
        key_type: Some(101),
        seed,
    })
}

fn sent(stream: &mut Stream) -> (Vec<u8>, Option<u32>) {
    let mut out = [0; SENT_PACKET];
    let (length, ended) = stream.frame(&mut out);
    (out[..length].to_vec(), ended)
}

fn packet(kind: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let builder = RtpPacketBuilder::new()
        .payload_type(kind)
        .sequence(Seq::from(sequence));
    builder
        .timestamp(timestamp)
        .ssrc(77)
        .payload(payload)
        .build()
        .unwrap()
}

fn take(
    stream: &mut Stream,
    now: Instant,
    bytes: &[u8],
) -> (Result<(), Ignored>, Vec<(char, KeySource)>) {
    let mut keys = Vec::new();
    let result = stream.packet(now, bytes, |heard| {
        keys.push((heard.key.sign(), heard.source))
    });
    (result, keys)
}

#[test]
fn packets_count_up_and_only_the_first_is_marked() {
    let mut stream = stream(1);
    let packets: Vec<Vec<u8>> = (0..200).map(|_| sent(&mut stream).0).collect();
    let readers: Vec<RtpReader> = packets
        .iter()
        .map(|bytes| RtpReader::new(bytes).unwrap())
        .collect();
    for (i, pair) in readers.windows(2).enumerate() {
        assert_eq!(pair[1].sequence_number(), pair[0].sequence_number() + 1);
        assert_eq!(pair[1].timestamp(), pair[0].timestamp().wrapping_add(160));
        assert_eq!((pair[0].mark(), pair[1].mark()), (i == 0, false));
        assert_eq!(
            (pair[0].ssrc(), pair[0].payload_type()),
            (pair[1].ssrc(), 0)
        );
        assert_eq!(pair[1].payload(), [0xff; FRAME]);
    }
}

#[test]
fn seeds_give_unrelated_streams_and_one_seed_the_same() {
    let first = |seed| sent(&mut stream(seed)).0;
    assert_eq!(first(5), first(5));
    for seed in 0..100u64 {
        let (a, b) = (first(seed), first(seed + 1));
        assert_ne!(a[8..12], b[8..12]);
        assert_ne!(a[4..8], b[4..8]);
    }
}

#[test]
fn a_key_of_ours_is_one_event_in_time_and_audio_goes_on_at_the_right_timestamp() {
    let mut stream = stream(2);
    let before = sent(&mut stream).0;
    stream.play(9, &[Segment::Key(Key::POUND)]);
    let packets: Vec<Vec<u8>> = (0..13).map(|_| sent(&mut stream).0).collect();
    let start = RtpReader::new(&before)
        .unwrap()
        .timestamp()
        .wrapping_add(160);
    for (i, bytes) in packets.iter().enumerate() {
        let reader = RtpReader::new(bytes).unwrap();
        if i < 8 {
            assert_eq!(
                (reader.payload_type(), reader.timestamp(), reader.mark()),
                (101, start, i == 0)
            );
        } else {
            let at = start.wrapping_add(160 * i as u32);
            assert_eq!(
                (reader.payload_type(), reader.timestamp(), reader.mark()),
                (0, at, i == 8)
            );
        }
    }
    // The other end hears one #.
    let mut far = self::stream(3);
    let heard: Vec<(char, KeySource)> = packets
        .iter()
        .flat_map(|p| take(&mut far, Instant::now(), p).1)
        .collect();
    assert_eq!(heard, [('#', KeySource::Event)]);
    assert_eq!(sent(&mut stream).1, Some(9));
}

#[test]
fn time_passed_over_shows_in_timestamps_only() {
    let mut stream = stream(4);
    let (a, _) = sent(&mut stream);
    stream.skip(10);
    let (b, _) = sent(&mut stream);
    let (a, b) = (RtpReader::new(&a).unwrap(), RtpReader::new(&b).unwrap());
    assert_eq!(b.sequence_number(), a.sequence_number() + 1);
    assert_eq!(b.timestamp(), a.timestamp().wrapping_add(11 * 160));
    assert!(b.mark());
}

#[test]
fn a_press_by_event_and_in_band_at_once_counts_once() {
    let (mut stream, t) = (stream(5), Instant::now());
    let audio = tone(Key::POUND, Duration::from_millis(100));
    let mut keys = Vec::new();
    for (i, frame) in audio.octets(Codec::Pcmu).chunks(FRAME).enumerate() {
        let now = t + FRAME_TIME * i as u32;
        let (sequence, timestamp) = (2 * i as u16, 160 * i as u32);
        keys.extend(take(&mut stream, now, &packet(0, sequence, timestamp, frame)).1);
        let event = packet(101, sequence + 1, 5_000, &[11, 10, 0, 160]);
        keys.extend(take(&mut stream, now, &event).1);
    }
    assert_eq!(keys, [('#', KeySource::Event)]);
    assert!(!stream.info(t + Duration::from_millis(200), Key::POUND));
    assert!(stream.info(t + Duration::from_millis(300), Key::STAR));
}

#[test]
fn a_press_in_band_alone_is_heard_in_either_codec() {
    for (kind, codec) in [(0, Codec::Pcmu), (8, Codec::Pcma)] {
        let (mut stream, t) = (stream(6), Instant::now());
        let audio = tone(Key::STAR, Duration::from_millis(80));
        let frames = audio.octets(codec).chunks(FRAME).enumerate();
        let keys: Vec<_> = frames
            .flat_map(|(i, frame)| {
                let now = t + FRAME_TIME * i as u32;
                take(
                    &mut stream,
                    now,
                    &packet(kind, i as u16, 160 * i as u32, frame),
                )
                .1
            })
            .collect();
        assert_eq!(keys, [('*', KeySource::InBand)]);
    }
}

#[test]
fn events_of_a_source_of_their_own_amid_the_audio_count_once() {
    let (mut stream, t) = (stream(13), Instant::now());
    let mut keys = Vec::new();
    for i in 0..8u16 {
        let audio = packet(0, i, 160 * u32::from(i), &[0xff; FRAME]);
        keys.extend(take(&mut stream, t, &audio).1);
        let mut event = packet(101, 40_000 + 500 * i, 5_000, &[11, 10, 0, 160]);
        // Its own source, then one with the audio's and sequence numbers of its own.
        if i < 4 {
            event[11] = 3;
        }
        keys.extend(take(&mut stream, t, &event).1);
    }
    assert_eq!(keys, [('#', KeySource::Event), ('#', KeySource::Event)]);
}

#[test]
fn repeated_and_overtaken_audio_is_not_listened_to_again() {
    let (mut stream, t) = (stream(7), Instant::now());
    let audio = tone(Key::STAR, Duration::from_millis(30));
    let frame = &audio.octets(Codec::Pcmu)[..FRAME];
    // One frame of tone, the same packet many times: 20 ms of it, not more.
    let keys: Vec<_> = (0..20)
        .flat_map(|_| take(&mut stream, t, &packet(0, 1, 160, frame)).1)
        .collect();
    assert!(keys.is_empty());
    assert_eq!(stream.reception().received, 20);
}

#[test]
fn what_was_not_agreed_is_ignored() {
    let (mut stream, t) = (stream(8), Instant::now());
    assert_eq!(
        take(&mut stream, t, b"not RTP at all, really not").0,
        Err(Ignored::Malformed)
    );
    assert_eq!(
        take(&mut stream, t, &packet(96, 1, 0, &[11, 10, 0, 160])).0,
        Err(Ignored::PayloadType)
    );
    assert_eq!(
        take(&mut stream, t, &packet(13, 1, 0, &[40])),
        (Ok(()), vec![])
    );
    assert_eq!(
        take(&mut stream, t, &packet(0, 2, 160, &[0xff; FRAME])).0,
        Ok(())
    );
    assert_eq!(
        take(&mut stream, t, &packet(0, 30_000, 160, &[0xff; FRAME])).0,
        Err(Ignored::Astray)
    );
    let mut without_events = Stream::new(StreamConfig {
        codec: Codec::Pcmu,
        key_type: None,
        seed: 1,
    });
    let event = packet(96, 1, 0, &[11, 10, 0, 160]);
    assert_eq!(
        take(&mut without_events, t, &event),
        (Err(Ignored::PayloadType), vec![])
    );
}

#[test]
fn events_count_under_our_number_and_under_theirs() {
    for key_type in [None, Some(101), Some(96)] {
        let config = StreamConfig {
            codec: Codec::Pcmu,
            key_type,
            seed: 1,
        };
        for kind in [101].into_iter().chain(key_type) {
            let event = packet(kind, 1, 0, &[11, 10, 0, 160]);
            let mut stream = Stream::new(config);
            let heard = take(&mut stream, Instant::now(), &event);
            assert_eq!(
                heard,
                (Ok(()), vec![('#', KeySource::Event)]),
                "{key_type:?} {kind}"
            );
        }
    }
}

/// What is heard of this key as tones of so long, at every alignment to packets.
fn in_band(stream: &mut Stream, from: u16, ms: u64) -> usize {
    let audio = tone(Key::STAR, Duration::from_millis(ms));
    let mut octets = audio.octets(Codec::Pcmu).to_vec();
    octets.resize(octets.len().next_multiple_of(FRAME) + FRAME * 4, 0xff);
    let t = Instant::now() + Duration::from_secs(u64::from(from));
    let frames = octets.chunks(FRAME).enumerate();
    frames
        .flat_map(|(i, frame)| {
            let sequence = from + i as u16;
            take(
                stream,
                t,
                &packet(0, sequence, 160 * u32::from(sequence), frame),
            )
            .1
        })
        .count()
}

#[test]
fn tones_are_doubted_where_events_are_agreed_and_not_heard_once_one_came() {
    let mut plain = stream(14);
    plain.change(Codec::Pcmu, None);
    assert_eq!(in_band(&mut plain, 0, 40), 1);
    let mut agreed = stream(14);
    assert_eq!(in_band(&mut agreed, 0, 30), 0);
    assert_eq!(in_band(&mut agreed, 100, 80), 1);
    let event = packet(101, 200, 32_000, &[1, 10, 0, 160]);
    assert_eq!(take(&mut agreed, Instant::now(), &event).1.len(), 1);
    assert_eq!(in_band(&mut agreed, 300, 80), 0);
}

#[test]
fn a_change_of_codec_keeps_the_place_and_the_numbers() {
    let mut stream = stream(9);
    let samples: Vec<i16> = (0..480).map(|i| (i * 60) as i16).collect();
    let sound = Sound::encode(&samples);
    stream.play(1, &[Segment::Sound(sound.clone())]);
    let (a, _) = sent(&mut stream);
    stream.change(Codec::Pcma, None);
    let (b, _) = sent(&mut stream);
    let (a, b) = (RtpReader::new(&a).unwrap(), RtpReader::new(&b).unwrap());
    assert_eq!(
        (a.payload_type(), a.payload()),
        (0, &sound.octets(Codec::Pcmu)[..160])
    );
    assert_eq!(
        (b.payload_type(), b.payload()),
        (8, &sound.octets(Codec::Pcma)[160..320])
    );
    assert_eq!(
        (b.ssrc(), b.sequence_number()),
        (a.ssrc(), a.sequence_number() + 1)
    );
}

#[test]
fn a_sender_report_counts_what_was_sent() {
    use rtcp_types::Packet;
    let mut stream = stream(10);
    let packets: Vec<Vec<u8>> = (0..7).map(|_| sent(&mut stream).0).collect();
    let mut out = [0; 128];
    let length = stream.sender_report(0x0123_4567_89ab_cdef, &mut out);
    let mut compound = Compound::parse(&out[..length]).unwrap();
    let Some(Ok(Packet::Sr(report))) = compound.next() else {
        panic!("no sender report first")
    };
    let ssrc = RtpReader::new(&packets[0]).unwrap().ssrc();
    assert_eq!(
        (report.ssrc(), report.packet_count(), report.octet_count()),
        (ssrc, 7, 7 * 160)
    );
    assert_eq!(report.ntp_timestamp(), 0x0123_4567_89ab_cdef);
    assert!(matches!(compound.next(), Some(Ok(Packet::Sdes(_)))));
    assert_eq!(stream.sender_report(0, &mut [0; 10]), 0);
}

proptest! {
    /// Nothing that arrives makes it panic, and what is no RTP presses no key.
    #[test]
    fn any_bytes_are_survived(datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..40)) {
        let mut stream = stream(11);
        for bytes in &datagrams {
            let (result, keys) = take(&mut stream, Instant::now(), bytes);
            prop_assert!(result.is_ok() || keys.is_empty());
        }
    }

    /// The same with headers that pass for ours: every length, flag, extension and padding.
    #[test]
    fn any_packet_of_ours_is_survived(
        heads in proptest::collection::vec((0x80u8..0xc0, prop_oneof![Just(0u8), Just(8), Just(101), Just(229), Just(13)]), 1..30),
        rest in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        let mut stream = stream(12);
        for (i, (first, second)) in heads.iter().enumerate() {
            let tail = &rest[..rest.len() * i / heads.len()];
            let bytes = [&[*first, *second, 0, i as u8][..], tail].concat();
            let _ = take(&mut stream, Instant::now(), &bytes);
        }
    }
}
