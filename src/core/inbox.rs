//! The inbox: receipts that nobody is known for yet.
//!
//! A receipt may overtake its submit's response, speak of a submit that was never answered, or of a challenge that is
//! long over. It is written down as it came, its carrier is answered, and it waits here until it has found its text or
//! the ledger has been asked. The table of the ledger holds the same, so that a restart goes on with it. Bounded: what
//! comes beyond is refused at once and comes again. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    carrier::{Acknowledgement, Receipt, ReceiptState},
    challenge::Millis,
    ledger::{InboxKey, InboxMessage},
    number::written::Tail,
};

type Reference = (Arc<str>, Arc<str>);

/// A receipt that waits.
#[derive(Debug)]
pub struct Held {
    pub carrier: Arc<str>,
    pub receipt: Receipt,
    /// The other forms of its references.
    pub forms: Vec<Arc<str>>,
    pub at: Millis,
    /// The ledger holds it, or will with the next batch.
    pub written: bool,
    /// Its carrier has not been answered yet: nothing but a response can say whose it is.
    pub ack: Option<Acknowledgement>,
    due: Millis,
}

#[derive(Debug, Default)]
pub struct Inbox {
    held: HashMap<InboxKey, Held>,
    /// By every form of the reference.
    references: HashMap<Reference, Vec<InboxKey>>,
    phones: HashMap<(Arc<str>, Tail), Vec<InboxKey>>,
    due: BTreeSet<(Millis, InboxKey)>,
    of_carrier: HashMap<Arc<str>, usize>,
    last: i64,
}

/// Most receipts that wait, and most of one carrier: a stranger's receipts must not take the place of the others'.
const HELD: usize = 60_000;
const HELD_OF_CARRIER: usize = 20_000;

impl Inbox {
    /// `first`: the first key that is free.
    pub fn new(first: i64) -> Inbox {
        Inbox {
            last: first - 1,
            ..Inbox::default()
        }
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_full(&self, carrier: &str) -> bool {
        self.held.len() >= HELD
            || self
                .of_carrier
                .get(carrier)
                .is_some_and(|count| *count >= HELD_OF_CARRIER)
    }

    /// Keeps one that has just come, until `due` at the least.
    pub fn hold(
        &mut self,
        carrier: &Arc<str>,
        receipt: Receipt,
        forms: Vec<Arc<str>>,
        now: Millis,
        due: Millis,
    ) -> InboxKey {
        self.last += 1;
        let key = InboxKey(self.last);
        let held = Held {
            carrier: carrier.clone(),
            receipt,
            forms,
            at: now,
            written: false,
            ack: None,
            due,
        };
        self.put(key, held);
        key
    }

    /// Takes up one that an earlier life of this process has kept. Its response won't come any more: it is due at once.
    pub fn restore(&mut self, key: InboxKey, at: Millis, record: Record, forms: Vec<Arc<str>>) {
        let held = Held {
            carrier: record.carrier,
            receipt: record.receipt,
            forms,
            at,
            written: true,
            ack: None,
            due: at,
        };
        self.put(key, held);
    }

    fn put(&mut self, key: InboxKey, held: Held) {
        for reference in held.receipt.references.iter().chain(&held.forms) {
            let place = (held.carrier.clone(), reference.clone());
            self.references.entry(place).or_default().push(key);
        }
        for tail in tails(&held.receipt) {
            let place = (held.carrier.clone(), tail);
            self.phones.entry(place).or_default().push(key);
        }
        *self.of_carrier.entry(held.carrier.clone()).or_default() += 1;
        self.due.insert((held.due, key));
        self.held.insert(key, held);
    }

    pub fn get(&self, key: InboxKey) -> Option<&Held> {
        self.held.get(&key)
    }

    pub fn get_mut(&mut self, key: InboxKey) -> Option<&mut Held> {
        self.held.get_mut(&key)
    }

    /// Those that may mean this reference: those that say "delivered" first, each in the order in which they came.
    pub fn by_reference(&self, carrier: &Arc<str>, reference: &Arc<str>) -> Vec<InboxKey> {
        match self.held.is_empty() {
            true => Vec::new(),
            false => self.sorted(self.references.get(&(carrier.clone(), reference.clone()))),
        }
    }

    /// Those that may mean this phone, in the same order.
    pub fn by_phone(&self, carrier: &Arc<str>, phone: Tail) -> Vec<InboxKey> {
        match self.held.is_empty() {
            true => Vec::new(),
            false => self.sorted(self.phones.get(&(carrier.clone(), phone))),
        }
    }

    /// A final must not be made by a bad one while a good one waits behind it.
    fn sorted(&self, keys: Option<&Vec<InboxKey>>) -> Vec<InboxKey> {
        let mut keys = keys.cloned().unwrap_or_default();
        let rank = |key: &InboxKey| {
            let state = self.held.get(key).map(|held| held.receipt.state);
            (state != Some(ReceiptState::Delivered), *key)
        };
        keys.sort_unstable_by_key(rank);
        keys.dedup();
        keys
    }

    /// One whose wait is over; it stays until it is removed. Asked again until none is left.
    pub fn overdue(&mut self, now: Millis) -> Option<InboxKey> {
        let (at, key) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(key)
    }

    /// It waits on.
    pub fn wait_until(&mut self, key: InboxKey, due: Millis) {
        if let Some(held) = self.held.get_mut(&key) {
            self.due.remove(&(held.due, key));
            held.due = due;
            self.due.insert((due, key));
        }
    }

    /// It waits for nothing but an answer from the ledger.
    pub fn wait_for_ledger(&mut self, key: InboxKey) {
        if let Some(held) = self.held.get(&key) {
            self.due.remove(&(held.due, key));
        }
    }

    pub fn next_wake(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }

    pub fn remove(&mut self, key: InboxKey) -> Option<Held> {
        let held = self.held.remove(&key)?;
        self.due.remove(&(held.due, key));
        for reference in held.receipt.references.iter().chain(&held.forms) {
            drop_from(
                &mut self.references,
                (held.carrier.clone(), reference.clone()),
                key,
            );
        }
        for tail in tails(&held.receipt) {
            drop_from(&mut self.phones, (held.carrier.clone(), tail), key);
        }
        if let Some(count) = self.of_carrier.get_mut(&held.carrier) {
            *count -= 1;
            if *count == 0 {
                self.of_carrier.remove(&held.carrier);
            }
        }
        Some(held)
    }
}

/// The phones that a receipt may name. Some carriers write ours and theirs the other way round.
pub fn tails(receipt: &Receipt) -> impl Iterator<Item = Tail> + '_ {
    let tail = |text: &Option<Arc<str>>| text.as_deref().and_then(Tail::written);
    let (phone, sender) = (tail(&receipt.phone), tail(&receipt.sender));
    phone
        .into_iter()
        .chain(sender.filter(|sender| Some(*sender) != phone))
}

fn drop_from<K: std::hash::Hash + Eq>(
    table: &mut HashMap<K, Vec<InboxKey>>,
    place: K,
    key: InboxKey,
) {
    if let Some(keys) = table.get_mut(&place) {
        keys.retain(|known| *known != key);
        if keys.is_empty() {
            table.remove(&place);
        }
    }
}

/// A row's body in the ledger.
#[derive(Serialize, Deserialize)]
pub struct Record {
    v: u8,
    carrier: Arc<str>,
    receipt: Receipt,
}

/// The version that is written, and the only one yet.
const VERSION: u8 = 1;

impl Record {
    pub fn message(key: InboxKey, held: &Held) -> InboxMessage {
        let record = Record {
            v: VERSION,
            carrier: held.carrier.clone(),
            receipt: held.receipt.clone(),
        };
        InboxMessage {
            key,
            at: held.at,
            body: super::commit::encode(&record),
        }
    }

    /// None: another version's, or nothing of ours.
    pub fn read(body: &[u8]) -> Option<Record> {
        serde_json::from_slice(body)
            .ok()
            .filter(|record: &Record| record.v == VERSION)
    }

    pub fn carrier(&self) -> &Arc<str> {
        &self.carrier
    }

    pub fn references(&self) -> &[Arc<str>] {
        &self.receipt.references
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(id: &str, phone: &str) -> Receipt {
        Receipt {
            references: vec![id.into()],
            state: ReceiptState::Delivered,
            carrier_code: Some("000".into()),
            cause: None,
            phone: Some(phone.into()),
            sender: Some("97671".into()),
        }
    }

    #[test]
    fn what_waits_is_found_by_every_form_and_phone_and_leaves_nothing_behind() {
        let (mut inbox, x) = (Inbox::new(10), Arc::from("x"));
        let forms = || vec!["16".into()];
        let one = inbox.hold(
            &x,
            receipt("10", "12025550101"),
            forms(),
            Millis(0),
            Millis(9),
        );
        let two = inbox.hold(
            &x,
            receipt("16", "12025550102"),
            vec![],
            Millis(0),
            Millis(5),
        );
        assert_eq!((one, two), (InboxKey(10), InboxKey(11)));
        assert_eq!(inbox.by_reference(&x, &"16".into()), [one, two]);
        assert_eq!(inbox.by_reference(&"y".into(), &"16".into()), []);
        let phone = Tail::written("2025550101").expect("a phone");
        assert_eq!(inbox.by_phone(&x, phone), [one]);
        assert_eq!(inbox.overdue(Millis(4)), None);
        assert_eq!(inbox.overdue(Millis(6)), Some(two));
        assert_eq!(inbox.overdue(Millis(6)), None);
        inbox.wait_until(two, Millis(7));
        assert_eq!(inbox.next_wake(), Some(Millis(7)));
        assert!(inbox.remove(one).is_some() && inbox.remove(two).is_some());
        assert!(inbox.remove(one).is_none());
        assert!(inbox.references.is_empty() && inbox.phones.is_empty() && inbox.due.is_empty());
        assert!(inbox.of_carrier.is_empty());
    }

    #[test]
    fn one_carrier_fills_its_own_share_only() {
        let (mut inbox, x) = (Inbox::new(1), Arc::from("x"));
        for n in 0..HELD_OF_CARRIER {
            assert!(!inbox.is_full("x"));
            let receipt = receipt(&n.to_string(), "12025550101");
            inbox.hold(&x, receipt, vec![], Millis(0), Millis(0));
        }
        assert!(inbox.is_full("x") && !inbox.is_full("y"));
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let (mut inbox, x) = (Inbox::new(1), Arc::from("x"));
        let key = inbox.hold(
            &x,
            receipt("10", "12025550101"),
            vec![],
            Millis(3),
            Millis(9),
        );
        let message = Record::message(key, inbox.get(key).expect("held"));
        // Rows of a released version are read by every later one.
        let golden = r#"{"v":1,"carrier":"x","receipt":{"references":["10"],"state":"delivered","carrier_code":"000","cause":null,"phone":"12025550101","sender":"97671"}}"#;
        assert_eq!(String::from_utf8_lossy(&message.body), golden);
        let record = Record::read(golden.as_bytes()).expect("readable");
        assert_eq!(record.receipt.phone.as_deref(), Some("12025550101"));
        assert!(Record::read(golden.replace("\"v\":1", "\"v\":2").as_bytes()).is_none());
    }
}
