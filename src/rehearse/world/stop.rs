//! A clean stop, as the gateway does it at a SIGTERM: the doors close, the core runs on until nothing is in the air or its
//! time is over, the drivers have their farewell while nobody hears them, and a new life begins.

use std::time::Duration;

use super::{World, lifetime::End};
use crate::{
    carrier::{AttemptEvent, CarrierEvent},
    challenge::{AttemptKey, Origin},
    clock::Mono,
    core::Core,
    delivery::{Outcome, Phase},
    intake::Answer,
    ledger::in_memory::Engine,
    rehearse::{
        callers::{Told, Truth},
        carriers::{Carrier, CarrierKind},
        event::Event,
        publisher::LAST_REPORTS,
        report_broker::ReportStep,
    },
};

/// This life has been told to stop.
pub(super) struct Stop {
    limit: Duration,
    /// So long the broker's deliveries are waited for.
    door_until: Mono,
    /// The core knows, and what is in the air may settle until then.
    core_until: Option<Mono>,
}

/// How long drivers may take to let go of their links (`gateway::drivers`).
const FAREWELL: Duration = Duration::from_secs(8);
/// A server whose job is not taken now asks again, and a broker gives it again.
const AT_CLOSED_DOOR: Duration = Duration::from_millis(500);
/// What a network has lost comes again within that.
const NETWORK_HEALS: Duration = Duration::from_secs(40);

impl World<'_, '_> {
    pub(super) fn told_to_stop(&mut self) {
        if self.stop.is_some() {
            return;
        }
        self.trace.fault("drain");
        let most = if self.dice.chance(500) { 3_000 } else { 60_000 };
        let limit = self.dice.between(0, most);
        self.is_well = self.now >= self.disk.refuses_until;
        self.stop = Some(Stop {
            limit,
            door_until: self.now + limit,
            core_until: None,
        });
    }

    // --- the doors -----------------------------------------------------------------------------------------------

    /// The doors are closed for this.
    pub(super) fn is_kept_out(&self, event: &Event) -> bool {
        let comes = matches!(
            event,
            Event::Ask(_) | Event::AskOther(_) | Event::Control(_)
        );
        comes && self.stop.is_some()
    }

    /// A client is told to come again; what goes through the broker waits there.
    pub(super) fn come_to_closed_door(&mut self, event: Event) {
        match event {
            Event::Ask(n) if self.jobs[n].given_up => {}
            Event::Ask(n) if self.jobs[n].door == Origin::Http => {
                self.jobs[n].asked += 1;
                self.answered(n, &Answer::Busy);
            }
            other => self.later(AT_CLOSED_DOOR, other),
        }
    }

    /// The core is told once the broker's deliveries are answered, or their time is over.
    pub(super) fn close_door(&mut self, core: &mut Core) {
        let (now, answered) = (self.time(), self.broker.deliveries.is_empty());
        let Some(stop) = &mut self.stop else {
            return;
        };
        if stop.core_until.is_none() && (answered || now.mono >= stop.door_until) {
            stop.core_until = Some(now.mono + stop.limit);
            core.drain(now, stop.limit);
            core.turn(now);
        }
    }

    // --- the farewell --------------------------------------------------------------------------------------------

    /// The core has stopped. Nothing that is said is heard any more.
    pub(super) fn farewell(&mut self, mut core: Core, mut engine: Engine) -> End {
        self.check_stopped();
        for place in 0..self.carriers.len() {
            self.with_carrier(place, |carrier, _| carrier.unheard());
        }
        let until = self.now + FAREWELL;
        let ended = self.let_go(until, Self::have_drivers_ended, &mut core, &mut engine);
        if ended.is_none() && !self.have_drivers_ended() {
            self.trace.reached("a driver did not end in time");
        }
        self.stop_publisher();
        let until = self.now + LAST_REPORTS;
        let is_over = Self::has_publisher_ended;
        let end = ended.or_else(|| self.let_go(until, is_over, &mut core, &mut engine));
        if let Some(end) = end {
            return end;
        }
        self.check_last_reports();
        self.close_ledger(&mut engine);
        self.check_calls_over();
        match self.violation {
            Some(_) => End::Broken,
            None => End::Stopped,
        }
    }

    /// Until all carriers have ended, or for so long. Gives how the process ends, if that is by something else.
    fn let_go(
        &mut self,
        until: Mono,
        have_ended: fn(&Self) -> bool,
        core: &mut Core,
        engine: &mut Engine,
    ) -> Option<End> {
        self.publish(engine);
        while !have_ended(self) && self.now < until {
            let wakes = self.publisher.machine.deadline();
            let wakes = wakes.map_or(until, |at| at.min(until)).max(self.now);
            let event = self.next(wakes);
            if event.is_none() {
                self.now = self.now.max(wakes);
            }
            if let Some(event) = event {
                self.happen_unheard(event, core, engine);
            }
            self.publish(engine);
            if self.violation.is_some() {
                return Some(End::Broken);
            }
            if self.crash {
                return Some(End::Crashed);
            }
        }
        None
    }

    fn happen_unheard(&mut self, event: Event, core: &mut Core, engine: &mut Engine) {
        match event {
            Event::Disk => drop(self.transaction(engine)),
            // A trunk's driver learns that nobody hears it only by what it says later: whatever waits for this to be
            // recorded is ended by the next life.
            Event::Said(_, what) if is_call_state(&what) => self.is_well = false,
            Event::Said(..)
            | Event::DriverEnded(_)
            | Event::LookUp(_)
            | Event::Report(ReportStep::Done(_)) => {}
            other => self.happen(other, core, engine),
        }
    }

    fn have_drivers_ended(&self) -> bool {
        let now = self.instant();
        self.carriers.iter().all(|carrier| carrier.has_ended(now))
    }

    fn has_publisher_ended(&self) -> bool {
        self.publisher.machine.is_over(self.time())
    }

    // --- what is promised ----------------------------------------------------------------------------------------

    /// The core has stopped: before its time only if nothing is in the air.
    fn check_stopped(&mut self) {
        let Some(until) = self.stop.as_ref().and_then(|stop| stop.core_until) else {
            return;
        };
        let is_early = self.now < until;
        let reached = match is_early {
            true => "a clean stop with nothing in the air",
            false => "a clean stop at its limit",
        };
        self.trace.reached(reached);
        let at = self.now.since_start();
        self.trace.event(at, format_args!("{reached}"));
        let life = self.life;
        let in_air = |truth: &Truth| match truth.voice {
            true => matches!(truth.told, Told::Nothing | Told::Taken),
            false => truth.told == Told::Nothing,
        };
        let mut left = None;
        for (challenge, n) in &self.keys {
            let job = &self.jobs[*n];
            let mut attempts = job.attempts.iter();
            let attempt = attempts.find(|(_, truth)| truth.life == life && in_air(truth));
            if let (Some((attempt, truth)), true) = (attempt, is_early) {
                let what = if truth.voice { "call" } else { "text" };
                left = Some(format!(
                    "{}: the process stops before its time, and the {what} of attempt {attempt} is in the air",
                    job.id
                ));
            }
            let hung_up = |(attempt, truth): &(&u16, &Truth)| {
                let key = AttemptKey {
                    challenge: *challenge,
                    attempt: **attempt,
                };
                let is_heard_of = truth.life == life && truth.voice && in_air(truth);
                is_heard_of && self.is_call_up(key)
            };
            if let (Some((attempt, _)), false) = (job.attempts.iter().find(hung_up), is_early) {
                left = Some(format!(
                    "{}: the time of a clean stop is over, and the call of attempt {attempt} is not",
                    job.id
                ));
            }
        }
        if is_early && self.carriers.iter().any(ends_unterminated) {
            left = Some(
                "the process stops before its time, and a call of an earlier life is being ended"
                    .to_owned(),
            );
        }
        if let Some(left) = left {
            self.violate(left);
        }
    }

    /// Where nothing is lost on the way, it has been ended by now.
    fn is_call_up(&self, key: AttemptKey) -> bool {
        let now = self.instant();
        let loses = self.rehearsal.profile.datagrams_lost > 0;
        !loses
            && self.is_well
            && self.carriers.iter().any(|carrier| match &carrier.kind {
                CarrierKind::Calls(calls) => calls.has_held(now, NETWORK_HEALS) && calls.is_up(key),
                CarrierKind::Smpp(_) | CarrierKind::Http(_) => false,
            })
    }

    /// The process is gone: so are its calls.
    fn check_calls_over(&mut self) {
        let now = self.instant();
        let up = |carrier: &Carrier| match &carrier.kind {
            CarrierKind::Calls(calls) if calls.has_held(now, NETWORK_HEALS) => calls.left_at_stop(),
            CarrierKind::Calls(_) | CarrierKind::Smpp(_) | CarrierKind::Http(_) => None,
        };
        if let Some(up) = self.carriers.iter().find_map(up).filter(|_| self.is_well) {
            self.violate(format!("after a clean stop: {up}"));
        }
    }

    /// A text that left in the life before, and of which nothing was heard, is in doubt in this one.
    pub(super) fn check_doubts(&mut self, core: &mut Core) {
        let (now, before) = (self.time(), self.life - 1);
        let mut wrong = None;
        for job in &self.jobs {
            let unheard = job.attempts.iter().filter(|(_, truth)| {
                truth.life == before && !truth.voice && truth.told == Told::Nothing
            });
            for (n, _) in unheard {
                let open = core.open_challenge(&job.tenant, &job.id, now);
                let Some((_, life)) = open else {
                    continue;
                };
                let phase = life.attempt(*n).map(|attempt| attempt.phase);
                let forgotten = matches!(
                    phase,
                    None | Some(Phase::Placed | Phase::Settled(Outcome::Refused))
                );
                if forgotten {
                    wrong = Some(format!(
                        "{}: attempt {n} left in the life before, unanswered, and is no doubt now: {phase:?}",
                        job.id
                    ));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.violate(wrong);
        }
    }
}

fn ends_unterminated(carrier: &Carrier) -> bool {
    match &carrier.kind {
        CarrierKind::Calls(calls) => calls.ends_unterminated(),
        CarrierKind::Smpp(_) | CarrierKind::Http(_) => false,
    }
}

fn is_call_state(what: &CarrierEvent) -> bool {
    matches!(what, CarrierEvent::Attempt(_, AttemptEvent::CallState(..)))
}
