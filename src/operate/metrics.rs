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
    carrier::ReceiptState,
    challenge::Challenge,
    delivery::DeliveryState,
    report::{Event, Final, Note, body},
};

/// Finals since the start of the process, by their place in [`Final::ALL`]: for the page.
static FINALS: [AtomicU64; Final::ALL.len()] = [const { AtomicU64::new(0) }; Final::ALL.len()];
/// Open challenges, for the page.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// How many challenges have ended so, since the start of the process; those that were seen, strongest first.
pub fn finals() -> Vec<(&'static str, u64)> {
    let each = Final::ALL.iter().zip(&FINALS);
    each.map(|(end, count)| (end.name(), count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

pub fn open() -> u64 {
    OPEN.load(Ordering::Relaxed)
}

/// A report was made; finals are counted.
pub fn report(ch: &Challenge, life: &DeliveryState, note: &Note) {
    if let Event::Final(end) = note.event {
        if let Some(count) = FINALS.get(end as usize) {
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
}

/// A challenge has ended: its attempts are counted.
pub fn ended(ch: &Challenge, life: &DeliveryState) {
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

pub fn receipt(carrier: &Arc<str>, state: ReceiptState, matched: bool) {
    let matched = if matched { "true" } else { "false" };
    counter!(
        "ringback_receipts_total",
        "carrier" => carrier.clone(),
        "state" => state.name(),
        "matched" => matched,
    )
    .increment(1);
}

/// A challenge was over one of the limits in `[limits]`, and was refused for it or only recorded.
pub fn over_limit(limit: &'static str, action: &'static str) {
    counter!("ringback_over_limit_total", "limit" => limit, "action" => action).increment(1);
}

/// An HTTP carrier's answer says less than its file expects.
pub fn odd_answer(carrier: &Arc<str>, reason: &'static str) {
    counter!("ringback_odd_answers_total", "carrier" => carrier.clone(), "reason" => reason)
        .increment(1);
}

/// A callback was not taken. None: it was for a carrier that isn't configured.
pub fn callback_refused(carrier: Option<&Arc<str>>, reason: &'static str, count: u64) {
    let carrier = carrier.cloned().unwrap_or_default();
    counter!("ringback_callbacks_refused_total", "carrier" => carrier, "reason" => reason)
        .increment(count);
}

/// Nothing decided whose it was.
pub fn receipt_ambiguous(carrier: &Arc<str>) {
    counter!("ringback_receipts_ambiguous_total", "carrier" => carrier.clone()).increment(1);
}

/// The carrier was told to bring it again.
pub fn receipt_refused(carrier: &Arc<str>) {
    counter!("ringback_receipts_refused_total", "carrier" => carrier.clone()).increment(1);
}

pub fn inbound(carrier: &Arc<str>) {
    counter!("ringback_inbound_total", "carrier" => carrier.clone()).increment(1);
}

/// From the job's arrival to the order in the carrier driver's hands.
pub fn job_to_wire(took: Duration) {
    histogram!("ringback_job_to_wire_seconds").record(took.as_secs_f64());
}

pub fn dispatch(open: usize, waiting: usize) {
    OPEN.store(open as u64, Ordering::Relaxed);
    gauge!("ringback_challenges_open").set(open as f64);
    gauge!("ringback_challenges_waiting").set(waiting as f64);
}
