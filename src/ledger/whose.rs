//! Whose is a receipt for which nobody open is known?

use super::{ReadError, Referred, Stored, Whose, read::Reader};

/// Most challenges that are read for one receipt: a carrier that gives more of them one reference has none.
const CANDIDATES: usize = 8;

impl Reader {
    /// Whom a receipt may mean, with what is kept of each, and whether by a reference as the receipt writes it.
    pub fn whose(&self, whose: &Whose) -> Result<(bool, Vec<(Referred, Stored)>), ReadError> {
        let (place, referred) =
            self.find_references(&whose.carrier, &whose.forms, &whose.phones)?;
        let mut candidates = Vec::new();
        let others = referred.iter().filter(|r| r.same_phone != Some(false));
        for referred in others.take(CANDIDATES) {
            match self.get(referred.key.challenge) {
                Ok(Some(stored)) => candidates.push((*referred, stored)),
                // Deleted, or it can't be opened, which has been said where it was noticed.
                Ok(None) | Err(ReadError::Sealed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((place < whose.literal, candidates))
    }
}
