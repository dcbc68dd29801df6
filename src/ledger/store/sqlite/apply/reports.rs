//! Reports: those that wait for the broker, and those that are kept to be asked for by HTTP.

use rusqlite::params;

use super::{Fault, RowCodec, Statements, twice};
use crate::ledger::{OutboxReport, Target, seal::Part, store::sqlite::read};

impl Statements<'_> {
    pub(super) fn report(
        &mut self,
        codec: &mut RowCodec,
        report: &OutboxReport,
    ) -> Result<(), Fault> {
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
                codec
                    .sealer
                    .seal(Part::Kept, key, &report.body, &mut codec.head)?;
                let inserted = self.kept.execute(params![
                    key,
                    report.challenge.0,
                    report.seq,
                    report.is_final,
                    report.until.0,
                    codec.head
                ])?;
                return self.unless_twice(inserted, "kept", report);
            }
        };
        read::join_body(correlation_id, &report.body, &mut codec.plain);
        codec
            .sealer
            .seal(Part::Outbox, key, &codec.plain, &mut codec.head)?;
        codec.plain.fill(0);
        let inserted = self.outbox.execute(params![
            key,
            report.challenge.0,
            report.seq,
            kind,
            &**route,
            report.is_final,
            report.until.0,
            codec.now.0,
            codec.head
        ])?;
        codec.tally.waiting += inserted as i64;
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
