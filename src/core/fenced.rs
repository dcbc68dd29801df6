//! What the ledger did not write: a challenge that is another node's by now, an intent that it can't hold.

use std::sync::Arc;

use super::{Core, notice::LedgerNotice};
use crate::{
    cause::Cause,
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    number::written::Tail,
};

impl Core {
    /// Another node has this challenge, and goes on with it from what the ledger holds: here it is forgotten, and nothing of it
    /// is reported. What a carrier has of it is answered to nobody.
    fn disown(&mut self, key: ChallengeKey) -> Option<Arc<str>> {
        self.unqueue(key);
        let open = self.registry.remove(key)?;
        let challenge = open.ch.id.clone();
        let phone = open.ch.to.and_then(Tail::of);
        for attempt in &open.life.attempts {
            let at = AttemptKey {
                challenge: key,
                attempt: attempt.n,
            };
            if let Some(phone) = phone {
                self.correlation.doubts.remove(&attempt.carrier, phone, at);
                let settled = &mut self.correlation.settled_doubts;
                settled.remove(&attempt.carrier, phone, at);
            }
            let Some(carrier) = self.placement.carriers.get_mut(&attempt.carrier) else {
                continue;
            };
            if attempt.channel() == Channel::Voice {
                carrier.hang_up(&mut self.outputs, at);
            }
            // What its driver has holds its slot until that says that it is over.
            if !attempt.handed && carrier.free_slot(at) {
                carrier.void_probe(self.mono, at);
                self.placement.queue.room_changed();
            }
        }
        Some(challenge)
    }

    /// The same of all that a batch has found to be others'; told in one line.
    pub(super) fn disown_all(&mut self, keys: Vec<ChallengeKey>) {
        let gone: Vec<Arc<str>> = keys
            .into_iter()
            .filter_map(|key| self.disown(key))
            .collect();
        if let Some(challenge) = gone.first().cloned() {
            let challenges = gone.len();
            let fenced = LedgerNotice::Fenced {
                challenge,
                challenges,
            };
            self.notices.ledger(fenced);
        }
    }

    /// The intent of this attempt is not durable and won't be: it is not sent.
    pub(super) fn intent_unwritten(&mut self, at: AttemptKey, now: Millis) {
        let open = self.registry.open.get(at.challenge);
        let attempt = open.and_then(|open| open.life.attempt(at.attempt));
        let Some(attempt) = attempt.filter(|attempt| attempt.unsent()) else {
            return;
        };
        // A call that was prepared ends by its driver's word.
        if attempt.channel() == Channel::Sms {
            let carrier = attempt.carrier.clone();
            self.unsent_fails(at, &carrier, Cause::GatewayLimit, now);
        }
    }
}
