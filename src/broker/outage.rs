//! A connection that is wanted and not there: what is said of it, and when. Pure. One line begins it, one ends it; a
//! reason that is new within it is said once, so that a broker that stays away fills no log.

use std::time::{Duration, Instant};

/// Of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    reasons: Vec<String>,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Begins,
    /// It goes on, for a reason that was not said yet.
    Reason,
}

impl Outage {
    /// The connection has ended, or could not be made.
    pub fn failed(&mut self, now: Instant, reason: &str) -> Option<Notice> {
        let began = self.since.is_none();
        self.since.get_or_insert(now);
        let new = !self.reasons.iter().any(|known| known == reason) && self.reasons.len() < REASONS;
        if new {
            self.reasons.push(reason.to_owned());
        }
        match (began, new) {
            (true, _) => Some(Notice::Begins),
            (false, true) => Some(Notice::Reason),
            (false, false) => None,
        }
    }

    /// There is a connection. How long there was none; None: there was no outage.
    pub fn ended(&mut self, now: Instant) -> Option<Duration> {
        self.reasons.clear();
        self.since.take().map(|since| now.duration_since(since))
    }
}

/// Said in one outage.
const REASONS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_it_begins_when_its_reason_is_new_and_when_it_ends() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::default();
        assert_eq!(outage.ended(at(0)), None);
        assert_eq!(outage.failed(at(1), "cut"), Some(Notice::Begins));
        assert_eq!(outage.failed(at(2), "refused"), Some(Notice::Reason));
        assert_eq!(outage.failed(at(3), "cut"), None);
        assert_eq!(outage.failed(at(4), "refused"), None);
        assert_eq!(outage.ended(at(6)), Some(Duration::from_secs(5)));
        assert_eq!(outage.ended(at(7)), None);
        assert_eq!(outage.failed(at(8), "cut"), Some(Notice::Begins));
    }

    #[test]
    fn reasons_that_never_repeat_are_bounded() {
        let mut outage = Outage::default();
        let said = (0..100).filter(|n| outage.failed(Instant::now(), &n.to_string()).is_some());
        assert_eq!(said.count(), REASONS);
    }
}
