//! The overlay: what operators have changed for a while, over what the files say.
//!
//! Each entry names what it changes, who wants it, why, and until when; every change leaves an audit record. The ledger
//! keeps both, so a restart changes nothing. Today carriers are suspended; drains of senders, pins and weights are further
//! [`OverlayChange`]s with the same life. Pure: time is an argument.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::challenge::Millis;

/// What is changed. No two entries change the same: the later one replaces the earlier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum OverlayChange {
    /// The carrier takes no new attempt.
    SuspendCarrier { carrier: Arc<str> },
}

impl OverlayChange {
    pub fn name(&self) -> &'static str {
        match self {
            OverlayChange::SuspendCarrier { .. } => "suspend_carrier",
        }
    }

    /// What it is about: a carrier's name.
    pub fn subject(&self) -> &str {
        match self {
            OverlayChange::SuspendCarrier { carrier } => carrier,
        }
    }
}

/// One change in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub change: OverlayChange,
    /// Who asked for it, as they call themselves.
    pub owner: Arc<str>,
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub since: Millis,
    /// None: until somebody lifts it.
    pub until: Option<Millis>,
}

/// What was done, by whom and why. Never changed once it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    pub at: Millis,
    pub act: Act,
    #[serde(flatten)]
    pub change: OverlayChange,
    pub owner: Arc<str>,
    pub reason: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Put,
    Lift,
    /// Its time was over.
    Expire,
}

impl Act {
    /// As it is told.
    pub fn name(self) -> &'static str {
        match self {
            Act::Put => "put in force",
            Act::Lift => "lifted",
            Act::Expire => "expired",
        }
    }
}

/// All changes in force.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    entries: BTreeMap<OverlayChange, Entry>,
}

/// Longest time that an entry may be asked for.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Longest reason and owner, in characters.
pub const LONGEST_WORDS: usize = 500;

impl Overlay {
    /// As the ledger held it.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Overlay {
        let entries = entries.into_iter().map(|e| (e.change.clone(), e));
        Overlay {
            entries: entries.collect(),
        }
    }

    /// Puts it in force, in place of one that changes the same.
    pub fn put(&mut self, entry: Entry) -> Audit {
        let audit = audit(Act::Put, &entry, entry.since);
        self.entries.insert(entry.change.clone(), entry);
        audit
    }

    /// Is an entry in force that changes this?
    pub fn changes(&self, change: &OverlayChange) -> bool {
        self.entries.contains_key(change)
    }

    /// Lifts it; None: nothing changes this.
    pub fn lift(
        &mut self,
        change: &OverlayChange,
        owner: Arc<str>,
        reason: Arc<str>,
        now: Millis,
    ) -> Option<Audit> {
        let entry = self.entries.remove(change)?;
        Some(Audit {
            owner,
            reason,
            until: None,
            ..audit(Act::Lift, &entry, now)
        })
    }

    /// One whose time is over, taken out. Asked again until none is left.
    pub fn expire(&mut self, now: Millis) -> Option<Audit> {
        let over = self
            .entries
            .values()
            .find(|e| is_over(e, now))?
            .change
            .clone();
        let entry = self.entries.remove(&over)?;
        Some(audit(Act::Expire, &entry, now))
    }

    /// When the next entry is over.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.entries.values().filter_map(|e| e.until).min()
    }

    /// Is this carrier suspended?
    pub fn suspended(&self, carrier: &Arc<str>) -> Option<&Entry> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&OverlayChange::SuspendCarrier {
            carrier: carrier.clone(),
        })
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

fn is_over(entry: &Entry, now: Millis) -> bool {
    entry.until.is_some_and(|until| until <= now)
}

fn audit(act: Act, entry: &Entry, at: Millis) -> Audit {
    Audit {
        at,
        act,
        change: entry.change.clone(),
        owner: entry.owner.clone(),
        reason: entry.reason.clone(),
        until: entry.until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspension(carrier: &str, since: i64, until: Option<i64>) -> Entry {
        Entry {
            change: OverlayChange::SuspendCarrier {
                carrier: carrier.into(),
            },
            owner: "ada".into(),
            reason: "maintenance".into(),
            since: Millis(since),
            until: until.map(Millis),
        }
    }

    #[test]
    fn a_suspension_holds_until_its_time_is_over() {
        let mut overlay = Overlay::default();
        let audit = overlay.put(suspension("northwind", 10, Some(100)));
        assert_eq!((audit.act, audit.at), (Act::Put, Millis(10)));
        assert!(overlay.suspended(&"northwind".into()).is_some());
        assert!(overlay.suspended(&"litware".into()).is_none());
        assert_eq!(overlay.next_expiry(), Some(Millis(100)));
        assert_eq!(overlay.expire(Millis(99)), None);
        let over = overlay.expire(Millis(100)).expect("its time is over");
        assert_eq!((over.act, &*over.owner), (Act::Expire, "ada"));
        assert!(overlay.suspended(&"northwind".into()).is_none());
        assert_eq!(overlay.expire(Millis(100)), None);
    }

    #[test]
    fn the_later_change_replaces_the_earlier_and_lifting_names_who_did_it() {
        let mut overlay = Overlay::default();
        overlay.put(suspension("northwind", 10, Some(100)));
        overlay.put(suspension("northwind", 20, None));
        assert_eq!(overlay.entries().count(), 1);
        assert_eq!(overlay.next_expiry(), None, "until somebody lifts it");
        let change = suspension("northwind", 0, None).change;
        let audit = overlay.lift(&change, "bob".into(), "done".into(), Millis(30));
        let audit = audit.expect("it was in force");
        assert_eq!((&*audit.owner, &*audit.reason), ("bob", "done"));
        let again = overlay.lift(&change, "bob".into(), "done".into(), Millis(31));
        assert_eq!(again, None);
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        for entry in [
            suspension("northwind", 10, Some(100)),
            suspension("x", 1, None),
        ] {
            let text = serde_json::to_string(&entry).expect("strings and numbers");
            assert_eq!(serde_json::from_str::<Entry>(&text).expect(&text), entry);
        }
    }
}
