//! Receipts that nobody is known for: another user of the account, or another gateway. They say nothing of the carrier's
//! health; they are an alarm of their own. Pure; time is an argument.

use std::time::Duration;

use crate::clock::Mono;

use super::window::Sliding;

/// Counts a carrier's unmatched receipts.
#[derive(Clone, Debug)]
pub struct Unmatched {
    window: Sliding,
    alarm: bool,
}

/// The stretch that is looked at.
const WINDOW: Duration = Duration::from_secs(60);
/// So many within it raise the alarm; none within it ends it.
const ALARM: u32 = 10;

/// The alarm begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Begins { count: u32 },
    Ends,
}

impl Unmatched {
    pub fn new(now: Mono) -> Unmatched {
        Unmatched {
            window: Sliding::new(now, WINDOW),
            alarm: false,
        }
    }

    pub fn add(&mut self, now: Mono) -> Option<Alarm> {
        self.window.add(now, false);
        let (_, count) = self.window.sums(now);
        if self.alarm || count < ALARM {
            return None;
        }
        self.alarm = true;
        Some(Alarm::Begins { count })
    }

    pub fn tick(&mut self, now: Mono) -> Option<Alarm> {
        if !self.alarm || self.window.sums(now).1 > 0 {
            return None;
        }
        self.alarm = false;
        Some(Alarm::Ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_of_the_account_is_told_once_when_it_begins_and_once_when_it_ends() {
        let start = Mono::default();
        let mut unmatched = Unmatched::new(start);
        let mut told = Vec::new();
        for second in 0..120 {
            told.extend(unmatched.add(start + Duration::from_secs(second)));
            told.extend(unmatched.tick(start + Duration::from_secs(second)));
        }
        told.extend(unmatched.tick(start + Duration::from_secs(150)));
        assert_eq!(told, [Alarm::Begins { count: ALARM }]);
        let later = start + Duration::from_secs(200);
        assert_eq!(unmatched.tick(later), Some(Alarm::Ends));
        assert_eq!(unmatched.tick(later), None);
    }
}
