//! Speech: the recordings of `prompts/<locale>/`, checked and encoded once, and the choice of a voice for a
//! person's locale.
//!
//! `ringback check` shows every fault of the directory; a gateway starts only without any. Knows nothing of
//! calls: what is said when is `carrier::sip::call_script`'s matter.

mod wav;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::rtp::{SAMPLE_RATE, Segment, Sound};
use crate::telemetry::descriptors;

use self::wav::WavError;

/// What a voice can say: a recording of its own, or for two of them the one that stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clip {
    Zero,
    One,
    Two,
    Three,
    Four,
    Five,
    Six,
    Seven,
    Eight,
    Nine,
    /// Who is calling, and about what.
    Greeting,
    /// Press # to approve, hang up if it was not you.
    Confirm,
    /// The sign-in is approved, goodbye.
    Approved,
    /// Press any key to hear your code.
    CodeIntro,
    /// Your code is.
    CodeIs,
    /// Once more.
    Again,
    /// Nobody answered us, goodbye.
    NoKey,
    Goodbye,
    /// That was another key than the one asked for.
    WrongKey,
    /// The sign-in is not approved, goodbye.
    NotApproved,
}

impl Clip {
    pub const ALL: [Clip; CLIPS] = [
        Clip::Zero,
        Clip::One,
        Clip::Two,
        Clip::Three,
        Clip::Four,
        Clip::Five,
        Clip::Six,
        Clip::Seven,
        Clip::Eight,
        Clip::Nine,
        Clip::Greeting,
        Clip::Confirm,
        Clip::Approved,
        Clip::CodeIntro,
        Clip::CodeIs,
        Clip::Again,
        Clip::NoKey,
        Clip::Goodbye,
        Clip::WrongKey,
        Clip::NotApproved,
    ];

    /// The file's name without `.wav`.
    pub fn name(self) -> &'static str {
        match self {
            Clip::Zero => "digit-0",
            Clip::One => "digit-1",
            Clip::Two => "digit-2",
            Clip::Three => "digit-3",
            Clip::Four => "digit-4",
            Clip::Five => "digit-5",
            Clip::Six => "digit-6",
            Clip::Seven => "digit-7",
            Clip::Eight => "digit-8",
            Clip::Nine => "digit-9",
            Clip::Greeting => "greeting",
            Clip::Confirm => "confirm",
            Clip::Approved => "approved",
            Clip::CodeIntro => "code-intro",
            Clip::CodeIs => "code-is",
            Clip::Again => "again",
            Clip::NoKey => "no-key",
            Clip::Goodbye => "goodbye",
            Clip::WrongKey => "wrong-key",
            Clip::NotApproved => "not-approved",
        }
    }

    /// What is said where this recording is not there: directories made before it existed stay good.
    fn stand_in(self) -> Option<Clip> {
        if self == Clip::WrongKey {
            return Some(Clip::Again);
        }
        (self == Clip::NotApproved).then_some(Clip::Goodbye)
    }

    /// The recording of `0`-`9`.
    pub fn digit(digit: char) -> Option<Clip> {
        let value = digit.to_digit(10)?;
        Clip::ALL.get(value as usize).copied()
    }
}

/// All recordings of one locale; has every clip.
pub struct Voice {
    locale: Arc<str>,
    sounds: [Sound; CLIPS],
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Voice({})", self.locale)
    }
}

impl Voice {
    /// BCP 47, as the directory is called.
    pub fn locale(&self) -> &str {
        &self.locale
    }

    pub fn say(&self, clip: Clip) -> Segment {
        Segment::Sound(self.sounds[clip as usize].clone())
    }

    /// A code, digit by digit with pauses. What is no digit is not said.
    pub fn spell(&self, code: &str) -> Vec<Segment> {
        let digits = code.chars().filter_map(Clip::digit);
        digits
            .flat_map(|digit| [self.say(digit), Segment::Silence(DIGIT_GAP)])
            .collect()
    }
}

/// The voices of a prompts directory. [`DEFAULT_LOCALE`] is always among them.
#[derive(Debug)]
pub struct Catalogue {
    voices: Vec<Arc<Voice>>,
    default: Arc<Voice>,
}

impl Catalogue {
    /// Reads `dir/<locale>/<clip>.wav` for every locale there is. All faults at once.
    pub fn load(dir: &Path) -> Result<Catalogue, Vec<PromptFault>> {
        let mut faults = Vec::new();
        let mut voices = Vec::new();
        for (locale, place) in locales(dir, &mut faults) {
            voices.extend(load_voice(&locale, &place, &mut faults).map(Arc::new));
        }
        let default = voices
            .iter()
            .find(|voice| voice.locale() == DEFAULT_LOCALE)
            .cloned();
        if default.is_none()
            && !faults
                .iter()
                .any(|fault| fault.place.starts_with(dir.join(DEFAULT_LOCALE)))
        {
            faults.push(PromptFault::new(
                dir.join(DEFAULT_LOCALE),
                "missing: it speaks to everyone whose own language is not there; restore it from the distribution",
            ));
        }
        match default {
            Some(default) if faults.is_empty() => Ok(Catalogue { voices, default }),
            _ => Err(faults),
        }
    }

    /// The voice for a BCP 47 locale: the same, else a wider one (`fr` for `fr-CA-x`), else one of the same
    /// language (`sv-SE` for `sv`), else the default.
    pub fn best(&self, locale: &str) -> &Arc<Voice> {
        let wanted = normal(locale);
        let named = |tag: &str| {
            self.voices
                .iter()
                .find(|voice| normal(voice.locale()) == tag)
        };
        let mut tag = wanted.as_str();
        loop {
            if let Some(voice) = named(tag) {
                return voice;
            }
            match tag.rfind('-') {
                Some(at) => tag = &tag[..at],
                None => break,
            }
        }
        // What is left of the tag is the language.
        let speaks = |voice: &&Arc<Voice>| normal(voice.locale()).split('-').next() == Some(tag);
        let same = Some(&self.default)
            .filter(speaks)
            .or_else(|| self.voices.iter().find(speaks));
        same.unwrap_or(&self.default)
    }

    pub fn voices(&self) -> impl Iterator<Item = &Arc<Voice>> {
        self.voices.iter()
    }
}

/// Something wrong with a file or directory, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptFault {
    pub place: PathBuf,
    pub what: String,
}

impl PromptFault {
    fn new(place: PathBuf, what: impl Into<String>) -> PromptFault {
        PromptFault {
            place,
            what: what.into(),
        }
    }
}

impl fmt::Display for PromptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.display(), self.what)
    }
}

impl std::error::Error for PromptFault {}

/// The locales of a directory, by name.
fn locales(dir: &Path, faults: &mut Vec<PromptFault>) -> Vec<(String, PathBuf)> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(PromptFault::new(
                dir.to_owned(),
                format!("the prompts can't be read: {}", descriptors::words(&error)),
            ));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let place = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if !place.is_dir() || name.starts_with('.') {
            continue;
        }
        if is_tag(&name) {
            found.push((name, place));
        } else {
            faults.push(PromptFault::new(
                place,
                "not a BCP 47 locale such as sv-SE; rename or remove it",
            ));
        }
    }
    found.sort();
    if found.len() > MAX_VOICES {
        faults.push(PromptFault::new(
            dir.to_owned(),
            format!("{} locales; at most {MAX_VOICES}", found.len()),
        ));
        found.truncate(MAX_VOICES);
    }
    found
}

fn is_tag(name: &str) -> bool {
    let part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    name.split('-').all(part)
        && name
            .split('-')
            .next()
            .is_some_and(|language| language.len() >= 2)
}

fn normal(locale: &str) -> String {
    locale.trim().replace('_', "-").to_ascii_lowercase()
}

fn load_voice(locale: &str, place: &Path, faults: &mut Vec<PromptFault>) -> Option<Voice> {
    let mut sounds: Vec<Sound> = Vec::with_capacity(CLIPS);
    for clip in Clip::ALL {
        let file = place.join(clip.name()).with_extension("wav");
        // The one that stands in comes earlier.
        let stand_in = clip.stand_in().and_then(|other| sounds.get(other as usize));
        if let Some(sound) = stand_in.filter(|_| !file.exists()).cloned() {
            sounds.push(sound);
            continue;
        }
        match load_clip(&file) {
            Ok(sound) => sounds.push(sound),
            Err(error) => faults.push(PromptFault::new(file, error.to_string())),
        }
    }
    let sounds = <[Sound; CLIPS]>::try_from(sounds).ok()?;
    Some(Voice {
        locale: locale.into(),
        sounds,
    })
}

/// Why a recording can't be taken.
#[derive(Debug, thiserror::Error)]
enum ClipError {
    #[error("missing: record it, or render it with scripts/prompts")]
    Missing,
    #[error("can't be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("{0} octets; at most {MAX_OCTETS}")]
    TooLarge(u64),
    #[error(transparent)]
    Wav(#[from] WavError),
    #[error("empty: record it again")]
    Empty,
    #[error("{0} seconds; at most {max}: shorten it", max = MAX_TIME.as_secs())]
    TooLong(u64),
}

fn load_clip(file: &Path) -> Result<Sound, ClipError> {
    let octets = match fs::metadata(file) {
        Ok(about) => about.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ClipError::Missing),
        Err(error) => return Err(error.into()),
    };
    if octets > MAX_OCTETS {
        return Err(ClipError::TooLarge(octets));
    }
    let bytes = crate::regular::read(file)?;
    Ok(Sound::encode(&samples(&bytes)?))
}

/// The samples of a WAV file, if it is one that a phone line carries as it is.
fn samples(bytes: &[u8]) -> Result<Vec<i16>, ClipError> {
    let samples = wav::samples(bytes)?;
    if samples.is_empty() {
        return Err(ClipError::Empty);
    }
    let time = samples.len() as u64 / u64::from(SAMPLE_RATE);
    if samples.len() as u64 > MAX_TIME.as_secs() * u64::from(SAMPLE_RATE) {
        return Err(ClipError::TooLong(time));
    }
    Ok(samples)
}

/// Speaks to everyone whose language has no voice.
pub const DEFAULT_LOCALE: &str = "en-US";
/// The longest recording.
pub const MAX_TIME: Duration = Duration::from_secs(20);
/// The largest file.
pub const MAX_OCTETS: u64 = 1_000_000;
/// Locales in one directory.
const MAX_VOICES: usize = 100;
/// The pause after each digit of a code, long enough to write it down.
const DIGIT_GAP: Duration = Duration::from_millis(350);
/// How to make a file right.
const CONVERT: &str = "sox in.wav -r 8000 -c 1 -b 16 out.wav";
const CLIPS: usize = 20;

#[cfg(test)]
mod tests;
