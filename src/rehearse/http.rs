//! A carrier of texts whose link is played as events: an HTTP carrier as the core knows it, a request and an answer for each
//! text, and receipts by callback.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    carriers::{self, Effect, Stage},
    texts::{Asked, Brought, Network, RESPONSE_TIMEOUT, SubmitAnswer, SubmitRefusal, TextStep},
};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, Incoming, Link, Reply, Slots, TextOrder,
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
    /// Orders that the driver has sent and that were not answered; true: it has said that it is in doubt.
    unanswered: BTreeMap<AttemptKey, bool>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
}

#[derive(Debug)]
pub enum HttpStep {
    Up,
    /// The carrier's answer reaches the driver.
    Answer(AttemptKey, AttemptEvent),
    /// The driver waits no longer.
    Unanswered(AttemptKey),
    /// A receipt is brought, if it was not answered for yet.
    Bring(u32),
}

impl Http {
    pub fn new(place: u32, window: u32) -> Http {
        let (acks, answers) = mpsc::unbounded_channel();
        Http {
            network: Network::new(place),
            window,
            slots: Slots::default(),
            up: false,
            unanswered: BTreeMap::new(),
            acks,
            _answers: answers,
        }
    }

    /// A process has started: its driver begins.
    pub fn begin(&mut self, stage: &mut Stage<'_>) -> Slots {
        self.slots = Slots::default();
        let after = stage.dice.between(5, 400);
        later(stage, after, HttpStep::Up);
        self.slots.clone()
    }

    pub fn crash(&mut self) {
        self.up = false;
        self.unanswered.clear();
    }

    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        self.up = false;
        self.slots.set(0);
        for (key, in_doubt) in std::mem::take(&mut self.unanswered) {
            if !in_doubt {
                stage.say(doubt(key));
            }
        }
        let reason = "cut".into();
        stage.say(CarrierEvent::Link(Link::Down { reason }));
        let after = stage.dice.between(200, 20_000);
        later(stage, after, HttpStep::Up);
    }

    pub fn submit(&mut self, order: &TextOrder, parts: u16, stage: &mut Stage<'_>) {
        let key = order.key;
        self.unanswered.insert(key, false);
        let unsent = match () {
            () if stage.wall >= order.deadline => Some(Cause::Expired),
            () if !self.up => Some(Cause::CarrierFault),
            () => None,
        };
        if let Some(cause) = unsent {
            let event = AttemptEvent::Failed(cause.failure(None));
            return later(stage, Duration::ZERO, HttpStep::Answer(key, event));
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
                later(stage, RESPONSE_TIMEOUT, HttpStep::Unanswered(key));
                late.map(|late| (late, accepted))
            }
        };
        if let Some((after, event)) = answer {
            later(stage, after, HttpStep::Answer(key, event));
        }
        if fate.is_carried {
            self.network.carry(&asked, &fate, stage);
        }
    }

    pub fn step(&mut self, step: HttpStep, stage: &mut Stage<'_>) {
        match step {
            HttpStep::Up => {
                self.up = true;
                self.slots.set(self.window);
                stage.say(CarrierEvent::Link(Link::Up));
                for number in self.network.bringing.keys() {
                    let after = stage.dice.between(1, 500);
                    later(stage, after, HttpStep::Bring(*number));
                }
            }
            HttpStep::Answer(key, event) => {
                // Else its request has gone meanwhile.
                if self.unanswered.remove(&key).is_some() {
                    stage.say(CarrierEvent::Attempt(key, event));
                }
            }
            HttpStep::Unanswered(key) => {
                if let Some(in_doubt) = self.unanswered.get_mut(&key) {
                    *in_doubt = true;
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
        let Some(brought) = self.network.bringing.get(&number).filter(|_| self.up) else {
            return;
        };
        let ack = Acknowledgement::Session(self.acks.clone(), number);
        let receipt = Incoming::Receipt(brought.receipt.clone());
        stage.say(CarrierEvent::Incoming(receipt, ack));
        later(stage, AGAIN, HttpStep::Bring(number));
    }

    /// It is safe with us, says the process.
    pub fn acknowledged(&mut self, number: u32) -> Option<Brought> {
        self.network.bringing.remove(&number)
    }
}

fn later(stage: &mut Stage<'_>, after: Duration, step: HttpStep) {
    stage.later(after, carriers::Step::Http(step));
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
