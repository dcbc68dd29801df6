//! What operators change while it runs: the overlay over the files, durable before it is answered.

use std::{sync::Arc, time::Duration};

use super::{
    Core,
    commit::{Action, PendingOrder, encode},
    notice::OverlayNotice,
    output::{OrderId, Ordered, Output},
    view::CarrierView,
};
use crate::{
    challenge::{Challenge, Millis},
    clock::Now,
    delivery::DeliveryState,
    ledger::{Claim, ClaimedOrder, Op},
    overlay::{Audit, Entry, Overlay, OverlayChange},
};

/// What an operator wants of the overlay.
#[derive(Clone, Debug)]
pub struct OverlayOrder {
    pub change: OverlayChange,
    /// Who wants it, as they call themselves.
    pub owner: Arc<str>,
    pub reason: Arc<str>,
    pub step: Step,
    /// Whoever asks may stop waiting: then it is not made.
    pub claim: Claim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// In force for this long; None: until it is lifted.
    Put(Option<Duration>),
    Lift,
}

impl Core {
    /// The overlay as the ledger held it. Once, before the first input.
    pub fn overlay(&mut self, entries: Vec<Vec<u8>>) {
        let tell = |notice| self.notices.overlay(notice);
        let read = |octets: Vec<u8>| match serde_json::from_slice::<Entry>(&octets) {
            Ok(entry) => Some(entry),
            Err(reason) => {
                let reason = reason.to_string();
                tell(OverlayNotice::Unreadable { reason });
                None
            }
        };
        self.placement.overlay = Overlay::of(entries.into_iter().filter_map(read));
        for entry in self.placement.overlay.entries() {
            tell(OverlayNotice::StillInForce(entry.clone()));
        }
    }

    /// An operator's order: answered by [`Output::Ordered`] once it is durable.
    pub fn order_overlay(&mut self, order: OverlayOrder, id: OrderId, now: Millis) {
        let OverlayOrder {
            change,
            owner,
            reason,
            step,
            claim,
        } = order;
        let before = self
            .placement
            .overlay
            .entries()
            .find(|e| e.change == change);
        let before = before.map(encode);
        // In force once it is durable.
        let mut next = self.placement.overlay.clone();
        let (audit, entry, ordered) = match step {
            Step::Put(_) if !self.knows(&change) => {
                return self
                    .outputs
                    .push(Output::Ordered(id, Ordered::NoSuchSubject));
            }
            Step::Put(span) => {
                let entry = Entry {
                    change,
                    owner,
                    reason,
                    since: now,
                    until: span.map(|span| now + span),
                };
                let audit = next.put(entry.clone());
                let until = entry.until;
                (audit, Some(entry), Ordered::InForce(until))
            }
            Step::Lift => match next.lift(&change, owner, reason, now) {
                Some(audit) => (audit, None, Ordered::Lifted),
                None => return self.outputs.push(Output::Ordered(id, Ordered::NotInForce)),
            },
        };
        let claimed = ClaimedOrder {
            claim: claim.clone(),
            before,
        };
        self.write_overlay(&audit, entry.as_ref(), Some(claimed));
        self.commit.then(Action::Ordered(Box::new(PendingOrder {
            audit,
            entry,
            claim,
            id,
            ordered,
        })));
    }

    /// The ledger holds it, or its asker was told that it is not done.
    pub(super) fn ordered(&mut self, order: PendingOrder) {
        let PendingOrder {
            audit,
            entry,
            claim,
            id,
            ordered,
        } = order;
        if claim.given_up() {
            let given_up = OverlayNotice::GivenUp(audit);
            self.notices.overlay(given_up);
            return self.outputs.push(Output::Ordered(id, Ordered::NotInForce));
        }
        match entry {
            Some(entry) => {
                let in_force = OverlayNotice::InForce {
                    replaces: self.placement.overlay.changes(&entry.change),
                    entry: entry.clone(),
                };
                self.notices.overlay(in_force);
                self.placement.overlay.put(entry);
            }
            None => {
                let (owner, reason) = (audit.owner.clone(), audit.reason.clone());
                let overlay = &mut self.placement.overlay;
                // Else its time was over meanwhile.
                if overlay
                    .lift(&audit.change, owner, reason, audit.at)
                    .is_some()
                {
                    self.no_longer(&audit);
                }
            }
        }
        self.placement.queue.room_changed();
        self.outputs.push(Output::Ordered(id, ordered));
    }

    /// Entries whose time is over.
    pub(super) fn expire_overlay(&mut self, now: Millis) {
        while let Some(audit) = self.placement.overlay.expire(now) {
            self.no_longer(&audit);
            self.write_overlay(&audit, None, None);
            self.placement.queue.room_changed();
        }
    }

    fn no_longer(&self, audit: &Audit) {
        let no_longer = OverlayNotice::NoLonger(audit.clone());
        self.notices.overlay(no_longer);
    }

    fn write_overlay(&mut self, audit: &Audit, entry: Option<&Entry>, order: Option<ClaimedOrder>) {
        let subject = format!("{} {}", audit.change.name(), audit.change.subject());
        self.commit.write(Op::Overlay {
            subject: subject.into(),
            entry: entry.map(encode),
            audit: encode(audit),
            order,
        });
    }

    fn knows(&self, change: &OverlayChange) -> bool {
        match change {
            OverlayChange::SuspendCarrier { carrier } => self.config.carriers.contains_key(carrier),
        }
    }

    /// The carriers as the operator sees them: what operators have changed goes before what health says.
    pub fn carrier_views(&self) -> Vec<CarrierView> {
        self.placement
            .carriers
            .iter()
            .filter(|running| !running.leaving)
            .map(|running| {
                let receipts = self.receipts_note(&running.config.name);
                let view = super::view::carrier_view(running, receipts);
                match self.placement.overlay.suspended(&view.name) {
                    Some(entry) => CarrierView {
                        state: "suspended",
                        reason: words(entry),
                        ..view
                    },
                    None => view,
                }
            })
            .collect()
    }

    /// An open challenge as memory has it.
    pub fn open_challenge(
        &mut self,
        tenant: &Arc<str>,
        id: &Arc<str>,
        now: Now,
    ) -> Option<OpenChallenge> {
        self.at(now);
        let key = self.registry.open.by_id(tenant, id)?;
        let open = self.registry.open.get(key)?;
        let (ch, mut life) = (open.ch.clone(), open.life.clone());
        if life.attempts.is_empty() {
            // It waits: what for, is of the moment.
            life.left_out = self.kept_from(key, now.wall);
        }
        Some((ch, life))
    }
}

/// A challenge and its life so far, copied out.
pub type OpenChallenge = (Challenge, DeliveryState);

/// `by_operator: maintenance (ada, until 2026-11-28T20:00:00.000Z)`.
fn words(entry: &Entry) -> String {
    let until = entry
        .until
        .map_or_else(|| "resumed".to_owned(), Millis::rfc3339);
    format!(
        "by_operator: {} ({}, until {until})",
        entry.reason, entry.owner
    )
}
