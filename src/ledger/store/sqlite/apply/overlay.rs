//! What operators change: seldom, so its statements are not kept prepared.

use rusqlite::{Connection, params};

use crate::ledger::group::{Group, OverlayRow};

/// Audit records that are kept: years of an operator's work, a few megabytes.
const AUDIT_KEPT: i64 = 20_000;

/// Puts what is in force for this subject (None: nothing), and the record of it: once, also where the answer of its commit
/// was lost.
pub(super) fn write(conn: &Connection, group: &Group, row: &OverlayRow) -> rusqlite::Result<()> {
    put(conn, group, row)?;
    let recorded = conn.execute(
        "INSERT INTO audit (record) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM audit
         WHERE record = ?1 AND number > (SELECT max(number) FROM audit) - ?2)",
        params![group.get(row.audit), AUDIT_LATE],
    )?;
    if recorded == 0 {
        return Ok(());
    }
    let newest = conn.last_insert_rowid();
    conn.execute("DELETE FROM audit WHERE number <= ?", [newest - AUDIT_KEPT])?;
    Ok(())
}

/// Of a change that its asker gave up nothing is there, unless a commit took effect whose answer was lost.
pub(super) fn undo(conn: &Connection, group: &Group, row: &OverlayRow) -> rusqlite::Result<()> {
    let undone = conn.execute(
        "DELETE FROM audit WHERE record = ?1 AND number > (SELECT max(number) FROM audit) - ?2",
        params![group.get(row.audit), AUDIT_LATE],
    )?;
    match undone {
        0 => Ok(()),
        _ => put(conn, group, row),
    }
}

fn put(conn: &Connection, group: &Group, row: &OverlayRow) -> rusqlite::Result<()> {
    let subject = group.get(row.subject);
    match row.entry {
        Some(entry) => conn.execute(
            "INSERT OR REPLACE INTO overlay (subject, entry) VALUES (?, ?)",
            params![subject, group.get(entry)],
        )?,
        None => conn.execute("DELETE FROM overlay WHERE subject = ?", [subject])?,
    };
    Ok(())
}

/// A change that was just committed is among so many records.
const AUDIT_LATE: i64 = 64;
