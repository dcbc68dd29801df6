//! The way out: nothing new is taken or placed, what is in the air may settle within the limit.

use std::time::Duration;

use crate::clock::{Mono, Now};

use super::{Core, Running, Stopping, notice::Notice};

/// After the limit of a drain calls are hung up: their goodbyes and last words need a moment.
const GOODBYES: Duration = Duration::from_secs(3);

impl Core {
    /// The time of a drain is over: no call may outlive the process. Each says how it ended. True: there was one.
    fn hang_up_all(&mut self) -> bool {
        let mut any = false;
        for running in self.placement.carriers.iter().filter(|c| c.is_voice()) {
            for at in running.held() {
                running.hang_up(&mut self.outputs, at);
                any = true;
            }
        }
        any
    }

    /// Begins to end: nothing new is taken, what is in the air may settle within the limit.
    pub fn drain(&mut self, now: Now, limit: Duration) {
        self.at(now);
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Until(self.mono + limit);
        }
    }

    pub(super) fn stopped(&mut self, now: Mono) -> bool {
        let Stopping::Until(limit) = self.stopping else {
            return false;
        };
        let in_flight: usize = self.placement.carriers.iter().map(Running::in_flight).sum();
        let settled = in_flight == 0 && !self.ends_unterminated() && self.commit.idle();
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
            for running in self.placement.carriers.iter() {
                running.end(&mut self.outputs);
            }
            let open = self.registry.open.len();
            self.notices.tell(Notice::Stopped { open, in_flight });
            return true;
        }
        false
    }
}
