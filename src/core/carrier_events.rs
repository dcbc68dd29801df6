//! What the carriers' drivers say: answers, receipts, links.

use std::{sync::Arc, time::Duration};

use super::{Core, commit::Action, effects::Change};
use crate::{
    carrier::{AttemptEvent, CallState, CarrierEvent, CarrierMessage, Incoming, reference},
    challenge::{AttemptKey, Channel, Millis},
    delivery::Phase,
    ledger::Op,
    number::{Number, written::Tail},
};

impl Core {
    pub(super) fn said(&mut self, said: CarrierMessage, now: Millis) {
        let carrier = said.carrier;
        match said.what {
            CarrierEvent::Attempt(key, event) => self.attempt_said(&carrier, key, event, now),
            CarrierEvent::Incoming(Incoming::Receipt(receipt), ack) => {
                self.receipt_came(&carrier, receipt, ack, now);
            }
            CarrierEvent::Incoming(Incoming::Text(inbound), ack) => {
                // Two-way texts aren't served yet: it is counted, and that is all.
                self.observer.inbound(&carrier);
                tracing::debug!(%carrier, to = %inbound.to, "a person wrote to us");
                self.commit.then(Action::Acknowledge(ack));
            }
            CarrierEvent::Link(link) => self.link_said(&carrier, &link),
        }
    }

    pub(super) fn attempt_said(
        &mut self,
        name: &Arc<str>,
        key: AttemptKey,
        event: AttemptEvent,
        now: Millis,
    ) {
        self.commit.heard_of(key);
        match event {
            AttemptEvent::CallState(CallState(state), mark) => {
                let (at, carrier) = (key, name.clone());
                self.commit.then(Action::Recorded { at, carrier, mark });
                let carrier = name.clone();
                self.commit.write(Op::CallUp {
                    key,
                    carrier,
                    state,
                });
            }
            AttemptEvent::CallCleared => {
                self.registry.unterminated.remove(&key);
                self.commit.write(Op::CallDown { key });
            }
            // A call that can't be placed. Its challenge's id may turn out to be known: until then nothing is told.
            event
                if self
                    .registry
                    .open
                    .get(key.challenge)
                    .is_some_and(|o| !o.durable) =>
            {
                self.registry
                    .pending_events
                    .push((name.clone(), key, event));
            }
            event => {
                self.evidence(name, key, &event);
                self.attempt_goes_on(name, key, event, now);
            }
        }
    }

    fn attempt_goes_on(
        &mut self,
        name: &Arc<str>,
        key: AttemptKey,
        event: AttemptEvent,
        now: Millis,
    ) {
        let event = with_normal_references(event);
        let Some(open) = self.registry.open.get_mut(key.challenge) else {
            self.answer_after_the_end(name, key, event);
            return;
        };
        let Some(attempt) = open.life.attempt(key.attempt) else {
            return;
        };
        let change = change_by(&event, attempt.channel());
        let references = match &event {
            AttemptEvent::Accepted { references } => references.clone(),
            _ => Vec::new(),
        };
        let wait = match (&event, self.placement.carriers.get(name)) {
            (AttemptEvent::InDoubt { .. }, Some(carrier)) => carrier.doubt_wait(),
            _ => Duration::ZERO,
        };
        open.life
            .event(&open.ch, now, key.attempt, event, wait, &mut self.effects);
        let to = open.ch.to;
        let unreferenced = open
            .life
            .attempt(key.attempt)
            .is_some_and(|a| a.live() && a.references.is_empty() && a.phase != Phase::Placed);
        self.refer(name, key, &references);
        if self.is_shared() {
            self.refer_others(name, key, &references, to);
        }
        if let Some(change) = change {
            self.settle(key.challenge, change, now);
        } else if !self.effects.is_empty() {
            self.settle(key.challenge, Change::Life, now);
        }
        self.release_overtaken(name, &references, now);
        if let Some(to) = to.filter(|_| unreferenced) {
            self.release_for_phone(name, to, now);
        }
    }

    /// The receipt may come to another node: it finds the reference in the ledger.
    fn refer_others(
        &mut self,
        name: &Arc<str>,
        key: AttemptKey,
        references: &[Arc<str>],
        to: Option<Number>,
    ) {
        for (part, reference) in (0..).zip(references) {
            self.commit.write(Op::Reference {
                carrier: name.clone(),
                reference: reference.clone(),
                key,
                part,
                phone: to.and_then(Tail::of),
            });
        }
    }

    /// The challenge is over; the reference of a text that the carrier took after all leads to it still.
    fn answer_after_the_end(&mut self, name: &Arc<str>, key: AttemptKey, event: AttemptEvent) {
        if let AttemptEvent::Accepted { references } = event {
            for (part, reference) in (0..).zip(references) {
                self.commit.write(Op::Reference {
                    carrier: name.clone(),
                    reference,
                    key,
                    part,
                    phone: None,
                });
            }
        }
    }
}

/// The references as they are compared, whatever the carrier puts around them.
fn with_normal_references(event: AttemptEvent) -> AttemptEvent {
    match event {
        AttemptEvent::Accepted { references } => AttemptEvent::Accepted {
            references: references
                .into_iter()
                .filter_map(reference::normal)
                .collect(),
        },
        event => event,
    }
}

/// What an event changes that must be durable, if anything.
fn change_by(event: &AttemptEvent, channel: Channel) -> Option<Change> {
    match (event, channel) {
        (AttemptEvent::KeyPressed(_), _) => None,
        (AttemptEvent::Ringing, _) | (AttemptEvent::Accepted { .. }, Channel::Voice) => {
            Some(Change::Passing)
        }
        _ => Some(Change::Life),
    }
}
