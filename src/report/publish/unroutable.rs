//! Says that reports come back because no queue takes them: when it begins, once a minute, and when it has ended. Pure.

use std::time::Duration;

use crate::clock::Mono;

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnNotice {
    Begins,
    GoesOn,
    Ended,
}

#[derive(Debug, Default)]
pub(super) struct Unroutable {
    told: Option<Mono>,
}

impl Unroutable {
    /// It was said that some come back; that it has ended is to be said yet.
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// So many wait that came back.
    pub fn look(&mut self, now: Mono, waiting: usize) -> Option<ReturnNotice> {
        match (self.told, waiting) {
            (None, 0) => None,
            (None, _) => {
                self.told = Some(now);
                Some(ReturnNotice::Begins)
            }
            (Some(_), 0) => {
                self.told = None;
                Some(ReturnNotice::Ended)
            }
            (Some(told), _) if now.saturating_duration_since(told) >= AGAIN => {
                self.told = Some(now);
                Some(ReturnNotice::GoesOn)
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
        let start = Mono::default();
        let mut said = Unroutable::default();
        let mut at = |seconds, waiting| said.look(start + Duration::from_secs(seconds), waiting);
        assert_eq!(at(0, 0), None);
        assert_eq!(at(1, 7), Some(ReturnNotice::Begins));
        assert_eq!(at(60, 9), None);
        assert_eq!(at(61, 9), Some(ReturnNotice::GoesOn));
        assert_eq!(at(62, 0), Some(ReturnNotice::Ended));
        assert_eq!(at(63, 0), None);
        assert_eq!(at(64, 1), Some(ReturnNotice::Begins));
    }
}
