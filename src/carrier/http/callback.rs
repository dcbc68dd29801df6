//! What an HTTP carrier calls back with: receipts and texts from phones, signed.
//!
//! The signature is checked before anything is read ([`signature`], [`format`]). A body may bring many receipts ([`read`]): all
//! are handed over, and 200 is answered once each of them is safe; if one is not, the carrier is asked to come again, and
//! those that are safe are known then ([`repeats`]). Of a body in which some parts can't be understood, the others are
//! taken: to come again would not make them readable. May not log a body.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::HeaderMap;
use tokio::sync::{mpsc, oneshot};

pub mod format;
mod read;
pub mod repeats;
pub mod signature;

pub use format::MAX_BODY;

use self::{
    format::CallbackFormat,
    repeats::{Mark, Repeats},
    signature::{Signatures, Signed},
};
use super::{body, json};
use crate::{
    carrier::{Acknowledgement, CarrierEvent, CarrierMessage, Incoming},
    challenge::Millis,
    config::carrier::{CarrierConfig, HttpCallback, Transport},
};

/// How long dispatch and the ledger may be behind before the carrier is asked to come again.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Why a callback is not answered 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// No carrier of this name.
    UnknownCarrier,
    /// The carrier's file has no callbacks.
    NoCallbacks,
    SignatureMissing,
    SignatureWrong,
    /// Right, but of another time than now.
    SignatureTooOld,
    /// None of the keys can be read.
    NoKeys,
    TooLong,
    TooSlow,
    /// It broke off, or its coding is unknown or broken.
    Unreadable,
    /// No JSON, and it says so.
    ContentType,
    NotUnderstood,
    /// A part of a body whose other parts were taken; the answer was 200.
    PartNotUnderstood,
    /// Not safe in time: the carrier shall come again.
    Busy,
}

impl Refused {
    /// As metrics and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Refused::UnknownCarrier => "unknown_carrier",
            Refused::NoCallbacks => "no_callbacks",
            Refused::SignatureMissing => "signature_missing",
            Refused::SignatureWrong => "signature_wrong",
            Refused::SignatureTooOld => "signature_too_old",
            Refused::NoKeys => "no_keys",
            Refused::TooLong => "too_long",
            Refused::TooSlow => "too_slow",
            Refused::Unreadable => "unreadable",
            Refused::ContentType => "content_type",
            Refused::NotUnderstood => "not_understood",
            Refused::PartNotUnderstood => "part_not_understood",
            Refused::Busy => "busy",
        }
    }

    /// The HTTP status. A stranger can't tell from it whether a carrier exists.
    pub fn status(self) -> u16 {
        match self {
            Refused::UnknownCarrier
            | Refused::NoCallbacks
            | Refused::SignatureMissing
            | Refused::SignatureWrong
            | Refused::SignatureTooOld
            | Refused::NoKeys => 401,
            Refused::TooLong => 413,
            Refused::TooSlow => 408,
            Refused::ContentType => 415,
            Refused::Unreadable | Refused::NotUnderstood => 400,
            Refused::PartNotUnderstood => 200,
            Refused::Busy => 503,
        }
    }
}

/// The callbacks of one carrier. Cheap to clone.
#[derive(Clone)]
pub struct CallbackHandle(Arc<Receiver>);

struct Receiver {
    config: Arc<CarrierConfig>,
    /// None: the carrier's file has no callbacks.
    format: Option<CallbackFormat>,
    said: mpsc::Sender<CarrierMessage>,
    signatures: Signatures,
    /// Kept over a reload.
    repeats: Arc<Mutex<Repeats>>,
}

/// A callback for a carrier that isn't there: refused after the same work as one whose signature is wrong.
pub fn stranger(headers: &HeaderMap, body: &[u8], now: Millis) -> Refused {
    let nobody = Signatures::default();
    match nobody.check(&[], headers, body, now) {
        Signed::Good | Signed::Missing | Signed::Wrong | Signed::TooOld | Signed::NoKeys => {
            Refused::UnknownCarrier
        }
    }
}

impl CallbackHandle {
    pub fn new(
        config: Arc<CarrierConfig>,
        callback: Option<Box<HttpCallback>>,
        said: mpsc::Sender<CarrierMessage>,
    ) -> CallbackHandle {
        CallbackHandle::knowing(config, callback, said, Arc::default())
    }

    /// The same carrier by another file: what came once is known.
    pub fn changed(&self, config: Arc<CarrierConfig>) -> CallbackHandle {
        let callback = match &config.transport {
            Transport::Http(http) => http.callback.clone(),
            Transport::Smpp(_) | Transport::Sip(_) => None,
        };
        let before = &self.0;
        CallbackHandle::knowing(
            config,
            callback,
            before.said.clone(),
            before.repeats.clone(),
        )
    }

    fn knowing(
        config: Arc<CarrierConfig>,
        callback: Option<Box<HttpCallback>>,
        said: mpsc::Sender<CarrierMessage>,
        repeats: Arc<Mutex<Repeats>>,
    ) -> CallbackHandle {
        let format = callback.map(|callback| CallbackFormat::new(config.clone(), callback));
        CallbackHandle(Arc::new(Receiver {
            signatures: Signatures::new(config.name.clone()),
            config,
            format,
            said,
            repeats,
        }))
    }

    /// Ok: taken, or a repeat of what was; with the number of parts that can't be understood.
    pub async fn receive(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Millis,
    ) -> Result<usize, Refused> {
        let receiver = &self.0;
        let signatures = &receiver.signatures;
        let Some(format) = &receiver.format else {
            // The same work as for any other refusal.
            signatures.check(&[], headers, body, now);
            return Err(Refused::NoCallbacks);
        };
        let keys = &format.callback().keys;
        let parts = format.read(headers, body, || signatures.check(keys, headers, body, now))?;
        self.take(parts.brought).await?;
        Ok(parts.skipped)
    }

    async fn take(&self, brought: Vec<(Mark, Incoming)>) -> Result<(), Refused> {
        let (taking, fresh) = self.0.repeats().take(brought);
        let mut is_safe = true;
        if !fresh.is_empty() {
            // In a task of its own: the carrier may hang up, and what it brought is still taken, and known as taken.
            let receiver = self.0.clone();
            let handed = tokio::spawn(async move { receiver.hand_over(fresh).await });
            is_safe = matches!(tokio::time::timeout(PATIENCE, handed).await, Ok(Ok(true)));
        }
        match self.0.repeats().answer(taking, is_safe) {
            true => Ok(()),
            false => Err(Refused::Busy),
        }
    }
}

impl Receiver {
    /// True: dispatch has all of it, for good.
    async fn hand_over(&self, brought: Vec<(Mark, Incoming)>) -> bool {
        let mut acks = Vec::with_capacity(brought.len());
        for (mark, incoming) in brought {
            let (ack, back) = oneshot::channel();
            let said = CarrierMessage {
                carrier: self.config.name.clone(),
                what: CarrierEvent::Incoming(incoming, Acknowledgement::Request(ack)),
            };
            // Where dispatch has ended the acknowledgement is dropped with what it was for.
            let _ = self.said.send(said).await;
            acks.push((mark, back));
        }
        let mut whole = true;
        for (mark, back) in acks {
            let taken = back.await.is_ok();
            whole &= taken;
            self.repeats().end(mark, taken);
        }
        whole
    }

    /// Nothing panics while it is held.
    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
