//! What sealed records hold once they are open, and how it is written: shared by whoever writes and whoever reads.

use std::sync::Arc;

use super::{
    ControlMessage, ReadError,
    pack::{self, Rest},
    seal::{Keyring, Lookup, Mac, Opener, Part, Unsealable},
};
use crate::number::written::Tail;

/// What of a challenge outlives its wiping: whose it was, and what it said, for "the same again".
pub(super) struct Head {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub content: [u8; 32],
}

impl Head {
    /// `content (32) | length of tenant (4) | tenant | id`
    pub fn write(tenant: &str, id: &str, content: &[u8; 32], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(content);
        out.extend_from_slice(&(tenant.len() as u32).to_le_bytes());
        out.extend_from_slice(tenant.as_bytes());
        out.extend_from_slice(id.as_bytes());
    }

    pub fn parse(plain: &[u8]) -> Result<Head, Unsealable> {
        let read = || {
            let (content, rest) = plain.split_first_chunk::<32>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (tenant, id) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Some(Head {
                tenant: std::str::from_utf8(tenant).ok()?.into(),
                id: std::str::from_utf8(id).ok()?.into(),
                content: *content,
            })
        };
        read().ok_or(Unsealable::Changed)
    }
}

/// What is left of a wiped challenge.
pub(super) fn open_rest(opener: &mut Opener, key: i64, sealed: &[u8]) -> Result<Rest, Unsealable> {
    pack::unpack(&opener.open(Part::Rest, key, sealed)?)
}

/// `length of correlation id (4, all ones: none) | correlation id | body`
pub(super) fn join_body(correlation_id: Option<&str>, body: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let length = correlation_id.map_or(u32::MAX, |c| c.len() as u32);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(correlation_id.unwrap_or_default().as_bytes());
    out.extend_from_slice(body);
}

pub(super) fn split_body(plain: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (length, rest) = plain.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*length) {
        u32::MAX => Some((None, rest)),
        length => {
            let (correlation_id, body) = rest.split_at_checked(length as usize)?;
            Some((Some(std::str::from_utf8(correlation_id).ok()?), body))
        }
    }
}

/// The look-up's HMACs under every key, the sealing one first.
pub(super) fn macs<'a>(
    ring: &'a Keyring,
    lookup: Lookup,
    first: &'a str,
    second: &'a str,
) -> impl Iterator<Item = Mac> + 'a {
    std::iter::once(ring.mac(lookup, first, second)).chain(ring.older_macs(lookup, first, second))
}

/// The last digits of a phone under the sealing key: four octets, since they only tell apart what shares a reference.
pub(super) fn phone_mac(ring: &Keyring, carrier: &str, phone: Tail) -> i64 {
    short(ring.mac(Lookup::Phone, carrier, &phone.value().to_string()))
}

/// The same under every key.
pub(super) fn phone_macs(ring: &Keyring, carrier: &str, phone: Tail) -> Vec<i64> {
    macs(ring, Lookup::Phone, carrier, &phone.value().to_string())
        .map(short)
        .collect()
}

fn short(mac: Mac) -> i64 {
    i64::from(u32::from_le_bytes([mac[0], mac[1], mac[2], mac[3]]))
}

pub(super) fn number_of(word: ControlMessage) -> i64 {
    match word {
        ControlMessage::Cancel => 0,
        ControlMessage::Verified => 1,
        ControlMessage::NotVerified => 2,
    }
}

pub(super) fn word_of(number: i64) -> Option<ControlMessage> {
    match number {
        0 => Some(ControlMessage::Cancel),
        1 => Some(ControlMessage::Verified),
        2 => Some(ControlMessage::NotVerified),
        _ => None,
    }
}

/// What it says of a challenge that has ended.
pub(super) fn verified_by(word: ControlMessage) -> Option<bool> {
    match word {
        ControlMessage::Cancel => None,
        ControlMessage::Verified => Some(true),
        ControlMessage::NotVerified => Some(false),
    }
}

/// Octets of a row that are a name of ours, as it was given.
pub(super) fn name_of(octets: Vec<u8>) -> Result<Arc<str>, ReadError> {
    String::from_utf8(octets)
        .map(Arc::from)
        .map_err(|_| ReadError::Sealed)
}

impl From<Unsealable> for ReadError {
    fn from(error: Unsealable) -> ReadError {
        match error {
            Unsealable::Changed => ReadError::Sealed,
            Unsealable::Version(version) => ReadError::Version(version),
        }
    }
}
