//! Server transaction of any other request in a dialog: BYE, INFO, UPDATE, OPTIONS (RFC 3261 17.2.2 figure 8). It is
//! answered at once, so it is born completed.

use std::time::{Duration, Instant};

use super::{Act, Alarms, Timer, Timing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    Completed,
    Terminated,
}

#[derive(Debug)]
pub struct Server {
    state: ServerState,
    alarms: Alarms,
}

impl Server {
    /// The request has been answered at `now`.
    pub fn answered(now: Instant, reliable: bool, timing: Timing) -> Self {
        let late = if reliable {
            Duration::ZERO
        } else {
            timing.patience()
        };
        let expiry = Some((Timer::AbsorbRequests, now + late));
        Server {
            state: ServerState::Completed,
            alarms: Alarms {
                resend: None,
                expiry,
            },
        }
    }

    pub fn state(&self) -> ServerState {
        self.state
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// The same request again.
    pub fn repeated(&self) -> Act {
        match self.state {
            ServerState::Completed => Act::Resend,
            ServerState::Terminated => Act::Nothing,
        }
    }

    pub fn timeout(&mut self, now: Instant) -> Act {
        match self.alarms.take_due(now) {
            Some(_) => {
                self.state = ServerState::Terminated;
                Act::Over
            }
            None => Act::Nothing,
        }
    }
}
