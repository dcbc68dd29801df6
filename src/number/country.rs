//! Countries and line types: small closed values that routes, limits and reports are keyed by.
//! Nothing here looks anything up.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A country by its two ISO 3166 letters (and `XK`, `AC`, `TA` as the numbering plans use them), or the
/// non-geographic world, written `001`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 3]);

impl Country {
    /// Numbers of no country: +800, +870, +881, +882, +883, +979 and their like.
    pub const WORLD: Country = Country(*b"001");

    /// Two ASCII letters of any case, or `001`.
    pub fn parse(text: &str) -> Option<Country> {
        match text.as_bytes() {
            b"001" => Some(Country::WORLD),
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Country([a.to_ascii_uppercase(), b.to_ascii_uppercase(), 0]))
            }
            _ => None,
        }
    }

    /// `US`, `SE`, ..., `001`.
    pub fn as_str(&self) -> &str {
        let octets = if self.0[2] == 0 {
            &self.0[..2]
        } else {
            &self.0[..]
        };
        // Only ASCII is ever stored.
        std::str::from_utf8(octets).unwrap_or("ZZ")
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was written in the place of a country.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no country: write two letters (ISO 3166) or 001")]
pub struct NoCountry(Box<str>);

impl std::str::FromStr for Country {
    type Err = NoCountry;

    fn from_str(text: &str) -> Result<Country, NoCountry> {
        Country::parse(text).ok_or_else(|| NoCountry(text.into()))
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Country, D::Error> {
        std::borrow::Cow::<str>::deserialize(from)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// What kind of line a number is: libphonenumber's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineType {
    FixedLine,
    Mobile,
    FixedLineOrMobile,
    TollFree,
    PremiumRate,
    SharedCost,
    Voip,
    PersonalNumber,
    Pager,
    Uan,
    Voicemail,
    Unknown,
}

impl LineType {
    /// libphonenumber's name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            LineType::FixedLine => "fixed_line",
            LineType::Mobile => "mobile",
            LineType::FixedLineOrMobile => "fixed_line_or_mobile",
            LineType::TollFree => "toll_free",
            LineType::PremiumRate => "premium_rate",
            LineType::SharedCost => "shared_cost",
            LineType::Voip => "voip",
            LineType::PersonalNumber => "personal_number",
            LineType::Pager => "pager",
            LineType::Uan => "uan",
            LineType::Voicemail => "voicemail",
            LineType::Unknown => "unknown",
        }
    }
}

impl fmt::Display for LineType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
