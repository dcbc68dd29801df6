//! A carrier of texts whose link is played as events: an HTTP carrier as the core knows it, a request and an answer for each
//! text, and receipts by callback.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    stage::{Effect, Stage},
    steps::{Brought, HttpStep, TextStep},
    texts::{Asked, Network, RESPONSE_TIMEOUT, SubmitAnswer, SubmitRefusal},
};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, DriverId, Incoming, Link, Reply, Slots,
        TextOrder,
    },
    cause::{About, Blame, Cause, Failure, Verdict},
    challenge::AttemptKey,
};

/// A receipt that was not answered is brought again.
const AGAIN: Duration = Duration::from_secs(20);

/// One carrier.
pub struct Http {
    pub network: Network,
    window: u32,
    slots: Slots,
    up: bool,
    /// Callbacks are taken.
    has_desk: bool,
    /// The driver that has the name.
    driver: Option<DriverId>,
    /// Those that were told to finish, and have requests out.
    leaving: Vec<DriverId>,
    /// Orders that a driver has sent and that were not answered.
    unanswered: BTreeMap<AttemptKey, Sent>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
}

struct Sent {
    by: DriverId,
    /// It has said that it is in doubt.
    in_doubt: bool,
}

impl Http {
    pub fn new(place: u32, window: u32) -> Http {
        let (acks, answers) = mpsc::unbounded_channel();
        Http {
            network: Network::new(place),
            window,
            slots: Slots::default(),
            up: false,
            has_desk: true,
            driver: None,
            leaving: Vec::new(),
            unanswered: BTreeMap::new(),
            acks,
            _answers: answers,
        }
    }

    /// A driver begins.
    pub fn begin(&mut self, driver: DriverId, stage: &mut Stage<'_>) -> Slots {
        self.slots = Slots::default();
        self.driver = Some(driver);
        self.has_desk = true;
        let after = stage.dice.between(5, 400);
        stage.later(after, HttpStep::Up);
        self.slots.clone()
    }

    pub fn crash(&mut self) {
        self.up = false;
        self.driver = None;
        self.leaving.clear();
        self.unanswered.clear();
    }

    /// What is in the air goes on, and nothing is said of the link.
    pub fn finish(&mut self, driver: DriverId, stage: &mut Stage<'_>) {
        if self.driver == Some(driver) {
            self.driver = None;
            self.slots.set(0);
        }
        if !self.leaving.contains(&driver) {
            self.leaving.push(driver);
        }
        self.end(stage);
    }

    /// Those that were told to finish end with their last request.
    fn end(&mut self, stage: &mut Stage<'_>) {
        let mut ended = self.leaving.clone();
        ended.retain(|driver| !self.unanswered.values().any(|sent| sent.by == *driver));
        self.leaving.retain(|driver| !ended.contains(driver));
        let ended = ended.into_iter().map(Effect::Ended);
        stage.effects.extend(ended);
    }

    /// Its file says this now.
    pub fn change(&mut self, window: u32, stage: &mut Stage<'_>) {
        self.window = window;
        if self.up && self.driver.is_some() {
            self.slots.set(window);
            stage.say(CarrierEvent::Link(Link::Room));
        }
    }

    /// Another set of carriers is in force. The desk for callbacks stays while a driver of the name runs.
    pub fn set_changed(&mut self) {
        self.has_desk = self.driver.is_some() || !self.leaving.is_empty();
    }

    pub fn has_ended(&self) -> bool {
        self.unanswered.is_empty()
    }

    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        self.up = false;
        self.slots.set(0);
        for (key, sent) in std::mem::take(&mut self.unanswered) {
            if !sent.in_doubt {
                stage.say(doubt(key));
            }
        }
        self.end(stage);
        if self.driver.is_some() {
            let reason = "cut".into();
            stage.say(CarrierEvent::Link(Link::Down { reason }));
        }
        let after = stage.dice.between(200, 20_000);
        stage.later(after, HttpStep::Up);
    }

    pub fn submit(&mut self, by: DriverId, order: &TextOrder, parts: u16, stage: &mut Stage<'_>) {
        let key = order.key;
        let in_doubt = false;
        self.unanswered.insert(key, Sent { by, in_doubt });
        let unsent = match () {
            () if stage.wall >= order.deadline => Some(Cause::Expired),
            () if !self.up || self.driver != Some(by) => Some(Cause::CarrierFault),
            () => None,
        };
        if let Some(cause) = unsent {
            let event = AttemptEvent::Failed(cause.failure(None));
            return stage.later(Duration::ZERO, HttpStep::Answer(key, event));
        }
        let asked = Asked {
            key,
            to: order.to,
            sender: order.sender.clone(),
            parts,
        };
        let fate = self.network.fate(&asked, stage);
        let references = fate.references.clone();
        let accepted = AttemptEvent::Accepted { references };
        let answer = match fate.answer {
            SubmitAnswer::Taken => Some((fate.answered, accepted)),
            SubmitAnswer::Throttled => {
                let mut failure = Cause::Throttled.failure(Some("429".into()));
                failure.retry_after = stage.dice.chance(300).then_some(Duration::from_secs(2));
                Some((fate.answered, AttemptEvent::Failed(failure)))
            }
            SubmitAnswer::Refused(refusal) => {
                Some((fate.answered, AttemptEvent::Failed(failure(refusal))))
            }
            SubmitAnswer::Silence(late) => {
                stage.later(RESPONSE_TIMEOUT, HttpStep::Unanswered(key));
                late.map(|late| (late, accepted))
            }
        };
        if let Some((after, event)) = answer {
            stage.later(after, HttpStep::Answer(key, event));
        }
        if fate.is_carried {
            self.network.carry(&asked, &fate, stage);
        }
    }

    pub fn step(&mut self, step: HttpStep, stage: &mut Stage<'_>) {
        match step {
            HttpStep::Up => {
                self.up = true;
                if self.driver.is_some() {
                    self.slots.set(self.window);
                    stage.say(CarrierEvent::Link(Link::Up));
                }
                for number in self.network.bringing.keys() {
                    let after = stage.dice.between(1, 500);
                    stage.later(after, HttpStep::Bring(*number));
                }
            }
            HttpStep::Answer(key, event) => {
                // Else its request has gone meanwhile.
                if self.unanswered.remove(&key).is_some() {
                    stage.say(CarrierEvent::Attempt(key, event));
                    self.end(stage);
                }
            }
            HttpStep::Unanswered(key) => {
                if let Some(sent) = self.unanswered.get_mut(&key) {
                    sent.in_doubt = true;
                    stage.say(doubt(key));
                }
            }
            HttpStep::Bring(number) => self.bring(number, stage),
        }
    }

    /// A step of the network behind.
    pub fn text_step(&mut self, step: TextStep, stage: &mut Stage<'_>) {
        match step {
            TextStep::AtPhone(key) => stage.effects.push(Effect::TextAtPhone(key)),
            TextStep::Write(brought) => {
                let number = self.network.written(*brought);
                self.bring(number, stage);
            }
        }
    }

    fn bring(&mut self, number: u32, stage: &mut Stage<'_>) {
        let brought = self.network.bringing.get(&number);
        let Some(brought) = brought.filter(|_| self.up) else {
            return;
        };
        if !self.has_desk {
            // Refused: the carrier comes again.
            return stage.later(AGAIN, HttpStep::Bring(number));
        }
        let ack = Acknowledgement::Session(self.acks.clone(), number);
        let receipt = Incoming::Receipt(brought.receipt.clone());
        stage.say(CarrierEvent::Incoming(receipt, ack));
        stage.later(AGAIN, HttpStep::Bring(number));
    }

    /// It is safe with us, says the process.
    pub fn acknowledged(&mut self, number: u32) -> Option<Brought> {
        self.network.bringing.remove(&number)
    }
}

fn doubt(key: AttemptKey) -> CarrierEvent {
    let cause = Cause::InDoubt;
    CarrierEvent::Attempt(key, AttemptEvent::InDoubt { cause })
}

fn failure(refusal: SubmitRefusal) -> Failure {
    let code = Some(Arc::from("400"));
    match refusal {
        SubmitRefusal::Number => Cause::InvalidNumber.failure(code),
        SubmitRefusal::Blocked => Cause::BlockedByOperator.failure(code),
        SubmitRefusal::HandsetOff => Cause::HandsetOff.failure(code),
        SubmitRefusal::Sender => Failure {
            cause: Cause::CarrierFault,
            verdict: Verdict::NextCandidate,
            blame: Blame::Us,
            about: About::Sender,
            carrier_code: code,
            retry_after: None,
        },
        SubmitRefusal::Fault => Cause::CarrierFault.failure(code),
    }
}
