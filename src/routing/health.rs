//! Health of one carrier: healthy, suspended, probing. A pure machine: evidence and time in, the state and the next
//! deadline out.
//!
//! ```text
//!              faults, silence, throttling, link down, Retry-After, receipts collapse
//!   healthy ------------------------------------------------------------------------> suspended
//!      ^                                                                                |   ^
//!      |  a few good ones in a row                          back-off over, link up      |   | a bad one:
//!      +----------------------------- probing <-----------------------------------------+   | back-off doubles
//!                                        +--------------------------------------------------+
//! ```
//!
//! While probing, one attempt at a time is let through. What an attempt says counts for the state in which it was
//! sent: an old attempt's bad end is no answer to a probe. What a failure means was decided where it happened
//! (`carrier::Failure`); here it is only counted.

mod answers;
mod receipts;
mod window;
mod words;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::words::{Evidence, HealthSettings, Outcome, Reason, ReceiptSettings, State};
use self::{
    answers::Answers,
    receipts::{BASELINE_LEAST, Baseline, Recent},
    window::Sliding,
};
use super::plan::Standing;

/// The longest pause that a carrier can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// One carrier's health.
#[derive(Clone, Debug)]
pub struct Health {
    settings: HealthSettings,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Suspensions in a row without a healthy stretch between: the exponent of the back-off.
    trips: u32,
    link_up: bool,
    /// The driver's own word for the operator.
    detail: Option<Arc<str>>,
    outcomes: Sliding,
    faults_in_a_row: u32,
    doubts_in_a_row: u32,
    throttles: u32,
    throttled_since: Option<Instant>,
    receipts: Recent,
    baseline: Baseline,
    answers: Answers,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Healthy,
    /// `until` None: until the link is up.
    Suspended {
        reason: Reason,
        until: Option<Instant>,
    },
    /// `out`: since when the one attempt is out.
    Probing {
        reason: Reason,
        good: u32,
        out: Option<Instant>,
    },
}

impl Health {
    /// A carrier that has just been started: suspended until its link is up.
    pub fn new(now: Instant, settings: HealthSettings) -> Health {
        Health {
            phase: Phase::Suspended {
                reason: Reason::NotConnected,
                until: Some(now + settings.start_wait),
            },
            since: now,
            trips: 0,
            link_up: false,
            detail: None,
            outcomes: Sliding::new(now, settings.window),
            faults_in_a_row: 0,
            doubts_in_a_row: 0,
            throttles: 0,
            throttled_since: None,
            receipts: Recent::default(),
            baseline: Baseline::default(),
            answers: Answers::default(),
            settings,
        }
    }

    /// Takes evidence in. True if the state is another now.
    pub fn event(&mut self, now: Instant, evidence: Evidence) -> bool {
        let before = self.state();
        self.expire(now);
        match evidence {
            Evidence::Started => {
                if let Phase::Probing { out, .. } = &mut self.phase {
                    *out = Some(now);
                }
            }
            Evidence::Outcome { outcome, after } => self.outcome(now, outcome, after),
            Evidence::Receipt { delivered } => self.receipt(now, delivered),
            Evidence::LinkUp => self.link_up(now),
            Evidence::LinkDown { reason } => {
                self.link_up = false;
                self.detail = Some(reason);
                let down = Phase::Suspended {
                    reason: Reason::LinkDown,
                    until: None,
                };
                if self.phase != down {
                    self.enter(now, down);
                }
            }
            Evidence::Probe { ok } => self.probe(now, ok),
            Evidence::RetryAfter(pause) => {
                let until = now + pause.min(MAX_RETRY_AFTER);
                if self.link_up || !matches!(self.phase, Phase::Suspended { .. }) {
                    self.enter(
                        now,
                        Phase::Suspended {
                            reason: Reason::RetryAfter,
                            until: Some(until),
                        },
                    );
                }
            }
        }
        before != self.state()
    }

    /// Lets time pass. True if the state is another now.
    pub fn tick(&mut self, now: Instant) -> bool {
        let before = self.state();
        self.expire(now);
        before != self.state()
    }

    /// When [`Health::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Healthy => None,
            Phase::Suspended { until, .. } => until,
            Phase::Probing { reason, out, .. } => out.map(|out| out + self.probe_wait(reason)),
        }
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Healthy => State::Healthy,
            Phase::Suspended { reason, .. } => State::Suspended(reason),
            Phase::Probing { reason, .. } => State::Probing(reason),
        }
    }

    /// What the plan is told. Whether it is full, dispatch knows.
    pub fn standing(&self) -> Standing {
        match self.phase {
            Phase::Healthy => Standing::Healthy,
            Phase::Suspended { reason, .. } => Standing::Suspended(reason),
            Phase::Probing { out, .. } => Standing::Probing {
                free: out.is_none(),
            },
        }
    }

    /// The reason in words for the operator; empty while healthy.
    pub fn reason(&self) -> String {
        let reason = match self.state() {
            State::Healthy => return String::new(),
            State::Suspended(reason) | State::Probing(reason) => reason,
        };
        match &self.detail {
            Some(detail) if reason == Reason::LinkDown => format!("{}: {detail}", reason.name()),
            _ => reason.name().to_owned(),
        }
    }

    /// The time within which 99 of 100 attempts are answered; None before there are enough answers.
    pub fn answer_p99(&self) -> Option<Duration> {
        self.answers.p99()
    }

    fn outcome(&mut self, now: Instant, outcome: Outcome, after: Duration) {
        if outcome != Outcome::InDoubt {
            self.answers.add(after);
        }
        // checked_sub: an Instant may not reach that far back; then it was surely sent before.
        let ours = now
            .checked_sub(after)
            .is_some_and(|sent| sent >= self.since);
        match self.phase {
            Phase::Suspended { .. } => {}
            Phase::Probing { reason, .. } if ours => self.probed(now, reason, outcome),
            Phase::Probing { .. } => {}
            Phase::Healthy => {
                self.count(now, outcome);
                if let Some(reason) = self.verdict(now) {
                    self.suspend(now, reason);
                }
            }
        }
    }

    fn count(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Accepted | Outcome::Refused => {
                (self.faults_in_a_row, self.doubts_in_a_row) = (0, 0);
                (self.throttles, self.throttled_since) = (0, None);
                self.outcomes.add(now, true);
            }
            Outcome::Fault => {
                self.faults_in_a_row += 1;
                self.doubts_in_a_row = 0;
                self.outcomes.add(now, false);
            }
            Outcome::InDoubt => {
                self.doubts_in_a_row += 1;
                self.outcomes.add(now, false);
            }
            Outcome::Throttled => {
                self.doubts_in_a_row = 0;
                self.throttles += 1;
                self.throttled_since.get_or_insert(now);
            }
        }
    }

    fn verdict(&mut self, now: Instant) -> Option<Reason> {
        let s = &self.settings;
        if self.faults_in_a_row >= s.faults_in_a_row {
            return Some(Reason::Faults);
        }
        if self.doubts_in_a_row >= s.doubts_in_a_row {
            return Some(Reason::Silent);
        }
        let long = self
            .throttled_since
            .is_some_and(|since| now.saturating_duration_since(since) >= s.throttled_for);
        if long && self.throttles >= s.throttles {
            return Some(Reason::Throttled);
        }
        let (good, bad) = self.outcomes.sums(now);
        if good + bad >= s.floor && bad as f32 >= (good + bad) as f32 * s.bad_share {
            return Some(if self.doubts_in_a_row > 0 {
                Reason::Silent
            } else {
                Reason::Faults
            });
        }
        None
    }

    /// What an attempt that was sent while probing says.
    fn probed(&mut self, now: Instant, reason: Reason, outcome: Outcome) {
        match outcome {
            Outcome::Accepted | Outcome::Refused if reason == Reason::ReceiptsCollapsed => {
                // Taking texts was never its trouble: only a receipt answers this probe.
            }
            Outcome::Accepted | Outcome::Refused => self.good_probe(now, reason),
            Outcome::Fault => self.suspend(now, Reason::Faults),
            Outcome::Throttled => self.suspend(now, Reason::Throttled),
            Outcome::InDoubt => self.suspend(now, Reason::Silent),
        }
    }

    fn good_probe(&mut self, now: Instant, reason: Reason) {
        let Phase::Probing { good, .. } = self.phase else {
            return;
        };
        // A link that has come back has proved itself by its bind; one good attempt is enough.
        let needed = match reason {
            Reason::LinkDown | Reason::NotConnected | Reason::RetryAfter | Reason::ByOperator => 1,
            Reason::Faults | Reason::Silent | Reason::Throttled | Reason::ReceiptsCollapsed => {
                self.settings.probes
            }
        };
        if good + 1 >= needed {
            self.enter(now, Phase::Healthy);
        } else {
            self.phase = Phase::Probing {
                reason,
                good: good + 1,
                out: None,
            };
        }
    }

    fn receipt(&mut self, now: Instant, delivered: bool) {
        match self.phase {
            Phase::Healthy => {
                let s = &self.settings.receipts;
                self.receipts
                    .add(now, s.window, delivered, &mut self.baseline);
                let enough =
                    self.receipts.seen() >= s.floor && self.baseline.seen >= s.baseline_floor;
                if enough
                    && self.baseline.share >= BASELINE_LEAST
                    && self.receipts.share() < self.baseline.share * s.share
                {
                    self.suspend(now, Reason::ReceiptsCollapsed);
                }
            }
            Phase::Probing {
                reason: reason @ Reason::ReceiptsCollapsed,
                out: Some(_),
                ..
            } => match delivered {
                true => self.good_probe(now, reason),
                false => self.suspend(now, reason),
            },
            Phase::Probing { .. } | Phase::Suspended { .. } => {}
        }
    }

    fn link_up(&mut self, now: Instant) {
        self.link_up = true;
        let reason = match self.phase {
            Phase::Suspended { reason, .. } => reason,
            // It has just been started, and the first probe was answered before the link was called up.
            Phase::Probing {
                reason: reason @ Reason::NotConnected,
                ..
            } => reason,
            Phase::Probing { .. } | Phase::Healthy => return,
        };
        match reason {
            Reason::NotConnected => self.enter(now, Phase::Healthy),
            Reason::LinkDown => self.enter(now, probing(reason)),
            Reason::Faults
            | Reason::Silent
            | Reason::Throttled
            | Reason::RetryAfter
            | Reason::ByOperator
            | Reason::ReceiptsCollapsed => {}
        }
    }

    fn probe(&mut self, now: Instant, ok: bool) {
        match (self.phase, ok) {
            (
                Phase::Suspended {
                    reason: reason @ (Reason::Silent | Reason::NotConnected),
                    ..
                },
                true,
            ) => {
                self.enter(now, probing(reason));
            }
            (
                Phase::Probing {
                    reason: Reason::LinkDown | Reason::NotConnected,
                    ..
                },
                true,
            ) => {
                self.enter(now, Phase::Healthy);
            }
            (Phase::Healthy, true) => self.doubts_in_a_row = 0,
            (Phase::Healthy, false) => {
                self.doubts_in_a_row += 1;
                if let Some(reason) = self.verdict(now) {
                    self.suspend(now, reason);
                }
            }
            (Phase::Probing { .. }, false) => self.suspend(now, Reason::Silent),
            (Phase::Probing { .. } | Phase::Suspended { .. }, _) => {}
        }
    }

    fn expire(&mut self, now: Instant) {
        match self.phase {
            Phase::Suspended {
                reason,
                until: Some(until),
            } if until <= now => self.enter(now, probing(reason)),
            Phase::Probing {
                reason,
                out: Some(out),
                ..
            } if out + self.probe_wait(reason) <= now => {
                self.suspend(now, reason);
            }
            Phase::Healthy | Phase::Suspended { .. } | Phase::Probing { .. } => {}
        }
    }

    fn suspend(&mut self, now: Instant, reason: Reason) {
        let first = match reason {
            Reason::ReceiptsCollapsed => self.settings.receipts.back_off_first,
            _ => self.settings.back_off_first,
        };
        let pause = first
            .saturating_mul(1 << self.trips.min(16))
            .min(self.settings.back_off_most.max(first));
        self.enter(
            now,
            Phase::Suspended {
                reason,
                until: Some(now + pause),
            },
        );
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        match phase {
            Phase::Healthy => {
                self.outcomes.clear();
                self.receipts.clear();
                self.detail = None;
                self.trips = 0;
            }
            Phase::Suspended { .. } => self.trips += 1,
            Phase::Probing { .. } => {}
        }
        (self.faults_in_a_row, self.doubts_in_a_row) = (0, 0);
        (self.throttles, self.throttled_since) = (0, None);
        self.phase = phase;
        self.since = now;
    }

    fn probe_wait(&self, reason: Reason) -> Duration {
        match reason {
            Reason::ReceiptsCollapsed => self.settings.receipts.probe_wait,
            _ => self.settings.probe_wait,
        }
    }
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
