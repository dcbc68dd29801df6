//! What waits for a receipt that is safe, and not yet known whose it is: a hedge that may not be needed after all, since its
//! carrier has answered or brought that receipt while the intent was on its way to the disk; a final at the deadline.

use std::{sync::Arc, time::Duration};

use super::{Core, open::Open};
use crate::{
    carrier::ReceiptState,
    cause::Cause,
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    delivery::{Attempt, Outcome, Phase},
    number::written::Tail,
};

/// How long a hedge waits for a receipt to be looked up.
const HESITATION: Duration = Duration::from_secs(3);
/// How long a final waits for one after the deadline.
const END_WAITS: Duration = Duration::from_secs(25);

impl Core {
    /// The hedge is not sent, or not yet.
    pub(super) fn is_spared(&mut self, at: AttemptKey, now: Millis) -> bool {
        let needless = self.needless_hedge(at);
        if needless.is_none() && self.receipt_may_spare(at) {
            let since = *self.placement.hesitating.entry(at).or_insert(self.mono);
            if self.mono.saturating_duration_since(since) < HESITATION {
                return true;
            }
        }
        self.placement.hesitating.remove(&at);
        if let Some(carrier) = &needless {
            self.unsent_fails(at, carrier, Cause::Cancelled, now);
        }
        needless.is_some()
    }

    /// Hedges that wait for a receipt: it may be known by now whose it is.
    pub(super) fn take_up_hedges(&mut self, now: Millis) {
        let waiting: Vec<AttemptKey> = self.placement.hesitating.keys().copied().collect();
        for at in waiting {
            self.submit(at, now);
        }
    }

    /// A hedge, and the attempt that it was made for is in doubt no more: the carrier has answered while the intent was on its
    /// way to the disk. Its carrier, where it was not sent yet.
    pub(super) fn needless_hedge(&self, at: AttemptKey) -> Option<Arc<str>> {
        let life = &self.registry.open.get(at.challenge)?.life;
        let hedge = life.attempt(at.attempt).filter(|a| a.hedge && a.unsent())?;
        let of_leg = |a: &&Attempt| a.leg == hedge.leg && a.n != hedge.n;
        let taken =
            |a: &Attempt| matches!(a.phase, Phase::Taken | Phase::Settled(Outcome::Delivered));
        let mut others = life.attempts.iter().filter(of_leg);
        others.any(taken).then(|| hedge.carrier.clone())
    }

    /// The carrier of the attempt in doubt has brought a receipt for this phone that says "delivered", and was told that it is
    /// safe; whose it is will be known once the ledger has been asked.
    fn receipt_may_spare(&self, at: AttemptKey) -> bool {
        let Some(open) = self.registry.open.get(at.challenge) else {
            return false;
        };
        let hedge = open.life.attempt(at.attempt);
        let Some(hedge) = hedge.filter(|a| a.hedge && a.unsent()) else {
            return false;
        };
        self.receipt_waits(open, |a| a.leg == hedge.leg && a.n != hedge.n)
    }

    /// The deadline has come, and a receipt that may be that of a text in doubt is safe, and the carrier's answer or the
    /// ledger's has still to say whose it is: the final waits for it, for a while.
    pub(super) fn end_waits(&self, key: ChallengeKey, now: Millis) -> bool {
        let open = self.registry.open.get(key);
        open.is_some_and(|open| {
            let since = now.since(open.ch.deadline);
            now >= open.ch.deadline && since < END_WAITS && self.receipt_waits(open, Attempt::live)
        })
    }

    /// Does a receipt wait that says "delivered" of a text among these that is unanswered or in doubt, for all that its phone
    /// tells?
    fn receipt_waits(&self, open: &Open, among: impl Fn(&Attempt) -> bool) -> bool {
        let Some(phone) = open.ch.to.and_then(Tail::of) else {
            return false;
        };
        let texts = open.life.attempts.iter();
        let unsure = |a: &Attempt| a.in_doubt || a.phase == Phase::Placed;
        let texts = texts.filter(|a| unsure(a) && a.channel() == Channel::Sms && among(a));
        let mut held = texts.flat_map(|a| self.correlation.inbox.by_phone(&a.carrier, phone));
        held.any(|key| {
            let held = self.correlation.inbox.get(key);
            held.is_some_and(|held| held.receipt.state == ReceiptState::Delivered)
        })
    }
}
