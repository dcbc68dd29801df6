//! Sealing for what leaves the ledger's file: the bodies in dead letters. The same keys as the rows, a place of its own.

use std::sync::Arc;

use super::{
    Ledger, OpenError, keys,
    seal::{Keyring, Opener, Part, Sealer, Unsealable},
    store::{postgres, sqlite},
};
use crate::config::settings::LedgerSettings;

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

    fn keyring(&self) -> Arc<Keyring> {
        self.reader.keyring()
    }
}

/// Opens what [`Ledger::seal_letter`] has sealed, also beside a running gateway: of the ledger it only reads which keys have
/// sealed there.
pub struct LetterOpener(Opener);

impl LetterOpener {
    /// An error where the ledger can't be read, is not there, or a key of it is missing.
    pub fn of(settings: &LedgerSettings) -> Result<LetterOpener, OpenError> {
        let known = match settings.database() {
            None => sqlite::check::known_keys(settings.path())?,
            Some(url) => postgres::status::known_keys(settings, &url?)?,
        };
        let ring = keys::judge(&known, settings.path(), &settings.keys)?;
        let ring = ring.ok_or_else(|| OpenError::NothingSealed(settings.name().to_path_buf()))?;
        Ok(LetterOpener(Opener::new(Arc::new(ring))))
    }

    /// The body as it came; an error where another ledger has sealed it, or it has been changed.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        self.0.open(Part::DeadLetterMessage, 0, sealed)
    }
}
