//! How the ledger's times stand to the machine's own: kept with them, so that a restart goes on with the same time wherever
//! the wall clock was set meanwhile.

use rusqlite::{Connection, params};

use crate::clock::{self, Mark};

/// Goes on with the file's time, where it has one, and writes down how it stands.
pub(super) fn go_on(conn: &Connection) -> rusqlite::Result<()> {
    if let (Some(boot), Some(base), Some(ahead)) =
        (get(conn, BOOT)?, get(conn, BASE)?, get(conn, AHEAD)?)
    {
        clock::go_on(Mark { boot, base, ahead });
    }
    keep(conn, clock::mark())
}

/// As of now.
pub(super) fn keep(conn: &Connection, mark: Mark) -> rusqlite::Result<()> {
    for (name, value) in [(BOOT, mark.boot), (BASE, mark.base), (AHEAD, mark.ahead)] {
        conn.prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?, ?)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        )?
        .execute(params![name, value])?;
    }
    Ok(())
}

fn get(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = conn.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
    let mut rows = select.query([name])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

const BOOT: &str = "clock_boot";
const BASE: &str = "clock_base";
const AHEAD: &str = "clock_ahead";
