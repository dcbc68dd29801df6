//! Jobs that have come and are not yet taken: the prefetch of the broker, and clients that wait.
//!
//! They stand here, and not in the channel, so that tenants take turns: whoever comes after a thousand of another tenant
//! is next all the same. The bound is in [`Arrivals::wants_more`]: beyond it the channel fills, and the broker keeps the
//! rest.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Core,
    tenant_turns::{TenantQueue, TenantTurns},
};
use crate::{
    challenge::{Challenge, Millis},
    intake::{Answer, Ticket},
};

#[derive(Debug, Default)]
pub struct Arrivals {
    line: TenantQueue<(Box<Challenge>, Ticket)>,
    turns: TenantTurns,
    /// Tells those of one deadline apart, in the order in which they came.
    next: i64,
}

/// Most jobs that stand here.
const MOST: usize = 4_096;
/// Most of one tenant's whose asker would rather be told at once: what they sent beyond it finds no room.
const MOST_OF_ONE: usize = 1_024;

impl Arrivals {
    pub fn weigh(&mut self, weights: BTreeMap<Arc<str>, u32>) {
        self.turns.weigh(weights);
    }

    pub fn wants_more(&self) -> bool {
        self.line.len() < MOST
    }

    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// The ticket comes back where there is no room.
    pub fn push(&mut self, ch: Box<Challenge>, ticket: Ticket) -> Option<Ticket> {
        if ticket.is_impatient() && self.line.of(&ch.tenant) >= MOST_OF_ONE {
            return Some(ticket);
        }
        self.next += 1;
        let (tenant, key) = (ch.tenant.clone(), (ch.deadline, self.next));
        self.line.push(&mut self.turns, &tenant, key, (ch, ticket));
        None
    }

    /// Whose turn it is.
    pub fn pop(&mut self) -> Option<(Box<Challenge>, Ticket)> {
        self.line.pop(&mut self.turns)
    }

    /// Those whose askers have gone are not waited for.
    pub fn drop_void(&mut self) {
        self.line
            .drop_if(&mut self.turns, |(_, ticket)| ticket.is_void());
    }
}

impl Core {
    /// Takes jobs while there is room, tenants in turns.
    pub(super) fn take_arrivals(&mut self, now: Millis) {
        if self.stopping != super::Stopping::No {
            // They are free to go elsewhere; a broker keeps its jobs.
            while let Some((_, ticket)) = self.registry.arrivals.pop() {
                self.outputs.answer(ticket, Answer::Busy);
            }
        }
        for _ in 0..super::TURN {
            let Some((ch, ticket)) = self
                .may_take()
                .then(|| self.registry.arrivals.pop())
                .flatten()
            else {
                break;
            };
            self.repeated(*ch, ticket, now);
        }
    }

    /// Does a job wait that could be taken now?
    pub(super) fn may_take(&self) -> bool {
        !self.registry.arrivals.is_empty()
            && self.may_begin()
            && self.no_room().is_none()
            && self.commit.room()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        challenge::Origin,
        intake::{
            Job,
            job::{self, JobKind, Properties},
        },
    };

    fn challenge(tenant: &str, n: usize) -> Box<Challenge> {
        let body = format!(
            r#"{{"id":"c-{n}","tenant":"{tenant}","to":"+12025550123","method":"sms_code"}}"#
        );
        let properties = Properties {
            door: Origin::Amqp,
            reply_to: None,
            correlation_id: None,
        };
        let settings = crate::config::settings::Settings::default().jobs;
        let (kind, body) = (JobKind::Challenge, body.as_bytes());
        match job::parse(kind, body, properties, Millis(0), &settings) {
            Ok(Job::Challenge(ch)) => ch,
            other => panic!("no challenge: {other:?}"),
        }
    }

    #[test]
    fn so_many_stand_here_and_no_more_are_wanted() {
        let mut arrivals = Arrivals::default();
        for n in 0..MOST {
            assert!(arrivals.wants_more(), "{n}");
            assert!(arrivals.push(challenge("t", n), Ticket::None).is_none());
        }
        assert!(!arrivals.wants_more(), "the broker keeps the rest");
        arrivals.pop();
        assert!(arrivals.wants_more());
    }

    #[test]
    fn one_tenant_s_clients_fill_their_own_share_only() {
        let mut arrivals = Arrivals::default();
        let mut waiting = Vec::new();
        let mut client = |tenant: &str, n: usize| {
            let (ticket, answer) = oneshot::channel();
            waiting.push(answer);
            arrivals.push(challenge(tenant, n), Ticket::Http(ticket))
        };
        for n in 0..MOST_OF_ONE {
            assert!(client("noisy", n).is_none(), "{n}");
        }
        assert!(client("noisy", MOST_OF_ONE).is_some(), "told at once");
        assert!(client("quiet", 0).is_none());
    }
}
