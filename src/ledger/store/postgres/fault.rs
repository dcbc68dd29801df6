//! What the database, or the way to it, says, in the ledger's words.

use std::{error::Error, fmt::Write};

use tokio_postgres::error::SqlState;

use crate::ledger::{StoreError, StoreErrorKind};

/// What the database, or the way to it, says.
pub(super) fn fault(error: tokio_postgres::Error) -> StoreError {
    let kind = match error.code() {
        Some(code) => kind_of(code),
        None if error.is_closed() || error.source().is_some_and(|e| e.is::<std::io::Error>()) => {
            StoreErrorKind::Unavailable
        }
        None => StoreErrorKind::Other,
    };
    StoreError {
        reason: words(&error),
        kind,
    }
}

/// The error with what it comes from.
pub(super) fn words(error: &dyn Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Of the database's own words the message: its detail may repeat a row.
        match error.downcast_ref::<tokio_postgres::error::DbError>() {
            Some(said) => {
                let _ = write!(reason, ": {} ({})", said.message(), said.code().code());
            }
            None => {
                let _ = write!(reason, ": {error}");
            }
        }
        source = error.source();
    }
    reason
}

/// SQLSTATE, PostgreSQL's manual, appendix A.
fn kind_of(code: &SqlState) -> StoreErrorKind {
    match (code.code().get(..2), code) {
        // Rolled back for somebody else's sake.
        (Some("40"), _) | (_, &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED) => {
            StoreErrorKind::Busy
        }
        // Connections, room, an operator's hand, a standby that only reads.
        (Some("08" | "53" | "57" | "58"), _) | (_, &SqlState::READ_ONLY_SQL_TRANSACTION) => {
            StoreErrorKind::Unavailable
        }
        (Some("22" | "23" | "54"), _) => StoreErrorKind::Data,
        (Some("XX"), _) => StoreErrorKind::Damaged,
        _ => StoreErrorKind::Other,
    }
}

pub(super) fn other(reason: String) -> StoreError {
    StoreError {
        reason,
        kind: StoreErrorKind::Other,
    }
}
