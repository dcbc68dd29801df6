//! Housekeeping: what is over is wiped, what is old is deleted, what an old key sealed is sealed anew.
//!
//! Each step is one transaction of bounded work between two groups of batches. Keys of challenges rise with time, so
//! age is a place in the table: no index serves the housekeeping alone. A challenge of the longest life may hold up
//! the wiping of those behind it by at most its own life (900 s).

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Wipe,
    apply::Desk,
    clock_mark,
    read::Head,
    recover::meta,
    seal::{Lookup, Part, key_number},
};
use crate::{challenge::Millis, clock};

#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub wipe: Wipe,
    pub retention: Duration,
}

/// Where it stands; a step that is rolled back takes the clone made before it.
#[derive(Clone)]
pub(super) struct House {
    settings: Settings,
    /// No open challenge lies below; written down now and then, recovery begins there.
    open_from: i64,
    open_written: i64,
    /// Everything below is wiped, deleted or stuck.
    wipe_from: i64,
    opened: Option<Millis>,
    /// Challenges below were deleted, so may be their references.
    retired_below: i64,
    sweep: Option<Sweep>,
    swept: Option<(Millis, i64)>,
    early_checked: Option<Millis>,
    anew: Option<Anew>,
    /// How the clock stood when it was last written down.
    mark: clock::Mark,
}

/// A walk over the references, in the order of their HMACs.
#[derive(Clone)]
struct Sweep {
    after: Vec<u8>,
    below: i64,
}

/// A walk over everything that is sealed.
#[derive(Clone, Copy)]
enum Anew {
    Challenges { from: i64 },
    Outbox { from: i64 },
    Kept { from: i64 },
    Inbox { from: i64 },
}

impl House {
    pub fn new(conn: &Connection, settings: &Settings) -> House {
        let place = |name| meta(conn, name).unwrap_or(0);
        let (open, wipe) = (place("open_from"), place("wipe_from"));
        House {
            settings: *settings,
            open_from: open,
            open_written: open,
            wipe_from: wipe,
            opened: None,
            retired_below: 0,
            sweep: None,
            swept: None,
            early_checked: None,
            anew: Some(Anew::Challenges { from: 0 }),
            mark: clock::mark(),
        }
    }

    pub fn retain(&mut self, retention: Duration) {
        self.settings.retention = retention;
    }

    pub fn seal_anew(&mut self) {
        self.anew = Some(Anew::Challenges { from: 0 });
    }

    /// A look without a transaction: an idle ledger writes nothing.
    pub fn has_work(&mut self, conn: &Connection, desk: &Desk, now: Millis) -> bool {
        if self.anew.is_some() && !older_key(conn, desk).unwrap_or(true) {
            self.anew = None;
        }
        let opened = *self.opened.get_or_insert(now);
        let _ = self.watch_open(conn);
        self.anew.is_some()
            || self.clock_was_set()
            || self.sweep.is_some()
            || self.sweep_due(now)
            || self.early_due(desk, now)
            || self.open_from - self.open_written > OPEN_LAG
            || self.any_due(conn, opened, now)
            || self.old(conn, now).map_or(true, |old| !old.is_empty())
    }

    /// By more than what a reading of two clocks may differ.
    fn clock_was_set(&self) -> bool {
        (clock::mark().ahead - self.mark.ahead).abs() > CLOCK_SLACK
    }

    /// One step of everything. True: there is more.
    pub fn step(
        &mut self,
        conn: &Connection,
        desk: &mut Desk,
        now: Millis,
    ) -> rusqlite::Result<bool> {
        let opened = *self.opened.get_or_insert(now);
        self.watch_open(conn)?;
        let (due, from) = self.due(conn, opened, now)?;
        for key in &due {
            self.wipe_one(conn, desk, *key)?;
        }
        let old = self.old(conn, now)?;
        for key in &old {
            conn.prepare_cached("DELETE FROM challenges WHERE key = ?")?
                .execute([key])?;
            conn.prepare_cached("DELETE FROM kept WHERE challenge = ?")?
                .execute([key])?;
        }
        let sweeping = self.sweep_step(conn, now)?;
        if self.early_due(desk, now) {
            conn.execute("DELETE FROM early WHERE until < ?", [now.0])?;
            desk.early = any_early(conn)?;
            self.early_checked = Some(now);
        }
        let sealing = self.anew_step(conn, desk)?;
        if self.clock_was_set() {
            self.mark = clock::mark();
            clock_mark::keep(conn, self.mark)?;
        }
        put(conn, "open_from", self.open_from)?;
        put(conn, "wipe_from", from)?;
        self.open_written = self.open_from;
        self.wipe_from = from;
        if let Some(last) = old.last() {
            self.retired_below = self.retired_below.max(last + 1);
        }
        Ok(due.len() >= STEP || old.len() >= STEP || sweeping || sealing)
    }

    /// Moves the mark below which nothing is open.
    fn watch_open(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(
            "SELECT key, ended IS NULL FROM challenges WHERE key >= ? ORDER BY key LIMIT ?",
        )?;
        let mut rows = statement.query(params![self.open_from, OPEN_STEP as i64])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            if row.get(1)? {
                self.open_from = key;
                break;
            }
            self.open_from = key + 1;
        }
        Ok(())
    }

    fn any_due(&mut self, conn: &Connection, opened: Millis, now: Millis) -> bool {
        match self.due(conn, opened, now) {
            Ok((due, from)) if due.is_empty() => {
                self.wipe_from = from;
                false
            }
            Ok(_) | Err(_) => true,
        }
    }

    /// Ended challenges whose time is over, in order, and where to go on after them.
    fn due(
        &self,
        conn: &Connection,
        opened: Millis,
        now: Millis,
    ) -> rusqlite::Result<(Vec<i64>, i64)> {
        let mut statement = conn.prepare_cached(
            "SELECT key, arrived, deadline, ended, wiped FROM challenges
             WHERE key >= ? ORDER BY key LIMIT ?",
        )?;
        let mut rows = statement.query(params![self.wipe_from, STEP as i64])?;
        let (mut due, mut from) = (Vec::new(), self.wipe_from);
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let (arrived, deadline) = (Millis(row.get(1)?), Millis(row.get(2)?));
            let ended: Option<i64> = row.get(3)?;
            let over = deadline.max(arrived + LIMITER) + MARGIN;
            let wiped: bool = row.get(4)?;
            if !wiped {
                match ended {
                    Some(ended) if over.max(Millis(ended) + MARGIN) <= now => due.push(key),
                    // Nobody ends it: those behind it need not wait; retention finds it when it has ended.
                    None if over.max(opened) + STUCK <= now => {}
                    Some(_) | None => break,
                }
            }
            from = key + 1;
        }
        Ok((due, from))
    }

    fn wipe_one(&self, conn: &Connection, desk: &mut Desk, key: i64) -> rusqlite::Result<()> {
        let row = conn
            .prepare_cached("SELECT job, life, last FROM challenges WHERE key = ?")?
            .query_row([key], |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?] as [Option<Vec<u8>>; 3])
            })
            .optional()?;
        let Some([job, life, last]) = row else {
            return Ok(());
        };
        let wipe = self.settings.wipe;
        let job = stripped(desk, Part::Job, key, job, wipe.job);
        let life = stripped(desk, Part::Life, key, life, wipe.life);
        let last = stripped(desk, Part::Last, key, last, wipe.report);
        conn.prepare_cached(
            "UPDATE challenges SET wiped = 1, job = ?, life = ?, last = ? WHERE key = ?",
        )?
        .execute(params![job, life, last, key])?;
        let kept = conn
            .prepare_cached("SELECT report, body FROM kept WHERE challenge = ?")?
            .query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, Vec<u8>)>>>()?;
        for (report, body) in kept {
            match stripped(desk, Part::Kept, report, Some(body), wipe.report) {
                Some(body) => conn
                    .prepare_cached("UPDATE kept SET body = ? WHERE report = ?")?
                    .execute(params![body, report])?,
                None => conn
                    .prepare_cached("DELETE FROM kept WHERE report = ?")?
                    .execute([report])?,
            };
        }
        Ok(())
    }

    /// The oldest challenges, as far as retention is over for them.
    fn old(&self, conn: &Connection, now: Millis) -> rusqlite::Result<Vec<i64>> {
        let before = now - self.settings.retention;
        let mut statement =
            conn.prepare_cached("SELECT key, arrived, ended FROM challenges ORDER BY key LIMIT ?")?;
        let mut rows = statement.query([STEP as i64])?;
        let mut old = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? >= before.0 {
                break;
            }
            if row.get::<_, Option<i64>>(2)?.is_some_and(|e| e < before.0) {
                old.push(row.get(0)?);
            }
        }
        Ok(old)
    }

    fn sweep_due(&self, now: Millis) -> bool {
        match self.swept {
            None => self.retired_below > 0,
            Some((at, below)) => {
                self.retired_below > below && now >= at + self.settings.retention / SWEEPS
            }
        }
    }

    /// Deletes references of deleted challenges, a slice of the table at a time.
    fn sweep_step(&mut self, conn: &Connection, now: Millis) -> rusqlite::Result<bool> {
        if self.sweep.is_none() {
            if !self.sweep_due(now) {
                return Ok(false);
            }
            self.sweep = Some(Sweep {
                after: Vec::new(),
                below: self.retired_below,
            });
        }
        let Some(Sweep { after, below }) = self.sweep.clone() else {
            return Ok(false);
        };
        let slice = conn
            .prepare_cached(
                "SELECT hmac, min(challenge) FROM refs WHERE hmac > ? GROUP BY hmac
                 ORDER BY hmac LIMIT ?",
            )?
            .query_map(params![after, STEP as i64], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(Vec<u8>, i64)>>>()?;
        for (hmac, _) in slice.iter().filter(|(_, challenge)| *challenge < below) {
            conn.prepare_cached("DELETE FROM refs WHERE hmac = ? AND challenge < ?")?
                .execute(params![hmac, below])?;
        }
        if slice.len() < STEP {
            conn.execute(
                "DELETE FROM keys WHERE sealed = 0 AND number NOT IN (SELECT key FROM refs)
                 AND number NOT IN (SELECT key FROM early)",
                [],
            )?;
            self.sweep = None;
            self.swept = Some((now, below));
            return Ok(false);
        }
        self.sweep = slice
            .into_iter()
            .last()
            .map(|(after, _)| Sweep { after, below });
        Ok(true)
    }

    fn early_due(&self, desk: &Desk, now: Millis) -> bool {
        desk.early && self.early_checked.is_none_or(|at| now >= at + EARLY_CHECK)
    }

    /// True: there is more.
    fn anew_step(&mut self, conn: &Connection, desk: &mut Desk) -> rusqlite::Result<bool> {
        self.anew = match self.anew {
            None => None,
            Some(Anew::Challenges { from }) => Some(match challenges_anew(conn, desk, from)? {
                Some(from) => Anew::Challenges { from },
                None => Anew::Outbox { from: 0 },
            }),
            Some(Anew::Outbox { from }) => Some(match bodies_anew(conn, desk, OUTBOX, from)? {
                Some(from) => Anew::Outbox { from },
                None => Anew::Kept { from: 0 },
            }),
            Some(Anew::Kept { from }) => Some(match bodies_anew(conn, desk, KEPT, from)? {
                Some(from) => Anew::Kept { from },
                None => Anew::Inbox { from: 0 },
            }),
            Some(Anew::Inbox { from }) => match bodies_anew(conn, desk, INBOX, from)? {
                Some(from) => Some(Anew::Inbox { from }),
                None => {
                    conn.execute(
                        "UPDATE keys SET sealed = 0 WHERE number <> ?",
                        [desk.ring.number()],
                    )?;
                    tracing::info!("the ledger is sealed by its first key alone");
                    None
                }
            },
        };
        Ok(self.anew.is_some())
    }
}

pub(super) fn any_early(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM early)", [], |row| row.get(0))
}

/// Has another key than the first sealed rows here?
fn older_key(conn: &Connection, desk: &Desk) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM keys WHERE sealed = 1 AND number <> ?)",
        [desk.ring.number()],
        |row| row.get(0),
    )
}

fn put(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE meta SET value = ? WHERE name = ? AND value <> ?1")?
        .execute(params![value, name])?;
    Ok(())
}

/// What is left of a part; a part that can't be opened can't be stripped, and goes.
fn stripped(
    desk: &mut Desk,
    part: Part,
    row: i64,
    sealed: Option<Vec<u8>>,
    strip: fn(&[u8]) -> Vec<u8>,
) -> Option<Vec<u8>> {
    let plain = desk.opener.open(part, row, &sealed?).ok()?;
    let left = strip(&plain);
    if left.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    desk.sealer.seal(part, row, &left, &mut out).ok()?;
    Some(out)
}

/// Seals a record anew where another key than the first has sealed it. None: leave it as it is.
fn anew(desk: &mut Desk, part: Part, row: i64, sealed: &[u8]) -> Option<Vec<u8>> {
    if key_number(sealed) == Some(desk.ring.number()) {
        return None;
    }
    match desk.opener.open(part, row, sealed) {
        Ok(plain) => {
            let mut out = Vec::new();
            desk.sealer.seal(part, row, &plain, &mut out).ok()?;
            Some(out)
        }
        Err(error) => {
            tracing::error!(row, ?part, %error, "left as it is");
            None
        }
    }
}

/// Where to go on; None: that was all.
fn challenges_anew(conn: &Connection, desk: &mut Desk, from: i64) -> rusqlite::Result<Option<i64>> {
    let rows = conn
        .prepare_cached(
            "SELECT key, head, last, life, job FROM challenges WHERE key >= ? ORDER BY key LIMIT ?",
        )?
        .query_map(params![from, STEP as i64], |row| {
            let parts: [Option<Vec<u8>>; 3] = [row.get(2)?, row.get(3)?, row.get(4)?];
            Ok((row.get(0)?, row.get(1)?, parts))
        })?
        .collect::<rusqlite::Result<Vec<(i64, Vec<u8>, _)>>>()?;
    for (key, head, [last, life, job]) in &rows {
        if let Some(new) = anew(desk, Part::Head, *key, head)
            && let Ok(plain) = desk.opener.open(Part::Head, *key, &new)
            && let Ok(whose) = Head::parse(&plain)
        {
            let mac = desk.ring.mac(Lookup::Id, &whose.tenant, &whose.id);
            conn.prepare_cached("UPDATE challenges SET head = ?, id_hmac = ? WHERE key = ?")?
                .execute(params![new, mac, key])?;
        }
        let mut part = |part, sealed: &Option<Vec<u8>>| {
            sealed.as_ref().and_then(|s| anew(desk, part, *key, s))
        };
        let parts = [
            part(Part::Last, last),
            part(Part::Life, life),
            part(Part::Job, job),
        ];
        if parts.iter().any(Option::is_some) {
            conn.prepare_cached(
                "UPDATE challenges SET last = coalesce(?, last), life = coalesce(?, life),
                 job = coalesce(?, job) WHERE key = ?",
            )?
            .execute(params![parts[0], parts[1], parts[2], key])?;
        }
    }
    Ok((rows.len() >= STEP).then(|| rows.last().map_or(from, |(key, ..)| key + 1)))
}

/// A table of sealed bodies: its name, its key, what its bodies are.
type Bodies = (&'static str, &'static str, Part);
const OUTBOX: Bodies = ("outbox", "report", Part::Outbox);
const KEPT: Bodies = ("kept", "report", Part::Kept);
const INBOX: Bodies = ("inbox", "message", Part::Inbox);

/// The same for these.
fn bodies_anew(
    conn: &Connection,
    desk: &mut Desk,
    (table, key, part): Bodies,
    from: i64,
) -> rusqlite::Result<Option<i64>> {
    let rows = conn
        .prepare_cached(&format!(
            "SELECT {key}, body FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?"
        ))?
        .query_map(params![from, STEP as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<Vec<(i64, Vec<u8>)>>>()?;
    for (report, body) in &rows {
        if let Some(new) = anew(desk, part, *report, body) {
            conn.prepare_cached(&format!("UPDATE {table} SET body = ? WHERE {key} = ?"))?
                .execute(params![new, report])?;
        }
    }
    Ok((rows.len() >= STEP).then(|| rows.last().map_or(from, |(report, _)| report + 1)))
}

/// Milliseconds.
const CLOCK_SLACK: i64 = 100;
/// Bound of rows that one step touches, per table.
const STEP: usize = 512;
/// Bound of rows that the mark of open challenges moves in one step: reading only.
const OPEN_STEP: usize = 8_192;
/// Rows that recovery may read in vain.
const OPEN_LAG: i64 = 10_000;
/// The limiter's longest window: it is rebuilt from the jobs of so long.
const LIMITER: Duration = Duration::from_secs(300);
/// After the life of a code, before it is wiped.
const MARGIN: Duration = Duration::from_secs(60);
/// An open challenge so long after its time holds up nobody any more.
const STUCK: Duration = Duration::from_secs(3_600);
const EARLY_CHECK: Duration = Duration::from_secs(60);
/// References are swept so often in one retention.
const SWEEPS: u32 = 24;
