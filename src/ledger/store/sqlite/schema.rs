//! The ledger's file: its lock, its pragmas, its tables, and how an older file becomes a newer one.
//!
//! Indexes are few on purpose: each one is a page more to write per challenge. Keys of challenges and reports rise
//! with time, so whatever goes by age walks the table itself from a remembered place.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::OpenError;
use crate::regular::{self, ReadFault};

/// Holds the file for this process. The kernel lets go of it however the process ends.
pub(super) struct Lock {
    _held: Connection,
}

/// A second, empty database beside the first, held in an exclusive transaction for as long as the process lives:
/// SQLite's own file lock, which also refuses a second ledger within the same process.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let held = Connection::open(beside(path, ".lock")).map_err(|e| sqlite(path, e))?;
    held.busy_timeout(LOCK_PATIENCE)
        .and_then(|()| held.execute_batch("BEGIN EXCLUSIVE"))
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                OpenError::InUse(path.to_path_buf())
            }
            _ => sqlite(path, error),
        })?;
    Ok(Lock { _held: held })
}

/// `ringback.db` and `.key` make `ringback.db.key`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn make_folder(path: &Path) -> Result<(), OpenError> {
    match path.parent().filter(|f| !f.as_os_str().is_empty()) {
        Some(folder) => fs::create_dir_all(folder).map_err(|e| file(path, e)),
        None => Ok(()),
    }
}

/// Makes the file (mode 0600) where it is missing.
pub(super) fn make_file(path: &Path) -> Result<(), OpenError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| file(path, e))?;
    Ok(())
}

/// A FIFO or a device in the place of one of its files would be waited for.
pub(super) fn only_regular(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let file = beside(path, suffix);
        // That it is not there, or can't be opened, is found where it is.
        if let Err(fault @ ReadFault::NoFile(_)) = regular::check(&file) {
            let source = fault.into();
            return Err(OpenError::File { path: file, source });
        }
    }
    Ok(())
}

pub(super) fn file(path: &Path, source: io::Error) -> OpenError {
    OpenError::File {
        path: path.to_path_buf(),
        source,
    }
}

/// The writer's connection, with the newest tables.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|e| sqlite(path, e))?;
    check_kind(&conn, path)?;
    prepare(&conn).map_err(|e| sqlite(path, e))?;
    migrate(&mut conn, path)?;
    Ok(conn)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(conn)
}

/// A connection that looks and leaves everything as it is, the WAL above all: the last one that closes would else move
/// what is good of it into the file, and delete it.
pub(super) fn open_untouched(path: &Path) -> Result<Connection, OpenError> {
    let conn = open_reader(path).map_err(|e| sqlite(path, e))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|e| sqlite(path, e))?;
    Ok(conn)
}

pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> OpenError {
    OpenError::of(path, source.into())
}

/// `secure_delete = FAST` overwrites what is wiped in pages that are written anyway, and costs no I/O of its own. Pages
/// that fall free keep what they held until they are used again, and so do the WAL's frames: all of it is sealed, so
/// it is no clearer there than it was while it lived, and overwriting it would double the writes.
fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "secure_delete", "FAST")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", WAL_KEPT)?;
    Ok(())
}

/// Refuses a file that is somebody else's.
pub(super) fn check_kind(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let read = |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let tables = read("SELECT count(*) FROM sqlite_schema").map_err(|e| sqlite(path, e))?;
    let id = read("PRAGMA application_id").map_err(|e| sqlite(path, e))?;
    if tables > 0 && id != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_path_buf()));
    }
    Ok(())
}

/// The version of its tables.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The version that [`open_writer`] leaves.
pub(super) fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(conn).map_err(|e| sqlite(path, e))?;
    let newest = newest();
    let from = match usize::try_from(found) {
        Ok(from) if from <= MIGRATIONS.len() => from,
        _ => {
            return Err(newer(path, found));
        }
    };
    if from == MIGRATIONS.len() {
        return Ok(());
    }
    let step = |conn: &mut Connection| -> rusqlite::Result<()> {
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for sql in &MIGRATIONS[from..] {
            tx.execute_batch(sql)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", newest)?;
        tx.commit()
    };
    step(conn).map_err(|e| sqlite(path, e))
}

pub(super) fn newer(path: &Path, found: i64) -> OpenError {
    OpenError::Newer {
        path: path.to_path_buf(),
        found,
        newest: newest(),
    }
}

/// Each entry takes the file from its index to the next version; an entry that has been released is never changed.
const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('open_from', 0), ('wipe_from', 0);

-- Master keys that have sealed something here. sealed: rows may be sealed by it. Else only references are found by it.
CREATE TABLE keys (
    number      INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    id          TEXT NOT NULL,
    sealed      INTEGER NOT NULL
) STRICT;

-- head: tenant, id, content. The clear columns stand first: a walk by age never reads the sealed ones.
CREATE TABLE challenges (
    key         INTEGER PRIMARY KEY,
    arrived     INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    ended       INTEGER,
    verified    INTEGER,
    wiped       INTEGER NOT NULL DEFAULT 0,
    owner       TEXT NOT NULL,
    lease_until INTEGER NOT NULL DEFAULT 0,
    epoch       INTEGER NOT NULL,
    id_hmac     BLOB NOT NULL UNIQUE,
    head        BLOB NOT NULL,
    last        BLOB,
    life        BLOB,
    job         BLOB
) STRICT;

CREATE TABLE refs (
    hmac      BLOB PRIMARY KEY,
    key       INTEGER NOT NULL,
    challenge INTEGER NOT NULL,
    attempt   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- kind: 0 reply_to, 1 exchange, 2 exchange and mandatory. body: correlation id and JSON.
CREATE TABLE outbox (
    report    INTEGER PRIMARY KEY,
    challenge INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    route     TEXT NOT NULL,
    final     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;

-- Reports that are asked for by HTTP.
CREATE TABLE kept (
    report    INTEGER PRIMARY KEY,
    challenge INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    final     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE INDEX kept_of ON kept (challenge, seq);

-- Calls that a crash would leave up. state: the dialog.
CREATE TABLE calls (
    challenge INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    carrier   TEXT NOT NULL,
    state     BLOB NOT NULL,
    PRIMARY KEY (challenge, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE early (
    hmac  BLOB PRIMARY KEY,
    key   INTEGER NOT NULL,
    word  INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
", "
-- What operators have changed for a while, and the record of what they did.
CREATE TABLE overlay (
    subject TEXT PRIMARY KEY,
    entry   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    record BLOB NOT NULL
) STRICT;
", "
-- Secrets of the file's own, sealed. limiter: what `limits` is hashed with.
CREATE TABLE secrets (
    name   TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The limiter's windows that the challenge counts in, as hashes; NULL: the limiter refused it.
ALTER TABLE challenges ADD COLUMN limits BLOB;
", "
-- What carriers have brought and what has led to nothing yet. body: the carrier, and what it said.
CREATE TABLE inbox (
    message INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;

-- What was told after the final: numbers and states.
ALTER TABLE challenges ADD COLUMN late BLOB;

-- One reference may lead to several attempts. phone: of the phone's last digits, keyed.
CREATE TABLE attempt_refs (
    hmac      BLOB NOT NULL,
    challenge INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    part      INTEGER NOT NULL,
    key       INTEGER NOT NULL,
    phone     INTEGER,
    PRIMARY KEY (hmac, challenge, attempt, part)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt_refs SELECT hmac, challenge, attempt, 0, key, NULL FROM refs;
DROP TABLE refs;
ALTER TABLE attempt_refs RENAME TO refs;
", "
-- What is left of a wiped challenge, packed and sealed; job, life, last and its kept reports are then in it.
ALTER TABLE challenges ADD COLUMN rest BLOB;

-- What is left after retention. An id may come again by then, so it may stand here several times.
CREATE TABLE outcomes (
    key     INTEGER PRIMARY KEY,
    arrived INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    id_hmac BLOB NOT NULL,
    body    BLOB NOT NULL
) STRICT;
CREATE INDEX outcomes_of ON outcomes (id_hmac);
", "
-- When a report became durable. Of those that an older version left, it can be told from how long they are tried.
ALTER TABLE outbox ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET at = until - 3600000;
", "
-- What comes from outside is octets, whatever stands in it.
CREATE TABLE outbox_octets (
    report    INTEGER PRIMARY KEY,
    challenge INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    route     BLOB NOT NULL,
    final     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;
INSERT INTO outbox_octets
    SELECT report, challenge, seq, kind, CAST(route AS BLOB), final, until, at, body FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_octets RENAME TO outbox;
CREATE TABLE calls_octets (
    challenge INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    carrier   BLOB NOT NULL,
    state     BLOB NOT NULL,
    PRIMARY KEY (challenge, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO calls_octets SELECT challenge, attempt, CAST(carrier AS BLOB), state FROM calls;
DROP TABLE calls;
ALTER TABLE calls_octets RENAME TO calls;
CREATE TABLE overlay_octets (
    subject BLOB PRIMARY KEY,
    entry   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO overlay_octets SELECT CAST(subject AS BLOB), entry FROM overlay;
DROP TABLE overlay;
ALTER TABLE overlay_octets RENAME TO overlay;
", "
-- Who has had the file, and the last opening of each; the name stands in `owner` of challenges.
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    term   INTEGER NOT NULL
) STRICT;
"];

/// "Ring"
const APPLICATION_ID: i64 = 0x5269_6e67;
/// A predecessor that is just ending may need a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Another program may look into the file (`sqlite3`, a backup) and hold it for a moment.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that are kept: all there are.
pub(super) const STATEMENTS: usize = 128;
/// The system keeps the file's pages anyway: with eight times as much, neither texts nor calls took less.
const WRITER_CACHE_KIB: i64 = 2 * 1024;
const READER_CACHE_KIB: i64 = 1024;
/// Pages in the WAL before the writer moves them into the file.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Octets of WAL kept on disk after a burst.
const WAL_KEPT: i64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of the first version, with what a later one must still find.
    #[test]
    fn a_file_of_the_first_version_keeps_its_references() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(MIGRATIONS[0]).unwrap();
        conn.execute_batch(
            "INSERT INTO refs VALUES (x'01', 1, 7, 2);
             INSERT INTO challenges (key, arrived, deadline, owner, epoch, id_hmac, head)
             VALUES (7, 0, 0, 'n', 1, x'02', x'03');
             INSERT INTO outbox VALUES (9, 7, 1, 0, 'q', 1, 5000000, x'04');
             INSERT INTO calls VALUES (7, 1, 'trunk', x'05'); PRAGMA user_version = 1",
        )
        .unwrap();
        migrate(&mut conn, Path::new("test")).unwrap();
        let row: (i64, i64, i64, Option<i64>) = conn
            .query_row(
                "SELECT challenge, attempt, part, phone FROM refs WHERE hmac = x'01'",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        assert_eq!(row, (7, 2, 0, None));
        let late: Option<Vec<u8>> = conn
            .query_row("SELECT late FROM challenges", [], |row| row.get(0))
            .unwrap();
        assert_eq!(late, None);
        let at: i64 = conn
            .query_row("SELECT at FROM outbox WHERE report = 9", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(at, 1_400_000);
        let octets: (Vec<u8>, Vec<u8>) = conn
            .query_row("SELECT route, carrier FROM outbox, calls", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(octets, (b"q".to_vec(), b"trunk".to_vec()));
        migrate(&mut conn, Path::new("test")).unwrap();
    }
}
