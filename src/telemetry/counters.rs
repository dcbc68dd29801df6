//! Counters of the carriers' drivers, which know no challenge.

use std::sync::Arc;

use metrics::counter;

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
