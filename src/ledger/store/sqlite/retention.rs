//! Housekeeping: what is over is wiped, what is old is deleted, what an old key sealed is sealed anew.
//!
//! Each step is one transaction of bounded work between two groups of batches. One process writes the file, so keys of
//! challenges rise with time, and age is a place in the table: no index serves the housekeeping alone. A challenge of the longest life may hold up
//! the wiping of those behind it by at most its own life (900 s).

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::{apply::Context, clock_mark, meta, reads};
use crate::{
    challenge::Millis,
    clock,
    ledger::{Keeping, codec::Codec, rows::KeptRow},
};

mod reseal;

use reseal::Reseal;

/// What a step works with.
pub(super) struct Step<'a> {
    pub conn: &'a Connection,
    pub codec: &'a mut Codec,
    pub keeping: &'a Keeping,
    pub now: Millis,
}

/// Where it stands; a step that is rolled back takes the clone made before it.
#[derive(Clone)]
pub(super) struct Retention {
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
    reseal: Option<Reseal>,
    /// How the clock stood when it was last written down.
    mark: clock::Mark,
}

/// A walk over the references, in the order of their HMACs.
#[derive(Clone)]
struct Sweep {
    after: Vec<u8>,
    below: i64,
}

impl Retention {
    pub fn new(conn: &Connection) -> Retention {
        let place = |name| meta(conn, name).unwrap_or(0);
        let (open, wipe) = (place("open_from"), place("wipe_from"));
        Retention {
            open_from: open,
            open_written: open,
            wipe_from: wipe,
            opened: None,
            retired_below: 0,
            sweep: None,
            swept: None,
            early_checked: None,
            reseal: Some(Reseal::begin()),
            mark: clock::mark(),
        }
    }

    pub fn reseal(&mut self) {
        self.reseal = Some(Reseal::begin());
    }

    /// A look without a transaction: an idle ledger writes nothing.
    pub fn has_work(&mut self, step: &Step<'_>, context: &Context) -> bool {
        let (conn, keeping, now) = (step.conn, step.keeping, step.now);
        if self.reseal.is_some() && !reseal::older_key(conn, step.codec).unwrap_or(true) {
            self.reseal = None;
        }
        let opened = *self.opened.get_or_insert(now);
        let _ = self.watch_open(conn);
        self.reseal.is_some()
            || self.clock_was_set()
            || self.sweep.is_some()
            || self.sweep_due(keeping, now)
            || self.early_due(context, now)
            || self.open_from - self.open_written > OPEN_LAG
            || self.any_due(conn, opened, now)
            || old(conn, keeping, now).map_or(true, |old| !old.is_empty())
            || old_outcomes(conn, keeping, now).map_or(true, |old| !old.is_empty())
    }

    /// By more than what a reading of two clocks may differ.
    fn clock_was_set(&self) -> bool {
        (clock::mark().ahead - self.mark.ahead).abs() > CLOCK_SLACK
    }

    /// One step of everything. True: there is more.
    pub fn step(&mut self, step: &mut Step<'_>, context: &mut Context) -> rusqlite::Result<bool> {
        let (conn, keeping, now) = (step.conn, step.keeping, step.now);
        let opened = *self.opened.get_or_insert(now);
        self.watch_open(conn)?;
        let began = Instant::now();
        let (due, mut from) = self.due(conn, opened, now)?;
        let mut more = due.len() >= STEP;
        for key in &due {
            if began.elapsed() >= SLICE {
                (from, more) = (*key, true);
                break;
            }
            wipe_one(conn, step.codec, *key)?;
        }
        let mut retired = None;
        for key in old(conn, keeping, now)? {
            more = began.elapsed() >= SLICE * 2;
            if more {
                break;
            }
            retire(step, key)?;
            retired = Some(key);
        }
        for key in old_outcomes(conn, keeping, now)? {
            conn.prepare_cached("DELETE FROM outcomes WHERE key = ?")?
                .execute([key])?;
        }
        let sweeping = self.sweep_step(conn, keeping, now)?;
        if self.early_due(context, now) {
            conn.execute("DELETE FROM early WHERE until < ?", [now.0])?;
            context.early = any_early(conn)?;
            self.early_checked = Some(now);
        }
        if let Some(reseal) = self.reseal {
            self.reseal = reseal.step(conn, step.codec)?;
        }
        if self.clock_was_set() {
            self.mark = clock::mark();
            clock_mark::keep(conn, self.mark)?;
        }
        put(conn, "open_from", self.open_from)?;
        put(conn, "wipe_from", from)?;
        self.open_written = self.open_from;
        self.wipe_from = from;
        if let Some(last) = retired {
            self.retired_below = self.retired_below.max(last + 1);
        }
        Ok(more || sweeping || self.reseal.is_some())
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

    fn sweep_due(&self, keeping: &Keeping, now: Millis) -> bool {
        match self.swept {
            None => self.retired_below > 0,
            Some((at, below)) => {
                self.retired_below > below && now >= at + keeping.retention / SWEEPS
            }
        }
    }

    /// Deletes references of deleted challenges, a slice of the table at a time.
    fn sweep_step(
        &mut self,
        conn: &Connection,
        keeping: &Keeping,
        now: Millis,
    ) -> rusqlite::Result<bool> {
        if self.sweep.is_none() {
            if !self.sweep_due(keeping, now) {
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

    fn early_due(&self, context: &Context, now: Millis) -> bool {
        context.early && self.early_checked.is_none_or(|at| now >= at + EARLY_CHECK)
    }
}

/// What is left of it is packed into one record, with its reports that were kept for HTTP.
fn wipe_one(conn: &Connection, codec: &mut Codec, key: i64) -> rusqlite::Result<()> {
    let row = conn
        .prepare_cached("SELECT job, life, last FROM challenges WHERE key = ?")?
        .query_row([key], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?] as [Option<Vec<u8>>; 3])
        })
        .optional()?;
    let Some(parts) = row else {
        return Ok(());
    };
    let kept = conn
        .prepare_cached(
            "SELECT report, seq, final, until, body FROM kept WHERE challenge = ? ORDER BY seq",
        )?
        .query_map([key], reads::kept)?
        .collect::<rusqlite::Result<Vec<KeptRow>>>()?;
    let Ok(rest) = codec.wiped(key, parts.each_ref().map(Option::as_deref), &kept) else {
        // A later version's: it waits for that one, or for the end of retention.
        return Ok(());
    };
    shrink(conn, key, rest.as_deref())?;
    conn.prepare_cached("DELETE FROM kept WHERE challenge = ?")?
        .execute([key])?;
    Ok(())
}

/// Retention is over: only its outcome stays, where outcomes are kept for longer.
fn retire(step: &mut Step<'_>, key: i64) -> rusqlite::Result<()> {
    let (conn, keeping) = (step.conn, step.keeping);
    if keeping.outcomes > keeping.retention {
        keep_outcome(conn, step.codec, key, step.now - keeping.outcomes)?;
    }
    conn.prepare_cached("DELETE FROM challenges WHERE key = ?")?
        .execute([key])?;
    conn.prepare_cached("DELETE FROM kept WHERE challenge = ?")?
        .execute([key])?;
    Ok(())
}

fn keep_outcome(
    conn: &Connection,
    codec: &mut Codec,
    key: i64,
    before: Millis,
) -> rusqlite::Result<()> {
    let row = conn
        .prepare_cached(
            "SELECT arrived, ended, id_hmac, last, rest FROM challenges
             WHERE key = ? AND arrived >= ?",
        )?
        .query_row(params![key, before.0], |row| {
            let times: (i64, i64) = (row.get(0)?, row.get(1)?);
            let parts: [Option<Vec<u8>>; 2] = [row.get(3)?, row.get(4)?];
            Ok((times, row.get::<_, Vec<u8>>(2)?, parts))
        })
        .optional()?;
    let Some(((arrived, ended), mac, [last, rest])) = row else {
        return Ok(());
    };
    let Some(body) = codec.outcome(key, last.as_deref(), rest.as_deref()) else {
        return Ok(());
    };
    conn.prepare_cached(
        "INSERT OR REPLACE INTO outcomes (key, arrived, ended, id_hmac, body)
         VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![key, arrived, ended, mac, body])?;
    Ok(())
}

/// The oldest outcomes, as far as their time is over.
fn old_outcomes(conn: &Connection, keeping: &Keeping, now: Millis) -> rusqlite::Result<Vec<i64>> {
    let before = now - keeping.outcomes.max(keeping.retention);
    let mut statement =
        conn.prepare_cached("SELECT key, arrived FROM outcomes ORDER BY key LIMIT ?")?;
    let mut rows = statement.query([STEP as i64])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before.0 {
            break;
        }
        old.push(row.get(0)?);
    }
    Ok(old)
}

/// The oldest challenges, as far as retention is over for them.
fn old(conn: &Connection, keeping: &Keeping, now: Millis) -> rusqlite::Result<Vec<i64>> {
    let before = now - keeping.retention;
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

pub(super) fn any_early(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM early)", [], |row| row.get(0))
}

fn put(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE meta SET value = ? WHERE name = ? AND value <> ?1")?
        .execute(params![value, name])?;
    Ok(())
}

/// Puts the rest in the place of job, life and last. The row is taken out and put in again: SQLite merges pages where
/// rows go, and leaves a page nearly empty where one only shrinks.
fn shrink(conn: &Connection, key: i64, rest: Option<&[u8]>) -> rusqlite::Result<()> {
    let row = conn
        .prepare_cached(
            "SELECT arrived, deadline, ended, verified, owner, lease_until, epoch, id_hmac, head,
             limits, late FROM challenges WHERE key = ?",
        )?
        .query_row([key], |row| {
            (0..11)
                .map(|place| row.get::<_, rusqlite::types::Value>(place))
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
    conn.prepare_cached("DELETE FROM challenges WHERE key = ?")?
        .execute([key])?;
    let rest = rest.map_or(rusqlite::types::Value::Null, |rest| rest.to_vec().into());
    let values = [key.into(), 1.into()].into_iter().chain(row).chain([rest]);
    conn.prepare_cached(
        "INSERT INTO challenges (key, wiped, arrived, deadline, ended, verified, owner, lease_until,
         epoch, id_hmac, head, limits, late, rest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

/// Milliseconds.
const CLOCK_SLACK: i64 = 100;
/// Bound of rows that one step touches, per table.
const STEP: usize = 512;
/// Bound of the time that one step spends on wiping; as long again on what retention takes. Batches wait meanwhile.
const SLICE: Duration = Duration::from_millis(3);
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
