//! One life of the process: it begins with what the ledger has, goes from event to event, and ends.

use std::time::Duration;

use super::World;
use crate::{
    carrier::{CallState, CallToEnd, DriverId},
    core::{Core, CoreSettings, Unobserved, UpdateLink, take_up},
    ledger::{ReadError, Recovered, in_memory::Engine},
    rehearse::{
        carriers::{Carrier, CarrierKind},
        notices::NoticeLog,
    },
};

/// How one life of the process ends.
pub(super) enum End {
    Crashed,
    Stopped,
    Over,
    Broken,
}

/// Longer than anything may take.
const LONGEST: Duration = Duration::from_secs(4 * 3_600);

impl World<'_, '_> {
    pub(super) fn live(&mut self, mut engine: Engine, mut recovered: Recovered) -> End {
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
            self.check_open(&core);
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
            updates.push(self.carriers[place].update(UpdateLink::New));
        }
        core.configure(config, updates);
        let unterminated = recovered.calls()?;
        take_up(recovered, &mut core, now.wall)?;
        for call in unterminated {
            core.unterminated(&call);
            let mut carriers = self.carriers.iter();
            let of = carriers.position(|carrier| carrier.config.name == call.carrier);
            if let Some(place) = of {
                self.trace
                    .reached("a call was left up by a crash and ended");
                self.with_carrier(place, |carrier, stage| {
                    if let CarrierKind::Calls(calls) = &mut carrier.kind {
                        let unterminated = CallToEnd {
                            key: call.key,
                            state: CallState(call.state.clone()),
                        };
                        calls.end_unterminated(&unterminated, stage);
                    }
                });
            }
        }
        Ok(core)
    }

    /// What the end of a process takes with it.
    pub(super) fn died(&mut self, how: &str) {
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
}
