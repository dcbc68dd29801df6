//! Whether an id is known, and what is said of one: cancels and feedback, also for a challenge that is still to come.

use rusqlite::{OptionalExtension, params};

use super::{Desk, Fault, Statements};
use crate::{
    challenge::{ChallengeKey, Millis},
    ledger::{
        EarlyWord, Known, PendingControl,
        read::{Head, number_of, open_rest},
        seal::{Lookup, Mac, Part},
    },
};

impl Statements<'_> {
    /// A word for a challenge. One that its asker has given up is not written; nor is it left there by a commit whose
    /// success was not told.
    pub(super) fn word(
        &mut self,
        desk: &mut Desk,
        said: &PendingControl,
    ) -> Result<Option<Known>, Fault> {
        if said.claim.as_ref().is_some_and(|claim| !claim.begin()) {
            let mac = desk.ring.mac(Lookup::Id, &said.tenant, &said.id);
            self.not_early
                .execute(params![mac, number_of(said.word), said.until.0])?;
            return Ok(None);
        }
        let known = self.known(desk, &said.tenant, &said.id)?;
        match &known {
            Some(known) if known.ended.is_some() => self.feedback(known.key, said.word)?,
            // It takes effect in memory, and what comes of that is written by itself.
            Some(_) if said.claim.is_none() => {}
            Some(_) | None => self.remember(desk, said)?,
        }
        Ok(known)
    }

    fn remember(&mut self, desk: &mut Desk, said: &PendingControl) -> Result<(), Fault> {
        let mac = desk.ring.mac(Lookup::Id, &said.tenant, &said.id);
        let number = desk.ring.number();
        self.early
            .execute(params![mac, number, number_of(said.word), said.until.0])?;
        desk.early = true;
        Ok(())
    }

    fn feedback(&mut self, key: ChallengeKey, word: EarlyWord) -> Result<(), Fault> {
        let verified = match word {
            EarlyWord::Cancel => return Ok(()),
            EarlyWord::Verified => true,
            EarlyWord::NotVerified => false,
        };
        self.feedback.execute(params![verified, key.0])?;
        Ok(())
    }

    fn known(&mut self, desk: &mut Desk, tenant: &str, id: &str) -> Result<Option<Known>, Fault> {
        let mac = desk.ring.mac(Lookup::Id, tenant, id);
        match self.known_by(desk, mac)? {
            Some(known) => Ok(Some(known)),
            None => self.known_by_older(desk, tenant, id),
        }
    }

    /// Rows that are not yet sealed anew are found under their own key only.
    pub(super) fn known_by_older(
        &mut self,
        desk: &mut Desk,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Known>, Fault> {
        let ring = desk.ring.clone();
        for mac in ring.older_macs(Lookup::Id, tenant, id) {
            if let Some(known) = self.known_by(desk, mac)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    pub(super) fn known_by(&mut self, desk: &mut Desk, mac: Mac) -> Result<Option<Known>, Fault> {
        let row = self
            .known
            .query_row([mac], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, Vec<u8>>(1)?,
                    row.get::<_, Option<i64>>(2)?,
                    row.get::<_, Option<Vec<u8>>>(3)?,
                    row.get::<_, Option<Vec<u8>>>(4)?,
                ))
            })
            .optional()?;
        let Some((key, head, ended, last, rest)) = row else {
            return Ok(None);
        };
        let opener = &mut desk.opener;
        let head = Head::parse(&opener.open(Part::Head, key, &head)?)
            .map_err(|error| Fault::Op(error.to_string()))?;
        let last = match rest {
            Some(rest) => Some(open_rest(opener, key, &rest)?.last).filter(|last| !last.is_empty()),
            None => last
                .map(|sealed| opener.open(Part::Last, key, &sealed))
                .transpose()?,
        };
        Ok(Some(Known {
            key: ChallengeKey(key),
            content: head.content,
            ended: ended.map(Millis),
            last,
        }))
    }
}
