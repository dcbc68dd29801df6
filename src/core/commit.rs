//! The commit pipeline: what must be durable first, and what may be done once it is.
//!
//! Everything that one turn of dispatch decides becomes one batch. When the ledger says a batch is durable, its
//! actions are done, in order: jobs acked, orders handed to carriers, reports published. So an intent is on the disk
//! before its first byte leaves, and nothing is acked that could be lost.
//!
//! A commit costs the disk the same for one line as for a hundred. What somebody outside waits for goes at once; what
//! only we wait for gathers for a moment, so that a quiet gateway doesn't commit each answer by itself. A call's intent
//! waits for its driver to have prepared the INVITE, so that both stand in one commit.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::output::{OrderId, Ordered, Output, Outputs};
use crate::{
    admission::Taken,
    carrier::{Acknowledgement, CallMark},
    challenge::{AttemptKey, Challenge, ChallengeKey},
    clock::Mono,
    intake::{Answer, Ticket},
    ledger::{
        BATCHES, Batch, Claim, ControlMessage, Done, InboxKey, Known, Limited, NewChallenge, Op,
        OutboxReport, ReportKey,
    },
    overlay::{Audit, Entry},
};

/// Something that waits for the ledger.
#[derive(Debug)]
pub enum Action {
    /// Tell the door about a new challenge.
    Taken(ChallengeKey, Ticket),
    /// Tell the door anything else.
    Answer(Ticket, Answer),
    /// The id of a challenge that is on its way to the disk came again: what it is told depends on whether that one
    /// gets there.
    Repeat(Box<Challenge>, Ticket),
    /// A word for an id that isn't open: the ledger says whether it knows it. `place`: where in its batch it stands.
    Word {
        place: usize,
        word: ControlMessage,
        ticket: Ticket,
    },
    Submit(AttemptKey),
    HangUp(AttemptKey),
    /// Tell the carrier that the ledger holds what its call needs.
    Recorded {
        at: AttemptKey,
        carrier: Arc<str>,
        mark: CallMark,
    },
    /// Tell the carrier that what it brought is safe.
    Acknowledge(Acknowledgement),
    /// Tell the carrier to bring again what it brought: what came of it is not written.
    Refuse(Acknowledgement),
    /// Ask the ledger about this receipt: it holds now what was decided before.
    LookUp(InboxKey),
    /// What a round of look-ups has told is durable.
    RoundOver,
    Publish(Box<OutboxReport>),
    /// An operator's change is durable: it comes into force and is told, unless it was given up.
    Ordered(Box<PendingOrder>),
    /// Somebody may be following this challenge by HTTP.
    Wake(ChallengeKey),
}

/// An operator's change of the overlay, on its way to the disk.
#[derive(Debug)]
pub struct PendingOrder {
    pub audit: Audit,
    /// None: lifted.
    pub entry: Option<Entry>,
    pub claim: Claim,
    pub id: OrderId,
    pub ordered: Ordered,
}

impl PendingOrder {
    /// The ledger could not hold it: it does not come into force.
    fn not_held(mut self: Box<Self>) -> Box<PendingOrder> {
        self.claim = Claim::default();
        self.claim.give_up();
        self
    }
}

impl Action {
    /// How long it may wait for company. Not at all if somebody outside waits for it: for a text, or with an open HTTP
    /// request. A broker waits for no ack, and a phone rings for seconds.
    fn patience(&self) -> Duration {
        match self {
            Action::Submit(_) | Action::HangUp(_) => Duration::ZERO,
            Action::Taken(_, ticket)
            | Action::Answer(ticket, _)
            | Action::Repeat(_, ticket)
            | Action::Word { ticket, .. } => match ticket.is_impatient() {
                true => Duration::ZERO,
                false => SOON,
            },
            Action::Publish(report) if !report.is_final => NEWS,
            Action::Acknowledge(_) | Action::Refuse(_) => ACKNOWLEDGING,
            Action::Publish(_) | Action::Recorded { .. } => SOON,
            Action::Wake(_) | Action::LookUp(_) => NEWS,
            Action::RoundOver => SOON,
            Action::Ordered(..) => Duration::ZERO,
        }
    }

    /// What becomes of it where its batch is not written as a whole: who waits for an answer comes again, and so does what a
    /// carrier has brought, since it may have been for what is left out. None: nothing. A report that does not stand in the
    /// outbox is told to nobody: its challenge is as it was in the ledger, and goes on from there after the next start.
    fn unless_whole(self, unwritten: bool, released: &mut Released) -> Option<Action> {
        Some(match self {
            Action::Answer(ticket, _) | Action::Word { ticket, .. } => {
                Action::Answer(ticket, Answer::Busy)
            }
            Action::Acknowledge(ack) => Action::Refuse(ack),
            Action::Submit(at) | Action::Recorded { at, .. } if unwritten => {
                released.unwritten.push(at);
                Action::HangUp(at)
            }
            Action::Ordered(order) if unwritten => Action::Ordered(order.not_held()),
            Action::Publish(_) if unwritten => return None,
            Action::Taken(..)
            | Action::Repeat(..)
            | Action::Submit(_)
            | Action::HangUp(_)
            | Action::Recorded { .. }
            | Action::Refuse(_)
            | Action::LookUp(_)
            | Action::RoundOver
            | Action::Publish(_)
            | Action::Ordered(_)
            | Action::Wake(_) => self,
        })
    }

    /// What becomes of it where its batch is durable, and others may have what it speaks of by now: nothing leaves here. A
    /// report is read from the ledger again, by whoever has it.
    fn unless_void(self, released: &mut Released) -> Option<Action> {
        match self {
            Action::Submit(at) | Action::Recorded { at, .. } => {
                released.unwritten.push(at);
                Some(Action::HangUp(at))
            }
            Action::Publish(_) => {
                released.unpublished = true;
                None
            }
            other => Some(other),
        }
    }

    /// The new challenge without which this action makes no sense.
    fn needs(&self) -> Option<ChallengeKey> {
        match self {
            Action::Submit(at) | Action::HangUp(at) | Action::Recorded { at, .. } => {
                Some(at.challenge)
            }
            Action::Publish(report) => Some(report.challenge),
            Action::Wake(key) => Some(*key),
            Action::Taken(..)
            | Action::Answer(..)
            | Action::Repeat(..)
            | Action::Word { .. }
            | Action::Acknowledge(_)
            | Action::Refuse(_)
            | Action::LookUp(_)
            | Action::RoundOver
            | Action::Ordered(..) => None,
        }
    }
}

/// Into the octets that the ledger seals. Strings, numbers and lists: this can't fail.
pub fn encode<T: serde::Serialize>(what: &T) -> Vec<u8> {
    serde_json::to_vec(what).unwrap_or_default()
}

/// What a durable batch lets happen.
#[derive(Debug, Default)]
pub struct Released {
    pub actions: Vec<Action>,
    /// Challenges that were known already, with the ticket of the job that came again.
    pub known: Vec<(ChallengeKey, Known, Ticket)>,
    /// Challenges that the ledger could not hold, with their jobs' tickets.
    pub lost: Vec<(ChallengeKey, Ticket)>,
    /// Challenges that are over a limit, and were not written, with their jobs' tickets.
    pub over: Vec<(ChallengeKey, Taken, Ticket)>,
    /// What the limiter has to say of challenges, also of those.
    pub limited: Vec<Limited>,
    refused: Vec<(ChallengeKey, Taken)>,
    /// Ops that the ledger can't hold.
    pub refused_ops: usize,
    /// Challenges for which a word had come before them.
    pub early: Vec<(ChallengeKey, ControlMessage)>,
    /// Challenges that belong to another node.
    pub fenced: Vec<ChallengeKey>,
    /// Attempts whose intent could not be written.
    pub unwritten: Vec<AttemptKey>,
    /// Reports that are durable were not told: they are to be read from the ledger.
    pub unpublished: bool,
    /// Words with what the ledger knows of their challenge, if anything.
    pub words: Vec<(ControlMessage, Option<Known>, Ticket)>,
}

impl Released {
    /// Where it did not go in for a limit's sake.
    fn over_limit(&self, key: ChallengeKey) -> Option<Taken> {
        let of = self.refused.iter().find(|(other, _)| *other == key);
        of.map(|(_, taken)| *taken)
    }
}

pub struct CommitQueue {
    last_report: i64,
    next: u64,
    ops: Vec<Op>,
    actions: Vec<Action>,
    in_flight: VecDeque<(u64, Vec<Action>)>,
    /// The least patience of what has come since the last flush.
    patience: Option<Duration>,
    /// When what has gathered is to go.
    due: Option<Mono>,
    /// The next batch goes no sooner, unless it is full.
    not_before: Option<Mono>,
    expected: Expected,
}

/// Calls whose drivers prepare their INVITEs: the batch with their intents waits for them, but not long.
#[derive(Debug, Default)]
struct Expected {
    calls: HashSet<AttemptKey>,
    until: Option<Mono>,
}

/// How long calls' intents and answers, and finals gather before they are committed.
const SOON: Duration = Duration::from_millis(16);
/// How long what a carrier said gathers: some carriers say nothing more before they have been answered.
const ACKNOWLEDGING: Duration = Duration::from_millis(4);
/// How long what is told on the way, and changes nothing for a restart, gathers.
pub const NEWS: Duration = Duration::from_millis(25);
/// How long what may be lost gathers: done a second time it does no harm.
const TIDYING: Duration = Duration::from_millis(50);
/// From one batch to the next at the least: where much happens, what comes in between shares a commit. The first after a
/// quiet moment goes at once.
const PACE: Duration = Duration::from_millis(2);
/// How long a batch waits for calls that are being prepared: far longer than a driver takes that is well.
const PREPARING: Duration = Duration::from_millis(2);
/// So much needs no company.
const GATHERED: usize = 256;

/// How long it may wait for company.
fn patience(op: &Op) -> Duration {
    match op {
        Op::ReportDone { .. } | Op::CallDown { .. } | Op::InboxDone { .. } => TIDYING,
        Op::Report(report) if !report.is_final => NEWS,
        Op::Accept(_)
        | Op::Life { .. }
        | Op::End { .. }
        | Op::Reference { .. }
        | Op::Inbox(_)
        | Op::InboxHanded { .. }
        | Op::Late { .. }
        | Op::CallUp { .. }
        | Op::Report(_)
        | Op::Early(_)
        | Op::Overlay { .. }
        | Op::Feedback { .. } => SOON,
    }
}

impl CommitQueue {
    /// `first`: the first key of a report that is free.
    pub fn new(first: ReportKey) -> CommitQueue {
        CommitQueue {
            last_report: first.0 - 1,
            next: 1,
            ops: Vec::new(),
            actions: Vec::new(),
            in_flight: VecDeque::new(),
            patience: None,
            due: None,
            not_before: None,
            expected: Expected::default(),
        }
    }

    /// Of a report that is made now.
    pub fn next_report(&mut self) -> ReportKey {
        self.last_report += 1;
        ReportKey(self.last_report)
    }

    /// Is there room for another batch? If not, nothing more is taken in.
    pub fn room(&self) -> bool {
        self.in_flight.len() + 1 < BATCHES
    }

    pub fn idle(&self) -> bool {
        self.in_flight.is_empty() && self.ops.is_empty() && self.actions.is_empty()
    }

    /// To be written with the next batch. Gives its place there.
    pub fn write(&mut self, op: Op) -> usize {
        self.write_within(patience(&op), op)
    }

    /// As [`CommitQueue::write`], where the op itself doesn't tell how long it may wait.
    pub fn write_within(&mut self, patience: Duration, op: Op) -> usize {
        self.at_most(patience);
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// To be done once everything that was written until now is durable.
    pub fn then(&mut self, action: Action) {
        self.at_most(action.patience());
        self.actions.push(action);
    }

    /// A challenge whose accept stands in the next batch.
    pub fn new_challenge(&mut self, key: ChallengeKey) -> Option<&mut NewChallenge> {
        self.ops.iter_mut().rev().find_map(|op| match op {
            Op::Accept(new) if new.key == key => Some(&mut **new),
            _ => None,
        })
    }

    fn at_most(&mut self, patience: Duration) {
        self.patience = Some(self.patience.map_or(patience, |least| least.min(patience)));
    }

    /// This call is being prepared: what must be written before its INVITE leaves will come in a moment.
    pub fn expect(&mut self, call: AttemptKey, now: Mono) {
        self.expected.calls.insert(call);
        self.expected.until.get_or_insert(now + PREPARING);
    }

    /// It has come, or it won't.
    pub fn heard_of(&mut self, call: AttemptKey) {
        if self.expected.calls.remove(&call) && self.expected.calls.is_empty() {
            self.expected.until = None;
        }
    }

    /// When what has gathered is to be given to the ledger.
    pub fn due(&self) -> Option<Mono> {
        let due = self.due.filter(|_| self.room())?;
        let waits = [self.expected.until, self.not_before];
        Some(waits.into_iter().flatten().fold(due, Mono::max))
    }

    /// Gives what has gathered to the ledger once it is due. What waits for nothing comes back at once.
    pub fn flush(&mut self, now: Mono, out: &mut Outputs) -> Vec<Action> {
        let patience = self.patience.take();
        if self.ops.is_empty() {
            let actions = std::mem::take(&mut self.actions);
            return match self.in_flight.back_mut() {
                None => actions,
                // Order is kept: it waits for what was said before it.
                Some((_, before)) => {
                    before.extend(actions);
                    Vec::new()
                }
            };
        }
        self.due = patience.map(|p| now + p).into_iter().chain(self.due).min();
        let full = self.ops.len() >= GATHERED && self.room();
        if !full && self.due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        self.not_before = Some(now + PACE);
        self.expected = Expected::default();
        let number = self.next;
        self.next += 1;
        let ops = std::mem::take(&mut self.ops);
        out.push(Output::Commit(Batch { number, ops }));
        let actions = std::mem::take(&mut self.actions);
        self.in_flight.push_back((number, actions));
        Vec::new()
    }

    /// What has waited for this batch, and for those before it.
    fn waited(&mut self, number: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((first, _)) = self.in_flight.front()
            && *first <= number
        {
            let first = self.in_flight.pop_front();
            actions.extend(first.into_iter().flat_map(|(_, waited)| waited));
        }
        actions
    }

    /// A batch is durable, or it never will be.
    pub fn done(&mut self, mut done: Done) -> Released {
        let whole = done.is_whole();
        let mut released = Released {
            early: std::mem::take(&mut done.early),
            limited: std::mem::take(&mut done.limited),
            fenced: std::mem::take(&mut done.fenced),
            refused_ops: done.refused.len(),
            ..Released::default()
        };
        let actions = self.waited(done.number);
        let refused = released.limited.iter();
        let refused = refused.filter(|limited| limited.taken.refused.is_some());
        released.refused = refused
            .map(|limited| (limited.key, limited.taken))
            .collect();
        for action in actions {
            let action = match (whole, done.is_void) {
                (true, false) => Some(action),
                (true, true) => action.unless_void(&mut released),
                (false, _) => action.unless_whole(done.failed.is_some(), &mut released),
            };
            let Some(action) = action else { continue };
            match action {
                Action::Taken(key, ticket) if done.lost.contains(&key) => {
                    released.lost.push((key, ticket));
                }
                Action::Taken(key, ticket) => {
                    if let Some((_, known)) = done.known.iter().find(|(k, _)| *k == key) {
                        released.known.push((key, known.clone(), ticket));
                    } else if let Some(taken) = released.over_limit(key) {
                        released.over.push((key, taken, ticket));
                    } else {
                        released.actions.push(Action::Taken(key, ticket));
                    }
                }
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
                    let out = |key| {
                        done.known.iter().any(|(k, _)| *k == key)
                            || done.lost.contains(&key)
                            || released.over_limit(key).is_some()
                            || released.fenced.contains(&key)
                    };
                    if !other.needs().is_some_and(out) {
                        released.actions.push(other);
                    }
                }
            }
        }
        released
    }
}

#[cfg(test)]
mod tests;
