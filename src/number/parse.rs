//! The border to the number library: whatever is not clean E.164 comes through here. What the library reads
//! otherwise than libphonenumber does is evened out before or after it. May not keep what it reads.

use std::borrow::Cow;

use rlibphonenumber::interfaces::AsOriginal;
use rlibphonenumber::{
    NotANumberError, PHONE_NUMBER_UTIL, ParseError as LibraryError, PhoneNumber, PhoneNumberFormat,
    PhoneNumberType, PhoneNumberUtil, Region,
};

use super::refusal::{self, Subject};
use super::{Analysis, LineType, Number, table};

/// libphonenumber's limit for an input, in characters.
const MAX_INPUT: usize = 250;

/// Why an input does not parse: libphonenumber's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    InvalidCountryCode,
    NotANumber,
    TooShortAfterIdd,
    TooShortNsn,
    TooLong,
}

impl ParseError {
    /// libphonenumber's name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            ParseError::InvalidCountryCode => "invalid_country_code",
            ParseError::NotANumber => "not_a_number",
            ParseError::TooShortAfterIdd => "too_short_after_idd",
            ParseError::TooShortNsn => "too_short_nsn",
            ParseError::TooLong => "too_long",
        }
    }
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<LibraryError> for ParseError {
    fn from(error: LibraryError) -> ParseError {
        match error {
            LibraryError::InvalidCountryCode => ParseError::InvalidCountryCode,
            LibraryError::NotANumber(NotANumberError::FailedToParseNumberAsInt(_)) => {
                ParseError::TooLong
            }
            LibraryError::NotANumber(_) => ParseError::NotANumber,
            LibraryError::TooShortAfterIdd => ParseError::TooShortAfterIdd,
            LibraryError::TooShortNsn => ParseError::TooShortNsn,
            LibraryError::TooLongNsn => ParseError::TooLong,
        }
    }
}

/// The slow way: any writing of a number.
pub(super) fn analyse(input: &str, region: Option<&str>) -> Analysis {
    match read(input, region) {
        Ok(number) => describe(input, &number),
        Err(error) => {
            let dialled: String = input
                .chars()
                .filter(char::is_ascii_digit)
                .take(MAX_INPUT)
                .collect();
            Analysis {
                error: Some(error),
                number: Number::from_e164(input),
                e164: None,
                country: None,
                kind: None,
                valid: false,
                possible: false,
                extension: None,
                refused: Some(refusal::unreadable(input, &dialled)),
            }
        }
    }
}

fn read(input: &str, region: Option<&str>) -> Result<PhoneNumber, ParseError> {
    if input.chars().count() > MAX_INPUT {
        return Err(ParseError::TooLong);
    }
    if number_after_context(input) {
        return Err(ParseError::NotANumber);
    }
    let input = evened(input).ok_or(ParseError::NotANumber)?;
    if two_digits_and_extension(&input) {
        return Err(ParseError::NotANumber);
    }
    let region = region.and_then(|region| Region::from_code(region).ok());
    PHONE_NUMBER_UTIL
        .parse(&*input, region)
        .map_err(ParseError::from)
}

/// A `tel:` behind `;phone-context=` leaves nothing between the two, and the library would cut backwards.
fn number_after_context(input: &str) -> bool {
    match (input.find("tel:"), input.find(PHONE_CONTEXT)) {
        (Some(tel), Some(context)) => tel + "tel:".len() > context,
        _ => false,
    }
}

const PHONE_CONTEXT: &str = ";phone-context=";

/// What libphonenumber reads and this library does not: a full-width tilde between digits, and a second
/// number (`/ x`, `\ x`) cut off at its first mark, not at its last.
/// `None`: then it is no number.
fn evened(input: &str) -> Option<Cow<'_, str>> {
    let mut input = Cow::Borrowed(input);
    if input.contains('～') {
        input = Cow::Owned(input.replace('～', "~"));
    }
    if !input.contains(PHONE_CONTEXT)
        && let Some(at) = second_number(&input)
    {
        // What the library would trim off the new end, libphonenumber would not.
        let first = &input[..at];
        let end = first
            .trim_end_matches(|c: char| !c.is_alphanumeric() && c != '#')
            .len();
        if !first[end..].chars().all(is_punctuation) {
            return None;
        }
        input = Cow::Owned(first.to_owned());
    }
    Some(input)
}

/// Where a slash or backslash, spaces and an `x` begin behind the first digit or plus.
fn second_number(input: &str) -> Option<usize> {
    let from = input.find(|c: char| c.is_numeric() || matches!(c, '+' | '＋'))?;
    let marks = input[from..].match_indices(['/', '\\']);
    let mut ends = marks.map(|(at, _)| from + at);
    ends.find(|at| input[at + 1..].trim_start_matches(' ').starts_with('x'))
}

/// Two digits alone are a number to libphonenumber; two digits with an extension are none.
fn two_digits_and_extension(input: &str) -> bool {
    let mut start = input
        .chars()
        .skip_while(|c| !c.is_numeric())
        .map(char::is_numeric);
    if (start.next(), start.next(), start.next()) != (Some(true), Some(true), Some(false)) {
        return false;
    }
    let util = <PhoneNumberUtil as AsOriginal<_>>::as_original(&PHONE_NUMBER_UTIL);
    let Ok(national) = util.build_national_number_for_parsing(input) else {
        return false;
    };
    let (rest, extension) = util.maybe_strip_extension(&national);
    extension.is_some() && rest.chars().count() == 2 && !is_number_without_extension(&national)
}

/// Whether all of it is digits and what may stand between them, letters only behind the third digit.
fn is_number_without_extension(national: &str) -> bool {
    let mut digits = 0;
    national.chars().all(|c| {
        digits += u32::from(c.is_numeric());
        c.is_numeric() || is_punctuation(c) || (digits >= 3 && c.is_ascii_alphabetic())
    }) && digits >= 3
}

/// libphonenumber's punctuation of a number, the star included.
fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '-' | 'x' | '*' | ' ' | '(' | ')' | '.' | '[' | ']' | '/' | '~' | '～' | 'ー'
    ) || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}'..='\u{ff0f}' | '\u{a0}' | '\u{ad}')
        || matches!(
            c,
            '\u{200b}'
                | '\u{2060}'
                | '\u{3000}'
                | '（'
                | '）'
                | '［'
                | '］'
                | '\u{2053}'
                | '\u{223c}'
        )
}

fn describe(input: &str, number: &PhoneNumber) -> Analysis {
    let e164 = PHONE_NUMBER_UTIL
        .format(number, PhoneNumberFormat::E164)
        .into_owned();
    let country = PHONE_NUMBER_UTIL
        .get_region_for_number(number)
        .and_then(table::country);
    let kind = line_type(PHONE_NUMBER_UTIL.get_number_type(number));
    let valid = kind != LineType::Unknown;
    let national = number.get_national_significant_number();
    let refused = refusal::judge(&Subject {
        input,
        country,
        kind,
        valid,
        calling_code: u16::try_from(number.country_code).unwrap_or(0),
        national: &national,
    });
    Analysis {
        error: None,
        // Read over by the library, but never dialled: whoever holds a number may use it.
        number: Number::from_e164(&e164).filter(|_| !refusal::has_control(input)),
        e164: Some(e164),
        country,
        kind: Some(kind),
        valid,
        possible: PHONE_NUMBER_UTIL.is_possible_number(number),
        extension: number.extension.clone(),
        refused,
    }
}

fn line_type(kind: PhoneNumberType) -> LineType {
    match kind {
        PhoneNumberType::FixedLine => LineType::FixedLine,
        PhoneNumberType::Mobile => LineType::Mobile,
        PhoneNumberType::FixedLineOrMobile => LineType::FixedLineOrMobile,
        PhoneNumberType::TollFree => LineType::TollFree,
        PhoneNumberType::PremiumRate => LineType::PremiumRate,
        PhoneNumberType::SharedCost => LineType::SharedCost,
        PhoneNumberType::VoIP => LineType::Voip,
        PhoneNumberType::PersonalNumber => LineType::PersonalNumber,
        PhoneNumberType::Pager => LineType::Pager,
        PhoneNumberType::UAN => LineType::Uan,
        PhoneNumberType::VoiceMail => LineType::Voicemail,
        PhoneNumberType::Unknown => LineType::Unknown,
    }
}
