//! The way out: nothing new is taken or placed, what is in the air may settle within the limit.

use std::time::{Duration, Instant};

use super::{Dispatch, Running, Stopping};
use crate::carrier::Command;

/// So long before the limit of a drain calls are hung up: their goodbyes and last words need a moment.
const HANG_UP_BEFORE: Duration = Duration::from_secs(3);

impl Dispatch {
    /// The time of a drain is nearly over: no call may outlive the process. Each says how it ended.
    fn hang_up_all(&self) {
        for running in self.carriers.iter().filter(|c| c.is_voice()) {
            for at in running.held() {
                running.command(Command::HangUp(at));
            }
        }
    }

    /// Begins to end: nothing new is taken, what is in the air may settle within the limit.
    pub(super) fn drain(&mut self, limit: Duration) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Until(self.mono + limit);
        }
    }

    pub(super) fn stopped(&mut self, now: Instant) -> bool {
        let Stopping::Until(limit) = self.stopping else {
            return false;
        };
        let in_flight: usize = self.carriers.iter().map(Running::in_flight).sum();
        let settled = in_flight == 0 && self.pipeline.idle();
        if now + HANG_UP_BEFORE >= limit && !std::mem::replace(&mut self.hung_up, true) {
            self.hang_up_all();
        }
        if settled || now >= limit {
            for running in self.carriers.iter() {
                running.command(Command::End);
            }
            tracing::info!(
                open = self.open.len(),
                in_flight,
                "dispatch stopped; open challenges stay in the ledger"
            );
            return true;
        }
        false
    }
}
