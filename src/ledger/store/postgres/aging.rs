//! Housekeeping: what is over is wiped and moves into the history, what is old is deleted with its part, what an older key has
//! sealed is sealed again. Each step is one transaction of bounded work.

use std::{collections::BTreeSet, time::Duration};

use super::{
    found::{FORGET_KEPT, UNCLAIM},
    parts::{self, Part, Whole},
    session::{Link, Param},
};
use crate::{
    challenge::Millis,
    ledger::{Keeping, StoreError, codec::Codec, rows::KeptRow, seal::Sealed},
};

mod reseal;

pub(super) use reseal::Reseal;

/// What a step works with.
pub(super) struct Step<'a> {
    pub link: &'a Link,
    pub codec: &'a mut Codec,
    pub keeping: &'a Keeping,
    pub now: Millis,
}

/// Where it stands; a step that is rolled back takes the clone made before it.
#[derive(Clone, Default)]
pub(super) struct Aging {
    /// Challenges that only a later version can wipe.
    foreign: BTreeSet<i64>,
    /// A part whose time is over, and how far its ids and references are gone.
    retiring: Option<(Part, i64)>,
    /// How far the windows are looked through, and when that began last.
    sweep: Option<i64>,
    swept: Option<Millis>,
    pub reseal: Option<Reseal>,
}

impl Aging {
    /// One step of everything, in the present transaction. True: there is more.
    pub async fn step(&mut self, step: &mut Step<'_>) -> Result<bool, StoreError> {
        let link = step.link;
        link.put(FORGET_EARLY, &[&step.now.0]).await?;
        let mut more = self.wipe(step).await?;
        more |= self.retire(step).await?;
        let forgotten = step.now - step.keeping.outcomes.max(step.keeping.retention);
        let outcomes = Part::all(link, Whole::Outcomes).await?;
        if let Some(part) = outcomes.into_iter().find(|part| part.ends <= forgotten) {
            part.drop(link).await?;
            more = true;
        }
        more |= self.sweep_windows(step).await?;
        if let Some(reseal) = self.reseal {
            self.reseal = reseal.step(link, step.codec).await?;
            more |= self.reseal.is_some();
        }
        Ok(more)
    }

    async fn wipe(&mut self, step: &mut Step<'_>) -> Result<bool, StoreError> {
        let link = step.link;
        let foreign: Vec<i64> = self.foreign.iter().copied().collect();
        let [limiter, margin] = [LIMITER, MARGIN].map(|span| span.as_millis() as i64);
        let params: [Param<'_>; 5] = [&step.now.0, &limiter, &margin, &foreign, &STEP];
        let due = link.rows(DUE, &params).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let keys: Vec<i64> = due.iter().map(|row| row.get(0)).collect();
        let mut kept = link.rows(KEPT, &[&keys]).await?.into_iter().peekable();
        let (mut wiped, mut rests, mut arrivals) = (Vec::new(), Vec::new(), Vec::new());
        for row in &due {
            let key: i64 = row.get(0);
            let mut reports = Vec::new();
            while let Some(row) = kept.next_if(|row| row.get::<_, i64>(0) == key) {
                reports.push(KeptRow {
                    report: row.get(1),
                    seq: u32::try_from(row.get::<_, i64>(2)).unwrap_or(u32::MAX),
                    is_final: row.get(3),
                    until: row.get(4),
                    body: row.get(5),
                });
            }
            let parts: [Option<&[u8]>; 3] = [row.get(2), row.get(3), row.get(4)];
            match step.codec.wiped(key, parts, &reports) {
                Ok(rest) => {
                    wiped.push(key);
                    rests.push(rest);
                    arrivals.push(Millis(row.get(1)));
                }
                // It waits for that version, or for the end of retention.
                Err(_) => {
                    self.foreign.insert(key);
                }
            }
        }
        let width = parts::width(step.keeping.retention);
        parts::make_for(link, Whole::History, arrivals.into_iter(), width).await?;
        link.put(MOVE, &[&wiped, &rests]).await?;
        link.put(FORGET_LIVE, &[&wiped]).await?;
        link.put(FORGET_KEPT, &[&wiped]).await?;
        Ok(due.len() as i64 >= STEP)
    }

    /// Of a part whose time is over the ids and references go, then the part. Only outcomes stay, where they are kept for
    /// longer.
    async fn retire(&mut self, step: &mut Step<'_>) -> Result<bool, StoreError> {
        let link = step.link;
        let before = step.now - step.keeping.retention;
        // What is left there could not be wiped.
        let stuck = link.rows(FORGET_STUCK, &[&before.0, &STEP]).await?;
        self.forget(link, &stuck).await?;
        if self.retiring.is_none() {
            let parts = Part::all(link, Whole::History).await?;
            let old = parts.into_iter().find(|part| part.ends + LIFE <= before);
            self.retiring = old.map(|part| (part, i64::MIN));
        }
        let Some((part, after)) = self.retiring else {
            return Ok(stuck.len() as i64 >= STEP);
        };
        let params: [Param<'_>; 4] = [&part.begins.0, &part.ends.0, &after, &STEP];
        let rows = link.rows(OLD, &params).await?;
        match rows.last() {
            Some(last) => {
                self.retiring = Some((part, last.get(0)));
                self.keep_outcomes(step, &rows).await?;
                self.forget(link, &rows).await?;
            }
            None => {
                self.retiring = None;
                part.drop(link).await?;
                link.plain(FORGET_KEYS).await?;
            }
        }
        Ok(true)
    }

    /// Their ids and references.
    async fn forget(
        &mut self,
        link: &Link,
        rows: &[tokio_postgres::Row],
    ) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let ids: Vec<&[u8]> = rows.iter().map(|row| row.get(1)).collect();
        link.put(UNCLAIM, &[&ids, &keys]).await?;
        link.put(FORGET_REFERENCES, &[&keys]).await?;
        link.put(FORGET_KEPT, &[&keys]).await?;
        self.foreign.retain(|key| !keys.contains(key));
        Ok(())
    }

    async fn keep_outcomes(
        &self,
        step: &mut Step<'_>,
        rows: &[tokio_postgres::Row],
    ) -> Result<(), StoreError> {
        if step.keeping.outcomes <= step.keeping.retention {
            return Ok(());
        }
        let since = step.now - step.keeping.outcomes;
        let (mut keys, mut arrivals, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ids, mut bodies): (Vec<&[u8]>, Vec<Sealed>) = (Vec::new(), Vec::new());
        for row in rows {
            let (key, arrived): (i64, i64) = (row.get(0), row.get(2));
            let body = step.codec.outcome(key, None, row.get(4));
            if let Some(body) = body.filter(|_| arrived >= since.0) {
                keys.push(key);
                arrivals.push(arrived);
                ends.push(row.get::<_, i64>(3));
                ids.push(row.get(1));
                bodies.push(body);
            }
        }
        let width = parts::width(step.keeping.outcomes);
        let all = arrivals.iter().map(|at| Millis(*at));
        parts::make_for(step.link, Whole::Outcomes, all, width).await?;
        let params: [Param<'_>; 5] = [&keys, &arrivals, &ends, &ids, &bodies];
        step.link.put(KEEP_OUTCOMES, &params).await?;
        Ok(())
    }

    /// Windows in which nothing counts any more, a slice of the table at a time.
    async fn sweep_windows(&mut self, step: &Step<'_>) -> Result<bool, StoreError> {
        let after = match self.sweep {
            Some(after) => after,
            None if self.swept.is_some_and(|at| step.now < at + SWEEP) => return Ok(false),
            None => i64::MIN,
        };
        self.swept.get_or_insert(step.now);
        let slice = step.link.rows(SLICE, &[&after, &SLICE_ROWS]).await?;
        let last: Option<i64> = slice.first().and_then(|row| row.get(0));
        self.sweep = last;
        match last {
            Some(last) => {
                let params: [Param<'_>; 3] = [&after, &last, &step.now.0];
                step.link.put(FORGET_WINDOWS, &params).await?;
            }
            None => self.swept = Some(step.now),
        }
        Ok(last.is_some())
    }
}

pub(super) const STATEMENTS: &[&str] = &[
    FORGET_EARLY,
    DUE,
    KEPT,
    MOVE,
    FORGET_LIVE,
    FORGET_STUCK,
    OLD,
    FORGET_REFERENCES,
    KEEP_OUTCOMES,
    SLICE,
    FORGET_WINDOWS,
];

const FORGET_EARLY: &str = "DELETE FROM early WHERE hmac IN
    (SELECT hmac FROM early WHERE until < $1 ORDER BY until LIMIT 512)";
/// Ended, and over for the limiter and for the life of a code.
const DUE: &str = "SELECT key, arrived, job, life, last FROM live
    WHERE arrived <= $1::bigint - $2::bigint - $3::bigint AND ended IS NOT NULL
    AND greatest(deadline, arrived + $2, ended) + $3 <= $1 AND key <> ALL ($4)
    ORDER BY arrived, key LIMIT $5 FOR UPDATE SKIP LOCKED";
const KEPT: &str = "SELECT k.challenge, k.report, k.seq, k.final, k.until, k.body
    FROM unnest($1::bigint[]) WITH ORDINALITY AS u (key, place) JOIN kept k ON k.challenge = u.key
    ORDER BY u.place, k.seq";
const MOVE: &str =
    "INSERT INTO history (key, arrived, deadline, ended, verified, id, head, late, rest)
    SELECT l.key, arrived, deadline, ended, verified, id, head, late, u.rest
    FROM unnest($1::bigint[], $2::bytea[]) AS u (key, rest) JOIN live l ON l.key = u.key";
const FORGET_LIVE: &str = "DELETE FROM live WHERE key = ANY ($1)";
const FORGET_STUCK: &str = "DELETE FROM live WHERE key IN (SELECT key FROM live
    WHERE arrived < $1 AND ended < $1 LIMIT $2) RETURNING key, id";
const OLD: &str = "SELECT key, id, arrived, ended, rest FROM history
    WHERE arrived >= $1 AND arrived < $2 AND key > $3 ORDER BY key LIMIT $4";
const FORGET_REFERENCES: &str = "DELETE FROM refs WHERE challenge = ANY ($1)";
const KEEP_OUTCOMES: &str = "INSERT INTO outcomes (key, arrived, ended, id, body)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])
    ON CONFLICT DO NOTHING";
/// Keys that nothing is found by any more.
const FORGET_KEYS: &str = "DELETE FROM keys WHERE NOT sealed
    AND NOT EXISTS (SELECT 1 FROM refs WHERE refs.number = keys.number)
    AND NOT EXISTS (SELECT 1 FROM early WHERE early.number = keys.number)";
const SLICE: &str = "SELECT max(key) FROM
    (SELECT key FROM windows WHERE key > $1 ORDER BY key LIMIT $2) AS slice";
const FORGET_WINDOWS: &str = "DELETE FROM windows WHERE key > $1 AND key <= $2 AND until < $3";

/// Bound of rows that one step touches, per table.
const STEP: i64 = 256;
const SLICE_ROWS: i64 = 2_048;
const SWEEP: Duration = Duration::from_secs(60);
/// The limiter's longest window that a restart fills from jobs.
const LIMITER: Duration = Duration::from_secs(300);
/// After the life of a code, before it is wiped.
const MARGIN: Duration = Duration::from_secs(60);
/// So long after its arrival a challenge may end.
const LIFE: Duration = Duration::from_secs(900);
