//! The job that is being parsed, remembered over an end of the process.
//!
//! The broker counts deliveries, but it counts everything that was prefetched when a connection or a process ended. So
//! a job that was seen often is only a suspect: while it is parsed, a mark beside the ledger (a hash, nothing else)
//! says so. If the process ends meanwhile, the mark is found with the next delivery of that very job: then it is the
//! one. Lost connections leave no mark. The mark is written, not synced: it must outlive the process, not the machine,
//! and so it costs a suspect microseconds.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use ring::digest::{SHA256, digest};

/// The mark's file.
#[derive(Debug)]
pub(super) struct PoisonGuard {
    path: PathBuf,
    /// Opened with the first suspect.
    file: Option<File>,
    /// As found at the start: jobs that ended a process.
    found: Vec<String>,
    /// Is being parsed.
    parsed: Option<String>,
}

impl PoisonGuard {
    pub fn read(path: PathBuf) -> PoisonGuard {
        let text = crate::regular::read_text(&path).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        let found = lines.map(str::to_owned).take(FOUND).collect();
        PoisonGuard {
            path,
            file: None,
            found,
            parsed: None,
        }
    }

    /// Was this job being parsed when a process ended? Once told, that is forgotten.
    pub fn names(&mut self, body: &[u8]) -> bool {
        if self.found.is_empty() {
            return false;
        }
        let hash = hash(body);
        let before = self.found.len();
        self.found.retain(|found| *found != hash);
        let named = self.found.len() < before;
        if named {
            self.write();
        }
        named
    }

    /// This job is being parsed from now on.
    pub fn set(&mut self, body: &[u8]) {
        self.parsed = Some(hash(body));
        self.write();
    }

    /// It broke nothing.
    pub fn clear(&mut self) {
        self.parsed = None;
        self.write();
    }

    fn write(&mut self) {
        // Of one length, so that one call replaces all of it.
        let mut lines = self.parsed.iter().chain(&self.found);
        let text: String = (0..=FOUND)
            .map(|_| format!("{:HASH$}\n", lines.next().map_or("", String::as_str)))
            .collect();
        let written = self
            .open()
            .and_then(|file| file.write_all_at(text.as_bytes(), 0));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "a suspect job can't be marked; it is taken all the same");
        }
    }

    fn open(&mut self) -> std::io::Result<&File> {
        let opened = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&self.path)?,
        };
        Ok(self.file.insert(opened))
    }
}

/// How the mark writes a job.
fn hash(body: &[u8]) -> String {
    hex::encode(digest(&SHA256, body))
}

/// Jobs remembered that ended a process.
const FOUND: usize = 4;
/// Digits of a hash.
const HASH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_being_parsed_is_named_and_once() {
        let path = std::env::temp_dir().join(format!("ringback-mark-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut mark = PoisonGuard::read(path.clone());
        mark.set(b"good");
        mark.clear();
        mark.set(b"one");
        assert!(!mark.names(b"one"), "still in this process");
        // Other suspects are parsed before the one that is named comes again, and the process ends once more.
        let mut after = PoisonGuard::read(path.clone());
        assert!(!after.names(b"two"));
        after.set(b"two");
        let mut after = PoisonGuard::read(path.clone());
        assert!(after.names(b"one") && after.names(b"two"));
        assert!(!after.names(b"one") && !after.names(b"good"));
        assert!(!PoisonGuard::read(path).names(b"two"));
    }
}
