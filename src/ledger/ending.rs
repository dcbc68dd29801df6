//! The end of a ledger that may not be writable: asked for beside the writer's channel, since the writer reads nothing while
//! it tries a write again and again.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Batch, Op};

/// What the ledger could not write before it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    pub reason: String,
    /// Jobs that were not taken: their askers were told nothing, or to come again.
    pub jobs: usize,
    /// What else was to be written: steps of open challenges, reports that are done, receipts that were not answered.
    pub changes: usize,
}

impl Unwritten {
    pub(super) fn add(&mut self, batch: &Batch) {
        let is_job = |op: &&Op| matches!(op, Op::Accept(_));
        let jobs = batch.ops.iter().filter(is_job).count();
        self.jobs += jobs;
        self.changes += batch.ops.len() - jobs;
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the ledger could not be written: {}; not written are {} jobs that were not taken and {} other changes, none of \
             them answered; the next start goes on from what the ledger holds",
            self.reason, self.jobs, self.changes
        )
    }
}

#[derive(Default)]
pub(super) struct Ending {
    asked: AtomicBool,
    unwritten: OnceLock<Unwritten>,
}

impl Ending {
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub fn left(&self, unwritten: Unwritten) {
        // The writer ends once.
        let _ = self.unwritten.set(unwritten);
    }

    pub fn unwritten(&self) -> Option<Unwritten> {
        self.unwritten.get().cloned()
    }
}
