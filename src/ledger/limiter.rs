//! The limiter's memory: which challenges count, and in which windows, for as long as the rows of challenges are kept.
//!
//! What a challenge counts in (a number, a person, a tenant) is written as hashes under a secret that is drawn once for
//! the store and sealed in it, so that it outlives the wiping of the number itself, a restart and a change of the keys.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::{
    OpenError,
    seal::{Keyring, Opener, Part, Sealer, Unsealable, key_number},
    store::{Store, StoreError},
};
use crate::admission::LimitKeys;

/// What the hashes are made with.
pub(super) type Secret = [u8; 32];

/// The store's own secret: made where it is missing, sealed again where another key than the first has sealed it.
pub(super) fn secret(
    store: &mut dyn Store,
    ring: &Arc<Keyring>,
    failed: impl Fn(StoreError) -> OpenError,
) -> Result<Secret, OpenError> {
    let sealed = store.secret(NAME).map_err(&failed)?;
    let secret = match &sealed {
        Some(sealed) => open(sealed, ring)?,
        None => {
            let mut made = Secret::default();
            SystemRandom::new()
                .fill(&mut made)
                .map_err(|_| unusable(Unsealable::Changed))?;
            made
        }
    };
    if sealed.and_then(|sealed| key_number(&sealed)) != Some(ring.number()) {
        let mut out = Vec::new();
        Sealer::new(ring)
            .and_then(|mut sealer| sealer.seal(Part::Secret, ROW, &secret, &mut out))
            .map_err(unusable)?;
        store.put_secret(NAME, &out).map_err(failed)?;
    }
    Ok(secret)
}

/// As it was sealed.
pub(super) fn open(sealed: &[u8], ring: &Arc<Keyring>) -> Result<Secret, OpenError> {
    let opened = Opener::new(ring.clone()).open(Part::Secret, ROW, sealed);
    let secret = opened.and_then(|plain| plain.try_into().map_err(|_| Unsealable::Changed));
    secret.map_err(unusable)
}

fn unusable(error: Unsealable) -> OpenError {
    OpenError::Key {
        id: NAME.into(),
        reason: error.to_string(),
    }
}

/// As the row holds them: eight octets for each kind of window.
pub(super) fn write(keys: &LimitKeys) -> [u8; WIDTH] {
    let mut out = [0; WIDTH];
    for (octets, key) in out.chunks_exact_mut(8).zip(keys) {
        octets.copy_from_slice(&key.to_le_bytes());
    }
    out
}

/// None: not written by us.
pub(super) fn read(octets: &[u8]) -> Option<LimitKeys> {
    let mut keys = LimitKeys::default();
    if octets.len() != WIDTH {
        return None;
    }
    for (key, octets) in keys.iter_mut().zip(octets.chunks_exact(8)) {
        *key = u64::from_le_bytes(octets.try_into().ok()?);
    }
    Some(keys)
}

/// By which a store knows the secret.
pub(super) const NAME: &str = "limiter";
const ROW: i64 = 1;
const WIDTH: usize = size_of::<LimitKeys>();
