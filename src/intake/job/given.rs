//! What the caller gave, and the hash over it by which a repeated job is told from another with the same id.

use std::{sync::Arc, time::Duration};

use super::{canonical::Content, raw::Raw};
use crate::{
    challenge::{Expect, Fallback, Method, Millis, Until},
    number::{self, Analysis, Number, Refusal},
};

/// What the number turned out to be.
pub(super) struct To {
    pub number: Option<Number>,
    pub country: Option<number::Country>,
    pub refused: Option<Refusal>,
    pub extension: Option<Arc<str>>,
}

impl To {
    pub fn of(found: Analysis) -> To {
        let refused = match (found.number, found.refused) {
            (None, None) => Some(Refusal {
                reason: number::Reason::InvalidNumber,
                detail: number::Detail::Unreadable,
            }),
            (_, refused) => refused,
        };
        To {
            number: found.number,
            country: found.country,
            refused,
            extension: found.extension.map(Into::into),
        }
    }
}

/// What the caller gave, for the hash over it.
pub(super) struct Given<'a, 'r> {
    pub raw: &'a Raw<'r>,
    pub to: &'a To,
    pub method: Method,
    pub fallback: &'a [Fallback],
    pub expect: Expect,
    pub until: Until,
    pub locale: &'a str,
    pub lifetime: Duration,
    pub issued_at: Option<Millis>,
}

impl Given<'_, '_> {
    pub fn content(&self) -> [u8; 32] {
        let mut content = Content::new();
        match self.to.number {
            Some(number) => content.text(Some(number.e164())),
            None => content
                .text(self.raw.to.as_deref())
                .text(self.raw.region.as_deref()),
        };
        let extension = self
            .raw
            .extension
            .as_deref()
            .or(self.to.extension.as_deref());
        content.text(extension).text(Some(self.method.name()));
        content.number(i64::try_from(self.fallback.len()).ok());
        for one in self.fallback {
            content
                .text(Some(one.method.name()))
                .number(i64::try_from(one.after.as_secs()).ok());
        }
        content
            .number(Some(self.expect as i64))
            .number(Some(self.until as i64))
            .text(self.raw.code.as_deref())
            .text(self.raw.pin.as_deref())
            .text(self.raw.text.as_deref())
            .text(Some(&self.locale.to_ascii_lowercase()))
            .number(i64::try_from(self.lifetime.as_secs()).ok())
            .number(self.issued_at.map(|at| at.0))
            .text(self.raw.user.as_deref())
            .text(self.raw.caller_id.as_deref());
        let mut meta: Vec<(&str, &str)> = self
            .raw
            .meta
            .iter()
            .flat_map(|meta| &meta.0)
            .map(|(key, value)| (&**key, &**value))
            .collect();
        meta.sort_unstable();
        for (key, value) in meta {
            content.text(Some(key)).text(Some(value));
        }
        content.finish()
    }
}
