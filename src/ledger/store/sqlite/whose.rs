//! Whose is a receipt for which nobody open is known?

use super::{Candidates, ReadError, Referred, Stored, Whose, read::Reader};

/// Most challenges that are read for one receipt: a carrier that gives more of them one reference has none.
const CANDIDATES: usize = 8;

impl Reader {
    /// Whom a receipt may mean: by its references, else by the phone.
    pub fn whose(&self, whose: &Whose) -> Result<Candidates, ReadError> {
        let (place, referred) =
            self.find_references(&whose.carrier, &whose.forms, &whose.phones)?;
        let mut found = Candidates {
            literal: place < whose.literal,
            by_reference: self.candidates(&referred)?,
            by_phone: Vec::new(),
        };
        if found.by_reference.is_empty() {
            for form in &whose.unreferenced {
                let forms = std::slice::from_ref(form);
                let (_, referred) = self.find_references(&whose.carrier, forms, &[])?;
                found.by_phone.extend(self.candidates(&referred)?);
            }
        }
        Ok(found)
    }

    fn candidates(&self, referred: &[Referred]) -> Result<Vec<(Referred, Stored)>, ReadError> {
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
        Ok(candidates)
    }
}
