//! Reads WAV files as recorders and editors write them: RIFF chunks in any order, padded to even lengths, with whatever
//! else before and behind the samples. Takes what a phone line carries as it is, 8000 Hz mono 16-bit PCM, and says of
//! everything else what it is.

use super::{CONVERT, SAMPLE_RATE};

/// Why there are no samples to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WavError {
    #[error("not a WAV file: {0}; {CONVERT}")]
    NotWav(&'static str),
    #[error("damaged: cut short, {found} of {stated} octets are there")]
    CutShort { found: usize, stated: usize },
    #[error(
        "{} Hz, {} channel(s), {} bits {}; needs 8000 Hz mono 16-bit PCM: {CONVERT}",
        .0.rate, .0.channels, .0.bits, .0.kind()
    )]
    Form(Format),
}

/// The samples.
pub(super) fn samples(bytes: &[u8]) -> Result<Vec<i16>, WavError> {
    let not = WavError::NotWav;
    let form = (bytes.get(..4), bytes.get(8..12));
    if form != (Some(b"RIFF"), Some(b"WAVE")) {
        return Err(not("no RIFF header of a WAVE form"));
    }
    let mut format = None;
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((name, size, body)) = chunk(rest) {
        match name {
            b"fmt " => {
                format = Some(
                    body.get(..size)
                        .and_then(Format::read)
                        .ok_or_else(|| not("its format chunk is too short"))?,
                )
            }
            b"data" => {
                format
                    .ok_or_else(|| not("its samples come before their format"))?
                    .check()?;
                return data(size, body);
            }
            _ => {}
        }
        // A chunk of odd length has a pad octet behind it.
        rest = body
            .get(size.saturating_add(size % 2)..)
            .unwrap_or_default();
    }
    Err(not("it holds no samples"))
}

/// Name, stated size, and all that comes behind the head of a chunk.
fn chunk(rest: &[u8]) -> Option<(&[u8; 4], usize, &[u8])> {
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (size, body) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    Some((name, size, body))
}

fn data(size: usize, body: &[u8]) -> Result<Vec<i16>, WavError> {
    // Who writes to a pipe can't come back to fill the size in: the samples go on to the end.
    let streamed = size == 0 || size >= STREAMED;
    let octets = if streamed {
        Some(body)
    } else {
        body.get(..size)
    };
    let octets = octets.ok_or(WavError::CutShort {
        found: body.len(),
        stated: size,
    })?;
    let (pairs, _) = octets.as_chunks::<2>();
    Ok(pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
}

/// How the samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    tag: u16,
    channels: u16,
    rate: u32,
    bits: u16,
}

impl Format {
    fn read(chunk: &[u8]) -> Option<Format> {
        let short = |at: usize| {
            let octets = chunk.get(at..at + 2)?;
            Some(u16::from_le_bytes([octets[0], octets[1]]))
        };
        let tag = short(0)?;
        Some(Format {
            // In the extensible form the tag stands at the head of a longer one.
            tag: if tag == EXTENSIBLE { short(24)? } else { tag },
            channels: short(2)?,
            rate: u32::from(short(4)?) | u32::from(short(6)?) << 16,
            bits: short(14)?,
        })
    }

    fn check(self) -> Result<(), WavError> {
        if (self.tag, self.rate, self.channels, self.bits) == (PCM, SAMPLE_RATE, 1, 16) {
            return Ok(());
        }
        Err(WavError::Form(self))
    }

    fn kind(self) -> String {
        match self.tag {
            PCM => "PCM".to_owned(),
            3 => "floating point".to_owned(),
            6 => "A-law".to_owned(),
            7 => "mu-law".to_owned(),
            other => format!("in format {other}"),
        }
    }
}

const PCM: u16 = 1;
const EXTENSIBLE: u16 = 0xfffe;
/// A stated size from which on it is none: 0xffffffff, or what is left of 0x7fffffff beside a header.
const STREAMED: usize = 0x7fff_0000;
