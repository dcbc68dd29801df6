//! The ledger in one SQLite file: its tables, what is written into them, read from them and deleted from them in time,
//! and the files beside it.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rusqlite::ErrorCode;
use tokio::sync::mpsc;

use super::super::{
    AGES, BATCHES, Batch, Candidates, ControlMessage, Done, DoneReceiver, EndedChallenge, Epoch,
    InboxKey, InboxMessage, Ledger, NewChallenge, Op, OpenError, OutboxReport, Pending, ReadError,
    Reads, Referred, ReportKey, Stored, Target, Whose, Wipe, Work, ending, pack, seal,
};
use super::{StoreError, StoreErrorKind};
use crate::config::settings::LedgerSettings;

mod apply;
pub mod check;
mod clock_mark;
mod files;
pub mod in_memory;
mod keys;
mod limiter;
mod loss;
mod mark;
pub(in crate::ledger) mod read;
mod recover;
mod retention;
mod schema;
mod verdict;
mod whose;
pub(in crate::ledger) mod writer;

#[cfg(test)]
mod tests;

pub use loss::Missing;
pub use recover::{Recovered, UnterminatedCall};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => {
                StoreErrorKind::Unavailable
            }
            Some(ErrorCode::DatabaseCorrupt) => StoreErrorKind::Damaged,
            Some(ErrorCode::NotADatabase) => StoreErrorKind::NotADatabase,
            _ => StoreErrorKind::Other,
        };
        StoreError {
            reason: error.to_string(),
            kind,
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> ReadError {
        ReadError::Store(error.into())
    }
}

/// Opens the ledger, or makes it, and takes it for this process.
pub(in crate::ledger) fn open(
    settings: &LedgerSettings,
    node: &str,
    wipe: Wipe,
) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
    let path = &settings.path;
    schema::make_folder(path)?;
    schema::only_regular(path)?;
    let lock = schema::lock(path)?;
    let mark = verdict::admit(settings)?;
    schema::make_file(path)?;
    let conn = schema::open_writer(path)?;
    let masters = keys::read(&conn, path, &settings.keys)?;
    let ring = Arc::new(keys::register(&conn, path, masters)?);
    clock_mark::go_on(&conn).map_err(|e| schema::sqlite(path, e))?;
    let least = mark.map_or(0, |mark| recover::epoch_of(mark.tally.newest));
    let epoch = recover::next_epoch(&conn, least).map_err(|e| schema::sqlite(path, e))?;
    let secret = limiter::secret(&conn, path, &ring)?;
    let (mark, tally) = mark::begin(&conn, path).map_err(|e| schema::sqlite(path, e))?;
    let recovered = Recovered::new(path, ring.clone(), epoch, secret)?;
    let ring = Arc::new(ArcSwap::new(ring));
    let reader = read::Reader::new(schema::open_reader(path)?, ring.clone());
    let trouble = Arc::new(ArcSwapOption::empty());
    let pulse = Arc::new(writer::Pulse::default());
    let ending = Arc::new(ending::Ending::default());
    #[cfg(test)]
    let fault = Arc::new(writer::Fault::default());
    let (work, todo) = mpsc::channel(BATCHES);
    let (done, receiver) = mpsc::unbounded_channel();
    let writer = writer::Writer {
        path: path.clone(),
        files: std::cell::RefCell::new(files::Files::of(&conn, path)?),
        conn,
        _lock: lock,
        ring,
        owner: node.into(),
        epoch,
        retention: retention::Settings {
            wipe,
            retention: settings.retention,
            outcomes: settings.outcomes,
        },
        done,
        trouble: trouble.clone(),
        pulse: pulse.clone(),
        ending: ending.clone(),
        #[cfg(test)]
        fault: fault.clone(),
    };
    writer.start(todo, mark, tally)?;
    let ledger = Ledger {
        work,
        reads: Reads::Sqlite(Arc::new(reader)),
        trouble,
        pulse,
        ending,
        #[cfg(test)]
        fault,
    };
    Ok((ledger, receiver, recovered))
}
