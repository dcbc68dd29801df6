//! What is wrong with the configuration, said so that an operator can go to the place: file, line, key, reason.

use std::{cell::RefCell, fmt, path::PathBuf, sync::Arc};

pub use crate::schema::Weight;

/// One thing that is wrong, or only looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub file: Arc<PathBuf>,
    /// Counted from 1.
    pub line: usize,
    /// `jobs.amqp.prefetch`, `sms[2].carrier`; `syntax` or `file` where the fault is no key's.
    pub key: String,
    pub reason: String,
    pub weight: Weight,
}

/// `FILE:LINE: KEY: reason`, one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: ", self.file.display(), self.line, self.key)?;
        if self.weight == Weight::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Where faults are collected while files are read. One thread reads.
#[derive(Debug, Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub fn push(&self, fault: Fault) {
        self.0.borrow_mut().push(fault);
    }

    /// What was found, in the order of files and lines, each once: the faults, the warnings.
    pub fn into_parts(self) -> (Vec<Fault>, Vec<Fault>) {
        let mut all = self.0.into_inner();
        all.sort();
        all.dedup();
        all.into_iter().partition(|f| f.weight == Weight::Fault)
    }

    /// Drops what `keep` does not want, from the fault with the number `since` on.
    pub fn retain_since(&self, since: usize, keep: impl Fn(&Fault) -> bool) {
        let mut all = self.0.borrow_mut();
        let since = since.min(all.len());
        let mut index = 0;
        all.retain(|fault| {
            index += 1;
            index <= since || keep(fault)
        });
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
