//! A carrier of texts over HTTP: the gateway's own machine, requests and answers of octets through a network in memory, and a
//! far end that reads them with the simulator's eyes and calls back with what its network writes. What becomes of texts is
//! the network's matter (`texts`).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::Request;

mod callbacks;
mod courier;
mod driver;
mod far_end;

use callbacks::Callbacks;
use courier::Courier;
use driver::{Driver, Flight};
use far_end::{GivenAnswer, Ordered};

use super::{
    stage::{Effect, Stage},
    steps::{Brought, HttpStep, RequestId, TextStep},
    texts::Network,
};
use crate::{
    carrier::{DriverId, Reply, Slots, http::exchange::Transmission},
    challenge::AttemptKey,
    config::carrier::CarrierConfig,
};

/// One carrier.
pub struct Http {
    pub network: Network,
    /// Those of this life; the last one that is not told to finish has the name.
    drivers: Vec<Driver>,
    flights: BTreeMap<RequestId, Flight>,
    last_flight: RequestId,
    /// Requests that have left and have not come to the far end.
    on_the_way: BTreeMap<RequestId, Request<Bytes>>,
    /// What was given to drivers and has not come to the far end, by our reference.
    ordered: BTreeMap<String, Ordered>,
    /// What the far end has answered of texts that came to it.
    given: BTreeMap<AttemptKey, GivenAnswer>,
    callbacks: Callbacks,
    courier: Courier,
    /// No connection comes to be before.
    down_until: Option<Instant>,
    /// When it is woken, as far as that is planned.
    planned: BTreeSet<Instant>,
    /// Nobody hears the drivers any more.
    is_unheard: bool,
}

impl Http {
    pub fn new(place: u32) -> Http {
        Http {
            network: Network::new(place),
            drivers: Vec::new(),
            flights: BTreeMap::new(),
            last_flight: 0,
            on_the_way: BTreeMap::new(),
            ordered: BTreeMap::new(),
            given: BTreeMap::new(),
            callbacks: Callbacks::new(),
            courier: Courier::new(),
            down_until: None,
            planned: BTreeSet::new(),
            is_unheard: false,
        }
    }

    /// A driver begins.
    pub fn begin(
        &mut self,
        id: DriverId,
        config: &Arc<CarrierConfig>,
        stage: &mut Stage<'_>,
    ) -> Slots {
        self.callbacks.begin(config);
        let Some(driver) = Driver::new(id, config, stage) else {
            let fault = format!("{}: its file can't be used", config.name);
            stage.effects.push(Effect::Broken(fault));
            return Slots::default();
        };
        let slots = driver.machine.slots().clone();
        self.drivers.push(driver);
        self.go_on(stage);
        slots
    }

    /// The process has died. What has left is still on its way.
    pub fn crash(&mut self, stage: &mut Stage<'_>) {
        self.drivers.clear();
        self.flights.clear();
        self.is_unheard = false;
        self.callbacks.crash(stage);
    }

    /// Another set of carriers is in force. Callbacks are taken while a driver of the name runs.
    pub fn set_changed(&mut self) {
        let runs = self.drivers.iter().any(|driver| !driver.has_ended);
        self.callbacks.is_served = runs;
    }

    pub fn unheard(&mut self) {
        self.is_unheard = true;
    }

    pub fn has_ended(&self) -> bool {
        self.drivers.iter().all(|driver| driver.has_ended)
    }

    /// Receipts that no answer has come for.
    pub fn is_busy(&self) -> bool {
        !self.network.bringing.is_empty()
    }

    /// All connections break; for a while there are no others.
    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        self.down_until = Some(stage.now + stage.dice.between(200, 20_000));
        for (id, flight) in self
            .flights
            .iter_mut()
            .filter(|(_, flight)| flight.has_left)
        {
            flight.is_cut = true;
            if stage.dice.chance(500) {
                self.on_the_way.remove(id);
            }
            // Or nobody says so.
            if stage.dice.chance(700) {
                let after = stage.dice.between(0, 60);
                stage.later(after, HttpStep::Broken(*id));
            }
        }
        self.go_on(stage);
    }

    fn is_down(&self, stage: &Stage<'_>) -> bool {
        self.down_until.is_some_and(|until| stage.now < until)
    }

    pub fn step(&mut self, step: HttpStep, stage: &mut Stage<'_>) {
        match step {
            HttpStep::Wake => self.wake(stage),
            HttpStep::Probed(driver, number) => self.probed(driver, number, stage),
            HttpStep::Connected(id) => self.connected(id, stage),
            HttpStep::Broken(id) => self.unanswered(id, stage),
            HttpStep::TimedOut(id) => self.unanswered(id, stage),
            HttpStep::Overdue(id) => self.overdue(id, stage),
            HttpStep::ToFarEnd(id) => {
                if let Some(request) = self.on_the_way.remove(&id) {
                    self.requested(id, &request, stage);
                }
            }
            HttpStep::Answers(id, answer) => self.answers(id, answer, stage),
            HttpStep::ToUs(id, answer) => match self.flights.get(&id) {
                Some(flight) if !flight.is_cut => {
                    self.flew(id, Transmission::Answered(*answer), stage);
                }
                Some(_) => {}
                None => reached(stage, "an HTTP answer came when nobody waited for it"),
            },
            HttpStep::Gathered => self.gathered(stage),
            HttpStep::Post(post) => self.post(post, stage),
            HttpStep::Impatient(visit) => self.impatient(visit, stage),
            HttpStep::Replied(post, status) => self.replied(post, status, stage),
        }
        self.go_on(stage);
    }

    /// A step of the network behind.
    pub fn text_step(&mut self, step: TextStep, stage: &mut Stage<'_>) {
        match step {
            TextStep::AtPhone(key) => stage.effects.push(Effect::TextAtPhone(key)),
            TextStep::Write(brought) => self.write(*brought, stage),
        }
        self.go_on(stage);
    }

    /// The core says what becomes of a receipt. Gives it, if it has become safe by that.
    pub fn answered(
        &mut self,
        number: u32,
        reply: Reply,
        stage: &mut Stage<'_>,
    ) -> Option<Brought> {
        let first = self.courier.is_safe_now(number, reply);
        self.core_replies(number, reply, stage);
        let brought = self.network.bringing.get(&number).cloned();
        brought.filter(|_| first)
    }

    /// At the end: a carrier that can be reached is taken for down.
    pub fn left_over(&self, now: Instant) -> Option<String> {
        let mut drivers = self.drivers.iter();
        drivers.find_map(|driver| driver.is_lost(self.down_until, now))
    }
}

fn reached(stage: &mut Stage<'_>, state: &'static str) {
    stage.effects.push(Effect::Reached(state));
}

/// Of all texts and callbacks: a way that is no fault, and that a reader must take as well.
fn now_and_then(stage: &mut Stage<'_>) -> bool {
    stage.dice.chance(200)
}

/// From one end to the other, in milliseconds.
const LATENCY: (u64, u64) = (1, 40);

fn latency(stage: &mut Stage<'_>) -> Duration {
    stage.dice.between(LATENCY.0, LATENCY.1)
}

/// In gzip.
fn packed(octets: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    // Nothing fails that is written to memory.
    let written = packed.write_all(octets).and_then(|()| packed.finish());
    written.unwrap_or_default()
}
