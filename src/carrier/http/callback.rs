//! What an HTTP carrier calls back with: receipts and texts from phones, signed.
//!
//! The signature is checked before anything is read: `X-Ringback-Signature: t=<unix>,v1=<hex>`, HMAC-SHA256 with any
//! of the carrier's keys over `t`, a dot and the raw body, within five minutes. A repeat is answered like the first
//! and counted once. May not log a body.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::HeaderMap;
use ring::{digest, hmac};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::answer::word;
use crate::{
    carrier::{Cause, Inbound, Incoming, Receipt, ReceiptState, Said, Slip, What},
    challenge::Millis,
    config::carrier::{CarrierConfig, HttpCallback},
};

/// A longer body is refused (413).
pub const MAX_BODY: usize = 64 * 1024;
/// How far the signature's time may be from ours.
const SKEW: Duration = Duration::from_secs(300);
/// Bodies remembered, to tell repeats.
const MAX_SEEN: usize = 32_768;
/// How long dispatch and the ledger may be behind before the carrier is asked to come again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Keys are read again no sooner than this.
const KEY_LIFE: Duration = Duration::from_secs(1);
pub const SIGNATURE: &str = "x-ringback-signature";

/// The HTTP status to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackAnswer {
    pub status: u16,
}

/// The callbacks of one carrier. Cheap to clone.
#[derive(Clone)]
pub struct CallbackHandle(Arc<Desk>);

struct Desk {
    config: Arc<CarrierConfig>,
    callback: Option<HttpCallback>,
    said: mpsc::Sender<Said>,
    keys: Mutex<Keys>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Keys {
    read: Option<Instant>,
    keys: Vec<hmac::Key>,
}

#[derive(Default)]
struct Seen {
    /// By their marks; true: taken for good.
    bodies: HashMap<[u8; 32], bool>,
    order: VecDeque<[u8; 32]>,
}

/// What is known of a body.
#[derive(Debug, PartialEq, Eq)]
enum Memory {
    New,
    Known,
    /// It came a moment ago and is not yet safe.
    Waiting,
}

impl CallbackHandle {
    pub fn new(
        config: Arc<CarrierConfig>,
        callback: Option<HttpCallback>,
        said: mpsc::Sender<Said>,
    ) -> CallbackHandle {
        CallbackHandle(Arc::new(Desk {
            config,
            callback,
            said,
            keys: Mutex::default(),
            seen: Mutex::default(),
        }))
    }

    /// 200 taken (or a repeat) · 400 not understood · 401 signature · 404 no callbacks here · 413 too long ·
    /// 503 come again.
    pub async fn receive(&self, headers: &HeaderMap, body: &[u8], now: Millis) -> CallbackAnswer {
        CallbackAnswer {
            status: self.0.receive(headers, body, now).await,
        }
    }
}

impl Desk {
    async fn receive(&self, headers: &HeaderMap, body: &[u8], now: Millis) -> u16 {
        let Some(callback) = &self.callback else {
            return 404;
        };
        if body.len() > MAX_BODY {
            return 413;
        }
        let signed = headers
            .get_all(SIGNATURE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        if !signed
            .into_iter()
            .any(|signature| self.signed(callback, signature, body, now))
        {
            return 401;
        }
        let Some(incoming) = serde_json::from_slice(body)
            .ok()
            .and_then(|value| read(callback, &self.config, &value))
        else {
            return 400;
        };
        let mark = mark(body);
        match self.seen().remember(mark) {
            Memory::New => {}
            Memory::Known => return 200,
            Memory::Waiting => return 503,
        }
        let taken = tokio::time::timeout(PATIENCE, self.hand_over(incoming)).await;
        let mut seen = self.seen();
        if taken.unwrap_or(false) {
            seen.taken(mark);
            return 200;
        }
        seen.forget(&mark);
        503
    }

    /// True: dispatch has it, for good.
    async fn hand_over(&self, incoming: Incoming) -> bool {
        let (slip, back) = oneshot::channel();
        let said = Said {
            carrier: self.config.name.clone(),
            what: What::Incoming(incoming, Slip::Request(slip)),
        };
        self.said.send(said).await.is_ok() && back.await.is_ok()
    }

    fn signed(&self, callback: &HttpCallback, signature: &str, body: &[u8], now: Millis) -> bool {
        let mut time = None;
        let mut macs = Vec::new();
        for part in signature.split(',') {
            match part.trim().split_once('=') {
                Some(("t", text)) => time = Some(text),
                Some(("v1", text)) if macs.len() < 8 => macs.extend(hex::decode(text)),
                Some(_) | None => {}
            }
        }
        let Some(text) = time else { return false };
        let Ok(seconds) = text.parse::<i64>() else {
            return false;
        };
        let at = Millis(seconds.saturating_mul(1_000));
        if at.since(now) > SKEW || now.since(at) > SKEW {
            return false;
        }
        let message = [text.as_bytes(), b".", body].concat();
        let holds = |keys: &[hmac::Key]| {
            keys.iter().any(|key| {
                macs.iter()
                    .any(|mac| hmac::verify(key, &message, mac).is_ok())
            })
        };
        // Nothing panics while it is held.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        holds(&keys.keys) || (self.read_keys(callback, &mut keys) && holds(&keys.keys))
    }

    /// False: they were read a moment ago.
    fn read_keys(&self, callback: &HttpCallback, keys: &mut Keys) -> bool {
        if keys.read.is_some_and(|read| read.elapsed() < KEY_LIFE) {
            return false;
        }
        keys.read = Some(Instant::now());
        keys.keys.clear();
        for secret in &callback.keys {
            match secret.read() {
                Ok(text) if !text.is_empty() => keys
                    .keys
                    .push(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())),
                Ok(_) => {
                    tracing::warn!(carrier = %self.config.name, "callback.keys: a key is empty")
                }
                Err(reason) => tracing::warn!(carrier = %self.config.name, reason, "callback.keys"),
            }
        }
        true
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn remember(&mut self, mark: [u8; 32]) -> Memory {
        match self.bodies.get(&mark) {
            Some(true) => return Memory::Known,
            Some(false) => return Memory::Waiting,
            None => self.bodies.insert(mark, false),
        };
        if self.order.len() >= MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.bodies.remove(&oldest);
        }
        self.order.push_back(mark);
        Memory::New
    }

    fn taken(&mut self, mark: [u8; 32]) {
        self.bodies.entry(mark).and_modify(|taken| *taken = true);
    }

    fn forget(&mut self, mark: &[u8; 32]) {
        self.bodies.remove(mark);
        self.order.retain(|known| known != mark);
    }
}

fn mark(body: &[u8]) -> [u8; 32] {
    let mut mark = [0; 32];
    mark.copy_from_slice(digest::digest(&digest::SHA256, body).as_ref());
    mark
}

/// A receipt where there is a reference and a state, else a text from a phone.
fn read(callback: &HttpCallback, config: &CarrierConfig, value: &Value) -> Option<Incoming> {
    let at =
        |pointer: &Option<Arc<str>>| pointer.as_deref().and_then(|pointer| word(value, pointer));
    let state = word(value, &callback.state);
    if let (Some(reference), Some(state)) = (word(value, &callback.reference), state) {
        let named = |states: &[Arc<str>]| {
            states
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&state))
        };
        let code = at(&callback.code);
        let by_code = code.as_ref().and_then(|code| config.status.get(code));
        let cause: Option<Cause> = by_code.or_else(|| config.status.get(&state)).copied();
        let state = match (named(&callback.delivered), named(&callback.undelivered)) {
            (true, _) => ReceiptState::Delivered,
            (false, true) => ReceiptState::Undelivered,
            (false, false) => ReceiptState::Intermediate,
        };
        return Some(Incoming::Receipt(Receipt {
            references: vec![reference],
            state,
            carrier_code: code,
            cause,
            phone: at(&callback.to).map(|phone| phone.trim_start_matches('+').into()),
            sender: at(&callback.from).map(|sender| sender.trim_start_matches('+').into()),
        }));
    }
    let text = callback
        .text
        .as_deref()
        .and_then(|pointer| value.pointer(pointer))?
        .as_str()?;
    Some(Incoming::Text(Inbound {
        from: at(&callback.from)?,
        to: at(&callback.to)?,
        body: text.into(),
    }))
}

#[cfg(test)]
mod tests;
