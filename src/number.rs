//! Numbers: E.164, country, line type, what is refused and why, and how a number is shown (masked).
//!
//! The first stop of a challenge: [`analyse`] turns what a caller wrote into a [`Number`] and what is known
//! about it. Clean E.164 goes through a table built from the library's own metadata ([`table`]); everything
//! else goes through the library ([`parse`]). Both give the same answer, and a property test holds them to it.
//! May not log or print a full number: [`Number`] shows itself masked.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod countries;
mod country;
mod emergency;
mod parse;
mod pattern;
mod refusal;
mod table;
pub mod written;

pub use country::{Country, LineType, NoCountry};
pub use parse::ParseError;
pub use refusal::{Detail, NoPrefix, NumberPolicy, Reason, Refusal};

use crate::number::refusal::Subject;

/// Most digits of an E.164 number (ITU-T E.164, 6.2.1).
const MAX_DIGITS: usize = 15;
/// Fewest digits we take for a number: a calling code and the two digits of the shortest plan.
const MIN_DIGITS: usize = 3;

/// A phone number in E.164, in sixteen octets and without a heap. Shows itself masked; [`Number::e164`] is the
/// one way to the whole of it. Serialises as its E.164 string: the ledger seals it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number([u8; 1 + MAX_DIGITS]);

impl Number {
    /// From `+` and 3 to 15 ASCII digits, the first not 0. Says nothing about validity in a country's plan.
    pub fn from_e164(text: &str) -> Option<Number> {
        let digits = text.strip_prefix('+')?.as_bytes();
        if !(MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) || digits[0] == b'0' {
            return None;
        }
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut octets = [0; 1 + MAX_DIGITS];
        octets[..text.len()].copy_from_slice(text.as_bytes());
        Some(Number(octets))
    }

    /// The whole number with its plus. For the wire and for sealing, never for a log.
    pub fn e164(&self) -> &str {
        let end = self
            .0
            .iter()
            .position(|octet| *octet == 0)
            .unwrap_or(self.0.len());
        // Only a plus and ASCII digits are ever stored.
        std::str::from_utf8(&self.0[..end]).unwrap_or("+")
    }

    /// The digits without the plus, as SMPP addresses with TON 1 want them.
    pub fn digits(&self) -> &str {
        &self.e164()[1..]
    }

    /// The number without its last four digits: the neighbourhood that the fraud guard counts by.
    pub fn neighbourhood(&self) -> &str {
        let e164 = self.e164();
        &e164[..e164.len().saturating_sub(4).max(1)]
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.e164())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        // The text itself stays out of the error.
        Number::from_e164(&text)
            .ok_or_else(|| D::Error::custom("not an E.164 number: write + and 3 to 15 digits"))
    }
}

/// Masked: the first four digits and the last two (`+1202•••••23`); of short ones the first two.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.e164()))
    }
}

/// Masked as in `Display`.
impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Masks the digits of anything that may be a number, known or not; other characters stay.
pub fn mask(text: &str) -> String {
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    let (head, tail) = if digits >= 9 {
        (4, 2)
    } else {
        (2.min(digits / 2), 0)
    };
    let mut seen = 0;
    text.chars()
        .map(|c| {
            if !c.is_numeric() {
                return c;
            }
            seen += 1;
            if seen <= head || seen > digits - tail {
                c
            } else {
                '•'
            }
        })
        .collect()
}

/// What the gateway makes of a number. `country` is `001` for non-geographic numbers; `kind` is given
/// whenever the input parses; `valid` and `possible` are libphonenumber's words.
#[derive(Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Why it does not parse; none where it does.
    pub error: Option<ParseError>,
    /// Present where the input parses, fits E.164's fifteen digits and holds no control character, and for clean E.164
    /// of a calling code that nobody has (an operator may allow it). To be used only where nothing is refused.
    pub number: Option<Number>,
    /// The same in writing; libphonenumber lets a few more digits through than E.164.
    pub e164: Option<String>,
    pub country: Option<Country>,
    pub kind: Option<LineType>,
    pub valid: bool,
    pub possible: bool,
    pub extension: Option<String>,
    /// Refused on every channel; see [`Analysis::refused_for`] for the rest.
    pub refused: Option<Refusal>,
}

/// How a challenge would reach the number; the channels of the gateway, seen from the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Text,
    Call,
}

impl Analysis {
    /// Whether the input parses at all.
    pub fn ok(&self) -> bool {
        self.error.is_none()
    }

    /// The refusal for one channel: what is refused everywhere, and for texts also the lines that no
    /// person reads texts on.
    pub fn refused_for(&self, reach: Reach, policy: &NumberPolicy) -> Option<Refusal> {
        if policy.allows(self) && self.refused.is_none_or(|r| r.detail != Detail::Emergency) {
            return None;
        }
        match (self.refused, reach) {
            (Some(refusal), _) => Some(refusal),
            (None, Reach::Call) => None,
            (None, Reach::Text) => self.kind.and_then(refusal::text_refusal),
        }
    }
}

/// Shows the number masked and no extension.
impl fmt::Debug for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analysis")
            .field("error", &self.error)
            .field("number", &self.number)
            .field("country", &self.country)
            .field("kind", &self.kind)
            .field("valid", &self.valid)
            .field("possible", &self.possible)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// Reads a number as a person or a program wrote it. `region` (ISO 3166 alpha-2, any case) is the plan for
/// national numbers; an unknown one counts as none.
pub fn analyse(input: &str, region: Option<&str>) -> Analysis {
    if let Some(found) = table::look_up(input) {
        let refused = refusal::judge(&Subject {
            input,
            country: found.country,
            kind: found.kind,
            valid: found.kind != LineType::Unknown,
            calling_code: found.calling_code,
            national: &input[1 + found.calling_code_digits..],
        });
        return Analysis {
            error: None,
            number: Number::from_e164(input),
            e164: Some(input.to_owned()),
            country: found.country,
            kind: Some(found.kind),
            valid: found.kind != LineType::Unknown,
            possible: found.possible,
            extension: None,
            refused,
        };
    }
    parse::analyse(input, region)
}

/// The country of a number that has been checked before, without the rest.
pub fn country_of(number: Number) -> Option<Country> {
    analyse(number.e164(), None).country
}

#[cfg(test)]
mod tests;
