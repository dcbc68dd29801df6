//! Transactions (RFC 3261 17, RFC 6026): one request, its retransmissions and its answers, one file per role.
//!
//! A transaction here is only state and time: it says what to do ([`Act`]) and when it wants to be woken. Octets,
//! addresses and the table of transactions belong to the endpoint.

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod server;

use std::time::{Duration, Instant};

/// The three times from which all others follow (RFC 3261 17.1.1.1, 17.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Estimate of a round trip.
    pub t1: Duration,
    /// Longest pause between retransmissions.
    pub t2: Duration,
    /// How long a message may live in the network.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// 64*T1: how long anything is tried, and how long late copies are absorbed.
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }
}

/// The timers, named by meaning; RFC 3261's letter in the comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// A: the INVITE again.
    ResendInvite,
    /// B: nobody answered the INVITE.
    InviteTimeout,
    /// D: late copies of a failure have had their ACK.
    AbsorbFailures,
    /// E: the request again.
    ResendRequest,
    /// F: nobody answered the request.
    RequestTimeout,
    /// G: the final answer to an INVITE again.
    ResendFinal,
    /// H: the ACK never came.
    AckTimeout,
    /// I: late copies of the ACK are over.
    AbsorbAcks,
    /// J: late copies of the request are over.
    AbsorbRequests,
    /// K: late copies of the answer are over.
    AbsorbAnswers,
    /// L: late copies of an accepted INVITE are over (RFC 6026).
    AbsorbInvites,
    /// M: no further 2xx, from this end or another fork (RFC 6026).
    AbsorbAccepts,
}

/// What a transaction asks of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Send what was sent last once more.
    Resend,
    /// Pass the answer on to the call.
    Deliver,
    /// Pass the failure on, and ACK it.
    DeliverAndAck,
    /// A copy of the failure: ACK it again.
    AckAgain,
    /// Over without an answer.
    TimedOut,
    /// Over: forget the transaction.
    Over,
}

/// Two clocks are all a transaction needs: when to send again, and when its state ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alarms {
    resend: Option<(Timer, Instant)>,
    expiry: Option<(Timer, Instant)>,
}

impl Alarms {
    fn next(&self) -> Option<Instant> {
        [self.resend, self.expiry]
            .into_iter()
            .flatten()
            .map(|(_, at)| at)
            .min()
    }

    /// Takes the timer that is due; the expiry first and with it the rest, so that nothing is sent after it.
    fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = |alarm: Option<(Timer, Instant)>| {
            alarm.filter(|(_, at)| *at <= now).map(|(timer, _)| timer)
        };
        if let Some(timer) = due(self.expiry) {
            *self = Alarms::default();
            return Some(timer);
        }
        let timer = due(self.resend)?;
        self.resend = None;
        Some(timer)
    }
}

#[cfg(test)]
mod tests;
