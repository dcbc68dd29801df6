//! Carriers of texts that no route names any more. Nothing new is given to them, but what they took comes to its end by
//! them: their links and their callbacks stay until no open text waits for a receipt of theirs.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::error::TrySendError;

use super::Dispatch;
use crate::{
    carrier::{Command, Handle},
    challenge::{AttemptKey, Channel},
};

/// A carrier that has been left, and the texts that wait for it.
struct Left {
    handle: Handle,
    waits: HashSet<AttemptKey>,
    since: Instant,
}

/// All of them.
#[derive(Default)]
pub struct Leaving {
    left: Vec<Left>,
    looked: Option<Instant>,
}

/// How often it is asked whether the last receipt has come.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than the longest life of a challenge: no link is kept beyond it.
const LONGEST: Duration = Duration::from_secs(900 + 60);

impl Dispatch {
    /// Drivers that no carrier in use has any more: told to finish once nothing waits for them.
    pub(super) fn leave(&mut self, drivers: Vec<Handle>) {
        for handle in drivers {
            let waits = self.texts_of(&handle);
            if waits.is_empty() {
                tracing::info!(carrier = %handle.name, "out of use: its link ends");
            } else {
                tracing::info!(
                    carrier = %handle.name,
                    texts = waits.len(),
                    "out of use: it gets nothing new, and its link stays until the receipts of its texts have come"
                );
            }
            self.leaving.left.push(Left {
                handle,
                waits,
                since: self.mono,
            });
        }
        self.leaving.looked = None;
        self.tick_leaving(self.mono);
    }

    /// The texts that this carrier has, or may have, and that are not settled.
    fn texts_of(&self, handle: &Handle) -> HashSet<AttemptKey> {
        let attempts = self.open.iter().flat_map(|(challenge, open)| {
            let of_it = open.life.attempts.iter().filter(|attempt| {
                attempt.live()
                    && attempt.channel() == Channel::Sms
                    && attempt.carrier == handle.name
            });
            of_it.map(move |attempt| AttemptKey {
                challenge,
                attempt: attempt.n,
            })
        });
        attempts.collect()
    }

    pub(super) fn tick_leaving(&mut self, now: Instant) {
        let leaving = &mut self.leaving;
        let due = leaving.looked.is_none_or(|looked| now >= looked + LOOK);
        if leaving.left.is_empty() || !due {
            return;
        }
        leaving.looked = Some(now);
        let open = &self.open;
        leaving.left.retain_mut(|left| {
            left.waits.retain(|key| {
                let challenge = open.get(key.challenge);
                let attempt = challenge.and_then(|open| open.life.attempt(key.attempt));
                attempt.is_some_and(|attempt| attempt.live())
            });
            let kept = !left.waits.is_empty() && now < left.since + LONGEST;
            if kept && !left.handle.commands.is_closed() {
                return true;
            }
            // Swamped: asked again. Gone: it has finished already.
            let told = left.handle.commands.try_send(Command::Drain);
            let swamped = matches!(told, Err(TrySendError::Full(_)));
            if !swamped && now > left.since {
                tracing::info!(carrier = %left.handle.name, unsettled = left.waits.len(), "out of use: its link ends now");
            }
            swamped
        });
    }
}
