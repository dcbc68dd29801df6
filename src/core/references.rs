//! What carriers' references lead to: one attempt nearly always, several where a carrier gives one id twice, and for a
//! while what has ended.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use crate::{
    challenge::{AttemptKey, ChallengeKey},
    number::written::Tail,
};

/// A part of a text that a carrier has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartOf {
    pub attempt: AttemptKey,
    /// Which part of the text, counted from 0.
    pub part: u16,
}

/// Carrier and reference.
type Reference = (Arc<str>, Arc<str>);

/// What stands in the ledger as the reference of texts to this phone that have none. No carrier can write it: the
/// control character would be taken off.
pub fn unreferenced(phone: Tail) -> Arc<str> {
    format!("\u{1}phone {:06}", phone.value()).into()
}

/// Whom a reference belongs to, as far as the reference alone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    One(PartOf),
    /// Several texts, of which some may have ended: only the phone tells which.
    Several,
}

#[derive(Debug, Default)]
pub struct References {
    one: HashMap<Reference, PartOf>,
    /// How many parts of open texts share it.
    several: HashMap<Reference, u32>,
    ended: Ended,
}

impl References {
    pub fn holder(&self, carrier: &Arc<str>, reference: &Arc<str>) -> Holder {
        let place = (carrier.clone(), reference.clone());
        match self.one.get(&place) {
            Some(part) => Holder::One(*part),
            None if self.several.contains_key(&place) => Holder::Several,
            None => Holder::Nobody,
        }
    }

    /// From now on a receipt with this reference speaks of this part. Gives the attempt that held it alone before.
    pub fn add(
        &mut self,
        carrier: &Arc<str>,
        reference: &Arc<str>,
        at: PartOf,
    ) -> Option<AttemptKey> {
        let place = (carrier.clone(), reference.clone());
        if let Some(count) = self.several.get_mut(&place) {
            *count += 1;
            return None;
        }
        match self.one.get(&place).copied() {
            Some(same) if same == at => None,
            Some(other) => {
                self.one.remove(&place);
                self.several.insert(place, 2);
                Some(other.attempt)
            }
            None if self.ended.knows(&place) => {
                self.several.insert(place, 1);
                None
            }
            None => {
                self.one.insert(place, at);
                None
            }
        }
    }

    /// The challenge is over; what it held is remembered as ended. Once per reference of each of its attempts.
    pub fn remove(&mut self, carrier: &Arc<str>, reference: &Arc<str>, key: ChallengeKey) {
        let place = (carrier.clone(), reference.clone());
        if let Some(count) = self.several.get_mut(&place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.several.remove(&place);
            }
            self.ended.remember(&place);
        } else if self
            .one
            .get(&place)
            .is_some_and(|at| at.attempt.challenge == key)
        {
            self.one.remove(&place);
            self.ended.remember(&place);
        }
    }

    pub fn is_shared(&self, carrier: &Arc<str>, reference: &Arc<str>) -> bool {
        !self.several.is_empty()
            && self
                .several
                .contains_key(&(carrier.clone(), reference.clone()))
    }

    /// Did a challenge that ended lately have it? A hint: what is not remembered any more is found in the ledger.
    pub fn ended_lately(&self, carrier: &Arc<str>, reference: &Arc<str>) -> bool {
        self.ended.knows(&(carrier.clone(), reference.clone()))
    }
}

/// References of texts that ended lately. As keyed hashes of 64 bits: among so few no two will be met that share one.
#[derive(Debug, Default)]
struct Ended {
    hasher: RandomState,
    hashes: HashSet<u64>,
    in_order: VecDeque<u64>,
}

/// How many references of ended texts are remembered.
const ENDED: usize = 20_000;

impl Ended {
    fn remember(&mut self, reference: &Reference) {
        let hash = self.hasher.hash_one(reference);
        if !self.hashes.insert(hash) {
            return;
        }
        self.in_order.push_back(hash);
        if self.in_order.len() > ENDED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }

    fn knows(&self, reference: &Reference) -> bool {
        self.hashes.contains(&self.hasher.hash_one(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(challenge: i64, part: u16) -> PartOf {
        PartOf {
            attempt: AttemptKey {
                challenge: ChallengeKey(challenge),
                attempt: 1,
            },
            part,
        }
    }

    #[test]
    fn a_reference_that_was_given_twice_leads_to_nobody_alone_until_both_have_ended() {
        let (mut all, carrier, id) = (References::default(), Arc::from("x"), Arc::from("1"));
        assert_eq!(all.add(&carrier, &id, part(1, 0)), None);
        assert_eq!(all.add(&carrier, &id, part(1, 0)), None, "said again");
        assert_eq!(all.holder(&carrier, &id), Holder::One(part(1, 0)));
        let first = all.add(&carrier, &id, part(2, 0));
        assert_eq!(first, Some(part(1, 0).attempt));
        assert_eq!(all.holder(&carrier, &id), Holder::Several);
        all.remove(&carrier, &id, ChallengeKey(1));
        assert_eq!(
            all.holder(&carrier, &id),
            Holder::Several,
            "a repeat may speak of the one that ended"
        );
        all.remove(&carrier, &id, ChallengeKey(2));
        assert_eq!(all.holder(&carrier, &id), Holder::Nobody);
        assert!(all.ended_lately(&carrier, &id));
        all.add(&carrier, &id, part(3, 0));
        assert_eq!(all.holder(&carrier, &id), Holder::Several);
        assert!(all.one.is_empty() && all.several.len() == 1);
    }

    #[test]
    fn what_ended_is_remembered_within_bounds() {
        let (mut all, carrier): (_, Arc<str>) = (References::default(), Arc::from("x"));
        for n in 0..ENDED + 10 {
            let id = n.to_string().into();
            all.add(&carrier, &id, part(n as i64, 0));
            all.remove(&carrier, &id, ChallengeKey(n as i64));
        }
        assert_eq!(all.ended.hashes.len(), ENDED);
        assert!(!all.ended_lately(&carrier, &"9".into()));
        assert!(all.ended_lately(&carrier, &"10".into()));
    }
}
