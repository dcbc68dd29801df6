//! Health of one carrier: healthy, suspended, probing. A pure machine: evidence and time in, the state and the next
//! deadline out.
//!
//! ```text
//!              faults, silence, refusals, throttling, link down, Retry-After, receipts collapse
//!   healthy ------------------------------------------------------------------------> suspended
//!      ^                                                                                |   ^
//!      |  a few good ones in a row                          back-off over, link up      |   | a bad one:
//!      +----------------------------- probing <-----------------------------------------+   | back-off doubles
//!                                        +--------------------------------------------------+
//! ```
//!
//! While probing, one attempt at a time is let through. What an attempt says counts for the state in which it was
//! sent: an old attempt's bad end is no answer to a probe, and makes no pause longer. What a failure means was decided
//! where it happened (`cause::Failure`); here it is only counted.
//!
//! A link's own probe (enquire_link, OPTIONS) proves the link, not the traffic: it ends what it has begun, and nothing
//! else. Whoever takes texts and answers none has answered every enquire_link meanwhile.

mod answers;
mod link;
mod pauses;
mod receipts;
mod refusals;
mod traffic;
mod types;
mod unmatched;
mod window;

use std::{sync::Arc, time::Duration};

use crate::clock::Mono;

pub use self::refusals::{Scope, ScopeChange, Scopes};
pub use self::types::{
    Availability, Evidence, HealthSettings, Outcome, Reason, ReceiptSettings, State,
};
pub use self::unmatched::{Alarm, Unmatched};
use self::{
    answers::Answers,
    pauses::Pauses,
    receipts::{BASELINE_LEAST, Baseline, Recent},
    refusals::Answered,
    window::Sliding,
};

/// The longest pause that a carrier can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// One carrier's health.
#[derive(Clone, Debug)]
pub struct Health {
    settings: HealthSettings,
    phase: Phase,
    /// When the phase began.
    since: Mono,
    /// When the last suspension began: what was sent before it has had its say.
    suspended: Option<Mono>,
    /// When receipts came again: those that were missing before have had their say.
    receipts_again: Option<Mono>,
    /// Suspensions in a row without a healthy stretch between: the exponent of the back-off.
    trips: u32,
    link_up: bool,
    /// Something at the far end has answered something.
    proven: bool,
    /// A suspension of the traffic that a lost link has covered: it goes on when the link is back.
    owed: Option<(Reason, Mono)>,
    /// Why it is in this state, in numbers, or the driver's own word.
    why: Arc<str>,
    /// The carrier's own word in its last refusal.
    refusal: Option<Arc<str>>,
    outcomes: Sliding,
    faults_in_a_row: u32,
    doubts_in_a_row: u32,
    /// Probes of the link in a row that were not answered.
    misses: u32,
    throttles: u32,
    throttled_since: Option<Mono>,
    answered: Answered,
    pauses: Pauses,
    receipts: Recent,
    baseline: Baseline,
    /// Good receipts in a row since they collapsed.
    receipts_good: u32,
    answers: Answers,
    receipt_times: Answers,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Healthy,
    /// `until` None: until the link is up.
    Suspended {
        reason: Reason,
        until: Option<Mono>,
    },
    /// `out`: the one attempt, if it is out.
    Probing {
        reason: Reason,
        good: u32,
        out: Option<Out>,
    },
}

/// The one attempt of a probing carrier.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Out {
    until: Mono,
    /// It lives long enough for its silence to mean something.
    tells: bool,
}

impl Health {
    /// A carrier that has just been started: suspended until its link is up.
    pub fn new(now: Mono, settings: HealthSettings) -> Health {
        Health {
            phase: Phase::Suspended {
                reason: Reason::NotConnected,
                until: Some(now + settings.start_wait),
            },
            since: now,
            suspended: None,
            receipts_again: None,
            trips: 0,
            link_up: false,
            proven: false,
            owed: None,
            why: "just started".into(),
            refusal: None,
            outcomes: Sliding::new(now, settings.window),
            faults_in_a_row: 0,
            doubts_in_a_row: 0,
            misses: 0,
            throttles: 0,
            throttled_since: None,
            answered: Answered::default(),
            pauses: Pauses::default(),
            receipts: Recent::default(),
            baseline: Baseline::default(),
            receipts_good: 0,
            answers: Answers::default(),
            receipt_times: Answers::default(),
            settings,
        }
    }

    /// Takes evidence in. True if the state is another now.
    pub fn event(&mut self, now: Mono, evidence: Evidence) -> bool {
        let before = self.state();
        self.expire(now);
        match evidence {
            Evidence::Started { left } => self.started(now, left),
            Evidence::Outcome { outcome, after } => self.outcome(now, outcome, after),
            Evidence::Receipt { delivered, after } => {
                if delivered {
                    self.receipt_times.add(after);
                }
                self.receipt(now, delivered, after);
            }
            // Who did not wait as long as this carrier's receipts take has nothing to say.
            Evidence::NoReceipt { after } => match self.receipt_wait() {
                Some(wait) if after < wait => {}
                Some(_) | None => self.receipt(now, false, after),
            },
            Evidence::LinkUp { answered } => self.link_up(now, answered),
            Evidence::LinkDown { reason } => self.link_down(now, reason),
            Evidence::Probe { ok } => self.probe(now, ok),
            Evidence::Unavailable { reason } => self.unavailable(now, reason),
            Evidence::RetryAfter { pause, after } => self.retry_after(now, pause, after),
            Evidence::ProbeVoid => self.free_probe(),
        }
        before != self.state()
    }

    /// The carrier's own word in the refusal that is told next: named where it leads to a suspension.
    pub fn heard(&mut self, code: Option<&Arc<str>>) {
        if let Some(code) = code {
            self.refusal = Some(code.clone());
        }
    }

    /// Lets time pass. True if the state is another now.
    pub fn tick(&mut self, now: Mono) -> bool {
        let before = self.state();
        self.expire(now);
        before != self.state()
    }

    /// When [`Health::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        match self.phase {
            Phase::Healthy => None,
            Phase::Suspended { until, .. } => until,
            Phase::Probing { out, .. } => out.map(|out| out.until),
        }
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Healthy if !self.proven => State::Unproven,
            Phase::Healthy => State::Healthy,
            Phase::Suspended { reason, .. } => State::Suspended(reason),
            Phase::Probing { reason, .. } => State::Probing(reason),
        }
    }

    /// What the plan is told. Whether it is full, dispatch knows.
    pub fn standing(&self) -> Availability {
        match self.phase {
            Phase::Healthy => Availability::Healthy,
            // It takes texts, and nobody tells what becomes of them: better than none.
            Phase::Suspended {
                reason: Reason::ReceiptsCollapsed,
                ..
            }
            | Phase::Probing {
                reason: Reason::ReceiptsCollapsed,
                out: Some(_),
                ..
            } => Availability::NoReceipts { free: true },
            Phase::Suspended { reason, .. } => Availability::Suspended(reason),
            Phase::Probing { out, .. } => Availability::Probing {
                free: out.is_none(),
            },
        }
    }

    /// Its next attempt shall show whether receipts come again: one with much life left.
    pub fn wants_long_life(&self) -> bool {
        matches!(
            self.phase,
            Phase::Probing {
                reason: Reason::ReceiptsCollapsed,
                out: None,
                ..
            }
        )
    }

    /// The reason in words for the operator; empty while healthy.
    pub fn reason(&self) -> String {
        match self.state() {
            State::Healthy => String::new(),
            State::Unproven => self.why.to_string(),
            State::Suspended(reason) | State::Probing(reason) if self.why.is_empty() => {
                reason.name().to_owned()
            }
            State::Suspended(reason) | State::Probing(reason) => {
                format!("{}: {}", reason.name(), self.why)
            }
        }
    }

    /// Why it is in this state, in numbers.
    pub fn why(&self) -> &Arc<str> {
        &self.why
    }

    /// When its suspension ends by itself.
    pub fn until(&self) -> Option<Mono> {
        match self.phase {
            Phase::Suspended { until, .. } => until,
            Phase::Healthy | Phase::Probing { .. } => None,
        }
    }

    /// The time within which 99 of 100 attempts are answered; None before there are enough answers.
    pub fn answer_p99(&self) -> Option<Duration> {
        self.answers.p99()
    }

    /// After so long a receipt is missing; None before there were enough to know.
    pub fn receipt_wait(&self) -> Option<Duration> {
        let known = self.receipt_times.p99()?;
        let s = &self.settings.receipts;
        Some(known.clamp(s.least_wait, s.probe_wait))
    }

    /// What it has taken lately, per second.
    pub fn carried(&mut self, now: Mono) -> f64 {
        let (good, _) = self.outcomes.sums(now);
        f64::from(good) / self.settings.window.as_secs_f64()
    }

    fn expire(&mut self, now: Mono) {
        match self.phase {
            Phase::Suspended {
                reason,
                until: Some(until),
            } if until <= now => {
                let why = self.why.clone();
                self.enter(now, probing(reason), String::new());
                self.why = why;
            }
            Phase::Probing {
                reason,
                out: Some(out),
                ..
            } if out.until <= now => {
                if out.tells {
                    let why = match reason {
                        Reason::ReceiptsCollapsed => "no receipt for the probing text",
                        _ => "nothing was heard of the probing attempt",
                    };
                    self.suspend(now, reason, why.into());
                } else {
                    self.free_probe();
                }
            }
            Phase::Healthy | Phase::Suspended { .. } | Phase::Probing { .. } => {}
        }
    }

    /// Suspends for the next pause of the back-off.
    fn suspend(&mut self, now: Mono, reason: Reason, why: String) {
        let first = match reason {
            Reason::ReceiptsCollapsed => self.settings.receipts.back_off_first,
            _ => self.settings.back_off_first,
        };
        let trips = self.count_period(now);
        let pause = first
            .saturating_mul(1 << trips.min(16))
            .min(self.settings.back_off_most.max(first));
        let why = match (&self.refusal, reason) {
            (Some(code), Reason::Faults | Reason::Refuses | Reason::Throttled) => {
                format!("{why}, the last with {code}")
            }
            _ => why,
        };
        self.begin_suspension(now, reason, now + pause, why);
    }

    /// One more period of suspension: how many there were before it, without a healthy stretch between.
    fn count_period(&mut self, now: Mono) -> u32 {
        let healthy = self.phase == Phase::Healthy;
        if healthy && now.saturating_duration_since(self.since) >= self.settings.stable {
            self.trips = 0;
        }
        self.trips += 1;
        self.trips - 1
    }

    fn begin_suspension(&mut self, now: Mono, reason: Reason, until: Mono, why: String) {
        self.suspended = Some(now);
        self.clear_counts();
        let until = Some(until);
        self.enter(now, Phase::Suspended { reason, until }, why);
    }

    fn clear_counts(&mut self) {
        (self.faults_in_a_row, self.doubts_in_a_row, self.misses) = (0, 0, 0);
        (self.throttles, self.throttled_since) = (0, None);
        self.receipts_good = 0;
        self.answered.clear();
        self.refusal = None;
    }

    fn enter(&mut self, now: Mono, phase: Phase, why: String) {
        if phase == Phase::Healthy {
            self.outcomes.clear();
            self.receipts.clear();
            self.owed = None;
        }
        self.phase = phase;
        self.since = now;
        self.why = why.into();
    }

    fn probe_wait(&self, reason: Reason) -> Duration {
        match reason {
            Reason::ReceiptsCollapsed => self
                .receipt_wait()
                .unwrap_or(self.settings.receipts.probe_wait),
            _ => self.settings.probe_wait,
        }
    }
}

/// Was it begun at or after `since`, if it began `after` ago?
fn begun_since(now: Mono, after: Duration, since: Mono) -> bool {
    now.saturating_duration_since(since) >= after
}

fn probing(reason: Reason) -> Phase {
    Phase::Probing {
        reason,
        good: 0,
        out: None,
    }
}

#[cfg(test)]
mod tests;
