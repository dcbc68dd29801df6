//! Sealing for what leaves the ledger's file: the bodies in dead letters. The same keys as the rows, a place of its own.

use super::{
    Ledger,
    seal::{Keyring, Opener, Part, Sealer},
};
use std::sync::Arc;

impl Ledger {
    /// Seals the body of a dead letter. None only where the system gives no randomness.
    pub fn seal_letter(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::new();
        // A sealer of its own draws its own salt, so no nonce of the writer's meets it. Dead letters are few.
        Sealer::new(&self.keyring())
            .and_then(|mut sealer| sealer.seal(Part::DeadLetterMessage, 0, body, &mut sealed))
            .ok()?;
        Some(sealed)
    }

    /// What [`Ledger::seal_letter`] has sealed, while its key is there.
    pub fn open_letter(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        Opener::new(self.keyring())
            .open(Part::DeadLetterMessage, 0, sealed)
            .ok()
    }

    fn keyring(&self) -> Arc<Keyring> {
        self.reader.keyring()
    }
}
