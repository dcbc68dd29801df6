//! The carriers that are played: each a driver as the core knows it, and the network behind.

use std::{sync::Arc, time::Duration};

use super::{calls, calls::Calls, dice::Dice, profile::Profile, texts, texts::Texts};
use crate::{
    carrier::{CarrierEvent, DriverId, Link, Slots, TextOrder},
    challenge::AttemptKey,
    config::{CarrierConfig, carrier::Transport},
};

/// A carrier and its driver of this life of the process.
pub struct Carrier {
    pub config: Arc<CarrierConfig>,
    pub driver: DriverId,
    pub slots: Slots,
    pub kind: CarrierKind,
}

pub enum CarrierKind {
    Texts(Texts),
    Calls(Calls),
}

/// A step that a carrier takes later.
#[derive(Debug)]
pub enum Step {
    Text(texts::TextStep),
    Call(calls::CallStep),
    /// The link is there: again, or for the first time.
    Up,
    Cut,
}

impl Step {
    /// It is of the network, not of the driver's session.
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            Step::Text(step) => step.outlives_a_crash(),
            Step::Call(step) => step.outlives_a_crash(),
            Step::Up | Step::Cut => false,
        }
    }
}

/// What a step leads to, in order.
#[derive(Debug)]
pub enum Effect {
    /// The driver says this, at once.
    Say(CarrierEvent),
    Later(Duration, Step),
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
}

/// What carriers are given to play with.
pub struct Stage<'a> {
    pub dice: &'a mut Dice,
    pub profile: &'a Profile,
    pub effects: &'a mut Vec<Effect>,
}

impl Stage<'_> {
    pub fn say(&mut self, what: CarrierEvent) {
        self.effects.push(Effect::Say(what));
    }

    pub fn later(&mut self, after: Duration, step: Step) {
        self.effects.push(Effect::Later(after, step));
    }
}

impl Carrier {
    /// `place`: its own number among all.
    pub fn new(config: Arc<CarrierConfig>, place: u32) -> Carrier {
        let kind = match config.transport {
            Transport::Sip(_) => CarrierKind::Calls(Calls::new(place)),
            Transport::Smpp(_) | Transport::Http(_) => CarrierKind::Texts(Texts::new(place)),
        };
        Carrier {
            config,
            driver: DriverId(0),
            slots: Slots::default(),
            kind,
        }
    }

    /// A process has started: its driver begins.
    pub fn begin(&mut self, driver: DriverId, stage: &mut Stage<'_>) {
        self.driver = driver;
        self.slots = Slots::default();
        let after = stage.dice.between(5, 400);
        stage.later(after, Step::Up);
    }

    /// The process has died.
    pub fn crash(&mut self) {
        match &mut self.kind {
            CarrierKind::Texts(texts) => texts.crash(),
            CarrierKind::Calls(calls) => calls.crash(),
        }
    }

    pub fn step(&mut self, step: Step, stage: &mut Stage<'_>) {
        match (step, &mut self.kind) {
            (Step::Text(step), CarrierKind::Texts(texts)) => texts.step(step, stage),
            (Step::Call(step), CarrierKind::Calls(calls)) => calls.step(step, stage),
            (Step::Up, kind) => {
                let slots = match &self.config.transport {
                    Transport::Smpp(smpp) => smpp.binds * smpp.window,
                    Transport::Http(http) => http.window,
                    Transport::Sip(sip) => sip.max_calls,
                };
                self.slots.set(slots);
                stage.say(CarrierEvent::Link(Link::Up));
                match kind {
                    CarrierKind::Texts(texts) => texts.up(stage),
                    // A trunk is known to be there once it has answered.
                    CarrierKind::Calls(_) => {
                        stage.say(CarrierEvent::Link(Link::Probe { ok: true }))
                    }
                }
            }
            (Step::Cut, kind) => {
                self.slots.set(0);
                if let CarrierKind::Texts(texts) = kind {
                    texts.cut(stage);
                }
                let reason = "cut".into();
                stage.say(CarrierEvent::Link(Link::Down { reason }));
                let after = stage.dice.between(200, 20_000);
                stage.later(after, Step::Up);
            }
            (Step::Text(_), CarrierKind::Calls(_)) | (Step::Call(_), CarrierKind::Texts(_)) => {}
        }
    }
}

/// How an order's text reads: longer ones have several parts.
pub fn parts(order: &TextOrder) -> u16 {
    if order.content.body.len() > 160 { 2 } else { 1 }
}
