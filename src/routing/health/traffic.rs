//! What the traffic says of a carrier: answers to attempts, and receipts.

use std::time::Duration;

use crate::clock::Mono;

use super::{BASELINE_LEAST, Health, Out, Outcome, Phase, Reason, begun_since};
use crate::cause::About;

impl Health {
    pub(super) fn started(&mut self, now: Mono, left: Duration) {
        let Phase::Probing { reason, .. } = self.phase else {
            return;
        };
        let wait = self.probe_wait(reason);
        let fresh = Out {
            until: now + wait.min(left),
            tells: left >= wait,
        };
        if let Phase::Probing { out, .. } = &mut self.phase {
            out.get_or_insert(fresh);
        }
    }

    pub(super) fn outcome(&mut self, now: Mono, outcome: Outcome, after: Duration) {
        if outcome != Outcome::InDoubt {
            self.answers.add(after);
            self.has_answered("an attempt was answered");
        }
        if matches!(
            outcome,
            Outcome::Accepted | Outcome::Refused(_) | Outcome::RefusedElsewhere
        ) {
            self.pauses.add(now, false);
        }
        match self.phase {
            Phase::Suspended {
                reason: Reason::ReceiptsCollapsed,
                ..
            }
            | Phase::Healthy => self.judge(now, outcome, after),
            Phase::Suspended { .. } => {}
            Phase::Probing { reason, .. } if begun_since(now, after, self.since) => {
                self.probed(now, reason, outcome);
            }
            Phase::Probing { .. } => {}
        }
    }

    /// It carries traffic: healthy, or only its receipts are missing.
    pub(super) fn judge(&mut self, now: Mono, outcome: Outcome, after: Duration) {
        let good = matches!(outcome, Outcome::Accepted | Outcome::Heard);
        let old = self
            .suspended
            .is_some_and(|at| !begun_since(now, after, at));
        if old && !good {
            // The bad end of what was sent before the last suspension: it has had its say.
            return;
        }
        self.count(now, outcome);
        if let Some((reason, why)) = self.verdict(now) {
            self.suspend(now, reason, why);
        }
    }

    fn count(&mut self, now: Mono, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => {
                (self.faults_in_a_row, self.doubts_in_a_row, self.misses) = (0, 0, 0);
                (self.throttles, self.throttled_since) = (0, None);
                self.outcomes.add(now, true);
                self.answered.add(now, None);
            }
            Outcome::Heard | Outcome::ThrottledAgain => {
                (self.doubts_in_a_row, self.misses) = (0, 0);
            }
            Outcome::Refused(about) => {
                (self.doubts_in_a_row, self.misses) = (0, 0);
                (self.throttles, self.throttled_since) = (0, None);
                self.answered.add(now, Some(about));
            }
            Outcome::RefusedElsewhere => {
                (self.doubts_in_a_row, self.misses) = (0, 0);
                (self.throttles, self.throttled_since) = (0, None);
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
            Outcome::Throttled | Outcome::ThrottledElsewhere => {
                self.doubts_in_a_row = 0;
                self.throttles += 1;
                self.throttled_since.get_or_insert(now);
            }
        }
    }

    /// Why it is to be suspended, if it is: the reason, and the same in numbers.
    pub(super) fn verdict(&mut self, now: Mono) -> Option<(Reason, String)> {
        let s = &self.settings;
        let (faults, doubts, misses) = (self.faults_in_a_row, self.doubts_in_a_row, self.misses);
        if faults >= s.faults_in_a_row {
            return Some((Reason::Faults, format!("{faults} faults in a row")));
        }
        if doubts + misses >= s.doubts_in_a_row {
            let why = format!("{doubts} attempts and {misses} probes in a row unanswered");
            return Some(match doubts {
                0 => (
                    Reason::NoProbe,
                    format!("{misses} probes in a row unanswered"),
                ),
                _ => (Reason::Silent, why),
            });
        }
        if let Some(why) = self.answered.verdict() {
            return Some((Reason::Refuses, why));
        }
        let long = self
            .throttled_since
            .map(|since| now.saturating_duration_since(since))
            .filter(|long| *long >= s.throttled_for);
        if let Some(long) = long
            && self.throttles >= s.throttles
        {
            let (times, seconds) = (self.throttles, long.as_secs());
            return Some((
                Reason::Throttled,
                format!("throttled {times} times in {seconds} s, nothing taken between"),
            ));
        }
        let (good, bad) = self.outcomes.sums(now);
        if good + bad >= s.floor && bad as f32 >= (good + bad) as f32 * s.bad_share {
            let all = good + bad;
            let seconds = s.window.as_secs();
            let reason = match doubts {
                0 => Reason::Faults,
                _ => Reason::Silent,
            };
            return Some((
                reason,
                format!("{bad} of {all} attempts bad in {seconds} s"),
            ));
        }
        None
    }

    /// What an attempt that was sent while probing says.
    fn probed(&mut self, now: Mono, reason: Reason, outcome: Outcome) {
        match outcome {
            // Taking texts was never its trouble: only a receipt answers this probe.
            Outcome::Accepted if reason == Reason::ReceiptsCollapsed => {}
            Outcome::Heard => {}
            Outcome::Accepted => self.good_probe(now, reason),
            Outcome::Refused(about) => match (about, reason) {
                (About::Account | About::Carrier, _) | (About::Request, Reason::Refuses) => {
                    self.suspend(
                        now,
                        Reason::Refuses,
                        "the probing attempt was refused".into(),
                    );
                }
                // Another may show more.
                (About::Sender | About::Country, _) | (_, Reason::ReceiptsCollapsed) => {
                    self.free_probe();
                }
                (About::Request, _) => self.good_probe(now, reason),
            },
            Outcome::RefusedElsewhere => match reason {
                Reason::Refuses | Reason::ReceiptsCollapsed => self.free_probe(),
                _ => self.good_probe(now, reason),
            },
            Outcome::Fault => {
                self.suspend(now, Reason::Faults, "the probing attempt failed".into());
            }
            Outcome::Throttled => {
                self.suspend(
                    now,
                    Reason::Throttled,
                    "the probing attempt was throttled".into(),
                );
            }
            // Whoever comes next may show more: soon, and the pauses don't grow by it.
            Outcome::ThrottledAgain | Outcome::ThrottledElsewhere => {
                let until = now + self.settings.back_off_first;
                let why = "the probing attempt was throttled, as its challenge was before".into();
                self.begin_suspension(now, reason, until, why);
            }
            Outcome::InDoubt => {
                let why = "the probing attempt was not answered".into();
                self.suspend(now, Reason::Silent, why);
            }
        }
    }

    pub(super) fn free_probe(&mut self) {
        if let Phase::Probing { out, .. } = &mut self.phase {
            *out = None;
        }
    }

    fn good_probe(&mut self, now: Mono, reason: Reason) {
        let Phase::Probing { good, .. } = self.phase else {
            return;
        };
        // A link that has come back has proved itself by its bind; one good attempt is enough.
        let needed = match reason {
            Reason::LinkDown
            | Reason::NotConnected
            | Reason::RetryAfter
            | Reason::NoProbe
            | Reason::ByOperator
            | Reason::Unavailable => 1,
            Reason::Faults
            | Reason::Silent
            | Reason::Refuses
            | Reason::Throttled
            | Reason::ReceiptsCollapsed => self.settings.probes,
        };
        if good + 1 >= needed {
            self.clear_counts();
            self.enter(
                now,
                Phase::Healthy,
                format!("{} good attempts in a row", good + 1),
            );
        } else {
            self.phase = Phase::Probing {
                reason,
                good: good + 1,
                out: None,
            };
        }
    }

    pub(super) fn receipt(&mut self, now: Mono, delivered: bool, after: Duration) {
        match self.phase {
            Phase::Healthy => {
                let old = self.receipts_again;
                if !delivered && old.is_some_and(|at| !begun_since(now, after, at)) {
                    return;
                }
                let s = &self.settings.receipts;
                self.receipts
                    .add(now, s.window, delivered, &mut self.baseline);
                let enough =
                    self.receipts.seen() >= s.floor && self.baseline.seen >= s.baseline_floor;
                if enough
                    && self.baseline.share >= BASELINE_LEAST
                    && self.receipts.share() < self.baseline.share * s.share
                {
                    let why = format!(
                        "{:.0} % of the last {} texts have a good receipt, else {:.0} %",
                        self.receipts.share() * 100.0,
                        self.receipts.seen(),
                        self.baseline.share * 100.0
                    );
                    self.suspend(now, Reason::ReceiptsCollapsed, why);
                }
            }
            Phase::Suspended {
                reason: Reason::ReceiptsCollapsed,
                ..
            }
            | Phase::Probing {
                reason: Reason::ReceiptsCollapsed,
                ..
            } => self.receipt_after_collapse(now, delivered, after),
            Phase::Probing { .. } | Phase::Suspended { .. } => {}
        }
    }

    /// Whoever's receipt it is: that good ones come again is what was missing.
    fn receipt_after_collapse(&mut self, now: Mono, delivered: bool, after: Duration) {
        if delivered {
            self.receipts_good += 1;
            if self.receipts_good >= self.settings.probes {
                self.receipts_again = Some(now);
                self.clear_counts();
                let why = format!("{} good receipts in a row", self.receipts_good);
                self.enter(now, Phase::Healthy, why);
            } else {
                self.free_probe();
            }
            return;
        }
        if let Phase::Probing { reason, .. } = self.phase
            && begun_since(now, after, self.since)
        {
            self.suspend(now, reason, "no good receipt for the probing text".into());
        }
    }
}
