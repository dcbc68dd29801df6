//! What people are told: within one life of the process a state that begins ends before it begins again, and none ends
//! that has not begun.

use std::{collections::BTreeSet, sync::mpsc, time::Duration};

use super::trace::Trace;
use crate::core::notice::{Condition, Notice, Notices};

/// What the core of one life has told.
pub(super) struct NoticeLog {
    notices: mpsc::Receiver<Notice>,
    conditions: Conditions,
}

/// The states that have begun and not ended.
#[derive(Default)]
struct Conditions(BTreeSet<Condition>);

/// What a notice says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Begins,
    Ends,
}

/// What nobody should be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Mistold {
    #[error("told that it ends, and it had not begun: {0:?}")]
    NotBegun(Condition),
    #[error("told that it begins, and it had not ended: {0:?}")]
    NotEnded(Condition),
}

impl NoticeLog {
    /// Of a life that begins: what it has told, and where its core tells it.
    pub fn begin() -> (NoticeLog, Notices) {
        let (tell, notices) = mpsc::channel();
        let log = NoticeLog {
            notices,
            conditions: Conditions::default(),
        };
        // The last of a core may come when nobody looks any more.
        (log, Notices::to(move |notice| drop(tell.send(notice))))
    }

    /// Takes what was told since it was last asked. Some: it can't be, after what was told before it.
    pub fn check(&mut self, at: Duration, trace: &mut Trace<'_>) -> Option<String> {
        let mut fault = None;
        while let Ok(notice) = self.notices.try_recv() {
            for (condition, turn) in turns(&notice) {
                trace.event(at, format_args!("told: {condition:?} {turn:?}"));
                if turn == Turn::Ends {
                    trace.reached(ended(&condition));
                }
                let kept = self.conditions.turn(condition, turn);
                fault = fault.or(kept.err().map(|mistold| mistold.to_string()));
            }
        }
        fault
    }
}

fn turns(notice: &Notice) -> impl Iterator<Item = (Condition, Turn)> + use<> {
    let ends = notice.ends().map(|condition| (condition, Turn::Ends));
    let begins = notice.begins().map(|condition| (condition, Turn::Begins));
    ends.into_iter().chain(begins)
}

impl Conditions {
    fn turn(&mut self, condition: Condition, turn: Turn) -> Result<(), Mistold> {
        match turn {
            Turn::Ends if !self.0.remove(&condition) => Err(Mistold::NotBegun(condition)),
            Turn::Begins if self.0.contains(&condition) => Err(Mistold::NotEnded(condition)),
            Turn::Begins => {
                self.0.insert(condition);
                Ok(())
            }
            Turn::Ends => Ok(()),
        }
    }
}

/// The trace's word for what has come to its end.
fn ended(condition: &Condition) -> &'static str {
    match condition {
        Condition::Unhealthy(_) => "told that a carrier is well again",
        Condition::LoginRefused(_) => "told that credentials are taken again",
        Condition::ScopeRefused(..) => "told that a sender or country is taken again",
        Condition::ForeignReceipts(_) => "told that no receipts of others come any more",
        Condition::UnclearReceipts(_) => "told that receipts are clear again",
        Condition::NoRoom => "told that there is room again",
        Condition::LookUpsFail => "told that look-ups are answered again",
        Condition::Overlay(_) => "told that a change is no longer in force",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_begins_and_ends_in_turn() {
        let mut conditions = Conditions::default();
        let unhealthy = |carrier: &str| Condition::Unhealthy(carrier.into());
        let mut turn = |carrier, turn| conditions.turn(unhealthy(carrier), turn).is_ok();
        assert!(!turn("northwind", Turn::Ends));
        assert!(turn("northwind", Turn::Begins));
        assert!(turn("fabrikam", Turn::Begins));
        assert!(!turn("northwind", Turn::Begins));
        assert!(turn("northwind", Turn::Ends));
        assert!(!turn("northwind", Turn::Ends));
        assert!(turn("northwind", Turn::Begins));
    }
}
