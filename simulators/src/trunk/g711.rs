//! G.711: PCMU and PCMA, from the formulas of the recommendation, in tables built once.

use std::sync::LazyLock;

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMU, payload type 0.
    Mu,
    /// PCMA, payload type 8.
    A,
}

impl Law {
    /// The static payload type (RFC 3551 section 6).
    pub fn payload_type(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    /// The name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        }
    }

    /// The octet that stands for silence.
    pub fn silence(self) -> u8 {
        match self {
            Law::Mu => 0xff,
            Law::A => 0xd5,
        }
    }

    /// One octet to a 16-bit sample.
    pub fn decode(self, octet: u8) -> i16 {
        match self {
            Law::Mu => MU_DECODE[usize::from(octet)],
            Law::A => A_DECODE[usize::from(octet)],
        }
    }

    /// One 16-bit sample to an octet.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => mu_encode(sample),
            Law::A => a_encode(sample),
        }
    }
}

static MU_DECODE: LazyLock<[i16; 256]> =
    LazyLock::new(|| std::array::from_fn(|octet| mu_decode(octet as u8)));
static A_DECODE: LazyLock<[i16; 256]> =
    LazyLock::new(|| std::array::from_fn(|octet| a_decode(octet as u8)));

/// Sign, three bits of exponent, four of mantissa, all inverted; steps biased by 33 (of 14 bits).
fn mu_decode(octet: u8) -> i16 {
    let octet = !octet;
    let exponent = (octet >> 4) & 7;
    let magnitude = (((i16::from(octet & 15) << 1) + 33) << exponent) - 33;
    let sample = magnitude << 2;
    if octet & 0x80 != 0 { -sample } else { sample }
}

fn mu_encode(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() >> 2).min(8158) + 33;
    // The place of the highest bit: 5 for the bias alone, up to 12.
    let exponent = (31 - magnitude.leading_zeros() as i32) - 5;
    let mantissa = (magnitude >> (exponent + 1)) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// Sign (set for positive), exponent, mantissa; even bits inverted.
fn a_decode(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let (exponent, mantissa) = ((octet >> 4) & 7, i16::from(octet & 15));
    let magnitude = match exponent {
        0 => (mantissa << 1) + 1,
        _ => ((mantissa << 1) + 33) << (exponent - 1),
    };
    let sample = magnitude << 3;
    if octet & 0x80 != 0 { sample } else { -sample }
}

fn a_encode(sample: i16) -> u8 {
    let negative = sample < 0;
    // Negative values are one's complements in the recommendation's 13 bits.
    let magnitude = (if negative {
        !i32::from(sample)
    } else {
        i32::from(sample)
    }) >> 4;
    let exponent = if magnitude < 16 {
        0
    } else {
        32 - magnitude.leading_zeros() as i32 - 4
    };
    let mantissa = if exponent <= 1 {
        magnitude & 15
    } else {
        (magnitude >> (exponent - 1)) & 15
    };
    let sign = if negative { 0 } else { 0x80 };
    (sign | (exponent << 4) as u8 | mantissa as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(
            [0xff, 0x7f, 0x80, 0x00].map(|o| Law::Mu.decode(o)),
            [0, 0, 32124, -32124]
        );
        assert_eq!(
            [0xd5, 0x55, 0xaa, 0x2a].map(|o| Law::A.decode(o)),
            [8, -8, 32256, -32256]
        );
        assert_eq!((Law::Mu.encode(0), Law::A.encode(0)), (0xff, 0xd5));
        assert_eq!((Law::Mu.encode(1000), Law::A.encode(1000)), (0xce, 0xfa));
    }

    #[test]
    fn every_octet_survives_and_no_sample_strays_far() {
        for law in [Law::Mu, Law::A] {
            for octet in 0..=255u8 {
                let again = law.encode(law.decode(octet));
                assert!(
                    again == octet || law.decode(octet) == 0,
                    "{law:?} {octet:#x} {again:#x}"
                );
            }
            for sample in (i16::MIN..=i16::MAX).step_by(7) {
                let error = i32::from(law.decode(law.encode(sample))) - i32::from(sample);
                assert!(
                    error.abs() <= 16 + i32::from(sample).abs() / 16 + 40,
                    "{law:?} {sample} {error}"
                );
            }
        }
    }
}
