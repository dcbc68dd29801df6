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

/// Where the far end has agreed on events for its keys.
fn strictly_heard(samples: &[i16]) -> String {
    let (mut detector, mut keys) = (ToneDetector::default(), String::new());
    detector.set_strict(true);
    detector.listen(samples.iter().copied(), |key| keys.push(key.sign()));
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

/// Every shipped recording.
fn recordings() -> Vec<(String, Vec<i16>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let mut found = Vec::new();
    for locale in std::fs::read_dir(dir).unwrap() {
        let locale = locale.unwrap().path();
        for file in locale
            .is_dir()
            .then(|| std::fs::read_dir(locale).unwrap())
            .into_iter()
            .flatten()
        {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|kind| kind == "wav") {
                let mut reader = hound::WavReader::open(&file).unwrap();
                let samples = reader.samples().map(|s| s.unwrap()).collect();
                found.push((file.display().to_string(), samples));
            }
        }
    }
    assert!(found.len() >= 100, "{} files", found.len());
    found
}

/// The same voice, quicker and higher or slower and deeper, as a codec brings it.
fn at_speed(samples: &[i16], speed: f32, codec: Codec) -> Vec<i16> {
    let count = (samples.len() as f32 / speed) as usize;
    let sample = |i: usize| {
        let place = i as f32 * speed;
        let (a, b) = (samples.get(place as usize), samples.get(place as usize + 1));
        let (a, b) = (f32::from(*a.unwrap_or(&0)), f32::from(*b.unwrap_or(&0)));
        codec.decode(codec.encode((a + (b - a) * place.fract()) as i16))
    };
    (0..count).map(sample).collect()
}

#[test]
fn talk_off_no_prompt_holds_a_key() {
    for (name, samples) in recordings() {
        // Loud, faint, and at several alignments to the blocks.
        for (offset, divisor) in [(0, 1), (17, 1), (34, 1), (51, 1), (68, 1), (85, 1), (25, 8)] {
            let shifted: Vec<i16> = vec![0; offset]
                .into_iter()
                .chain(samples.iter().map(|s| s / divisor))
                .collect();
            assert_eq!(heard(&shifted), "", "{name} +{offset} /{divisor}");
        }
    }
}

#[test]
fn talk_off_no_voice_of_any_pitch_holds_a_key_where_events_are_agreed() {
    let mut seconds = 0;
    for (name, samples) in recordings() {
        for (n, speed) in [0.75, 0.82, 0.9, 0.97, 1.04, 1.12, 1.2, 1.3]
            .into_iter()
            .enumerate()
        {
            let codec = [Codec::Pcmu, Codec::Pcma][n % 2];
            let voice = at_speed(&samples, speed, codec);
            assert_eq!(strictly_heard(&voice), "", "{name} at {speed}");
            seconds += voice.len() / 8_000;
        }
    }
    assert!(seconds > 700, "{seconds} s");
}

/// A voice made of nothing but vowels: harmonics of a wandering pitch, strong at two formants that wander too.
fn vowels(pitch: f32, seed: u64, seconds: usize) -> Vec<i16> {
    let wander = |t: f32, rate: f32, n: u64| {
        (TAU * (rate * t + ((seed * 7 + n * 13) % 97) as f32 / 97.0)).sin()
    };
    let sample = |i: usize| {
        let t = i as f32 / 8_000.0;
        // The integral of a pitch that goes up and down by a tenth.
        let phase = pitch * t - pitch * 0.1 * wander(t + 0.25, 0.7, 1) / (TAU * 0.7);
        let now = pitch * (1.0 + 0.1 * wander(t, 0.7, 1));
        let first = 780.0 + 170.0 * wander(t, 0.31, 2);
        let second = 1_400.0 + 220.0 * wander(t, 0.23, 3);
        let near = |f: f32, formant: f32| 1.0 / (1.0 + ((f - formant) / 70.0).powi(2)).sqrt();
        let harmonic = |n: u8| {
            let f = now * f32::from(n);
            (near(f, first) + 0.8 * near(f, second) + 0.02)
                * (TAU * (phase * f32::from(n)).fract()).sin()
        };
        let loudness = (TAU * 1.3 * t).sin().abs();
        ((1..=20).map(harmonic).sum::<f32>() * loudness * 6_000.0) as i16
    };
    (0..seconds * 8_000).map(sample).collect()
}

#[test]
fn talk_off_no_vowel_of_a_synthetic_voice_is_a_key_where_events_are_agreed() {
    let (mut plainly, mut strictly) = (0, 0);
    for seed in 0..96_u64 {
        let voice = vowels(90.0 + 2.0 * seed as f32, seed, 8);
        plainly += heard(&voice).len();
        strictly += strictly_heard(&voice).len();
    }
    assert_eq!(strictly, 0);
    // These voices are hard: a detector that expects tones is taken in.
    assert!(plainly > 0);
}

#[test]
fn true_tones_are_heard_where_events_are_agreed() {
    for (sign, low, high) in all_frequencies() {
        for (off, peak) in [
            (1.0, 4_000.0),
            (1.007, 4_000.0),
            (0.993, 12_000.0),
            (1.0, 800.0),
        ] {
            for offset in (0..BLOCK).step_by(9) {
                let tone = pair(low * off, high * off, peak, peak, 60);
                let samples = [vec![0; offset], tone, silence(100)].concat();
                assert_eq!(
                    strictly_heard(&samples),
                    sign.to_string(),
                    "{off} {peak} +{offset}"
                );
            }
        }
    }
    let twice = [pair(941.0, 1477.0, 4_000.0, 4_000.0, 70), silence(50)]
        .concat()
        .repeat(2);
    assert_eq!(strictly_heard(&twice), "##");
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
