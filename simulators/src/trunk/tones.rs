//! What a simulated phone sends: silence, ringback, a voicemail's babble and beep, dual-tone digits.
//!
//! Pure: a sound is a function of the sample's number.

use std::f32::consts::TAU;

/// What is playing towards the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Nobody speaks.
    Silence,
    /// What a network plays while it rings (two seconds in six).
    Ringback,
    /// A voice that talks for [`GREETING`] samples, then a beep, then silence.
    Voicemail,
    /// The two tones of a key.
    Key(char),
}

impl Sound {
    /// Sample `at` of it, at 8000 a second.
    pub fn sample(self, at: u32) -> i16 {
        match self {
            Sound::Silence => 0,
            Sound::Ringback if at % 48_000 < 16_000 => tones(at, [440.0, 480.0], 3000.0),
            Sound::Ringback => 0,
            Sound::Voicemail if at < GREETING => babble(at),
            Sound::Voicemail if at < GREETING + BEEP => tones(at, [1000.0, 1000.0], 4000.0),
            Sound::Voicemail => 0,
            Sound::Key(key) => key_tones(key).map_or(0, |pair| tones(at, pair, 5000.0)),
        }
    }
}

/// The two frequencies of a key (ITU-T Q.23).
pub fn key_tones(key: char) -> Option<[f32; 2]> {
    let place = KEYS.iter().position(|k| *k == key)?;
    Some([ROWS[place / 3], COLUMNS[place % 3]])
}

/// How long a voicemail talks before it beeps, in samples.
pub const GREETING: u32 = 24_000;
const BEEP: u32 = 4_000;
const KEYS: [char; 12] = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#'];
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 3] = [1209.0, 1336.0, 1477.0];

fn tones(at: u32, pair: [f32; 2], level: f32) -> i16 {
    let wave = |frequency: f32| (TAU * (frequency * at as f32 / 8000.0).fract()).sin();
    ((wave(pair[0]) + wave(pair[1])) * level) as i16
}

/// Buzzes like a voice: five syllables in two seconds, harmonics of a wandering pitch.
fn babble(at: u32) -> i16 {
    let seconds = at as f32 / 8000.0;
    let loudness = (TAU * 1.25 * seconds).sin().abs();
    let phase = 120.0 * seconds + 2.0 * (TAU * 0.7 * seconds).sin();
    let wave: f32 = (1..=8u8)
        .map(|n| (TAU * (phase * f32::from(n)).fract()).sin() / f32::from(n))
        .sum();
    (wave * loudness * 4000.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_two_tones_and_nothing_clips() {
        assert_eq!(key_tones('#'), Some([941.0, 1477.0]));
        assert_eq!(key_tones('5'), Some([770.0, 1336.0]));
        assert_eq!(key_tones('x'), None);
        for sound in [Sound::Ringback, Sound::Voicemail, Sound::Key('#')] {
            let loudest = (0..48_000)
                .map(|at| i32::from(sound.sample(at)).abs())
                .max()
                .unwrap();
            assert!((4000..30_000).contains(&loudest), "{sound:?} {loudest}");
        }
        assert_eq!(Sound::Voicemail.sample(GREETING + BEEP), 0);
    }
}
