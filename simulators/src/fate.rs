//! What becomes of a text, decided once for every transport: is it refused, does the person read it, which
//! receipts come when, does the carrier keep its answer to itself. Pure: the dice are seeded, the time is the
//! caller's.

use crate::record::TextResult;
use crate::script::{Chance, Dice, Faults, IdBase};
use crate::subscriber::{Habits, TextBehaviour};
use std::time::Duration;

/// How much earlier than the answer an early receipt is.
const EARLY_BY: Duration = Duration::from_millis(50);
/// How much later than the first a second receipt is.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long after the receipt's time a person sends the code back.
const REPLY_AFTER: Duration = Duration::from_millis(500);

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too fast.
    Throttled,
    /// The script's error, with its code (0: the transport's usual one).
    Error(u32),
    /// There is no such phone.
    NoSuchPhone,
}

impl Refused {
    /// Is it refused?
    pub fn decide(dice: &mut Dice, faults: &Faults, person: TextBehaviour) -> Option<Refused> {
        if dice.strikes(Chance::Throttle, faults.throttle) {
            return Some(Refused::Throttled);
        }
        if dice.strikes(Chance::Error, faults.error.often) {
            return Some(Refused::Error(faults.error.code));
        }
        (person == TextBehaviour::RefusedAtSubmit).then_some(Refused::NoSuchPhone)
    }
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// On its way.
    Enroute,
    /// On the phone.
    Delivered,
    /// The validity ended first.
    Expired,
    /// The phone can't be reached.
    Undeliverable,
    /// The phone's network refuses it.
    Rejected,
}

impl Stat {
    /// As the text of an SMPP receipt, and the record, write it.
    pub fn word(self) -> &'static str {
        match self {
            Stat::Enroute => "ENROUTE",
            Stat::Delivered => "DELIVRD",
            Stat::Expired => "EXPIRED",
            Stat::Undeliverable => "UNDELIV",
            Stat::Rejected => "REJECTD",
        }
    }
}

/// What becomes of a text that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How it ends.
    pub end: Stat,
    /// Does any final receipt say so?
    pub receipt: bool,
    /// From now to the answer.
    pub answer_after: Duration,
    /// The connection is dropped instead of an answer.
    pub dropped: bool,
    /// From now to the final receipt.
    pub receipt_after: Duration,
    /// From now to a second final receipt.
    pub again_after: Option<Duration>,
    /// From now to an intermediate notification.
    pub intermediate_after: Option<Duration>,
    /// From now to the person's own text with the code.
    pub reply_after: Option<Duration>,
    /// False: the receipt's id is in the optional parameter alone.
    pub id_in_text: bool,
    /// How ids are written.
    pub base: IdBase,
    /// The receipt comes by data_sm.
    pub by_data: bool,
}

impl Fate {
    /// Decide. Every chance is rolled for every text, so that one fault more does not change how the others fall.
    pub fn decide(
        dice: &mut Dice,
        faults: &Faults,
        person: TextBehaviour,
        habits: &Habits,
    ) -> Fate {
        use TextBehaviour as Person;
        let undelivered = dice.strikes(Chance::Undelivered, faults.undelivered);
        let collapsed = dice.strikes(Chance::NoReceipt, faults.no_receipts);
        let early = dice.strikes(Chance::EarlyReceipt, faults.early_receipts)
            || person == Person::EarlyReceipt;
        let twice = dice.strikes(Chance::DoubleReceipt, faults.double_receipts)
            || person == Person::DoubleReceipt;
        let dropped = dice.strikes(Chance::DropAfterSend, faults.drop_after_send)
            || person == Person::DroppedUnanswered;
        let by_data = dice.strikes(Chance::DataReceipt, faults.receipts_by_data_sm);
        let answer = Duration::from_millis(faults.response_delay_ms);
        let usual = answer
            + faults
                .receipt_delay_ms
                .map_or(habits.receipt_delay, Duration::from_millis);
        let late = if person == Person::LateReceipt {
            habits.late_receipt
        } else {
            Duration::ZERO
        };
        let late = usual + late + Duration::from_millis(faults.late_receipt_ms);
        let receipt_after = if early { Duration::ZERO } else { late };
        Fate {
            end: match person {
                Person::HandsetOff => Stat::Undeliverable,
                Person::Rejected => Stat::Rejected,
                Person::Expired => Stat::Expired,
                _ if undelivered => Stat::Undeliverable,
                _ => Stat::Delivered,
            },
            receipt: !collapsed && person != Person::NoReceipt,
            answer_after: if early { answer + EARLY_BY } else { answer },
            dropped,
            receipt_after,
            again_after: twice.then_some(receipt_after + AGAIN_AFTER),
            intermediate_after: (person == Person::IntermediateFirst)
                .then_some((answer + usual) / 2),
            reply_after: (person == Person::RepliesWithCode).then_some(usual + REPLY_AFTER),
            id_in_text: person != Person::IdOnlyInTlv,
            base: if person == Person::OtherIdBase {
                IdBase::HexDec
            } else {
                faults.id_base
            },
            by_data,
        }
    }

    /// For the record.
    pub fn result(&self) -> TextResult {
        match self.end {
            Stat::Delivered | Stat::Enroute => TextResult::Read,
            Stat::Expired | Stat::Undeliverable | Stat::Rejected => TextResult::Unread,
        }
    }

    /// Receipts to come: when (from now), and what they say.
    pub fn receipts(&self) -> impl Iterator<Item = (Duration, Stat)> + use<> {
        let end = self.end;
        let finals = [Some(self.receipt_after), self.again_after]
            .into_iter()
            .flatten();
        let finals = finals.filter({
            let receipt = self.receipt;
            move |_| receipt
        });
        self.intermediate_after
            .map(|after| (after, Stat::Enroute))
            .into_iter()
            .chain(finals.map(move |after| (after, end)))
    }
}
