//! The pen: receipts that nobody is known for yet.
//!
//! A receipt may overtake the submit's response, or speak of a submit that was never answered. It is parked here for
//! a moment, bounded in time and number.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::open::same_phone;
use crate::{carrier::Receipt, challenge::Millis, number::Number};

type Reference = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub struct Pen {
    parked: HashMap<u64, (Arc<str>, Receipt)>,
    /// By the reference as it stands in the receipt.
    literal: HashMap<Reference, u64>,
    /// By every other form that it may have.
    derived: HashMap<Reference, u64>,
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
        for (place, form) in receipt.references.iter().enumerate() {
            let forms = if place == 0 {
                &mut self.literal
            } else {
                &mut self.derived
            };
            forms.insert((carrier.clone(), form.clone()), self.next);
        }
        self.order
            .push_back((Millis(now.0 + OVERTAKEN_MS), self.next));
        self.parked.insert(self.next, (carrier.clone(), receipt));
    }

    /// The receipt that overtook this reference's response, if one did. One that writes the reference in another form
    /// must name the same phone.
    pub fn take(
        &mut self,
        carrier: &Arc<str>,
        reference: &Arc<str>,
        to: Option<Number>,
    ) -> Option<Receipt> {
        if self.parked.is_empty() {
            return None;
        }
        let reference = (carrier.clone(), reference.clone());
        let number = match self.literal.get(&reference) {
            Some(number) => *number,
            None => {
                let number = *self.derived.get(&reference)?;
                let (_, receipt) = self.parked.get(&number)?;
                to.is_some_and(|to| same_phone(receipt, to))
                    .then_some(number)?
            }
        };
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
        for (place, form) in receipt.references.iter().enumerate() {
            let forms = if place == 0 {
                &mut self.literal
            } else {
                &mut self.derived
            };
            let form = (carrier.clone(), form.clone());
            if forms.get(&form) == Some(&number) {
                forms.remove(&form);
            }
        }
        Some((carrier, receipt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::ReceiptState;

    fn receipt(forms: &[&str], phone: &str) -> Receipt {
        Receipt {
            references: forms.iter().map(|f| Arc::from(*f)).collect(),
            state: ReceiptState::Delivered,
            carrier_code: None,
            cause: None,
            phone: Some(phone.into()),
            sender: None,
        }
    }

    /// A carrier that counts upwards: 10 in hexadecimal is another text than 10 in decimal.
    #[test]
    fn neighbours_in_another_base_are_not_taken_for_each_other() {
        let (mut pen, carrier) = (Pen::default(), Arc::from("foreign"));
        let (ada, bob) = (
            Number::from_e164("+12025550101"),
            Number::from_e164("+12025550102"),
        );
        pen.park(Millis(0), &carrier, receipt(&["10", "16"], "12025550101"));
        pen.park(Millis(0), &carrier, receipt(&["16", "22"], "12025550102"));
        assert!(
            pen.take(&carrier, &"22".into(), ada).is_none(),
            "bob's, in hexadecimal"
        );
        let found = pen.take(&carrier, &"16".into(), bob).expect("bob's own");
        assert_eq!(found.phone.as_deref(), Some("12025550102"));
        assert!(
            pen.take(&carrier, &"16".into(), bob).is_none(),
            "ada's, in hexadecimal"
        );
        assert!(
            pen.take(&carrier, &"16".into(), ada).is_some(),
            "ada's carrier answers in decimal"
        );
        assert!(pen.literal.is_empty() && pen.derived.is_empty());
    }
}
