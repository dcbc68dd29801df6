//! What is found at start: the challenges that were open, and those of the last minutes for the limiter, page by page.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Epoch, InboxKey, InboxMessage, OpenError, ReadError, ReportKey, Stored, limiter,
    read::{raw_stored, select_stored},
    schema,
    seal::{Keyring, Opener, Part},
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
    path: PathBuf,
    conn: Connection,
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
    next: i64,
    recent: Millis,
}

impl Recovered {
    pub(super) fn new(
        path: &Path,
        ring: Arc<Keyring>,
        epoch: i64,
        limiter: limiter::Secret,
    ) -> Result<Recovered, OpenError> {
        let conn = schema::open_reader(path)?;
        Ok(Recovered::over(conn, path, ring, epoch, limiter))
    }

    pub(super) fn over(
        conn: Connection,
        path: &Path,
        ring: Arc<Keyring>,
        epoch: i64,
        limiter: limiter::Secret,
    ) -> Recovered {
        Recovered {
            epoch,
            limiter,
            first_challenge: ChallengeKey(epoch << EPOCH_SHIFT),
            first_report: ReportKey(epoch << EPOCH_SHIFT),
            first_message: InboxKey(epoch << EPOCH_SHIFT),
            path: path.to_path_buf(),
            conn,
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
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => self.begin(now)?,
        };
        let mut page = Vec::new();
        while page.is_empty() && walk.next < self.first_challenge.0 {
            page = self.step(&mut walk)?;
        }
        self.walk = Some(walk);
        Ok(page)
    }

    pub const PAGE: usize = 512;

    /// What counts for the limiter since then, oldest first: each challenge that it did not refuse itself.
    pub fn arrivals(
        &mut self,
        since: Millis,
        mut each: impl FnMut(Millis, &LimitKeys),
    ) -> Result<(), ReadError> {
        let from = self.newer_than(since)?;
        let mut select = self.conn.prepare(
            "SELECT arrived, limits FROM challenges
             WHERE key >= ? AND key < ? AND arrived >= ? AND limits IS NOT NULL ORDER BY key",
        )?;
        let mut rows = select.query(params![from, self.first_challenge.0, since.0])?;
        while let Some(row) = rows.next()? {
            let octets: Vec<u8> = row.get(1)?;
            if let Some(keys) = limiter::read(&octets) {
                each(Millis(row.get(0)?), &keys);
            }
        }
        Ok(())
    }

    /// The key from which on all have arrived since then: backwards from the newest until one is too old, since keys rise
    /// with arrival.
    fn newer_than(&self, since: Millis) -> Result<i64, ReadError> {
        let too_old: Option<i64> = self
            .conn
            .query_row(
                "SELECT key FROM challenges WHERE arrived < ? ORDER BY key DESC LIMIT 1",
                [since.0],
                |row| row.get(0),
            )
            .optional()?;
        Ok(too_old.map_or(0, |key| key + 1))
    }

    /// The calls that may have been left up, with what is known of their dialogs.
    pub fn calls(&mut self) -> Result<Vec<UnterminatedCall>, ReadError> {
        let mut calls = Vec::new();
        let mut select = self
            .conn
            .prepare("SELECT challenge, attempt, carrier, state FROM calls")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let key = AttemptKey {
                challenge: ChallengeKey(row.get(0)?),
                attempt: row.get(1)?,
            };
            let sealed: Vec<u8> = row.get(3)?;
            let state = self.opener.open(Part::Call, key.challenge.0, &sealed)?;
            let carrier: String = row.get(2)?;
            calls.push(UnterminatedCall {
                key,
                carrier: carrier.into(),
                state: String::from_utf8_lossy(&state).as_ref().into(),
            });
        }
        Ok(calls)
    }

    /// The overlay's entries that were in force.
    pub fn overlay(&self) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut select = self.conn.prepare("SELECT entry FROM overlay")?;
        let entries = select.query_map([], |row| row.get(0))?;
        Ok(entries.collect::<rusqlite::Result<_>>()?)
    }

    /// What carriers had brought and what had led to nothing yet, oldest first. Rows that no key opens are left out, with
    /// a word in the log.
    pub fn inbox(&mut self) -> Result<Vec<InboxMessage>, ReadError> {
        let mut messages = Vec::new();
        let mut select = self
            .conn
            .prepare("SELECT message, at, body FROM inbox ORDER BY message")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            match self
                .opener
                .open(Part::Inbox, key, &row.get::<_, Vec<u8>>(2)?)
            {
                Ok(body) => messages.push(InboxMessage {
                    key: InboxKey(key),
                    at: Millis(row.get(1)?),
                    body,
                }),
                Err(error) => {
                    tracing::error!(key, file = %self.path.display(), %error, "a message of the inbox is left alone");
                }
            }
        }
        Ok(messages)
    }

    fn begin(&self, now: Millis) -> Result<Walk, ReadError> {
        let recent = now - RECENT;
        let open_from: i64 = meta(&self.conn, "open_from")?;
        let next = self.newer_than(recent)?.min(open_from);
        Ok(Walk { next, recent })
    }

    fn step(&mut self, walk: &mut Walk) -> Result<Vec<Stored>, ReadError> {
        let sql = select_stored(
            "challenges WHERE key >= ? AND key < ? AND (ended IS NULL OR arrived >= ?)
             ORDER BY key LIMIT ?",
        );
        let raws = self
            .conn
            .prepare_cached(&sql)?
            .query_map(
                params![
                    walk.next,
                    self.first_challenge.0,
                    walk.recent.0,
                    Self::PAGE as i64
                ],
                raw_stored,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        walk.next = match raws.last() {
            Some(last) => last.key + 1,
            None => self.first_challenge.0,
        };
        let mut page = Vec::with_capacity(raws.len());
        for raw in raws {
            let key = raw.key;
            match raw.open(&self.conn, &mut self.opener) {
                Ok(stored) => page.push(stored),
                Err(ReadError::Sealed) => {
                    tracing::error!(key, file = %self.path.display(), "a challenge can't be opened and is left alone");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }
}

/// Counts this opening. `least`: the epoch of a file that is lost, since none of its keys may be given again.
pub(super) fn next_epoch(conn: &Connection, least: i64) -> rusqlite::Result<i64> {
    conn.query_row(
        "UPDATE meta SET value = max(value, ?) + 1 WHERE name = 'epoch' RETURNING value",
        [least],
        |row| row.get(0),
    )
}

/// In which a challenge's key was given.
pub(super) fn epoch_of(key: i64) -> i64 {
    key >> EPOCH_SHIFT
}

pub(super) fn meta(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| {
        row.get(0)
    })
}

/// The limiter's longest window.
const RECENT: Duration = Duration::from_secs(300);
/// Keys of one epoch: 2^40 of them, in 2^22 epochs.
const EPOCH_SHIFT: u32 = 40;
