//! How many reports wait for the broker and for how long, as the ledger knows them: for the metrics and the page.

use std::time::Duration;

use crate::{
    clock,
    ledger::{AGES, Ledger, Pending, ReadError},
};

/// Reports that wait have waited for at least so long: the metric's labels.
const WAITED: [(&str, Duration); AGES] = [
    ("10s", Duration::from_secs(10)),
    ("1m", Duration::from_secs(60)),
    ("10m", Duration::from_secs(600)),
    ("1h", Duration::from_secs(3_600)),
];

/// Reads it, and sets the metrics.
pub async fn read(ledger: &Ledger) -> Result<Waiting, ReadError> {
    let now = clock::now();
    let pending = ledger.pending(WAITED.map(|(_, ago)| now - ago)).await?;
    let waiting = Waiting {
        count: pending.count,
        longest: longest(&pending, now),
    };
    metrics::gauge!("ringback_reports_pending").set(pending.count as f64);
    metrics::gauge!("ringback_reports_pending_oldest_seconds").set(waiting.longest.as_secs_f64());
    for ((at_least, _), count) in WAITED.iter().zip(pending.before) {
        metrics::gauge!("ringback_reports_pending_by_age", "at_least" => *at_least)
            .set(count as f64);
    }
    Ok(waiting)
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub count: u64,
    /// How long the one that has waited longest has; zero: none waits.
    pub longest: Duration,
}

fn longest(pending: &Pending, now: crate::challenge::Millis) -> Duration {
    pending
        .oldest
        .map(|oldest| now.since(oldest))
        .unwrap_or_default()
}
