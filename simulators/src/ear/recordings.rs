//! The recordings of a locale, prepared for being looked for.

use super::Recordings;
use super::fourier::{Complex, Fourier};
use super::matching::{QUARTER, quarter_rate, seconds};
use std::io;
use std::path::Path;

/// One locale.
pub struct Locale {
    /// `en-US`
    pub name: String,
    /// By name.
    pub recordings: Vec<Recording>,
    /// The spectra of the probes of two recordings each, as one: see `matching`.
    pub pairs: Vec<Vec<Complex>>,
}

/// One recording, silence around it taken off.
pub struct Recording {
    /// Its file's name without extension.
    pub name: String,
    /// At 8000 a second.
    pub samples: Vec<f32>,
    /// Pieces of it: where they begin and end.
    pub pieces: Vec<Piece>,
    /// How many samples at a quarter of the rate the probe has.
    pub probe_length: usize,
    /// The energy of the probe.
    pub probe_energy: f32,
}

/// A piece of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Its first sample.
    pub start: usize,
    /// The one after its last.
    pub end: usize,
    /// Sum of squares.
    pub energy: f32,
    /// Nothing to compare: a pause.
    pub is_pause: bool,
}

impl Locale {
    /// Prepares the clips.
    pub fn new(name: String, clips: Vec<(String, Vec<i16>)>, fourier: &Fourier) -> Locale {
        let mut recordings = Vec::new();
        let mut spectra = Vec::new();
        for (name, samples) in clips {
            if let Some((recording, probe)) = Recording::new(name, &samples) {
                recordings.push(recording);
                spectra.push(fourier.spectrum(&probe));
            }
        }
        let pair = |pair: &[Vec<Complex>]| match pair {
            [one, other] => one
                .iter()
                .zip(other)
                .map(|(a, b)| a.conj() + b.conj() * Complex::I)
                .collect(),
            [one, ..] => one.iter().map(|a| a.conj()).collect(),
            [] => Vec::new(),
        };
        Locale {
            name,
            recordings,
            pairs: spectra.chunks(2).map(pair).collect(),
        }
    }
}

impl Recording {
    /// With its probe: the beginning at a quarter of the rate. None where it is too short or silent.
    fn new(name: String, samples: &[i16]) -> Option<(Recording, Vec<f32>)> {
        let loudest = samples.iter().map(|s| s.unsigned_abs()).max()?;
        let audible = |s: &i16| s.unsigned_abs() > (loudest / 50).max(50);
        let start = samples.iter().position(audible)?;
        let end = samples.iter().rposition(audible)? + 1;
        let samples: Vec<f32> = samples[start..end].iter().map(|s| f32::from(*s)).collect();
        if samples.len() < SHORTEST {
            return None;
        }
        let mean = power(&samples) / samples.len() as f32;
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < samples.len() {
            let rest = samples.len() - start;
            // A short rest belongs to the piece before it.
            let end = if rest < PIECE + SHORTEST_PIECE {
                samples.len()
            } else {
                start + PIECE
            };
            let energy = power(&samples[start..end]);
            pieces.push(Piece {
                start,
                end,
                energy,
                is_pause: energy < mean * (end - start) as f32 / 500.0,
            });
            start = end;
        }
        let whole = quarter_rate(&samples);
        let probe: Vec<f32> = whole
            .into_iter()
            .take(pieces[0].end.min(PIECE) / QUARTER)
            .collect();
        let recording = Recording {
            name,
            samples,
            pieces,
            probe_length: probe.len(),
            probe_energy: power(&probe),
        };
        Some((recording, probe))
    }
}

/// Every `<directory>/<locale>/*.wav`.
pub fn read(directory: &Path) -> io::Result<Vec<Recordings>> {
    let mut locales = Vec::new();
    for locale in sorted(directory)? {
        if !locale.is_dir() {
            continue;
        }
        let mut clips = Vec::new();
        for file in sorted(&locale)?
            .into_iter()
            .filter(|file| file.extension().is_some_and(|e| e == "wav"))
        {
            clips.push((stem(&file), read_wav(&file)?));
        }
        locales.push((stem(&locale), clips));
    }
    Ok(locales)
}

fn sorted(directory: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let said = |fault: io::Error| {
        io::Error::new(fault.kind(), format!("{}: {fault}", directory.display()))
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(said)? {
        all.push(entry?.path());
    }
    all.sort();
    Ok(all)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn read_wav(path: &Path) -> io::Result<Vec<i16>> {
    let bad = |what: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {what}", path.display()),
        )
    };
    let bytes = std::fs::read(path)?;
    let samples = wav_samples(&bytes).ok_or_else(|| {
        bad("want a WAV file with one channel of 8000 samples of 16 bits a second: convert it")
    })?;
    if seconds(samples.len()) > MAX_SECONDS {
        return Err(bad("longer than a minute: cut it"));
    }
    Ok(samples)
}

/// The samples of a RIFF file, whatever other chunks it has; None where it is no such file or of another kind.
fn wav_samples(bytes: &[u8]) -> Option<Vec<i16>> {
    let mut rest = bytes
        .strip_prefix(b"RIFF")?
        .get(4..)?
        .strip_prefix(b"WAVE")?;
    let mut fits = false;
    loop {
        let (name, behind) = rest.split_first_chunk::<4>()?;
        let (size, body) = behind.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        if name == b"fmt " {
            // One channel, 8000 a second, and 16 bits, of whatever PCM tag.
            fits = body.get(2..8) == Some(&[1, 0, 0x40, 0x1f, 0, 0])
                && body.get(14..16) == Some(&[16, 0]);
        }
        if name == b"data" {
            // A size that nobody filled in means all that comes.
            let octets = if size == 0 {
                body
            } else {
                body.get(..size).unwrap_or(body)
            };
            let sample = |pair: &[u8]| i16::from_le_bytes([pair[0], pair[1]]);
            return fits.then(|| octets.chunks_exact(2).map(sample).collect());
        }
        rest = body.get(size + size % 2..)?;
    }
}

/// Sum of squares.
pub fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|s| s * s).sum()
}

/// A piece: 400 ms.
pub const PIECE: usize = 3200;
/// A last piece may be as short: 100 ms.
const SHORTEST_PIECE: usize = 800;
/// A recording may be as short: 80 ms.
const SHORTEST: usize = 640;
const MAX_SECONDS: f32 = 60.0;
