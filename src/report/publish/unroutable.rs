//! Says that reports come back because no queue takes them: when it begins, once a minute, and when it has ended. Pure.

use std::time::{Duration, Instant};

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Begins,
    GoesOn,
    Ended,
}

#[derive(Debug, Default)]
pub(super) struct Unroutable {
    told: Option<Instant>,
}

impl Unroutable {
    /// So many wait that came back.
    pub fn look(&mut self, now: Instant, waiting: usize) -> Option<Notice> {
        match (self.told, waiting) {
            (None, 0) => None,
            (None, _) => {
                self.told = Some(now);
                Some(Notice::Begins)
            }
            (Some(_), 0) => {
                self.told = None;
                Some(Notice::Ended)
            }
            (Some(told), _) if now.duration_since(told) >= AGAIN => {
                self.told = Some(now);
                Some(Notice::GoesOn)
            }
            (Some(_), _) => None,
        }
    }
}

const AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_then_once_a_minute_and_at_the_end() {
        let start = Instant::now();
        let mut said = Unroutable::default();
        let mut at = |seconds, waiting| said.look(start + Duration::from_secs(seconds), waiting);
        assert_eq!(at(0, 0), None);
        assert_eq!(at(1, 7), Some(Notice::Begins));
        assert_eq!(at(60, 9), None);
        assert_eq!(at(61, 9), Some(Notice::GoesOn));
        assert_eq!(at(62, 0), Some(Notice::Ended));
        assert_eq!(at(63, 0), None);
        assert_eq!(at(64, 1), Some(Notice::Begins));
    }
}
