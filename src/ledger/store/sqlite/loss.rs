//! What a start finds missing from the ledger, or damaged in it, and what is kept of it where the start goes on.
//!
//! A damaged file is never written to: it is set aside with its WAL, under a name with the time, and a new one begun. Of
//! one that is whole but ends too early, the WAL is copied, since SQLite discards what it takes for its end.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    mark::{Lost, Mark, Tally},
    schema,
};
use crate::{challenge::Millis, clock};

/// What is missing, with what the mark knows of it where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub(super) what: Lost,
    pub(super) mark: Option<(Millis, Tally)>,
}

impl Missing {
    pub(super) fn new(what: Lost, mark: Option<&Mark>) -> Missing {
        let mark = mark.map(|mark| (Millis(mark.at), mark.tally));
        Missing { what, mark }
    }

    /// Can nothing of the file be gone on with?
    fn is_damage(&self) -> bool {
        match self.what {
            Lost::Cut(..) | Lost::Damaged(_) => true,
            Lost::File | Lost::Content | Lost::Other | Lost::End(_) | Lost::Rows => false,
        }
    }

    /// What `on_loss = "continue"` would do.
    pub(in crate::ledger) fn remedy(&self) -> &'static str {
        match self.is_damage() {
            true => "to have it set aside and begin with an empty one",
            false => "to go on without what is missing",
        }
    }

    /// Going on with what there is: keeps what would be written over.
    pub(super) fn keep(&self, path: &Path) -> Result<(), OpenError> {
        let kept = kept(path);
        let wal = schema::beside(path, "-wal");
        let has_wal = fs::metadata(&wal).is_ok_and(|data| data.len() > 0);
        let (at, beside) = (path.display(), kept.display());
        match (self.is_damage(), has_wal) {
            (true, _) => {
                set_aside(path, &kept).map_err(|e| schema::file(path, e))?;
                tracing::error!(file = %at, missing = %self, set_aside = %beside, "the ledger is damaged; it is set aside with its WAL and a new one begun, as [ledger] on_loss says: its open challenges end without a report");
            }
            (false, true) => {
                let copy = schema::beside(&kept, "-wal");
                fs::copy(&wal, &copy).map_err(|e| schema::file(&copy, e))?;
                tracing::error!(file = %at, missing = %self, wal_copy = %copy.display(), "accepted jobs are missing from the ledger; going on without them, as [ledger] on_loss says; the WAL is kept as a copy");
            }
            (false, false) => {
                tracing::error!(file = %at, missing = %self, "accepted jobs are missing from the ledger; going on without them, as [ledger] on_loss says");
            }
        }
        Ok(())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Lost::File => f.write_str("the file is gone")?,
            Lost::Content => f.write_str("the file is empty")?,
            Lost::Other => f.write_str("it is another ledger than the one that was here")?,
            Lost::End(0) => f.write_str("its last writes are missing")?,
            Lost::End(1) => {
                f.write_str("its last writes are missing, an accepted challenge among them")?;
            }
            Lost::End(n) => {
                write!(
                    f,
                    "its last writes are missing, {n} accepted challenges among them"
                )?;
            }
            Lost::Rows => f.write_str("its newest challenge is missing")?,
            Lost::Cut(octets, needed) => {
                write!(f, "the file is cut: {octets} octets of {needed}")?;
            }
            Lost::Damaged(how) => write!(f, "the file is damaged: {how}")?,
        }
        let Some((at, tally)) = &self.mark else {
            return Ok(());
        };
        write!(
            f,
            " (the mark beside it, of {}: {} challenges accepted in all, {} open, {} reports waiting)",
            at.rfc3339(),
            tally.accepted,
            tally.open,
            tally.waiting
        )
    }
}

/// `ringback.db.damaged-20261129T064121.123Z`; its WAL has the same name with `-wal` behind it, as SQLite wants it.
fn kept(path: &Path) -> PathBuf {
    let at = clock::wall().rfc3339().replace(['-', ':'], "");
    schema::beside(path, &format!(".damaged-{at}"))
}

/// The WAL first: a crash in between leaves a damaged file, as before.
fn set_aside(path: &Path, kept: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone(fs::rename(
        schema::beside(path, "-wal"),
        schema::beside(kept, "-wal"),
    ))?;
    // An index of that WAL, made again from it.
    gone(fs::remove_file(schema::beside(path, "-shm")))?;
    fs::rename(path, kept)
}

/// A database whose last pages are neither in it nor in its WAL: octets that it has, and that its header says. SQLite takes
/// a page of which the end is missing for one that ends in zeros. Never of a file that this process has open: to close it
/// lets go of SQLite's locks.
pub(super) fn cut(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let file = File::open(path)?;
    let octets = file.metadata()?.len();
    let mut header = [0; HEADER];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(MAGIC) {
        // No database at all, which SQLite says.
        return Ok(None);
    }
    let field = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| header[at + n]));
    // 1 stands for 65,536.
    let page = match u64::from(field(PAGE_SIZE) >> 16) {
        1 => 65_536,
        size => size,
    };
    if page == 0 || field(CHANGES) != field(VALID_FOR) {
        return Ok(None);
    }
    let (whole, wanted) = (octets / page, u64::from(field(PAGES)));
    if whole >= wanted {
        return Ok(None);
    }
    // A checkpoint that was killed leaves pages that are in the WAL alone.
    let mut missing: Vec<bool> = vec![true; usize::try_from(wanted - whole).unwrap_or(0)];
    in_wal(&schema::beside(path, "-wal"), page, |number| {
        let place = u64::from(number).checked_sub(whole + 1);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(seen) = place.and_then(|place| missing.get_mut(place)) {
            *seen = false;
        }
    })?;
    Ok(missing.contains(&true).then_some((octets, wanted * page)))
}

/// The numbers of the pages in a WAL, as far as its frames are of its present round (file format, "The Write-Ahead Log").
fn in_wal(path: &Path, page: u64, mut each: impl FnMut(u32)) -> io::Result<()> {
    let mut wal = match File::open(path) {
        Ok(wal) => wal,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut header = [0; 32];
    if wal.read_exact(&mut header).is_err() {
        return Ok(());
    }
    let mut at = 32;
    let mut frame = [0; 24];
    while wal.read_exact_at(&mut frame, at).is_ok() && frame[8..16] == header[16..24] {
        each(u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]));
        at += 24 + page;
    }
    Ok(())
}

const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
/// Two octets of size, then what versions read and write it (file format, "The Database Header").
const PAGE_SIZE: usize = 16;
const CHANGES: usize = 24;
const PAGES: usize = 28;
const VALID_FOR: usize = 92;
