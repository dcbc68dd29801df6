//! The orders of one bind: a text becomes parts, parts become submits, and their answers one outcome. Pure.
//!
//! All parts of a text travel on this bind, in order. A part that fails fails the text; a text with a part that
//! was never written can't be whole at the phone, so when the session is lost it has failed, and only one that
//! may be whole is in doubt.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{addresses, status::Statuses};
use crate::{
    carrier::{AttemptEvent, TextOrder},
    cause::{About, Blame, Cause, Failure, Verdict},
    challenge::{AttemptKey, Millis},
    message::text,
    number::Number,
    protocol::smpp::{Session, Submit},
};

/// Texts in doubt whose late answer still finds them.
const MAX_DOUBTFUL: usize = 4_096;
/// The shortest validity that is asked for (s): the SMSC's clock is not ours.
const SHORTEST_VALIDITY: u32 = 5;

/// One step of one order.
#[derive(Debug)]
pub struct OrderOutcome {
    pub key: AttemptKey,
    pub event: AttemptEvent,
    /// The order has left the window: its first outcome. What comes after it is a late answer.
    pub first: bool,
}

pub struct Orders {
    statuses: Arc<Statuses>,
    open: HashMap<u64, Open>,
    next: u64,
    /// Parts not yet in the session's window: order and part.
    waiting: VecDeque<(u64, u8)>,
    doubtful: VecDeque<u64>,
    /// Orders without a first outcome.
    unsettled: usize,
}

/// What is kept of an order; its text lives on in the parts alone, until they are sent.
struct Open {
    key: AttemptKey,
    to: Number,
    sender: Arc<str>,
    deadline: Millis,
    encoding: text::Encoding,
    /// Emptied as they are sent.
    parts: Vec<Part>,
    answered: usize,
    doubt: bool,
}

struct Part {
    message: Vec<u8>,
    state: PartState,
    reference: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    Waiting,
    Sent,
    Accepted,
}

impl Orders {
    /// Other meanings of statuses, for the answers to come.
    pub fn read_by(&mut self, statuses: Arc<Statuses>) {
        self.statuses = statuses;
    }

    pub fn new(statuses: Arc<Statuses>) -> Orders {
        Orders {
            statuses,
            open: HashMap::new(),
            next: 0,
            waiting: VecDeque::new(),
            doubtful: VecDeque::new(),
            unsettled: 0,
        }
    }

    /// Orders without an outcome yet.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Takes an order; its parts wait for [`Orders::fill`]. An outcome means that it could not be taken.
    /// `concatenation` marks the parts of one text.
    pub fn take(&mut self, order: TextOrder, concatenation: u8) -> Option<OrderOutcome> {
        let encoded = text::encode(&order.content.body);
        let Some(messages) = encoded.short_messages(concatenation) else {
            return Some(refused(order.key, our_fault("text too long")));
        };
        let id = self.next;
        self.next += 1;
        self.waiting
            .extend((0..messages.len()).map(|part| (id, part as u8)));
        let parts = messages.into_iter().map(|message| Part {
            message,
            state: PartState::Waiting,
            reference: None,
        });
        let open = Open {
            key: order.key,
            to: order.to,
            sender: order.sender,
            deadline: order.deadline,
            encoding: encoded.encoding,
            parts: parts.collect(),
            answered: 0,
            doubt: false,
        };
        self.open.insert(id, open);
        self.unsettled += 1;
        None
    }

    /// Moves waiting parts into the session's window, as far as it has room. What has come past its deadline
    /// is not sent any more.
    pub fn fill(
        &mut self,
        session: &mut Session,
        now: Instant,
        wall: Millis,
        out: &mut Vec<OrderOutcome>,
    ) {
        while session.room() > 0
            && let Some((id, index)) = self.waiting.pop_front()
        {
            let Some(open) = self.open.get_mut(&id) else {
                continue;
            };
            let left = open.deadline.since(wall);
            if left.is_zero() {
                out.extend(self.fail(id, Cause::Expired.failure(None)));
                continue;
            }
            let seconds = u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
            let several = open.parts.len() > 1;
            let Some(part) = open.parts.get_mut(usize::from(index)) else {
                continue;
            };
            let submit = Submit {
                source: addresses::sender(&open.sender),
                destination: open.to.digits(),
                esm_class: if several { text::UDHI } else { 0 },
                data_coding: open.encoding.data_coding(),
                validity_s: seconds.max(SHORTEST_VALIDITY),
                message: &part.message,
            };
            if session.submit(token(id, index), &submit, now) {
                part.state = PartState::Sent;
                part.message = Vec::new();
            } else {
                out.extend(self.fail(id, our_fault("sender or text does not fit a submit_sm")));
            }
        }
    }

    /// The peer answered a submit.
    pub fn answered(
        &mut self,
        token: u64,
        status: u32,
        message_id: String,
    ) -> Option<OrderOutcome> {
        let (id, index) = (token >> 8, (token & 0xFF) as usize);
        if status != 0 {
            let failure = self.statuses.failure(status);
            return self.fail(id, failure);
        }
        let open = self.open.get_mut(&id)?;
        let part = open.parts.get_mut(index)?;
        part.state = PartState::Accepted;
        part.reference = (!message_id.is_empty()).then(|| message_id.into());
        open.answered += 1;
        if open.answered < open.parts.len() {
            return None;
        }
        let open = self.open.remove(&id)?;
        let references = open
            .parts
            .into_iter()
            .filter_map(|part| part.reference)
            .collect();
        Some(self.outcome(open.key, open.doubt, AttemptEvent::Accepted { references }))
    }

    /// No answer came in time; one may still come.
    pub fn unanswered(&mut self, token: u64) -> Option<OrderOutcome> {
        let id = token >> 8;
        let open = self.open.get_mut(&id).filter(|open| !open.doubt)?;
        open.doubt = true;
        let key = open.key;
        if self.doubtful.len() >= MAX_DOUBTFUL
            && let Some(oldest) = self.doubtful.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.doubtful.push_back(id);
        Some(self.outcome(
            key,
            false,
            AttemptEvent::InDoubt {
                cause: Cause::InDoubt,
            },
        ))
    }

    /// The session is gone: every order without an outcome gets one. `unwritten` are the submits of which no
    /// octet left us.
    pub fn lost(&mut self, unwritten: impl Iterator<Item = u64>, out: &mut Vec<OrderOutcome>) {
        for token in unwritten {
            let part = self
                .open
                .get_mut(&(token >> 8))
                .and_then(|open| open.parts.get_mut((token & 0xFF) as usize));
            if let Some(part) = part {
                part.state = PartState::Waiting;
            }
        }
        self.waiting.clear();
        self.doubtful.clear();
        let mut open: Vec<(u64, Open)> = self.open.drain().collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (_, open) in open {
            if open.doubt {
                continue;
            }
            let whole = open
                .parts
                .iter()
                .all(|part| part.state != PartState::Waiting);
            let event = match whole {
                true => AttemptEvent::InDoubt {
                    cause: Cause::InDoubt,
                },
                false => AttemptEvent::Failed(Cause::CarrierFault.failure(None)),
            };
            out.push(self.outcome(open.key, false, event));
        }
    }

    fn fail(&mut self, id: u64, failure: Failure) -> Option<OrderOutcome> {
        let open = self.open.remove(&id)?;
        Some(self.outcome(open.key, open.doubt, AttemptEvent::Failed(failure)))
    }

    fn outcome(&mut self, key: AttemptKey, doubt: bool, event: AttemptEvent) -> OrderOutcome {
        if !doubt {
            self.unsettled = self.unsettled.saturating_sub(1);
        }
        OrderOutcome {
            key,
            event,
            first: !doubt,
        }
    }
}

/// An order that was not taken.
pub fn refused(key: AttemptKey, failure: Failure) -> OrderOutcome {
    OrderOutcome {
        key,
        event: AttemptEvent::Failed(failure),
        first: true,
    }
}

fn token(id: u64, part: u8) -> u64 {
    id << 8 | u64::from(part)
}

/// Nothing the carrier or the person could help; another carrier may still manage.
fn our_fault(why: &str) -> Failure {
    Failure {
        cause: Cause::CarrierFault,
        verdict: Verdict::NextCandidate,
        blame: Blame::Us,
        about: About::Request,
        carrier_code: Some(why.into()),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
