//! Whether an id is known, and what is said of one: cancels and feedback, also for a challenge that is still to come.

use rusqlite::{OptionalExtension, params};

use super::{Fault, RowCodec, Statements};
use crate::{
    challenge::{ChallengeKey, Millis},
    ledger::{
        ControlMessage, Known, PendingControl,
        seal::{Lookup, Mac, Part},
        store::sqlite::read::{Head, number_of, open_rest},
    },
};

impl Statements<'_> {
    /// A word for a challenge. One that its asker has given up is not written; nor is it left there by a commit whose
    /// success was not told.
    pub(super) fn word(
        &mut self,
        codec: &mut RowCodec,
        said: &PendingControl,
    ) -> Result<Option<Known>, Fault> {
        if said.claim.as_ref().is_some_and(|claim| !claim.begin()) {
            let mac = codec.ring.mac(Lookup::Id, &said.tenant, &said.id);
            self.not_early
                .execute(params![mac, number_of(said.word), said.until.0])?;
            return Ok(None);
        }
        let known = self.known(codec, &said.tenant, &said.id)?;
        match &known {
            Some(known) if known.ended.is_some() => self.feedback(known.key, said.word)?,
            // It takes effect in memory, and what comes of that is written by itself.
            Some(_) if said.claim.is_none() => {}
            Some(_) | None => self.remember(codec, said)?,
        }
        Ok(known)
    }

    fn remember(&mut self, codec: &mut RowCodec, said: &PendingControl) -> Result<(), Fault> {
        let mac = codec.ring.mac(Lookup::Id, &said.tenant, &said.id);
        let number = codec.ring.number();
        self.early
            .execute(params![mac, number, number_of(said.word), said.until.0])?;
        codec.early = true;
        Ok(())
    }

    fn feedback(&mut self, key: ChallengeKey, word: ControlMessage) -> Result<(), Fault> {
        let verified = match word {
            ControlMessage::Cancel => return Ok(()),
            ControlMessage::Verified => true,
            ControlMessage::NotVerified => false,
        };
        self.feedback.execute(params![verified, key.0])?;
        Ok(())
    }

    fn known(
        &mut self,
        codec: &mut RowCodec,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Known>, Fault> {
        let mac = codec.ring.mac(Lookup::Id, tenant, id);
        match self.known_by(codec, mac)? {
            Some(known) => Ok(Some(known)),
            None => self.known_by_older(codec, tenant, id),
        }
    }

    /// Rows that are not yet sealed anew are found under their own key only.
    pub(super) fn known_by_older(
        &mut self,
        codec: &mut RowCodec,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Known>, Fault> {
        let ring = codec.ring.clone();
        for mac in ring.older_macs(Lookup::Id, tenant, id) {
            if let Some(known) = self.known_by(codec, mac)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    pub(super) fn known_by(
        &mut self,
        codec: &mut RowCodec,
        mac: Mac,
    ) -> Result<Option<Known>, Fault> {
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
        let opener = &mut codec.opener;
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
