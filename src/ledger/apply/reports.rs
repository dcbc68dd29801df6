//! Reports: those that wait for the broker, and those that are kept to be asked for by HTTP.

use rusqlite::params;

use super::{Desk, Fault, Statements, twice};
use crate::ledger::{OutboxReport, Target, read, seal::Part};

impl Statements<'_> {
    pub(super) fn report(&mut self, desk: &mut Desk, report: &OutboxReport) -> Result<(), Fault> {
        let key = report.report.0;
        let (kind, route, correlation_id) = match &report.target {
            Target::ReplyTo {
                queue,
                correlation_id,
            } => (read::KIND_REPLY_TO, queue, correlation_id.as_deref()),
            Target::Exchange {
                routing_key,
                mandatory: false,
            } => (read::KIND_EXCHANGE, routing_key, None),
            Target::Exchange {
                routing_key,
                mandatory: true,
            } => (read::KIND_MANDATORY, routing_key, None),
            Target::Http => {
                desk.sealer
                    .seal(Part::Kept, key, &report.body, &mut desk.head)?;
                let inserted = self.kept.execute(params![
                    key,
                    report.challenge.0,
                    report.seq,
                    report.is_final,
                    report.until.0,
                    desk.head
                ])?;
                return self.unless_twice(inserted, "kept", report);
            }
        };
        read::join_body(correlation_id, &report.body, &mut desk.plain);
        desk.sealer
            .seal(Part::Outbox, key, &desk.plain, &mut desk.head)?;
        desk.plain.fill(0);
        let inserted = self.outbox.execute(params![
            key,
            report.challenge.0,
            report.seq,
            kind,
            &**route,
            report.is_final,
            report.until.0,
            desk.now.0,
            desk.head
        ])?;
        desk.tally.waiting += inserted as i64;
        self.unless_twice(inserted, "outbox", report)
    }

    /// A report that was there already is fine if it is the same one: a commit whose success was not told.
    fn unless_twice(
        &self,
        inserted: usize,
        table: &str,
        report: &OutboxReport,
    ) -> Result<(), Fault> {
        if inserted > 0 {
            return Ok(());
        }
        let same = self.conn.query_row(
            &format!("SELECT challenge = ? AND seq = ? FROM {table} WHERE report = ?"),
            params![report.challenge.0, report.seq, report.report.0],
            |row| row.get(0),
        )?;
        if same { Ok(()) } else { Err(twice("report")) }
    }
}
