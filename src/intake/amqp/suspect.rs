//! The job that is being taken alone, remembered over an end of the process.
//!
//! The broker counts deliveries, but it counts everything that was prefetched when a process ended. So a job that was
//! seen often is only a suspect: it is taken alone, and a mark beside the ledger (a hash, nothing else) says so. If
//! the process ends meanwhile, the mark is found with the next delivery of that very job: then it is the one.

use std::{io::Write as _, path::PathBuf};

use ring::digest::{SHA256, digest};

/// The mark's file.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    /// As it was found at the start: the job that ended the last process.
    found: Option<String>,
}

impl Mark {
    pub fn read(path: PathBuf) -> Mark {
        let found = std::fs::read_to_string(&path)
            .ok()
            .map(|text| text.trim().to_owned());
        Mark { path, found }
    }

    /// Was this job being taken alone when the process ended?
    pub fn names(&self, body: &[u8]) -> bool {
        self.found
            .as_deref()
            .is_some_and(|found| found == hash(body))
    }

    /// This job is being taken alone from now on. Durable before it returns, as far as the disk lets.
    pub fn set(&mut self, body: &[u8]) {
        self.found = None;
        let written = std::fs::File::create(&self.path).and_then(|mut file| {
            file.write_all(hash(body).as_bytes())?;
            file.sync_all()
        });
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "a suspect job can't be marked; it is taken all the same");
        }
    }

    /// It broke nothing.
    pub fn clear(&mut self) {
        self.found = None;
        match std::fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the mark of a suspect job can't be removed");
            }
        }
    }
}

/// How the mark writes a job.
fn hash(body: &[u8]) -> String {
    hex::encode(digest(&SHA256, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_job_that_was_alone_is_named() {
        let path = std::env::temp_dir().join(format!("ringback-mark-{}", std::process::id()));
        let mut mark = Mark::read(path.clone());
        mark.set(b"one");
        assert!(!mark.names(b"one"), "still in this process");
        let after = Mark::read(path.clone());
        assert!(after.names(b"one") && !after.names(b"two"));
        mark.clear();
        assert!(!Mark::read(path).names(b"one"));
    }
}
