//! What the carriers' words say of the carriers themselves: their health, told to the plan. `carrier_log` tells it to the
//! log.

use std::{sync::Arc, time::Duration};

use super::{Core, Running, notice::CarrierNotice};
use crate::{
    carrier::{AttemptEvent, Link, ReceiptState},
    cause::{About, Blame, Cause, Failure, Verdict},
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    clock::{Mono, Now},
    config::carrier::Transport,
    delivery::{Attempt, Phase},
    routing::{
        health::{Alarm, Evidence, Outcome},
        plan::Refusal,
    },
};

impl Core {
    pub(super) fn link_said(&mut self, name: &Arc<str>, link: &Link) {
        if let Some(carrier) = self.placement.carriers.get_mut(name) {
            carrier.link(self.mono, link);
            self.placement.queue.room_changed();
        }
    }

    /// What an event says of the carrier itself, and whether it frees a slot.
    pub(super) fn evidence(&mut self, name: &Arc<str>, key: AttemptKey, event: &AttemptEvent) {
        let mono = self.mono;
        let open = self.registry.open.get(key.challenge);
        let attempt = open.and_then(|open| open.life.attempt(key.attempt));
        let place = attempt.zip(open.and_then(|open| open.ch.country));
        let place = place.map(|(attempt, country)| (attempt.sender.clone(), country));
        let rang = attempt.is_some_and(|a| a.phase == Phase::Ringing);
        let again = open.is_some_and(|open| open.life.throttled_by(name));
        let also = open.is_some_and(|open| open.life.throttled_elsewhere(name));
        let elsewhere = open.is_some_and(|open| open.life.refused_elsewhere(name));
        let Some(carrier) = self.placement.carriers.get_mut(name) else {
            return;
        };
        let stood = carrier.health.standing();
        let outcome = match outcome(carrier, event, rang) {
            Some(Outcome::Throttled) if again => Some(Outcome::ThrottledAgain),
            Some(Outcome::Throttled) if also && carrier.is_voice() => {
                Some(Outcome::ThrottledElsewhere)
            }
            Some(Outcome::Refused(about)) if elsewhere && about.is_of_the_challenge() => {
                Some(Outcome::RefusedElsewhere)
            }
            outcome => outcome,
        };
        let begun = carrier.since(key);
        if let AttemptEvent::Failed(failure) = event {
            carrier.refused_login(failure);
            carrier.health.heard(failure.carrier_code.as_ref());
        } else if outcome == Some(Outcome::Accepted) {
            carrier.takes_login();
        }
        match (outcome, pause(event), begun) {
            (Some(Outcome::Throttled), Some(pause), Some(begun)) => {
                let after = mono.saturating_duration_since(begun);
                let asked = Evidence::RetryAfter { pause, after };
                carrier.health.event(mono, asked);
            }
            (Some(outcome), ..) => carrier.outcome(mono, key, outcome),
            (None, ..) if matches!(event, AttemptEvent::Failed(_)) => carrier.void_probe(mono, key),
            (None, ..) => {}
        }
        if let (Some((sender, country)), Some(begun)) = (&place, begun) {
            let change = scoped(name, event, outcome).and_then(|refused| {
                let at = (sender, *country);
                carrier.scopes.answered(mono, begun, at, refused)
            });
            if let Some(change) = change {
                carrier.log.scope_changed(change);
                self.placement.queue.room_changed();
            }
        }
        if matches!(event, AttemptEvent::Accepted { .. }) && !carrier.is_voice() && place.is_some()
        {
            carrier.awaits_receipt(mono, key);
        }
        let freed = frees(event, carrier.is_voice()) && carrier.free_slot(key);
        // A probe that went well lets others in, though a call keeps its slot.
        if freed || carrier.health.standing() != stood {
            self.placement.queue.room_changed();
        }
    }

    /// What a receipt for this text says of the carrier itself.
    pub(super) fn receipt_evidence(
        &mut self,
        name: &Arc<str>,
        key: AttemptKey,
        state: ReceiptState,
    ) {
        let delivered = match state {
            ReceiptState::Delivered => true,
            ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => false,
            ReceiptState::Intermediate | ReceiptState::Unknown => return,
        };
        let Some(carrier) = self.placement.carriers.get_mut(name) else {
            return;
        };
        let stood = carrier.health.standing();
        carrier.receipt(self.mono, key, delivered);
        if carrier.health.standing() != stood {
            self.placement.queue.room_changed();
        }
    }

    /// A receipt that nobody here is known for: another user of the account, perhaps. It says nothing of the carrier's
    /// health.
    pub(super) fn unmatched_receipt(&mut self, name: &Arc<str>) {
        if let Some(carrier) = self.placement.carriers.get_mut(name)
            && let Some(Alarm::Begins { count }) = carrier.unmatched.add(self.mono)
        {
            let begins = CarrierNotice::ForeignReceipts { receipts: count };
            self.notices.carrier(name, begins);
        }
    }

    /// Receipts that have not come by the end of the wait speak against their carriers. Asked before the tick that
    /// notices it; each attempt counts once.
    pub(super) fn missing_receipts(&mut self, key: ChallengeKey, now: Millis) {
        let Some(open) = self.registry.open.get(key) else {
            return;
        };
        let late = |a: &&Attempt| {
            a.channel() == Channel::Sms
                && a.phase == Phase::Taken
                && a.cause != Some(Cause::NoReceipt)
                && now >= a.receipt_by.min(open.ch.deadline)
        };
        for attempt in open.life.attempts.iter().filter(late) {
            if let Some(carrier) = self.placement.carriers.get_mut(&attempt.carrier) {
                let at = AttemptKey {
                    challenge: key,
                    attempt: attempt.n,
                };
                carrier.missed(self.mono, at);
            }
        }
    }

    /// Time passes for the carriers: pauses end, tokens come back, receipts are missed.
    pub(super) fn tick_carriers(&mut self, now: Now) {
        let mut changed = false;
        for running in self.placement.carriers.iter_mut() {
            let stood = running.health.standing();
            while let Some(key) = running.overdue_receipt(now.mono) {
                let open = self.registry.open.get(key.challenge);
                let attempt = open.and_then(|open| open.life.attempt(key.attempt));
                match attempt {
                    Some(attempt) if attempt.phase == Phase::Taken => running.missed(now.mono, key),
                    // Its challenge ended by other means: nobody would know its receipt.
                    Some(_) | None => running.forget_receipt(key),
                }
            }
            changed |= running.health.tick(now.mono)
                | running.scopes.tick(now.mono)
                | running.refilled(now.mono)
                | (running.health.standing() != stood);
            if let Some(Alarm::Ends) = running.unmatched.tick(now.mono) {
                let ends = CarrierNotice::NoForeignReceipts;
                self.notices.carrier(&running.config.name, ends);
            }
        }
        if changed {
            self.placement.queue.room_changed();
        }
    }

    /// What carriers refuse, for the plan.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        if self.placement.carriers.iter().all(|c| c.scopes.is_empty()) {
            return all;
        }
        let table = &self.config.table;
        for (place, name) in (0..).zip(table.carriers()) {
            let Some(running) = self.placement.carriers.get(name) else {
                continue;
            };
            for (scope, free) in running.scopes.refusing() {
                let sender = match &scope.sender {
                    None => None,
                    Some(id) => match table.sender_named(id) {
                        Some(sender) => Some(sender),
                        None => continue,
                    },
                };
                all.push(Refusal {
                    carrier: crate::routing::CarrierIx(place),
                    sender,
                    country: scope.country,
                    free,
                });
            }
        }
        all
    }
}

impl Running {
    /// It refuses our credentials, with its own word.
    fn refused_login(&mut self, failure: &Failure) {
        if about_account(self.config.transport.is_http(), failure) {
            self.login = Some(failure.carrier_code.clone().unwrap_or_default());
        }
    }

    fn takes_login(&mut self) {
        self.login = None;
    }

    /// True if the carrier's state is another now.
    fn link(&mut self, now: Mono, link: &Link) -> bool {
        match link {
            Link::Up => {
                // A bind or a connection is an answer; an address, or a carrier that is never probed, is none.
                let answered = match self.config.transport {
                    Transport::Smpp(_) => true,
                    Transport::Http(_) => self.config.probe.is_some(),
                    Transport::Sip(_) => false,
                };
                self.health.event(now, Evidence::LinkUp { answered })
            }
            Link::Down { reason } => self.health.event(
                now,
                Evidence::LinkDown {
                    reason: reason.clone(),
                },
            ),
            Link::Probe { ok } => self.health.event(now, Evidence::Probe { ok: *ok }),
            Link::Unavailable { reason } => self.health.event(
                now,
                Evidence::Unavailable {
                    reason: reason.clone(),
                },
            ),
            Link::Room => false,
        }
    }
}

/// What an event says of the carrier, if anything. `rang`: this call has rung before.
fn outcome(carrier: &Running, event: &AttemptEvent, rang: bool) -> Option<Outcome> {
    match event {
        // Of a call only the first provisional answer: what comes of it is open.
        AttemptEvent::Accepted { .. } if carrier.is_voice() => Some(Outcome::Heard),
        AttemptEvent::Accepted { .. } | AttemptEvent::Ringing => Some(Outcome::Accepted),
        AttemptEvent::Answered => (!rang).then_some(Outcome::Accepted),
        AttemptEvent::InDoubt { .. } => Some(Outcome::InDoubt),
        AttemptEvent::Failed(failure) => failed(carrier.config.transport.is_http(), failure),
        AttemptEvent::KeyPressed(_)
        | AttemptEvent::CallState(..)
        | AttemptEvent::CallCleared
        | AttemptEvent::CallEnded(_) => None,
    }
}

fn failed(http: bool, failure: &Failure) -> Option<Outcome> {
    match (failure.blame, failure.verdict) {
        // No room of ours, or the carrier has not said a word.
        (Blame::Us, Verdict::Later) => None,
        (Blame::Us, _) if failure.carrier_code.is_none() => None,
        // Ended by us.
        _ if failure.cause == Cause::Cancelled => None,
        (_, Verdict::Later) => Some(Outcome::Throttled),
        // The phone was reached.
        (Blame::Person, _) => Some(Outcome::Accepted),
        _ if about_account(http, failure) => Some(Outcome::Refused(About::Account)),
        (Blame::Carrier, _) => match failure.about {
            About::Sender | About::Country => Some(Outcome::Refused(failure.about)),
            About::Request | About::Account | About::Carrier => Some(Outcome::Fault),
        },
        (Blame::Number | Blame::Nobody, _) => Some(Outcome::Refused(match failure.about {
            About::Carrier => About::Request,
            about => about,
        })),
        (Blame::Us, _) => Some(Outcome::Refused(failure.about)),
    }
}

/// Wrong credentials or missing rights (RFC 9110, 15.5.2, 15.5.4; RFC 3261, 21.4.2).
fn about_account(http: bool, failure: &Failure) -> bool {
    let status = failure.carrier_code.as_deref().unwrap_or_default();
    failure.about == About::Account
        || (failure.cause == Cause::CarrierFault
            && failure.about == About::Carrier
            && http
            && matches!(status, "401" | "403" | "407"))
}

/// What is told to the scopes: None: nothing; Some(None): sender and country were taken.
type Scoped<'a> = Option<Option<(About, &'a Arc<str>)>>;

fn scoped<'a>(name: &'a Arc<str>, event: &'a AttemptEvent, outcome: Option<Outcome>) -> Scoped<'a> {
    match (outcome?, event) {
        (Outcome::Accepted, _) => Some(None),
        (Outcome::Refused(about), AttemptEvent::Failed(failure)) => {
            let code = failure.carrier_code.as_ref().unwrap_or(name);
            Some(Some((about, code)))
        }
        // It says nothing of sender and country: another attempt may show more.
        (Outcome::RefusedElsewhere, _) => Some(Some((About::Request, name))),
        _ => None,
    }
}

fn pause(event: &AttemptEvent) -> Option<Duration> {
    match event {
        AttemptEvent::Failed(failure) => failure.retry_after,
        _ => None,
    }
}

fn frees(event: &AttemptEvent, call: bool) -> bool {
    match event {
        AttemptEvent::Accepted { .. } | AttemptEvent::InDoubt { .. } => !call,
        AttemptEvent::Failed(_) | AttemptEvent::CallEnded(_) => true,
        AttemptEvent::Ringing
        | AttemptEvent::Answered
        | AttemptEvent::KeyPressed(_)
        | AttemptEvent::CallState(..)
        | AttemptEvent::CallCleared => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_end_says_nothing_and_a_wrong_token_is_of_our_account() {
        let says = |cause: Cause, code: &str| failed(true, &cause.failure(Some(code.into())));
        assert_eq!(says(Cause::Cancelled, "487 Request Terminated"), None);
        assert_eq!(
            says(Cause::CarrierFault, "401"),
            Some(Outcome::Refused(About::Account))
        );
        assert_eq!(says(Cause::CarrierFault, "500"), Some(Outcome::Fault));
        assert_eq!(says(Cause::Busy, "486"), Some(Outcome::Accepted));
        assert_eq!(says(Cause::Throttled, "429"), Some(Outcome::Throttled));
        let ours = Cause::GatewayLimit.failure(None);
        assert_eq!(failed(false, &ours), None);
        assert_eq!(
            says(Cause::InvalidNumber, "400"),
            Some(Outcome::Refused(About::Request))
        );
    }
}
