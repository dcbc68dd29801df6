//! The commit pipeline: what must be durable first, and what may be done once it is.
//!
//! Everything that one turn of dispatch decides becomes one batch. When the ledger says a batch is durable, its
//! actions are done, in order: jobs acked, orders handed to carriers, reports published. So an intent is on the disk
//! before its first byte leaves, and nothing is acked that could be lost.
//!
//! A commit costs the disk the same for one line as for a hundred. What somebody outside waits for goes at once; what
//! only we wait for gathers for a moment, so that a quiet gateway doesn't commit each answer by itself.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    carrier::{CallMark, Slip},
    challenge::{AttemptKey, ChallengeKey},
    intake::{Answer, Ticket},
    ledger::{BATCHES, Batch, Done, EarlyWord, Known, Ledger, Op, OutboxReport},
};

/// Something that waits for the ledger.
#[derive(Debug)]
pub enum Action {
    /// Tell the door about a new challenge.
    Taken(ChallengeKey, Ticket),
    /// Tell the door anything else.
    Answer(Ticket, Answer),
    /// A word for an id that isn't open: the ledger says whether it knows it. `place`: where in its batch it stands.
    Word {
        place: usize,
        word: EarlyWord,
        ticket: Ticket,
    },
    Submit(AttemptKey),
    HangUp(AttemptKey),
    /// Tell the carrier that the ledger holds what its call needs.
    Recorded(Arc<str>, CallMark),
    /// Tell the carrier that what it brought is safe.
    GiveBack(Slip),
    Publish(Box<OutboxReport>),
    /// Somebody may be following this challenge by HTTP.
    Wake(ChallengeKey),
}

impl Action {
    /// Is somebody outside waiting for it: a phone, or who has given us the job?
    fn hurries(&self) -> bool {
        match self {
            Action::Taken(..)
            | Action::Answer(..)
            | Action::Word { .. }
            | Action::Submit(_)
            | Action::HangUp(_)
            | Action::Recorded(..) => true,
            Action::GiveBack(_) | Action::Publish(_) | Action::Wake(_) => false,
        }
    }

    /// The new challenge without which this action makes no sense.
    fn needs(&self) -> Option<ChallengeKey> {
        match self {
            Action::Submit(key) | Action::HangUp(key) => Some(key.challenge),
            Action::Publish(report) => Some(report.challenge),
            Action::Wake(key) => Some(*key),
            Action::Taken(..)
            | Action::Answer(..)
            | Action::Word { .. }
            | Action::Recorded(..)
            | Action::GiveBack(_) => None,
        }
    }
}

/// What a durable batch lets happen.
#[derive(Debug, Default)]
pub struct Released {
    pub actions: Vec<Action>,
    /// Challenges that were known already, with the ticket of the job that came again.
    pub known: Vec<(ChallengeKey, Known, Ticket)>,
    /// Challenges that the ledger could not hold, with their jobs' tickets.
    pub lost: Vec<(ChallengeKey, Ticket)>,
    /// Challenges for which a word had come before them.
    pub early: Vec<(ChallengeKey, EarlyWord)>,
    /// Words with what the ledger knows of their challenge, if anything.
    pub words: Vec<(EarlyWord, Option<Known>, Ticket)>,
}

pub struct Pipeline {
    ledger: Ledger,
    next: u64,
    pub ops: Vec<Op>,
    pub actions: Vec<Action>,
    flying: VecDeque<(u64, Vec<Action>)>,
    /// When what has gathered began to.
    since: Option<Instant>,
}

/// How long reports, and what carriers said, gather before they are committed.
const GATHER: Duration = Duration::from_millis(4);
/// How long what may be lost gathers: done a second time it does no harm.
const GATHER_TIDYING: Duration = Duration::from_millis(50);
/// So much needs no company.
const GATHERED: usize = 256;

impl Pipeline {
    pub fn new(ledger: Ledger) -> Pipeline {
        Pipeline {
            ledger,
            next: 1,
            ops: Vec::new(),
            actions: Vec::new(),
            flying: VecDeque::new(),
            since: None,
        }
    }

    /// Is there room for another batch? If not, nothing more is taken in.
    pub fn room(&self) -> bool {
        self.flying.len() + 1 < BATCHES
    }

    pub fn idle(&self) -> bool {
        self.flying.is_empty() && self.ops.is_empty() && self.actions.is_empty()
    }

    /// When what has gathered is to be given to the ledger.
    pub fn due(&self) -> Option<Instant> {
        let since = self.since.filter(|_| self.room())?;
        let tidying = |op: &Op| matches!(op, Op::ReportDone { .. } | Op::CallDown { .. });
        if self.ops.len() >= GATHERED || self.actions.iter().any(Action::hurries) {
            Some(since)
        } else if self.ops.iter().all(tidying) {
            Some(since + GATHER_TIDYING)
        } else {
            Some(since + GATHER)
        }
    }

    /// Gives what has gathered to the ledger once it is due. What waits for nothing comes back at once.
    pub fn flush(&mut self, now: Instant) -> Vec<Action> {
        if self.ops.is_empty() {
            let actions = std::mem::take(&mut self.actions);
            return match self.flying.back_mut() {
                None => actions,
                // Order is kept: it waits for what was said before it.
                Some((_, before)) => {
                    before.extend(actions);
                    Vec::new()
                }
            };
        }
        self.since.get_or_insert(now);
        if self.due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.since = None;
        let number = self.next;
        self.next += 1;
        let batch = Batch {
            number,
            ops: std::mem::take(&mut self.ops),
        };
        match self.ledger.try_submit(batch) {
            Ok(()) => self
                .flying
                .push_back((number, std::mem::take(&mut self.actions))),
            // The writer's channel is as long as `room` allows; should it be full all the same, nothing is lost.
            Err(batch) => {
                self.ops = batch.ops;
                self.next = number;
                self.since = Some(now);
            }
        }
        Vec::new()
    }

    /// A batch is durable.
    pub fn done(&mut self, mut done: Done) -> Released {
        let mut released = Released {
            early: std::mem::take(&mut done.early),
            ..Released::default()
        };
        let mut actions = Vec::new();
        while self
            .flying
            .front()
            .is_some_and(|(number, _)| *number <= done.number)
        {
            if let Some((_, waited)) = self.flying.pop_front() {
                actions.extend(waited);
            }
        }
        if !done.refused.is_empty() {
            tracing::error!(
                ops = done.refused.len(),
                "the ledger refused ops that it can't hold"
            );
        }
        for action in actions {
            match action {
                Action::Taken(key, ticket) if done.lost.contains(&key) => {
                    released.lost.push((key, ticket));
                }
                Action::Taken(key, ticket) => match done.known.iter().find(|(k, _)| *k == key) {
                    Some((_, known)) => released.known.push((key, known.clone(), ticket)),
                    None => released.actions.push(Action::Taken(key, ticket)),
                },
                Action::Word {
                    place,
                    word,
                    ticket,
                } => {
                    let known = done
                        .met
                        .iter()
                        .find(|(at, _)| *at == place)
                        .map(|(_, known)| known.clone());
                    released.words.push((word, known, ticket));
                }
                other => {
                    let out =
                        |key| done.known.iter().any(|(k, _)| *k == key) || done.lost.contains(&key);
                    if !other.needs().is_some_and(out) {
                        released.actions.push(other);
                    }
                }
            }
        }
        released
    }
}
