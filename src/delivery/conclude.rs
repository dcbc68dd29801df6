//! The end of a challenge: when it is over, and which of what happened is told. The strongest wins.

use std::sync::Arc;

use super::{
    Attempt, CALL_OVERTIME, DeliveryState, Effect, End, Event, Final, Note, Outcome, Phase,
    StepState,
};
use crate::{
    cause::{Blame, Cause},
    challenge::{Challenge, Channel, Method, Millis, Until},
};

impl DeliveryState {
    /// Ends the challenge if nothing more can come, or what came is enough.
    pub(super) fn conclude_if_over(&mut self, ch: &Challenge, now: Millis, out: &mut Vec<Effect>) {
        if self.ended.is_some() {
            return;
        }
        let delivered = self
            .attempts
            .iter()
            .any(|a| a.phase == Phase::Settled(Outcome::Delivered));
        let talking = self.attempts.iter().any(|a| a.phase == Phase::Answered);
        if talking {
            // A person is on the line: what they say may be stronger than what is known.
            return;
        }
        if now >= ch.deadline {
            // The last talk is over, and nothing else is waited for beyond the deadline. What is said of a text may have a
            // receipt behind it: the tick ends that.
            if self.attempts.iter().any(|a| a.channel() == Channel::Voice) {
                self.deadline(ch, now, out);
            }
            return;
        }
        if delivered {
            if ch.until == Until::Delivered {
                self.conclude(now, out);
            }
            return;
        }
        let more = self
            .legs
            .iter()
            .any(|leg| matches!(leg.state, StepState::Open | StepState::Waiting));
        let live = self.attempts.iter().any(Attempt::live);
        if !more && !live {
            self.conclude(now, out);
        }
    }

    /// The deadline has come: nothing new; a call that is talking may end within its own cap.
    pub(super) fn deadline(&mut self, ch: &Challenge, now: Millis, out: &mut Vec<Effect>) {
        for leg in &mut self.legs {
            if matches!(leg.state, StepState::Open | StepState::Waiting) {
                leg.state = StepState::Closed(Some(Cause::Expired));
            }
        }
        for attempt in &mut self.attempts {
            if attempt.unsent() {
                attempt.settle(now, Outcome::Cancelled);
                attempt.cause = Some(Cause::Expired);
            }
            if attempt.call_up() && attempt.phase != Phase::Answered {
                let outcome = if attempt.taken {
                    Outcome::Unanswered
                } else {
                    Outcome::InDoubt
                };
                attempt.in_doubt |= !attempt.taken;
                attempt.cause = Some(if attempt.taken {
                    Cause::NoAnswer
                } else {
                    Cause::InDoubt
                });
                attempt.settle(now, outcome);
                out.push(Effect::HangUp(attempt.n));
            }
        }
        let talking = self.attempts.iter().any(|a| a.phase == Phase::Answered);
        if !talking || now >= ch.deadline + CALL_OVERTIME {
            self.conclude(now, out);
        }
    }

    /// The strongest of all that happened becomes the final.
    fn conclude(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let mut best: Option<(Final, Option<u16>, &'static str)> = None;
        for attempt in &self.attempts {
            let (event, reason) = verdict_of(attempt);
            // Of equals the latest decides.
            if best.is_none_or(|(so_far, ..)| event <= so_far) {
                best = Some((event, Some(attempt.n), reason));
            }
        }
        let expired = self
            .legs
            .iter()
            .any(|leg| leg.state == StepState::Closed(Some(Cause::Expired)));
        let (event, attempt, reason) = match best {
            Some((Final::Failed, n, _)) if expired => (Final::Expired, n, "expired"),
            Some(best) => best,
            None if expired => (Final::Expired, None, "expired"),
            None => (Final::Failed, None, "carriers_exhausted"),
        };
        self.finish(now, event, attempt, Some(reason), out);
    }

    pub(super) fn finish(
        &mut self,
        now: Millis,
        event: Final,
        attempt: Option<u16>,
        reason: Option<&'static str>,
        out: &mut Vec<Effect>,
    ) {
        debug_assert!(self.ended.is_none(), "exactly one final");
        for leg in &mut self.legs {
            if matches!(leg.state, StepState::Open | StepState::Waiting) {
                leg.state = StepState::Closed(None);
            }
        }
        for attempt in &mut self.attempts {
            if !attempt.live() {
                continue;
            }
            if attempt.call_up() {
                out.push(Effect::HangUp(attempt.n));
                attempt.settle(now, Outcome::Cancelled);
                attempt.cause = attempt.cause.or(Some(Cause::Cancelled));
            } else {
                if attempt.unsent() {
                    attempt.settle(now, Outcome::Cancelled);
                    attempt.cause = attempt.cause.or(Some(Cause::Cancelled));
                }
                attempt.in_doubt |= matches!(attempt.phase, Phase::Placed | Phase::Doubt { .. });
                attempt.ended = Some(now);
            }
        }
        self.seq += 1;
        self.remember_told(now, Event::Final(event), attempt);
        self.ended = Some(End {
            at: now,
            event,
            attempt,
            seq: self.seq,
        });
        out.push(Effect::Report(Note {
            seq: self.seq,
            at: now,
            event: Event::Final(event),
            attempt,
            reason,
            tells_code: true,
            digits: self.digits_for(attempt),
        }));
    }
}

impl DeliveryState {
    /// The keys that the final tells: those of the attempt that decides, or where none does, of the latest that heard any.
    fn digits_for(&self, decides: Option<u16>) -> Option<Arc<str>> {
        match decides.and_then(|n| self.attempt(n)) {
            Some(attempt) => attempt.digits.clone(),
            None => self.attempts.iter().rev().find_map(|a| a.digits.clone()),
        }
    }
}

/// What one attempt alone would make of the challenge, and why.
fn verdict_of(attempt: &Attempt) -> (Final, &'static str) {
    let cause = attempt.cause.map(Cause::name);
    match attempt.outcome() {
        Outcome::Confirmed => (Final::Confirmed, "confirmed"),
        Outcome::Delivered => (Final::Delivered, "delivered"),
        Outcome::Accepted if attempt.method == Method::SmsReply => (Final::NoReply, "expired"),
        Outcome::Accepted => (Final::Unconfirmed, "no_receipt"),
        Outcome::InDoubt => (Final::Unconfirmed, "in_doubt"),
        Outcome::Undelivered => (Final::Undelivered, cause.unwrap_or("unreachable")),
        Outcome::Answered => (Final::Undelivered, cause.unwrap_or("no_keypress")),
        Outcome::Unanswered => (Final::Undelivered, cause.unwrap_or("no_answer")),
        Outcome::Cancelled if attempt.taken && attempt.channel() == Channel::Voice => {
            (Final::Undelivered, cause.unwrap_or("no_answer"))
        }
        Outcome::Refused | Outcome::Cancelled => match attempt.cause {
            // The number itself can't be reached: no carrier would have done better. A call got as far as the network.
            Some(c) if c.failure(None).blame == Blame::Number => match attempt.channel() {
                Channel::Voice => (Final::Undelivered, c.name()),
                Channel::Sms => (Final::Failed, c.name()),
            },
            Some(Cause::BlockedByOperator) => (Final::Failed, "blocked_by_operator"),
            _ => (Final::Failed, "carriers_exhausted"),
        },
    }
}
