//! Where it all happens: one thread, one clock that jumps from event to event, and lives of the process that end by crashes.
//!
//! [`World`] owns all parts; none of them imports it. What it does with them stands in the files of `world/`, by topic: a life
//! of the process, what goes in and out (`traffic`, `publishing`, `disk`), what goes wrong (`trouble`, `reload`, `stop`), and
//! the promise, held against what happened (`checks`, `finals`, `consumers`).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Rehearsal, Summary, Violation,
    callers::{self, Control, Job},
    carriers::Carrier,
    dice::Dice,
    event::Event,
    notices::NoticeLog,
    profile::Profile,
    publisher::{OwedReports, ReportPublisher},
    report_broker::{ReportBroker, ReportStep},
    stage::{Effect, Stage},
    trace::{self, Trace},
};
use crate::{
    carrier::{CarrierEvent, CarrierMessage},
    challenge::{AttemptKey, ChallengeKey, Millis},
    clock::{Mono, Now},
    core::{Core, Found, Input, LookUp, WIPE},
    ledger::{
        Keeping,
        in_memory::{Engine, Memory},
    },
    report::publish::PublishNames,
};

mod checks;
mod consumers;
mod disk;
mod finals;
mod lifetime;
mod publishing;
mod reload;
mod stop;
mod traffic;
mod trouble;

use disk::Disk;
use lifetime::End;
use reload::Files;
use stop::Stop;
use traffic::Broker;

pub struct World<'r, 't> {
    rehearsal: &'r Rehearsal,
    seed: u64,
    dice: Dice,
    trace: Trace<'t>,
    now: Mono,
    /// When the machines that go by `Instant` have their beginning.
    began: Instant,
    ahead: i64,
    due: BinaryHeap<Reverse<(Mono, u64)>>,
    events: BTreeMap<u64, (u32, Event)>,
    last_event: u64,
    /// Events that are more than time passing.
    left: usize,
    life: u32,
    last_driver: u64,
    carriers: Vec<Carrier>,
    files: Files,
    jobs: Vec<Job>,
    ids: BTreeMap<(Arc<str>, Arc<str>), usize>,
    keys: BTreeMap<ChallengeKey, usize>,
    broker: Broker,
    report_broker: ReportBroker,
    publisher: ReportPublisher,
    owed: OwedReports,
    disk: Disk,
    notices: NoticeLog,
    /// INVITEs that have just left.
    invited: Vec<AttemptKey>,
    violation: Option<String>,
    crash: bool,
    /// This life has been told to stop.
    stop: Option<Stop>,
    /// Nothing has gone wrong, since this life was told to stop, that could keep it from a good end.
    is_well: bool,
    /// Since when slots are held and nothing else is left.
    idle_since: Option<Mono>,
}

/// The wall clock at the beginning.
const WALL: Millis = Millis(1_800_000_000_000);
const HOUSE: Duration = Duration::from_secs(20);
/// From a driver's word to its being heard.
const CHANNEL: Duration = Duration::from_micros(50);

impl<'r, 't> World<'r, 't> {
    pub fn new(
        rehearsal: &'r Rehearsal,
        seed: u64,
        listener: Option<&'t mut dyn FnMut(&str)>,
    ) -> World<'r, 't> {
        let mut dice = Dice::new(seed);
        let jobs = callers::jobs(rehearsal.challenges, WALL, &rehearsal.profile, &mut dice);
        let used = rehearsal.config.used();
        let carriers = (0..).zip(&used).filter_map(|(place, name)| {
            let config = rehearsal.config.carriers.get(name)?.clone();
            Some(Carrier::new(config, place, &rehearsal.voices))
        });
        let publisher = ReportPublisher::new(PublishNames::default(), &Profile::HEALTHY, &mut dice);
        let ids = jobs.iter().zip(0..);
        let ids = ids.map(|(job, n)| ((job.tenant.clone(), job.id.clone()), n));
        let mut world = World {
            ids: ids.collect(),
            carriers: carriers.collect(),
            rehearsal,
            seed,
            dice,
            trace: Trace::new(listener),
            now: Mono::after_start(Duration::from_secs(1)),
            began: Instant::now(),
            ahead: 0,
            due: BinaryHeap::new(),
            events: BTreeMap::new(),
            last_event: 0,
            left: 0,
            life: 0,
            last_driver: 0,
            files: Files::default(),
            jobs,
            keys: BTreeMap::new(),
            broker: Broker {
                up: true,
                last_tag: 0,
                deliveries: BTreeMap::new(),
                answers: mpsc::unbounded_channel(),
                asking: BTreeMap::new(),
            },
            report_broker: ReportBroker::default(),
            publisher,
            owed: OwedReports::default(),
            disk: Disk::default(),
            notices: NoticeLog::begin().0,
            invited: Vec::new(),
            violation: None,
            crash: false,
            stop: None,
            is_well: true,
            idle_since: None,
        };
        world.plan();
        world
    }

    pub fn run(mut self) -> Result<Summary, Box<Violation>> {
        let memory = match Memory::new(self.rehearsal.store) {
            Ok(memory) => memory,
            Err(error) => return Err(self.broken(format!("no ledger: {error}"))),
        };
        let settings = &self.rehearsal.config.settings.ledger;
        let keeping = Keeping {
            wipe: WIPE,
            retention: settings.retention,
            outcomes: settings.outcomes,
        };
        loop {
            let (limits, now) = (&self.rehearsal.config.settings.limits, self.time().wall);
            let (engine, recovered) = match memory.open("gw-1", keeping, limits, now) {
                Ok(opened) => opened,
                Err(error) => return Err(self.broken(format!("the ledger: {error}"))),
            };
            match self.live(engine, recovered) {
                End::Over => break,
                End::Crashed => self.died("crash"),
                End::Stopped => self.died("stopped"),
                End::Broken => {
                    let what = self.violation.take().unwrap_or_default();
                    return Err(self.broken(what));
                }
            }
        }
        Ok(Summary {
            hash: self.trace.hash(),
            lived: self.now.since_start(),
            faults: std::mem::take(&mut self.trace.faults),
            reached: std::mem::take(&mut self.trace.reached),
        })
    }

    fn broken(&self, what: String) -> Box<Violation> {
        Box::new(Violation {
            seed: self.seed,
            at: self.now.since_start(),
            what,
            last: self.trace.last(),
        })
    }

    /// The promise is broken: the run ends.
    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn time(&self) -> Now {
        Now {
            wall: WALL + self.now.since_start(),
            mono: self.now,
            ahead: self.ahead,
        }
    }

    /// Now, for the machines that go by `Instant`.
    fn instant(&self) -> Instant {
        self.began + self.now.since_start()
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.last_event += 1;
        self.left += usize::from(!event.is_time());
        self.due.push(Reverse((self.now + after, self.last_event)));
        self.events.insert(self.last_event, (self.life, event));
    }

    /// The next event, if it is due by then. What belonged to a life that is over doesn't happen.
    fn next(&mut self, until: Mono) -> Option<Event> {
        while let Some(Reverse((at, number))) = self.due.peek().copied() {
            if at > until {
                return None;
            }
            self.due.pop();
            let (life, event) = self.events.remove(&number)?;
            self.left -= usize::from(!event.is_time());
            if life == self.life || event.outlives_a_crash() {
                self.now = self.now.max(at);
                return Some(event);
            }
        }
        None
    }

    // --- what happens --------------------------------------------------------------------------------------------

    fn happen(&mut self, event: Event, core: &mut Core, engine: &mut Engine) {
        let now = self.time();
        if self.is_kept_out(&event) {
            return self.come_to_closed_door(event);
        }
        let takes = core.wants();
        let waits = match &event {
            Event::Said(..)
            | Event::LookUp(_)
            | Event::Report(ReportStep::Done(_))
            | Event::Control(_) => !takes.rest,
            Event::Ask(_) | Event::AskOther(_) => !takes.jobs,
            _ => false,
        };
        if waits {
            return self.later(Duration::from_millis(1), event);
        }
        match event {
            Event::Ask(n) => self.ask(n, core),
            Event::AskOther(n) => self.ask_other(n, core),
            Event::GiveUp(number) => self.give_up(number),
            Event::Control(n) => {
                let Control { kind, body } = self.jobs[n].word(&mut self.dice);
                self.word(n, kind, &body, core);
            }
            Event::Disk => self.disk(core, engine),
            Event::LookUp(round) => {
                let found = round.into_iter().filter_map(|LookUp { key, whose }| {
                    let candidates = engine.whose(&whose).ok()?;
                    Some(Found { key, candidates })
                });
                core.handle(now, Input::LookedUp(found.collect()));
            }
            Event::Said(place, what) => self.said(place, *what, core),
            Event::Step(place, step) => {
                self.with_carrier(place, |carrier, stage| carrier.step(step, stage));
            }
            Event::Report(step) => self.report_step(step, core),
            Event::DriverEnded(driver) => self.driver_ended(driver, core),
            Event::Retention => {
                if let Err(error) = engine.housekeep(now.wall) {
                    self.violate(format!("housekeeping: {error}"));
                }
                self.later(HOUSE, Event::Retention);
            }
            Event::Fault(trouble) => self.trouble(trouble, core),
        }
    }

    fn said(&mut self, place: usize, what: CarrierEvent, core: &mut Core) {
        self.note_said(&what);
        let carrier = self.carriers[place].config.name.clone();
        let at = self.now.since_start();
        match &what {
            CarrierEvent::Attempt(key, event) => {
                let (challenge, attempt) = (key.challenge.0, key.attempt);
                let event = trace::word(event);
                self.trace.event(
                    at,
                    format_args!("{carrier} says of {challenge:x}/{attempt}: {event}"),
                );
            }
            CarrierEvent::Incoming(..) => {
                let brought = self.brought_by(&what);
                let line = brought.map_or_else(String::new, |b| b.to_string());
                self.trace
                    .event(at, format_args!("{carrier} brings {line}"));
            }
            CarrierEvent::Link(link) => self.trace.event(at, format_args!("{carrier}: {link:?}")),
        }
        core.handle(
            self.time(),
            Input::Carrier(CarrierMessage { carrier, what }),
        );
    }

    fn with_carrier(&mut self, place: usize, what: impl FnOnce(&mut Carrier, &mut Stage<'_>)) {
        let mut effects = Vec::new();
        let mut stage = Stage {
            now: self.instant(),
            wall: self.time().wall,
            dice: &mut self.dice,
            profile: &self.rehearsal.profile,
            effects: &mut effects,
        };
        what(&mut self.carriers[place], &mut stage);
        for effect in effects {
            match effect {
                Effect::Say(what) => self.later(CHANNEL, Event::Said(place, Box::new(what))),
                Effect::Later(after, step) => self.later(after, Event::Step(place, step)),
                Effect::Ended(driver) => self.later(CHANNEL, Event::DriverEnded(driver)),
                other => self.note(other),
            }
        }
    }
}
