//! G.711 (PCMU, PCMA) and recordings encoded once in both, shared by all calls.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::SAMPLE_RATE;

/// The audio codec of a call, as agreed by SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
}

impl Codec {
    /// The static payload type of RFC 3551, table 4.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        }
    }

    /// The name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The octet that is heard as nothing.
    pub fn silence(self) -> u8 {
        match self {
            Codec::Pcmu => 0xff,
            Codec::Pcma => 0xd5,
        }
    }

    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Codec::Pcmu => encode_ulaw(sample),
            Codec::Pcma => encode_alaw(sample),
        }
    }

    pub fn decode(self, octet: u8) -> i16 {
        self.samples()[usize::from(octet)]
    }

    /// What each octet means.
    pub fn samples(self) -> &'static [i16; 256] {
        static PCMU: LazyLock<[i16; 256]> = LazyLock::new(|| table(decode_ulaw));
        static PCMA: LazyLock<[i16; 256]> = LazyLock::new(|| table(decode_alaw));
        match self {
            Codec::Pcmu => &PCMU,
            Codec::Pcma => &PCMA,
        }
    }
}

fn table(decode: fn(u8) -> i16) -> [i16; 256] {
    std::array::from_fn(|octet| decode(octet as u8))
}

/// A recording, encoded once in both codecs; a clone shares the octets.
#[derive(Clone)]
pub struct Sound {
    pcmu: Arc<[u8]>,
    pcma: Arc<[u8]>,
}

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sound({:?})", self.duration())
    }
}

impl Sound {
    /// From linear samples at 8 kHz.
    pub fn encode(samples: &[i16]) -> Sound {
        Sound {
            pcmu: samples.iter().map(|s| encode_ulaw(*s)).collect(),
            pcma: samples.iter().map(|s| encode_alaw(*s)).collect(),
        }
    }

    pub fn octets(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcmu => &self.pcmu,
            Codec::Pcma => &self.pcma,
        }
    }

    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.pcmu.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_decodes_to_nearly_nothing() {
        assert_eq!(Codec::Pcmu.decode(Codec::Pcmu.silence()), 0);
        assert!(Codec::Pcma.decode(Codec::Pcma.silence()).abs() <= 8);
    }

    #[test]
    fn both_codecs_keep_a_sample_within_their_step() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            for sample in (-32_000..32_000).step_by(37) {
                let sample = sample as i16;
                let back = codec.decode(codec.encode(sample));
                let error = (i32::from(back) - i32::from(sample)).abs();
                // A step is at most a sixteenth of the segment, so an error is at most a thirty-second.
                assert!(
                    error <= 16 + i32::from(sample).abs() / 16,
                    "{codec:?} {sample} -> {back}"
                );
            }
        }
    }

    #[test]
    fn a_sound_has_one_octet_a_sample_in_each_codec() {
        let sound = Sound::encode(&[0, 1000, -1000, 30_000]);
        assert_eq!(sound.octets(Codec::Pcmu).len(), 4);
        assert_eq!(sound.octets(Codec::Pcma).len(), 4);
        assert_ne!(sound.octets(Codec::Pcmu), sound.octets(Codec::Pcma));
        assert_eq!(
            Sound::encode(&vec![0; 8_000]).duration(),
            Duration::from_secs(1)
        );
    }
}
