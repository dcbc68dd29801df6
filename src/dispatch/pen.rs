//! The pen: receipts that nobody is known for yet.
//!
//! A receipt may overtake the submit's response, or speak of a submit that was never answered. It is parked here for
//! a moment, bounded in time and number.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{carrier::Receipt, challenge::Millis};

#[derive(Debug, Default)]
pub struct Pen {
    parked: HashMap<u64, (Arc<str>, Receipt)>,
    /// Every form that a parked receipt's reference may have.
    forms: HashMap<(Arc<str>, Arc<str>), u64>,
    order: VecDeque<(Millis, u64)>,
    next: u64,
}

/// Most receipts that are parked; beyond it the oldest goes.
const PARKED: usize = 50_000;
/// How long a receipt waits for a response that it overtook.
pub const OVERTAKEN_MS: i64 = 3_000;

impl Pen {
    pub fn park(&mut self, now: Millis, carrier: &Arc<str>, receipt: Receipt) {
        self.next += 1;
        for form in &receipt.references {
            self.forms
                .insert((carrier.clone(), form.clone()), self.next);
        }
        self.order
            .push_back((Millis(now.0 + OVERTAKEN_MS), self.next));
        self.parked.insert(self.next, (carrier.clone(), receipt));
    }

    /// The receipt that overtook this reference's response, if one did.
    pub fn take(&mut self, carrier: &Arc<str>, reference: &Arc<str>) -> Option<Receipt> {
        if self.parked.is_empty() {
            return None;
        }
        let number = *self.forms.get(&(carrier.clone(), reference.clone()))?;
        self.remove(number).map(|(_, receipt)| receipt)
    }

    /// A receipt whose wait is over, with its carrier. Asked again until none is left.
    pub fn overdue(&mut self, now: Millis) -> Option<(Arc<str>, Receipt)> {
        while let Some((at, number)) = self.order.front().copied() {
            if at > now && self.order.len() <= PARKED {
                return None;
            }
            self.order.pop_front();
            if let Some(found) = self.remove(number) {
                return Some(found);
            }
        }
        None
    }

    pub fn next_wake(&self) -> Option<Millis> {
        self.order.front().map(|(at, _)| *at)
    }

    fn remove(&mut self, number: u64) -> Option<(Arc<str>, Receipt)> {
        let (carrier, receipt) = self.parked.remove(&number)?;
        for form in &receipt.references {
            let form = (carrier.clone(), form.clone());
            if self.forms.get(&form) == Some(&number) {
                self.forms.remove(&form);
            }
        }
        Some((carrier, receipt))
    }
}
