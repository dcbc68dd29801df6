//! What the limiter stops or only records, told so that a person can read it: each limit by name, a line at once and
//! then one a minute with the number since. Pure: says which lines are due, and writes none.

use std::time::Duration;

use super::windows::Kind;
use crate::challenge::Millis;

/// What happened to a challenge that was over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Refused,
    Recorded,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Refused => "refused",
            Action::Recorded => "recorded",
        }
    }
}

/// A line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmLine {
    pub kind: Kind,
    pub action: Action,
    /// Since the last line of this limit.
    pub challenges: u64,
}

/// The limits' alarms.
#[derive(Debug, Default)]
pub struct Alarms {
    each: [Alarm; Kind::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Alarm {
    untold: u64,
    /// The last line; none while it is quiet.
    told: Option<Millis>,
    refused: bool,
}

/// From one line of a limit to its next.
const EVERY: Duration = Duration::from_secs(60);

impl Alarms {
    /// A challenge was over this limit. The line that is due at once, if there is one.
    pub fn over(&mut self, kind: Kind, action: Action, now: Millis) -> Option<AlarmLine> {
        let alarm = &mut self.each[kind as usize];
        alarm.untold += 1;
        alarm.refused = action == Action::Refused;
        if alarm.told.is_some_and(|told| told + EVERY > now) {
            return None;
        }
        alarm.line(kind, now)
    }

    /// The lines that are due by now.
    pub fn due(&mut self, now: Millis) -> Vec<AlarmLine> {
        let mut lines = Vec::new();
        for (kind, alarm) in Kind::ALL.into_iter().zip(&mut self.each) {
            if alarm.told.is_some_and(|told| told + EVERY <= now) {
                match alarm.untold {
                    0 => alarm.told = None,
                    _ => lines.extend(alarm.line(kind, now)),
                }
            }
        }
        lines
    }
}

impl Alarm {
    fn line(&mut self, kind: Kind, now: Millis) -> Option<AlarmLine> {
        self.told = Some(now);
        Some(AlarmLine {
            kind,
            action: match self.refused {
                true => Action::Refused,
                false => Action::Recorded,
            },
            challenges: std::mem::take(&mut self.untold),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_at_once_then_one_a_minute_with_the_number_since() {
        let mut alarms = Alarms::default();
        let at = |s: i64| Millis(s * 1_000);
        let told = |line: Option<AlarmLine>| line.map(|l| (l.kind, l.action, l.challenges));
        let first = alarms.over(Kind::Prefix, Action::Recorded, at(0));
        assert_eq!(told(first), Some((Kind::Prefix, Action::Recorded, 1)));
        for s in 1..60 {
            assert_eq!(alarms.over(Kind::Prefix, Action::Recorded, at(s)), None);
            assert!(alarms.due(at(s)).is_empty());
        }
        let other = alarms.over(Kind::User, Action::Refused, at(59));
        assert_eq!(told(other), Some((Kind::User, Action::Refused, 1)));
        let due: Vec<_> = alarms
            .due(at(60))
            .into_iter()
            .map(|l| told(Some(l)))
            .collect();
        assert_eq!(due, [Some((Kind::Prefix, Action::Recorded, 59))]);
        // A quiet minute: no line, and the next is told at once again.
        assert!(alarms.due(at(125)).is_empty());
        assert!(
            alarms
                .over(Kind::Prefix, Action::Recorded, at(126))
                .is_some()
        );
    }
}
