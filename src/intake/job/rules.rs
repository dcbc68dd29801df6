//! The shape of single values: what an id, a PHC string, a locale or a time must look like. Pure yes and no.

use password_hash::PasswordHash;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::challenge::Millis;

/// 1 to 128 of `[A-Za-z0-9._:-]`.
pub(super) fn is_id(text: &str) -> bool {
    (1..=ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

/// Digits only, so many.
pub(super) fn is_digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Not empty, bounded, and nothing in it that breaks a line.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Two letters.
pub(super) fn is_region(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// A password hash in the PHC string format, `$algorithm[$v=version][$parameters]$salt$hash`, of an algorithm that
/// is known here, with salt and hash.
pub(super) fn is_phc(text: &str) -> bool {
    text.len() <= PHC
        && PasswordHash::new(text).is_ok_and(|phc| {
            let known = matches!(
                phc.algorithm.as_str(),
                "argon2id" | "scrypt" | "pbkdf2-sha256"
            );
            known && phc.salt.is_some() && phc.hash.is_some()
        })
}

/// A language tag of BCP 47 (RFC 5646, section 2.1) by its shape: subtags of 1 to 8 letters and digits, the first of
/// letters only. What it means is for the templates to find.
pub(super) fn is_locale(text: &str) -> bool {
    if text.len() > LOCALE {
        return false;
    }
    let mut subtags = text.split('-');
    let language = subtags.next().unwrap_or("");
    let special = matches!(language, "x" | "X" | "i" | "I");
    if !(special || (2..=8).contains(&language.len()))
        || !language.bytes().all(|b| b.is_ascii_alphabetic())
    {
        return false;
    }
    let mut others = 0;
    for subtag in subtags {
        others += 1;
        if !(1..=8).contains(&subtag.len()) || !subtag.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return false;
        }
    }
    !special || others > 0
}

/// RFC 3339 with its offset.
pub(super) fn moment(text: &str) -> Option<Millis> {
    if text.len() > MOMENT {
        return None;
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .map(Millis)
}

/// Longest id.
const ID: usize = 128;
/// Longest tenant and user.
pub(super) const NAME: usize = 256;
/// Longest PHC string.
const PHC: usize = 512;
/// Longest language tag; RFC 5646, section 4.4.1 counts 35.
const LOCALE: usize = 64;
/// Longest time.
const MOMENT: usize = 64;
/// Digits of a code.
pub(super) const CODE: std::ops::RangeInclusive<usize> = 4..=10;
/// Most pairs in `meta`.
pub(super) const META_PAIRS: usize = 64;
/// Longest name and value in `meta`.
pub(super) const META_KEY: usize = 64;
pub(super) const META_VALUE: usize = 2048;
/// Most methods after the first.
pub(super) const FALLBACKS: usize = 8;
/// Longest office extension.
pub(super) const EXTENSION: usize = 20;
/// Longest name of a queue (AMQP 0-9-1 short string).
pub(super) const SHORT_STRING: usize = 255;
