//! The way out: nothing new is taken or placed, what is in the air may settle within the limit.

use std::time::{Duration, Instant};

use super::{Dispatch, Running, Stopping};
use crate::carrier::Command;

/// After the limit of a drain calls are hung up: their goodbyes and last words need a moment.
const GOODBYES: Duration = Duration::from_secs(3);

impl Dispatch {
    /// The time of a drain is over: no call may outlive the process. Each says how it ended. True: there was one.
    fn hang_up_all(&self) -> bool {
        let mut any = false;
        for running in self.carriers.iter().filter(|c| c.is_voice()) {
            for at in running.held() {
                running.command(Command::HangUp(at));
                any = true;
            }
        }
        any
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
        if !settled && now >= limit && !std::mem::replace(&mut self.hung_up, true) {
            let until = if self.hang_up_all() {
                now + GOODBYES
            } else {
                now
            };
            self.stopping = Stopping::Until(until);
            return self.stopped(now);
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
