//! What is refused before any attempt, and why: emergency, short, premium, shared-cost, satellite numbers and
//! lines that belong to no person. Pure; decides on what the analysis found, sends nothing and knows no route.

use std::fmt;

use super::{Analysis, Country, LineType, emergency};

/// A refusal: the word that goes into the report and the detail that goes to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub detail: Detail,
}

/// The report's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    InvalidNumber,
    NumberType,
}

/// What exactly stood against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// It does not parse.
    Unreadable,
    /// It holds a control character.
    ControlCharacter,
    /// It parses and belongs to no assigned range.
    Unassigned,
    Emergency,
    /// A short number: too short to be dialled from abroad.
    Short,
    PremiumRate,
    SharedCost,
    /// Satellite networks: +870 and +881.
    Satellite,
    /// International networks and services: +808, +878, +882, +883, +888, +979.
    InternationalService,
    Pager,
    /// Follow-me numbers, such as +44 70: billed like premium rate.
    PersonalNumber,
    Voicemail,
    Uan,
    /// A text to a line that takes calls only.
    FixedLine,
    TollFree,
}

impl Refusal {
    const fn invalid(detail: Detail) -> Refusal {
        Refusal {
            reason: Reason::InvalidNumber,
            detail,
        }
    }

    const fn kind(detail: Detail) -> Refusal {
        Refusal {
            reason: Reason::NumberType,
            detail,
        }
    }
}

impl Reason {
    /// The word of the reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidNumber => "invalid_number",
            Reason::NumberType => "number_type",
        }
    }
}

impl Detail {
    /// A word for a person who asks why.
    pub const fn as_str(self) -> &'static str {
        match self {
            Detail::Unreadable => "unreadable",
            Detail::ControlCharacter => "control_character",
            Detail::Unassigned => "unassigned",
            Detail::Emergency => "emergency",
            Detail::Short => "short",
            Detail::PremiumRate => "premium_rate",
            Detail::SharedCost => "shared_cost",
            Detail::Satellite => "satellite",
            Detail::InternationalService => "international_service",
            Detail::Pager => "pager",
            Detail::PersonalNumber => "personal_number",
            Detail::Voicemail => "voicemail",
            Detail::Uan => "uan",
            Detail::FixedLine => "fixed_line",
            Detail::TollFree => "toll_free",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason.as_str(), self.detail.as_str())
    }
}

/// The operator's `[numbers]`: prefixes in E.164 that skip validity and type checks, never the emergency check.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NumberPolicy {
    allow: Vec<String>,
}

/// What was written in the place of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no prefix: write + and digits, such as \"+1202555\"")]
pub struct NoPrefix(Box<str>);

impl NumberPolicy {
    /// Each prefix is `+` and 1 to 15 digits; the error names the first that is not.
    pub fn new(allow: &[String]) -> Result<NumberPolicy, NoPrefix> {
        for prefix in allow {
            let digits = prefix.strip_prefix('+').unwrap_or("");
            if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(NoPrefix(prefix.as_str().into()));
            }
        }
        Ok(NumberPolicy {
            allow: allow.to_vec(),
        })
    }

    /// Whether the number stands under one of the prefixes. What does not fit E.164 never does.
    pub fn allows(&self, analysis: &Analysis) -> bool {
        let Some(number) = analysis.number else {
            return false;
        };
        let under = |prefix: &String| number.e164().starts_with(prefix.as_str());
        self.allow.iter().any(under)
    }
}

impl fmt::Debug for NumberPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberPolicy({} prefixes)", self.allow.len())
    }
}

/// What the judgement looks at.
pub(super) struct Subject<'a> {
    pub input: &'a str,
    pub country: Option<Country>,
    pub kind: LineType,
    pub valid: bool,
    pub calling_code: u16,
    /// The national significant number.
    pub national: &'a str,
}

/// Most digits of a number that is only dialled inside a country.
const SHORT_DIGITS: usize = 6;

/// The refusal that holds on every channel, emergency first.
pub(super) fn judge(subject: &Subject<'_>) -> Option<Refusal> {
    if !subject.valid
        && emergency::is_emergency(subject.calling_code, subject.country, subject.national)
    {
        return Some(Refusal::kind(Detail::Emergency));
    }
    if has_control(subject.input) {
        return Some(Refusal::invalid(Detail::ControlCharacter));
    }
    match subject.calling_code {
        870 | 881 => return Some(Refusal::kind(Detail::Satellite)),
        808 | 878 | 882 | 883 | 888 | 979 => {
            return Some(Refusal::kind(Detail::InternationalService));
        }
        _ => {}
    }
    if !subject.valid {
        return Some(if subject.national.len() <= SHORT_DIGITS {
            Refusal::kind(Detail::Short)
        } else {
            Refusal::invalid(Detail::Unassigned)
        });
    }
    match subject.kind {
        LineType::PremiumRate => Some(Refusal::kind(Detail::PremiumRate)),
        LineType::SharedCost => Some(Refusal::kind(Detail::SharedCost)),
        LineType::Pager => Some(Refusal::kind(Detail::Pager)),
        LineType::PersonalNumber => Some(Refusal::kind(Detail::PersonalNumber)),
        LineType::Voicemail => Some(Refusal::kind(Detail::Voicemail)),
        LineType::Uan => Some(Refusal::kind(Detail::Uan)),
        LineType::Unknown => Some(Refusal::invalid(Detail::Unassigned)),
        LineType::FixedLine
        | LineType::Mobile
        | LineType::FixedLineOrMobile
        | LineType::TollFree
        | LineType::Voip => None,
    }
}

/// The refusal of an input that does not parse. `dialled` are its digits: emergency numbers are named as
/// such even where the region is missing.
pub(super) fn unreadable(input: &str, dialled: &str) -> Refusal {
    if emergency::is_emergency_anywhere(dialled) {
        Refusal::kind(Detail::Emergency)
    } else if has_control(input) {
        Refusal::invalid(Detail::ControlCharacter)
    } else {
        Refusal::invalid(Detail::Unreadable)
    }
}

/// The refusal of a text to a line that takes calls only.
pub(super) fn text_refusal(kind: LineType) -> Option<Refusal> {
    match kind {
        LineType::FixedLine => Some(Refusal::kind(Detail::FixedLine)),
        LineType::TollFree => Some(Refusal::kind(Detail::TollFree)),
        _ => None,
    }
}

/// Control characters (Unicode's Cc), and what else ends a line or hides text: line and paragraph separators, interlinear
/// annotations, tag characters. Marks of writing direction, joiners and odd blanks are none of them: they come along when
/// a number is copied from a contact or a chat, and libphonenumber reads over them.
pub(super) fn has_control(input: &str) -> bool {
    input.bytes().any(|b| b.is_ascii_control()) || (!input.is_ascii() && input.chars().any(hides))
}

fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
