//! The folder in which a run keeps its configuration and its ledger; gone when the run is over, unless it was named.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// A folder of its own.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// The named one, which stays, or a temporary one, which goes.
    pub fn make(named: Option<&Path>) -> io::Result<Folder> {
        let (path, kept) = match named {
            Some(path) => (std::path::absolute(path)?, true),
            None => {
                let nanos = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_nanos();
                let name = format!("ringback-simulate-{}-{nanos:x}", std::process::id());
                (std::env::temp_dir().join(name), false)
            }
        };
        fs::create_dir_all(&path)?;
        Ok(Folder { path, kept })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn kept(&self) -> bool {
        self.kept
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What can't be removed now, the system's own sweeping removes.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
