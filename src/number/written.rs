//! A phone as carriers write it: with or without plus, with an exit code, national, without a country's mobile digit.
//!
//! Receipts name the phone that a text went to. Whether that is the phone of a challenge decides whose receipt it is,
//! so what can't be read as a phone (masked, hashed, a name) says nothing instead of something else. Pure.

use std::fmt;

use super::Number;

/// The last six digits of a number: all forms of it share them, so that a table can be looked up by them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tail(u32);

impl Tail {
    pub fn of(number: Number) -> Option<Tail> {
        Tail::of_digits(number.digits().bytes())
    }

    /// None: it names no phone.
    pub fn written(text: &str) -> Option<Tail> {
        let digits = Digits::read(text)?;
        Tail::of_digits(digits.text().bytes())
    }

    pub fn value(self) -> u32 {
        self.0
    }

    fn of_digits(digits: impl ExactSizeIterator<Item = u8>) -> Option<Tail> {
        let before = digits.len().checked_sub(LEAST_DIGITS)?;
        let value = |sum: u32, digit: u8| sum * 10 + u32::from(digit.wrapping_sub(b'0') % 10);
        Some(Tail(digits.skip(before).fold(0, value)))
    }
}

/// A part of a person's number.
impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tail")
    }
}

/// Is this the number? None: it names no phone.
pub fn is_number(text: &str, number: Number) -> Option<bool> {
    let digits = Digits::read(text)?;
    let (written, whole) = (digits.text(), number.digits());
    if written == whole {
        return Some(true);
    }
    let international = EXIT_CODES
        .iter()
        .filter_map(|code| written.strip_prefix(code))
        .any(|rest| rest == whole || mobile_digit_apart(rest, whole));
    let bare = written.trim_start_matches('0');
    let national = !digits.plus
        && bare.len() >= LEAST_DIGITS
        && whole.ends_with(bare)
        && whole.len() - bare.len() <= MOST_MISSING;
    Some(international || national || mobile_digit_apart(written, whole))
}

/// The same number but for the digit that some countries put in front of mobile numbers, and some networks leave out.
fn mobile_digit_apart(a: &str, b: &str) -> bool {
    let (longer, shorter) = if a.len() > b.len() { (a, b) } else { (b, a) };
    let digit = MOBILE_DIGITS
        .iter()
        .find(|(country, _)| longer.starts_with(country) && shorter.starts_with(country));
    let Some((country, digit)) = digit.filter(|_| longer.len() == shorter.len() + 1) else {
        return false;
    };
    let last = longer.len().saturating_sub(LEAST_DIGITS);
    (country.len()..last).any(|at| {
        longer.as_bytes()[at] == *digit
            && longer[..at] == shorter[..at]
            && longer[at + 1..] == shorter[at..]
    })
}

/// The digits of something that may be a phone.
struct Digits {
    digits: [u8; MOST_DIGITS],
    length: usize,
    plus: bool,
}

impl Digits {
    fn read(text: &str) -> Option<Digits> {
        let text = text.trim();
        let text = text.strip_prefix("tel:").unwrap_or(text);
        let mut read = Digits {
            digits: [0; MOST_DIGITS],
            length: 0,
            plus: text.starts_with('+'),
        };
        for octet in text.strip_prefix('+').unwrap_or(text).bytes() {
            match octet {
                b'0'..=b'9' => {
                    *read.digits.get_mut(read.length)? = octet;
                    read.length += 1;
                }
                b' ' | b'-' | b'.' | b'(' | b')' | b'/' => {}
                _ => return None,
            }
        }
        (read.length >= LEAST_DIGITS).then_some(read)
    }

    fn text(&self) -> &str {
        // Only ASCII digits are ever stored.
        std::str::from_utf8(&self.digits[..self.length]).unwrap_or_default()
    }
}

/// Fewer digits than this name no phone: a short code, say.
const LEAST_DIGITS: usize = 6;
/// Fifteen, and an exit code in front.
const MOST_DIGITS: usize = 20;
/// What a national number may lack: a calling code of up to three digits, and a zero that belongs to the number (Italy)
/// or an area code's rest.
const MOST_MISSING: usize = 4;
/// What is dialled in front of an international number. The single zero is none, and is written all the same.
const EXIT_CODES: [&str; 6] = ["00", "011", "0011", "010", "810", "0"];
/// Mexico (until 2020), Argentina, Brazil.
const MOBILE_DIGITS: [(&str, u8); 3] = [("52", b'1'), ("54", b'9'), ("55", b'9')];

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str, number: &str) -> Option<bool> {
        is_number(text, Number::from_e164(number).expect("E.164"))
    }

    #[test]
    fn every_form_that_carriers_write_is_the_same_phone() {
        for (text, number) in [
            ("+46701740605", "+46701740605"),
            ("46701740605", "+46701740605"),
            ("0046701740605", "+46701740605"),
            ("046701740605", "+46701740605"),
            ("0701740605", "+46701740605"),
            ("701740605", "+46701740605"),
            ("070-174 06 05", "+46701740605"),
            ("tel:+46701740605", "+46701740605"),
            ("01112025550123", "+12025550123"),
            ("(202) 555-0123", "+12025550123"),
            (" 12025550123 ", "+12025550123"),
            ("0612345678", "+390612345678"),
            ("541123456789", "+5491123456789"),
            ("5215512345678", "+525512345678"),
            ("551187654321", "+5511987654321"),
        ] {
            assert_eq!(says(text, number), Some(true), "{text}");
            let number = Number::from_e164(number).expect("E.164");
            assert_eq!(Tail::written(text), Tail::of(number), "{text}");
        }
    }

    #[test]
    fn another_phone_is_another_phone() {
        for text in [
            "12025550124",
            "+912025550123",
            "442025550123",
            "+2025550123",
            "2125550123",
            "99912025550123",
        ] {
            assert_eq!(says(text, "+12025550123"), Some(false), "{text}");
        }
        assert_eq!(says("46701740605", "+467017406050"), Some(false));
    }

    #[test]
    fn what_is_no_phone_says_nothing() {
        for text in [
            "",
            "97671",
            "Ringback",
            "1202555****",
            "0x1f2e3d4c",
            "123456789012345678901",
        ] {
            assert_eq!(says(text, "+12025550123"), None, "{text}");
            assert_eq!(Tail::written(text), None, "{text}");
        }
    }
}
