//! Metrics, prefix `ringback_`. Labels come from configuration and from closed sets, never from traffic.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge, histogram};

use crate::{
    admission::{Kind, alarm},
    carrier::ReceiptState,
    challenge::Challenge,
    core::Observer,
    delivery::{DeliveryState, Event, Final, Note},
    report::body,
};

/// What is counted and shown of one gateway's challenges. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Measures(Arc<Shown>);

/// What the page shows without asking the recorder.
#[derive(Debug, Default)]
struct Shown {
    /// Finals since the start, by their place in [`Final::ALL`].
    finals: [AtomicU64; Final::ALL.len()],
    open: AtomicU64,
}

impl Measures {
    /// How many challenges have ended so, since the start; those that were seen, strongest first.
    pub fn finals(&self) -> Vec<(&'static str, u64)> {
        let each = Final::ALL.iter().zip(&self.0.finals);
        each.map(|(end, count)| (end.name(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    pub fn open(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }
}

impl Observer for Measures {
    fn report(&self, ch: &Challenge, life: &DeliveryState, note: &Note) {
        let Event::Final(end) = note.event else {
            return;
        };
        if let Some(count) = self.0.finals.get(end as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let method = note
            .attempt
            .and_then(|n| life.attempt(n))
            .map_or(ch.method, |a| a.method);
        counter!(
            "ringback_final_reports_total",
            "event" => end.name(),
            "reason" => note.reason.unwrap_or(""),
            "channel" => method.channel().name(),
            "country" => body::country(ch).to_owned(),
        )
        .increment(1);
    }

    fn ended(&self, ch: &Challenge, life: &DeliveryState) {
        for attempt in &life.attempts {
            counter!(
                "ringback_attempts_total",
                "carrier" => attempt.carrier.clone(),
                "sender" => attempt.sender.clone(),
                "country" => body::country(ch).to_owned(),
                "outcome" => attempt.outcome().name(),
            )
            .increment(1);
        }
    }

    fn receipt(&self, carrier: &Arc<str>, state: ReceiptState, matched: bool) {
        let matched = if matched { "true" } else { "false" };
        counter!(
            "ringback_receipts_total",
            "carrier" => carrier.clone(),
            "state" => state.name(),
            "matched" => matched,
        )
        .increment(1);
    }

    fn over_limit(&self, limit: Kind, action: alarm::Action) {
        counter!("ringback_over_limit_total", "limit" => limit.name(), "action" => action.name())
            .increment(1);
    }

    fn receipt_ambiguous(&self, carrier: &Arc<str>) {
        counter!("ringback_receipts_ambiguous_total", "carrier" => carrier.clone()).increment(1);
    }

    fn receipt_refused(&self, carrier: &Arc<str>) {
        counter!("ringback_receipts_refused_total", "carrier" => carrier.clone()).increment(1);
    }

    fn inbound(&self, carrier: &Arc<str>) {
        counter!("ringback_inbound_total", "carrier" => carrier.clone()).increment(1);
    }

    fn job_to_wire(&self, took: Duration) {
        histogram!("ringback_job_to_wire_seconds").record(took.as_secs_f64());
    }

    fn open(&self, open: usize, waiting: usize) {
        self.0.open.store(open as u64, Ordering::Relaxed);
        gauge!("ringback_challenges_open").set(open as f64);
        gauge!("ringback_challenges_waiting").set(waiting as f64);
    }
}
