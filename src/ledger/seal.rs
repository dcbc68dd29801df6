//! Sealing: how personal data lies in the ledger's file, and how it is found again without being readable.
//!
//! A sealed record is `version (1) | key number (2) | salt (16) | counter (8) | ciphertext | tag (16)`. The key that
//! seals is derived (HKDF-SHA-256) from the master key and a salt that is drawn anew at each start, so that the nonce
//! may simply count: a restored backup draws another salt and never meets its own nonces again. The associated data
//! names table, column and row, so that records can't be moved about. The version is of the sealing and of what is sealed:
//! a part that changes so that an older ringback would misread it is written under another one, and a record of a version
//! that is not known is refused and left as it is. Look-ups go by HMAC-SHA-256 (128 bits of it)
//! under a further derived key. Knows no SQL and no file.

use std::{collections::HashMap, fmt, sync::Arc};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};

/// What a record is: part of the associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    Head = 1,
    Job = 2,
    Life = 3,
    Last = 4,
    Outbox = 5,
    Kept = 6,
    /// The body of a dead letter, which leaves the ledger's file.
    DeadLetterMessage = 7,
    Call = 8,
    Inbox = 9,
    /// What is left of a wiped challenge, packed.
    Rest = 10,
    EndedChallenge = 11,
    Secret = 16,
}

/// What is looked up: keeps the kinds of HMAC apart.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Lookup {
    /// (tenant, id)
    Id = 1,
    /// (carrier, reference)
    Reference = 2,
    /// (carrier, last digits of a phone)
    Phone = 3,
}

pub(super) type Mac = [u8; MAC];

/// A sealed record.
pub(super) type Sealed = Vec<u8>;

/// One master key and what is derived from it.
#[derive(Clone)]
pub(super) struct Master {
    pub id: Arc<str>,
    /// Tells keys apart without telling anything of them; stands in the file in clear.
    pub fingerprint: [u8; 8],
    secret: [u8; 32],
    index: hmac::Key,
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.id)
    }
}

impl Master {
    pub fn new(id: Arc<str>, secret: [u8; 32]) -> Result<Master, Unsealable> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ringback ledger 1").extract(&secret);
        let mut fingerprint = [0; 8];
        prk.expand(&[b"fingerprint"], Octets(8))
            .and_then(|okm| okm.fill(&mut fingerprint))
            .map_err(|_| Unsealable::Changed)?;
        let index = prk
            .expand(&[b"index"], hmac::HMAC_SHA256)
            .map_err(|_| Unsealable::Changed)?
            .into();
        Ok(Master {
            id,
            fingerprint,
            secret,
            index,
        })
    }

    fn sealing(&self, salt: &[u8; SALT]) -> Result<LessSafeKey, Unsealable> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.secret);
        let key: UnboundKey = prk
            .expand(&[b"ringback ledger 1 seal"], &AES_256_GCM)
            .map_err(|_| Unsealable::Changed)?
            .into();
        Ok(LessSafeKey::new(key))
    }

    fn mac(&self, lookup: Lookup, first: &str, second: &str) -> Mac {
        let mut context = hmac::Context::with_key(&self.index);
        context.update(&[lookup as u8]);
        context.update(&(first.len() as u64).to_le_bytes());
        context.update(first.as_bytes());
        context.update(second.as_bytes());
        let mut mac = [0; MAC];
        mac.copy_from_slice(&context.sign().as_ref()[..MAC]);
        mac
    }
}

/// The master keys with the numbers under which the file knows them; the first seals. Never empty.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    first: (u16, Master),
    others: Vec<(u16, Master)>,
}

impl Keyring {
    pub fn new(first: (u16, Master), others: Vec<(u16, Master)>) -> Keyring {
        Keyring { first, others }
    }

    /// The number of the key that seals.
    pub fn number(&self) -> u16 {
        self.first.0
    }

    pub fn mac(&self, lookup: Lookup, first: &str, second: &str) -> Mac {
        self.first.1.mac(lookup, first, second)
    }

    /// The same under the keys that only open, for rows not yet sealed anew.
    pub fn older_macs<'a>(
        &'a self,
        lookup: Lookup,
        first: &'a str,
        second: &'a str,
    ) -> impl Iterator<Item = Mac> + 'a {
        self.others
            .iter()
            .map(move |(_, master)| master.mac(lookup, first, second))
    }

    fn master(&self, number: u16) -> Option<&Master> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .find(|(n, _)| *n == number)
            .map(|(_, master)| master)
    }
}

/// Opens records; keeps the derived keys it has met.
pub(super) struct Opener {
    pub ring: Arc<Keyring>,
    met: HashMap<(u16, [u8; SALT]), LessSafeKey>,
}

impl Opener {
    pub fn new(ring: Arc<Keyring>) -> Opener {
        Opener {
            ring,
            met: HashMap::new(),
        }
    }

    pub fn open(&mut self, part: Part, row: i64, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        if let Some(&version) = sealed.first().filter(|version| **version != VERSION) {
            return Err(Unsealable::Version(version));
        }
        let number = key_number(sealed).ok_or(Unsealable::Changed)?;
        let salt: [u8; SALT] = sealed[3..3 + SALT]
            .try_into()
            .map_err(|_| Unsealable::Changed)?;
        let nonce = nonce(
            sealed[3 + SALT..HEADER]
                .try_into()
                .map_err(|_| Unsealable::Changed)?,
        );
        if !self.met.contains_key(&(number, salt)) {
            if self.met.len() >= DERIVED {
                self.met.clear();
            }
            let master = self.ring.master(number).ok_or(Unsealable::Changed)?;
            self.met.insert((number, salt), master.sealing(&salt)?);
        }
        let key = self.met.get(&(number, salt)).ok_or(Unsealable::Changed)?;
        let mut plain = sealed[HEADER..].to_vec();
        let length = key
            .open_in_place(nonce, Aad::from(associated(part, row)), &mut plain)
            .map_err(|_| Unsealable::Changed)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Seals; there is one in a process, the writer's.
pub(super) struct Sealer {
    key: LessSafeKey,
    number: u16,
    salt: [u8; SALT],
    counter: u64,
}

impl Sealer {
    pub fn new(ring: &Keyring) -> Result<Sealer, Unsealable> {
        let mut salt = [0; SALT];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| Unsealable::Changed)?;
        Ok(Sealer {
            key: ring.first.1.sealing(&salt)?,
            number: ring.first.0,
            salt,
            counter: 0,
        })
    }

    /// Seals `plain` into `out`, which is emptied first.
    pub fn seal(
        &mut self,
        part: Part,
        row: i64,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unsealable> {
        out.clear();
        self.seal_onto(part, row, plain, out)
    }

    /// Seals `plain` behind what stands in `out`.
    pub fn seal_onto(
        &mut self,
        part: Part,
        row: i64,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unsealable> {
        self.counter = self.counter.checked_add(1).ok_or(Unsealable::Changed)?;
        let counter = self.counter.to_le_bytes();
        let sealed = out.len() + HEADER;
        out.reserve(HEADER + plain.len() + TAG);
        out.push(VERSION);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&counter);
        out.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                nonce(counter),
                Aad::from(associated(part, row)),
                &mut out[sealed..],
            )
            .map_err(|_| Unsealable::Changed)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// The number of the key that sealed a record; None where it is no record.
pub(super) fn key_number(sealed: &[u8]) -> Option<u16> {
    if sealed.len() < HEADER + TAG || sealed[0] != VERSION {
        return None;
    }
    Some(u16::from_le_bytes([sealed[1], sealed[2]]))
}

/// Why a record can't be opened, or not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealable {
    /// Also: too long to seal.
    #[error("a sealed record can't be opened: it was changed, or its key is missing")]
    Changed,
    /// It stays as it is.
    #[error(
        "a sealed record is of version {0}, which this ringback does not know; run the one that wrote it"
    )]
    Version(u8),
}

struct Octets(usize);

impl hkdf::KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

fn associated(part: Part, row: i64) -> [u8; 9] {
    let mut aad = [part as u8; 9];
    aad[1..].copy_from_slice(&row.to_le_bytes());
    aad
}

fn nonce(counter: [u8; 8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(nonce)
}

const VERSION: u8 = 1;
const SALT: usize = 16;
const HEADER: usize = 1 + 2 + SALT + 8;
const TAG: usize = 16;
const MAC: usize = 16;
/// Bound of derived keys kept: one per start of the process that still has rows.
const DERIVED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(numbers: &[u16]) -> Keyring {
        let master = |n: u16| (n, Master::new("k".into(), [n as u8; 32]).unwrap());
        Keyring::new(
            master(numbers[0]),
            numbers[1..].iter().map(|n| master(*n)).collect(),
        )
    }

    fn sealed(ring: &Keyring, part: Part, row: i64, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![9; 3];
        Sealer::new(ring)
            .unwrap()
            .seal(part, row, plain, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_place() {
        let ring = ring(&[1]);
        let record = sealed(&ring, Part::Job, 7, b"+14255550100");
        let mut opener = Opener::new(Arc::new(ring));
        assert_eq!(opener.open(Part::Job, 7, &record).unwrap(), b"+14255550100");
        let changed = Err(Unsealable::Changed);
        assert_eq!(opener.open(Part::Job, 8, &record), changed);
        assert_eq!(opener.open(Part::Life, 7, &record), changed);
        for place in 0..record.len() {
            let mut bent = record.clone();
            bent[place] ^= 1;
            assert!(opener.open(Part::Job, 7, &bent).is_err(), "{place}");
            assert_eq!(opener.open(Part::Job, 7, &record[..place]), changed);
        }
        let mut later = record;
        later[0] = 2;
        let unknown = Err(Unsealable::Version(2));
        assert_eq!(opener.open(Part::Job, 7, &later), unknown);
    }

    #[test]
    fn an_old_key_opens_and_another_does_not() {
        let record = sealed(&ring(&[1]), Part::Last, 1, b"x");
        assert_eq!(key_number(&record), Some(1));
        assert!(
            Opener::new(Arc::new(ring(&[2, 1])))
                .open(Part::Last, 1, &record)
                .is_ok()
        );
        assert!(
            Opener::new(Arc::new(ring(&[2])))
                .open(Part::Last, 1, &record)
                .is_err()
        );
    }

    #[test]
    fn nonces_and_salts_never_repeat() {
        let ring = ring(&[1]);
        let mut sealer = Sealer::new(&ring).unwrap();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        sealer.seal(Part::Job, 1, b"same", &mut a).unwrap();
        sealer.seal(Part::Job, 1, b"same", &mut b).unwrap();
        assert_ne!(a, b);
        assert_ne!(a[..19], sealed(&ring, Part::Job, 1, b"same")[..19]);
    }

    #[test]
    fn a_mac_keeps_its_parts_apart() {
        let ring = ring(&[1, 2]);
        let mac = ring.mac(Lookup::Id, "ab", "c");
        assert_ne!(mac, ring.mac(Lookup::Id, "a", "bc"));
        assert_ne!(mac, ring.mac(Lookup::Reference, "ab", "c"));
        assert_ne!(Some(mac), ring.older_macs(Lookup::Id, "ab", "c").next());
    }
}
