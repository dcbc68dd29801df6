//! Texts that no reference leads to for certain, by carrier and phone: those in doubt, those that were accepted without a
//! reference, and those whose reference others have as well. Their receipts are known by the phone alone.

use std::{collections::HashMap, sync::Arc};

use crate::{challenge::AttemptKey, number::written::Tail};

#[derive(Debug, Default)]
pub struct Doubts {
    by_phone: HashMap<(Arc<str>, Tail), Vec<AttemptKey>>,
    of_carrier: HashMap<Arc<str>, usize>,
}

impl Doubts {
    pub fn add(&mut self, carrier: &Arc<str>, phone: Tail, at: AttemptKey) {
        let all = self.by_phone.entry((carrier.clone(), phone)).or_default();
        if !all.contains(&at) {
            all.push(at);
            *self.of_carrier.entry(carrier.clone()).or_default() += 1;
        }
    }

    /// The doubt is over, or nobody cares any more.
    pub fn remove(&mut self, carrier: &Arc<str>, phone: Tail, at: AttemptKey) {
        if self.by_phone.is_empty() {
            return;
        }
        let place = (carrier.clone(), phone);
        let Some(all) = self.by_phone.get_mut(&place) else {
            return;
        };
        let before = all.len();
        all.retain(|known| *known != at);
        let gone = before - all.len();
        if all.is_empty() {
            self.by_phone.remove(&place);
        }
        if let Some(count) = self.of_carrier.get_mut(carrier) {
            *count -= gone.min(*count);
            if *count == 0 {
                self.of_carrier.remove(carrier);
            }
        }
    }

    /// Those whose phones end like this.
    pub fn of(&self, carrier: &Arc<str>, phone: Tail) -> &[AttemptKey] {
        self.by_phone
            .get(&(carrier.clone(), phone))
            .map_or(&[], Vec::as_slice)
    }

    pub fn any(&self, carrier: &str) -> bool {
        self.of_carrier.contains_key(carrier)
    }
}
