//! The limiter's memory: which challenges count, and in which windows, for as long as the rows of challenges are kept.
//!
//! What a challenge counts in (a number, a person, a tenant) is written as hashes under a secret that is drawn once for
//! the store and sealed in it, so that it outlives the wiping of the number itself, a restart and a change of the keys.

use std::sync::Arc;

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use super::{
    OpenError,
    seal::{Keyring, Opener, Part, Sealer, Unsealable},
};
use crate::{admission::LimitKeys, challenge::Millis};

/// What the hashes are made with.
pub(super) type Secret = [u8; 32];

/// For a store that has none.
pub(super) fn made() -> Result<Secret, OpenError> {
    let mut made = Secret::default();
    let filled = SystemRandom::new().fill(&mut made);
    filled.map_err(|_| unusable(Unsealable::Changed))?;
    Ok(made)
}

/// Tells one store from another, and nothing of the secret.
pub(super) fn mark(secret: &Secret) -> Arc<str> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mark = hmac::sign(&key, b"the ledger's mark");
    hex::encode(&mark.as_ref()[..8]).into()
}

pub(super) fn seal(secret: &Secret, ring: &Arc<Keyring>) -> Result<Vec<u8>, OpenError> {
    let mut out = Vec::new();
    Sealer::new(ring)
        .and_then(|mut sealer| sealer.seal(Part::Secret, ROW, secret, &mut out))
        .map_err(unusable)?;
    Ok(out)
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

/// The arrivals of a window, as a row holds them.
pub(super) fn write_arrivals(arrivals: &[Millis]) -> Vec<u8> {
    let octets = arrivals.iter().map(|at| at.0.to_be_bytes());
    octets.flatten().collect()
}

pub(super) fn arrivals(octets: &[u8]) -> Vec<Millis> {
    let each = octets.chunks_exact(8);
    let each = each.filter_map(|octets| octets.try_into().ok());
    each.map(|octets| Millis(i64::from_be_bytes(octets)))
        .collect()
}

/// By which a store knows the secret.
pub(super) const NAME: &str = "limiter";
const ROW: i64 = 1;
const WIDTH: usize = size_of::<LimitKeys>();
