//! Are the files that the writer holds open still the ones under the ledger's name?
//!
//! A file that is deleted, renamed away or replaced stays usable for whoever has it open, and a commit into it succeeds;
//! but the next start finds nothing of it. So device, inode and size of the database and of its WAL are compared around
//! each commit, before anything is answered, and once a second when nothing comes.

use std::{
    fmt,
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{StoreError, StoreErrorKind, schema};

/// What no longer is as the writer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Astray {
    file: PathBuf,
    how: How,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    Gone,
    Replaced,
    /// Octets that are there, and that are needed.
    Cut(u64, u64),
    Unknown(String),
}

impl fmt::Display for Astray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.how {
            How::Gone => write!(
                f,
                "{file} has been deleted or renamed away while it was in use: rename it back, or stop the gateway, bring \
                 the right file back with its -wal, and start it"
            ),
            How::Replaced => write!(
                f,
                "{file} has been replaced by another file while it was in use: put the one before back by renaming it, or \
                 stop the gateway, bring the right file back with its -wal, and start it"
            ),
            How::Cut(octets, needed) => write!(
                f,
                "{file} has been cut to {octets} octets of {needed} while it was in use: stop the gateway, bring the right \
                 file back with its -wal, and start it"
            ),
            How::Unknown(error) => write!(f, "{file} can't be looked at: {error}"),
        }
    }
}

/// The files as they were when they were opened.
pub(super) struct Files {
    database: Known,
    wal: Known,
    /// SQLite's index of the WAL knows how much of it is needed. Never closed: to close any descriptor of it would let go of
    /// the locks that this process's readers have on it.
    index: ManuallyDrop<File>,
    page: u64,
    /// A file that was cut has lost something, even if it has its size again.
    cut: Option<Astray>,
    looked: Instant,
}

struct Known {
    path: PathBuf,
    id: (u64, u64),
    /// Octets that it is known to have had.
    octets: u64,
}

impl Known {
    fn of(path: PathBuf) -> io::Result<Known> {
        let data = fs::metadata(&path)?;
        Ok(Known {
            path,
            id: (data.dev(), data.ino()),
            octets: data.len(),
        })
    }

    /// Its size, if it is still the same file.
    fn size(&self) -> Result<u64, Astray> {
        let how = match fs::metadata(&self.path) {
            Ok(data) if (data.dev(), data.ino()) == self.id => return Ok(data.len()),
            Ok(_) => How::Replaced,
            Err(error) if error.kind() == io::ErrorKind::NotFound => How::Gone,
            Err(error) => How::Unknown(error.to_string()),
        };
        Err(self.astray(how))
    }

    fn astray(&self, how: How) -> Astray {
        Astray {
            file: self.path.clone(),
            how,
        }
    }
}

impl Files {
    /// Of a connection that has written already, so that its WAL is there.
    pub fn of(conn: &Connection, path: &Path) -> Result<Files, StoreError> {
        let file = |error: io::Error| StoreError {
            reason: error.to_string(),
            kind: StoreErrorKind::Unavailable,
        };
        let page = pragma(conn, "PRAGMA page_size")?;
        Ok(Files {
            database: Known::of(path.to_path_buf()).map_err(file)?,
            wal: Known::of(schema::beside(path, "-wal")).map_err(file)?,
            index: ManuallyDrop::new(File::open(schema::beside(path, "-shm")).map_err(file)?),
            page,
            cut: None,
            looked: Instant::now(),
        })
    }

    /// Before a commit is begun, and before it is answered.
    pub fn examine(&mut self, conn: &Connection) -> Result<(), Astray> {
        self.looked = Instant::now();
        if let Some(cut) = &self.cut {
            return Err(cut.clone());
        }
        self.examine_database(conn)?;
        self.examine_wal()
    }

    /// It is some time ago that anybody looked.
    pub fn due(&self) -> bool {
        self.looked.elapsed() >= EVERY
    }

    /// It only shrinks where somebody else has packed it: then all its pages are there.
    fn examine_database(&mut self, conn: &Connection) -> Result<(), Astray> {
        let octets = self.database.size()?;
        if octets < self.database.octets {
            let pages = pragma(conn, "PRAGMA page_count").unwrap_or(u64::MAX);
            let needed = pages.saturating_mul(self.page).min(self.database.octets);
            if octets < needed {
                return self.cut(self.database.astray(How::Cut(octets, needed)));
            }
        }
        self.database.octets = octets;
        Ok(())
    }

    /// It also shrinks where somebody else has moved all of it into the database, so its index is asked, after the size:
    /// SQLite changes the index first.
    fn examine_wal(&mut self) -> Result<(), Astray> {
        let octets = self.wal.size()?;
        let needed = match self.frames() {
            Ok(0) => 0,
            Ok(frames) => WAL_HEADER + frames * (FRAME_HEADER + self.page),
            Err(error) => return Err(self.wal.astray(How::Unknown(error.to_string()))),
        };
        if octets < needed {
            return self.cut(self.wal.astray(How::Cut(octets, needed)));
        }
        Ok(())
    }

    fn cut(&mut self, how: Astray) -> Result<(), Astray> {
        self.cut = Some(how.clone());
        Err(how)
    }

    /// Valid frames in the WAL (file format, "WAL-Index Format": mxFrame, in the machine's byte order).
    fn frames(&self) -> io::Result<u64> {
        let mut octets = [0; 4];
        self.index.read_exact_at(&mut octets, MX_FRAME)?;
        Ok(u32::from_ne_bytes(octets).into())
    }
}

fn pragma(conn: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    conn.prepare_cached(pragma)?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// A quiet ledger is looked at this often.
const EVERY: Duration = Duration::from_millis(900);
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
const MX_FRAME: u64 = 16;
