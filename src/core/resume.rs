//! After a start: what the ledger held goes on.
//!
//! Open challenges are taken up where their lives stand; an attempt whose intent has no outcome is in doubt; a call
//! that may still be up is ended.

use std::time::Duration;

use super::{Core, effects::Change, notice::LedgerNotice, open::Open, registry::Unterminated};
use crate::{
    challenge::{AttemptKey, Challenge, Channel, Millis},
    delivery::DeliveryState,
    ledger::{ControlMessage, Op, ReadError, Recovered, Stored, UnterminatedCall},
};

/// After a restart a text in doubt is given this long for its receipt, before it is hedged.
const DOUBT_AFTER_RESTART: Duration = Duration::from_secs(3);
/// Longer than the end of a call takes (RFC 3261 17.1.1.2, 32 s each): a CANCEL, the answer that crosses it, its BYE.
const UNTERMINATED: Duration = Duration::from_secs(100);

impl Core {
    /// Takes up one challenge from the ledger. Once per challenge, before the first input.
    pub fn resume(&mut self, stored: Stored, now: Millis) {
        // What was wiped has nothing left to go on with.
        let Ok(ch) = serde_json::from_slice::<Challenge>(&stored.job) else {
            if stored.ended.is_none() {
                let challenge = stored.id;
                let unreadable = LedgerNotice::ChallengeUnreadable { challenge };
                self.notices.ledger(unreadable);
            }
            return;
        };
        if stored.ended.is_some() {
            return;
        }
        let key = stored.key;
        let min_call = self.config.settings.jobs.min_call;
        // A fresh one in its place would forget what was sent.
        let mut life = match serde_json::from_slice::<DeliveryState>(&stored.life) {
            Ok(life) => life,
            Err(error) => {
                let unreadable = LedgerNotice::LifeUnreadable {
                    challenge: stored.id,
                    error: error.to_string(),
                };
                self.notices.ledger(unreadable);
                return;
            }
        };
        life.min_call = min_call;
        let sent = !life.attempts.is_empty();
        if !sent {
            self.registry.unsent += 1;
        }
        let open = Open {
            ch,
            life,
            durable: true,
            claim: None,
            waiting: None,
            wake: Millis::NEVER,
            sent,
        };
        self.registry.open.insert(key, open);
        let Some(open) = self.registry.open.get_mut(key) else {
            return;
        };
        open.life
            .resume(&open.ch, now, DOUBT_AFTER_RESTART, &mut self.effects);
        // Durable, and told as taken; whether it had taken effect before the end of the process, nobody knows.
        match stored.early {
            None => {}
            Some(ControlMessage::Cancel) => open.life.cancel(now, &mut self.effects),
            Some(ControlMessage::Verified) => open.life.feedback(now, true, &mut self.effects),
            Some(ControlMessage::NotVerified) => open.life.feedback(now, false, &mut self.effects),
        }
        let texts = open.life.attempts.iter();
        let texts = texts.filter(|a| a.channel() == Channel::Sms);
        let texts: Vec<_> = texts
            .map(|a| (a.n, a.carrier.clone(), a.references.clone()))
            .collect();
        for (attempt, carrier, references) in texts {
            let challenge = key;
            self.refer(&carrier, AttemptKey { challenge, attempt }, &references);
        }
        self.settle(key, Change::Life, now);
        // Its time may be over: the first turn looks, when it is known what carriers have brought for it.
        self.registry.open.wake_at(key, now);
    }

    /// A call that an earlier life of this process may have left up: its carrier's driver ends it. After
    /// [`Core::configure`], so that the carriers are known.
    pub fn unterminated(&mut self, call: &UnterminatedCall) {
        let unterminated = Unterminated {
            by_trunk: self.placement.carriers.get(&call.carrier).is_some(),
            until: self.mono + UNTERMINATED,
        };
        self.registry.unterminated.insert(call.key, unterminated);
    }

    /// A trunk is ending one: what it says of it has to be kept.
    pub(super) fn ends_unterminated(&self) -> bool {
        self.registry
            .unterminated
            .values()
            .any(|call| call.by_trunk)
    }

    /// Those that nobody said the end of: they are over, or can't be ended.
    pub(super) fn forget_unterminated(&mut self) {
        let (now, commit) = (self.mono, &mut self.commit);
        self.registry.unterminated.retain(|key, call| {
            let is_over = now >= call.until;
            if is_over {
                commit.write(Op::CallDown { key: *key });
            }
            !is_over
        });
    }
}

/// What was open goes on.
pub fn take_up(recovered: &mut Recovered, core: &mut Core, now: Millis) -> Result<(), ReadError> {
    for (window, until) in recovered.full.drain(..) {
        core.full.insert(window, until, now);
    }
    let mut open = 0;
    loop {
        let page = recovered.next_page(now)?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            open += usize::from(stored.ended.is_none());
            core.resume(stored, now);
        }
    }
    let messages = recovered.inbox()?;
    if open > 0 || !messages.is_empty() {
        let taken_up = LedgerNotice::TakenUp {
            challenges: open,
            receipts: messages.len(),
        };
        core.notices.ledger(taken_up);
    }
    for message in messages {
        core.take_up_message(message);
    }
    Ok(())
}
