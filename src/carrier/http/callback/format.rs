//! What is read in a callback's body, once its signature is good. Pure.

use std::sync::Arc;

use hyper::{
    HeaderMap,
    header::{CONTENT_TYPE, HeaderValue},
};
use ring::digest;

use super::{
    Refused, body, json,
    read::{self, Brought, Layout},
    repeats::Mark,
    signature::Signed,
};
use crate::{
    carrier::Incoming,
    config::carrier::{CarrierConfig, HttpCallback},
};

/// A longer body is refused (413), also one that is longer once it is decoded.
pub const MAX_BODY: usize = 64 * 1024;
/// Receipts and texts in one body; more are refused (413).
pub const MAX_BROUGHT: usize = 2_000;

/// How a carrier's callbacks are read, by its file.
pub struct CallbackFormat {
    config: Arc<CarrierConfig>,
    callback: Box<HttpCallback>,
    layout: Layout,
}

/// What a body brings.
pub struct Parts {
    /// Each with what tells its repeat.
    pub brought: Vec<(Mark, Incoming)>,
    /// Parts that can't be understood.
    pub skipped: usize,
}

impl CallbackFormat {
    pub fn new(config: Arc<CarrierConfig>, callback: Box<HttpCallback>) -> CallbackFormat {
        CallbackFormat {
            layout: Layout::new(&callback),
            callback,
            config,
        }
    }

    pub fn callback(&self) -> &HttpCallback {
        &self.callback
    }

    /// `signed`: what its signature is found to be. Nothing is read before that is known.
    pub fn read(
        &self,
        headers: &HeaderMap,
        octets: &[u8],
        signed: impl FnOnce() -> Signed,
    ) -> Result<Parts, Refused> {
        if octets.len() > MAX_BODY {
            return Err(Refused::TooLong);
        }
        match signed() {
            Signed::Good => self.understand(headers, octets),
            Signed::Missing => Err(Refused::SignatureMissing),
            Signed::Wrong => Err(Refused::SignatureWrong),
            Signed::TooOld => Err(Refused::SignatureTooOld),
            Signed::NoKeys => Err(Refused::NoKeys),
        }
    }

    fn understand(&self, headers: &HeaderMap, octets: &[u8]) -> Result<Parts, Refused> {
        let text = body::text(headers, octets, MAX_BODY).map_err(|why| match why {
            body::Unreadable::TooLong => Refused::TooLong,
            body::Unreadable::CutOff | body::Unreadable::Coding => Refused::Unreadable,
        })?;
        let Some(documents) = json::documents(&text) else {
            return Err(match says_other_than_json(headers) {
                true => Refused::ContentType,
                false => Refused::NotUnderstood,
            });
        };
        let mut found = Vec::new();
        for document in documents {
            self.layout
                .each(document, &mut found, MAX_BROUGHT)
                .map_err(|()| Refused::TooLong)?;
        }
        let digest = digest::digest(&digest::SHA256, octets);
        let count = found.len();
        let mut brought = Vec::with_capacity(count);
        for (place, part) in found.iter().enumerate() {
            let Some(Brought { id, incoming }) = self.part(part) else {
                continue;
            };
            let mark = match id {
                Some(id) => Mark::of_id(&id, &incoming),
                None => Mark::of_place(digest.as_ref(), place),
            };
            brought.push((mark, incoming));
        }
        if brought.is_empty() && count > 0 {
            return Err(Refused::NotUnderstood);
        }
        let skipped = count - brought.len();
        Ok(Parts { brought, skipped })
    }

    fn part(&self, part: &read::Part<'_>) -> Option<Brought> {
        read::one(&self.callback, &self.layout, &self.config, part)
    }
}

fn says_other_than_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = String::from_utf8_lossy(kind.unwrap_or_default()).to_ascii_lowercase();
    !kind.is_empty() && !kind.contains("json")
}
