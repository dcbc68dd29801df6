//! Keys in the audio: the two tones of ITU-T Q.23, told from speech with the tolerances of Q.24.
//!
//! Blocks of 102 samples (12.75 ms) go through eight Goertzel filters. A block holds a key if one tone of
//! each group stands out of its group, the two are about equally strong, and together they are nearly all
//! there is in the block: speech seldom is. Two such blocks in a row are a press if they hold hardly anything else, else
//! three; three without it end it. Where the far end has agreed on events for its keys, tones are not expected, and only
//! three clean blocks are believed.

use std::f32::consts::TAU;
use std::time::Duration;

use super::{Key, SAMPLE_RATE, Sound};

/// Listens to linear samples at 8 kHz.
#[derive(Debug)]
pub struct ToneDetector {
    block: [f32; BLOCK],
    filled: usize,
    /// Tones are not expected: doubt them more.
    strict: bool,
    down: Option<Key>,
    candidate: Option<Candidate>,
    misses: u8,
}

/// A key that the last blocks have held.
#[derive(Debug)]
struct Candidate {
    found: Found,
    blocks: u8,
    /// Of them, those since which all were clean and alike.
    clean: u8,
}

/// What a block holds.
#[derive(Clone, Copy, Debug)]
struct Found {
    key: Key,
    /// Hardly anything but the key's tones.
    clean: bool,
    low: f32,
    high: f32,
}

impl Found {
    /// Both tones are as strong as a block before: a voice's never are for long.
    fn is_like(&self, before: &Found) -> bool {
        let alike = |a: f32, b: f32| a < b * STEADY && b < a * STEADY;
        alike(self.low, before.low) && alike(self.high, before.high)
    }
}

impl Default for ToneDetector {
    fn default() -> Self {
        ToneDetector {
            block: [0.0; BLOCK],
            filled: 0,
            strict: false,
            down: None,
            candidate: None,
            misses: 0,
        }
    }
}

impl ToneDetector {
    /// Whether the far end has another way for its keys.
    pub fn set_strict(&mut self, strict: bool) {
        self.strict = strict;
    }

    /// The next samples; calls `pressed` for each press that is now sure.
    pub fn listen(&mut self, samples: impl IntoIterator<Item = i16>, mut pressed: impl FnMut(Key)) {
        let mut samples = samples.into_iter();
        loop {
            let free = self.block.iter_mut().skip(self.filled);
            self.filled += free.zip(samples.by_ref()).fold(0, |count, (slot, sample)| {
                *slot = f32::from(sample);
                count + 1
            });
            if self.filled < BLOCK {
                return;
            }
            self.filled = 0;
            let key = key_in(&self.block);
            if let Some(key) = self.debounce(key) {
                pressed(key);
            }
        }
    }

    fn debounce(&mut self, found: Option<Found>) -> Option<Key> {
        let before = self.candidate.take();
        self.candidate = found.map(|found| {
            let (blocks, clean) = match before {
                Some(c) if c.found.key == found.key => {
                    let on = if found.is_like(&c.found) { c.clean } else { 0 };
                    (c.blocks, on)
                }
                Some(_) | None => (0, 0),
            };
            Candidate {
                found,
                blocks: blocks.saturating_add(1),
                clean: if found.clean {
                    clean.saturating_add(1)
                } else {
                    0
                },
            }
        });
        let key = found.map(|found| found.key);
        if self.down.is_some() && key == self.down {
            self.misses = 0;
            return None;
        }
        if self.down.is_some() {
            self.misses += 1;
            if self.misses >= END_BLOCKS {
                self.down = None;
            }
        }
        let sure = self.candidate.as_ref().is_some_and(|c| {
            if self.strict {
                c.clean >= SURE_BLOCKS
            } else {
                c.clean >= CLEAN_BLOCKS || c.blocks >= SURE_BLOCKS
            }
        });
        if sure {
            (self.down, self.misses) = (key, 0);
            return key;
        }
        None
    }
}

/// The key whose tones a block holds.
fn key_in(block: &[f32; BLOCK]) -> Option<Found> {
    let energy = energy(block);
    if energy < LEAST_ENERGY {
        return None;
    }
    let (low, low_power) = standing_out(block, &LOW_COEFFICIENTS)?;
    let (high, high_power) = standing_out(block, &HIGH_COEFFICIENTS)?;
    let twisted = high_power > low_power * HIGH_TWIST || low_power > high_power * LOW_TWIST;
    // Two pure tones put half of energy * BLOCK into their filters.
    let purity = 2.0 * (low_power + high_power) / (energy * BLOCK as f32);
    if twisted || purity < LEAST_PURITY {
        return None;
    }
    Key::from_char(KEYPAD[low][high]).map(|key| Found {
        key,
        clean: purity >= CLEAN,
        low: low_power,
        high: high_power,
    })
}

/// The strongest of a group, if it clearly is.
fn standing_out(block: &[f32; BLOCK], coefficients: &[f32; 4]) -> Option<(usize, f32)> {
    let powers = goertzel(block, coefficients);
    let mut best = 0;
    for i in 1..4 {
        if powers[i] > powers[best] {
            best = i;
        }
    }
    let clear = (0..4).all(|i| i == best || powers[i] * STANDS_OUT < powers[best]);
    clear.then_some((best, powers[best]))
}

/// The sum of squares, in lanes: most blocks are a pause and cost nothing more.
fn energy(block: &[f32; BLOCK]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for samples in block.chunks(lanes.len()) {
        for (lane, sample) in lanes.iter_mut().zip(samples) {
            *lane += sample * sample;
        }
    }
    lanes.iter().sum()
}

/// The power of each of four tones, side by side.
fn goertzel(block: &[f32; BLOCK], coefficients: &[f32; 4]) -> [f32; 4] {
    let (mut one, mut two) = ([0.0f32; 4], [0.0f32; 4]);
    for sample in block {
        for tone in 0..4 {
            let now = sample + coefficients[tone] * one[tone] - two[tone];
            (one[tone], two[tone]) = (now, one[tone]);
        }
    }
    std::array::from_fn(|i| one[i] * one[i] + two[i] * two[i] - coefficients[i] * one[i] * two[i])
}

/// A key as audio, 8 kHz: each tone at -8 dBm0, with soft edges.
pub fn tone(key: Key, time: Duration) -> Sound {
    let count = (time.as_micros().min(10_000_000) * u128::from(SAMPLE_RATE) / 1_000_000) as usize;
    let (low, high) = frequencies(key);
    let sample = |i: usize| {
        let edge = (i.min(count - 1 - i) as f32 / EDGE).min(1.0);
        let t = i as f32 / SAMPLE_RATE as f32;
        (edge * AMPLITUDE * ((TAU * low * t).sin() + (TAU * high * t).sin())) as i16
    };
    Sound::encode(&(0..count).map(sample).collect::<Vec<_>>())
}

/// The two tones of a key (ITU-T Q.23), hertz.
fn frequencies(key: Key) -> (f32, f32) {
    for (row, low) in KEYPAD.iter().zip(LOW) {
        for (sign, high) in row.iter().zip(HIGH) {
            if *sign == key.sign() {
                return (low, high);
            }
        }
    }
    (LOW[0], HIGH[0])
}

const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// 2 cos(2 pi f / 8000) of the two groups.
const LOW_COEFFICIENTS: [f32; 4] = [1.707_737_8, 1.645_281, 1.568_687, 1.478_204_6];
const HIGH_COEFFICIENTS: [f32; 4] = [1.164_104, 0.996_370_2, 0.798_618_4, 0.568_532_7];
const KEYPAD: [[char; 4]; 4] = [
    ['1', '2', '3', 'A'],
    ['4', '5', '6', 'B'],
    ['7', '8', '9', 'C'],
    ['*', '0', '#', 'D'],
];

/// Samples in a block: short enough for two in a tone of 40 ms, long enough to part neighbouring tones.
const BLOCK: usize = 102;
/// Blocks in a row without the key that end a press: a pause of 40 ms always has three, a drop-out of 8 ms at most two.
const END_BLOCKS: u8 = 3;
/// Two tones of about -36 dBm0 each; Q.24 asks for none below -29.
const LEAST_ENERGY: f32 = 102.0 * 350.0 * 350.0;
/// The high tone may be stronger by 6 dB (Q.24: at least 4).
const HIGH_TWIST: f32 = 4.0;
/// The low tone may be stronger by 10 dB (Q.24: at least 8).
const LOW_TWIST: f32 = 10.0;
/// A tone is 6 dB above the others of its group.
const STANDS_OUT: f32 = 4.0;
/// The share of a block's energy that is in the two tones.
const LEAST_PURITY: f32 = 0.75;
/// The same of a clean block. A tone that is off by more than one percent is never as clean.
const CLEAN: f32 = 0.85;
/// How much stronger than the one before a tone may be from block to block: 2 dB.
const STEADY: f32 = 1.6;
/// Blocks that make a press: clean ones.
const CLEAN_BLOCKS: u8 = 2;
/// Blocks that make a press: any, or clean ones where tones are not expected.
const SURE_BLOCKS: u8 = 3;
/// Peak of one tone at -8 dBm0 (0 dBm0 peaks at 22,600 of 32,124).
const AMPLITUDE: f32 = 9_000.0;
/// Samples over which a tone of ours rises and falls.
const EDGE: f32 = 24.0;

#[cfg(test)]
mod tests;
