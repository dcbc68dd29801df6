//! What the carriers' words say of the carriers themselves: their health, told to the plan, and to the log once when it
//! changes.

use std::{sync::Arc, time::Duration};

use super::{Dispatch, Running};
use crate::{
    carrier::{About, Blame, Cause, Event, Failure, Link, ReceiptState, Verdict},
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    clock::Now,
    config::carrier::Transport,
    delivery::{Attempt, Phase},
    number::Country,
    routing::{
        health::{Alarm, Evidence, Outcome, Reason, ScopeChange, State},
        plan::Refusal,
    },
};

impl Dispatch {
    pub(super) fn link_said(&mut self, name: &Arc<str>, link: &Link) {
        if let Some(carrier) = self.carriers.get_mut(name) {
            carrier.link(self.mono, link);
            self.queue.room_changed();
        }
    }

    /// What an event says of the carrier itself, and whether it frees a slot.
    pub(super) fn evidence(&mut self, name: &Arc<str>, key: AttemptKey, event: &Event) {
        let mono = self.mono;
        let open = self.open.get(key.challenge);
        let attempt = open.and_then(|open| open.life.attempt(key.attempt));
        let place = attempt.zip(open.and_then(|open| open.ch.country));
        let place = place.map(|(attempt, country)| (attempt.sender.clone(), country));
        let rang = attempt.is_some_and(|a| a.phase == Phase::Ringing);
        let Some(carrier) = self.carriers.get_mut(name) else {
            return;
        };
        let stood = carrier.health.standing();
        let outcome = outcome(carrier, event, rang);
        let begun = carrier.since(key);
        if let Event::Failed(failure) = event {
            carrier.refused_login(failure);
            carrier.health.heard(failure.carrier_code.as_ref());
        } else if outcome == Some(Outcome::Accepted) {
            carrier.takes_login();
        }
        let pause = pause(event);
        if let (Some(pause), Some(begun)) = (pause, begun) {
            let after = mono.saturating_duration_since(begun);
            carrier
                .health
                .event(mono, Evidence::RetryAfter { pause, after });
        } else if let Some(outcome) = outcome {
            carrier.outcome(mono, key, outcome);
        }
        if let (Some((sender, country)), Some(begun)) = (&place, begun) {
            let change = scoped(name, event, outcome).and_then(|refused| {
                let at = (sender, *country);
                carrier.scopes.answered(mono, begun, at, refused)
            });
            if let Some(change) = change {
                log_scope(name, &change);
                self.queue.room_changed();
            }
        }
        if matches!(event, Event::Accepted { .. }) && !carrier.is_voice() && place.is_some() {
            carrier.awaits_receipt(mono, key);
        }
        let freed = frees(event, carrier.is_voice()) && carrier.free_slot(key);
        // A probe that went well lets others in, though a call keeps its slot.
        if freed || carrier.health.standing() != stood {
            self.queue.room_changed();
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
        let Some(carrier) = self.carriers.get_mut(name) else {
            return;
        };
        let stood = carrier.health.standing();
        carrier.receipt(self.mono, key, delivered);
        if carrier.health.standing() != stood {
            self.queue.room_changed();
        }
    }

    /// A receipt that nobody here is known for: another user of the account, perhaps. It says nothing of the carrier's
    /// health.
    pub(super) fn unmatched_receipt(&mut self, name: &Arc<str>) {
        if let Some(carrier) = self.carriers.get_mut(name)
            && let Some(Alarm::Begins { count }) = carrier.unmatched.add(self.mono)
        {
            tracing::warn!(carrier = %name, receipts = count, "receipts come for texts that are not ours: another user or gateway on this account?");
        }
    }

    /// Receipts that have not come by the end of the wait speak against their carriers. Asked before the tick that
    /// notices it; each attempt counts once.
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
        for running in self.carriers.iter_mut() {
            let stood = running.health.standing();
            while let Some(key) = running.overdue_receipt(now.mono) {
                let open = self.open.get(key.challenge);
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
                tracing::info!(carrier = %running.handle.name, "no receipts for texts of others any more");
            }
        }
        if changed {
            self.queue.room_changed();
        }
    }

    /// Each change of a carrier's state is told once: worse as WARN, better as INFO.
    pub(super) fn log_carriers(&mut self, now: Now) {
        for running in self.carriers.iter_mut().filter(|running| !running.leaving) {
            let state = running.health.state();
            let (before, why_before) = &running.told;
            // Only these reasons are the drivers' own words, which may change while the state stays.
            let words = matches!(
                state,
                State::Suspended(Reason::LinkDown | Reason::Unavailable)
            );
            if state == *before && !words {
                continue;
            }
            let why = running.health.why().clone();
            let key = without_counters(&why);
            if state == *before && key == *why_before {
                continue;
            }
            let until = running.health.until();
            let until = until.map(|at| {
                let left = at.saturating_duration_since(now.mono);
                format!(
                    "{} ({} s)",
                    Millis::rfc3339(now.wall + left),
                    left.as_secs()
                )
            });
            let until = until.as_deref().unwrap_or("");
            let (carrier, from, to) = (&running.handle.name, shown(*before), shown(state));
            match state {
                State::Suspended(_) => {
                    tracing::warn!(%carrier, from, to, %why, until, "carrier state");
                }
                State::Healthy | State::Unproven | State::Probing(_) => {
                    tracing::info!(%carrier, from, to, %why, "carrier state");
                }
            }
            running.told = (state, key);
        }
    }

    /// What carriers refuse, for the plan.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        if self.carriers.iter().all(|c| c.scopes.is_empty()) {
            return all;
        }
        let table = &self.config.table;
        for (place, name) in (0..).zip(table.carriers()) {
            let Some(running) = self.carriers.get(name) else {
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
    /// It refuses our credentials: said once, with its own word.
    fn refused_login(&mut self, failure: &Failure) {
        if !about_account(&self.config.transport, failure) || self.login.is_some() {
            return;
        }
        let code = failure.carrier_code.clone().unwrap_or_default();
        tracing::warn!(carrier = %self.handle.name, %code, "the carrier refuses our credentials or rights: see username, password or token in its file");
        self.login = Some(code);
    }

    fn takes_login(&mut self) {
        if self.login.take().is_some() {
            tracing::info!(carrier = %self.handle.name, "the carrier takes our credentials again");
        }
    }
}

/// What an event says of the carrier, if anything. `rang`: this call has rung before.
fn outcome(carrier: &Running, event: &Event, rang: bool) -> Option<Outcome> {
    match event {
        // Of a call only the first provisional answer: what comes of it is open.
        Event::Accepted { .. } if carrier.is_voice() => Some(Outcome::Heard),
        Event::Accepted { .. } | Event::Ringing => Some(Outcome::Accepted),
        Event::Answered => (!rang).then_some(Outcome::Accepted),
        Event::InDoubt { .. } => Some(Outcome::InDoubt),
        Event::Failed(failure) => failed(&carrier.config.transport, failure),
        Event::KeyPressed(_) | Event::CallState(..) | Event::CallCleared | Event::CallEnded(_) => {
            None
        }
    }
}

fn failed(transport: &Transport, failure: &Failure) -> Option<Outcome> {
    match (failure.blame, failure.verdict) {
        // No room of ours, or the carrier has not said a word.
        (Blame::Us, Verdict::Later) => None,
        (Blame::Us, _) if failure.carrier_code.is_none() => None,
        (_, Verdict::Later) => Some(Outcome::Throttled),
        // The phone was reached.
        (Blame::Person, _) => Some(Outcome::Accepted),
        _ if about_account(transport, failure) => Some(Outcome::Refused(About::Account)),
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
fn about_account(transport: &Transport, failure: &Failure) -> bool {
    let status = failure.carrier_code.as_deref().unwrap_or_default();
    failure.about == About::Account
        || (failure.cause == Cause::CarrierFault
            && failure.about == About::Carrier
            && matches!(transport, Transport::Http(_))
            && matches!(status, "401" | "403" | "407"))
}

/// What is told to the scopes: None: nothing; Some(None): sender and country were taken.
type Scoped<'a> = Option<Option<(About, &'a Arc<str>)>>;

fn scoped<'a>(name: &'a Arc<str>, event: &'a Event, outcome: Option<Outcome>) -> Scoped<'a> {
    match (outcome?, event) {
        (Outcome::Accepted, _) => Some(None),
        (Outcome::Refused(about), Event::Failed(failure)) => {
            let code = failure.carrier_code.as_ref().unwrap_or(name);
            Some(Some((about, code)))
        }
        _ => None,
    }
}

fn pause(event: &Event) -> Option<Duration> {
    match event {
        Event::Failed(failure) => failure.retry_after,
        _ => None,
    }
}

fn frees(event: &Event, call: bool) -> bool {
    match event {
        Event::Accepted { .. } | Event::InDoubt { .. } => !call,
        Event::Failed(_) | Event::CallEnded(_) => true,
        Event::Ringing
        | Event::Answered
        | Event::KeyPressed(_)
        | Event::CallState(..)
        | Event::CallCleared => false,
    }
}

fn log_scope(carrier: &Arc<str>, change: &ScopeChange) {
    let sender = change.scope.sender.as_deref().unwrap_or("any");
    let (country, why): (Country, &str) = (change.scope.country, &change.why);
    match change.shut_for {
        Some(pause) => {
            let seconds = pause.as_secs();
            tracing::warn!(%carrier, sender, %country, why, seconds, "the carrier refuses this sender or country: not used there for now");
        }
        None => {
            tracing::info!(%carrier, sender, %country, why, "the carrier takes this sender and country again")
        }
    }
}

/// State and reason as the log names them: `suspended (faults)`.
fn shown(state: State) -> String {
    match state {
        State::Healthy | State::Unproven => state.name().to_owned(),
        State::Suspended(reason) | State::Probing(reason) => {
            format!("{} ({})", state.name(), reason.name())
        }
    }
}

/// The same reason with another clock or counter in it is the same reason. Statuses stay: they are the reason.
fn without_counters(why: &str) -> String {
    let mut kept = String::with_capacity(why.len());
    let mut before = "";
    for word in why.split(' ') {
        let status =
            word.starts_with("0x") || matches!(before, "HTTP" | "SIP" | "status" | "answered");
        if status {
            kept.push_str(word);
        } else {
            kept.extend(word.chars().filter(|c| !c.is_ascii_digit()));
        }
        kept.push(' ');
        before = word;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_counters_make_no_other_reason_and_statuses_do() {
        let same = [
            "certificate expired at 1790884893, 5 s ago",
            "certificate expired at 1790884899, 11 s ago",
        ];
        assert_eq!(without_counters(same[0]), without_counters(same[1]));
        let other = [
            "bind refused: 0x0000000e (password)",
            "bind refused: 0x0000000d (password)",
        ];
        assert_ne!(without_counters(other[0]), without_counters(other[1]));
        let other = [
            "OPTIONS answered 503 Service",
            "OPTIONS answered 500 Service",
        ];
        assert_ne!(without_counters(other[0]), without_counters(other[1]));
    }
}
