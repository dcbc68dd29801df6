//! Rows go into the tables: inside a transaction, each by one prepared statement. Decides nothing but whether an id is
//! known. A row that the tables refuse leaves the rest of its batch alone.

use rusqlite::{CachedStatement, Connection, ErrorCode, params};

mod known;
mod overlay;

use super::{mark::Tally, owner::Node};
use crate::{
    admission::Windows,
    challenge::Millis,
    ledger::{
        group::{
            AcceptRow, Accepted, EarlyRow, EndRow, Group, KnownRow, OutboxRow, ReferenceRow, Row,
            RowFault, RowVerdict,
        },
        limiter,
        seal::Mac,
    },
};

/// In whose name it is written, and what is known of the tables from one transaction to the next.
pub(super) struct Context {
    pub node: Node,
    /// May control messages wait? Saves a look-up per accept.
    pub early: bool,
    /// How much there is, with what the present transaction has done so far.
    pub tally: Tally,
    pub windows: Windows,
}

pub(super) type Fault = RowFault<rusqlite::Error>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => {
                    Fault::Row(error.to_string())
                }
                _ => Fault::Store(error),
            },
            _ => Fault::Row(error.to_string()),
        }
    }
}

/// The statements of the hot path, for one transaction.
pub(super) struct Statements<'c> {
    conn: &'c Connection,
    accept: CachedStatement<'c>,
    life: CachedStatement<'c>,
    end: CachedStatement<'c>,
    reference: CachedStatement<'c>,
    inbox: CachedStatement<'c>,
    inbox_done: CachedStatement<'c>,
    late: CachedStatement<'c>,
    outbox: CachedStatement<'c>,
    outbox_done: CachedStatement<'c>,
    kept: CachedStatement<'c>,
    call_up: CachedStatement<'c>,
    call_down: CachedStatement<'c>,
    early: CachedStatement<'c>,
    not_early: CachedStatement<'c>,
    waits: CachedStatement<'c>,
    feedback: CachedStatement<'c>,
    known: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    pub fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            conn,
            accept: conn.prepare_cached(
                "INSERT INTO challenges
                    (key, arrived, deadline, ended, owner, epoch, id_hmac, head, last, life, job,
                     limits)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            life: conn.prepare_cached(
                "UPDATE challenges SET life = ?, owner = ?, epoch = ? WHERE key = ? AND wiped = 0",
            )?,
            end: conn.prepare_cached(
                "UPDATE challenges SET life = ?, last = ?, ended = ?, owner = ?, epoch = ?
                 WHERE key = ? AND wiped = 0",
            )?,
            reference: conn.prepare_cached(
                "INSERT OR REPLACE INTO refs (hmac, key, challenge, attempt, part, phone)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?,
            inbox: conn.prepare_cached(
                "INSERT INTO inbox (message, at, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            inbox_done: conn.prepare_cached("DELETE FROM inbox WHERE message = ?")?,
            late: conn.prepare_cached("UPDATE challenges SET late = ? WHERE key = ?")?,
            outbox: conn.prepare_cached(
                "INSERT INTO outbox (report, challenge, seq, kind, route, final, until, at, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            outbox_done: conn.prepare_cached("DELETE FROM outbox WHERE report = ?")?,
            kept: conn.prepare_cached(
                "INSERT INTO kept (report, challenge, seq, final, until, body)
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            call_up: conn.prepare_cached(
                "INSERT OR REPLACE INTO calls (challenge, attempt, carrier, state)
                 VALUES (?, ?, ?, ?)",
            )?,
            call_down: conn
                .prepare_cached("DELETE FROM calls WHERE challenge = ? AND attempt = ?")?,
            early: conn.prepare_cached(
                "INSERT OR REPLACE INTO early (hmac, key, word, until) VALUES (?, ?, ?, ?)",
            )?,
            not_early: conn
                .prepare_cached("DELETE FROM early WHERE hmac = ? AND word = ? AND until = ?")?,
            waits: conn.prepare_cached(super::reads::EARLY)?,
            feedback: conn.prepare_cached("UPDATE challenges SET verified = ? WHERE key = ?")?,
            known: conn.prepare_cached(
                "SELECT key, head, ended, last, rest FROM challenges WHERE id_hmac = ?",
            )?,
        })
    }

    /// Writes a row; None: it went in, and nothing is to be said of it.
    pub fn put(
        &mut self,
        group: &Group,
        context: &mut Context,
        row: &Row,
    ) -> Result<Option<RowVerdict>, Fault> {
        let Node { writer, term, .. } = &context.node;
        match row {
            Row::Accept(accept) => return self.accept(group, context, accept),
            Row::Withdrawn { key } => {
                self.forget(context, *key)?;
                return Ok(Some(RowVerdict::Withdrawn));
            }
            Row::Unsealed { .. } => {}
            Row::Life { key, life } => {
                let life = group.get(*life);
                self.life.execute(params![life, &**writer, term, key])?;
            }
            Row::End(end) => self.end(group, context, end)?,
            Row::Reference { mac, number, row } => self.reference(mac, *number, row)?,
            Row::Inbox { key, at, body } => {
                self.inbox.execute(params![key, at, group.get(*body)])?;
            }
            Row::InboxDone { key } => {
                self.inbox_done.execute([key])?;
            }
            // One node at a time has the file.
            Row::InboxHanded { .. } => {}
            Row::Late { key, late } => {
                self.late.execute(params![group.get(*late), key])?;
            }
            Row::CallUp(call) => {
                let (carrier, state) = (group.get(call.carrier), group.get(call.state));
                self.call_up
                    .execute(params![call.challenge, call.attempt, carrier, state])?;
            }
            Row::CallDown { challenge, attempt } => {
                self.call_down.execute(params![challenge, attempt])?;
            }
            Row::Report(report) => self.report(group, context, report)?,
            Row::ReportDone { report } => {
                context.tally.waiting -= self.outbox_done.execute([report])? as i64;
            }
            Row::Early(early) => {
                let known = self.early(group, context, early)?;
                return Ok(known.map(RowVerdict::Met));
            }
            Row::EarlyWithdrawn(EarlyRow {
                id, word, until, ..
            }) => {
                self.not_early.execute(params![id, word, until])?;
            }
            Row::Overlay(row) => overlay::write(self.conn, group, row)?,
            Row::OverlayWithdrawn(row) => overlay::undo(self.conn, group, row)?,
            Row::Feedback { key, verified } => {
                self.feedback.execute(params![verified, key])?;
            }
        }
        Ok(None)
    }

    fn accept(
        &mut self,
        group: &Group,
        context: &mut Context,
        new: &AcceptRow,
    ) -> Result<Option<RowVerdict>, Fault> {
        let before = context.windows.mark();
        let put = self.limited_accept(group, context, new);
        if !matches!(put, Ok(None | Some(RowVerdict::Accepted(_)))) {
            context.windows.back_to(before);
        }
        put
    }

    /// What it has counted in the windows is taken back if it did not go in.
    fn limited_accept(
        &mut self,
        group: &Group,
        context: &mut Context,
        new: &AcceptRow,
    ) -> Result<Option<RowVerdict>, Fault> {
        let key = new.key;
        if let Some(known) = self.known_by_any(group.macs(new.older))? {
            return Ok(Some(RowVerdict::Known(known)));
        }
        let taken = new.limits.as_ref().map(|row| {
            let limits = group.limits(row);
            context.windows.take(&row.keys, limits, Millis(new.arrived))
        });
        if let Some(taken) = taken.filter(|taken| taken.refused.is_some()) {
            match self.known_by(&new.id)? {
                None => return Ok(Some(RowVerdict::OverLimit(taken))),
                Some(known) if known.key != key => return Ok(Some(RowVerdict::Known(known))),
                Some(_) => {}
            }
        }
        let inserted = self.accept.execute(params![
            key,
            new.arrived,
            new.deadline,
            new.ended,
            &*context.node.writer,
            context.node.term,
            new.id,
            group.get(new.head),
            new.last.map(|last| group.get(last)),
            group.get(new.life),
            group.get(new.job),
            new.limits.map(|row| limiter::write(&row.keys)),
        ])?;
        if inserted == 0 {
            match self.known_by(&new.id)? {
                // This very row, written before: a commit whose answer was lost.
                Some(known) if known.key == key => {}
                Some(known) => return Ok(Some(RowVerdict::Known(known))),
                None => return Err(twice("challenge")),
            }
        } else {
            context.tally.accepted += 1;
            context.tally.open += i64::from(new.ended.is_none());
            if key > context.tally.newest {
                (context.tally.newest, context.tally.newest_arrived) = (key, new.arrived);
            }
        }
        let waits = match context.early {
            true => self.waiting([new.id].into_iter().chain(group.macs(new.older)))?,
            false => None,
        };
        let limits = taken.filter(|taken| !taken.is_plain());
        Ok(Accepted { waits, limits }.verdict())
    }

    fn end(&mut self, group: &Group, context: &mut Context, row: &EndRow) -> Result<(), Fault> {
        let ended = self.end.execute(params![
            group.get(row.life),
            group.get(row.last),
            row.at,
            &*context.node.writer,
            context.node.term,
            row.key
        ])?;
        context.tally.open -= ended as i64;
        Ok(())
    }

    fn reference(&mut self, mac: &Mac, number: u16, row: &ReferenceRow) -> Result<(), Fault> {
        self.reference.execute(params![
            mac,
            number,
            row.challenge,
            row.attempt,
            row.part,
            row.phone
        ])?;
        Ok(())
    }

    /// Nothing of it is there, unless a commit took effect whose answer was lost.
    fn forget(&self, context: &mut Context, key: i64) -> rusqlite::Result<()> {
        let delete = |table: &str| {
            self.conn
                .prepare_cached(&format!("DELETE FROM {table} = ?"))?
                .execute([key])
        };
        let tally = &mut context.tally;
        let challenges = delete("challenges WHERE key")? as i64;
        tally.accepted -= challenges;
        tally.open -= challenges;
        if key == tally.newest {
            // No longer looked for.
            tally.newest_arrived = 0;
        }
        tally.waiting -= delete("outbox WHERE challenge")? as i64;
        delete("kept WHERE challenge")?;
        Ok(())
    }

    fn report(
        &mut self,
        group: &Group,
        context: &mut Context,
        row: &OutboxRow,
    ) -> Result<(), Fault> {
        let OutboxRow {
            report,
            challenge,
            seq,
            is_final,
            until,
            at,
            ..
        } = row;
        let body = group.get(row.body);
        let Some(kind) = row.kind else {
            let inserted = self
                .kept
                .execute(params![report, challenge, seq, is_final, until, body])?;
            return self.unless_twice(inserted, "kept", row);
        };
        let route = group.get(row.route);
        let inserted = self.outbox.execute(params![
            report,
            challenge,
            seq,
            kind as i64,
            route,
            is_final,
            until,
            at,
            body
        ])?;
        context.tally.waiting += inserted as i64;
        self.unless_twice(inserted, "outbox", row)
    }

    /// A report that was there already is fine if it is the same one: a commit whose answer was lost.
    fn unless_twice(&self, inserted: usize, table: &str, row: &OutboxRow) -> Result<(), Fault> {
        if inserted > 0 {
            return Ok(());
        }
        let same = self.conn.query_row(
            &format!("SELECT challenge = ? AND seq = ? FROM {table} WHERE report = ?"),
            params![row.challenge, row.seq, row.report],
            |row| row.get(0),
        )?;
        if same { Ok(()) } else { Err(twice("report")) }
    }
}

fn twice(what: &str) -> Fault {
    Fault::Row(format!("the key of a {what} was given twice"))
}

/// A row of the look-up by id.
fn known_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<KnownRow> {
    Ok(KnownRow {
        key: row.get(0)?,
        head: row.get(1)?,
        ended: row.get(2)?,
        last: row.get(3)?,
        rest: row.get(4)?,
    })
}
