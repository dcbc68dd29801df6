//! The steps of a challenge's life, one thing each: an attempt goes on, fails, leaves a doubt; a method gives way to
//! the next. `delivery` says when.

use std::{sync::Arc, time::Duration};

use super::{DeliveryState, Effect, Event, Final, MethodStep, Note, Outcome, Phase, StepState};
use crate::{
    carrier::{self, CallOutcome},
    cause::{Blame, Cause, Failure, Verdict},
    challenge::{Challenge, Channel, Method, Millis, Until},
};

impl DeliveryState {
    pub(super) fn accepted(
        &mut self,
        now: Millis,
        at: usize,
        references: Vec<Arc<str>>,
        out: &mut Vec<Effect>,
    ) {
        let attempt = &mut self.attempts[at];
        if attempt.references.is_empty() {
            attempt.references = references;
        }
        if attempt.taken {
            return;
        }
        attempt.taken = true;
        attempt.phase = Phase::Taken;
        let n = attempt.n;
        let tells = attempt.channel() == Channel::Sms;
        self.note_with_code(now, Event::Sent, n, tells, out);
    }

    pub(super) fn ringing(&mut self, now: Millis, at: usize, out: &mut Vec<Effect>) {
        let attempt = &mut self.attempts[at];
        attempt.taken = true;
        if attempt.phase != Phase::Ringing {
            attempt.phase = Phase::Ringing;
            let n = attempt.n;
            self.note(now, Event::Ringing, Some(n), None, out);
        }
    }

    pub(super) fn answered(&mut self, now: Millis, at: usize, out: &mut Vec<Effect>) {
        let attempt = &mut self.attempts[at];
        attempt.taken = true;
        if attempt.phase != Phase::Answered {
            attempt.phase = Phase::Answered;
            let n = attempt.n;
            self.note_with_code(now, Event::Answered, n, true, out);
        }
    }

    pub(super) fn call_ended(
        &mut self,
        ch: &Challenge,
        now: Millis,
        at: usize,
        end: carrier::CallEnd,
        out: &mut Vec<Effect>,
    ) {
        let attempt = &mut self.attempts[at];
        attempt.taken = true;
        if !end.digits.is_empty() && attempt.method != Method::VoicePin {
            attempt.digits = Some(end.digits);
        }
        attempt.carrier_code = end.carrier_code.or(attempt.carrier_code.take());
        let cause = match end.outcome {
            CallOutcome::Confirmed => {
                attempt.settle(now, Outcome::Confirmed);
                let n = attempt.n;
                self.finish(now, Final::Confirmed, Some(n), Some("confirmed"), out);
                return;
            }
            CallOutcome::CodeRead => {
                attempt.settle(now, Outcome::Delivered);
                if ch.until == Until::Delivered {
                    self.drop_fallbacks();
                }
                return;
            }
            CallOutcome::NoKeypress => Cause::NoKeypress,
            CallOutcome::Voicemail => Cause::Voicemail,
            CallOutcome::Cancelled => {
                attempt.settle(now, Outcome::Cancelled);
                attempt.cause = Some(Cause::Cancelled);
                let leg = attempt.leg;
                self.close_leg(leg, Cause::Cancelled);
                return;
            }
        };
        attempt.settle(now, Outcome::Answered);
        self.after_failure(ch, now, at, cause.failure(None), out);
    }

    pub(super) fn failed(
        &mut self,
        ch: &Challenge,
        now: Millis,
        at: usize,
        failure: Failure,
        out: &mut Vec<Effect>,
    ) {
        let attempt = &mut self.attempts[at];
        let outcome = match failure.blame {
            Blame::Person => Outcome::Unanswered,
            Blame::Carrier | Blame::Number | Blame::Us | Blame::Nobody => match failure.cause {
                Cause::Cancelled => Outcome::Cancelled,
                _ => Outcome::Refused,
            },
        };
        attempt.settle(now, outcome);
        self.after_failure(ch, now, at, failure, out);
    }

    /// Four kinds of bad outcome: the verdict says whether another candidate, another method or nothing follows.
    pub(super) fn after_failure(
        &mut self,
        ch: &Challenge,
        now: Millis,
        at: usize,
        failure: Failure,
        out: &mut Vec<Effect>,
    ) {
        let attempt = &mut self.attempts[at];
        attempt.cause = Some(failure.cause);
        attempt.verdict = Some(failure.verdict);
        attempt.asked_pause = failure.retry_after.map_or(0, |pause| pause.as_secs());
        attempt.carrier_code = failure.carrier_code.or(attempt.carrier_code.take());
        let (n, leg) = (attempt.n, attempt.leg);
        self.note(
            now,
            Event::AttemptFailed,
            Some(n),
            Some(failure.cause.name()),
            out,
        );
        match failure.verdict {
            Verdict::NextCandidate | Verdict::Later if !self.worn_out(leg) => {}
            Verdict::NextCandidate | Verdict::Later | Verdict::StopChannel => {
                self.close_leg(leg, failure.cause);
                self.open_next(ch, now, out);
            }
        }
    }

    pub(super) fn doubt(
        &mut self,
        now: Millis,
        at: usize,
        doubt_wait: Duration,
        out: &mut Vec<Effect>,
    ) {
        let attempt = &mut self.attempts[at];
        if attempt.phase != Phase::Placed {
            return;
        }
        attempt.in_doubt = true;
        attempt.phase = Phase::Doubt {
            hedge_at: now + doubt_wait,
        };
        let n = attempt.n;
        self.note(
            now,
            Event::AttemptFailed,
            Some(n),
            Some(Cause::InDoubt.name()),
            out,
        );
    }

    /// Closes a leg for new attempts. The first cause stays.
    pub(super) fn close_leg(&mut self, leg: u8, cause: Cause) {
        if let Some(leg) = self.legs.get_mut(leg as usize)
            && leg.state == StepState::Open
        {
            leg.state = StepState::Closed(Some(cause));
        }
    }

    /// A key, feedback, or (until delivered) a positive receipt: no further method starts.
    pub(super) fn drop_fallbacks(&mut self) {
        for leg in &mut self.legs {
            if leg.state == StepState::Waiting {
                leg.state = StepState::Closed(None);
            }
        }
    }

    /// The predecessor has failed for good: the next method starts at once.
    pub(super) fn open_next(&mut self, ch: &Challenge, now: Millis, out: &mut Vec<Effect>) {
        if self.legs.iter().any(|leg| leg.state == StepState::Open) || now >= ch.deadline {
            return;
        }
        self.pass_over_calls_too_late(ch, now);
        let Some(at) = self
            .legs
            .iter()
            .position(|leg| leg.state == StepState::Waiting)
        else {
            return;
        };
        self.legs[at].state = StepState::Open;
        self.legs[at].started = Some(now);
        if self.legs[..at].iter().any(|leg| leg.started.is_some()) {
            let last = self.attempts.last().map(|a| a.n);
            self.note(
                now,
                Event::Fallback,
                last,
                Some(self.legs[at].method.name()),
                out,
            );
        }
    }

    /// Calls that would be the next method, and for which too little time is left, never start: they stop no
    /// predecessor, and nobody is told of a fallback to them.
    fn pass_over_calls_too_late(&mut self, ch: &Challenge, now: Millis) {
        if ch.deadline.since(now) >= self.min_call {
            return;
        }
        // The first method is the asked one: it is closed as too late where it is looked at next, not passed over.
        let waiting = |leg: &&mut MethodStep| leg.state == StepState::Waiting;
        for leg in self.legs.iter_mut().skip(1).filter(waiting) {
            if leg.method.channel() == Channel::Voice {
                leg.state = StepState::Closed(Some(Cause::Expired));
            }
        }
    }

    /// The time of the next method has come, whatever its predecessor still waits for.
    pub(super) fn open_next_by_time(&mut self, ch: &Challenge, now: Millis, out: &mut Vec<Effect>) {
        self.pass_over_calls_too_late(ch, now);
        if !self.legs.iter().any(|leg| leg.state == StepState::Waiting)
            || self.fallback_due(ch).is_some_and(|due| now < due)
        {
            return;
        }
        for leg in &mut self.legs {
            if leg.state == StepState::Open {
                leg.state = StepState::Closed(None);
            }
        }
        self.open_next(ch, now, out);
    }

    /// When the next waiting method starts by time.
    pub(super) fn fallback_due(&self, ch: &Challenge) -> Option<Millis> {
        let at = self
            .legs
            .iter()
            .position(|leg| leg.state == StepState::Waiting)?;
        let after = ch.fallback.get(at.checked_sub(1)?)?.after;
        let before = self.legs[..at].iter().rev().find_map(|leg| leg.started)?;
        Some(before + after)
    }

    pub(super) fn note(
        &mut self,
        now: Millis,
        event: Event,
        attempt: Option<u16>,
        reason: Option<&'static str>,
        out: &mut Vec<Effect>,
    ) {
        self.seq += 1;
        self.remember_told(now, event, attempt);
        out.push(Effect::Report(Note {
            seq: self.seq,
            at: now,
            event,
            attempt,
            reason,
            tells_code: false,
            digits: None,
        }));
    }

    pub(super) fn note_with_code(
        &mut self,
        now: Millis,
        event: Event,
        n: u16,
        tells: bool,
        out: &mut Vec<Effect>,
    ) {
        self.note(now, event, Some(n), None, out);
        if tells && !self.code_told {
            self.code_told = true;
            if let Some(Effect::Report(note)) = out.last_mut() {
                note.tells_code = true;
            }
        }
    }

    pub(super) fn index(&self, n: u16) -> Option<usize> {
        let at = usize::from(n).checked_sub(1)?;
        (at < self.attempts.len()).then_some(at)
    }
}
