//! A change of keys: what an older key has sealed is sealed again by the first, a few rows at a time.

use rusqlite::{Connection, params};

use crate::ledger::{codec::Codec, seal::Part};

/// A walk over everything that is sealed.
#[derive(Clone, Copy)]
pub(super) enum Reseal {
    Challenges { from: i64 },
    Outbox { from: i64 },
    Kept { from: i64 },
    Inbox { from: i64 },
    Outcomes { from: i64 },
}

impl Reseal {
    pub fn begin() -> Reseal {
        Reseal::Challenges { from: 0 }
    }

    /// One step; None: that was all.
    pub fn step(self, conn: &Connection, codec: &mut Codec) -> rusqlite::Result<Option<Reseal>> {
        Ok(match self {
            Reseal::Challenges { from } => Some(match challenges(conn, codec, from)? {
                Some(from) => Reseal::Challenges { from },
                None => Reseal::Outbox { from: 0 },
            }),
            Reseal::Outbox { from } => Some(match bodies(conn, codec, OUTBOX, from)? {
                Some(from) => Reseal::Outbox { from },
                None => Reseal::Kept { from: 0 },
            }),
            Reseal::Kept { from } => Some(match bodies(conn, codec, KEPT, from)? {
                Some(from) => Reseal::Kept { from },
                None => Reseal::Inbox { from: 0 },
            }),
            Reseal::Inbox { from } => Some(match bodies(conn, codec, INBOX, from)? {
                Some(from) => Reseal::Inbox { from },
                None => Reseal::Outcomes { from: 0 },
            }),
            Reseal::Outcomes { from } => match bodies(conn, codec, OUTCOMES, from)? {
                Some(from) => Some(Reseal::Outcomes { from }),
                None => {
                    conn.execute(
                        "UPDATE keys SET sealed = 0 WHERE number <> ?",
                        [codec.ring.number()],
                    )?;
                    tracing::info!("the ledger is sealed by its first key alone");
                    None
                }
            },
        })
    }
}

/// Has another key than the first sealed rows here?
pub(super) fn older_key(conn: &Connection, codec: &Codec) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM keys WHERE sealed = 1 AND number <> ?)",
        [codec.ring.number()],
        |row| row.get(0),
    )
}

/// Where to go on; None: that was all.
fn challenges(conn: &Connection, codec: &mut Codec, from: i64) -> rusqlite::Result<Option<i64>> {
    let rows = conn
        .prepare_cached(
            "SELECT key, head, last, life, job, rest FROM challenges
             WHERE key >= ? ORDER BY key LIMIT ?",
        )?
        .query_map(params![from, STEP as i64], |row| {
            let parts: [Option<Vec<u8>>; 4] = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            Ok((row.get(0)?, row.get(1)?, parts))
        })?
        .collect::<rusqlite::Result<Vec<(i64, Vec<u8>, _)>>>()?;
    for (key, head, [last, life, job, rest]) in &rows {
        if let Some((new, mac)) = codec.head_again(*key, head) {
            conn.prepare_cached("UPDATE challenges SET head = ?, id_hmac = ? WHERE key = ?")?
                .execute(params![new, mac, key])?;
        }
        let mut part = |part, sealed: &Option<Vec<u8>>| {
            sealed.as_ref().and_then(|s| codec.again(part, *key, s))
        };
        let parts = [
            part(Part::Last, last),
            part(Part::Life, life),
            part(Part::Job, job),
            part(Part::Rest, rest),
        ];
        if parts.iter().any(Option::is_some) {
            conn.prepare_cached(
                "UPDATE challenges SET last = coalesce(?, last), life = coalesce(?, life),
                 job = coalesce(?, job), rest = coalesce(?, rest) WHERE key = ?",
            )?
            .execute(params![parts[0], parts[1], parts[2], parts[3], key])?;
        }
    }
    Ok((rows.len() >= STEP).then(|| rows.last().map_or(from, |(key, ..)| key + 1)))
}

/// A table of sealed bodies: its name, its key, what its bodies are.
type Bodies = (&'static str, &'static str, Part);
const OUTBOX: Bodies = ("outbox", "report", Part::Outbox);
const KEPT: Bodies = ("kept", "report", Part::Kept);
const INBOX: Bodies = ("inbox", "message", Part::Inbox);
const OUTCOMES: Bodies = ("outcomes", "key", Part::EndedChallenge);

/// The same for these.
fn bodies(
    conn: &Connection,
    codec: &mut Codec,
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
        if let Some(new) = codec.again(part, *report, body) {
            conn.prepare_cached(&format!("UPDATE {table} SET body = ? WHERE {key} = ?"))?
                .execute(params![new, report])?;
        }
    }
    Ok((rows.len() >= STEP).then(|| rows.last().map_or(from, |(report, _)| report + 1)))
}

/// Bound of rows that one step touches.
const STEP: usize = 256;
