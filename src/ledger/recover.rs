//! What is found at start: the challenges that were open, and those of the last minutes for the limiter, page by page.

use std::{sync::Arc, time::Duration};

use super::{
    Epoch, InboxKey, InboxMessage, ReadError, ReportKey, StoreError, Stored, limiter,
    read::open,
    records::name_of,
    rows::{CallRow, first_key},
    seal::{Keyring, Opener, Part},
    store::StoreReads,
};
use crate::{
    admission::LimitKeys,
    challenge::{AttemptKey, ChallengeKey, Millis},
};

/// What the ledger held when it was opened. Also says which keys are free: those from `first_challenge`,
/// `first_report` and `first_message` on, upwards by one. They are above all that were ever given, on any node, since the epoch is in them.
pub struct Recovered {
    /// Rises with each opening; rows carry the one that wrote them last.
    pub epoch: i64,
    pub first_challenge: ChallengeKey,
    pub first_report: ReportKey,
    /// What the limiter makes its hashes with.
    pub limiter: [u8; 32],
    pub first_message: InboxKey,
    /// The limiter's windows that were full when the ledger was opened, and until when.
    pub full: Vec<(u64, Millis)>,
    /// The store's name, for the log.
    name: String,
    rows: Box<dyn StoreReads>,
    opener: Opener,
    walk: Option<Walk>,
}

/// A call that may have been left up.
#[derive(Clone, Debug)]
pub struct UnterminatedCall {
    pub key: AttemptKey,
    pub carrier: Arc<str>,
    /// What is known of its dialog.
    pub state: Arc<str>,
}

struct Walk {
    after: Option<i64>,
    recent: Millis,
}

impl Recovered {
    pub(super) fn new(
        rows: Box<dyn StoreReads>,
        name: String,
        ring: Arc<Keyring>,
        epoch: i64,
        limiter: limiter::Secret,
    ) -> Recovered {
        Recovered {
            epoch,
            limiter,
            first_challenge: ChallengeKey(first_key(epoch)),
            first_report: ReportKey(first_key(epoch)),
            first_message: InboxKey(first_key(epoch)),
            full: Vec::new(),
            name,
            rows,
            opener: Opener::new(ring),
            walk: None,
        }
    }

    pub fn epoch(&self) -> Epoch {
        Epoch {
            first_challenge: self.first_challenge,
            first_report: self.first_report,
            first_message: self.first_message,
            limiter: self.limiter,
        }
    }

    /// The next challenges, by key: all that had not ended when the ledger was opened, and those that arrived in the
    /// five minutes before `now`, ended or not. At most [`Recovered::PAGE`] of them; empty: that was all. `now` is
    /// taken from the first call. Rows that no key opens are left out, with a word in the log.
    pub fn next_page(&mut self, now: Millis) -> Result<Vec<Stored>, ReadError> {
        let walk = self.walk.get_or_insert(Walk {
            after: None,
            recent: now - RECENT,
        });
        loop {
            let (below, recent) = (self.first_challenge.0, walk.recent);
            let found = self
                .rows
                .unfinished(walk.after, below, recent, Self::PAGE)?;
            let Some(last) = found.last() else {
                return Ok(Vec::new());
            };
            walk.after = Some(last.key);
            let mut page = Vec::with_capacity(found.len());
            for row in found {
                let key = row.key;
                match open(row, self.rows.as_mut(), &mut self.opener) {
                    Ok(stored) => page.push(stored),
                    Err(error @ (ReadError::Sealed | ReadError::Version(_))) => {
                        tracing::error!(key, file = %self.name, %error, "a challenge can't be opened and is left alone");
                    }
                    Err(error) => return Err(error),
                }
            }
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    pub const PAGE: usize = 512;

    /// What counts for the limiter since then, oldest first: each challenge that it did not refuse itself.
    pub fn arrivals(
        &mut self,
        since: Millis,
        each: impl FnMut(Millis, &LimitKeys),
    ) -> Result<(), ReadError> {
        Ok(self.count(since, each)?)
    }

    pub(super) fn count(
        &mut self,
        since: Millis,
        mut each: impl FnMut(Millis, &LimitKeys),
    ) -> Result<(), StoreError> {
        let mut read = |at, octets: &[u8]| {
            if let Some(keys) = limiter::read(octets) {
                each(at, &keys);
            }
        };
        let below = self.first_challenge.0;
        self.rows.arrivals(since, below, &mut read)
    }

    /// The calls that may have been left up, with what is known of their dialogs. Rows that can't be opened are left out,
    /// with a word in the log.
    pub fn calls(&mut self) -> Result<Vec<UnterminatedCall>, ReadError> {
        let mut calls = Vec::new();
        for row in self.rows.calls()? {
            let (challenge, attempt) = (row.challenge, row.attempt);
            match call(row, &mut self.opener) {
                Ok(call) => calls.push(call),
                Err(error) => {
                    tracing::error!(table = "calls", key = challenge, attempt, file = %self.name, %error, "a call that may have been left up is left alone");
                }
            }
        }
        Ok(calls)
    }

    /// The overlay's entries that were in force.
    pub fn overlay(&mut self) -> Result<Vec<Vec<u8>>, ReadError> {
        Ok(self.rows.overlay()?)
    }

    /// What carriers had brought and what had led to nothing yet, oldest first. Rows that no key opens are left out, with
    /// a word in the log.
    pub fn inbox(&mut self) -> Result<Vec<InboxMessage>, ReadError> {
        let mut messages = Vec::new();
        for row in self.rows.inbox()? {
            match self.opener.open(Part::Inbox, row.key, &row.body) {
                Ok(body) => messages.push(InboxMessage {
                    key: InboxKey(row.key),
                    at: Millis(row.at),
                    body,
                }),
                Err(error) => {
                    tracing::error!(table = "inbox", key = row.key, file = %self.name, %error, "a message of the inbox is left alone");
                }
            }
        }
        messages.sort_by_key(|message| (message.at, message.key));
        Ok(messages)
    }
}

pub(super) fn call(row: CallRow, opener: &mut Opener) -> Result<UnterminatedCall, ReadError> {
    let state = opener.open(Part::Call, row.challenge, &row.state)?;
    Ok(UnterminatedCall {
        key: AttemptKey {
            challenge: ChallengeKey(row.challenge),
            attempt: row.attempt,
        },
        carrier: name_of(row.carrier)?,
        state: String::from_utf8_lossy(&state).as_ref().into(),
    })
}

/// The limiter's longest window.
const RECENT: Duration = Duration::from_secs(300);
