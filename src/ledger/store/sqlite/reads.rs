//! Look-ups in the file: a connection of its own that never writes.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::meta;
use crate::{
    challenge::Millis,
    ledger::{
        AGES, Pending, StoreError,
        group::{ReferenceRow, ReportKind},
        rows::{CallRow, ChallengeRow, InboxRow, KeptRow, OutcomeRow, WaitingRow},
        seal::Mac,
        store::StoreReads,
    },
};

pub(super) struct Reads(pub Connection);

impl Reads {
    /// Challenges, as the end of the statement says.
    fn challenges(
        &self,
        which: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<ChallengeRow>, StoreError> {
        let sql = format!(
            "SELECT key, arrived, deadline, ended, verified, head, last, life, job, late, rest
             FROM challenges {which}"
        );
        let mut select = self.0.prepare_cached(&sql)?;
        let rows = select.query_map(params, challenge)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The key from which on all have arrived since then: backwards from the newest until one is too old, since keys rise
    /// with arrival where one process writes.
    fn newer_than(&self, since: Millis) -> rusqlite::Result<i64> {
        let too_old: Option<i64> = self
            .0
            .query_row(
                "SELECT key FROM challenges WHERE arrived < ? ORDER BY key DESC LIMIT 1",
                [since.0],
                |row| row.get(0),
            )
            .optional()?;
        Ok(too_old.map_or(0, |key| key + 1))
    }
}

impl StoreReads for Reads {
    fn challenge(&mut self, key: i64) -> Result<Option<ChallengeRow>, StoreError> {
        Ok(self.challenges("WHERE key = ?", [key])?.pop())
    }

    fn challenge_of(&mut self, id: &Mac) -> Result<Option<ChallengeRow>, StoreError> {
        Ok(self.challenges("WHERE id_hmac = ?", [id])?.pop())
    }

    fn newest(&mut self, limit: usize) -> Result<Vec<ChallengeRow>, StoreError> {
        self.challenges("ORDER BY key DESC LIMIT ?", [limit as i64])
    }

    fn outcomes(&mut self, id: &Mac, limit: usize) -> Result<Vec<OutcomeRow>, StoreError> {
        let mut select = self.0.prepare_cached(
            "SELECT key, arrived, ended, body FROM outcomes WHERE id_hmac = ?
             ORDER BY key DESC LIMIT ?",
        )?;
        let rows = select.query_map(params![id, limit as i64], |row| {
            Ok(OutcomeRow {
                key: row.get(0)?,
                arrived: row.get(1)?,
                ended: row.get(2)?,
                body: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn references(
        &mut self,
        reference: &Mac,
        limit: usize,
    ) -> Result<Vec<ReferenceRow>, StoreError> {
        let mut select = self.0.prepare_cached(
            "SELECT challenge, attempt, part, phone FROM refs WHERE hmac = ?
             ORDER BY challenge DESC, attempt DESC, part LIMIT ?",
        )?;
        let rows = select.query_map(params![reference, limit as i64], |row| {
            Ok(ReferenceRow {
                challenge: row.get(0)?,
                attempt: row.get(1)?,
                part: row.get(2)?,
                phone: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn early(&mut self, id: &Mac) -> Result<Option<i64>, StoreError> {
        let mut select = self.0.prepare_cached(EARLY)?;
        Ok(select.query_row([id], |row| row.get(0)).optional()?)
    }

    fn outbox(&mut self, after: i64, limit: usize) -> Result<Vec<WaitingRow>, StoreError> {
        let mut select = self.0.prepare_cached(
            "SELECT report, challenge, seq, kind, route, final, until, body FROM outbox
             WHERE report > ? ORDER BY report LIMIT ?",
        )?;
        let mut rows = select.query(params![after, limit as i64])?;
        let mut waiting = Vec::new();
        while let Some(row) = rows.next()? {
            waiting.push(WaitingRow {
                report: row.get(0)?,
                challenge: row.get(1)?,
                seq: row.get(2)?,
                kind: ReportKind::from_number(row.get(3)?),
                route: row.get(4)?,
                is_final: row.get(5)?,
                until: row.get(6)?,
                body: row.get(7)?,
            });
        }
        Ok(waiting)
    }

    fn pending(&mut self, before: [Millis; AGES]) -> Result<Pending, StoreError> {
        let mut select = self.0.prepare_cached(
            "SELECT count(*), min(at), total(at <= ?), total(at <= ?), total(at <= ?),
             total(at <= ?) FROM outbox",
        )?;
        let pending = select.query_row(before.map(|at| at.0), |row| {
            let mut waited = [0; AGES];
            for (place, count) in waited.iter_mut().enumerate() {
                *count = row.get::<_, f64>(2 + place)? as u64;
            }
            Ok(Pending {
                count: row.get::<_, i64>(0)? as u64,
                oldest: row.get::<_, Option<i64>>(1)?.map(Millis),
                before: waited,
            })
        })?;
        Ok(pending)
    }

    fn audit(&mut self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut select = self
            .0
            .prepare_cached("SELECT record FROM audit ORDER BY number DESC LIMIT ?")?;
        let records = select.query_map([limit as i64], |row| row.get(0))?;
        Ok(records.collect::<rusqlite::Result<_>>()?)
    }

    fn kept(
        &mut self,
        challenge: i64,
        after_seq: u32,
        limit: usize,
    ) -> Result<Vec<KeptRow>, StoreError> {
        let mut select = self.0.prepare_cached(
            "SELECT report, seq, final, until, body FROM kept
             WHERE challenge = ? AND seq > ? ORDER BY seq LIMIT ?",
        )?;
        let rows = select.query_map(params![challenge, after_seq, limit as i64], kept)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// One process writes a file, so all of them are its own, and keys rise with arrival.
    fn unfinished(
        &mut self,
        after: Option<i64>,
        below: i64,
        recent: Millis,
        limit: usize,
    ) -> Result<Vec<ChallengeRow>, StoreError> {
        let from = match after {
            Some(after) => after + 1,
            None => self.newer_than(recent)?.min(meta(&self.0, "open_from")?),
        };
        self.challenges(
            "WHERE key >= ? AND key < ? AND (ended IS NULL OR arrived >= ?) ORDER BY key LIMIT ?",
            params![from, below, recent.0, limit as i64],
        )
    }

    fn arrivals(
        &mut self,
        since: Millis,
        below: i64,
        each: &mut dyn FnMut(Millis, &[u8]),
    ) -> Result<(), StoreError> {
        let from = self.newer_than(since)?;
        let mut select = self.0.prepare(
            "SELECT arrived, limits FROM challenges
             WHERE key >= ? AND key < ? AND arrived >= ? AND limits IS NOT NULL ORDER BY key",
        )?;
        let mut rows = select.query(params![from, below, since.0])?;
        while let Some(row) = rows.next()? {
            let limits = row.get_ref(1)?.as_blob();
            each(Millis(row.get(0)?), limits.map_err(rusqlite::Error::from)?);
        }
        Ok(())
    }

    fn calls(&mut self) -> Result<Vec<CallRow>, StoreError> {
        let mut select = self
            .0
            .prepare("SELECT challenge, attempt, carrier, state FROM calls")?;
        let rows = select.query_map([], |row| {
            Ok(CallRow {
                challenge: row.get(0)?,
                attempt: row.get(1)?,
                carrier: row.get(2)?,
                state: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn overlay(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut select = self.0.prepare("SELECT entry FROM overlay")?;
        let entries = select.query_map([], |row| row.get(0))?;
        Ok(entries.collect::<rusqlite::Result<_>>()?)
    }

    fn inbox(&mut self) -> Result<Vec<InboxRow>, StoreError> {
        let mut select = self
            .0
            .prepare("SELECT message, at, body FROM inbox ORDER BY message")?;
        let rows = select.query_map([], |row| {
            Ok(InboxRow {
                key: row.get(0)?,
                at: row.get(1)?,
                body: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn challenge(row: &Row<'_>) -> rusqlite::Result<ChallengeRow> {
    Ok(ChallengeRow {
        key: row.get(0)?,
        arrived: row.get(1)?,
        deadline: row.get(2)?,
        ended: row.get(3)?,
        verified: row.get(4)?,
        head: row.get(5)?,
        last: row.get(6)?,
        life: row.get(7)?,
        job: row.get(8)?,
        late: row.get(9)?,
        rest: row.get(10)?,
    })
}

/// `report, seq, final, until, body`
pub(super) fn kept(row: &Row<'_>) -> rusqlite::Result<KeptRow> {
    Ok(KeptRow {
        report: row.get(0)?,
        seq: row.get(1)?,
        is_final: row.get(2)?,
        until: row.get(3)?,
        body: row.get(4)?,
    })
}

pub(super) const EARLY: &str = "SELECT word FROM early WHERE hmac = ?";
