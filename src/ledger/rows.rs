//! Rows as a store gives them, still sealed, and the keys by which they are found.

use super::{group::ReportKind, seal::Sealed};

/// A master key that the store knows.
#[derive(Clone, Debug)]
pub(super) struct KnownKey {
    pub number: u16,
    pub fingerprint: [u8; 8],
    pub id: String,
    /// Rows may be sealed by it; else only references are found by it.
    pub sealed: bool,
}

/// A challenge, still sealed. Once it is wiped, `rest` stands for `last`, `life` and `job`.
#[derive(Clone)]
pub(super) struct ChallengeRow {
    pub key: i64,
    pub arrived: i64,
    pub deadline: i64,
    pub ended: Option<i64>,
    pub verified: Option<bool>,
    pub head: Sealed,
    pub last: Option<Sealed>,
    pub life: Option<Sealed>,
    pub job: Option<Sealed>,
    /// In clear.
    pub late: Option<Vec<u8>>,
    pub rest: Option<Sealed>,
}

#[derive(Clone)]
pub(super) struct OutcomeRow {
    pub key: i64,
    pub arrived: i64,
    pub ended: i64,
    pub body: Sealed,
}

/// A report that waits for the broker.
#[derive(Clone)]
pub(super) struct WaitingRow {
    pub report: i64,
    pub challenge: i64,
    pub seq: u32,
    /// None: of a kind that a later version has written.
    pub kind: Option<ReportKind>,
    pub route: Vec<u8>,
    pub is_final: bool,
    pub until: i64,
    pub body: Sealed,
}

/// A report that is kept for HTTP.
#[derive(Clone)]
pub(super) struct KeptRow {
    pub report: i64,
    pub seq: u32,
    pub is_final: bool,
    pub until: i64,
    pub body: Sealed,
}

#[derive(Clone)]
pub(super) struct CallRow {
    pub challenge: i64,
    pub attempt: u16,
    pub carrier: Vec<u8>,
    pub state: Sealed,
}

#[derive(Clone)]
pub(super) struct InboxRow {
    pub key: i64,
    pub at: i64,
    pub body: Sealed,
}

/// The first key that an opening of this epoch gives.
pub(super) fn first_key(epoch: i64) -> i64 {
    epoch << EPOCH_SHIFT
}

/// In which a key was given.
pub(super) fn epoch_of(key: i64) -> i64 {
    key >> EPOCH_SHIFT
}

/// Keys of one epoch: 2^40 of them, in 2^22 epochs.
const EPOCH_SHIFT: u32 = 40;
