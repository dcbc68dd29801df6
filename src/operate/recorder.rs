//! The metrics recorder: one per process, whatever number of gateways run in it.

use std::{sync::OnceLock, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of all histograms of seconds: from a submit on the same machine to a whole challenge.
const SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0,
];
/// Without it histograms grow without bound.
const UPKEEP: Duration = Duration::from_secs(1);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Takes the process's metrics, once. Must be called within tokio's runtime.
pub fn install() {
    let handle = HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        // The bounds are not empty and the matcher is plain: this can't fail; without it, summaries are shown.
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Refused only where somebody records already: then that one shows them.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        put_at_zero();
        handle
    });
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            handle.run_upkeep();
        }
    });
}

/// In the text format of Prometheus.
pub fn render() -> String {
    HANDLE
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Words for each name.
fn describe() {
    describe_counter!(
        "ringback_final_reports_total",
        "Challenges that have ended, by their final report."
    );
    describe_counter!(
        "ringback_attempts_total",
        "Attempts of ended challenges, by outcome."
    );
    describe_counter!(
        "ringback_receipts_total",
        "Receipts of carriers; matched: an attempt was found for it."
    );
    describe_counter!("ringback_inbound_total", "Texts from phones.");
    describe_counter!("ringback_dead_total", "Dead letters, by reason.");
    describe_counter!(
        "ringback_reports_unroutable_total",
        "Reports that nobody could be brought to take."
    );
    describe_counter!(
        "ringback_audio_pauses_total",
        "Pauses of over 100 ms that every call heard: the machine was too busy to send audio."
    );
    describe_gauge!(
        "ringback_carrier_state",
        "1 for the state that the carrier is in."
    );
    describe_gauge!(
        "ringback_carrier_in_flight",
        "Orders that hold a slot of the carrier."
    );
    describe_gauge!(
        "ringback_carrier_slots",
        "Orders that the carrier can hold now."
    );
    describe_gauge!(
        "ringback_challenges_open",
        "Challenges without a final report."
    );
    describe_gauge!(
        "ringback_challenges_waiting",
        "Open challenges that wait for a slot."
    );
    describe_gauge!(
        "ringback_ledger_writable",
        "1 while the ledger takes what is to be durable."
    );
    describe_broker();
    describe_histogram!(
        "ringback_job_to_wire_seconds",
        Unit::Seconds,
        "From a job's arrival to its order to the carrier."
    );
}

/// The same for the broker and what waits for it.
fn describe_broker() {
    describe_gauge!(
        "ringback_reports_pending",
        "Reports that wait for the broker."
    );
    describe_gauge!(
        "ringback_reports_pending_by_age",
        "Of these, those that have waited for at least so long."
    );
    describe_gauge!(
        "ringback_reports_pending_oldest_seconds",
        Unit::Seconds,
        "How long the one of these has waited that has waited longest; 0: none waits."
    );
    describe_gauge!(
        "ringback_reports_returned_waiting",
        "Of these, those that the broker has returned because no queue takes them."
    );
    describe_counter!(
        "ringback_reports_returned_total",
        "Reports that the broker has returned, each time."
    );
    describe_gauge!(
        "ringback_gateways_beside",
        "Other gateways with ledgers of their own that share the job exchange or a carrier account."
    );
    describe_gauge!(
        "ringback_broker_connected",
        "1 while the broker is connected."
    );
    describe_gauge!(
        "ringback_broker_blocked",
        "1 while the broker blocks publishers."
    );
    describe_gauge!(
        "ringback_jobs_unacked",
        "Jobs that the broker has given us and that are not acked yet."
    );
}

/// Those without labels, and those whose labels are known, are there from the start.
fn put_at_zero() {
    for name in [
        "broker_connected",
        "broker_blocked",
        "jobs_unacked",
        "reports_pending",
        "reports_pending_oldest_seconds",
        "reports_returned_waiting",
        "gateways_beside",
        "challenges_open",
    ] {
        gauge!(format!("ringback_{name}")).increment(0.0);
    }
    counter!("ringback_reports_unroutable_total").increment(0);
    counter!("ringback_audio_pauses_total").increment(0);
    for reason in ["bad_job", "duplicate", "poison", "unroutable"] {
        counter!("ringback_dead_total", "reason" => reason).increment(0);
    }
    // Shown with its buckets from the first scrape on.
    let _shown = metrics::histogram!("ringback_job_to_wire_seconds");
}
