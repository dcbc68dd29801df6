//! The gateway's end of an HTTP carrier: a driver's machine, its requests and what they come to, as `carrier::http` runs them.
//! After a reload a driver that was told to finish may stand beside its successor.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::Request;

use super::{Http, latency, reached};
use crate::{
    carrier::{
        AttemptEvent, CarrierEvent, DriverId, Finish, Link, TextCommand, TextOrder,
        http::{
            exchange::{Exchange, Seen, Transmission},
            is_another_link,
            machine::HttpMachine,
            request::RequestFormat,
        },
    },
    challenge::{AttemptKey, Millis},
    config::carrier::{CarrierConfig, HttpConfig, Transport},
    rehearse::{
        stage::{Effect, Stage},
        steps::{HttpStep, RequestId},
    },
};

/// By then a driver has found out that its carrier can be reached: the longest wait between two probes, and what one may take.
const FOUND_OUT: Duration = Duration::from_secs(30);
/// In milliseconds.
const CONNECTING: (u64, u64) = (1, 150);
/// Of all requests: there is a connection that is kept.
const KEPT_ALIVE: u32 = 700;

/// One driver.
pub(super) struct Driver {
    pub id: DriverId,
    pub machine: HttpMachine,
    setup: Arc<Setup>,
    /// Given by the core, and not taken up.
    inbox: VecDeque<TextCommand>,
    /// The probe that is under way, by its number.
    probe: u64,
    /// A probe or a request has found its link as it is now.
    is_found: bool,
    /// Since when it takes its carrier for down.
    down_since: Option<Instant>,
    pub has_ended: bool,
}

/// What its requests are made of.
struct Setup {
    /// Which link of the driver, by its number.
    link: u64,
    config: Arc<CarrierConfig>,
    http: HttpConfig,
    format: RequestFormat,
}

/// A request in the air.
pub(super) struct Flight {
    driver: usize,
    pub key: AttemptKey,
    setup: Arc<Setup>,
    began: Millis,
    deadline: Millis,
    /// Until it leaves.
    request: Option<Request<Bytes>>,
    pub has_left: bool,
    /// Its connection is gone: no answer comes through.
    pub is_cut: bool,
}

impl Setup {
    fn new(config: &Arc<CarrierConfig>, link: u64) -> Option<Arc<Setup>> {
        let Transport::Http(http) = &config.transport else {
            return None;
        };
        Some(Arc::new(Setup {
            link,
            format: RequestFormat::new(http).ok()?,
            config: config.clone(),
            http: http.clone(),
        }))
    }
}

impl Driver {
    /// None: its file can't be used.
    pub fn new(id: DriverId, config: &Arc<CarrierConfig>, stage: &mut Stage<'_>) -> Option<Driver> {
        let setup = Setup::new(config, 0)?;
        let seed = stage.dice.below(u64::MAX);
        let mut machine = HttpMachine::new(config.clone(), setup.http.window, seed);
        machine.begin(stage.now);
        Some(Driver {
            id,
            machine,
            setup,
            inbox: VecDeque::new(),
            probe: 0,
            is_found: false,
            down_since: None,
            has_ended: false,
        })
    }

    /// It goes on taking its carrier for down, and the network is well.
    pub fn is_lost(&self, down_until: Option<Instant>, now: Instant) -> Option<String> {
        let since = self.down_since.max(down_until)?;
        let is_lost = self.down_since.is_some() && now > since + FOUND_OUT;
        let name = &self.setup.config.name;
        is_lost.then(|| format!("{name} can be reached, and its driver takes it for down"))
    }

    fn note_slots(&mut self, now: Instant) {
        let is_down = self.machine.slots().get() == 0 && !self.machine.is_draining();
        match is_down && !self.has_ended {
            true => self.down_since = self.down_since.or(Some(now)),
            false => self.down_since = None,
        }
    }
}

impl Http {
    // --- what the core wants -------------------------------------------------------------------------------------

    pub fn submit(&mut self, id: DriverId, order: &TextOrder, stage: &mut Stage<'_>) {
        self.order(order);
        let mut drivers = self.drivers.iter_mut();
        match drivers.find(|driver| driver.id == id) {
            Some(driver) if driver.has_ended => driver.machine.refuse(order.key),
            Some(driver) => {
                let order = Box::new(order.clone());
                driver.inbox.push_back(TextCommand::Submit(order));
            }
            None => {}
        }
        self.go_on(stage);
    }

    /// Its file says this now. True: by another link, of which nothing is known yet.
    pub fn change(
        &mut self,
        id: DriverId,
        config: &Arc<CarrierConfig>,
        stage: &mut Stage<'_>,
    ) -> bool {
        self.callbacks.change(config);
        let mut drivers = self.drivers.iter_mut();
        let Some(driver) = drivers.find(|driver| driver.id == id) else {
            return false;
        };
        let is_fresh = is_another_link(&driver.setup.config, config);
        let link = driver.setup.link + u64::from(is_fresh);
        let Some(setup) = Setup::new(config, link) else {
            return false;
        };
        let window = setup.http.window;
        driver
            .machine
            .change(config.clone(), window, is_fresh, stage.now);
        driver.setup = setup;
        // What a probe that is under way finds is of no use then.
        driver.probe += u64::from(is_fresh);
        driver.is_found &= !is_fresh;
        self.go_on(stage);
        is_fresh
    }

    /// Nothing new comes: what is in the air is waited for.
    pub fn finish(&mut self, id: DriverId, finish: Finish, stage: &mut Stage<'_>) {
        let mut drivers = self.drivers.iter_mut();
        if let Some(driver) = drivers.find(|driver| driver.id == id) {
            driver.inbox.push_back(TextCommand::Finish(finish));
        }
        self.go_on(stage);
    }

    // --- as the driver does it -----------------------------------------------------------------------------------

    /// Until nothing more comes of it at this moment.
    pub(super) fn go_on(&mut self, stage: &mut Stage<'_>) {
        for at in 0..self.drivers.len() {
            self.take_up(at, stage);
            self.probe(at, stage);
            self.say(at, stage);
            let driver = &mut self.drivers[at];
            if driver.machine.is_over(stage.now) && !driver.has_ended {
                self.end(at, stage);
            }
            let driver = &mut self.drivers[at];
            driver.note_slots(stage.now);
            if let Some(lost) = driver.is_lost(self.down_until, stage.now) {
                stage.effects.push(Effect::Broken(lost));
            }
        }
        let running = self.drivers.iter().filter(|driver| !driver.has_ended);
        let deadline = running.filter_map(|driver| driver.machine.deadline()).min();
        let next = self.planned.first();
        if let Some(at) = deadline.filter(|at| next.is_none_or(|next| at < next)) {
            self.planned.insert(at);
            let after = at.saturating_duration_since(stage.now);
            stage.later(after, HttpStep::Wake);
        }
    }

    pub(super) fn wake(&mut self, stage: &mut Stage<'_>) {
        self.planned.retain(|at| *at > stage.now);
        for driver in &mut self.drivers {
            driver.machine.timeout(stage.now);
        }
    }

    fn take_up(&mut self, at: usize, stage: &mut Stage<'_>) {
        while self.drivers[at].machine.has_room() {
            let driver = &mut self.drivers[at];
            match driver.inbox.pop_front() {
                Some(TextCommand::Submit(order)) => {
                    if driver.machine.submit(order.key) {
                        self.send(at, &order, stage);
                    }
                }
                Some(TextCommand::Finish(_)) => driver.machine.drain(stage.now),
                None => return,
            }
        }
    }

    /// A request is written, and looks for its connection.
    fn send(&mut self, at: usize, order: &TextOrder, stage: &mut Stage<'_>) {
        let driver = &mut self.drivers[at];
        let setup = driver.setup.clone();
        let request = match setup.format.build(order, stage.wall) {
            Ok(request) => request,
            Err(why) => {
                let exchange = Exchange::unsent(&why);
                return driver.machine.ended(order.key, exchange, stage.now);
            }
        };
        self.last_flight += 1;
        let (id, timeout) = (self.last_flight, setup.config.response_timeout);
        let window = setup.http.window as usize;
        let flight = Flight {
            driver: at,
            key: order.key,
            setup,
            began: stage.wall,
            deadline: order.deadline,
            request: Some(request),
            has_left: false,
            is_cut: false,
        };
        self.flights.insert(id, flight);
        let own = self.flights.values().filter(|flight| flight.driver == at);
        if own.count() > window {
            let fault = format!("more requests are in the air than its window of {window}");
            stage.effects.push(Effect::Broken(fault));
        }
        let after = match stage.dice.chance(KEPT_ALIVE) {
            true => Duration::ZERO,
            false => stage.dice.between(CONNECTING.0, CONNECTING.1),
        };
        stage.later(after, HttpStep::Connected(id));
        stage.later(timeout, HttpStep::TimedOut(id));
        let time_left = order.deadline.since(stage.wall);
        if time_left < timeout {
            stage.later(time_left, HttpStep::Overdue(id));
        }
    }

    /// There is a connection for it, or none.
    pub(super) fn connected(&mut self, id: RequestId, stage: &mut Stage<'_>) {
        let is_down = self.is_down(stage);
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        if is_down {
            // Or nobody answers, until its time is over.
            if stage.dice.chance(500) {
                let reason = "connection refused".to_owned();
                self.flew(id, Transmission::NoConnection { reason }, stage);
            }
            return;
        }
        let breaks = stage.dice.chance(stage.profile.wire_breaks);
        if breaks && stage.dice.chance(300) {
            reached(stage, "a connection broke before its request left");
            return self.unanswered(id, stage);
        }
        // Moments are told to the millisecond.
        if stage.wall > flight.deadline + Duration::from_millis(1) {
            let fault = "a request leaves after its text's deadline".to_owned();
            stage.effects.push(Effect::Broken(fault));
        }
        flight.has_left = true;
        if let Some(request) = flight.request.take() {
            self.on_the_way.insert(id, request);
        }
        if breaks {
            reached(stage, "a connection broke under its request");
            flight.is_cut = true;
            let after = stage.dice.between(0, 60);
            stage.later(after, HttpStep::Broken(id));
            if stage.dice.chance(500) {
                self.on_the_way.remove(&id);
            }
        }
        let after = latency(stage);
        stage.later(after, HttpStep::ToFarEnd(id));
    }

    /// Its connection is gone, or its time is over.
    pub(super) fn unanswered(&mut self, id: RequestId, stage: &mut Stage<'_>) {
        if let Some(flight) = self.flights.get(&id) {
            let may_have_left = flight.has_left;
            let reason = "no connection in time".to_owned();
            let outcome = Transmission::Unanswered {
                may_have_left,
                reason,
            };
            self.flew(id, outcome, stage);
        }
    }

    /// The deadline of its text has come.
    pub(super) fn overdue(&mut self, id: RequestId, stage: &mut Stage<'_>) {
        let flight = self.flights.get(&id);
        if flight.is_some_and(|flight| !flight.has_left) {
            reached(stage, "a deadline came before a connection");
            self.flew(id, Transmission::Overdue, stage);
        }
    }

    /// A request is over.
    pub(super) fn flew(&mut self, id: RequestId, outcome: Transmission, stage: &mut Stage<'_>) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        let Setup { config, http, .. } = &*flight.setup;
        let exchange = Exchange::of(outcome, &http.response, &config.status, flight.began);
        if let Seen::Answered {
            oddity: Some(_), ..
        } = exchange.link
        {
            reached(stage, "an HTTP answer said less than its file expects");
        }
        let driver = &mut self.drivers[flight.driver];
        let is_answered = matches!(exchange.link, Seen::Answered { .. });
        driver.is_found |= is_answered && flight.setup.link == driver.setup.link;
        driver.machine.ended(flight.key, exchange, stage.now);
    }

    fn probe(&mut self, at: usize, stage: &mut Stage<'_>) {
        let driver = &mut self.drivers[at];
        if driver.has_ended || !driver.machine.probes(stage.now) {
            return;
        }
        driver.probe += 1;
        let (number, timeout) = (driver.probe, driver.setup.config.response_timeout);
        let is_unanswered = self.is_down(stage) && stage.dice.chance(500);
        let after = match is_unanswered {
            true => timeout,
            false => stage.dice.between(CONNECTING.0, CONNECTING.1),
        };
        stage.later(after, HttpStep::Probed(at, number));
    }

    pub(super) fn probed(&mut self, at: usize, number: u64, stage: &mut Stage<'_>) {
        let is_down = self.is_down(stage);
        let driver = self.drivers.get_mut(at);
        // Else it was given up meanwhile.
        let driver = driver.filter(|driver| driver.probe == number && !driver.has_ended);
        let driver = driver.filter(|driver| !driver.machine.is_draining());
        if let Some(driver) = driver {
            let found = match is_down {
                true => Err("connection refused"),
                false => Ok(()),
            };
            driver.is_found |= found.is_ok();
            driver.machine.probed(found, stage.now);
        }
    }

    fn say(&mut self, at: usize, stage: &mut Stage<'_>) {
        while let Some(event) = self.drivers[at].machine.poll_event() {
            if self.is_unheard {
                // Nobody hears it: it ends.
                self.drivers[at].has_ended = true;
                self.flights.retain(|_, flight| flight.driver != at);
                return;
            }
            if is_up(&event) && !self.drivers[at].is_found {
                let fault = "a link is said to be up, and nothing has found it".to_owned();
                stage.effects.push(Effect::Broken(fault));
            }
            self.check_said(&event, stage);
            stage.say(event);
        }
    }

    /// What is still in the air is given up; what was not begun fails.
    fn end(&mut self, at: usize, stage: &mut Stage<'_>) {
        self.flights.retain(|_, flight| flight.driver != at);
        let driver = &mut self.drivers[at];
        driver.machine.end();
        for command in std::mem::take(&mut driver.inbox) {
            if let TextCommand::Submit(order) = command {
                driver.machine.refuse(order.key);
            }
        }
        let id = driver.id;
        self.say(at, stage);
        self.drivers[at].has_ended = true;
        stage.effects.push(Effect::Ended(id));
    }

    /// Held against what the far end has.
    fn check_said(&mut self, event: &CarrierEvent, stage: &mut Stage<'_>) {
        match event {
            CarrierEvent::Attempt(key, AttemptEvent::Accepted { references }) => {
                self.check_accepted(*key, references, stage);
            }
            CarrierEvent::Attempt(key, AttemptEvent::Failed(failure)) => {
                self.check_failed(*key, failure.cause, stage);
            }
            CarrierEvent::Attempt(..) | CarrierEvent::Incoming(..) | CarrierEvent::Link(_) => {}
        }
    }
}

fn is_up(event: &CarrierEvent) -> bool {
    matches!(event, CarrierEvent::Link(Link::Up))
}
