//! What the life of a challenge waits for: an attempt, a moment, and the candidates that are out of the question.
//!
//! Looks only; what a moment brings is told in `delivery` and `steps`.

use std::{sync::Arc, time::Duration};

use super::{
    Attempt, CALL_OVERTIME, DeliveryState, LATER_DOUBLINGS, LATER_PAUSE, MAX_ATTEMPTS, MAX_LATER,
    Outcome, Phase, StepState, Tried, Want,
};
use crate::{
    cause::{Cause, Verdict},
    challenge::{Challenge, Channel, Millis},
};

/// The longest pause that a carrier can ask a challenge for: longer than any that still helps.
const LONGEST_ASKED: Duration = Duration::from_secs(900);

impl DeliveryState {
    /// The attempt that is wanted now, if one is.
    pub fn want(&self, ch: &Challenge, now: Millis, min_call: Duration) -> Option<Want> {
        if self.ended.is_some() || now >= ch.deadline {
            return None;
        }
        let (at, leg) = self
            .legs
            .iter()
            .enumerate()
            .find(|(_, leg)| leg.state == StepState::Open)?;
        let number = at as u8;
        if leg.method.channel() == Channel::Voice && ch.deadline.since(now) < min_call {
            return None;
        }
        let mut doubtful = None;
        for attempt in self.attempts.iter().filter(|a| a.leg == number) {
            match attempt.phase {
                Phase::Doubt { hedge_at } => doubtful = Some(hedge_at),
                // A call that an earlier life of this process may have placed: another one is a hedge.
                Phase::Settled(Outcome::InDoubt) => doubtful = Some(now),
                _ if attempt.live() => return None,
                Phase::Settled(Outcome::Delivered | Outcome::Confirmed | Outcome::Answered) => {
                    return None;
                }
                _ => {}
            }
        }
        match doubtful {
            None => Some(Want {
                leg: number,
                method: leg.method,
                hedge: false,
            }),
            Some(hedge_at) if !self.hedged && now >= hedge_at => Some(Want {
                leg: number,
                method: leg.method,
                hedge: true,
            }),
            Some(_) => None,
        }
    }

    /// The leg that wants a call for which too little time is left.
    pub(super) fn too_late_to_call(
        &self,
        ch: &Challenge,
        now: Millis,
        min_call: Duration,
    ) -> Option<u8> {
        let want = self.want(ch, now, Duration::ZERO)?;
        let late = want.method.channel() == Channel::Voice && ch.deadline.since(now) < min_call;
        late.then_some(want.leg)
    }

    /// When [`DeliveryState::tick`] is to be called again at the latest.
    pub fn wake(&self, ch: &Challenge, now: Millis, min_call: Duration) -> Millis {
        if self.ended.is_some() {
            return Millis::NEVER;
        }
        if now >= ch.deadline {
            let talks = self.attempts.iter().any(|a| a.phase == Phase::Answered);
            return if talks {
                ch.deadline + CALL_OVERTIME
            } else {
                now
            };
        }
        let mut soonest = ch.deadline;
        for attempt in self.attempts.iter().filter(|a| a.live()) {
            match attempt.phase {
                Phase::Doubt { hedge_at } if !self.hedged && hedge_at > now => {
                    soonest = soonest.min(hedge_at)
                }
                Phase::Taken if attempt.channel() == Channel::Sms => {
                    soonest = soonest.min(attempt.receipt_by)
                }
                _ => {}
            }
        }
        for attempt in self
            .attempts
            .iter()
            .filter(|a| a.verdict == Some(Verdict::Later))
        {
            let again = self.pause_until(attempt, now);
            if again > now {
                soonest = soonest.min(again);
            }
        }
        let calls = |want: &Want| want.method.channel() == Channel::Voice;
        if self.want(ch, now, Duration::ZERO).filter(calls).is_some() {
            // From then on it is too late to call.
            soonest = soonest.min(Millis((ch.deadline - min_call).0 + 1).max(now));
        }
        soonest.min(self.fallback_due(ch).unwrap_or(Millis::NEVER))
    }

    /// How long the challenge leaves a carrier alone that was full: longer each time, and at least as long as it asked for.
    pub(super) fn pause_until(&self, full: &Attempt, now: Millis) -> Millis {
        let before = self
            .attempts
            .iter()
            .filter(|a| a.n < full.n && a.leg == full.leg && a.carrier == full.carrier)
            .filter(|a| a.verdict == Some(Verdict::Later))
            .count();
        let times = 1u32 << before.min(LATER_DOUBLINGS);
        let asked = Duration::from_secs(full.asked_pause).min(LONGEST_ASKED);
        full.ended.unwrap_or(now) + asked.max(LATER_PAUSE * times)
    }

    /// The candidates of this leg that earlier attempts speak against.
    pub fn tried(&self, leg: u8, now: Millis) -> impl Iterator<Item = Tried> + '_ {
        self.attempts
            .iter()
            .filter(move |a| a.leg == leg)
            .filter_map(move |a| {
                let whole = Tried {
                    carrier: a.carrier.clone(),
                    sender: None,
                    pausing: false,
                };
                match (a.phase, a.verdict) {
                    (Phase::Settled(_), Some(Verdict::Later)) => (self.pause_until(a, now) > now)
                        .then_some(Tried {
                            pausing: true,
                            ..whole
                        }),
                    // Another sender of the same carrier may pass a block.
                    (Phase::Settled(_), _) if a.cause == Some(Cause::BlockedByOperator) => {
                        Some(Tried {
                            sender: Some(a.sender.clone()),
                            ..whole
                        })
                    }
                    _ => Some(whole),
                }
            })
    }

    /// Has this carrier told it to come later?
    pub fn throttled_by(&self, carrier: &str) -> bool {
        self.throttling().any(|name| &**name == carrier)
    }

    /// Has another carrier told it to come later?
    pub fn throttled_elsewhere(&self, carrier: &str) -> bool {
        self.throttling().any(|name| &**name != carrier)
    }

    /// Has another carrier refused it, for whatever lasts?
    pub fn refused_elsewhere(&self, carrier: &str) -> bool {
        self.attempts.iter().any(|a| {
            *a.carrier != *carrier
                && a.phase == Phase::Settled(Outcome::Refused)
                && a.verdict != Some(Verdict::Later)
        })
    }

    /// The carriers that have told it to come later, some of them again and again. Where a limit of ours did, none was asked.
    pub fn throttling(&self) -> impl Iterator<Item = &Arc<str>> {
        let later = |a: &&Attempt| {
            a.verdict == Some(Verdict::Later) && a.cause != Some(Cause::GatewayLimit)
        };
        self.attempts.iter().filter(later).map(|a| &a.carrier)
    }

    /// More tries than this leg shall have?
    pub fn worn_out(&self, leg: u8) -> bool {
        let all = self.attempts.iter().filter(|a| a.leg == leg);
        let full = |a: &&Attempt| a.verdict == Some(Verdict::Later);
        let (later, others) = all.fold((0, 0), |(later, others), a| match full(&a) {
            true => (later + 1, others),
            false => (later, others + 1),
        });
        // A carrier that is full has refused nothing for good: the deadline ends that wait, not a count.
        others >= MAX_ATTEMPTS || later >= MAX_LATER
    }

    pub fn attempt(&self, n: u16) -> Option<&Attempt> {
        self.index(n).map(|at| &self.attempts[at])
    }

    /// An attempt was taken by a carrier, or is in doubt.
    pub fn billable(&self) -> bool {
        self.attempts
            .iter()
            .any(|a| a.taken || a.in_doubt || (a.phase == Phase::Placed && a.handed))
    }
}
