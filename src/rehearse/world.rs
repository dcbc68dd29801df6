//! Where it all happens: one thread, one clock that jumps from event to event, and lives of the process that end by crashes.

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
    carriers::{Carrier, CarrierKind},
    dice::Dice,
    disk::Disk,
    event::Event,
    notices::NoticeLog,
    profile::Profile,
    publisher::{OwedReports, ReportPublisher},
    reload::Files,
    report_broker::{ReportBroker, ReportStep},
    stage::{Effect, Stage},
    stop::Stop,
    trace::Trace,
    traffic::Broker,
};
use crate::{
    carrier::{CallLeftUp, CallState, CarrierEvent, CarrierMessage, DriverId},
    challenge::{AttemptKey, ChallengeKey, Millis},
    clock::{Mono, Now},
    core::{
        CarrierUpdate, Core, CoreSettings, Found, Input, LookUp, Unobserved, UpdateLink, WIPE,
        take_up,
    },
    ledger::{
        Keeping, ReadError, Recovered,
        in_memory::{Engine, Memory},
    },
    report::publish::PublishNames,
};

pub struct World<'r, 't> {
    pub(super) rehearsal: &'r Rehearsal,
    seed: u64,
    pub(super) dice: Dice,
    pub(super) trace: Trace<'t>,
    pub(super) now: Mono,
    /// When the machines that go by `Instant` have their beginning.
    began: Instant,
    pub(super) ahead: i64,
    due: BinaryHeap<Reverse<(Mono, u64)>>,
    events: BTreeMap<u64, (u32, Event)>,
    last_event: u64,
    /// Events that are more than time passing.
    pub(super) left: usize,
    pub(super) life: u32,
    pub(super) last_driver: u64,
    pub(super) carriers: Vec<Carrier>,
    pub(super) files: Files,
    pub(super) jobs: Vec<Job>,
    pub(super) ids: BTreeMap<(Arc<str>, Arc<str>), usize>,
    pub(super) keys: BTreeMap<ChallengeKey, usize>,
    pub(super) broker: Broker,
    pub(super) report_broker: ReportBroker,
    pub(super) publisher: ReportPublisher,
    pub(super) owed: OwedReports,
    pub(super) disk: Disk,
    pub(super) notices: NoticeLog,
    /// INVITEs that have just left.
    pub(super) invited: Vec<AttemptKey>,
    pub(super) violation: Option<String>,
    pub(super) crash: bool,
    /// This life has been told to stop.
    pub(super) stop: Option<Stop>,
    /// Nothing has gone wrong, since this life was told to stop, that could keep it from a good end.
    pub(super) is_well: bool,
    /// Since when slots are held and nothing else is left.
    pub(super) idle_since: Option<Mono>,
}

/// How one life of the process ends.
pub(super) enum End {
    Crashed,
    Stopped,
    Over,
    Broken,
}

/// The wall clock at the beginning.
pub(super) const WALL: i64 = 1_800_000_000_000;
pub(super) const HOUSE: Duration = Duration::from_secs(20);
/// From a driver's word to its being heard.
pub(super) const CHANNEL: Duration = Duration::from_micros(50);
/// Longer than anything may take.
const LONGEST: Duration = Duration::from_secs(4 * 3_600);

impl<'r, 't> World<'r, 't> {
    pub fn new(
        rehearsal: &'r Rehearsal,
        seed: u64,
        listener: Option<&'t mut dyn FnMut(&str)>,
    ) -> World<'r, 't> {
        let mut dice = Dice::new(seed);
        let jobs = callers::jobs(rehearsal.challenges, &rehearsal.profile, &mut dice);
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
    pub(super) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(super) fn time(&self) -> Now {
        let since = self.now.since_start().as_millis();
        Now {
            wall: Millis(WALL + since as i64),
            mono: self.now,
            ahead: self.ahead,
        }
    }

    /// Now, for the machines that go by `Instant`.
    pub(super) fn instant(&self) -> Instant {
        self.began + self.now.since_start()
    }

    pub(super) fn later(&mut self, after: Duration, event: Event) {
        self.last_event += 1;
        self.left += usize::from(!event.is_time());
        self.due.push(Reverse((self.now + after, self.last_event)));
        self.events.insert(self.last_event, (self.life, event));
    }

    /// The next event, if it is due by then. What belonged to a life that is over doesn't happen.
    pub(super) fn next(&mut self, until: Mono) -> Option<Event> {
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

    // --- one life of the process ---------------------------------------------------------------------------------

    fn live(&mut self, mut engine: Engine, mut recovered: Recovered) -> End {
        self.life += 1;
        self.trace
            .event(self.now.since_start(), format_args!("life {}", self.life));
        let mut core = match self.begin(&mut recovered) {
            Ok(core) => core,
            Err(error) => {
                self.violate(format!("a start failed: {error}"));
                return End::Broken;
            }
        };
        drop(recovered);
        self.check_doubts(&mut core);
        self.start_publisher(&engine);
        loop {
            self.close_door(&mut core);
            self.carry_out(&mut core, &mut engine);
            let at = self.now.since_start();
            if let Some(fault) = self.notices.check(at, &mut self.trace) {
                self.violate(fault);
            }
            self.publish(&engine);
            if self.violation.is_some() {
                return End::Broken;
            }
            if self.crash {
                return End::Crashed;
            }
            if core.is_over() {
                return self.farewell(core, engine);
            }
            if self.is_quiet() && self.is_over(&core) {
                self.check_end(&core, &engine);
                return match self.violation {
                    Some(_) => End::Broken,
                    None => End::Over,
                };
            }
            if self.now.since_start() > LONGEST {
                let rest = core.rest();
                let now = self.instant();
                let busy = self.carriers.iter().filter(|carrier| carrier.is_busy(now));
                let busy: Vec<&str> = busy.map(|carrier| &*carrier.config.name).collect();
                let left = self.left;
                self.violate(format!(
                    "it does not end: {rest:?}, {left} events, busy: {busy:?}"
                ));
                return End::Broken;
            }
            let publisher = self.publisher.machine.deadline();
            let deadline = core.deadline(self.time());
            let deadline = publisher.map_or(deadline, |at| at.min(deadline));
            match self.next(deadline.max(self.now)) {
                Some(event) => self.happen(event, &mut core, &mut engine),
                None => self.now = self.now.max(deadline),
            }
            core.turn(self.time());
            self.check_slots(&core);
        }
    }

    fn begin(&mut self, recovered: &mut Recovered) -> Result<Core, ReadError> {
        let config = self.read_files();
        let (log, notices) = NoticeLog::begin();
        self.notices = log;
        let settings = CoreSettings {
            config: config.clone(),
            broker: true,
            epoch: recovered.epoch(),
            observer: Box::new(Unobserved),
            notices,
        };
        let now = self.time();
        let mut core = Core::new(settings, now);
        let mut updates = Vec::new();
        for place in 0..self.carriers.len() {
            self.last_driver += 1;
            let driver = DriverId(self.last_driver);
            self.with_carrier(place, |carrier, stage| carrier.begin(driver, stage));
            let carrier = &self.carriers[place];
            updates.push(CarrierUpdate {
                config: carrier.config.clone(),
                driver,
                slots: carrier.slots.clone(),
                link: UpdateLink::New,
            });
        }
        core.configure(config, updates);
        let left_up = recovered.calls()?;
        take_up(recovered, &mut core, now.wall)?;
        for call in left_up {
            core.left_up(call.key);
            let mut carriers = self.carriers.iter();
            let of = carriers.position(|carrier| carrier.config.name == call.carrier);
            if let Some(place) = of {
                self.trace
                    .reached("a call was left up by a crash and ended");
                self.with_carrier(place, |carrier, stage| {
                    if let CarrierKind::Calls(calls) = &mut carrier.kind {
                        let left_up = CallLeftUp {
                            key: call.key,
                            state: CallState(call.state.clone()),
                        };
                        calls.end_orphan(&left_up, stage);
                    }
                });
            }
        }
        Ok(core)
    }

    /// What the end of a process takes with it.
    fn died(&mut self, how: &str) {
        self.trace
            .event(self.now.since_start(), format_args!("{how}"));
        self.crash = false;
        self.stop = None;
        self.disk.waiting.clear();
        self.disk.busy = false;
        for place in 0..self.carriers.len() {
            self.with_carrier(place, Carrier::crash);
        }
        self.hang_on();
        self.hang_up_reports();
        self.now += self.dice.between(50, 3_000);
    }

    // --- what happens --------------------------------------------------------------------------------------------

    pub(super) fn happen(&mut self, event: Event, core: &mut Core, engine: &mut Engine) {
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
                let event = super::trace::word(event);
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

    pub(super) fn with_carrier(
        &mut self,
        place: usize,
        what: impl FnOnce(&mut Carrier, &mut Stage<'_>),
    ) {
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
