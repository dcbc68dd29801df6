//! Whether an id is known, and what is said of one: control messages, also for a challenge that is still to come.

use rusqlite::{OptionalExtension, params};

use super::{Context, EarlyRow, Fault, Group, KnownRow, Statements, known_row};
use crate::ledger::seal::Mac;

impl Statements<'_> {
    /// A control message for a challenge: what is known of that.
    pub(super) fn early(
        &mut self,
        group: &Group,
        context: &mut Context,
        row: &EarlyRow,
    ) -> Result<Option<KnownRow>, Fault> {
        let known = self.known_by_any([row.id].into_iter().chain(group.macs(row.older)))?;
        match &known {
            Some(known) if known.ended.is_some() => {
                if let Some(verified) = row.verified {
                    self.feedback.execute(params![verified, known.key])?;
                }
            }
            // It takes effect in memory, and what comes of that is written by itself.
            Some(_) if !row.stays => {}
            Some(_) | None => {
                self.early
                    .execute(params![row.id, row.number, row.word, row.until])?;
                context.early = true;
            }
        }
        Ok(known)
    }

    /// The first that is known by one of these.
    pub(super) fn known_by_any(
        &mut self,
        macs: impl Iterator<Item = Mac>,
    ) -> Result<Option<KnownRow>, Fault> {
        for mac in macs {
            if let Some(known) = self.known_by(&mac)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    pub(super) fn known_by(&mut self, mac: &Mac) -> Result<Option<KnownRow>, Fault> {
        Ok(self.known.query_row([mac], known_row).optional()?)
    }

    /// The control message that waits for an id with one of these.
    pub(super) fn waiting(
        &mut self,
        macs: impl Iterator<Item = Mac>,
    ) -> Result<Option<i64>, Fault> {
        for mac in macs {
            let word = self.waits.query_row([mac], |row| row.get(0)).optional()?;
            if word.is_some() {
                return Ok(word);
            }
        }
        Ok(None)
    }
}
