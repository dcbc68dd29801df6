//! A connection that is wanted and not there: what is said of it, and when. Pure. One line begins it, one ends it; a
//! reason that is new within it is said once, so that a broker that stays away fills no log. Where another broker takes us
//! at the first try, that is one line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    /// The node whose connection ended, and why.
    left: Option<(Arc<str>, String)>,
    is_said: bool,
    reasons: Vec<String>,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// For this reason.
    Begins(String),
    /// It goes on, for a reason that was not said yet.
    Reason,
}

/// How a connection came to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    First,
    /// After so long without one.
    Again(Duration),
    /// The one before was to another node, and ended for this reason.
    Elsewhere {
        before: Arc<str>,
        reason: String,
        without: Duration,
    },
}

impl Outage {
    /// The connection to this node has ended. Nothing is said yet.
    pub fn ended(&mut self, now: Instant, node: &Arc<str>, reason: &str) {
        self.since.get_or_insert(now);
        self.left = Some((node.clone(), reason.to_owned()));
    }

    /// No connection could be made, or none is tried at once.
    pub fn failed(&mut self, now: Instant, reason: &str) -> Option<Notice> {
        self.since.get_or_insert(now);
        let new = !self.reasons.iter().any(|known| known == reason) && self.reasons.len() < REASONS;
        if new {
            self.reasons.push(reason.to_owned());
        }
        match (std::mem::replace(&mut self.is_said, true), new) {
            (false, _) => Some(Notice::Begins(self.whole(reason))),
            (true, true) => Some(Notice::Reason),
            (true, false) => None,
        }
    }

    /// Why the connection ended, and why there is no other.
    fn whole(&self, reason: &str) -> String {
        match &self.left {
            Some((node, why)) if why != reason => format!("{node}: {why}; then {reason}"),
            Some(_) | None => reason.to_owned(),
        }
    }

    /// There is a connection to this node.
    pub fn arrived(&mut self, now: Instant, node: &str) -> Arrival {
        self.reasons.clear();
        self.is_said = false;
        let left = self.left.take().filter(|(before, _)| **before != *node);
        let without = self.since.take().map(|since| now.duration_since(since));
        match (without, left) {
            (None, _) => Arrival::First,
            (Some(without), None) => Arrival::Again(without),
            (Some(without), Some((before, reason))) => Arrival::Elsewhere {
                before,
                reason,
                without,
            },
        }
    }
}

/// Said in one outage.
const REASONS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(reason: &str) -> Option<Notice> {
        Some(Notice::Begins(reason.to_owned()))
    }

    #[test]
    fn it_is_said_when_it_begins_when_its_reason_is_new_and_when_it_ends() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::default();
        assert_eq!(outage.arrived(at(0), "a"), Arrival::First);
        assert_eq!(outage.failed(at(1), "cut"), begins("cut"));
        assert_eq!(outage.failed(at(2), "refused"), Some(Notice::Reason));
        assert_eq!(outage.failed(at(3), "cut"), None);
        assert_eq!(outage.failed(at(4), "refused"), None);
        let again = Arrival::Again(Duration::from_secs(5));
        assert_eq!(outage.arrived(at(6), "a"), again);
        assert_eq!(outage.arrived(at(7), "a"), Arrival::First);
        assert_eq!(outage.failed(at(8), "cut"), begins("cut"));
    }

    #[test]
    fn a_change_of_node_names_both_and_why() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (one, mut outage) = (Arc::from("a:5672"), Outage::default());
        outage.ended(at(1), &one, "cut");
        let elsewhere = Arrival::Elsewhere {
            before: one.clone(),
            reason: "cut".into(),
            without: Duration::from_secs(2),
        };
        assert_eq!(outage.arrived(at(3), "b:5672"), elsewhere);
        outage.ended(at(4), &one, "cut");
        let whole = begins("a:5672: cut; then refused");
        assert_eq!(outage.failed(at(5), "refused"), whole);
        // The same one took us back: no change.
        let again = Arrival::Again(Duration::from_secs(2));
        assert_eq!(outage.arrived(at(6), "a:5672"), again);
    }

    #[test]
    fn reasons_that_never_repeat_are_bounded() {
        let mut outage = Outage::default();
        let said = (0..100).filter(|n| outage.failed(Instant::now(), &n.to_string()).is_some());
        assert_eq!(said.count(), REASONS);
    }
}
