//! Recognises which recordings were heard in a call: the listener of the simulated phones.
//!
//! ```text
//!   samples -> a quarter of the rate -> every recording's first 400 ms slid along it (by Fourier transform)
//!           -> candidates -> checked at full rate, followed to their end -> those that explain most -> clips
//! ```
//!
//! The gateway plays exactly the recordings in `prompts/<locale>/`, so what was heard is their waveform, made
//! louder or softer, with packets missing: the correlation, normalised by both energies, stays near one for the
//! right recording and far from it for any other. Nothing here knows a language. Pure but for [`Ear::load`].

mod fourier;
mod matching;
mod recordings;

use fourier::Fourier;
use recordings::Locale;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Knows the recordings of every locale.
pub struct Ear {
    fourier: Fourier,
    locales: Vec<Locale>,
    /// The locale that fitted last is tried first.
    last: AtomicUsize,
}

/// A recording that was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Its file's name without extension.
    pub name: String,
    /// From the beginning of the audio.
    pub at: Duration,
    /// How much of it was heard, 0 to 1.
    pub share: f32,
    /// The correlation over that, up to 1.
    pub score: f32,
}

impl Clip {
    /// Heard to its end.
    pub fn is_whole(&self) -> bool {
        self.share >= 1.0
    }
}

/// A locale's name, and its recordings by name.
pub type Recordings = (String, Vec<(String, Vec<i16>)>);

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Understood {
    /// The locale whose recordings explain most of it; none where nothing was recognised.
    pub locale: Option<String>,
    /// In order of time.
    pub clips: Vec<Clip>,
    /// How much of what was audible the clips explain, 0 to 1.
    pub explained: f32,
}

impl Understood {
    /// The spoken digits in order: clips `digit-0` to `digit-9` that were heard whole.
    pub fn digits(&self) -> String {
        let whole = self.clips.iter().filter(|clip| clip.is_whole());
        whole
            .filter_map(|clip| clip.name.strip_prefix("digit-"))
            .collect()
    }

    /// The names in order.
    pub fn names(&self) -> Vec<&str> {
        self.clips.iter().map(|clip| clip.name.as_str()).collect()
    }
}

impl Ear {
    /// Reads `<directory>/<locale>/*.wav`: one channel, 8000 samples of 16 bits a second.
    pub fn load(directory: &Path) -> io::Result<Ear> {
        Ok(Ear::of(recordings::read(directory)?))
    }

    /// From recordings at hand: locale, then clips by name.
    pub fn of(locales: Vec<Recordings>) -> Ear {
        let fourier = Fourier::new();
        let locales = locales
            .into_iter()
            .map(|(name, clips)| Locale::new(name, clips, &fourier))
            .collect();
        Ear {
            fourier,
            locales,
            last: AtomicUsize::new(0),
        }
    }

    /// Samples at 8000 a second.
    pub fn listen(&self, samples: &[i16]) -> Understood {
        let heard = matching::Heard::new(samples);
        let first = self.last.load(Ordering::Relaxed);
        let mut best = Understood::default();
        let mut best_at = first;
        for at in 0..self.locales.len() {
            // The locale that fitted last, then all others in turn.
            let at = (first + at) % self.locales.len();
            let understood = matching::understand(&heard, &self.locales[at], &self.fourier);
            if understood.explained > best.explained {
                best = understood;
                best_at = at;
            }
            if best.explained >= ENOUGH {
                break;
            }
        }
        self.last.store(best_at, Ordering::Relaxed);
        best
    }
}

/// A locale that explains so much is the right one.
const ENOUGH: f32 = 0.6;

#[cfg(test)]
mod tests;
