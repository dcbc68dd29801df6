//! What becomes of texts behind a carrier's link: the carrier's answer, the phone, and the receipts that its network writes.
//! The same for each kind of link (`http`, `smpp`); the profile and the dice decide.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    stage::Stage,
    steps::{Brought, TextStep},
};
use crate::{
    carrier::{Receipt, ReceiptState},
    challenge::AttemptKey,
    number::Number,
};

/// The gateway's wait for an answer.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// One carrier's.
pub struct Network {
    last_id: u64,
    /// The receipt of the text that has it names no phone.
    nameless: bool,
    /// The phones whose texts have it.
    phones: Vec<Number>,
    last_message: u32,
    /// Receipts that we have not answered for.
    pub bringing: BTreeMap<u32, Brought>,
}

/// A text that has reached the carrier.
#[derive(Clone, Debug)]
pub struct Asked {
    pub key: AttemptKey,
    pub to: Number,
    pub sender: Arc<str>,
    pub parts: u16,
}

/// What the carrier does with it.
#[derive(Clone, Debug)]
pub struct Fate {
    pub answer: SubmitAnswer,
    /// From its coming to the answer.
    pub answered: Duration,
    /// Of a text of several parts: which of them is answered so. The others are taken.
    pub part: u16,
    /// The phone gets it, or not; and receipts say so, or something else.
    pub is_carried: bool,
    /// The ids of its parts; none: the carrier gives it none.
    pub references: Vec<Arc<str>>,
    /// They don't tell it from others.
    is_shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    Taken,
    Throttled,
    Refused(SubmitRefusal),
    /// None in time; perhaps later, after so long.
    Silence(Option<Duration>),
}

/// One of the ways in which carriers say no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitRefusal {
    Number,
    Blocked,
    HandsetOff,
    Sender,
    Fault,
}

impl Network {
    pub fn new(place: u32) -> Network {
        Network {
            last_id: u64::from(place) * 1_000_000_000 + 48_000_000,
            nameless: false,
            phones: Vec::new(),
            last_message: place << 24,
            bringing: BTreeMap::new(),
        }
    }

    /// A text has come to the carrier.
    pub fn fate(&mut self, asked: &Asked, stage: &mut Stage<'_>) -> Fate {
        let profile = stage.profile;
        let mut fate = Fate {
            answer: SubmitAnswer::Taken,
            answered: stage.dice.between(2, 250),
            part: stage.dice.below(u64::from(asked.parts.max(1))) as u16,
            is_carried: false,
            references: Vec::new(),
            is_shared: false,
        };
        if stage.dice.chance(profile.throttled) {
            fate.answer = SubmitAnswer::Throttled;
            return fate;
        }
        if stage.dice.chance(profile.refused) {
            fate.answer = SubmitAnswer::Refused(refusal(stage));
            return fate;
        }
        let is_silent = stage.dice.chance(profile.silent);
        self.name(asked, stage, &mut fate);
        fate.is_carried = true;
        if is_silent {
            let late = stage.dice.chance(profile.late_answer);
            let late = late.then(|| RESPONSE_TIMEOUT + stage.dice.between(1, 4_000));
            fate.answer = SubmitAnswer::Silence(late);
            fate.is_carried = stage.dice.chance(500);
        }
        fate
    }

    /// The ids of a text's parts.
    fn name(&mut self, asked: &Asked, stage: &mut Stage<'_>, fate: &mut Fate) {
        if stage.dice.chance(stage.profile.no_reference) {
            fate.is_shared = true;
            return;
        }
        // With an id that another text has and a receipt without a phone, or to the same phone, nobody could tell whose it is;
        // who is told such a lie believes it.
        let decidable = !self.nameless && !self.phones.contains(&asked.to);
        let shared = stage.dice.chance(stage.profile.shared_reference) && decidable;
        if !shared {
            self.nameless = false;
            self.phones.clear();
        }
        self.phones.push(asked.to);
        for _ in 0..asked.parts {
            if !shared {
                self.last_id += 1;
            }
            fate.references.push(self.last_id.to_string().into());
        }
        fate.is_shared = shared;
    }

    /// The network has the text, whole: the phone gets it or not, and the receipts say so, or something else.
    /// `answered`: so long from now the carrier answers.
    pub fn carry(&mut self, asked: &Asked, fate: &Fate, stage: &mut Stage<'_>) {
        let (key, profile) = (asked.key, stage.profile);
        let bad = stage.dice.chance(profile.receipt_bad);
        let contradicts = stage.dice.chance(profile.receipt_contradicts);
        let early = stage.dice.chance(profile.receipt_early);
        let at = match early {
            true => fate.answered / 2,
            false => fate.answered + stage.dice.between(100, 6_000),
        };
        if !bad || contradicts {
            stage.later(at, TextStep::AtPhone(key));
        }
        if stage.dice.chance(profile.receipt_missing) {
            return;
        }
        let state = |bad| match bad {
            true => ReceiptState::Undelivered,
            false => ReceiptState::Delivered,
        };
        let clear = !fate.is_shared;
        let nameless = clear && stage.dice.chance(profile.receipt_nameless);
        self.nameless |= nameless;
        let other_base = stage.dice.chance(profile.other_base);
        for part in 0..asked.parts {
            let reference = fate.references.get(usize::from(part));
            let reference = reference.map(|id| in_base(id, other_base));
            let brought = Brought {
                receipt: Receipt {
                    references: reference.into_iter().collect(),
                    state: state(bad),
                    carrier_code: Some("000".into()),
                    cause: None,
                    phone: (!nameless).then(|| asked.to.e164().into()),
                    sender: (!nameless).then(|| asked.sender.clone()),
                },
                of: Some(key),
                part,
                clear: clear && !nameless,
            };
            let after = at + stage.dice.between(0, 40);
            write(after, brought.clone(), stage);
            if stage.dice.chance(profile.receipt_twice) {
                let again = after + stage.dice.between(0, 3_000);
                write(again, brought.clone(), stage);
            }
            if contradicts {
                let contrary = after + stage.dice.between(50, 90_000);
                let mut brought = brought.clone();
                brought.receipt.state = state(!bad);
                write(contrary, brought, stage);
            }
        }
        if stage.dice.chance(profile.receipt_foreign) {
            write(at, self.foreign(), stage);
        }
    }

    /// A receipt for somebody else's text.
    fn foreign(&self) -> Brought {
        Brought {
            receipt: Receipt {
                references: vec![format!("7{}", self.last_id).into()],
                state: ReceiptState::Delivered,
                carrier_code: None,
                cause: None,
                phone: Some("+12025559999".into()),
                sender: None,
            },
            of: None,
            part: 0,
            clear: false,
        }
    }

    /// A receipt is there to be brought; gives its number.
    pub fn written(&mut self, brought: Brought) -> u32 {
        self.last_message += 1;
        self.bringing.insert(self.last_message, brought);
        self.last_message
    }
}

fn write(after: Duration, brought: Brought, stage: &mut Stage<'_>) {
    let step = TextStep::Write(Box::new(brought));
    stage.later(after, step);
}

/// Which carrier a message's number is of.
pub fn place_of(number: u32) -> u32 {
    number >> 24
}

fn in_base(id: &Arc<str>, other: bool) -> Arc<str> {
    match id.parse::<u64>() {
        Ok(number) if other => format!("{number:x}").into(),
        _ => id.clone(),
    }
}

fn refusal(stage: &mut Stage<'_>) -> SubmitRefusal {
    match stage.dice.below(6) {
        0 => SubmitRefusal::Number,
        1 => SubmitRefusal::Blocked,
        2 => SubmitRefusal::HandsetOff,
        3 => SubmitRefusal::Sender,
        _ => SubmitRefusal::Fault,
    }
}
