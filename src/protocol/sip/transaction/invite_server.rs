//! INVITE server transaction (RFC 3261 17.2.1 figure 7, RFC 6026 figure 5), here for a re-INVITE: it is answered at
//! once. The copies of a 2xx, which RFC 3261 13.3.1.4 leaves to the user of the transaction, are sent from here too.

use std::time::{Duration, Instant};

use super::{Act, Alarms, Timer, Timing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteServerState {
    Completed,
    Accepted,
    Confirmed,
    Terminated,
}

#[derive(Debug)]
pub struct InviteServer {
    state: InviteServerState,
    reliable: bool,
    timing: Timing,
    interval: Duration,
    alarms: Alarms,
}

impl InviteServer {
    /// The INVITE has been answered with `status` (200..=699) at `now`.
    pub fn answered(now: Instant, status: u16, reliable: bool, timing: Timing) -> Self {
        let accepted = status < 300;
        let last = if accepted {
            Timer::AbsorbInvites
        } else {
            Timer::AckTimeout
        };
        // A 2xx is sent again over TCP too: some hop may be unreliable (13.3.1.4).
        let resend = (accepted || !reliable).then(|| (Timer::ResendFinal, now + timing.t1));
        InviteServer {
            state: if accepted {
                InviteServerState::Accepted
            } else {
                InviteServerState::Completed
            },
            reliable,
            timing,
            interval: timing.t1,
            alarms: Alarms {
                resend,
                expiry: Some((last, now + timing.patience())),
            },
        }
    }

    pub fn state(&self) -> InviteServerState {
        self.state
    }

    /// The answer still waits for its ACK: no other re-INVITE may be taken (14.2).
    pub fn awaits_ack(&self) -> bool {
        match self.state {
            InviteServerState::Completed => true,
            InviteServerState::Accepted => self.alarms.resend.is_some(),
            InviteServerState::Confirmed | InviteServerState::Terminated => false,
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// The same INVITE again.
    pub fn repeated(&mut self) -> Act {
        match self.state {
            InviteServerState::Completed => Act::Resend,
            InviteServerState::Accepted
            | InviteServerState::Confirmed
            | InviteServerState::Terminated => Act::Nothing,
        }
    }

    pub fn ack(&mut self, now: Instant) {
        match self.state {
            InviteServerState::Completed => {
                self.state = InviteServerState::Confirmed;
                let late = if self.reliable {
                    Duration::ZERO
                } else {
                    self.timing.t4
                };
                self.alarms = Alarms {
                    resend: None,
                    expiry: Some((Timer::AbsorbAcks, now + late)),
                };
            }
            InviteServerState::Accepted => self.alarms.resend = None,
            InviteServerState::Confirmed | InviteServerState::Terminated => {}
        }
    }

    pub fn timeout(&mut self, now: Instant) -> Act {
        let unanswered = self.awaits_ack();
        match self.alarms.take_due(now) {
            Some(Timer::ResendFinal) => {
                self.interval = (self.interval * 2).min(self.timing.t2);
                self.alarms.resend = Some((Timer::ResendFinal, now + self.interval));
                Act::Resend
            }
            Some(_) => {
                self.state = InviteServerState::Terminated;
                if unanswered { Act::TimedOut } else { Act::Over }
            }
            None => Act::Nothing,
        }
    }
}
