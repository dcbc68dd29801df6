//! Client transaction of any other request: BYE, CANCEL, OPTIONS (RFC 3261 17.1.2 figure 6).

use std::time::{Duration, Instant};

use super::{Act, Alarms, Timer, Timing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

#[derive(Debug)]
pub struct Client {
    state: ClientState,
    reliable: bool,
    timing: Timing,
    interval: Duration,
    alarms: Alarms,
}

impl Client {
    /// The request has been sent at `now`.
    pub fn new(now: Instant, reliable: bool, timing: Timing) -> Self {
        let resend = (!reliable).then(|| (Timer::ResendRequest, now + timing.t1));
        let expiry = Some((Timer::RequestTimeout, now + timing.patience()));
        Client {
            state: ClientState::Trying,
            reliable,
            timing,
            interval: timing.t1,
            alarms: Alarms { resend, expiry },
        }
    }

    pub fn state(&self) -> ClientState {
        self.state
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.next()
    }

    pub fn response(&mut self, now: Instant, status: u16) -> Act {
        match self.state {
            ClientState::Trying | ClientState::Proceeding => self.waiting(now, status),
            ClientState::Completed | ClientState::Terminated => Act::Nothing,
        }
    }

    fn waiting(&mut self, now: Instant, status: u16) -> Act {
        if status < 200 {
            self.state = ClientState::Proceeding;
        } else {
            self.state = ClientState::Completed;
            let late = if self.reliable {
                Duration::ZERO
            } else {
                self.timing.t4
            };
            self.alarms = Alarms {
                resend: None,
                expiry: Some((Timer::AbsorbAnswers, now + late)),
            };
        }
        Act::Deliver
    }

    pub fn timeout(&mut self, now: Instant) -> Act {
        match self.alarms.take_due(now) {
            Some(Timer::ResendRequest) => {
                self.interval = match self.state {
                    ClientState::Trying => (self.interval * 2).min(self.timing.t2),
                    ClientState::Proceeding | ClientState::Completed | ClientState::Terminated => {
                        self.timing.t2
                    }
                };
                self.alarms.resend = Some((Timer::ResendRequest, now + self.interval));
                Act::Resend
            }
            Some(Timer::RequestTimeout) => {
                self.state = ClientState::Terminated;
                Act::TimedOut
            }
            Some(_) => {
                self.state = ClientState::Terminated;
                Act::Over
            }
            None => Act::Nothing,
        }
    }
}
