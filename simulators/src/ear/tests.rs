//! The ear held against the recordings that the gateway plays, coded, softened, torn and shifted.

use super::*;
use crate::script::Dice;
use crate::trunk::g711::Law;
use std::collections::HashMap;
use std::path::PathBuf;

fn prompts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompts")
}

/// A locale's clips by name.
fn clips(locale: &str) -> HashMap<String, Vec<i16>> {
    let all = recordings::read(&prompts()).unwrap();
    all.into_iter()
        .find(|(name, _)| name == locale)
        .unwrap()
        .1
        .into_iter()
        .collect()
}

/// The clips one after the other, with so many samples of silence after each; where each begins.
fn play(clips: &HashMap<String, Vec<i16>>, names: &[&str], gap: usize) -> (Vec<i16>, Vec<usize>) {
    let mut samples = vec![0; 1234];
    let mut starts = Vec::new();
    for name in names {
        starts.push(samples.len());
        samples.extend(&clips[*name]);
        samples.extend(vec![0; gap]);
    }
    (samples, starts)
}

/// Over the line: coded and decoded, frames lost, louder or softer.
fn line(samples: &[i16], law: Law, loss: f64, gain_db: f32, seed: u64) -> Vec<i16> {
    let mut dice = Dice::new(seed);
    let gain = 10f32.powf(gain_db / 20.0);
    let mut out = Vec::new();
    for frame in samples.chunks(160) {
        let lost = dice.share() < loss;
        let octet = |s: &i16| if lost { law.silence() } else { law.encode(*s) };
        out.extend(
            frame
                .iter()
                .map(|s| (f32::from(law.decode(octet(s))) * gain) as i16),
        );
    }
    out
}

const CALL: [&str; 12] = [
    "greeting", "confirm", "code-is", "digit-4", "digit-0", "digit-8", "digit-3", "digit-3",
    "digit-9", "again", "digit-4", "goodbye",
];

#[test]
fn every_clip_of_every_locale_is_heard_under_loss_and_gain() {
    let ear = Ear::load(&prompts()).unwrap();
    for locale in ["en-US", "fr-CA", "sv-SE", "de-DE", "es-MX"] {
        let clips = clips(locale);
        let (samples, starts) = play(&clips, &CALL, 1600);
        let cases = [
            (Law::Mu, 0.0, 0.0),
            (Law::A, 0.0, -12.0),
            (Law::Mu, 0.05, 6.0),
            (Law::A, 0.05, -12.0),
            (Law::Mu, 0.05, -12.0),
        ];
        for (seed, (law, loss, gain)) in cases.into_iter().enumerate() {
            let heard = ear.listen(&line(&samples, law, loss, gain, seed as u64));
            assert_eq!(heard.names(), CALL, "{locale} {law:?} {loss} {gain}");
            assert_eq!(
                (heard.digits().as_str(), heard.locale.as_deref()),
                ("4083394", Some(locale))
            );
            assert!(heard.clips.iter().all(Clip::is_whole), "{:?}", heard.clips);
            for (clip, start) in heard.clips.iter().zip(&starts) {
                let late = clip.at.as_secs_f32() - *start as f32 / 8000.0;
                assert!((-0.001..0.1).contains(&late), "{} {late}", clip.name);
            }
        }
    }
}

#[test]
fn every_digit_is_told_from_every_other() {
    let ear = Ear::load(&prompts()).unwrap();
    for locale in ["en-US", "fr-CA", "sv-SE", "de-DE", "es-MX"] {
        let clips = clips(locale);
        let mut dice = Dice::new(11);
        for round in 0..40 {
            let code: String = (0..10)
                .map(|_| char::from(b'0' + dice.below(10) as u8))
                .collect();
            let names: Vec<String> = code.chars().map(|digit| format!("digit-{digit}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let gap = dice.below(2400) as usize;
            let (samples, _) = play(&clips, &names, gap);
            let heard = ear.listen(&line(&samples, Law::Mu, 0.05, -12.0, round));
            assert_eq!(
                heard.digits(),
                code,
                "{locale} gap {gap}: {:?}",
                heard.clips
            );
        }
    }
}

#[test]
fn one_swapped_recording_is_heard_as_what_it_is() {
    let ear = Ear::load(&prompts()).unwrap();
    let mut clips = clips("en-US");
    let names = ["digit-1", "digit-3", "digit-5"];
    let said = |clips: &HashMap<String, Vec<i16>>| {
        let (samples, _) = play(clips, &names, 1600);
        ear.listen(&line(&samples, Law::Mu, 0.05, -6.0, 3)).digits()
    };
    assert_eq!(said(&clips), "135");
    let eight = clips["digit-8"].clone();
    clips.insert("digit-3".into(), eight);
    assert_eq!(said(&clips), "185");
}

#[test]
fn what_is_cut_off_is_not_whole_and_noise_is_nothing() {
    let ear = Ear::load(&prompts()).unwrap();
    let clips = clips("en-US");
    let (samples, _) = play(&clips, &["greeting"], 0);
    let heard = ear.listen(&line(&samples[..1234 + 12_000], Law::Mu, 0.0, 0.0, 1));
    assert_eq!(heard.names(), ["greeting"]);
    assert!(
        !heard.clips[0].is_whole() && heard.clips[0].share > 0.4,
        "{:?}",
        heard.clips
    );

    let half = clips["digit-9"].len() / 2;
    let heard = ear.listen(&line(&clips["digit-9"][..half], Law::Mu, 0.0, 0.0, 1));
    assert_eq!(heard.digits(), "", "{:?}", heard.clips);

    let mut dice = Dice::new(5);
    let noise: Vec<i16> = (0..80_000).map(|_| dice.bits() as i16 / 4).collect();
    let tone: Vec<i16> = (0..80_000u32)
        .map(|at| crate::trunk::tones::Sound::Voicemail.sample(at))
        .collect();
    for nothing in [noise, tone, vec![0; 80_000], Vec::new(), vec![9; 10]] {
        assert_eq!(ear.listen(&nothing), Understood::default());
    }
}

#[test]
fn a_slip_of_a_few_milliseconds_in_a_clip_is_followed() {
    let ear = Ear::load(&prompts()).unwrap();
    let clips = clips("en-US");
    let (mut samples, _) = play(&clips, &["confirm", "digit-7"], 1600);
    samples.splice(16_000..16_000, [0; 24]);
    samples.splice(24_000..24_030, []);
    let heard = ear.listen(&line(&samples, Law::A, 0.02, 0.0, 1));
    assert_eq!(heard.names(), ["confirm", "digit-7"]);
    assert!(heard.clips.iter().all(Clip::is_whole), "{:?}", heard.clips);
}
