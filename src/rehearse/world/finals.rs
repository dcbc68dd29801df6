//! Finals, held against what was promised before them.

use std::time::Duration;

use serde_json::Value;

use super::World;
use crate::{ledger::OutboxReport, rehearse::callers::Told};

/// Finals that say of a text that it did not arrive, or that nobody knows.
pub(super) const NOT_DELIVERED: [&str; 4] = ["unconfirmed", "undelivered", "failed", "expired"];
/// A text's final is there by then: longer than the disk refuses, and than a crash takes.
const OVERTIME: Duration = Duration::from_secs(30);
/// A call whose challenge has its final is hung up by then.
const HANGING_UP: Duration = Duration::from_secs(2);

impl World<'_, '_> {
    /// A final leaves the core.
    pub(super) fn check_final(&mut self, report: &OutboxReport) {
        let Some(n) = self.keys.get(&report.challenge).copied() else {
            return;
        };
        if self.jobs[n].final_at.is_some() {
            // It is told again.
            return;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&report.body) else {
            return self.violate("a report that is no JSON".to_owned());
        };
        let event = body["event"].as_str().unwrap_or_default();
        let now = self.now;
        let job = &mut self.jobs[n];
        job.final_at = Some(now);
        if !NOT_DELIVERED.contains(&event) {
            return;
        }
        let proven = job.attempts.iter().filter(|(_, truth)| truth.is_proven());
        let (unanswered, known): (Vec<_>, Vec<_>) =
            proven.partition(|(_, truth)| truth.told == Told::Nothing);
        // Whose it was could not be known in time: the carrier had said nothing of the text. So it is told late.
        let owed = unanswered.into_iter().flat_map(|(attempt, truth)| {
            let parts = truth.proven.keys();
            parts.map(|part| (*attempt, *part))
        });
        job.late_owed.extend(owed);
        if let Some((attempt, _)) = known.first() {
            let id = &job.id;
            let what = format!(
                "{id}: the final is {event}, though the receipt of attempt {attempt} was taken before"
            );
            self.violate(what);
        }
        let job = &self.jobs[n];
        let texts = job.attempts.values().all(|truth| !truth.voice);
        if texts && self.time().wall > job.deadline + OVERTIME {
            let what = format!("{}: its final comes long after its deadline", job.id);
            self.violate(what);
        }
    }

    /// A person is still spoken to.
    pub(super) fn check_over(&mut self, n: usize, attempt: u16) {
        let job = &self.jobs[n];
        if job.final_at.is_some_and(|at| self.now > at + HANGING_UP) {
            let what = format!(
                "{}: the call of attempt {attempt} goes on after the final",
                job.id
            );
            self.violate(what);
        }
    }
}
