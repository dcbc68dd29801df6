//! Receipts for challenges that are over: looked up in the ledger, told as `late` on the exchange, or counted as
//! unmatched.
//!
//! What waits to be looked up stands in the inbox, so that the bound of look-ups under way delays and never drops. One
//! round of look-ups is under way at a time, and the next begins when what the last one told is durable: two receipts of
//! one challenge never get one number.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Core,
    commit::Action,
    inbox::{Held, tails},
    lead::{Lead, names},
    notice::{LedgerNotice, Notices},
    output::{LookUp, Output},
    receipts,
    references::PartOf,
    references::unreferenced,
};
use crate::{
    carrier::ReceiptState,
    challenge::{AttemptKey, Challenge, ChallengeKey, Millis},
    clock::{Now, TERM},
    delivery::{Attempt, DeliveryState, Event, Note},
    ledger::{Candidates, InboxKey, Op, OutboxReport, Referred, Stored, Target, Whose},
    report::body::{self, Reader},
};

mod lookups;

pub use lookups::Lookups;

/// Most look-ups of one round.
const ROUND: usize = 64;
/// When a look-up that failed is tried again.
const AGAIN: Duration = Duration::from_secs(3);
/// So long a receipt waits that another node's text may mean.
const ELSEWHERE: Duration = Duration::from_secs(TERM.as_secs() + 5);
/// When one is tried again that another node's text may mean.
const EARLY_AGAIN: Duration = Duration::from_millis(200);
/// A receipt that only its phone can tell from others may still mean a text that ended so long ago.
const ENDED_LATELY: Duration = Duration::from_secs(3_600);
/// A `late` report is tried for so long.
const LATE_OVERTIME: Duration = Duration::from_secs(3_600);

/// What a look-up found.
pub struct Found {
    pub key: InboxKey,
    pub candidates: Candidates,
}

private_debug!(Found);

/// What was told of a challenge after its final, as the ledger keeps it beyond the wiping.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    v: u8,
    /// The last report's number.
    seq: u32,
    /// Attempt, part and state of each receipt.
    receipts: Vec<(u16, u16, ReceiptState)>,
}

/// The receipts that came after the final, in the order in which they came: attempt, part (counted from 0) and state. Empty
/// also where the row can't be read.
pub fn late_receipts(stored: &Stored) -> Vec<(u16, u16, ReceiptState)> {
    let told = serde_json::from_slice::<Told>(&stored.late);
    told.map_or_else(|_| Vec::new(), |told| told.receipts)
}

impl Told {
    fn of(stored: &Stored, life: &DeliveryState, notices: &Notices) -> Told {
        let told = match stored.late.as_slice() {
            [] => None,
            late => serde_json::from_slice(late)
                .inspect_err(|error: &serde_json::Error| {
                    notices.ledger(LedgerNotice::LateUnreadable {
                        challenge: stored.id.clone(),
                        error: error.to_string(),
                    });
                })
                .ok(),
        };
        told.unwrap_or(Told {
            v: 1,
            seq: life.seq,
            receipts: Vec::new(),
        })
    }

    /// False: it was told before, or the final says it.
    fn add(&mut self, life: &DeliveryState, at: PartOf, state: ReceiptState) -> bool {
        let (n, part) = (at.attempt.attempt, at.part);
        let known = life.attempt(n).is_some_and(|a| a.knows(part, state));
        if known || self.receipts.contains(&(n, part, state)) {
            return false;
        }
        self.receipts.push((n, part, state));
        self.seq += 1;
        true
    }
}

impl Core {
    /// What was decided before is durable: this receipt may be looked up.
    pub(super) fn look_up(&mut self, key: InboxKey) {
        self.correlation.late.queue.push_back(key);
        self.next_round();
    }

    /// What the last round told is durable.
    pub(super) fn round_over(&mut self) {
        self.correlation.late.busy = false;
        self.next_round();
    }

    fn next_round(&mut self) {
        if self.correlation.late.busy {
            return;
        }
        let mut round = Vec::new();
        while round.len() < ROUND
            && let Some(key) = self.correlation.late.queue.pop_front()
        {
            // Else its response has come meanwhile.
            if let Some(held) = self.correlation.inbox.get(key) {
                let literal = held.receipt.references.len();
                let forms = held.receipt.references.iter().chain(&held.forms);
                round.push(LookUp {
                    key,
                    whose: Whose {
                        carrier: held.carrier.clone(),
                        forms: forms.cloned().collect(),
                        literal,
                        phones: tails(&held.receipt).collect(),
                        unreferenced: tails(&held.receipt).map(unreferenced).collect(),
                    },
                });
            }
        }
        if round.is_empty() {
            return;
        }
        self.correlation.late.busy = true;
        self.correlation.late.asked = round.iter().map(|look_up| look_up.key).collect();
        self.outputs.push(Output::LookUp(round));
    }

    /// The answers of a round; what is missing in them is asked again.
    pub(super) fn late_found(&mut self, round: Vec<Found>, now: Now) {
        let mut asked = std::mem::take(&mut self.correlation.late.asked);
        let mut told: BTreeMap<ChallengeKey, Told> = BTreeMap::new();
        for found in round {
            asked.retain(|key| *key != found.key);
            self.found(found, &mut told, now);
        }
        let failing = !asked.is_empty();
        if failing && !self.correlation.late.failing {
            let receipts = asked.len();
            let begins = LedgerNotice::LookUpsFail { receipts };
            self.notices.ledger(begins);
        } else if !failing && self.correlation.late.failing {
            let ends = LedgerNotice::LookUpsAnswered;
            self.notices.ledger(ends);
        }
        self.correlation.late.failing = failing;
        for key in asked {
            self.correlation.inbox.wait_until(key, now.wall + AGAIN);
        }
        if told.is_empty() {
            self.round_over();
        } else {
            for (key, told) in told {
                let late = super::commit::encode(&told);
                self.commit.write(Op::Late { key, late });
            }
            self.commit.then(Action::RoundOver);
        }
    }

    fn found(&mut self, found: Found, told: &mut BTreeMap<ChallengeKey, Told>, now: Now) {
        let Found { key, candidates } = found;
        let Some(held) = self.correlation.inbox.get(key) else {
            return;
        };
        let others = candidates.by_phone.into_iter().map(Ended::of);
        let others: Vec<Ended> = others.filter(|other| other.may_be_meant(held)).collect();
        let notices = &self.notices;
        let decided = only(candidates.literal, candidates.by_reference, held, notices);
        if !decided.is_one() && self.sent_to_phone(&held.carrier, &held.receipt) {
            // Another text had its reference. It will be known by the answer to the one to this phone, or by the doubt.
            return self
                .correlation
                .inbox
                .wait_until(key, now.wall + receipts::OVERTAKEN);
        }
        if !decided.is_one() && self.correlation.late.any_ended_meanwhile(key, held) {
            // It may be that one's, of which the ledger could not know: it is asked again.
            return self.ask_ledger(key);
        }
        let lead = self.lead(&held.carrier, &held.receipt, Some(&held.forms), held.at);
        let elsewhere = match (&decided, &lead) {
            (ByReference::One(one), _) => self.is_elsewhere(&one.1).then_some(one.1.key),
            (ByReference::Nobody | ByReference::OtherPhones, Lead::Nobody) => {
                self.only_elsewhere(&others)
            }
            _ => None,
        };
        if let Some(challenge) = elsewhere {
            return self.hand_over(key, challenge);
        }
        // Whoever has its text may be frozen, and taken over after a term.
        let due = held.at + ELSEWHERE;
        if self.is_shared() && !decided.is_one() && matches!(lead, Lead::Nobody) && now.wall < due {
            // It was asked for early, and its response may still come, here or there.
            return self.correlation.inbox.wait_until(
                key,
                due.min(now.wall + EARLY_AGAIN.max(now.wall.since(held.at) / 2)),
            );
        }
        let mut others = others;
        others.retain(|other| !self.is_elsewhere(&other.stored));
        let Some(held) = self.done_with(key) else {
            return;
        };
        let name = held.carrier.clone();
        let known = held
            .receipt
            .references
            .iter()
            .any(|reference| self.registry.open.references.ended_lately(&name, reference));
        match decided {
            ByReference::One(one) => {
                let (referred, stored) = *one;
                let at = PartOf {
                    attempt: referred.key,
                    part: referred.part,
                };
                if self.registry.open.get(at.attempt.challenge).is_some() {
                    self.receipt_for(&name, at, &held.receipt, now.wall);
                } else {
                    self.late_receipt(at, &stored, &held, told, now);
                }
            }
            ByReference::Undecided => self.unclear(&name, &held.receipt),
            ByReference::OtherPhones => self.by_phone_alone(&held, None, others, told, now),
            ByReference::Nobody => self.by_phone_alone(&held, Some(known), others, told, now),
        }
    }

    /// The reference leads nowhere, or only to texts of other phones (a carrier gives one id twice): what is left is the
    /// phone, if only one text can be meant. `others`: those that have ended. `known`: where nobody has the reference, did
    /// somebody lately?
    fn by_phone_alone(
        &mut self,
        held: &Held,
        known: Option<bool>,
        mut others: Vec<Ended>,
        told: &mut BTreeMap<ChallengeKey, Told>,
        now: Now,
    ) {
        let (name, receipt) = (&held.carrier, &held.receipt);
        let lead = self.lead(name, receipt, Some(&held.forms), held.at);
        if let Lead::ByPhone(at) = lead {
            others.retain(|other| {
                let attempt = other.attempt();
                attempt.is_none_or(|a| self.fits_as_well(receipt, at, &a.sender))
            });
        }
        match (lead, others.len()) {
            (Lead::To(at), _) | (Lead::ByPhone(at), 0) => {
                self.receipt_for(name, at, receipt, now.wall);
            }
            (Lead::Nobody, 0) => match known {
                Some(known) => self.unmatched(held, known),
                None => self.unclear(name, receipt),
            },
            // Contradicted: an open text of another phone has the id as well.
            (Lead::Nobody | Lead::Contradicted, 1) => {
                if let Some(Ended { at, stored, .. }) = others.pop() {
                    self.late_receipt(at, &stored, held, told, now);
                }
            }
            (Lead::ByPhone(_) | Lead::Nobody | Lead::Contradicted | Lead::Undecided, _) => {
                self.unclear(name, receipt);
            }
        }
    }

    fn late_receipt(
        &mut self,
        at: PartOf,
        stored: &Stored,
        held: &Held,
        told: &mut BTreeMap<ChallengeKey, Told>,
        now: Now,
    ) {
        self.observer
            .receipt(&held.carrier, held.receipt.state, true);
        let job = serde_json::from_slice::<Challenge>(&stored.job);
        let life = serde_json::from_slice::<DeliveryState>(&stored.life);
        let (Ok(ch), Ok(life)) = (job, life) else {
            return;
        };
        let key = at.attempt.challenge;
        let state = held.receipt.state;
        let notices = &self.notices;
        let said = told
            .entry(key)
            .or_insert_with(|| Told::of(stored, &life, notices));
        if !said.add(&life, at, state) || !self.broker || !self.frame.exchange_copy {
            return;
        }
        let note = Note {
            seq: said.seq,
            at: now.wall,
            event: Event::Late,
            attempt: Some(at.attempt.attempt),
            reason: Some(state.name()),
            tells_code: false,
            digits: None,
        };
        let report = OutboxReport {
            report: self.commit.next_report(),
            challenge: key,
            seq: note.seq,
            target: Target::Exchange {
                routing_key: body::routing_key(&ch, &life, &note).into(),
                mandatory: false,
            },
            body: body::render(&self.frame, key, &ch, &life, &note, Reader::Everyone).into(),
            is_final: false,
            until: now.wall + LATE_OVERTIME,
        };
        self.commit.then(Action::Publish(Box::new(report.clone())));
        self.commit.write(Op::Report(Box::new(report)));
    }
}

/// Whom the references of a receipt mean, of those that have ended.
enum ByReference {
    One(Box<(Referred, Stored)>),
    /// Several, or one of which nothing tells that it is meant.
    Undecided,
    /// Texts that went to other phones than the receipt names.
    OtherPhones,
    Nobody,
}

impl ByReference {
    fn is_one(&self) -> bool {
        matches!(self, ByReference::One(_))
    }
}

/// The one text that a receipt can mean among those that have ended. The phone decides, as far as it is known on both
/// sides; a reference in another form is believed only with it.
fn only(
    literal: bool,
    candidates: Vec<(Referred, Stored)>,
    held: &Held,
    notices: &Notices,
) -> ByReference {
    let phone = |(referred, stored): &(Referred, Stored)| {
        referred.same_phone.or_else(|| {
            let ch = serde_json::from_slice::<Challenge>(&stored.job).ok()?;
            names(&held.receipt, ch.to?, "")
        })
    };
    if candidates.is_empty() {
        return ByReference::Nobody;
    }
    let mut sure = Vec::new();
    let mut unsure = Vec::new();
    let mut others_alone = true;
    for candidate in candidates {
        let same = phone(&candidate);
        others_alone &= same == Some(false);
        match same {
            Some(true) => sure.push(candidate),
            None if literal => unsure.push(candidate),
            Some(false) | None => {}
        }
    }
    if others_alone {
        return ByReference::OtherPhones;
    }
    let mut fits = if sure.is_empty() { unsure } else { sure };
    let attempt = fits.first().map(|(referred, _)| referred.key);
    let one = attempt.filter(|attempt| fits.iter().all(|(referred, _)| referred.key == *attempt));
    match one.and_then(|attempt| pick(&mut fits, held, attempt, notices)) {
        Some(one) => ByReference::One(Box::new(one)),
        None => ByReference::Undecided,
    }
}

/// A text without a reference whose challenge is not open here.
pub(super) struct Ended {
    at: PartOf,
    pub stored: Stored,
    life: DeliveryState,
}

impl Ended {
    fn of((referred, stored): (Referred, Stored)) -> Ended {
        Ended {
            at: PartOf {
                attempt: referred.key,
                part: referred.part,
            },
            life: serde_json::from_slice(&stored.life).unwrap_or_default(),
            stored,
        }
    }

    fn attempt(&self) -> Option<&Attempt> {
        self.life.attempt(self.at.attempt.attempt)
    }

    /// Not where it ended long ago, was sent later, or to another phone.
    fn may_be_meant(&self, held: &Held) -> bool {
        let lately = |ended: Millis| held.at.since(ended) <= ENDED_LATELY;
        let attempt = self.attempt();
        let sender = attempt.map_or("", |a| a.sender.trim_start_matches('+'));
        let job = serde_json::from_slice::<Challenge>(&self.stored.job).ok();
        let named = job.and_then(|ch| names(&held.receipt, ch.to?, sender));
        self.stored.ended.is_none_or(lately)
            && attempt.is_none_or(|a| a.started <= held.at)
            && named != Some(false)
    }
}

/// Of several parts with one reference the first of which nothing like it has been said.
fn pick(
    fits: &mut Vec<(Referred, Stored)>,
    held: &Held,
    attempt: AttemptKey,
    notices: &Notices,
) -> Option<(Referred, Stored)> {
    let state = held.receipt.state;
    let new = fits.iter().position(|(referred, stored)| {
        let life = serde_json::from_slice::<DeliveryState>(&stored.life).unwrap_or_default();
        let told = Told::of(stored, &life, notices);
        let known = life
            .attempt(attempt.attempt)
            .is_some_and(|a| a.knows(referred.part, state));
        !known
            && !told
                .receipts
                .contains(&(attempt.attempt, referred.part, state))
    });
    let at = if fits.len() > 1 { new.unwrap_or(0) } else { 0 };
    (at < fits.len()).then(|| fits.swap_remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(late: &[u8]) -> Stored {
        Stored {
            key: ChallengeKey(1),
            tenant: "t".into(),
            id: "a".into(),
            content: [0; 32],
            arrived: Millis(0),
            deadline: Millis(0),
            job: Vec::new(),
            life: Vec::new(),
            last: None,
            ended: Some(Millis(0)),
            late: late.to_vec(),
            verified: None,
            early: None,
        }
    }

    fn part(attempt: u16, part: u16) -> PartOf {
        PartOf {
            attempt: AttemptKey {
                challenge: ChallengeKey(1),
                attempt,
            },
            part,
        }
    }

    #[test]
    fn numbers_go_on_after_the_final_and_a_repeat_is_not_told() {
        let mut life = DeliveryState::default();
        life.seq = 3;
        let mut told = Told::of(&stored(b""), &life, &Notices::nowhere());
        assert!(told.add(&life, part(1, 0), ReceiptState::Delivered));
        assert_eq!(told.seq, 4);
        let kept = super::super::commit::encode(&told);
        // Rows of a released version are read by every later one.
        let golden = r#"{"v":1,"seq":4,"receipts":[[1,0,"delivered"]]}"#;
        assert_eq!(String::from_utf8_lossy(&kept), golden);
        let mut told = Told::of(&stored(&kept), &life, &Notices::nowhere());
        assert!(!told.add(&life, part(1, 0), ReceiptState::Delivered));
        assert!(told.add(&life, part(1, 1), ReceiptState::Delivered));
        assert!(told.add(&life, part(1, 0), ReceiptState::Undelivered));
        assert_eq!(told.seq, 6);
    }
}
