//! What a carrier's step is given to play with, and what it leads to: all that a carrier knows of the world around it.

use std::time::{Duration, Instant};

use super::{dice::Dice, profile::Profile, steps::Step};
use crate::{
    carrier::{CarrierEvent, DriverId},
    challenge::{AttemptKey, Millis},
};

/// What a step leads to, in order.
#[derive(Debug)]
pub enum Effect {
    /// The driver says this, at once.
    Say(CarrierEvent),
    Later(Duration, Step),
    /// This driver, told to finish, has ended.
    Ended(DriverId),
    /// The phone has a text of this attempt, whole.
    TextAtPhone(AttemptKey),
    /// A person is still spoken to in this attempt's call.
    Talks(AttemptKey),
    /// `#` was pressed in this attempt's call.
    Pressed(AttemptKey),
    /// This attempt's call has read its code to the end.
    CodeRead(AttemptKey),
    /// An INVITE leaves: what it needs must be durable.
    Invited(AttemptKey),
    /// A call is still up though nobody should want it any more.
    UnterminatedCall(AttemptKey),
    /// A carrier's message was answered for, and the core has not said that it is safe.
    AnsweredUnsafe(u32),
    /// A carrier got a text that nobody has ordered, or a part of one once more.
    Unordered,
    /// The text of this attempt waits for a window that has room.
    NeverLeft(AttemptKey),
    /// For the summary.
    Reached(&'static str),
    /// A carrier has the text of this attempt, and has not refused it; the driver says that it has failed.
    FailedThoughTaken(AttemptKey),
    /// This went wrong on purpose.
    Fault(&'static str),
    /// This happened, and is worth a line.
    Seen(String),
    /// A promise is broken.
    Broken(String),
}

/// What carriers are given to play with.
pub struct Stage<'a> {
    /// The time that is waited for, and that of the wall.
    pub now: Instant,
    pub wall: Millis,
    pub dice: &'a mut Dice,
    pub profile: &'a Profile,
    pub effects: &'a mut Vec<Effect>,
}

impl Stage<'_> {
    pub fn say(&mut self, what: CarrierEvent) {
        self.effects.push(Effect::Say(what));
    }

    pub fn later(&mut self, after: Duration, step: impl Into<Step>) {
        self.effects.push(Effect::Later(after, step.into()));
    }
}
