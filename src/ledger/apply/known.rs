//! Whether an id is known, and what is said of one: cancels and feedback, also for a challenge that is still to come.

use rusqlite::{OptionalExtension, params};

use super::{Desk, Fault, Statements};
use crate::{
    challenge::{ChallengeKey, Millis},
    ledger::{
        EarlyWord, Known,
        read::{Head, number_of, open_rest},
        seal::{Lookup, Mac, Part},
    },
};

impl Statements<'_> {
    /// A word for an id that isn't open: told to the challenge if it is known, kept for it until then if not.
    pub(super) fn word(
        &mut self,
        desk: &mut Desk,
        tenant: &str,
        id: &str,
        word: EarlyWord,
        until: Millis,
    ) -> Result<Option<Known>, Fault> {
        if let Some(known) = self.known(desk, tenant, id)? {
            if known.ended.is_some() {
                self.feedback(known.key, word)?;
            }
            return Ok(Some(known));
        }
        let mac = desk.ring.mac(Lookup::Id, tenant, id);
        let number = desk.ring.number();
        self.early
            .execute(params![mac, number, number_of(word), until.0])?;
        desk.early = true;
        Ok(None)
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
