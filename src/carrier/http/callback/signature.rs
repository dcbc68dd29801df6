//! The signature of a callback: `X-Ringback-Signature: t=<unix>,v1=<hex>`, HMAC-SHA256 with any of the carrier's keys
//! over `t`, a dot and the raw body, within five minutes. Compared in constant time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::HeaderMap;
use ring::hmac;

use crate::{challenge::Millis, config::carrier::Secret};

pub const NAME: &str = "x-ringback-signature";
/// How far the signature's time may be from ours.
const SKEW: Duration = Duration::from_secs(300);
/// Keys are read again no sooner than this.
const KEY_LIFE: Duration = Duration::from_secs(1);
/// MACs of one header that are looked at.
const MAX_MACS: usize = 8;
/// Headers of the name that are looked at.
const MAX_HEADERS: usize = 4;
/// A refusal is the work of at least so many keys, so that its time doesn't tell a carrier's number of keys, or that
/// there is none.
const LEAST_KEYS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Good,
    Missing,
    Wrong,
    TooOld,
    NoKeys,
}

/// A carrier's keys as they were read last.
#[derive(Default)]
pub struct Signatures {
    carrier: Arc<str>,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    read: Option<Instant>,
    keys: Arc<[hmac::Key]>,
}

/// One header.
struct Signature<'a> {
    time: &'a str,
    at: Millis,
    macs: Vec<Vec<u8>>,
}

impl Signatures {
    pub fn new(carrier: Arc<str>) -> Signatures {
        Signatures {
            carrier,
            keys: Mutex::default(),
        }
    }

    pub fn check(
        &self,
        secrets: &[Secret],
        headers: &HeaderMap,
        body: &[u8],
        now: Millis,
    ) -> Signed {
        let known = self.known();
        let mut signed = check(&known, headers, body, now);
        let mut count = known.len();
        // A key may have been rotated since.
        if is_nobodys(signed)
            && let Some(read) = self.read_again(secrets)
        {
            signed = check(&read, headers, body, now);
            count = read.len();
        }
        if is_nobodys(signed) {
            let nobody = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
            let missing = vec![nobody; LEAST_KEYS.saturating_sub(count)];
            find(&missing, &given(headers), body);
        }
        signed
    }

    fn known(&self) -> Arc<[hmac::Key]> {
        // Nothing panics while it is held.
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.keys.clone()
    }

    /// None: they were read a moment ago.
    fn read_again(&self, secrets: &[Secret]) -> Option<Arc<[hmac::Key]>> {
        {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if keys.read.is_some_and(|read| read.elapsed() < KEY_LIFE) {
                return None;
            }
            keys.read = Some(Instant::now());
        }
        let mut read = Vec::with_capacity(secrets.len());
        for secret in secrets {
            match secret.read() {
                Ok(text) if !text.is_empty() => {
                    read.push(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()));
                }
                Ok(_) => tracing::warn!(carrier = %self.carrier, "a key of callback.keys is empty"),
                Err(reason) => {
                    tracing::warn!(carrier = %self.carrier, %reason, "a key of callback.keys can't be read")
                }
            }
        }
        let read: Arc<[hmac::Key]> = read.into();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.keys = read.clone();
        Some(read)
    }
}

/// What the signature is by these keys.
pub fn check(keys: &[hmac::Key], headers: &HeaderMap, body: &[u8], now: Millis) -> Signed {
    let given = given(headers);
    if given.is_empty() {
        return Signed::Missing;
    }
    match find(keys, &given, body) {
        Some(signature) if near(signature.at, now) => Signed::Good,
        Some(_) => Signed::TooOld,
        None if keys.is_empty() => Signed::NoKeys,
        None => Signed::Wrong,
    }
}

/// None of the keys has made it.
fn is_nobodys(signed: Signed) -> bool {
    match signed {
        Signed::Wrong | Signed::NoKeys => true,
        Signed::Good | Signed::Missing | Signed::TooOld => false,
    }
}

fn given(headers: &HeaderMap) -> Vec<Signature<'_>> {
    let given = headers.get_all(NAME).iter().take(MAX_HEADERS);
    given
        .filter_map(|value| parse(value.to_str().ok()?))
        .collect()
}

fn parse(text: &str) -> Option<Signature<'_>> {
    let mut time = None;
    let mut macs = Vec::new();
    for part in text.split(',') {
        match part.trim().split_once('=') {
            Some(("t", text)) => time = Some(text),
            Some(("v1", text)) if macs.len() < MAX_MACS => macs.extend(hex::decode(text)),
            Some(_) | None => {}
        }
    }
    let time = time?;
    let seconds = time.parse::<i64>().ok()?;
    (!macs.is_empty()).then_some(Signature {
        time,
        at: Millis(seconds.saturating_mul(1_000)),
        macs,
    })
}

/// The signature that one of the keys has made.
fn find<'g, 't>(
    keys: &[hmac::Key],
    given: &'g [Signature<'t>],
    body: &[u8],
) -> Option<&'g Signature<'t>> {
    given.iter().find(|signature| {
        let message = [signature.time.as_bytes(), b".", body].concat();
        keys.iter().any(|key| {
            let mut macs = signature.macs.iter();
            macs.any(|mac| hmac::verify(key, &message, mac).is_ok())
        })
    })
}

fn near(at: Millis, now: Millis) -> bool {
    at.since(now) <= SKEW && now.since(at) <= SKEW
}
