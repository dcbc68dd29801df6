//! What the carriers' drivers say: answers, receipts, links.

use std::{sync::Arc, time::Duration};

use super::{Dispatch, effects::Change, open::PartOf, pipeline::Action};
use crate::{
    carrier::{
        Blame, CallState, Cause, Event, Failure, Incoming, Link, Receipt, ReceiptState, Said,
        Verdict, What,
    },
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    delivery::{Attempt, Phase},
    ledger::Op,
    operate::metrics,
    routing::health::{Evidence, Outcome},
};

impl Dispatch {
    pub(super) fn said(&mut self, said: Said, now: Millis) {
        let carrier = said.carrier;
        match said.what {
            What::Attempt(key, event) => self.attempt_said(&carrier, key, event, now),
            What::Incoming(incoming, slip) => {
                match incoming {
                    Incoming::Receipt(receipt) => self.receipt_said(&carrier, receipt, now),
                    Incoming::Text(inbound) => {
                        // Two-way texts aren't served yet: it is counted, and that is all.
                        metrics::inbound(&carrier);
                        tracing::debug!(%carrier, to = %inbound.to, "a person wrote to us");
                    }
                }
                // The carrier may forget it once what it has led to is durable.
                self.pipeline.then(Action::GiveBack(slip));
            }
            What::Link(link) => self.link_said(&carrier, &link),
        }
    }

    fn link_said(&mut self, name: &Arc<str>, link: &Link) {
        let Some(carrier) = self.carriers.get_mut(name) else {
            return;
        };
        match link {
            Link::Up => tracing::info!(carrier = %name, "link up"),
            Link::Down { reason } => tracing::warn!(carrier = %name, %reason, "link down"),
            Link::Probe { .. } | Link::Room => {}
        }
        carrier.link(self.mono, link);
        self.queue.room_changed();
    }

    pub(super) fn attempt_said(
        &mut self,
        name: &Arc<str>,
        key: AttemptKey,
        event: Event,
        now: Millis,
    ) {
        self.pipeline.heard_of(key);
        match event {
            Event::CallState(CallState(state), mark) => {
                let (at, carrier) = (key, name.clone());
                self.pipeline.then(Action::Recorded { at, carrier, mark });
                let carrier = name.clone();
                self.pipeline.write(Op::CallUp {
                    key,
                    carrier,
                    state,
                });
            }
            Event::CallCleared => {
                self.pipeline.write(Op::CallDown { key });
            }
            // A call that can't be placed. Its challenge's id may turn out to be known: until then nothing is told.
            event if self.open.get(key.challenge).is_some_and(|o| !o.durable) => {
                self.unheard.push((name.clone(), key, event));
            }
            event => {
                self.evidence(name, key, &event);
                self.attempt_goes_on(name, key, event, now);
            }
        }
    }

    fn attempt_goes_on(&mut self, name: &Arc<str>, key: AttemptKey, event: Event, now: Millis) {
        let Some(open) = self.open.get_mut(key.challenge) else {
            self.answer_after_the_end(name, key, event);
            return;
        };
        let Some(attempt) = open.life.attempt(key.attempt) else {
            return;
        };
        let (was_in_doubt, change) = (attempt.in_doubt, change_by(&event, attempt.channel()));
        let references = match &event {
            Event::Accepted { references } => references.clone(),
            _ => Vec::new(),
        };
        let wait = match (&event, self.carriers.get(name)) {
            (Event::InDoubt { .. }, Some(carrier)) => carrier.doubt_wait(),
            _ => Duration::ZERO,
        };
        open.life
            .event(&open.ch, now, key.attempt, event, wait, &mut self.effects);
        let to = open.ch.to;
        if let (Some(to), Some(attempt)) = (to, open.life.attempt(key.attempt)) {
            if !was_in_doubt {
                self.doubts.add(key.challenge, to, attempt);
            } else if attempt.taken || !attempt.live() {
                self.doubts.settle(key, to, name);
            }
        }
        self.refer(name, key, &references);
        if let Some(change) = change {
            self.settle(key.challenge, change, now);
        } else if !self.effects.is_empty() {
            self.settle(key.challenge, Change::Life, now);
        }
        for reference in &references {
            if let Some(early) = self.pen.take(name, reference, to) {
                self.receipt_said(name, early, now);
            }
        }
    }

    /// From now on receipts with these references speak of this attempt. What the attempt didn't keep (a receipt had
    /// settled it under another form) leads nowhere.
    fn refer(&mut self, name: &Arc<str>, key: AttemptKey, references: &[Arc<str>]) {
        for (part, reference) in references.iter().enumerate() {
            let open = self.open.get(key.challenge);
            let attempt = open.and_then(|open| open.life.attempt(key.attempt));
            if attempt.is_some_and(|attempt| attempt.references.contains(reference)) {
                let part = u16::try_from(part).unwrap_or(u16::MAX);
                self.open
                    .refer(name, reference, PartOf { attempt: key, part });
            }
        }
    }

    /// What an event says of the carrier itself, and whether it frees a slot.
    fn evidence(&mut self, name: &Arc<str>, key: AttemptKey, event: &Event) {
        let mono = self.mono;
        let Some(carrier) = self.carriers.get_mut(name) else {
            return;
        };
        let call = carrier.is_voice();
        let stood = carrier.health.standing();
        let outcome = match event {
            Event::Accepted { .. } => Some(Outcome::Accepted),
            Event::InDoubt { .. } => Some(Outcome::InDoubt),
            Event::Failed(failure) => match (failure.blame, failure.verdict) {
                (_, Verdict::Later) => Some(Outcome::Throttled),
                (Blame::Carrier, _) => Some(Outcome::Fault),
                (Blame::Number | Blame::Person | Blame::Nobody, _) => Some(Outcome::Refused),
                (Blame::Us, _) => None,
            },
            Event::Ringing
            | Event::Answered
            | Event::KeyPressed(_)
            | Event::CallState(..)
            | Event::CallCleared
            | Event::CallEnded(_) => None,
        };
        if let Some(outcome) = outcome {
            carrier.outcome(mono, key, outcome);
        }
        if let Event::Failed(Failure {
            retry_after: Some(pause),
            ..
        }) = event
        {
            carrier.health.event(mono, Evidence::RetryAfter(*pause));
        }
        let frees = match event {
            Event::Accepted { .. } | Event::InDoubt { .. } => !call,
            Event::Failed(_) | Event::CallEnded(_) => true,
            Event::Ringing
            | Event::Answered
            | Event::KeyPressed(_)
            | Event::CallState(..)
            | Event::CallCleared => false,
        };
        let freed = frees && carrier.free_slot(key);
        // A probe that went well lets others in, though a call keeps its slot.
        if freed || carrier.health.standing() != stood {
            self.queue.room_changed();
        }
    }

    /// The challenge is over; the reference of a text that the carrier took after all leads to it still.
    fn answer_after_the_end(&mut self, name: &Arc<str>, key: AttemptKey, event: Event) {
        if let Event::Accepted { references } = event {
            for reference in references {
                self.pipeline.write(Op::Reference {
                    carrier: name.clone(),
                    reference,
                    key,
                });
            }
        }
    }

    pub(super) fn receipt_said(&mut self, name: &Arc<str>, receipt: Receipt, now: Millis) {
        match self.open.referred(name, &receipt) {
            Some(at) => self.receipt_for(name, at, receipt, now),
            // Counted once: by what the look-up finds, or as known here.
            None if self.open.ended_lately(name, &receipt) => {
                self.look_up_late(name, receipt, true);
            }
            None => self.pen.park(now, name, receipt),
        }
    }

    /// Receipts that have not come in their time speak against their carriers. Asked before the tick that notices
    /// it; each attempt counts once.
    pub(super) fn missing_receipts(&mut self, key: ChallengeKey, now: Millis) {
        let Some(open) = self.open.get(key) else {
            return;
        };
        let late = |a: &&Attempt| {
            a.channel() == Channel::Sms
                && a.phase == Phase::Taken
                && a.cause != Some(Cause::NoReceipt)
                && now >= a.receipt_by.min(open.ch.deadline)
        };
        for attempt in open.life.attempts.iter().filter(late) {
            if let Some(carrier) = self.carriers.get_mut(&attempt.carrier) {
                let evidence = Evidence::Receipt { delivered: false };
                carrier.health.event(self.mono, evidence);
            }
        }
    }

    fn receipt_for(&mut self, name: &Arc<str>, at: PartOf, receipt: Receipt, now: Millis) {
        metrics::receipt(name, receipt.state, true);
        let key = at.attempt;
        if let Some(carrier) = self.carriers.get_mut(name) {
            let evidence = match receipt.state {
                ReceiptState::Delivered => Some(Evidence::Receipt { delivered: true }),
                ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => {
                    Some(Evidence::Receipt { delivered: false })
                }
                ReceiptState::Intermediate | ReceiptState::Unknown => None,
            };
            let stood = carrier.health.standing();
            if let Some(evidence) = evidence {
                carrier.health.event(self.mono, evidence);
            }
            if carrier.health.standing() != stood {
                self.queue.room_changed();
            }
        }
        let Some(open) = self.open.get_mut(key.challenge) else {
            return;
        };
        open.life.receipt(
            &open.ch,
            now,
            key.attempt,
            usize::from(at.part),
            &receipt,
            &mut self.effects,
        );
        self.settle(key.challenge, Change::Life, now);
    }

    /// Receipts whose response never came: perhaps they speak of a text in doubt, perhaps of a challenge long over.
    pub(super) fn empty_pen(&mut self, now: Millis) {
        while let Some((name, receipt)) = self.pen.overdue(now) {
            if let Some(at) = self.open.referred(&name, &receipt) {
                self.receipt_for(&name, at, receipt, now);
                continue;
            }
            let doubtful = receipt
                .phone
                .as_ref()
                .and_then(|phone| self.doubts.only(&name, phone));
            match doubtful {
                Some(attempt) => {
                    if let Some(reference) = receipt.references.first() {
                        self.open
                            .refer(&name, reference, PartOf { attempt, part: 0 });
                    }
                    self.receipt_for(&name, PartOf { attempt, part: 0 }, receipt, now);
                }
                None => self.look_up_late(&name, receipt, false),
            }
        }
    }
}

/// What an event changes that must be durable, if anything.
fn change_by(event: &Event, channel: Channel) -> Option<Change> {
    match (event, channel) {
        (Event::KeyPressed(_), _) => None,
        (Event::Ringing, _) | (Event::Accepted { .. }, Channel::Voice) => Some(Change::Passing),
        _ => Some(Change::Life),
    }
}
