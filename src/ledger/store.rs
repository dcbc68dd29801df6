//! Where the ledger's rows lie: the database behind it, and all that speaks its language.

pub(super) mod sqlite;

/// What a store could not do, in its database's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StoreError {
    pub reason: String,
    pub kind: StoreErrorKind,
}

/// What that means for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Somebody else has it for a moment.
    Busy,
    /// The disk is full, or can't be read or written just now.
    Unavailable,
    /// What is there is not whole.
    Damaged,
    /// What is there is no database.
    NotADatabase,
    Other,
}

impl StoreError {
    /// Is it of no use to try again?
    pub fn is_damage(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Damaged | StoreErrorKind::NotADatabase
        )
    }
}
