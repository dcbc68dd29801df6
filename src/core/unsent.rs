//! Orders that are not sent after all.

use std::sync::Arc;

use super::Core;
use crate::{
    carrier::AttemptEvent,
    cause::{Cause, Verdict},
    challenge::{AttemptKey, Millis},
};

impl Core {
    /// A driver could not take this order: it has ended, or more waits for it than it has slots.
    pub(super) fn undelivered(&mut self, at: AttemptKey, now: Millis) {
        let open = self.registry.open.get(at.challenge);
        let attempt = open.and_then(|open| open.life.attempt(at.attempt));
        if let Some(carrier) = attempt.map(|attempt| attempt.carrier.clone()) {
            self.unsent_fails(at, &carrier, Cause::CarrierFault, now);
        }
    }

    /// The challenge ended, or its deadline came, between intent and submit: nothing was sent.
    pub(super) fn never_sent(&mut self, at: AttemptKey) {
        for running in self.placement.carriers.iter_mut() {
            if running.free_slot(at) {
                running.void_probe(self.mono, at);
                self.placement.queue.room_changed();
            }
        }
    }

    pub(super) fn unsent_fails(
        &mut self,
        at: AttemptKey,
        carrier: &Arc<str>,
        cause: Cause,
        now: Millis,
    ) {
        let failure = crate::cause::Failure {
            verdict: Verdict::NextCandidate,
            ..cause.failure(None)
        };
        let said = crate::carrier::CarrierMessage {
            carrier: carrier.clone(),
            what: crate::carrier::CarrierEvent::Attempt(at, AttemptEvent::Failed(failure)),
        };
        self.said(said, now);
    }
}
