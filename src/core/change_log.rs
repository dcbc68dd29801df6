//! When a change is worth a line in the log: the first of its kind at once; while it comes again and again, once a minute
//! with a count; and where it stands in the end is always told. Pure; time is an argument.

use std::time::Duration;

use crate::clock::Mono;

/// Changes of one thing between states.
#[derive(Clone, Debug)]
pub struct ChangeLog<S> {
    /// The state that the last line has named.
    told: S,
    seen: S,
    /// The last change, where it was not told.
    left_out: Option<(S, S)>,
    kinds: Vec<Kind<S>>,
}

/// From one state to another.
#[derive(Clone, Debug)]
struct Kind<S> {
    change: (S, S),
    said: Mono,
    /// How often since.
    unsaid: u32,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<S> {
    /// The state that the line before has named: what changed in between may have been left out.
    pub told: S,
    pub from: S,
    /// So often since the last line of its kind.
    pub times: u32,
}

/// The same kind of change is told so often at most.
const EVERY: Duration = Duration::from_secs(60);
/// More kinds within that time are not told apart: they wait.
const MOST_KINDS: usize = 32;

impl<S: Clone + PartialEq> ChangeLog<S> {
    pub fn new(state: S) -> ChangeLog<S> {
        ChangeLog {
            told: state.clone(),
            seen: state,
            left_out: None,
            kinds: Vec::new(),
        }
    }

    /// The state now. Asked again and again, at least once a second: Some where a line is due.
    pub fn see(&mut self, now: Mono, state: S) -> Option<Change<S>> {
        if state != self.seen {
            let change = (std::mem::replace(&mut self.seen, state.clone()), state);
            return self.changed(now, change, 1);
        }
        if self.told == self.seen {
            return None;
        }
        let change = self.left_out.clone()?;
        self.changed(now, change, 0)
    }

    /// The state that the last line has named.
    pub fn told(&self) -> &S {
        &self.told
    }

    /// Nothing is left to be told, nor to be counted.
    pub fn is_quiet(&self, now: Mono) -> bool {
        self.told == self.seen && self.kinds.iter().all(|kind| kind.said + EVERY <= now)
    }

    fn changed(&mut self, now: Mono, change: (S, S), times: u32) -> Option<Change<S>> {
        let (from, to) = change.clone();
        let known = self.kinds.iter_mut().find(|kind| kind.change == change);
        let times = match known {
            Some(kind) if now < kind.said + EVERY => {
                kind.unsaid += times;
                self.left_out = Some(change);
                return None;
            }
            Some(kind) => {
                let times = kind.unsaid + times;
                (kind.said, kind.unsaid) = (now, 0);
                times
            }
            None => {
                self.kinds.retain(|kind| now < kind.said + EVERY);
                if self.kinds.len() >= MOST_KINDS {
                    self.left_out = Some(change);
                    return None;
                }
                self.kinds.push(Kind {
                    change,
                    said: now,
                    unsaid: 0,
                });
                times.max(1)
            }
        };
        self.left_out = None;
        let told = std::mem::replace(&mut self.told, to);
        Some(Change { told, from, times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_the_end_always() {
        let start = Mono::default();
        let mut log = ChangeLog::new("well");
        let change = |from, times| {
            Some(Change {
                told: from,
                from,
                times,
            })
        };
        assert_eq!(log.see(start, "well"), None);
        assert_eq!(log.see(start, "ill"), change("well", 1));
        assert_eq!(log.see(start + SECOND, "ill"), None);
        assert_eq!(log.see(start + SECOND, "well"), change("ill", 1));
        // Once more within the minute: nobody is told, until it has stayed so.
        assert_eq!(log.see(start + SECOND * 2, "ill"), None);
        assert_eq!(log.see(start + SECOND * 59, "ill"), None);
        assert_eq!(log.see(start + SECOND * 60, "ill"), change("well", 1));
        assert!(!log.is_quiet(start + SECOND * 60));
        assert!(log.is_quiet(start + SECOND * 120));
    }

    #[test]
    fn a_flood_is_a_line_of_each_kind_a_minute_with_a_count() {
        let start = Mono::default();
        let mut log = ChangeLog::new(false);
        let (mut lines, mut counted) = (0, 0);
        for second in 0..600 {
            let line = log.see(start + SECOND * second, second % 2 == 0);
            lines += usize::from(line.is_some());
            counted += line.map_or(0, |line| line.times);
        }
        assert!((20..=22).contains(&lines), "{lines}");
        assert!(counted > 540, "{counted}");
    }

    #[test]
    fn ever_new_words_are_no_flood_either() {
        let start = Mono::default();
        let mut log = ChangeLog::new(0);
        let lines = (1..10_000).filter_map(|n| log.see(start, n)).count();
        assert_eq!(lines, MOST_KINDS);
        assert!(log.see(start + SECOND * 60, 9_999).is_some());
    }
}
