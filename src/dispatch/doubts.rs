//! Texts in doubt, by carrier and phone: a receipt that nobody is known for may be about one of them.

use std::{collections::HashMap, sync::Arc};

use super::open::Open;
use crate::{
    challenge::{AttemptKey, ChallengeKey, Channel},
    delivery::{Attempt, Phase},
    number::Number,
};

#[derive(Debug, Default)]
pub struct Doubts {
    by_phone: HashMap<(Arc<str>, Number), Vec<AttemptKey>>,
}

impl Doubts {
    /// This text was sent and not answered.
    pub fn add(&mut self, key: ChallengeKey, to: Number, attempt: &Attempt) {
        if attempt.channel() == Channel::Sms && matches!(attempt.phase, Phase::Doubt { .. }) {
            let at = AttemptKey {
                challenge: key,
                attempt: attempt.n,
            };
            let all = self
                .by_phone
                .entry((attempt.carrier.clone(), to))
                .or_default();
            if !all.contains(&at) {
                all.push(at);
            }
        }
    }

    /// The only text in doubt that this carrier, phone and sender can mean. With two, nobody can tell.
    pub fn only(&self, carrier: &Arc<str>, phone: &str) -> Option<AttemptKey> {
        let phone = Number::from_e164(&format!("+{}", phone.trim_start_matches('+')))?;
        match self.by_phone.get(&(carrier.clone(), phone))?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The doubt is over, or nobody cares any more.
    pub fn settle(&mut self, at: AttemptKey, to: Number, carrier: &Arc<str>) {
        let place = (carrier.clone(), to);
        if let Some(all) = self.by_phone.get_mut(&place) {
            all.retain(|known| *known != at);
            if all.is_empty() {
                self.by_phone.remove(&place);
            }
        }
    }

    pub fn forget(&mut self, key: ChallengeKey, open: &Open) {
        let Some(to) = open.ch.to else { return };
        for attempt in open.life.attempts.iter().filter(|a| a.in_doubt) {
            self.settle(
                AttemptKey {
                    challenge: key,
                    attempt: attempt.n,
                },
                to,
                &attempt.carrier,
            );
        }
    }
}
