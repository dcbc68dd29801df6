//! A carrier of texts, and the phones behind it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::carriers::{self, Effect, Stage};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, Incoming, Receipt, ReceiptState, Reply,
        TextOrder,
    },
    cause::{About, Blame, Cause, Failure, Verdict},
    challenge::{AttemptKey, Millis},
    number::Number,
};

/// The driver's wait for an answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A receipt that was not answered is brought again.
const AGAIN: Duration = Duration::from_secs(20);

/// One carrier.
pub struct Texts {
    up: bool,
    /// Orders that the driver has sent and that were not answered; `doubt`: it has said so.
    window: BTreeMap<AttemptKey, Unanswered>,
    last_id: u64,
    /// The receipt of the text that has it names no phone.
    nameless: bool,
    /// The phones whose texts have it.
    phones: Vec<Number>,
    last_message: u32,
    /// Receipts that we have not answered for.
    bringing: BTreeMap<u32, Brought>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
}

struct Unanswered {
    doubt: bool,
}

/// A receipt on its way.
#[derive(Clone, Debug)]
pub struct Brought {
    pub receipt: Receipt,
    /// Of this attempt's text; None: of nobody's here.
    pub of: Option<AttemptKey>,
    pub part: u16,
    /// Reference and phone say whose it is, for certain.
    pub clear: bool,
}

#[derive(Debug)]
pub enum TextStep {
    /// The carrier's answer reaches the driver.
    Answer(AttemptKey, AttemptEvent),
    /// The driver waits no longer.
    Unanswered(AttemptKey),
    /// The phone has the text.
    AtPhone(AttemptKey),
    /// A receipt is brought, if it was not answered for yet.
    Bring(u32),
    /// A receipt is written by the network.
    Write(Box<Brought>),
}

impl fmt::Display for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Some(key) => write!(
                f,
                "{:x}/{} part {}",
                key.challenge.0, key.attempt, self.part
            )?,
            None => f.write_str("a stranger's")?,
        }
        write!(
            f,
            ": {} {:?}",
            self.receipt.state.name(),
            self.receipt.references
        )?;
        if self.receipt.phone.is_none() {
            f.write_str(", no phone")?;
        }
        let unclear = if self.clear { "" } else { ", not clear" };
        f.write_str(unclear)
    }
}

impl TextStep {
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            TextStep::AtPhone(_) | TextStep::Write(_) => true,
            // Those that were not answered for are brought again once the link is up.
            TextStep::Answer(..) | TextStep::Unanswered(_) | TextStep::Bring(_) => false,
        }
    }
}

impl Texts {
    pub fn new(place: u32) -> Texts {
        let (acks, answers) = mpsc::unbounded_channel();
        Texts {
            up: false,
            window: BTreeMap::new(),
            last_id: u64::from(place) * 1_000_000_000 + 48_000_000,
            nameless: false,
            phones: Vec::new(),
            last_message: place << 24,
            bringing: BTreeMap::new(),
            acks,
            _answers: answers,
        }
    }

    pub fn crash(&mut self) {
        self.up = false;
        self.window.clear();
    }

    pub fn up(&mut self, stage: &mut Stage<'_>) {
        self.up = true;
        for number in self.bringing.keys() {
            let after = stage.dice.between(1, 500);
            stage.later(after, carriers::Step::Text(TextStep::Bring(*number)));
        }
    }

    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        self.up = false;
        for (key, order) in std::mem::take(&mut self.window) {
            if !order.doubt {
                stage.say(doubt(key));
            }
        }
    }

    pub fn submit(&mut self, order: &TextOrder, wall: Millis, stage: &mut Stage<'_>) {
        let (key, profile) = (order.key, stage.profile);
        let answer = |stage: &mut Stage<'_>, after, event| {
            stage.later(after, carriers::Step::Text(TextStep::Answer(key, event)));
        };
        self.window.insert(key, Unanswered { doubt: false });
        let soon = stage.dice.between(2, 250);
        if wall >= order.deadline {
            let event = AttemptEvent::Failed(Cause::Expired.failure(None));
            return answer(stage, Duration::ZERO, event);
        }
        if !self.up {
            let event = AttemptEvent::Failed(Cause::CarrierFault.failure(None));
            return answer(stage, Duration::ZERO, event);
        }
        if stage.dice.chance(profile.throttled) {
            let mut failure = Cause::Throttled.failure(Some("0x00000058".into()));
            failure.retry_after = stage.dice.chance(300).then_some(Duration::from_secs(2));
            return answer(stage, soon, AttemptEvent::Failed(failure));
        }
        if stage.dice.chance(profile.refused) {
            let failure = refusal(stage);
            return answer(stage, soon, AttemptEvent::Failed(failure));
        }
        let silent = stage.dice.chance(profile.silent);
        let mut references = Vec::new();
        let clear = !self.name(order, stage, &mut references);
        if silent {
            let waited = carriers::Step::Text(TextStep::Unanswered(key));
            stage.later(RESPONSE_TIMEOUT, waited);
            if stage.dice.chance(profile.late_answer) {
                let late = RESPONSE_TIMEOUT + stage.dice.between(1, 4_000);
                let references = references.clone();
                answer(stage, late, AttemptEvent::Accepted { references });
            }
            if stage.dice.chance(500) {
                return;
            }
        } else {
            let references = references.clone();
            answer(stage, soon, AttemptEvent::Accepted { references });
        }
        self.carry(order, &references, clear, soon, stage);
    }

    /// The ids of a text's parts. True: the references don't tell it from others.
    fn name(&mut self, order: &TextOrder, stage: &mut Stage<'_>, ids: &mut Vec<Arc<str>>) -> bool {
        if stage.dice.chance(stage.profile.no_reference) {
            return true;
        }
        // With an id that another text has and a receipt without a phone, or to the same phone, nobody could tell whose it is;
        // who is told such a lie believes it.
        let decidable = !self.nameless && !self.phones.contains(&order.to);
        let shared = stage.dice.chance(stage.profile.shared_reference) && decidable;
        if !shared {
            self.nameless = false;
            self.phones.clear();
        }
        self.phones.push(order.to);
        for _ in 0..carriers::parts(order) {
            if !shared {
                self.last_id += 1;
            }
            ids.push(self.last_id.to_string().into());
        }
        shared
    }

    /// The network has the text: the phone gets it or not, and the receipts say so, or something else.
    fn carry(
        &mut self,
        order: &TextOrder,
        references: &[Arc<str>],
        clear: bool,
        answered: Duration,
        stage: &mut Stage<'_>,
    ) {
        let (key, profile) = (order.key, stage.profile);
        let bad = stage.dice.chance(profile.receipt_bad);
        let contradicts = stage.dice.chance(profile.receipt_contradicts);
        let early = stage.dice.chance(profile.receipt_early);
        let at = match early {
            true => answered / 2,
            false => answered + stage.dice.between(100, 6_000),
        };
        if !bad || contradicts {
            stage.later(at, carriers::Step::Text(TextStep::AtPhone(key)));
        }
        if stage.dice.chance(profile.receipt_missing) {
            return;
        }
        let state = |bad| match bad {
            true => ReceiptState::Undelivered,
            false => ReceiptState::Delivered,
        };
        let nameless = clear && stage.dice.chance(profile.receipt_nameless);
        self.nameless |= nameless;
        let other_base = stage.dice.chance(profile.other_base);
        for part in 0..carriers::parts(order) {
            let brought = Brought {
                receipt: Receipt {
                    references: references
                        .get(usize::from(part))
                        .map(|id| in_base(id, other_base))
                        .into_iter()
                        .collect(),
                    state: state(bad),
                    carrier_code: Some("000".into()),
                    cause: None,
                    phone: (!nameless).then(|| order.to.e164().into()),
                    sender: (!nameless).then(|| order.sender.clone()),
                },
                of: Some(key),
                part,
                clear: clear && !nameless,
            };
            let after = at + stage.dice.between(0, 40);
            self.write(after, brought.clone(), stage);
            if stage.dice.chance(profile.receipt_twice) {
                let again = after + stage.dice.between(0, 3_000);
                self.write(again, brought.clone(), stage);
            }
            if contradicts {
                let contrary = after + stage.dice.between(50, 90_000);
                let mut brought = brought.clone();
                brought.receipt.state = state(!bad);
                self.write(contrary, brought, stage);
            }
        }
        if stage.dice.chance(profile.receipt_foreign) {
            let brought = self.foreign();
            self.write(at, brought, stage);
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

    fn write(&mut self, after: Duration, brought: Brought, stage: &mut Stage<'_>) {
        let step = TextStep::Write(Box::new(brought));
        stage.later(after, carriers::Step::Text(step));
    }

    pub fn step(&mut self, step: TextStep, stage: &mut Stage<'_>) {
        match step {
            TextStep::Answer(key, event) => {
                // Else its session has gone meanwhile.
                if self.window.remove(&key).is_some() {
                    stage.say(CarrierEvent::Attempt(key, event));
                }
            }
            TextStep::Unanswered(key) => {
                if let Some(order) = self.window.get_mut(&key) {
                    order.doubt = true;
                    stage.say(doubt(key));
                }
            }
            TextStep::AtPhone(key) => stage.effects.push(Effect::TextAtPhone(key)),
            TextStep::Write(brought) => {
                self.last_message += 1;
                let number = self.last_message;
                self.bringing.insert(number, *brought);
                self.bring(number, stage);
            }
            TextStep::Bring(number) => self.bring(number, stage),
        }
    }

    fn bring(&mut self, number: u32, stage: &mut Stage<'_>) {
        let Some(brought) = self.bringing.get(&number).filter(|_| self.up) else {
            return;
        };
        let ack = Acknowledgement::Session(self.acks.clone(), number);
        let receipt = Incoming::Receipt(brought.receipt.clone());
        stage.say(CarrierEvent::Incoming(receipt, ack));
        stage.later(AGAIN, carriers::Step::Text(TextStep::Bring(number)));
    }

    /// It is safe with us, says the process.
    pub fn acknowledged(&mut self, number: u32) -> Option<Brought> {
        self.bringing.remove(&number)
    }

    pub fn brought(&self, number: u32) -> Option<&Brought> {
        self.bringing.get(&number)
    }
}

/// Which carrier a message's number is of.
pub fn place_of(number: u32) -> u32 {
    number >> 24
}

fn doubt(key: AttemptKey) -> CarrierEvent {
    let cause = Cause::InDoubt;
    CarrierEvent::Attempt(key, AttemptEvent::InDoubt { cause })
}

fn in_base(id: &Arc<str>, other: bool) -> Arc<str> {
    match id.parse::<u64>() {
        Ok(number) if other => format!("{number:x}").into(),
        _ => id.clone(),
    }
}

/// One of the ways in which carriers say no.
fn refusal(stage: &mut Stage<'_>) -> Failure {
    let code = Some(Arc::from("0x0000000b"));
    match stage.dice.below(6) {
        0 => Cause::InvalidNumber.failure(code),
        1 => Cause::BlockedByOperator.failure(code),
        2 => Cause::HandsetOff.failure(code),
        3 => Failure {
            cause: Cause::CarrierFault,
            verdict: Verdict::NextCandidate,
            blame: Blame::Us,
            about: About::Sender,
            carrier_code: Some("0x0000000a".into()),
            retry_after: None,
        },
        _ => Cause::CarrierFault.failure(code),
    }
}
