//! Stories: the core with its ledger in memory, told step by step in invented time. What a story says of the world is
//! what a driver would say; what it asserts is what a driver would be told.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    CarrierUpdate, Core, CoreSettings, Found, Input, LookUp, Output, Unobserved, UpdateLink, WIPE,
    notice::{Notice, Notices},
    take_up,
};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, CarrierMessage, DriverId, Incoming, Link,
        Receipt, ReceiptState, Reply, Slots, TextOrder,
    },
    cause::Cause,
    challenge::{Millis, Origin},
    clock::{Mono, Now},
    config::{CarrierConfig, Config},
    intake::{
        Arrival, Ticket,
        job::{self, JobKind, Properties},
    },
    ledger::{
        Done, Keeping, OutboxReport, Recovered,
        in_memory::{Engine, Memory, MemoryKind},
    },
};

mod comebacks;
mod fenced;
mod limits;
mod notices;
mod receipts;
mod repeats;
mod stops;
mod trunks;

/// One life of a process.
struct Story {
    config: Arc<Config>,
    core: Core,
    engine: Engine,
    now: Mono,
    /// Orders that no answer has been given to, with the carrier's name.
    orders: Vec<(Arc<str>, TextOrder)>,
    reports: Vec<OutboxReport>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
    last_message: u32,
    /// Messages of carriers that are safe.
    safe: Vec<u32>,
    /// The ledger answers no look-up.
    is_deaf: bool,
    /// The node's term does not allow what is committed.
    is_void: bool,
    /// Reports are to be read from the ledger.
    reads_reports: bool,
    /// What people are told.
    notices: std::sync::mpsc::Receiver<Notice>,
}

const WALL: i64 = 1_800_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Tells a story on an empty ledger.
fn story(tell: impl FnOnce(&mut Story)) {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    life(&memory, start, tell);
}

/// One life on this ledger; everything that is not committed is lost at its end.
fn life<T>(memory: &Memory, now: Mono, tell: impl FnOnce(&mut Story) -> T) -> T {
    life_of(config(), memory, now, tell)
}

fn life_of<T>(config: Config, memory: &Memory, now: Mono, tell: impl FnOnce(&mut Story) -> T) -> T {
    let config = Arc::new(config);
    let keeping = Keeping {
        wipe: WIPE,
        retention: DAY,
        outcomes: DAY,
    };
    let opened = memory.open("gw-1", keeping, &config.settings.limits, time(now).wall);
    let (engine, recovered) = opened.expect("a ledger that opens");
    tell(&mut Story::begin(config, engine, recovered, now))
}

impl Story {
    fn begin(config: Arc<Config>, engine: Engine, mut recovered: Recovered, now: Mono) -> Story {
        let (tell, notices) = std::sync::mpsc::channel();
        let settings = CoreSettings {
            config: config.clone(),
            broker: true,
            epoch: recovered.epoch(),
            observer: Box::new(Unobserved),
            notices: Notices::to(move |notice| drop(tell.send(notice))),
        };
        let mut core = Core::new(settings, time(now));
        let update = |(place, name): (u64, &Arc<str>)| {
            carrier_update(&config.carriers[name], DriverId(place), 10)
        };
        let updates = (0..).zip(&config.used()).map(update).collect();
        core.configure(config.clone(), updates);
        take_up(&mut recovered, &mut core, time(now).wall).expect("it starts");
        for call in recovered.calls().expect("calls that can be read") {
            core.unterminated(&call);
        }
        let (acks, answers) = mpsc::unbounded_channel();
        let mut story = Story {
            config,
            core,
            engine,
            now,
            orders: Vec::new(),
            reports: Vec::new(),
            acks,
            _answers: answers,
            last_message: 0,
            safe: Vec::new(),
            is_deaf: false,
            is_void: false,
            reads_reports: false,
            notices,
        };
        for name in story.config.used() {
            story.said(&name, CarrierEvent::Link(Link::Up));
        }
        story
    }

    // --- what the world does -------------------------------------------------------------------------------------

    /// A job by the queue.
    fn ask(&mut self, id: &str, to: &str) {
        self.ask_within(id, to, 120);
    }

    /// The same with a lifetime in seconds.
    fn ask_within(&mut self, id: &str, to: &str, lifetime: u32) {
        let body = serde_json::json!({
            "id": id, "tenant": "bank", "to": to, "method": "sms_code", "code": "123456", "lifetime_s": lifetime,
        });
        self.gives(arrival(&self.config, body, self.now));
    }

    fn asks(&self, id: &str, to: &str) -> Input {
        let body = serde_json::json!({
            "id": id, "tenant": "bank", "to": to, "method": "sms_code", "code": "123456",
        });
        arrival(&self.config, body, self.now)
    }

    fn said(&mut self, carrier: &str, what: CarrierEvent) {
        let carrier = carrier.into();
        self.gives(Input::Carrier(CarrierMessage { carrier, what }));
    }

    /// The carrier's driver says this of the order, which is answered by it.
    fn answers(&mut self, carrier: &str, order: &TextOrder, event: AttemptEvent) {
        self.said(carrier, CarrierEvent::Attempt(order.key, event));
    }

    fn is_silent(&mut self, carrier: &str, order: &TextOrder) {
        self.passes(Duration::from_secs(5));
        let cause = Cause::InDoubt;
        self.answers(carrier, order, AttemptEvent::InDoubt { cause });
    }

    /// A receipt for the text of this order; gives its number.
    fn brings(&mut self, carrier: &str, id: &str, of: &TextOrder, state: ReceiptState) -> u32 {
        self.last_message += 1;
        let receipt = Receipt {
            references: vec![id.into()],
            state,
            carrier_code: None,
            cause: None,
            phone: Some(of.to.e164().into()),
            sender: Some(of.sender.clone()),
        };
        let ack = Acknowledgement::Session(self.acks.clone(), self.last_message);
        self.said(
            carrier,
            CarrierEvent::Incoming(Incoming::Receipt(receipt), ack),
        );
        self.last_message
    }

    fn passes(&mut self, time_passes: Duration) {
        let until = self.now + time_passes;
        loop {
            let next = self.core.deadline(time(self.now)).max(self.now).min(until);
            self.now = if self.core.is_over() { until } else { next };
            self.turns();
            if self.now == until {
                return;
            }
        }
    }

    fn gives(&mut self, input: Input) {
        self.core.handle(time(self.now), input);
        self.turns();
    }

    /// Until nothing more comes of it.
    fn turns(&mut self) {
        // After its end a core is given no more turns.
        while !self.core.is_over() {
            self.core.turn(time(self.now));
            let mut more = false;
            while let Some(output) = self.core.poll_output() {
                more = true;
                self.carry_out(output);
            }
            if !more {
                return;
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        let now = time(self.now);
        match output {
            Output::Commit(batch) => {
                let dones = self.engine.commit(now.wall, &[batch]).expect("a commit");
                for done in dones {
                    let is_void = self.is_void;
                    let done = Done { is_void, ..done };
                    self.core.handle(now, Input::Committed(done));
                }
            }
            Output::LookUp(_) if self.is_deaf => {}
            Output::LookUp(round) => {
                let found = round.into_iter().map(|LookUp { key, whose }| Found {
                    key,
                    candidates: self.engine.whose(&whose).expect("a look-up"),
                });
                let found = found.collect();
                self.core.handle(now, Input::LookedUp(found));
            }
            Output::Text(driver, order) => {
                let place = driver.0 as usize;
                let name = self.config.used().into_iter().nth(place);
                self.orders.push((name.expect("a carrier"), *order));
            }
            Output::ReadReports => self.reads_reports = true,
            Output::Acknowledge(Acknowledgement::Session(_, number)) => self.safe.push(number),
            Output::Publish(report) => {
                self.core.handle(now, Input::Published(vec![report.report]));
                self.reports.push(*report);
            }
            Output::Call(..)
            | Output::EndCall(..)
            | Output::HangUp(..)
            | Output::Recorded(..)
            | Output::Finish(..)
            | Output::Answer(..)
            | Output::Acknowledge(_)
            | Output::Refuse(_)
            | Output::Notify(_)
            | Output::Ordered(..) => {}
        }
    }

    // --- what the world sees -------------------------------------------------------------------------------------

    /// The order that some carrier has just got.
    fn order(&mut self) -> (Arc<str>, TextOrder) {
        assert_eq!(self.orders.len(), 1, "one order");
        self.orders.remove(0)
    }

    /// What was said of the challenge after it was taken, in order.
    fn events(&self, id: &str) -> Vec<String> {
        let reports = self.reports.iter().filter_map(|report| {
            let body: serde_json::Value = serde_json::from_slice(&report.body).ok()?;
            let of = body["challenge"] == id && body["event"] != "accepted";
            of.then(|| body["event"].as_str().unwrap_or_default().to_owned())
        });
        reports.collect()
    }
}

/// That of the rehearsals.
fn config() -> Config {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rehearsal");
    Config::load(&folder.join("ringback.toml")).expect("it is sound")
}

/// A job by the queue, that nobody waits for.
fn arrival(config: &Config, body: serde_json::Value, now: Mono) -> Input {
    let properties = Properties {
        door: Origin::Amqp,
        reply_to: None,
        correlation_id: None,
    };
    let (body, jobs) = (body.to_string().into_bytes(), &config.settings.jobs);
    let job = job::parse(JobKind::Challenge, &body, properties, time(now).wall, jobs);
    Input::Arrival(Arrival {
        job: job.unwrap_or_else(|bad| panic!("{:?}", bad.faults)),
        ticket: Ticket::None,
    })
}

fn carrier_update(config: &Arc<CarrierConfig>, driver: DriverId, slots: u32) -> CarrierUpdate {
    let free = Slots::default();
    free.set(slots);
    CarrierUpdate {
        config: config.clone(),
        driver,
        slots: free,
        link: UpdateLink::New,
    }
}

fn time(now: Mono) -> Now {
    Now {
        wall: Millis(WALL + now.since_start().as_millis() as i64),
        mono: now,
        ahead: 0,
    }
}
