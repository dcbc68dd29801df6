//! What operators change: seldom, so its statements are not kept prepared.

use rusqlite::{Connection, params};

use crate::ledger::ClaimedOrder;

/// Audit records that are kept: years of an operator's work, a few megabytes.
const AUDIT_KEPT: i64 = 20_000;

/// Writes a change, or leaves it out where its asker has given it up.
pub(super) fn change(
    conn: &Connection,
    subject: &str,
    entry: Option<&[u8]>,
    audit: &[u8],
    order: Option<&ClaimedOrder>,
) -> rusqlite::Result<()> {
    match order {
        Some(order) if !order.claim.begin() => undo(conn, subject, order.before.as_deref(), audit),
        _ => write(conn, subject, entry, audit),
    }
}

/// Puts what is in force for this subject (None: nothing), and the record of it.
fn write(
    conn: &Connection,
    subject: &str,
    entry: Option<&[u8]>,
    audit: &[u8],
) -> rusqlite::Result<()> {
    put(conn, subject, entry)?;
    conn.execute("INSERT INTO audit (record) VALUES (?)", [audit])?;
    let newest = conn.last_insert_rowid();
    conn.execute("DELETE FROM audit WHERE number <= ?", [newest - AUDIT_KEPT])?;
    Ok(())
}

/// Of a change that its asker gave up nothing is there, unless a commit took effect whose success was not told.
fn undo(
    conn: &Connection,
    subject: &str,
    before: Option<&[u8]>,
    audit: &[u8],
) -> rusqlite::Result<()> {
    let undone = conn.execute(
        "DELETE FROM audit WHERE record = ?1 AND number > (SELECT max(number) FROM audit) - ?2",
        params![audit, AUDIT_LATE],
    )?;
    match undone {
        0 => Ok(()),
        _ => put(conn, subject, before),
    }
}

fn put(conn: &Connection, subject: &str, entry: Option<&[u8]>) -> rusqlite::Result<()> {
    match entry {
        Some(entry) => conn.execute(
            "INSERT OR REPLACE INTO overlay (subject, entry) VALUES (?, ?)",
            params![subject, entry],
        )?,
        None => conn.execute("DELETE FROM overlay WHERE subject = ?", [subject])?,
    };
    Ok(())
}

/// A change that was just committed is among so many records.
const AUDIT_LATE: i64 = 64;
