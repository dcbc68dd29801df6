//! The person and the phone at the far end: what happens when a text or a call gets there.
//!
//! Chosen by the number alone, so that a test, a demonstration and a load run need no set-up: only where the
//! last four digits are `90NN` does something special happen, and [`TABLE`] says what. Every other number
//! belongs to a person who reads texts at once, answers calls after [`Habits::ring`], listens for a while,
//! presses `#`, and listens on until the caller hangs up. A script may say otherwise for single numbers
//! (`Faults::people`).
//!
//! Pure data: no clock, no dice, no socket.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of a text on its way to this phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextBehaviour {
    /// Read; a `DELIVRD` receipt after the receipt delay.
    #[default]
    Normal,
    /// Handset off: receipt `UNDELIV` with an error number.
    HandsetOff,
    /// Read, but no receipt ever comes.
    NoReceipt,
    /// Read; the receipt comes 30 s late.
    LateReceipt,
    /// Read; the receipt comes before the answer to the submit.
    EarlyReceipt,
    /// Read; the receipt comes twice.
    DoubleReceipt,
    /// Refused at submit: `ESME_RINVDSTADR` (0x0B), HTTP 400.
    RefusedAtSubmit,
    /// Taken, then receipt `REJECTD`.
    Rejected,
    /// Taken and read, but the session is dropped without an answer: in doubt for the sender.
    DroppedUnanswered,
    /// Taken, then receipt `EXPIRED`.
    Expired,
    /// Read; the id is hexadecimal in the answer and decimal in the receipt.
    OtherIdBase,
    /// Read; the receipt carries the id in the TLV `receipted_message_id` alone.
    IdOnlyInTlv,
    /// Read; the person sends the code back by text.
    RepliesWithCode,
    /// Read; an intermediate notification (`esm_class` 0x20) comes first, then `DELIVRD`.
    IntermediateFirst,
}

/// What becomes of a call to this phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceBehaviour {
    /// Rings, answers, listens, presses `#`, listens on until BYE.
    #[default]
    Normal,
    /// 486.
    Busy,
    /// Rings for ever.
    NoAnswer,
    /// 603.
    Declined,
    /// Answers, talks, beeps, never presses a key.
    Voicemail,
    /// Answers and stays silent, no key.
    Silent,
    /// A wrong key first, then `#`.
    WrongKeyThenHash,
    /// Wrong keys only.
    WrongKeys,
    /// 404.
    Unreachable,
    /// 503.
    ServiceUnavailable,
    /// Answers and hangs up after a second.
    HangsUp,
    /// The fraud key (0), then `#`.
    FraudKey,
    /// Presses `#` only after the prompt has begun anew.
    AfterRepeat,
    /// Presses `#`; the digit travels in-band only (no telephone-event).
    InbandDigits,
    /// Presses `#`; the digit travels by SIP INFO only.
    InfoDigits,
    /// 183 with audio, then an answer, then `#`.
    EarlyMedia,
    /// The far end says BYE in the middle of the prompt.
    ByeInPrompt,
    /// 608: blocked on the way.
    Blocked,
    /// 480.
    TemporarilyUnavailable,
    /// Two 200 answers from two forks.
    TwoAnswers,
}

/// Both sides of one person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// What becomes of texts.
    pub text: TextBehaviour,
    /// What becomes of calls.
    pub voice: VoiceBehaviour,
}

impl Behaviour {
    /// The behaviour that the last four digits of `number` stand for. Anything but digits is skipped, so
    /// `+1 202 555 9001`, `sip:+12025559001` and `12025559001` are the same person.
    pub fn of(number: &str) -> Behaviour {
        let Some(special) = special_number(number) else {
            return Behaviour::default();
        };
        match TABLE.iter().find(|row| row.nn == special) {
            Some(row) => row.case.behaviour(),
            None => Behaviour::default(),
        }
    }
}

/// One line of [`TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The last two of the digits `90NN`.
    pub nn: u8,
    /// What is special about the number.
    pub case: Case,
}

/// What is special: the texts or the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Texts behave so; calls are normal.
    Text(TextBehaviour),
    /// Calls behave so; texts are normal.
    Voice(VoiceBehaviour),
}

impl Case {
    fn behaviour(self) -> Behaviour {
        match self {
            Case::Text(text) => Behaviour {
                text,
                ..Behaviour::default()
            },
            Case::Voice(voice) => Behaviour {
                voice,
                ..Behaviour::default()
            },
        }
    }
}

const fn text(nn: u8, text: TextBehaviour) -> Row {
    Row {
        nn,
        case: Case::Text(text),
    }
}

const fn voice(nn: u8, voice: VoiceBehaviour) -> Row {
    Row {
        nn,
        case: Case::Voice(voice),
    }
}

/// Who lives at `...90NN`.
pub const TABLE: &[Row] = &[
    text(1, TextBehaviour::HandsetOff),
    text(2, TextBehaviour::NoReceipt),
    text(3, TextBehaviour::LateReceipt),
    text(4, TextBehaviour::EarlyReceipt),
    text(5, TextBehaviour::DoubleReceipt),
    text(6, TextBehaviour::RefusedAtSubmit),
    text(7, TextBehaviour::Rejected),
    text(8, TextBehaviour::DroppedUnanswered),
    text(9, TextBehaviour::Expired),
    text(10, TextBehaviour::OtherIdBase),
    text(11, TextBehaviour::IdOnlyInTlv),
    text(12, TextBehaviour::RepliesWithCode),
    text(13, TextBehaviour::IntermediateFirst),
    voice(20, VoiceBehaviour::Busy),
    voice(21, VoiceBehaviour::NoAnswer),
    voice(22, VoiceBehaviour::Declined),
    voice(23, VoiceBehaviour::Voicemail),
    voice(24, VoiceBehaviour::Silent),
    voice(25, VoiceBehaviour::WrongKeyThenHash),
    voice(26, VoiceBehaviour::WrongKeys),
    voice(27, VoiceBehaviour::Unreachable),
    voice(28, VoiceBehaviour::ServiceUnavailable),
    voice(29, VoiceBehaviour::HangsUp),
    voice(30, VoiceBehaviour::FraudKey),
    voice(31, VoiceBehaviour::AfterRepeat),
    voice(32, VoiceBehaviour::InbandDigits),
    voice(33, VoiceBehaviour::InfoDigits),
    voice(34, VoiceBehaviour::EarlyMedia),
    voice(35, VoiceBehaviour::ByeInPrompt),
    voice(36, VoiceBehaviour::Blocked),
    voice(37, VoiceBehaviour::TemporarilyUnavailable),
    voice(38, VoiceBehaviour::TwoAnswers),
];

/// How quick people and networks are; the same for everybody behind one simulated carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// From the submit's answer to its receipt.
    pub receipt_delay: Duration,
    /// How late [`TextBehaviour::LateReceipt`] is.
    pub late_receipt: Duration,
    /// From the first ring to the answer.
    pub ring: Duration,
    /// How long the prompt is heard before a key is pressed.
    pub key_after: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            receipt_delay: Duration::from_millis(100),
            late_receipt: Duration::from_secs(30),
            ring: Duration::from_millis(300),
            key_after: Duration::from_millis(1500),
        }
    }
}

/// The digits of `number`: what numbers are compared by.
pub fn digits_of(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

/// `NN` where the last four digits are `90NN`.
fn special_number(number: &str) -> Option<u8> {
    let mut last = number
        .bytes()
        .rev()
        .filter(u8::is_ascii_digit)
        .map(|b| b - b'0');
    let (ones, tens) = (last.next()?, last.next()?);
    (last.next()? == 0 && last.next()? == 9).then_some(tens * 10 + ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_90nn_is_special() {
        assert_eq!(
            Behaviour::of("+12025559001").text,
            TextBehaviour::HandsetOff
        );
        assert_eq!(Behaviour::of("+12025559001").voice, VoiceBehaviour::Normal);
        assert_eq!(
            Behaviour::of("sip:+1 (202) 555-9038").voice,
            VoiceBehaviour::TwoAnswers
        );
        for normal in [
            "+12025550123",
            "+12025559000",
            "+12025559099",
            "+12025550901",
            "901",
            "",
        ] {
            assert_eq!(Behaviour::of(normal), Behaviour::default(), "{normal}");
        }
    }

    #[test]
    fn nobody_lives_at_two_doors() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(TABLE.iter().position(|other| other.nn == row.nn), Some(at));
            assert_eq!(
                TABLE.iter().position(|other| other.case == row.case),
                Some(at)
            );
        }
        assert_eq!(TABLE.len(), 32);
    }
}
