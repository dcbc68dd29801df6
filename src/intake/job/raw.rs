//! A job as it was written, of the right types and nothing more; borrowed from the body. Decides nothing.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

/// All fields of all kinds of message; `null` is the same as absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw<'a> {
    pub v: Option<i64>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub to: Option<Text<'a>>,
    #[serde(borrow)]
    pub region: Option<Text<'a>>,
    #[serde(borrow)]
    pub extension: Option<Text<'a>>,
    #[serde(borrow)]
    pub method: Option<Text<'a>>,
    #[serde(borrow)]
    pub expect: Option<Text<'a>>,
    #[serde(borrow)]
    pub fallback: Option<Vec<RawFallback<'a>>>,
    #[serde(borrow)]
    pub until: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
    #[serde(borrow)]
    pub pin: Option<Text<'a>>,
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    #[serde(borrow)]
    pub locale: Option<Text<'a>>,
    pub lifetime_s: Option<i64>,
    #[serde(borrow)]
    pub issued_at: Option<Text<'a>>,
    #[serde(borrow)]
    pub tenant: Option<Text<'a>>,
    #[serde(borrow)]
    pub user: Option<Text<'a>>,
    #[serde(borrow)]
    pub caller_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    pub verified: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFallback<'a> {
    #[serde(borrow)]
    pub method: Option<Text<'a>>,
    pub after_s: Option<i64>,
}

/// A string that is borrowed where the JSON has no escapes in it. Never prints itself.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(•)")
    }
}

/// The pairs in the order in which they stand; no key twice.
#[derive(Debug, Default)]
pub(super) struct Meta<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Meta<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Meta<'a>, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Meta<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta<'de>, A::Error> {
                let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if pairs.len() >= META_PAIRS || pairs.iter().any(|(known, _)| **known == *key) {
                        return Err(A::Error::custom("too many, or one twice"));
                    }
                    pairs.push((key, value));
                }
                Ok(Meta(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// Most pairs in `meta`.
pub(super) const META_PAIRS: usize = 64;
