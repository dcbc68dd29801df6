//! What a job says, apart from how it says it: a hash that is the same for the same meaning. Order of keys, spaces,
//! escapes, defaults written out and the writing of a number don't count; where reports go doesn't either.

use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::fields::ChallengeFields;
use crate::{
    challenge::Code,
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

/// Collects the content field by field, always in the same order.
struct Content(Context);

impl Content {
    fn new() -> Content {
        Content(Context::new(&SHA256))
    }

    /// A field; None differs from an empty one.
    fn text(&mut self, text: Option<&str>) -> &mut Content {
        match text {
            None => self.0.update(&[0]),
            Some(text) => {
                self.0.update(&[1]);
                self.0.update(&(text.len() as u64).to_le_bytes());
                self.0.update(text.as_bytes());
            }
        }
        self
    }

    fn number(&mut self, number: Option<i64>) -> &mut Content {
        match number {
            None => self.0.update(&[0]),
            Some(number) => {
                self.0.update(&[2]);
                self.0.update(&number.to_le_bytes());
            }
        }
        self
    }

    fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

/// Over all that the caller gave: by it a repeated job is told from another with the same id.
pub(super) fn content(given: &ChallengeFields, to: &To) -> [u8; 32] {
    let mut content = Content::new();
    match to.number {
        Some(number) => content.text(Some(number.e164())),
        None => content.text(Some(&given.to)).text(given.region.as_deref()),
    };
    let extension = given.extension.as_deref().or(to.extension.as_deref());
    content
        .text(extension)
        .text(Some(given.method.name()))
        .number(i64::try_from(given.fallback.len()).ok());
    for one in &given.fallback {
        content
            .text(Some(one.method.name()))
            .number(i64::try_from(one.after_s.as_secs()).ok());
    }
    content
        .number(Some(given.expect as i64))
        .number(Some(given.until as i64))
        .text(given.code.as_ref().map(Code::reveal))
        .text(given.pin.as_ref().map(Code::reveal))
        .text(given.text.as_deref())
        .text(Some(&given.locale.to_ascii_lowercase()))
        .number(i64::try_from(given.lifetime_s.as_secs()).ok())
        .number(given.issued_at.map(|at| at.0))
        .text(given.user.as_deref())
        .text(given.caller_id.as_ref().map(Number::e164));
    for (key, value) in &given.meta {
        content.text(Some(key)).text(Some(value));
    }
    content.finish()
}
