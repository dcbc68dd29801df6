//! In-band keys: heard under noise and gain, and not heard in speech.

use super::*;
use crate::protocol::rtp::Codec;
use std::path::Path;

/// Two sines, with peaks; through G.711 and back, as they arrive.
fn pair(low: f32, high: f32, low_peak: f32, high_peak: f32, ms: usize) -> Vec<i16> {
    let sample = |i: usize| {
        let t = i as f32 / 8_000.0;
        let value = (low_peak * (TAU * low * t + 0.3).sin()
            + high_peak * (TAU * high * t + 1.1).sin()) as i16;
        Codec::Pcmu.decode(Codec::Pcmu.encode(value))
    };
    (0..ms * 8).map(sample).collect()
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * 8]
}

fn heard(samples: &[i16]) -> String {
    let (mut detector, mut keys) = (ToneDetector::default(), String::new());
    // As packets bring them.
    for packet in samples.chunks(160) {
        detector.listen(packet.iter().copied(), |key| keys.push(key.sign()));
    }
    keys
}

/// Alone, at every alignment to the blocks.
fn heard_at_every_offset(samples: &[i16]) -> Vec<String> {
    let at = |offset: usize| heard(&[vec![0; offset], samples.to_vec(), silence(100)].concat());
    (0..BLOCK).step_by(3).map(at).collect()
}

/// A repeatable noise of about this peak.
fn noise(peak: i32, ms: usize, mut seed: u64) -> Vec<i16> {
    let next = |_| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) as i32 % (2 * peak + 1) - peak) as i16
    };
    (0..ms * 8).map(next).collect()
}

const SIGNS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

fn all_frequencies() -> impl Iterator<Item = (char, f32, f32)> {
    SIGNS.into_iter().map(|sign| {
        let (low, high) = frequencies(Key::from_char(sign).unwrap());
        (sign, low, high)
    })
}

#[test]
fn the_coefficients_are_those_of_the_frequencies() {
    for (group, coefficients) in [(LOW, LOW_COEFFICIENTS), (HIGH, HIGH_COEFFICIENTS)] {
        for (frequency, coefficient) in group.iter().zip(coefficients) {
            assert!(
                (2.0 * (TAU * frequency / 8_000.0).cos() - coefficient).abs() < 1e-5,
                "{frequency}"
            );
        }
    }
}

#[test]
fn all_sixteen_keys_at_40_ms_and_every_alignment() {
    for (sign, low, high) in all_frequencies() {
        for got in heard_at_every_offset(&pair(low, high, 4_000.0, 4_000.0, 40)) {
            assert_eq!(got, sign.to_string());
        }
    }
}

#[test]
fn a_long_press_counts_once_and_a_pause_of_40_ms_parts_two() {
    let press = pair(941.0, 1477.0, 4_000.0, 4_000.0, 60);
    assert_eq!(heard(&pair(941.0, 1477.0, 4_000.0, 4_000.0, 3_000)), "#");
    for offset in (0..BLOCK).step_by(5) {
        let twice = [
            vec![0; offset],
            press.clone(),
            silence(40),
            press.clone(),
            silence(60),
        ]
        .concat();
        assert_eq!(heard(&twice), "##", "offset {offset}");
    }
}

#[test]
fn a_drop_out_of_a_few_ms_does_not_part_a_press() {
    let press = pair(770.0, 1336.0, 4_000.0, 4_000.0, 60);
    let broken = [press.clone(), silence(8), press, silence(60)].concat();
    assert_eq!(heard(&broken), "5");
}

#[test]
fn too_short_is_nothing() {
    for (_, low, high) in all_frequencies() {
        for got in heard_at_every_offset(&pair(low, high, 4_000.0, 4_000.0, 18)) {
            assert_eq!(got, "");
        }
    }
}

#[test]
fn frequencies_off_by_one_and_a_half_percent_count() {
    for (sign, low, high) in all_frequencies() {
        for (a, b) in [
            (1.015, 1.015),
            (0.985, 0.985),
            (1.015, 0.985),
            (0.985, 1.015),
        ] {
            let got = heard(&[pair(low * a, high * b, 4_000.0, 4_000.0, 60), silence(60)].concat());
            assert_eq!(got, sign.to_string(), "{a} {b}");
        }
    }
}

#[test]
fn twist_within_q24_counts_and_beyond_does_not() {
    let with = |high_db: f32| {
        let high_peak = 3_000.0 * 10f32.powf(high_db / 20.0);
        heard(&[pair(852.0, 1209.0, 3_000.0, high_peak, 80), silence(60)].concat())
    };
    for fine in [4.0, 2.0, 0.0, -4.0, -8.0] {
        assert_eq!(with(fine), "7", "{fine} dB");
    }
    for beyond in [9.0, -13.0] {
        assert_eq!(with(beyond), "", "{beyond} dB");
    }
}

#[test]
fn levels_from_loud_to_29_below() {
    for (peak, expected) in [(15_000.0, "#"), (800.0, "#"), (600.0, "#"), (100.0, "")] {
        assert_eq!(
            heard(&[pair(941.0, 1477.0, peak, peak, 60), silence(60)].concat()),
            expected,
            "{peak}"
        );
    }
}

#[test]
fn one_tone_a_dial_tone_and_busy_tone_are_no_keys() {
    for (low, high) in [
        (697.0, 1.0),
        (1.0, 1336.0),
        (350.0, 440.0),
        (480.0, 620.0),
        (425.0, 425.0),
        (697.0, 852.0),
    ] {
        assert_eq!(
            heard(&pair(low, high, 4_000.0, 4_000.0, 500)),
            "",
            "{low} {high}"
        );
    }
}

#[test]
fn keys_are_heard_through_noise_and_noise_alone_is_none() {
    let press: Vec<i16> = [pair(697.0, 1209.0, 3_000.0, 3_000.0, 80), silence(80)]
        .concat()
        .repeat(10);
    let noise_at = noise(800, 1_600, 7);
    let noisy: Vec<i16> = press.iter().zip(noise_at).map(|(a, b)| a + b).collect();
    assert_eq!(heard(&noisy), "1".repeat(10));
    for seed in 0..20 {
        assert_eq!(heard(&noise(12_000, 10_000, seed)), "");
    }
}

#[test]
fn talk_off_no_prompt_holds_a_key() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let (mut files, mut seconds) = (0, 0);
    for locale in std::fs::read_dir(dir).unwrap() {
        let locale = locale.unwrap().path();
        for file in locale
            .is_dir()
            .then(|| std::fs::read_dir(locale).unwrap())
            .into_iter()
            .flatten()
        {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|kind| kind != "wav") {
                continue;
            }
            let samples: Vec<i16> = hound::WavReader::open(&file)
                .unwrap()
                .samples()
                .map(|s| s.unwrap())
                .collect();
            // Loud, faint, and at several alignments to the blocks.
            for (offset, divisor) in [(0, 1), (17, 1), (34, 1), (51, 1), (68, 1), (85, 1), (25, 8)]
            {
                let shifted = [
                    vec![0; offset],
                    samples.iter().map(|s| s / divisor).collect(),
                ]
                .concat();
                assert_eq!(
                    heard(&shifted),
                    "",
                    "{} +{offset} /{divisor}",
                    file.display()
                );
                seconds += shifted.len() / 8_000;
            }
            files += 1;
        }
    }
    assert!(files >= 90 && seconds > 500, "{files} files, {seconds} s");
}

#[test]
fn our_own_tones_are_heard_after_either_codec() {
    for (sign, _, _) in all_frequencies() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let sound = tone(Key::from_char(sign).unwrap(), Duration::from_millis(100));
            let samples: Vec<i16> = sound
                .octets(codec)
                .iter()
                .map(|o| codec.decode(*o))
                .collect();
            assert_eq!(heard(&[samples, silence(60)].concat()), sign.to_string());
        }
    }
    assert_eq!(tone(Key::POUND, Duration::ZERO).duration(), Duration::ZERO);
}
