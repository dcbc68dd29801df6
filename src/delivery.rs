//! Delivery: the life of one challenge, as a pure machine.
//!
//! Stands between routing and report: it says when an attempt is wanted, what an answer, a receipt or a silence
//! means, when a fallback starts, and when the challenge is over. Time and words go in; [`Effect`]s come out and
//! [`DeliveryState::want`] and [`DeliveryState::wake`] say what it waits for. It never sends, never chooses a carrier, reads no clock.
//!
//! A [`DeliveryState`] is what the ledger keeps: everything a restart needs is in it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    carrier::{self, ReceiptState},
    cause::{Blame, Cause, Failure, Verdict},
    challenge::{Challenge, Channel, Method, Millis, Until},
};

mod attempt;
mod conclude;
mod note;
mod steps;
#[cfg(test)]
mod tests;
mod wait;

pub use attempt::{Attempt, Outcome, Phase};
pub use note::{Event, Final, Note};

/// The life of one challenge so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryState {
    /// The last report's number.
    pub seq: u32,
    pub legs: Vec<MethodStep>,
    pub attempts: Vec<Attempt>,
    /// What the caller said of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<bool>,
    /// The one hedge of this challenge is made, or can't be.
    #[serde(default)]
    pub hedged: bool,
    /// The made code has been told.
    #[serde(default)]
    code_told: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<End>,
    /// It ended without any attempt: what kept it from one, in words. Empty where an attempt was made.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub left_out: Box<[Arc<str>]>,
    /// No call is started with less left than this: a setting, given again after a restart.
    #[serde(skip)]
    pub min_call: Duration,
    /// When the first report was given; the others' times count from it.
    #[serde(default)]
    first_told: Millis,
    /// Every report in order, so that a trace can tell of it when the report itself is long gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    told: Vec<Told>,
}

/// A report that was given, in little room: there are a few for every open challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told(u32, Event, u8);

/// How and when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub at: Millis,
    pub event: Final,
    pub attempt: Option<u16>,
    /// The final's number in the order of reports.
    pub seq: u32,
}

/// One method of the challenge: the asked one, or a fallback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodStep {
    pub method: Method,
    pub state: StepState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Its time has not come.
    Waiting,
    /// It may make attempts.
    Open,
    /// No new attempts; what its attempts still bring counts. The cause, where it has failed for good.
    Closed(Option<Cause>),
}

/// What the machine wants done. Reports are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Report(Note),
    /// End the call of this attempt.
    HangUp(u16),
}

/// An attempt is wanted: dispatch shall find a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub leg: u8,
    pub method: Method,
    /// Because another attempt is in doubt.
    pub hedge: bool,
}

/// The candidate that dispatch has chosen, with a slot.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    pub carrier: Arc<str>,
    pub sender: Arc<str>,
    pub route: Arc<str>,
    pub why: Arc<str>,
    /// What the plan left out, where that says anything.
    pub left_out: Box<[Arc<str>]>,
    /// How long this carrier's receipts may take; None: the challenge's own life.
    pub receipt_wait: Option<Duration>,
}

/// A candidate that an earlier attempt speaks against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub carrier: Arc<str>,
    /// None: the whole carrier.
    pub sender: Option<Arc<str>>,
    /// Only for a moment: the carrier was full.
    pub pausing: bool,
}

/// Longest list of attempts on one leg: a bound against carriers that refuse for ever.
pub const MAX_ATTEMPTS: usize = 10;
/// Most tries of one leg that found a carrier full; with the growing pause more than the longest life holds.
pub const MAX_LATER: usize = 120;
/// The pause after a full carrier doubles so often: to eight seconds.
const LATER_DOUBLINGS: usize = 4;
/// How long a carrier that was full is left alone by a challenge, the first time.
pub const LATER_PAUSE: Duration = Duration::from_millis(500);
/// An answered call that outlives its deadline is given up after this long.
pub const CALL_OVERTIME: Duration = Duration::from_secs(600);

impl DeliveryState {
    pub fn new(challenge: &Challenge, min_call: Duration) -> DeliveryState {
        let legs = challenge
            .methods()
            .map(|method| MethodStep {
                method,
                state: StepState::Waiting,
                started: None,
            })
            .collect();
        DeliveryState {
            legs,
            min_call,
            ..DeliveryState::default()
        }
    }

    /// The reports so far, in order: when, what, of which attempt.
    pub fn told(&self) -> impl Iterator<Item = (Millis, Event, Option<u16>)> {
        self.told.iter().map(|Told(after, event, attempt)| {
            let at = Millis(self.first_told.0 + i64::from(*after));
            (at, *event, (*attempt > 0).then_some(u16::from(*attempt)))
        })
    }

    fn remember_told(&mut self, now: Millis, event: Event, attempt: Option<u16>) {
        if self.told.is_empty() {
            self.first_told = now;
        }
        let after = u32::try_from(now.0 - self.first_told.0).unwrap_or(u32::MAX);
        let attempt = attempt.map_or(0, |n| u8::try_from(n).unwrap_or(u8::MAX));
        // Room for what there is: it is kept as long as the challenge is open.
        self.told.reserve_exact(1);
        self.told.push(Told(after, event, attempt));
    }

    // --- what comes in -------------------------------------------------------------------------------------

    /// Admitted: `closed` are the legs that admission refused (their cause in words stands in the log).
    pub fn start(&mut self, ch: &Challenge, now: Millis, refused: &[bool], out: &mut Vec<Effect>) {
        self.note(now, Event::Accepted, None, None, out);
        for (leg, refused) in self.legs.iter_mut().zip(refused) {
            if *refused {
                leg.state = StepState::Closed(None);
            }
        }
        self.open_next(ch, now, out);
    }

    /// Refused before any attempt.
    pub fn reject(&mut self, now: Millis, reason: &'static str, out: &mut Vec<Effect>) {
        self.finish(now, Final::Rejected, None, Some(reason), out);
    }

    /// Dispatch has a slot for what was wanted: the attempt is made. Returns its number.
    pub fn place(&mut self, ch: &Challenge, now: Millis, want: Want, by: NewAttempt) -> u16 {
        let n = u16::try_from(self.attempts.len() + 1).unwrap_or(u16::MAX);
        self.hedged |= want.hedge;
        // Nearly always there is one, and it is kept as long as the challenge is open.
        self.attempts.reserve_exact(1);
        self.attempts.push(Attempt {
            n,
            leg: want.leg,
            method: want.method,
            carrier: by.carrier,
            sender: by.sender,
            route: by.route,
            why: by.why,
            left_out: by.left_out,
            started: now,
            ended: None,
            references: Vec::new(),
            by_phone: false,
            cause: None,
            carrier_code: None,
            in_doubt: false,
            hedge: want.hedge,
            taken: false,
            phase: Phase::Placed,
            handed: false,
            verdict: None,
            asked_pause: 0,
            parts_delivered: 0,
            refusal: None,
            receipt_by: by.receipt_wait.map_or(Millis::NEVER, |wait| now + wait),
            digits: None,
        });
        debug_assert!(now < ch.deadline, "nothing is sent after the deadline");
        n
    }

    /// The intent was durable and the order is with its driver: from here on it may have been sent.
    pub fn handed(&mut self, n: u16) {
        if let Some(at) = self.index(n) {
            self.attempts[at].handed = true;
        }
    }

    /// The plan has nobody left for what was wanted.
    pub fn nobody_left(&mut self, ch: &Challenge, now: Millis, want: Want, out: &mut Vec<Effect>) {
        if want.hedge {
            self.hedged = true;
            self.give_up_doubtful(ch, now, out);
        } else if let Some(leg) = self.legs.get_mut(want.leg as usize) {
            leg.state = StepState::Closed(Some(Cause::CarrierFault));
            self.open_next(ch, now, out);
        }
        self.conclude_if_over(ch, now, out);
    }

    /// A leg whose attempts are all over, one of them in doubt, and that may make no other: nothing comes of it any
    /// more. (A text in doubt isn't over: its receipt may still come.)
    fn give_up_doubtful(&mut self, ch: &Challenge, now: Millis, out: &mut Vec<Effect>) {
        let Some(leg) = self.legs.iter().position(|l| l.state == StepState::Open) else {
            return;
        };
        let mut doubtful = false;
        for attempt in self.attempts.iter().filter(|a| usize::from(a.leg) == leg) {
            if attempt.live() {
                return;
            }
            doubtful |= attempt.phase == Phase::Settled(Outcome::InDoubt);
        }
        if doubtful && self.hedged {
            self.close_leg(leg as u8, Cause::InDoubt);
            self.open_next(ch, now, out);
        }
    }

    /// What a carrier's driver says of an attempt. `doubt_wait`: this carrier's measured wait before a hedge.
    pub fn event(
        &mut self,
        ch: &Challenge,
        now: Millis,
        n: u16,
        event: carrier::AttemptEvent,
        doubt_wait: Duration,
        out: &mut Vec<Effect>,
    ) {
        let Some(at) = self.index(n) else { return };
        if self.ended.is_some() || !self.attempts[at].live() {
            return;
        }
        self.attempts[at].handed = true;
        match event {
            carrier::AttemptEvent::Accepted { references } => {
                self.accepted(now, at, references, out)
            }
            carrier::AttemptEvent::Ringing => self.ringing(now, at, out),
            carrier::AttemptEvent::Answered => self.answered(now, at, out),
            carrier::AttemptEvent::KeyPressed(key) => {
                self.attempts[at].press(key.sign());
                self.drop_fallbacks();
            }
            // The dialog's remains are the ledger's own matter.
            carrier::AttemptEvent::CallState(..) | carrier::AttemptEvent::CallCleared => {}
            carrier::AttemptEvent::CallEnded(end) => self.call_ended(ch, now, at, end, out),
            carrier::AttemptEvent::Failed(failure) => self.failed(ch, now, at, failure, out),
            carrier::AttemptEvent::InDoubt { cause: _ } => self.doubt(now, at, doubt_wait, out),
        }
        self.give_up_doubtful(ch, now, out);
        self.conclude_if_over(ch, now, out);
    }

    /// A receipt for one part of an attempt (`part` counted from 0). False: it says nothing new. A positive one proves
    /// that the phone has the text, whatever was said of it before; a negative one takes nothing back.
    pub fn receipt(
        &mut self,
        ch: &Challenge,
        now: Millis,
        n: u16,
        part: u16,
        receipt: &carrier::Receipt,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(at) = self.index(n) else {
            return false;
        };
        let state = receipt.state;
        if self.ended.is_some()
            || state == ReceiptState::Intermediate
            || self.attempts[at].channel() == Channel::Voice
            || self.attempts[at].knows(part, state)
        {
            return false;
        }
        if !self.attempts[at].taken && self.attempts[at].live() {
            // A receipt proves what no answer did.
            self.attempts[at].by_phone = true;
            self.accepted(
                now,
                at,
                receipt.references.first().cloned().into_iter().collect(),
                out,
            );
        }
        let attempt = &mut self.attempts[at];
        match state {
            ReceiptState::Delivered => {
                if attempt.part_delivered(part) {
                    attempt.taken = true;
                    attempt.cause = None;
                    attempt.settle(now, Outcome::Delivered);
                    if ch.until == Until::Delivered {
                        self.drop_fallbacks();
                    }
                }
            }
            ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => {
                attempt.refusal = Some((part, state));
                if attempt.live() {
                    let failure = undelivered(receipt);
                    attempt.settle(now, Outcome::Undelivered);
                    self.after_failure(ch, now, at, failure, out);
                }
            }
            ReceiptState::Intermediate | ReceiptState::Unknown => {}
        }
        self.conclude_if_over(ch, now, out);
        true
    }

    /// A text that was accepted without a reference has this one, as its receipt says.
    pub fn adopt(&mut self, n: u16, reference: Arc<str>) {
        if let Some(at) = self.index(n)
            && self.attempts[at].references.is_empty()
        {
            self.attempts[at].by_phone = true;
            self.attempts[at].references.push(reference);
        }
    }

    /// The caller doesn't want it any more.
    pub fn cancel(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.ended.is_none() {
            let attempt = self.attempts.last().map(|a| a.n);
            self.finish(now, Final::Cancelled, attempt, Some("cancelled"), out);
        }
    }

    /// The caller says whether the person entered the right code.
    pub fn feedback(&mut self, now: Millis, verified: bool, out: &mut Vec<Effect>) {
        self.feedback = Some(verified);
        if verified && self.ended.is_none() {
            let attempt = self
                .attempts
                .iter()
                .rev()
                .find(|a| a.taken)
                .or(self.attempts.last())
                .map(|a| a.n);
            self.finish(now, Final::Verified, attempt, Some("verified"), out);
        }
    }

    /// Time has passed: whatever is due happens.
    pub fn tick(&mut self, ch: &Challenge, now: Millis, min_call: Duration, out: &mut Vec<Effect>) {
        if self.ended.is_some() {
            return;
        }
        if now >= ch.deadline {
            self.deadline(ch, now, out);
            return;
        }
        for at in 0..self.attempts.len() {
            let attempt = &mut self.attempts[at];
            if attempt.channel() == Channel::Sms
                && attempt.phase == Phase::Taken
                && now >= attempt.receipt_by
            {
                // Its word still counts if it comes; the method is over, a fallback may start.
                attempt.receipt_by = Millis::NEVER;
                attempt.cause = Some(Cause::NoReceipt);
                let leg = attempt.leg;
                self.close_leg(leg, Cause::NoReceipt);
                self.open_next(ch, now, out);
            }
        }
        if self.fallback_due(ch).is_some_and(|due| now >= due) {
            self.open_next_by_time(ch, now, out);
        }
        while let Some(leg) = self.too_late_to_call(ch, now, min_call) {
            self.close_leg(leg, Cause::Expired);
            self.open_next(ch, now, out);
        }
        self.conclude_if_over(ch, now, out);
    }

    /// After a restart: an attempt whose intent has no outcome is in doubt; a call is given up (its dialog is ended by
    /// what the ledger holds of it).
    pub fn resume(
        &mut self,
        ch: &Challenge,
        now: Millis,
        doubt_wait: Duration,
        out: &mut Vec<Effect>,
    ) {
        for at in 0..self.attempts.len() {
            let attempt = &mut self.attempts[at];
            if !attempt.live() {
                continue;
            }
            match attempt.channel() {
                Channel::Sms if attempt.phase == Phase::Placed => {
                    self.doubt(now, at, doubt_wait, out)
                }
                Channel::Sms => {}
                Channel::Voice => {
                    attempt.in_doubt = true;
                    let rang = attempt.taken || self.hedged;
                    attempt.settle(now, Outcome::InDoubt);
                    let failure = Failure {
                        verdict: if rang {
                            Verdict::StopChannel
                        } else {
                            Verdict::NextCandidate
                        },
                        blame: Blame::Us,
                        ..Cause::InDoubt.failure(None)
                    };
                    self.after_failure(ch, now, at, failure, out);
                }
            }
        }
        self.conclude_if_over(ch, now, out);
    }
}

/// What a negative receipt means: the carrier's own table first, then the state's usual sense.
fn undelivered(receipt: &carrier::Receipt) -> Failure {
    let cause = receipt.cause.unwrap_or(match receipt.state {
        ReceiptState::Rejected => Cause::BlockedByOperator,
        ReceiptState::Expired => Cause::HandsetOff,
        _ => Cause::Unreachable,
    });
    cause.failure(receipt.carrier_code.clone())
}
