//! Receipts: whose they are, and what becomes of those that nobody is known for yet.
//!
//! What leads to an open text has its effect at once; the rest is held in the inbox. Where nothing decides, nothing is
//! believed, and that is counted and said.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Core,
    commit::Action,
    effects::Change,
    inbox::{Held, Record, tails},
    lead::Lead,
    notice::{CarrierNotice, LedgerNotice},
    output::Output,
    references::PartOf,
};
use crate::{
    carrier::{Acknowledgement, Receipt, ReceiptState, reference},
    challenge::Millis,
    clock::Mono,
    ledger::{InboxKey, InboxMessage, Op},
    number::{Number, written::Tail},
};

/// How long a receipt waits for a response that it overtook.
pub(super) const OVERTAKEN: Duration = Duration::from_secs(3);
/// How long a carrier waits for its answer where only a response can say whose receipt it is: shorter than the carriers'
/// own patience.
const UNANSWERED: Duration = Duration::from_millis(1_500);
/// After so long without another receipt that nothing decides, it is over.
const UNCLEAR_FOR: Duration = Duration::from_secs(600);

/// Receipts of one carrier that nothing decided.
#[derive(Debug)]
pub struct Unclear {
    count: u64,
    last: Mono,
}

impl Core {
    /// A receipt has come. Its carrier is answered once what it says is durable.
    pub(super) fn receipt_came(
        &mut self,
        name: &Arc<str>,
        mut receipt: Receipt,
        ack: Acknowledgement,
        now: Millis,
    ) {
        receipt.references = std::mem::take(&mut receipt.references)
            .into_iter()
            .filter_map(reference::normal)
            .collect();
        let nameless = tails(&receipt).next().is_none();
        let lead = self.lead(name, &receipt, None, now);
        let by_phone = matches!(lead, Lead::ByPhone(_)) && !self.sent_to_phone(name, &receipt);
        match lead {
            Lead::To(at) => self.receipt_for(name, at, &receipt, now),
            Lead::Undecided if nameless => self.unclear(name, &receipt),
            Lead::Nobody if nameless && receipt.references.is_empty() => {
                self.observer.receipt(name, receipt.state, false);
            }
            Lead::ByPhone(_) | Lead::Undecided | Lead::Contradicted | Lead::Nobody => {
                let key = self.hold(name, receipt, nameless, ack, now);
                // It may be that of a text that has ended: before the phone alone decides, the ledger is asked.
                return key
                    .filter(|_| by_phone)
                    .map_or((), |key| self.ask_ledger(key));
            }
        }
        self.commit.then(Action::Acknowledge(ack));
    }

    /// Nobody is known for it yet. It is kept, and its carrier answered; but where it names no phone and some text is
    /// unanswered, nothing that a restart knows could find its text: then its carrier waits for the answer as well. None: the
    /// ledger need not be asked now.
    fn hold(
        &mut self,
        name: &Arc<str>,
        receipt: Receipt,
        nameless: bool,
        ack: Acknowledgement,
        now: Millis,
    ) -> Option<InboxKey> {
        let ended = receipt
            .references
            .iter()
            .any(|reference| self.registry.open.references.ended_lately(name, reference));
        let passing = receipt.state == ReceiptState::Intermediate;
        if passing && ended {
            self.observer.receipt(name, receipt.state, true);
            self.commit.then(Action::Acknowledge(ack));
            return None;
        }
        if self.correlation.inbox.is_full(name) {
            self.observer.receipt_refused(name);
            self.outputs.push(Output::Refuse(ack));
            return None;
        }
        let forms = self.other_forms(name, &receipt.references);
        let waits = nameless && !ended && self.any_unanswered(name);
        let due = now + if waits { UNANSWERED } else { OVERTAKEN };
        let key = self.correlation.inbox.hold(name, receipt, forms, now, due);
        if waits {
            if let Some(held) = self.correlation.inbox.get_mut(key) {
                held.ack = Some(ack);
            }
            return None;
        }
        // One on the way changes nothing: it may be lost.
        if !passing {
            self.write_down(key);
        }
        self.commit.then(Action::Acknowledge(ack));
        // Where others live it may be one of theirs.
        let now = ended || self.is_shared();
        if now {
            self.ask_ledger(key);
        }
        (!now).then_some(key)
    }

    pub(super) fn write_down(&mut self, key: InboxKey) {
        if let Some(held) = self.correlation.inbox.get_mut(key) {
            held.written = true;
            let message = Record::message(key, held);
            self.commit.write(Op::Inbox(Box::new(message)));
        }
    }

    /// It has led to something, in this batch; or to nothing at all.
    pub(super) fn done_with(&mut self, key: InboxKey) -> Option<Held> {
        let held = self.forget_held(key)?;
        if held.written {
            self.commit.write(Op::InboxDone { key });
        }
        Some(held)
    }

    /// Nothing waits for it here any more; its carrier is answered with this batch.
    pub(super) fn forget_held(&mut self, key: InboxKey) -> Option<Held> {
        let mut held = self.correlation.inbox.remove(key)?;
        self.correlation.late.waits_no_longer(key);
        if let Some(ack) = held.ack.take() {
            self.commit.then(Action::Acknowledge(ack));
        }
        Some(held)
    }

    /// Takes up what an earlier life of this process has kept. After [`Core::resume`], before the first input.
    pub fn take_up_message(&mut self, message: InboxMessage) {
        let Some(record) = Record::read(&message.body) else {
            let message = message.key;
            let unreadable = LedgerNotice::MessageUnreadable { message };
            self.notices.ledger(unreadable);
            return;
        };
        let forms = self.other_forms(record.carrier(), record.references());
        self.correlation
            .inbox
            .restore(message.key, message.at, record, forms);
    }

    /// The response has come, and with it these references: what overtook it is believed now.
    pub(super) fn release_overtaken(
        &mut self,
        name: &Arc<str>,
        references: &[Arc<str>],
        now: Millis,
    ) {
        for reference in references {
            for key in self.correlation.inbox.by_reference(name, reference) {
                self.release(key, false, now);
            }
        }
    }

    /// No reference will lead to this text: perhaps its receipt is there already.
    pub(super) fn release_for_phone(&mut self, name: &Arc<str>, to: Number, now: Millis) {
        let Some(tail) = Tail::of(to) else { return };
        for key in self.correlation.inbox.by_phone(name, tail) {
            self.release(key, false, now);
        }
    }

    /// Receipts whose wait is over.
    pub(super) fn release_overdue(&mut self, now: Millis) {
        while let Some(key) = self.correlation.inbox.overdue(now) {
            self.release(key, true, now);
        }
    }

    /// Believes a receipt that waits, if it leads to a text now. `last`: nothing more is waited for but the ledger.
    fn release(&mut self, key: InboxKey, last: bool, now: Millis) {
        let Some(held) = self.correlation.inbox.get(key) else {
            return;
        };
        let name = held.carrier.clone();
        let lead = self.lead(&name, &held.receipt, Some(&held.forms), held.at);
        match lead {
            // It may be the receipt of the one that is unanswered.
            Lead::ByPhone(_) if self.sent_to_phone(&name, &held.receipt) => {
                if last {
                    self.correlation.inbox.wait_until(key, now + OVERTAKEN);
                }
            }
            // Or that of a text that has ended, by its id or by the phone.
            Lead::ByPhone(_) => self.ask_ledger(key),
            Lead::To(at) => {
                if let Some(held) = self.done_with(key) {
                    self.receipt_for(&name, at, &held.receipt, now);
                }
            }
            Lead::Undecided if last => {
                if let Some(held) = self.done_with(key) {
                    self.unclear(&name, &held.receipt);
                }
            }
            // Its text may be the one that is unanswered: by the answer, or by the doubt, it will be known.
            Lead::Contradicted | Lead::Nobody
                if last && self.sent_to_phone(&name, &held.receipt) =>
            {
                self.correlation.inbox.wait_until(key, now + OVERTAKEN);
            }
            Lead::Contradicted | Lead::Nobody if last => {
                let passing = held.receipt.state == ReceiptState::Intermediate;
                let waits = held.ack.is_some() && self.any_unanswered_since(&name, held.at, now);
                match (waits, passing) {
                    (true, _) => self.refuse(key),
                    (false, true) => {
                        if let Some(held) = self.done_with(key) {
                            self.observer.receipt(&name, held.receipt.state, false);
                        }
                    }
                    (false, false) => self.ask_ledger(key),
                }
            }
            Lead::Undecided | Lead::Contradicted | Lead::Nobody => {}
        }
    }

    /// Its text may be known when its carrier brings it again.
    fn refuse(&mut self, key: InboxKey) {
        if let Some(held) = self.correlation.inbox.remove(key) {
            self.correlation.late.waits_no_longer(key);
            self.observer.receipt_refused(&held.carrier);
            let ack = held.ack.into_iter();
            ack.for_each(|ack| self.outputs.push(Output::Refuse(ack)));
        }
    }

    /// Nobody open is known for it. The ledger is asked once it holds all that has been decided so far.
    pub(super) fn ask_ledger(&mut self, key: InboxKey) {
        self.correlation.inbox.wait_for_ledger(key);
        self.correlation.late.waits(key);
        self.commit.then(Action::LookUp(key));
    }

    /// Nobody is known for it, open or ended. `known`: its reference is that of a text that ended lately.
    pub(super) fn unmatched(&mut self, held: &Held, known: bool) {
        let (name, state) = (&held.carrier, held.receipt.state);
        self.observer.receipt(name, state, known);
        if !known && state != ReceiptState::Intermediate {
            self.unmatched_receipt(name);
        }
        tracing::debug!(carrier = %name, "a receipt for nothing we know");
    }

    /// Is a text to this phone on its way to the carrier, unanswered? Its response will say more.
    pub(super) fn sent_to_phone(&self, name: &Arc<str>, receipt: &Receipt) -> bool {
        self.placement.carriers.get(name).is_some_and(|carrier| {
            carrier
                .held()
                .any(|key| self.names(receipt, key) == Some(true))
        })
    }

    fn any_unanswered(&self, name: &Arc<str>) -> bool {
        let in_flight = self
            .placement
            .carriers
            .get(name)
            .is_some_and(|c| c.in_flight() > 0);
        in_flight || self.correlation.doubts.any(name)
    }

    /// Is a text unanswered that was sent before `at`?
    fn any_unanswered_since(&self, name: &Arc<str>, at: Millis, now: Millis) -> bool {
        let ago = now.since(at);
        let before = self.mono - ago;
        let in_flight = self.placement.carriers.get(name).is_some_and(|carrier| {
            let mut all = carrier.held();
            all.any(|key| carrier.since(key).is_some_and(|since| since <= before))
        });
        in_flight || self.correlation.doubts.any(name)
    }

    /// Nothing decides whose it is: nothing is believed.
    pub(super) fn unclear(&mut self, name: &Arc<str>, receipt: &Receipt) {
        self.observer.receipt(name, receipt.state, false);
        self.observer.receipt_ambiguous(name);
        let (count, last) = (1, self.mono);
        match self.correlation.unclear.get_mut(name) {
            Some(unclear) => {
                *unclear = Unclear {
                    count: unclear.count + 1,
                    last,
                }
            }
            None => {
                let begins = CarrierNotice::UnclearReceipts;
                self.notices.carrier(name, begins);
                self.correlation
                    .unclear
                    .insert(name.clone(), Unclear { count, last });
            }
        }
    }

    /// What is over is said.
    pub(super) fn sweep_unclear(&mut self) {
        let (mono, notices) = (self.mono, &self.notices);
        self.correlation.unclear.retain(|name, unclear| {
            let goes_on = mono.saturating_duration_since(unclear.last) < UNCLEAR_FOR;
            if !goes_on {
                let unclear = unclear.count;
                let ends = CarrierNotice::ClearReceipts { unclear };
                notices.carrier(name, ends);
            }
            goes_on
        });
    }

    pub(super) fn receipt_for(
        &mut self,
        name: &Arc<str>,
        at: PartOf,
        receipt: &Receipt,
        now: Millis,
    ) {
        self.observer.receipt(name, receipt.state, true);
        let key = at.attempt;
        let Some(open) = self.registry.open.get_mut(key.challenge) else {
            return;
        };
        // A text that was accepted without a reference has its receipt's from now on: a repeat is known by it.
        let adopted = match (open.life.attempt(key.attempt), receipt.references.first()) {
            (Some(a), Some(reference)) if a.references.is_empty() && a.taken => {
                open.life.adopt(key.attempt, reference.clone());
                Some(reference)
            }
            (Some(a), Some(reference)) if a.references.is_empty() => Some(reference),
            _ => None,
        };
        let news = open.life.receipt(
            &open.ch,
            now,
            key.attempt,
            at.part,
            receipt,
            &mut self.effects,
        );
        if let Some(reference) = adopted {
            self.refer(name, key, std::slice::from_ref(reference));
        }
        if news {
            self.receipt_evidence(name, key, receipt.state);
            self.index_by_phone(key);
            self.settle(key.challenge, Change::Life, now);
        }
    }

    /// How it stands with a carrier's receipts, where there is something to say.
    pub(super) fn receipts_note(&self, name: &str) -> Option<String> {
        let unclear = self.correlation.unclear.get(name)?;
        Some(format!(
            "{} receipts can't be told apart and are not believed",
            unclear.count
        ))
    }
}

/// Open texts whose receipts can't be told apart, by carrier.
pub type UnclearReceipts = HashMap<Arc<str>, Unclear>;
