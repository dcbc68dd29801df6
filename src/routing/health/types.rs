//! The words of a carrier's health: what speaks for or against it, the states, the reasons, and where the limits are.

use std::{sync::Arc, time::Duration};

use crate::cause::About;

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
    /// Attempts and probes in a row without an answer that suspend. An answered probe clears the probes only.
    pub doubts_in_a_row: u32,
    /// Throttled this often and so long, with nothing taken in between, it is as good as down.
    pub throttles: u32,
    pub throttled_for: Duration,
    pub back_off_first: Duration,
    pub back_off_most: Duration,
    /// Healthy for so long, the next suspension begins with the shortest pause again.
    pub stable: Duration,
    /// Good outcomes in a row that make a probing carrier healthy.
    pub probes: u32,
    /// How long the one attempt of a probing carrier may be out; then it counts as bad.
    pub probe_wait: Duration,
    /// How long a starting carrier may say nothing about its link; then it is probed.
    pub start_wait: Duration,
    /// It answers with the words of those behind it (a trunk, of the called network): who asks for a pause there may not
    /// speak for the whole.
    pub relays: bool,
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
    /// How long a probing attempt's receipt may take, while it is not known how long they take.
    pub probe_wait: Duration,
    /// No receipt is missed sooner, however quick they were lately.
    pub least_wait: Duration,
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
            stable: Duration::from_secs(60),
            probes: 3,
            probe_wait: Duration::from_secs(15),
            start_wait: Duration::from_secs(5),
            relays: false,
            receipts: ReceiptSettings {
                window: Duration::from_secs(120),
                floor: 20,
                baseline_floor: 50,
                share: 0.5,
                back_off_first: Duration::from_secs(30),
                probe_wait: Duration::from_secs(180),
                least_wait: Duration::from_secs(2),
            },
        }
    }
}

/// Something that speaks for or against a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// An attempt was handed to it, of a challenge that has so long to live.
    Started {
        left: Duration,
    },
    /// What became of an attempt, so long after it was handed over.
    Outcome {
        outcome: Outcome,
        after: Duration,
    },
    /// A receipt came, good or bad, so long after the text was taken.
    Receipt {
        delivered: bool,
        after: Duration,
    },
    /// None came, though the text was taken so long ago.
    NoReceipt {
        after: Duration,
    },
    /// `answered`: the far end has said something (a bind, a connection). A trunk with an address has not.
    LinkUp {
        answered: bool,
    },
    LinkDown {
        reason: Arc<str>,
    },
    /// An enquire_link or OPTIONS was answered, or not.
    Probe {
        ok: bool,
    },
    /// A probe was answered: the far end says that it takes nothing now.
    Unavailable {
        reason: Arc<str>,
    },
    /// The carrier asked for a pause, in its answer to an attempt that was handed over so long ago.
    RetryAfter {
        pause: Duration,
        after: Duration,
    },
    /// The attempt of a probing carrier never left, or was ended by us: it says nothing.
    ProbeVoid,
}

/// An attempt's outcome as far as it speaks of the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// A call: the far end answers, and has not said yet what comes of it.
    Heard,
    /// Refused: it answers, and how far that speaks against it depends on what it is about.
    Refused(About),
    /// Refused, as another carrier has refused this challenge: that is of the challenge.
    RefusedElsewhere,
    Fault,
    Throttled,
    /// Throttled, as this challenge was here before: that is no news of the carrier.
    ThrottledAgain,
    /// Throttled by one that relays, as another carrier has throttled this challenge: that may be of the network of its
    /// number, which both lead to.
    ThrottledElsewhere,
    InDoubt,
}

/// The state, as `/admin/carriers` and the metric `carrier_state` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Healthy,
    /// As healthy, but nothing at the far end has answered anything since it was started.
    Unproven,
    Suspended(Reason),
    Probing(Reason),
}

impl State {
    /// All names, for metrics that show each state as 0 or 1.
    pub const NAMES: [&'static str; 4] = ["healthy", "unproven", "suspended", "probing"];

    pub fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Unproven => "unproven",
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
    /// Its link's probes are not answered.
    NoProbe,
    /// Its link's probes are answered by "not now".
    Unavailable,
    Faults,
    /// Attempts are not answered.
    Silent,
    /// Nearly everything is refused.
    Refuses,
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
            Reason::NoProbe => "probe_unanswered",
            Reason::Unavailable => "unavailable",
            Reason::Faults => "faults",
            Reason::Silent => "silent",
            Reason::Refuses => "refuses",
            Reason::Throttled => "throttled",
            Reason::RetryAfter => "retry_after",
            Reason::ReceiptsCollapsed => "receipts_collapsed",
            Reason::ByOperator => "by_operator",
        }
    }

    /// It speaks of the link, not of the traffic: the link's own answers end it.
    pub fn is_link(self) -> bool {
        match self {
            Reason::NotConnected | Reason::LinkDown | Reason::NoProbe | Reason::Unavailable => true,
            Reason::Faults
            | Reason::Silent
            | Reason::Refuses
            | Reason::Throttled
            | Reason::RetryAfter
            | Reason::ByOperator
            | Reason::ReceiptsCollapsed => false,
        }
    }
}

/// What is known of a carrier now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    #[default]
    Healthy,
    /// Healthy, without a free slot (window, pace): wait for it rather than go down a tier.
    Full,
    /// Coming back: one attempt at a time.
    Probing {
        free: bool,
    },
    Suspended(Reason),
    /// Takes texts, but their receipts are missing: only where nobody else is left.
    NoReceipts {
        free: bool,
    },
}
