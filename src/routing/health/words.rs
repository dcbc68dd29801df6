//! The words of a carrier's health: what speaks for or against it, the states, the reasons, and where the limits are.

use std::{sync::Arc, time::Duration};

/// What one carrier's health is told by.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthSettings {
    /// The stretch over which faults and silence are counted.
    pub window: Duration,
    /// So many outcomes at least before a ratio says something.
    pub floor: u32,
    /// Share of bad outcomes in the window that suspends.
    pub bad_share: f32,
    /// Carrier faults in a row that suspend.
    pub faults_in_a_row: u32,
    /// Attempts or probes in a row without an answer that suspend.
    pub doubts_in_a_row: u32,
    /// Throttled this often and so long, with nothing taken in between, it is as good as down.
    pub throttles: u32,
    pub throttled_for: Duration,
    pub back_off_first: Duration,
    pub back_off_most: Duration,
    /// Good outcomes in a row that make a probing carrier healthy.
    pub probes: u32,
    /// How long the one attempt of a probing carrier may be out; then it counts as bad.
    pub probe_wait: Duration,
    /// How long a starting carrier may say nothing about its link; then it is probed.
    pub start_wait: Duration,
    pub receipts: ReceiptSettings,
}

/// When receipts have collapsed against the carrier's own baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiptSettings {
    pub window: Duration,
    /// So many outcomes in the window at least.
    pub floor: u32,
    /// So many outcomes at least make a baseline.
    pub baseline_floor: u32,
    /// Below this share of the baseline they have collapsed.
    pub share: f32,
    pub back_off_first: Duration,
    /// How long a probing attempt's receipt may take.
    pub probe_wait: Duration,
}

impl Default for HealthSettings {
    fn default() -> HealthSettings {
        HealthSettings {
            window: Duration::from_secs(10),
            floor: 10,
            bad_share: 0.5,
            faults_in_a_row: 5,
            doubts_in_a_row: 3,
            throttles: 5,
            throttled_for: Duration::from_secs(3),
            back_off_first: Duration::from_secs(2),
            back_off_most: Duration::from_secs(60),
            probes: 3,
            probe_wait: Duration::from_secs(15),
            start_wait: Duration::from_secs(5),
            receipts: ReceiptSettings {
                window: Duration::from_secs(120),
                floor: 20,
                baseline_floor: 50,
                share: 0.5,
                back_off_first: Duration::from_secs(30),
                probe_wait: Duration::from_secs(180),
            },
        }
    }
}

/// Something that speaks for or against a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// An attempt was handed to it.
    Started,
    /// What became of an attempt, so long after it was handed over.
    Outcome {
        outcome: Outcome,
        after: Duration,
    },
    /// A receipt came, or did not come in its time (`delivered: false`).
    Receipt {
        delivered: bool,
    },
    LinkUp,
    LinkDown {
        reason: Arc<str>,
    },
    /// An enquire_link or OPTIONS was answered, or not.
    Probe {
        ok: bool,
    },
    /// The carrier asked for a pause.
    RetryAfter(Duration),
}

/// An attempt's outcome as far as it speaks of the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Refused for the number's, the person's or our sake: the carrier works.
    Refused,
    Fault,
    Throttled,
    InDoubt,
}

/// The state, as `/admin/carriers` and the metric `carrier_state` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Healthy,
    Suspended(Reason),
    Probing(Reason),
}

impl State {
    /// All names, for metrics that show each state as 0 or 1.
    pub const NAMES: [&'static str; 3] = ["healthy", "suspended", "probing"];

    pub fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Suspended(_) => "suspended",
            State::Probing(_) => "probing",
        }
    }
}

/// Why a carrier is not healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It has just been started.
    NotConnected,
    LinkDown,
    Faults,
    Silent,
    Throttled,
    RetryAfter,
    ReceiptsCollapsed,
    /// An operator wants it so; no evidence changes it.
    ByOperator,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotConnected => "not_connected",
            Reason::LinkDown => "link_down",
            Reason::Faults => "faults",
            Reason::Silent => "silent",
            Reason::Throttled => "throttled",
            Reason::RetryAfter => "retry_after",
            Reason::ReceiptsCollapsed => "receipts_collapsed",
            Reason::ByOperator => "by_operator",
        }
    }
}
