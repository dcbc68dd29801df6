//! The carriers that are played: each a driver as the core knows it, and the network behind.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    calls,
    calls::Calls,
    dice::Dice,
    http::{Http, HttpStep},
    profile::Profile,
    smpp::{Smpp, SmppStep},
    texts::{Brought, TextStep},
};
use crate::{
    carrier::{CarrierEvent, DriverId, Finish, Reply, Slots, TextOrder},
    challenge::{AttemptKey, Millis},
    config::{CarrierConfig, carrier::Transport},
    message::speech::Catalogue,
};

/// A carrier and its drivers of this life of the process.
pub struct Carrier {
    pub config: Arc<CarrierConfig>,
    /// The last one has the name.
    pub drivers: Vec<DriverId>,
    pub slots: Slots,
    pub kind: CarrierKind,
}

pub enum CarrierKind {
    Smpp(Box<Smpp>),
    Http(Http),
    Calls(Box<Calls>),
}

/// A step that a carrier takes later.
#[derive(Debug)]
pub enum Step {
    Smpp(SmppStep),
    Http(HttpStep),
    /// Of the network behind either.
    Text(TextStep),
    Call(calls::CallStep),
    /// A trunk is there: again, or for the first time.
    Up,
    Cut,
}

impl Step {
    /// It is of the network, not of the driver's session.
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            Step::Smpp(step) => step.outlives_a_crash(),
            Step::Text(_) => true,
            // Receipts that were not answered for are brought again once the link is up.
            Step::Http(_) => false,
            Step::Call(step) => step.outlives_a_crash(),
            Step::Up | Step::Cut => false,
        }
    }

    /// Nothing but time passing.
    pub fn is_time(&self) -> bool {
        match self {
            Step::Smpp(step) => step.is_time(),
            Step::Call(step) => step.is_time(),
            Step::Http(_) | Step::Text(_) | Step::Up | Step::Cut => false,
        }
    }
}

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

    pub fn later(&mut self, after: Duration, step: Step) {
        self.effects.push(Effect::Later(after, step));
    }
}

impl Carrier {
    /// `place`: its own number among all.
    pub fn new(config: Arc<CarrierConfig>, place: u32, voices: &Arc<Catalogue>) -> Carrier {
        let kind = match &config.transport {
            Transport::Sip(sip) => {
                let calls = Calls::new(place, config.clone(), sip.clone(), voices.clone());
                CarrierKind::Calls(Box::new(calls))
            }
            Transport::Http(http) => CarrierKind::Http(Http::new(place, http.window)),
            Transport::Smpp(smpp) => CarrierKind::Smpp(Box::new(Smpp::new(place, smpp))),
        };
        Carrier {
            config,
            drivers: Vec::new(),
            slots: Slots::default(),
            kind,
        }
    }

    /// The driver that has its name.
    pub fn driver(&self) -> DriverId {
        self.drivers.last().copied().unwrap_or(DriverId(0))
    }

    /// A driver begins.
    pub fn begin(&mut self, driver: DriverId, stage: &mut Stage<'_>) {
        self.drivers.push(driver);
        self.slots = match (&mut self.kind, &self.config.transport) {
            (CarrierKind::Smpp(smpp), Transport::Smpp(config)) => {
                smpp.begin(driver, &self.config, config, stage)
            }
            (CarrierKind::Http(http), _) => http.begin(driver, stage),
            (CarrierKind::Calls(calls), _) => calls.begin(driver, stage),
            // Its file is never another kind's.
            (CarrierKind::Smpp(_), _) => Slots::default(),
        };
    }

    /// The process has died.
    pub fn crash(&mut self, stage: &mut Stage<'_>) {
        self.drivers.clear();
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.crash(stage),
            CarrierKind::Http(http) => http.crash(),
            CarrierKind::Calls(calls) => calls.crash(),
        }
    }

    pub fn submit(&mut self, driver: DriverId, order: &TextOrder, stage: &mut Stage<'_>) {
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.submit(driver, order, parts(order), stage),
            CarrierKind::Http(http) => http.submit(driver, order, parts(order), stage),
            CarrierKind::Calls(_) => {}
        }
    }

    /// Nothing new comes to its driver.
    pub fn finish(&mut self, driver: DriverId, finish: Finish, stage: &mut Stage<'_>) {
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.finish(driver, stage),
            CarrierKind::Http(http) => http.finish(driver, stage),
            CarrierKind::Calls(calls) => calls.finish(finish, stage),
        }
    }

    pub fn step(&mut self, step: Step, stage: &mut Stage<'_>) {
        match (step, &mut self.kind) {
            (Step::Smpp(step), CarrierKind::Smpp(smpp)) => smpp.step(step, stage),
            (Step::Text(step), CarrierKind::Smpp(smpp)) => smpp.text_step(step, stage),
            (Step::Cut, CarrierKind::Smpp(smpp)) => smpp.cut(stage),
            (Step::Http(step), CarrierKind::Http(http)) => http.step(step, stage),
            (Step::Text(step), CarrierKind::Http(http)) => http.text_step(step, stage),
            (Step::Cut, CarrierKind::Http(http)) => http.cut(stage),
            (Step::Call(step), CarrierKind::Calls(calls)) => calls.step(step, stage),
            (Step::Up, CarrierKind::Calls(calls)) => calls.up(stage),
            (Step::Cut, CarrierKind::Calls(calls)) => calls.cut(stage),
            // No carrier plans a step of another kind.
            (Step::Smpp(_) | Step::Http(_) | Step::Text(_) | Step::Call(_) | Step::Up, _) => {}
        }
    }

    /// A receipt that is on its way.
    pub fn brought(&self, number: u32) -> Option<&Brought> {
        match &self.kind {
            CarrierKind::Smpp(smpp) => smpp.network.bringing.get(&number),
            CarrierKind::Http(http) => http.network.bringing.get(&number),
            CarrierKind::Calls(_) => None,
        }
    }

    /// The core says what becomes of a receipt. Gives it, if it has become safe by that.
    pub fn answered(
        &mut self,
        number: u32,
        reply: Reply,
        stage: &mut Stage<'_>,
    ) -> Option<Brought> {
        match (&mut self.kind, reply) {
            (CarrierKind::Smpp(smpp), reply) => smpp.answered(number, reply, stage),
            (CarrierKind::Http(http), Reply::Taken) => http.acknowledged(number),
            (CarrierKind::Http(_), Reply::QueueFull) | (CarrierKind::Calls(_), _) => None,
        }
    }

    /// It has something to bring, or to end, that nothing else is planned for.
    pub fn is_busy(&self, now: Instant) -> bool {
        match &self.kind {
            CarrierKind::Smpp(smpp) => smpp.is_busy(),
            CarrierKind::Http(_) => false,
            CarrierKind::Calls(calls) => calls.is_busy(now),
        }
    }
}

/// How an order's text reads: longer ones have several parts.
pub fn parts(order: &TextOrder) -> u16 {
    if order.content.body.len() > 160 { 2 } else { 1 }
}
