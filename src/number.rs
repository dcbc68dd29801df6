//! Numbers: E.164, country, line type, what is refused and why, and how a number is shown (masked).

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A checked E.164 number. Shows itself masked; [`Number::e164`] is the only way to all of it.
/// Serialises as its E.164 string: the ledger seals it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(Arc<str>);

impl Number {
    pub fn e164(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("+•••")
    }
}

/// ISO 3166 alpha-2, or `001` for non-geographic numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Country([u8; 2]);
