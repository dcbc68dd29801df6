//! The carriers that are played: each a driver as the core knows it, and the network behind.

use std::{sync::Arc, time::Instant};

use super::{
    calls::Calls,
    http::Http,
    smpp::Smpp,
    stage::Stage,
    steps::{Brought, Step},
};
use crate::{
    carrier::{DriverId, Finish, Reply, Slots, TextOrder},
    config::{CarrierConfig, carrier::Transport},
    core::{CarrierUpdate, UpdateLink},
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
    Http(Box<Http>),
    Calls(Box<Calls>),
}

impl Carrier {
    /// `place`: its own number among all.
    pub fn new(config: Arc<CarrierConfig>, place: u32, voices: &Arc<Catalogue>) -> Carrier {
        let kind = match &config.transport {
            Transport::Sip(sip) => {
                let calls = Calls::new(place, config.clone(), sip.clone(), voices.clone());
                CarrierKind::Calls(Box::new(calls))
            }
            Transport::Http(_) => CarrierKind::Http(Box::new(Http::new(place))),
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
            (CarrierKind::Http(http), _) => http.begin(driver, &self.config, stage),
            (CarrierKind::Calls(calls), _) => calls.begin(driver, stage),
            // Its file is never another kind's.
            (CarrierKind::Smpp(_), _) => Slots::default(),
        };
    }

    /// What the core is told of it at a reload.
    pub fn update(&self, link: UpdateLink) -> CarrierUpdate {
        CarrierUpdate {
            config: self.config.clone(),
            driver: self.driver(),
            slots: self.slots.clone(),
            link,
        }
    }

    /// True: its driver was leaving, and stays.
    pub fn is_taken_up_again(&mut self, stage: &mut Stage<'_>) -> bool {
        match &mut self.kind {
            CarrierKind::Calls(calls) => calls.is_taken_up_again(stage),
            CarrierKind::Smpp(_) | CarrierKind::Http(_) => false,
        }
    }

    /// Its file says this now.
    pub fn change(&mut self, config: CarrierConfig, stage: &mut Stage<'_>) -> UpdateLink {
        self.config = Arc::new(config);
        let driver = self.driver();
        let mut is_fresh = false;
        match (&mut self.kind, &self.config.transport) {
            (CarrierKind::Smpp(smpp), Transport::Smpp(config)) => {
                smpp.change(driver, &self.config, config, stage);
            }
            (CarrierKind::Http(http), _) => {
                is_fresh = http.change(driver, &self.config, stage);
            }
            (CarrierKind::Calls(calls), Transport::Sip(sip)) => {
                calls.become_another(&self.config, sip, stage);
            }
            // Its file is never another kind's.
            (CarrierKind::Smpp(_) | CarrierKind::Calls(_), _) => {}
        }
        UpdateLink::of(is_fresh)
    }

    /// The process has died.
    pub fn crash(&mut self, stage: &mut Stage<'_>) {
        self.drivers.clear();
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.crash(stage),
            CarrierKind::Http(http) => http.crash(stage),
            CarrierKind::Calls(calls) => calls.crash(),
        }
    }

    /// How many ids, and so receipts, this text has there: over HTTP it is one, of however many parts.
    pub fn parts(&self, order: &TextOrder) -> u16 {
        match self.kind {
            CarrierKind::Smpp(_) if order.content.body.len() > 160 => 2,
            CarrierKind::Smpp(_) | CarrierKind::Http(_) | CarrierKind::Calls(_) => 1,
        }
    }

    pub fn submit(&mut self, driver: DriverId, order: &TextOrder, stage: &mut Stage<'_>) {
        let parts = self.parts(order);
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.submit(driver, order, parts, stage),
            CarrierKind::Http(http) => http.submit(driver, order, stage),
            CarrierKind::Calls(_) => {}
        }
    }

    /// Nothing new comes to its driver.
    pub fn finish(&mut self, driver: DriverId, finish: Finish, stage: &mut Stage<'_>) {
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.finish(driver, stage),
            CarrierKind::Http(http) => http.finish(driver, finish, stage),
            CarrierKind::Calls(calls) => calls.finish(finish, stage),
        }
    }

    /// Nobody hears its driver any more.
    pub fn unheard(&mut self) {
        match &mut self.kind {
            CarrierKind::Smpp(smpp) => smpp.unheard(),
            CarrierKind::Calls(calls) => calls.unheard(),
            CarrierKind::Http(http) => http.unheard(),
        }
    }

    /// No driver of it has anything left to do.
    pub fn has_ended(&self, now: Instant) -> bool {
        match &self.kind {
            CarrierKind::Smpp(smpp) => smpp.has_ended(),
            CarrierKind::Http(http) => http.has_ended(),
            CarrierKind::Calls(calls) => calls.has_ended(now),
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
            (Step::Cut, CarrierKind::Calls(calls)) => calls.cut(stage),
            // No carrier plans a step of another kind.
            (Step::Smpp(_) | Step::Http(_) | Step::Text(_) | Step::Call(_), _) => {}
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
            (CarrierKind::Http(http), reply) => http.answered(number, reply, stage),
            (CarrierKind::Calls(_), _) => None,
        }
    }

    /// It has something to bring, or to end, that nothing else is planned for.
    pub fn is_busy(&self, now: Instant) -> bool {
        match &self.kind {
            CarrierKind::Smpp(smpp) => smpp.is_busy(),
            CarrierKind::Http(http) => http.is_busy(),
            CarrierKind::Calls(calls) => calls.is_busy(now),
        }
    }
}
