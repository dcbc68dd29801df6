//! What the core wants done, in the order in which it is to be done.

use std::collections::VecDeque;

use crate::{
    carrier::{Acknowledgement, CallMark, CallOrder, CallToEnd, DriverId, Finish, TextOrder},
    challenge::{AttemptKey, ChallengeKey, Millis},
    intake::{Answer, Ticket},
    ledger::{Batch, InboxKey, OutboxReport, Whose},
};

/// One thing for the driver of the core to do.
#[derive(Debug)]
pub enum Output {
    /// To be made durable; answered by [`super::Input::Committed`]. Never more than [`crate::ledger::BATCHES`] at once.
    Commit(Batch),
    /// A round of questions to the ledger; answered by [`super::Input::LookedUp`].
    LookUp(Vec<LookUp>),
    /// For a carrier of texts: its intent is durable. If the driver can't take it, [`super::Input::Undelivered`] follows.
    Text(DriverId, Box<TextOrder>),
    /// For a carrier of calls: nothing leaves before [`Output::Recorded`]. If the driver can't take it,
    /// [`super::Input::Undelivered`] follows.
    Call(DriverId, Box<CallOrder>),
    /// A call that another node had, and that may be up, is to be ended.
    EndCall(DriverId, CallToEnd),
    /// This attempt's call is to end.
    HangUp(DriverId, AttemptKey),
    /// What a call has said of itself is durable: what waits for it may leave.
    Recorded(DriverId, CallMark),
    /// For a driver of either kind.
    Finish(DriverId, Finish),
    /// The door is told what became of an arrival.
    Answer(Ticket, Answer),
    /// What the carrier has brought is safe.
    Acknowledge(Acknowledgement),
    /// There is no room for what the carrier has brought: it is to bring it again.
    Refuse(Acknowledgement),
    Publish(Box<OutboxReport>),
    /// Reports that another node had wait in the ledger.
    ReadReports,
    /// Whoever follows this challenge by HTTP finds a new report in the ledger.
    Notify(ChallengeKey),
    /// An operator's order is durable, or was not taken.
    Ordered(OrderId, Ordered),
}

/// An operator's order that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// One question to the ledger: whose receipt is it?
#[derive(Debug)]
pub struct LookUp {
    pub key: InboxKey,
    pub whose: Whose,
}

/// What came of an operator's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// Durable, and in force for the next attempt of every challenge. Until when.
    InForce(Option<Millis>),
    Lifted,
    /// The configuration has nothing of that name.
    NoSuchSubject,
    /// There was nothing to lift.
    NotInForce,
}

/// What has gathered.
#[derive(Debug, Default)]
pub struct Outputs(VecDeque<Output>);

impl Outputs {
    pub fn push(&mut self, output: Output) {
        self.0.push_back(output);
    }

    pub fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
}

/// Shorthand of what is told most.
impl Outputs {
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.push(Output::Answer(ticket, answer));
    }
}
