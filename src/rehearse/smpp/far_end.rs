//! The message centre of an SMPP carrier: which text a submit belongs to, what the network decides about it, and what goes
//! back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use simulators::{fate::Stat, smsc::decided::Submitted};

use super::{Smpp, arrive, goes};
use crate::{
    carrier::{ReceiptState, TextOrder},
    challenge::Millis,
    rehearse::{
        stage::{Effect, Stage},
        steps::SmppStep,
        texts::{Asked, Fate, SubmitAnswer, SubmitRefusal},
    },
};

/// Two response timeouts, one for each part of those before it, and what the network takes.
const LONGEST_WAIT: Duration = Duration::from_secs(12);

/// A text that was given to a bind and has not come to the centre whole.
pub(super) struct OnTheWay {
    asked: Asked,
    to: String,
    body: Arc<str>,
    given: Instant,
    deadline: Millis,
    /// How much of the body has come, in octets, and in how many parts.
    come: usize,
    parts: u16,
    fate: Option<Fate>,
}

impl Smpp {
    pub(super) fn hear_the_centre(&mut self, stage: &mut Stage<'_>) {
        for submit in self.centre.submitted() {
            self.submitted(submit, stage);
        }
        for answered in self.centre.answered() {
            if answered.status == 0 {
                self.network.bringing.remove(&answered.tag);
                if !self.safe.contains(&answered.tag) {
                    stage.effects.push(Effect::AnsweredUnsafe(answered.tag));
                }
            }
        }
        let mut octets = Vec::new();
        for session in self.centre.dirty() {
            let closes = self.centre.output(session, &mut octets);
            let mut pipes = self.pipes.iter_mut();
            let Some((id, pipe)) = pipes.find(|(_, pipe)| pipe.session == session) else {
                continue;
            };
            let id = *id;
            if !octets.is_empty() && !pipe.wire.is_broken {
                let mut octets = std::mem::take(&mut octets);
                let per_mille = stage.profile.wire_breaks;
                let breaks = pipe.wire.breaks(&mut octets, per_mille, stage.dice);
                let pieces = pipe.wire.send_back(octets, stage.now, stage.dice);
                arrive(stage, pieces, |octets| SmppStep::ToUs(id, octets));
                if breaks {
                    goes(id, pipe, stage);
                }
            }
            if closes {
                let after = pipe.wire.sent_back_by(stage.now);
                stage.later(after, SmppStep::Gone(id, "connection closed by the peer"));
                stage.later(after, SmppStep::Closed(id));
            }
        }
    }

    /// What a bind was given has left by now, where its link is well: a window's place is free again after the response
    /// timeout, and at most a window's worth of texts stands before it.
    pub(super) fn check_waiting(&self, stage: &mut Stage<'_>) {
        let pipes = self.binds.iter().filter_map(|play| play.pipe);
        let pipes = pipes.filter_map(|id| self.pipes.get(&id));
        let well = pipes.filter(|pipe| !pipe.wire.is_broken && !pipe.wire.is_cut);
        for order in well.flat_map(|pipe| &pipe.orders) {
            let waits = stage.now.saturating_duration_since(order.given);
            if order.come == 0 && waits > LONGEST_WAIT && stage.wall < order.deadline {
                stage.effects.push(Effect::NeverLeft(order.asked.key));
            }
        }
    }

    /// A part of a text has come to the centre.
    fn submitted(&mut self, submit: Submitted, stage: &mut Stage<'_>) {
        let mut pipes = self.pipes.values_mut();
        let Some(pipe) = pipes.find(|pipe| pipe.session == submit.session) else {
            return;
        };
        let Some(at) = pipe.orders.iter().position(|order| order.goes_on(&submit)) else {
            return stage.effects.push(Effect::Unordered);
        };
        let order = &mut pipe.orders[at];
        order.come += submit.text.len();
        let part = order.parts;
        order.parts += 1;
        let network = &mut self.network;
        let asked = order.asked.clone();
        let fate = order
            .fate
            .get_or_insert_with(|| network.fate(&asked, stage));
        let fate = fate.clone();
        let is_whole = order.is_whole();
        let id = fate.references.get(usize::from(part)).cloned();
        let id = id.unwrap_or_else(|| "".into());
        let taken = Some((fate.answered, Ok(id.clone())));
        let answer = match fate.answer {
            _ if part != fate.part => taken,
            SubmitAnswer::Taken => taken,
            SubmitAnswer::Throttled => Some((fate.answered, Err(THROTTLED))),
            SubmitAnswer::Refused(refusal) => Some((fate.answered, Err(status(refusal)))),
            SubmitAnswer::Silence(late) => late.map(|late| (late, Ok(id))),
        };
        if let Some((after, answer)) = answer {
            stage.later(after, SmppStep::Answer(Box::new(submit), answer));
        }
        if is_whole {
            if matches!(fate.answer, SubmitAnswer::Taken | SubmitAnswer::Silence(_)) {
                self.taken.insert(asked.key);
            }
            if fate.is_carried {
                network.carry(&asked, &fate, stage);
            }
            pipe.orders.remove(at);
        }
    }
}

impl OnTheWay {
    pub fn new(order: &TextOrder, parts: u16, stage: &Stage<'_>) -> OnTheWay {
        OnTheWay {
            asked: Asked {
                key: order.key,
                to: order.to,
                sender: order.sender.clone(),
                parts,
            },
            to: order.to.e164().to_owned(),
            body: order.content.body.clone(),
            given: stage.now,
            deadline: order.deadline,
            come: 0,
            parts: 0,
            fate: None,
        }
    }

    /// Is this what comes next of it?
    fn goes_on(&self, submit: &Submitted) -> bool {
        let rest = self.body.get(self.come..).unwrap_or_default();
        self.to == submit.to && rest.starts_with(&submit.text)
    }

    fn is_whole(&self) -> bool {
        self.come >= self.body.len()
    }
}

pub(super) fn stat(state: ReceiptState) -> Stat {
    match state {
        ReceiptState::Delivered => Stat::Delivered,
        ReceiptState::Intermediate | ReceiptState::Unknown => Stat::Enroute,
        ReceiptState::Undelivered => Stat::Undeliverable,
        ReceiptState::Expired => Stat::Expired,
        ReceiptState::Rejected => Stat::Rejected,
    }
}

/// ESME_RTHROTTLED.
const THROTTLED: u32 = 0x58;

/// A command status that says so.
fn status(refusal: SubmitRefusal) -> u32 {
    match refusal {
        SubmitRefusal::Number => 0x0B,
        SubmitRefusal::Sender => 0x0A,
        // The carrier's own numbers: its file says what they mean.
        SubmitRefusal::Blocked => 0x0414,
        SubmitRefusal::HandsetOff => 0x0415,
        SubmitRefusal::Fault => 0x08,
    }
}
