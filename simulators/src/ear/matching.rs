//! Finds the recordings of one locale in what was heard.

use super::fourier::{Complex, Fourier, SIZE};
use super::recordings::{Locale, Piece, Recording, power};
use super::{Clip, Understood};
use std::time::Duration;

/// What was heard, prepared once for every locale.
pub struct Heard {
    full: Vec<f32>,
    /// 0 where a packet is missing, else 1.
    present: Vec<f32>,
    quarter: Vec<f32>,
    /// Sums of squares of `quarter` up to each sample.
    sums: Vec<f64>,
    /// Frames of 10 ms that are audible.
    audible: Vec<bool>,
}

/// A recording found: where, how much of it, how well.
#[derive(Clone, Copy, Debug)]
struct Found {
    recording: usize,
    start: usize,
    end: usize,
    score: f32,
    is_whole: bool,
}

impl Heard {
    /// Samples at 8000 a second.
    pub fn new(samples: &[i16]) -> Heard {
        let full: Vec<f32> = samples.iter().map(|s| f32::from(*s)).collect();
        let quarter = quarter_rate(&full);
        let mut sums = Vec::with_capacity(quarter.len() + 1);
        let mut sum = 0.0;
        sums.push(sum);
        for sample in &quarter {
            sum += f64::from(sample * sample);
            sums.push(sum);
        }
        let audible = full
            .chunks(FRAME)
            .map(|frame| power(frame) > AUDIBLE * frame.len() as f32)
            .collect();
        Heard {
            present: present(&full),
            full,
            quarter,
            sums,
            audible,
        }
    }

    fn quarter_energy(&self, start: usize, length: usize) -> f32 {
        let end = (start + length).min(self.quarter.len());
        (self.sums[end] - self.sums[start.min(end)]) as f32
    }
}

/// What of it this locale explains.
pub fn understand(heard: &Heard, locale: &Locale, fourier: &Fourier) -> Understood {
    let mut found: Vec<Found> = candidates(heard, locale, fourier)
        .into_iter()
        .filter_map(|(recording, start)| {
            follow(heard, &locale.recordings[recording], recording, start)
        })
        .collect();
    found.sort_by(|one, other| other.weight().total_cmp(&one.weight()));
    let mut chosen: Vec<Found> = Vec::new();
    for candidate in found {
        let shared: usize = chosen.iter().map(|other| other.overlap(&candidate)).sum();
        if shared * 5 <= candidate.end - candidate.start {
            chosen.push(candidate);
        }
    }
    chosen.sort_by_key(|found| found.start);
    let all = heard.audible.iter().filter(|audible| **audible).count();
    let within: usize = chosen
        .iter()
        .flat_map(|found| {
            heard
                .audible
                .get(found.start / FRAME..(found.end / FRAME).min(heard.audible.len()))
        })
        .map(|frames| frames.iter().filter(|audible| **audible).count())
        .sum();
    let clips: Vec<Clip> = chosen.iter().map(|found| found.clip(locale)).collect();
    Understood {
        locale: (!clips.is_empty()).then(|| locale.name.clone()),
        clips,
        explained: if all == 0 {
            0.0
        } else {
            (within as f32 / all as f32).min(1.0)
        },
    }
}

impl Found {
    fn weight(&self) -> f32 {
        (self.end - self.start) as f32 * self.score
    }

    fn overlap(&self, other: &Found) -> usize {
        self.end
            .min(other.end)
            .saturating_sub(self.start.max(other.start))
    }

    fn clip(&self, locale: &Locale) -> Clip {
        let recording = &locale.recordings[self.recording];
        let share = (self.end - self.start) as f32 / recording.samples.len() as f32;
        Clip {
            name: recording.name.clone(),
            at: Duration::from_secs_f32(seconds(self.start)),
            share: if self.is_whole { 1.0 } else { share.min(0.99) },
            score: self.score,
        }
    }
}

/// Where a recording may begin: peaks of the normalised correlation at a quarter of the rate.
fn candidates(heard: &Heard, locale: &Locale, fourier: &Fourier) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    // The open peak of each recording: place and height.
    let mut peaks: Vec<Option<(usize, f32)>> = vec![None; locale.recordings.len()];
    let step = SIZE - super::recordings::PIECE / QUARTER;
    let mut product = vec![Complex::default(); SIZE];
    for start in (0..heard.quarter.len()).step_by(step) {
        if heard.quarter_energy(start, SIZE) < FAINTEST * SIZE as f32 / 10.0 {
            continue;
        }
        let end = (start + SIZE).min(heard.quarter.len());
        let spectrum = fourier.spectrum(&heard.quarter[start..end]);
        for (pair, spectra) in locale.pairs.iter().enumerate() {
            // Two correlations in one transform: both are real, so one comes back as the imaginary part.
            for ((product, heard), pair) in product.iter_mut().zip(&spectrum).zip(spectra) {
                *product = *heard * *pair;
            }
            fourier.backward(&mut product);
            for (place, part) in [
                (2 * pair, real as fn(Complex) -> f32),
                (2 * pair + 1, imaginary),
            ] {
                let Some(recording) = locale.recordings.get(place) else {
                    continue;
                };
                for (lag, value) in product[..step].iter().enumerate() {
                    let value = part(*value);
                    if value <= 0.0 {
                        continue;
                    }
                    let energy = heard.quarter_energy(start + lag, recording.probe_length);
                    let floor = FAINTEST * recording.probe_length as f32;
                    if energy < floor
                        || value * value < PEAK * PEAK * energy * recording.probe_energy
                    {
                        continue;
                    }
                    let height = value / (energy * recording.probe_energy).sqrt();
                    let at = start + lag;
                    match &mut peaks[place] {
                        Some((open, highest)) if at - *open < APART => {
                            if height > *highest {
                                (*open, *highest) = (at, height);
                            }
                        }
                        peak => {
                            if let Some((at, _)) = peak.replace((at, height)) {
                                all.push((place, at * QUARTER));
                            }
                        }
                    }
                }
            }
        }
    }
    all.extend(
        peaks
            .into_iter()
            .enumerate()
            .filter_map(|(place, peak)| Some((place, peak?.0 * QUARTER))),
    );
    all
}

fn real(value: Complex) -> f32 {
    value.re
}

fn imaginary(value: Complex) -> f32 {
    value.im
}

/// Check the beginning at full rate, then follow the recording piece by piece for as long as it was heard.
fn follow(heard: &Heard, recording: &Recording, index: usize, at: usize) -> Option<Found> {
    let first = *recording.pieces.first()?;
    let (start, score) = best_near(heard, recording, first, at as isize, FINE)?;
    if score < SURE {
        return None;
    }
    let mut slip = 0isize;
    let (mut end, mut missed, mut sum, mut count) = (first.end, 0, score, 1.0);
    let last = recording.pieces.len() - 1;
    let mut is_whole = last == 0;
    for (place, piece) in recording.pieces.iter().enumerate().skip(1) {
        if piece.is_pause {
            continue;
        }
        let wanted = start + piece.start as isize + slip;
        let mut here = correlation(heard, recording, *piece, wanted);
        if here < SURE {
            // The stream may have slipped by a few milliseconds.
            if let Some((there, better)) = best_near(heard, recording, *piece, wanted, SLIP)
                && better > here
            {
                here = better;
                slip += there - wanted;
            }
        }
        let enough = if place == last { SURE } else { LIKELY };
        if here < enough {
            missed += 1;
            if missed > 1 {
                break;
            }
            continue;
        }
        end = piece.end;
        sum += here;
        count += 1.0;
        is_whole = place == last;
    }
    let start_at = usize::try_from(start).unwrap_or(0);
    Some(Found {
        recording: index,
        start: start_at,
        end: start_at + end,
        score: sum / count,
        is_whole,
    })
}

/// The best place for a piece within `reach` samples of `at`, and its correlation.
fn best_near(
    heard: &Heard,
    recording: &Recording,
    piece: Piece,
    at: isize,
    reach: isize,
) -> Option<(isize, f32)> {
    let tried =
        (-reach..=reach).map(|off| (at + off, correlation(heard, recording, piece, at + off)));
    tried.max_by(|one, other| one.1.total_cmp(&other.1))
}

/// Normalised: 1 for the same waveform at any loudness.
fn correlation(heard: &Heard, recording: &Recording, piece: Piece, at: isize) -> f32 {
    let skip = at.min(0).unsigned_abs();
    let (from, to) = (piece.start + skip, piece.end);
    let begin = at.max(0) as usize;
    if from >= to || begin >= heard.full.len() {
        return 0.0;
    }
    let mine = &recording.samples[from..to];
    let end = (begin + mine.len()).min(heard.full.len());
    let (theirs, present) = (&heard.full[begin..end], &heard.present[begin..end]);
    let (mut product, mut energy, mut missing) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let lanes = mine
        .chunks_exact(LANES)
        .zip(theirs.chunks_exact(LANES))
        .zip(present.chunks_exact(LANES));
    for ((a, b), present) in lanes {
        for lane in 0..LANES {
            product[lane] += a[lane] * b[lane] * present[lane];
            energy[lane] += b[lane] * b[lane] * present[lane];
            missing[lane] += a[lane] * a[lane] * (1.0 - present[lane]);
        }
    }
    let (product, energy) = (product.iter().sum::<f32>(), energy.iter().sum::<f32>());
    // What the missing packets carried is no evidence, neither for nor against; but enough must be left.
    let left = piece.energy - missing.iter().sum::<f32>();
    if energy < FAINTEST * theirs.len() as f32 / 4.0 || left < LEFT * piece.energy {
        return 0.0;
    }
    product / (energy * left).sqrt()
}

/// Where packets are: a pause of exact silence of at most [`LONGEST_LOSS`] inside of sound is a hole.
fn present(samples: &[f32]) -> Vec<f32> {
    let mut present = vec![1.0; samples.len()];
    let mut start = 0;
    for at in 1..=samples.len() {
        if at < samples.len() && samples[at] == samples[start] {
            continue;
        }
        if (SHORTEST_LOSS..=LONGEST_LOSS).contains(&(at - start)) {
            present[start..at].fill(0.0);
        }
        start = at;
    }
    present
}

/// A quarter of the rate: what is above 800 Hz taken off, every fourth sample kept.
pub fn quarter_rate(samples: &[f32]) -> Vec<f32> {
    let half = TAPS / 2;
    let mut taps = [0f32; TAPS];
    for (at, tap) in taps.iter_mut().enumerate() {
        let off = at as f32 - half as f32;
        let x = std::f32::consts::PI * off * 2.0 * CUT / 8000.0;
        let sinc = if off == 0.0 { 1.0 } else { x.sin() / x };
        let window = 0.54 + 0.46 * (std::f32::consts::PI * off / (half as f32 + 1.0)).cos();
        *tap = sinc * window * 2.0 * CUT / 8000.0;
    }
    let value = |centre: usize| {
        let from = centre.saturating_sub(half);
        let to = (centre + half + 1).min(samples.len());
        let taps = &taps[half + from - centre..];
        samples[from..to]
            .iter()
            .zip(taps)
            .map(|(sample, tap)| sample * tap)
            .sum()
    };
    (0..samples.len()).step_by(QUARTER).map(value).collect()
}

/// Of so many samples.
pub fn seconds(samples: usize) -> f32 {
    samples as f32 / 8000.0
}

/// Full rate to a quarter of it.
pub const QUARTER: usize = 4;
const TAPS: usize = 33;
const CUT: f32 = 700.0;
const LANES: usize = 8;
/// 10 ms.
const FRAME: usize = 80;
/// Mean square of an audible frame.
const AUDIBLE: f32 = 10_000.0;
/// Mean square below which nothing is compared.
const FAINTEST: f32 = 200.0;
/// Correlation at a quarter of the rate that is worth a look.
const PEAK: f32 = 0.5;
/// Peaks of one recording are so far apart (a quarter of the rate): 4 ms, less than a period of any voice.
const APART: usize = 8;
/// Correlation at full rate that settles it.
const SURE: f32 = 0.72;
/// The least of a piece's energy that must have come.
const LEFT: f32 = 0.25;
/// One packet, and up to three, in samples; a neighbour's silent edges may lengthen it.
const SHORTEST_LOSS: usize = 150;
const LONGEST_LOSS: usize = 520;
/// Enough for a piece in the middle.
const LIKELY: f32 = 0.6;
/// Samples around a peak that are tried at full rate.
const FINE: isize = 4;
/// Samples by which a stream may have slipped: 5 ms.
const SLIP: isize = 40;
