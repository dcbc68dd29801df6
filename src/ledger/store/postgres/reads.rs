//! Look-ups, over a connection of their own that never writes.

use tokio_postgres::Row;

use super::session::{Param, Session};
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

pub(super) struct Reads {
    pub session: Session,
    /// Whose open work is looked up.
    pub node: i32,
}

impl Reads {
    fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.session.run(async |link| link.rows(sql, params).await)
    }
}

impl StoreReads for Reads {
    fn challenge(&mut self, key: i64) -> Result<Option<ChallengeRow>, StoreError> {
        let rows = self.rows(CHALLENGE, &[&key])?;
        Ok(rows.first().map(challenge))
    }

    fn challenge_of(&mut self, id: &Mac) -> Result<Option<ChallengeRow>, StoreError> {
        let rows = self.rows(CHALLENGE_OF, &[&id.as_slice()])?;
        Ok(rows.first().map(challenge))
    }

    fn newest(&mut self, limit: usize) -> Result<Vec<ChallengeRow>, StoreError> {
        let rows = self.rows(NEWEST, &[&(limit as i64)])?;
        Ok(rows.iter().map(challenge).collect())
    }

    fn outcomes(&mut self, id: &Mac, limit: usize) -> Result<Vec<OutcomeRow>, StoreError> {
        let rows = self.rows(OUTCOMES, &[&id.as_slice(), &(limit as i64)])?;
        let outcomes = rows.iter().map(|row| OutcomeRow {
            key: row.get(0),
            arrived: row.get(1),
            ended: row.get(2),
            body: row.get(3),
        });
        Ok(outcomes.collect())
    }

    fn references(
        &mut self,
        reference: &Mac,
        limit: usize,
    ) -> Result<Vec<ReferenceRow>, StoreError> {
        let rows = self.rows(REFERENCES, &[&reference.as_slice(), &(limit as i64)])?;
        let references = rows.iter().map(|row| ReferenceRow {
            challenge: row.get(0),
            attempt: small(row.get(1)),
            part: small(row.get(2)),
            phone: row.get(3),
        });
        Ok(references.collect())
    }

    fn early(&mut self, id: &Mac) -> Result<Option<i64>, StoreError> {
        let rows = self.rows(EARLY, &[&id.as_slice()])?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn outbox(&mut self, after: i64, limit: usize) -> Result<Vec<WaitingRow>, StoreError> {
        let node = self.node;
        let rows = self.rows(OUTBOX, &[&after, &(limit as i64), &node])?;
        let waiting = rows.iter().map(|row| WaitingRow {
            report: row.get(0),
            challenge: row.get(1),
            seq: sequence(row.get(2)),
            kind: ReportKind::from_number(i64::from(row.get::<_, i32>(3))),
            route: row.get(4),
            is_final: row.get(5),
            until: row.get(6),
            body: row.get(7),
        });
        Ok(waiting.collect())
    }

    fn pending(&mut self, before: [Millis; AGES]) -> Result<Pending, StoreError> {
        let since: Vec<i64> = before.iter().map(|at| at.0).collect();
        let node = self.node;
        let rows = self.rows(PENDING, &[&since, &node])?;
        let mut pending = Pending {
            count: 0,
            oldest: None,
            before: [0; AGES],
        };
        for (row, waited) in rows.iter().zip(&mut pending.before) {
            *waited = row.get::<_, i64>(0).cast_unsigned();
            pending.count = row.get::<_, i64>(1).cast_unsigned();
            pending.oldest = row.get::<_, Option<i64>>(2).map(Millis);
        }
        Ok(pending)
    }

    fn audit(&mut self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.rows(AUDIT, &[&(limit as i64)])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn kept(
        &mut self,
        challenge: i64,
        after_seq: u32,
        limit: usize,
    ) -> Result<Vec<KeptRow>, StoreError> {
        let params: [Param<'_>; 3] = [&challenge, &i64::from(after_seq), &(limit as i64)];
        let rows = self.rows(KEPT, &params)?;
        let kept = rows.iter().map(|row| KeptRow {
            report: row.get(0),
            seq: sequence(row.get(1)),
            is_final: row.get(2),
            until: row.get(3),
            body: row.get(4),
        });
        Ok(kept.collect())
    }

    fn unfinished(
        &mut self,
        after: Option<i64>,
        below: i64,
        recent: Millis,
        limit: usize,
    ) -> Result<Vec<ChallengeRow>, StoreError> {
        let (after, node) = (after.unwrap_or(i64::MIN), self.node);
        let params: [Param<'_>; 5] = [&after, &below, &node, &recent.0, &(limit as i64)];
        let rows = self.rows(UNFINISHED, &params)?;
        Ok(rows.iter().map(challenge).collect())
    }

    /// The windows stand in a table of their own.
    fn arrivals(
        &mut self,
        _since: Millis,
        _below: i64,
        _each: &mut dyn FnMut(Millis, &[u8]),
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn calls(&mut self) -> Result<Vec<CallRow>, StoreError> {
        let node = self.node;
        let rows = self.rows(CALLS, &[&node])?;
        Ok(rows.iter().map(call).collect())
    }

    fn overlay(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.rows(OVERLAY, &[])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn inbox(&mut self) -> Result<Vec<InboxRow>, StoreError> {
        let node = self.node;
        let rows = self.rows(INBOX, &[&node])?;
        Ok(rows.iter().map(inbox).collect())
    }
}

pub(super) fn call(row: &Row) -> CallRow {
    CallRow {
        challenge: row.get(0),
        attempt: small(row.get(1)),
        carrier: row.get(2),
        state: row.get(3),
    }
}

pub(super) fn inbox(row: &Row) -> InboxRow {
    InboxRow {
        key: row.get(0),
        at: row.get(1),
        body: row.get(2),
    }
}

pub(super) fn challenge(row: &Row) -> ChallengeRow {
    ChallengeRow {
        key: row.get(0),
        arrived: row.get(1),
        deadline: row.get(2),
        ended: row.get(3),
        verified: row.get(4),
        head: row.get(5),
        last: row.get(6),
        life: row.get(7),
        job: row.get(8),
        late: row.get(9),
        rest: row.get(10),
    }
}

/// As they were written: attempts and parts have 16 bits, `seq` has 32.
fn small(value: i32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn sequence(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(super) const STATEMENTS: &[&str] = &[
    CHALLENGE,
    CHALLENGE_OF,
    NEWEST,
    OUTCOMES,
    REFERENCES,
    EARLY,
    OUTBOX,
    PENDING,
    AUDIT,
    KEPT,
    UNFINISHED,
    CALLS,
    OVERLAY,
    INBOX,
];

/// Columns of a challenge: until it is wiped, and after.
macro_rules! challenges {
    ($live:literal, $history:literal, $end:literal) => {
        concat!(
            "SELECT key, arrived, deadline, ended, verified, head, last, life, job, late, NULL::bytea
             FROM live ", $live,
            " UNION ALL SELECT key, arrived, deadline, ended, verified, head, NULL, NULL, NULL, late,
             rest FROM history ", $history, $end
        )
    };
}

const CHALLENGE: &str = challenges!("WHERE key = $1", "WHERE key = $1", "");
const CHALLENGE_OF: &str = challenges!(
    "WHERE key = (SELECT key FROM ids WHERE hmac = $1)",
    "WHERE key = (SELECT key FROM ids WHERE hmac = $1)",
    ""
);
const NEWEST: &str = "SELECT * FROM
    ((SELECT key, arrived, deadline, ended, verified, head, last, life, job, late, NULL::bytea
      FROM live ORDER BY arrived DESC, key DESC LIMIT $1)
     UNION ALL
     (SELECT key, arrived, deadline, ended, verified, head, NULL, NULL, NULL, late, rest
      FROM history ORDER BY arrived DESC, key DESC LIMIT $1)) AS both_tables
    ORDER BY arrived DESC, key DESC LIMIT $1";
const OUTCOMES: &str = "SELECT key, arrived, ended, body FROM outcomes WHERE id = $1
    ORDER BY arrived DESC, key DESC LIMIT $2";
const REFERENCES: &str = "SELECT challenge, attempt, part, phone FROM refs WHERE hmac = $1
    ORDER BY challenge DESC, attempt DESC, part LIMIT $2";
const EARLY: &str = "SELECT word FROM early WHERE hmac = $1";
const OUTBOX: &str = "SELECT report, challenge, seq, kind, route, final, until, body FROM outbox
    WHERE report > $1 AND owner = $3 ORDER BY report LIMIT $2";
const PENDING: &str = "SELECT
    (SELECT count(*) FROM outbox WHERE owner = $2 AND at <= since),
    (SELECT count(*) FROM outbox WHERE owner = $2), (SELECT min(at) FROM outbox WHERE owner = $2)
    FROM unnest($1::bigint[]) WITH ORDINALITY AS u (since, place) ORDER BY place";
const AUDIT: &str = "SELECT record FROM audit ORDER BY number DESC LIMIT $1";
const KEPT: &str = "SELECT report, seq, final, until, body FROM kept
    WHERE challenge = $1 AND seq > $2 ORDER BY seq LIMIT $3";
const UNFINISHED: &str = "SELECT key, arrived, deadline, ended, verified, head, last, life, job,
    late, NULL::bytea FROM live WHERE key > $1 AND key < $2 AND owner = $3
    AND (ended IS NULL OR arrived >= $4) ORDER BY key LIMIT $5";
const CALLS: &str = "SELECT challenge, attempt, carrier, state FROM calls WHERE owner = $1";
const OVERLAY: &str = "SELECT entry FROM overlay";
const INBOX: &str = "SELECT message, at, body FROM inbox WHERE owner = $1 ORDER BY message";
