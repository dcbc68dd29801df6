//! Whom a receipt speaks of, and how a text can be found.
//!
//! A reference as it stands in the receipt is believed unless the phone says otherwise; another form of it (hexadecimal
//! for decimal, padded, another case) only with the phone, since carriers that count upwards have such neighbours. Where a
//! reference leads to several texts or to none, carrier, phone, sender and time decide if exactly one text fits. Where
//! nothing decides, nothing is believed. Changes nothing but the tables of references and phones.

use std::sync::Arc;

use super::{
    Core,
    inbox::tails,
    references::{Holder, PartOf},
};
use crate::{
    carrier::{Receipt, ReceiptState, reference},
    challenge::{AttemptKey, Channel, Millis},
    config::carrier::{ReceiptId, Transport},
    delivery::{Attempt, Phase},
    number::{
        Number,
        written::{Tail, is_number},
    },
};

/// Whom a receipt speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    To(PartOf),
    /// No reference leads there, but carrier, phone, sender and time fit this text alone.
    ByPhone(PartOf),
    /// It may mean several, and nothing decides.
    Undecided,
    /// Its reference leads to a text to which the rest of it does not fit.
    Contradicted,
    Nobody,
}

impl Core {
    /// Whom this receipt, which came at `at`, speaks of among the open texts. `forms`: the other forms of its
    /// references, if they are at hand.
    pub(super) fn lead(
        &self,
        name: &Arc<str>,
        receipt: &Receipt,
        forms: Option<&[Arc<str>]>,
        at: Millis,
    ) -> Lead {
        let mut contradicted = false;
        for literal in &receipt.references {
            match self.registry.open.references.holder(name, literal) {
                Holder::Nobody => {}
                Holder::One(part) if self.names(receipt, part.attempt) == Some(false) => {
                    contradicted = true;
                }
                Holder::One(part) => return Lead::To(part),
                Holder::Several if tails(receipt).next().is_none() => return Lead::Undecided,
                Holder::Several => {
                    let fits = |a: &Attempt| a.references.contains(literal);
                    match self.by_phone(name, receipt, at, fits) {
                        Lead::ByPhone(part) => {
                            return Lead::To(self.part_of(part.attempt, literal, receipt.state));
                        }
                        Lead::Undecided => return Lead::Undecided,
                        _ => contradicted = true,
                    }
                }
            }
        }
        let computed;
        let forms = match forms {
            Some(forms) => forms,
            None => {
                computed = self.other_forms(name, &receipt.references);
                &computed
            }
        };
        for form in forms {
            match self.registry.open.references.holder(name, form) {
                Holder::Nobody => {}
                Holder::One(part) => match self.names(receipt, part.attempt) {
                    Some(true) => return Lead::To(part),
                    // A neighbour's reference in another base.
                    Some(false) => {}
                    None => contradicted = true,
                },
                Holder::Several => {
                    let fits = |a: &Attempt| a.references.contains(form);
                    if let Lead::ByPhone(part) = self.by_phone(name, receipt, at, fits) {
                        return Lead::To(self.part_of(part.attempt, form, receipt.state));
                    }
                }
            }
        }
        let unreferenced = |a: &Attempt| {
            a.live() && (a.references.is_empty() || matches!(a.phase, Phase::Doubt { .. }))
        };
        match self.by_phone(name, receipt, at, unreferenced) {
            Lead::Nobody if contradicted => Lead::Contradicted,
            Lead::ByPhone(part) if self.any_settled(name, receipt, part, at) => Lead::Undecided,
            lead => lead,
        }
    }

    /// Is there a text to this phone that is settled, of a challenge that goes on, and that the receipt may mean as well?
    fn any_settled(&self, name: &Arc<str>, receipt: &Receipt, but: PartOf, at: Millis) -> bool {
        tails(receipt).any(|tail| {
            let mut settled = self.correlation.settled_doubts.of(name, tail).iter();
            settled.any(|key| {
                let sent = self
                    .attempt(*key)
                    .is_some_and(|a| a.started <= at && self.fits_as_well(receipt, but, &a.sender));
                sent && self.names(receipt, *key) == Some(true)
            })
        })
    }

    /// By its sender, may the receipt mean a text of this sender as well as that one?
    pub(super) fn fits_as_well(&self, receipt: &Receipt, that: PartOf, sender: &str) -> bool {
        let that = self.attempt(that.attempt);
        let shown = that.is_some_and(|a| shows_sender(receipt, &a.sender));
        !shown || shows_sender(receipt, sender)
    }

    /// The only text that carrier, phone, sender and time fit. With two, nobody can tell.
    fn by_phone(
        &self,
        name: &Arc<str>,
        receipt: &Receipt,
        at: Millis,
        fits: impl Fn(&Attempt) -> bool,
    ) -> Lead {
        let mut found: Vec<(AttemptKey, &Attempt)> = Vec::new();
        for tail in tails(receipt) {
            for key in self.correlation.doubts.of(name, tail) {
                let attempt = self.attempt(*key).filter(|a| a.started <= at && fits(a));
                if let Some(attempt) = attempt
                    && self.names(receipt, *key) == Some(true)
                {
                    found.push((*key, attempt));
                }
            }
        }
        if found.len() > 1 && found.iter().any(|(_, a)| a.live()) {
            found.retain(|(_, a)| a.live());
        }
        if found.len() > 1 {
            found.retain(|(_, a)| shows_sender(receipt, &a.sender));
        }
        match found.as_slice() {
            [] => Lead::Nobody,
            [(attempt, _)] => Lead::ByPhone(PartOf {
                attempt: *attempt,
                part: 0,
            }),
            _ => Lead::Undecided,
        }
    }

    /// The first part with this reference of which nothing like it has been said.
    fn part_of(&self, key: AttemptKey, reference: &Arc<str>, state: ReceiptState) -> PartOf {
        let parts = self.attempt(key).into_iter().flat_map(|attempt| {
            let named = (0u16..).zip(&attempt.references);
            let parts = named.filter(|(_, known)| *known == reference);
            parts.map(move |(part, _)| (part, attempt.knows(part, state)))
        });
        let mut first = None;
        for (part, known) in parts {
            first.get_or_insert(part);
            if !known {
                return PartOf { attempt: key, part };
            }
        }
        PartOf {
            attempt: key,
            part: first.unwrap_or(0),
        }
    }

    /// Does the receipt name the phone of this attempt? None: it names no phone.
    pub(super) fn names(&self, receipt: &Receipt, key: AttemptKey) -> Option<bool> {
        let to = self.registry.open.get(key.challenge)?.ch.to?;
        let ours = self.attempt(key)?.sender.trim_start_matches('+');
        names(receipt, to, ours)
    }

    fn attempt(&self, key: AttemptKey) -> Option<&Attempt> {
        self.registry
            .open
            .get(key.challenge)?
            .life
            .attempt(key.attempt)
    }

    pub(super) fn other_forms(&self, name: &Arc<str>, references: &[Arc<str>]) -> Vec<Arc<str>> {
        let mode = match self
            .placement
            .carriers
            .get(name)
            .map(|c| &c.config.transport)
        {
            Some(Transport::Smpp(smpp)) => smpp.receipt_id,
            Some(Transport::Http(_) | Transport::Sip(_)) | None => ReceiptId::Auto,
        };
        references
            .iter()
            .flat_map(|literal| reference::other_forms(literal, mode))
            .collect()
    }

    /// From now on receipts with these references speak of this attempt. What the attempt didn't keep (a receipt had
    /// settled it under another form) leads nowhere.
    pub(super) fn refer(&mut self, name: &Arc<str>, key: AttemptKey, references: &[Arc<str>]) {
        let mut before = Vec::new();
        for (part, reference) in (0u16..).zip(references) {
            // Receipts speak of texts; a call's reference is of use to nobody here.
            let attempt = self.attempt(key).filter(|a| a.channel() == Channel::Sms);
            if attempt.is_some_and(|attempt| attempt.references.contains(reference)) {
                let at = PartOf { attempt: key, part };
                before.extend(self.registry.open.references.add(name, reference, at));
            }
        }
        for other in before {
            self.index_by_phone(other);
        }
        self.index_by_phone(key);
    }

    /// A text that no reference leads to for certain is found by its phone; another is not.
    pub(super) fn index_by_phone(&mut self, key: AttemptKey) {
        let Some(open) = self.registry.open.get(key.challenge) else {
            return;
        };
        let tail = open.ch.to.and_then(Tail::of);
        let (Some(tail), Some(attempt)) = (tail, open.life.attempt(key.attempt)) else {
            return;
        };
        if attempt.channel() == Channel::Voice {
            return;
        }
        let name = attempt.carrier.clone();
        let unreferenced = match attempt.phase {
            Phase::Doubt { .. } => true,
            Phase::Placed => false,
            Phase::Taken | Phase::Ringing | Phase::Answered => attempt.references.is_empty(),
            Phase::Settled(_) => false,
        };
        let shared = |reference| self.registry.open.references.is_shared(&name, reference);
        if unreferenced || attempt.references.iter().any(shared) {
            self.correlation.doubts.add(&name, tail, key);
        } else {
            self.correlation.doubts.remove(&name, tail, key);
        }
        if attempt.live() || !attempt.known_by_phone() {
            self.correlation.settled_doubts.remove(&name, tail, key);
        } else {
            self.correlation.settled_doubts.add(&name, tail, key);
        }
    }
}

/// Does the receipt name this sender, on either side?
fn shows_sender(receipt: &Receipt, sender: &str) -> bool {
    let sender = sender.trim_start_matches('+');
    [&receipt.phone, &receipt.sender]
        .into_iter()
        .flatten()
        .any(|text| text.trim_start_matches('+').eq_ignore_ascii_case(sender))
}

/// Does the receipt name this phone? Carriers that write the two addresses the other way round name it as the sender;
/// one that repeats our sender (`ours`) where the phone belongs names none.
pub fn names(receipt: &Receipt, to: Number, ours: &str) -> Option<bool> {
    let by = |text: &Option<Arc<str>>| text.as_deref().and_then(|text| is_number(text, to));
    match (by(&receipt.phone), by(&receipt.sender)) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), _) => {
            let phone = receipt.phone.as_deref().unwrap_or_default();
            (phone.trim_start_matches('+') != ours).then_some(false)
        }
        (None, _) => None,
    }
}
