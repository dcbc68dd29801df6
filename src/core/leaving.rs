//! Carriers of texts that no route names any more. Nothing new is given to them, but what they took comes to its end by
//! them: their links and their callbacks stay until no open text waits for a receipt of theirs.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{Core, Output, carriers::Unused, notice::CarrierNotice};
use crate::{
    carrier::{DriverId, Finish},
    challenge::{AttemptKey, Channel},
    clock::Mono,
};

/// A carrier that has been left, and the texts that wait for it.
struct Left {
    carrier: Arc<str>,
    driver: DriverId,
    waits: HashSet<AttemptKey>,
    since: Mono,
}

/// All of them.
#[derive(Default)]
pub struct Leaving {
    left: Vec<Left>,
    looked: Option<Mono>,
}

/// How often it is asked whether the last receipt has come.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than the longest life of a challenge: no link is kept beyond it.
const LONGEST: Duration = Duration::from_secs(900 + 60);

impl Core {
    /// Drivers that no carrier in use has any more: told to finish once nothing waits for them.
    pub(super) fn leave(&mut self, drivers: Vec<Unused>) {
        for Unused { carrier, driver } in drivers {
            let waits = self.texts_of(&carrier);
            let texts = waits.len();
            let what = CarrierNotice::OutOfUse { texts };
            self.notices.carrier(&carrier, what);
            self.correlation.leaving.left.push(Left {
                carrier,
                driver,
                waits,
                since: self.mono,
            });
        }
        self.correlation.leaving.looked = None;
        self.tick_leaving(self.mono);
    }

    /// The texts that this carrier has, or may have, and that are not settled.
    fn texts_of(&self, carrier: &Arc<str>) -> HashSet<AttemptKey> {
        let attempts = self.registry.open.iter().flat_map(|(challenge, open)| {
            let of_it = open.life.attempts.iter().filter(|attempt| {
                attempt.live() && attempt.channel() == Channel::Sms && attempt.carrier == *carrier
            });
            of_it.map(move |attempt| AttemptKey {
                challenge,
                attempt: attempt.n,
            })
        });
        attempts.collect()
    }

    pub(super) fn tick_leaving(&mut self, now: Mono) {
        let leaving = &mut self.correlation.leaving;
        let due = leaving.looked.is_none_or(|looked| now >= looked + LOOK);
        if leaving.left.is_empty() || !due {
            return;
        }
        leaving.looked = Some(now);
        let (open, out) = (&self.registry.open, &mut self.outputs);
        let notices = &self.notices;
        leaving.left.retain_mut(|left| {
            left.waits.retain(|key| {
                let challenge = open.get(key.challenge);
                let attempt = challenge.and_then(|open| open.life.attempt(key.attempt));
                attempt.is_some_and(|attempt| attempt.live())
            });
            let kept = !left.waits.is_empty() && now < left.since + LONGEST;
            if kept {
                return true;
            }
            out.push(Output::Finish(left.driver, Finish::Drain));
            if now > left.since {
                let unsettled = left.waits.len();
                let what = CarrierNotice::LinkEnds { unsettled };
                notices.carrier(&left.carrier, what);
            }
            false
        });
    }
}
