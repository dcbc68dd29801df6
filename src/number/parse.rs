//! The border to the number library: whatever is not clean E.164 comes through here. What the library reads
//! otherwise than libphonenumber does is evened out before or after it. May not keep what it reads.

use rlibphonenumber::{
    NotANumberError, PHONE_NUMBER_UTIL, ParseError as LibraryError, PhoneNumber, PhoneNumberFormat,
    PhoneNumberType, Region,
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
                number: None,
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
    let region = region.and_then(|region| Region::from_code(region).ok());
    PHONE_NUMBER_UTIL
        .parse(input, region)
        .map_err(ParseError::from)
}

/// A `tel:` behind `;phone-context=` leaves nothing between the two, and the library would cut backwards.
fn number_after_context(input: &str) -> bool {
    match (input.find("tel:"), input.find(";phone-context=")) {
        (Some(tel), Some(context)) => tel + "tel:".len() > context,
        _ => false,
    }
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
        number: Number::from_e164(&e164),
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
