//! INVITE client transaction (RFC 3261 17.1.1 figure 5, with the accepted state of RFC 6026 figure 3).

use std::time::{Duration, Instant};

use super::{Act, Alarms, Timer, Timing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteClientState {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

#[derive(Debug)]
pub struct InviteClient {
    state: InviteClientState,
    reliable: bool,
    timing: Timing,
    interval: Duration,
    alarms: Alarms,
}

impl InviteClient {
    /// The INVITE has been sent at `now`.
    pub fn new(now: Instant, reliable: bool, timing: Timing) -> Self {
        let resend = (!reliable).then(|| (Timer::ResendInvite, now + timing.t1));
        let expiry = Some((Timer::InviteTimeout, now + timing.patience()));
        InviteClient {
            state: InviteClientState::Calling,
            reliable,
            timing,
            interval: timing.t1,
            alarms: Alarms { resend, expiry },
        }
    }

    pub fn state(&self) -> InviteClientState {
        self.state
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.next()
    }

    pub fn response(&mut self, now: Instant, status: u16) -> Act {
        match self.state {
            InviteClientState::Calling | InviteClientState::Proceeding => self.waiting(now, status),
            InviteClientState::Completed if status >= 300 => Act::AckAgain,
            // Every 2xx goes up: a copy wants its ACK, another fork wants ACK and BYE (13.2.2.4).
            InviteClientState::Accepted if (200..300).contains(&status) => Act::Deliver,
            InviteClientState::Completed
            | InviteClientState::Accepted
            | InviteClientState::Terminated => Act::Nothing,
        }
    }

    fn waiting(&mut self, now: Instant, status: u16) -> Act {
        // The first answer ends timers A and B. A provisional after it leaves the end that `end_by` has set.
        if self.state == InviteClientState::Calling || status >= 200 {
            self.alarms = Alarms::default();
        }
        match status {
            ..200 => {
                self.state = InviteClientState::Proceeding;
                Act::Deliver
            }
            200..300 => {
                self.state = InviteClientState::Accepted;
                self.alarms.expiry = Some((Timer::AbsorbAccepts, now + self.timing.patience()));
                Act::Deliver
            }
            300.. => {
                self.state = InviteClientState::Completed;
                let late = if self.reliable {
                    Duration::ZERO
                } else {
                    self.timing.patience()
                };
                self.alarms.expiry = Some((Timer::AbsorbFailures, now + late));
                Act::DeliverAndAck
            }
        }
    }

    /// Nobody waits for this INVITE any more: no further copies, but late answers are still heard until timer B.
    pub fn stop_resending(&mut self) {
        if self.state == InviteClientState::Calling {
            self.alarms.resend = None;
        }
    }

    /// Cancelled, and the peer never said its last word: over at `at` (9.1).
    pub fn end_by(&mut self, at: Instant) {
        if self.state == InviteClientState::Proceeding {
            self.alarms.expiry = Some((Timer::InviteTimeout, at));
        }
    }

    pub fn timeout(&mut self, now: Instant) -> Act {
        match self.alarms.take_due(now) {
            Some(Timer::ResendInvite) => {
                self.interval *= 2;
                self.alarms.resend = Some((Timer::ResendInvite, now + self.interval));
                Act::Resend
            }
            Some(Timer::InviteTimeout) => {
                self.state = InviteClientState::Terminated;
                Act::TimedOut
            }
            Some(_) => {
                self.state = InviteClientState::Terminated;
                Act::Over
            }
            None => Act::Nothing,
        }
    }
}
