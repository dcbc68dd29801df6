//! Why a ledger can't be read.

use super::StoreError;

/// The writer has ended; only at the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is closed")]
pub struct Gone;

/// A look-up failed; the ledger itself may be well.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the ledger can't be read: {0}")]
    Store(#[from] StoreError),
    #[error("a record of the ledger can't be opened: it was changed, or its key is missing")]
    Sealed,
    #[error(
        "a record of the ledger is of version {0}, which this ringback does not know; run the one that wrote it"
    )]
    Version(u8),
    #[error("a report of a kind that this ringback does not know; run the one that wrote it")]
    Kind,
    #[error("the ledger is closed")]
    Gone,
}
