//! Octets of AMQP's short strings that are not UTF-8.
//!
//! AMQP 0-9-1 (4.2.5.3) has short strings of any octets, and RabbitMQ passes them on; a binary UUID as a correlation id
//! is common. The client library takes short strings as UTF-8 only and gives the connection up otherwise, so that one
//! such message would stop everything behind it for ever. So its stream is ours ([`stream`]): what comes in is mended
//! frame by frame ([`frames`]) before the library sees it, and what goes out gets its octets back ([`rewrite`]).
//!
//! One string must survive as it is: a job's `correlation_id`. Between the two ends it is text ([`to_text`]), and passes
//! the library as a header entry of our own, whose value may be any octets. A `reply_to` that is no UTF-8 names no queue:
//! RabbitMQ takes such names in no method, and gives up the connection of whoever publishes to one. It is told as such.

use std::borrow::Cow;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::short;

pub(super) mod cut;
mod frames;
mod header;
mod rewrite;
mod ring;
pub(super) mod stream;
mod wire;

/// Frames that are looked at are no longer; longer ones must not be asked for.
pub(super) const LONGEST_FRAME: u32 = frames::LONGEST as u32;
/// The longest frame asked for where the address doesn't say (`?frame_max=`): the broker's own default.
pub(super) const FRAME: u32 = 131_072;

/// A text that starts so is not itself: each further character is an octet (ISO 8859-1). A noncharacter of Unicode:
/// what starts with it is written this way as well, so that nothing means two things.
const ESCAPE: char = '\u{10FFFF}';
/// Header entries that carry octets past the client library. A message from outside never reaches it with such a name.
const CARRIED: &str = "x-ringback-octets-";
const CORRELATION_ID: &str = "x-ringback-octets-correlation-id";
const REPLY_TO: &str = "x-ringback-octets-reply-to";

/// Octets as text, and back by [`from_text`] without a loss.
pub(crate) fn to_text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) if !text.starts_with(ESCAPE) => Cow::Borrowed(text),
        _ => std::iter::once(ESCAPE)
            .chain(octets.iter().map(|octet| char::from(*octet)))
            .collect(),
    }
}

/// The octets that a text stands for.
pub(crate) fn from_text(text: &str) -> Cow<'_, [u8]> {
    match text.strip_prefix(ESCAPE) {
        None => Cow::Borrowed(text.as_bytes()),
        // What was not written by `to_text` (a character beyond an octet) is taken as it stands.
        Some(rest) => match rest.chars().map(|c| u8::try_from(c).ok()).collect() {
            Some(octets) => Cow::Owned(octets),
            None => Cow::Borrowed(text.as_bytes()),
        },
    }
}

/// The correlation id of a message that came, as text.
pub(crate) fn correlation_id(properties: &BasicProperties) -> Option<Cow<'_, str>> {
    match carried(properties, CORRELATION_ID) {
        Some(octets) => Some(to_text(octets)),
        None => {
            let plain = properties.correlation_id().as_ref();
            plain.map(|text| to_text(text.as_str().as_bytes()))
        }
    }
}

/// Octets where there should be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoText;

/// The queue that a message wants its answers in. Err: what stands there can't be the name of one.
pub(crate) fn reply_to(properties: &BasicProperties) -> Result<Option<&str>, NoText> {
    match carried(properties, REPLY_TO) {
        Some(_) => Err(NoText),
        None => Ok(properties.reply_to().as_ref().map(ShortString::as_str)),
    }
}

fn carried<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a [u8]> {
    match properties.headers().as_ref()?.inner().get(name) {
        Some(AMQPValue::LongString(octets)) => Some(octets.as_bytes()),
        _ => None,
    }
}

/// With this correlation id, given as text.
pub(crate) fn with_correlation_id(properties: BasicProperties, text: &str) -> BasicProperties {
    match from_text(text) {
        Cow::Borrowed(_) => properties.with_correlation_id(short(text)),
        Cow::Owned(octets) => carry(properties, CORRELATION_ID, octets),
    }
}

fn carry(properties: BasicProperties, name: &str, octets: Vec<u8>) -> BasicProperties {
    let mut headers: FieldTable = properties.headers().clone().unwrap_or_default();
    headers.insert(short(name), AMQPValue::LongString(octets.into()));
    properties.with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_text_stays_as_it_is() {
        for plain in ["", "login-1", "Grüße", "日本", "\u{10FFFE}"] {
            assert!(matches!(to_text(plain.as_bytes()), Cow::Borrowed(text) if text == plain));
            assert!(
                matches!(from_text(plain), Cow::Borrowed(octets) if octets == plain.as_bytes())
            );
        }
    }

    proptest! {
        #[test]
        fn octets_are_text_and_octets_again(
            octets in prop_oneof![
                any::<Vec<u8>>(),
                any::<Vec<u8>>().prop_map(|rest| ["\u{10FFFF}".as_bytes(), &rest].concat()),
                "\u{10FFFF}{0,2}\\PC*".prop_map(String::into_bytes),
            ],
        ) {
            let text = to_text(&octets).into_owned();
            prop_assert_eq!(from_text(&text).into_owned(), octets);
        }
    }
}
