//! What goes between the process and the world: jobs, answers, orders.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::World;
use crate::{
    carrier::{Acknowledgement, DriverId, Reply, TextOrder},
    challenge::{AttemptKey, Origin},
    core::{Core, Input, Output},
    intake::{
        Answer, Arrival, Ticket, amqp,
        job::{self, BadJob, JobKind},
    },
    ledger::{Claim, in_memory::Engine},
    rehearse::{callers::Job, calls::Calls, carriers::CarrierKind, event::Event, stage::Stage},
};

/// What is told of a delivery, by its tag.
type Told = (u64, Answer);

/// The broker, and the clients of the HTTP door.
pub(super) struct Broker {
    pub up: bool,
    pub last_tag: u64,
    pub deliveries: BTreeMap<u64, usize>,
    pub answers: (mpsc::UnboundedSender<Told>, mpsc::UnboundedReceiver<Told>),
    pub asking: BTreeMap<u64, Asking>,
}

/// A client that waits.
pub(super) struct Asking {
    pub job: usize,
    pub answer: oneshot::Receiver<Answer>,
    pub claim: Claim,
}

/// A client's patience.
const CLIENT_WAITS: Duration = Duration::from_secs(5);
/// How often a client asks that is told to come again.
const ASKS: u32 = 40;

impl World<'_, '_> {
    /// Does what the core wants done.
    pub(super) fn carry_out(&mut self, core: &mut Core, engine: &mut Engine) {
        while let Some(output) = core.poll_output() {
            match output {
                Output::Commit(batch) => {
                    self.disk.waiting.push_back(batch);
                    self.begin_transaction();
                }
                Output::LookUp(round) => {
                    let after = self.dice.between(1, 20);
                    self.later(after, Event::LookUp(round));
                }
                Output::Text(driver, order) => self.text(driver, &order, core, engine),
                Output::Call(driver, order) if self.place_of(driver).is_none() => {
                    core.handle(self.time(), Input::Undelivered(order.key));
                }
                Output::Call(driver, order) => {
                    self.given(driver, order.key);
                    self.at_trunk(driver, engine, |calls, stage| calls.submit(&order, stage));
                }
                Output::HangUp(driver, key) => {
                    self.at_trunk(driver, engine, |calls, stage| calls.hang_up(key, stage));
                }
                Output::Recorded(driver, mark) => {
                    self.at_trunk(driver, engine, |calls, stage| calls.recorded(mark, stage));
                }
                Output::Finish(driver, finish) => {
                    if let Some(place) = self.place_of(driver) {
                        self.check_let_go(place);
                        self.with_carrier(place, |carrier, stage| {
                            carrier.finish(driver, finish, stage)
                        });
                    }
                }
                Output::Answer(ticket, answer) => {
                    ticket.answer(answer);
                    self.answers();
                }
                Output::Acknowledge(Acknowledgement::Session(_, number)) => {
                    let at = self.now.since_start();
                    self.trace
                        .event(at, format_args!("message {number:x} is safe"));
                    self.acknowledged(number);
                }
                Output::Refuse(Acknowledgement::Session(_, number)) => {
                    self.trace.reached("a receipt was refused for now");
                    let at = self.now.since_start();
                    self.trace
                        .event(at, format_args!("message {number:x} is refused"));
                    self.answer(number, Reply::QueueFull);
                }
                Output::Acknowledge(_) | Output::Refuse(_) => {}
                Output::Publish(report) => self.offer(*report, engine),
                // One node has this ledger.
                Output::EndCall(..) | Output::ReadReports => {}
                Output::Notify(_) | Output::Ordered(..) => {}
            }
            if self.violation.is_some() {
                return;
            }
        }
    }

    fn place_of(&self, driver: DriverId) -> Option<usize> {
        let mut carriers = self.carriers.iter();
        carriers.position(|carrier| carrier.drivers.contains(&driver))
    }

    fn given(&mut self, driver: DriverId, key: AttemptKey) {
        if let Some(place) = self.place_of(driver) {
            let name = self.carriers[place].config.name.clone();
            let (challenge, attempt) = (key.challenge.0, key.attempt);
            let what = format_args!("{name} gets {challenge:x}/{attempt}");
            self.trace.event(self.now.since_start(), what);
        }
    }

    fn text(&mut self, driver: DriverId, order: &TextOrder, core: &mut Core, engine: &Engine) {
        let Some(place) = self.place_of(driver) else {
            return core.handle(self.time(), Input::Undelivered(order.key));
        };
        self.given(driver, order.key);
        self.check_text(place, order, engine);
        self.with_carrier(place, |carrier, stage| carrier.submit(driver, order, stage));
    }

    fn at_trunk(
        &mut self,
        driver: DriverId,
        engine: &Engine,
        what: impl FnOnce(&mut Calls, &mut Stage<'_>),
    ) {
        let Some(place) = self.place_of(driver) else {
            return;
        };
        self.with_carrier(place, |carrier, stage| {
            if let CarrierKind::Calls(calls) = &mut carrier.kind {
                what(calls, stage);
            }
        });
        for key in std::mem::take(&mut self.invited) {
            self.check_call(place, key, engine);
        }
    }

    // --- jobs ----------------------------------------------------------------------------------------------------

    pub(super) fn ask(&mut self, n: usize, core: &mut Core) {
        let body = self.jobs[n].body.clone();
        if self.jobs[n].given_up {
            return;
        }
        if self.jobs[n].door == Origin::Amqp && !self.broker.up {
            return self.later(Duration::from_millis(500), Event::Ask(n));
        }
        self.jobs[n].asked += 1;
        self.hand_over(n, JobKind::Challenge, &body, core);
    }

    /// An id that is taken, with something else: a conflict, which nobody waits for.
    pub(super) fn ask_other(&mut self, n: usize, core: &mut Core) {
        if !self.jobs[n].acked {
            return;
        }
        self.trace.fault("an id with other content");
        let body = self.jobs[n].other_content();
        let parsed = self.parse(&self.jobs[n], JobKind::Challenge, &body);
        let (answer, told) = oneshot::channel();
        drop(told);
        self.arrive_at(core, parsed, Ticket::Claimed(answer, Claim::default()));
    }

    pub(super) fn word(&mut self, n: usize, kind: JobKind, body: &[u8], core: &mut Core) {
        self.jobs[n].worded = true;
        self.trace.fault("a cancel or feedback");
        let parsed = self.parse(&self.jobs[n], kind, body);
        let ticket = match self.jobs[n].door {
            Origin::Amqp => Ticket::None,
            // Durable before it takes effect; nobody waits for the answer.
            Origin::Http => Ticket::Claimed(oneshot::channel().0, Claim::default()),
        };
        self.arrive_at(core, parsed, ticket);
    }

    fn parse(&self, job: &Job, kind: JobKind, body: &[u8]) -> Result<crate::intake::Job, BadJob> {
        let (wall, jobs) = (self.time().wall, &self.rehearsal.config.settings.jobs);
        job::parse(kind, body, job.properties(), wall, jobs)
    }

    fn arrive_at(
        &mut self,
        core: &mut Core,
        job: Result<crate::intake::Job, BadJob>,
        ticket: Ticket,
    ) {
        match job {
            Ok(job) => core.handle(self.time(), Input::Arrival(Arrival { job, ticket })),
            Err(BadJob { faults, .. }) => {
                self.violate(format!("a job of the rehearsal is no job: {faults:?}"));
            }
        }
    }

    fn hand_over(&mut self, n: usize, kind: JobKind, body: &[u8], core: &mut Core) {
        let parsed = self.parse(&self.jobs[n], kind, body);
        self.broker.last_tag += 1;
        let tag = self.broker.last_tag;
        let at = self.now.since_start();
        let id = self.jobs[n].id.clone();
        self.trace.event(at, format_args!("{id} is asked for"));
        let ticket = match self.jobs[n].door {
            Origin::Amqp => {
                self.broker.deliveries.insert(tag, n);
                Ticket::Amqp(amqp::Ticket::new(tag, self.broker.answers.0.clone()))
            }
            Origin::Http => {
                let (answer, told) = oneshot::channel();
                let claim = Claim::default();
                let asking = Asking {
                    job: n,
                    answer: told,
                    claim: claim.clone(),
                };
                self.broker.asking.insert(tag, asking);
                let hasty = self.dice.chance(self.rehearsal.profile.gives_up);
                let waits = match hasty {
                    true => self.dice.between(1, 60),
                    false => CLIENT_WAITS,
                };
                self.later(waits, Event::GiveUp(tag));
                Ticket::Claimed(answer, claim)
            }
        };
        if let Ok(crate::intake::Job::Challenge(ch)) = &parsed {
            self.jobs[n].deadline = self.jobs[n].deadline.max(ch.deadline);
        }
        self.arrive_at(core, parsed, ticket);
    }

    /// What the core has answered reaches whoever waits.
    fn answers(&mut self) {
        while let Ok((tag, answer)) = self.broker.answers.1.try_recv() {
            if let Some(n) = self.broker.deliveries.remove(&tag) {
                self.answered(n, &answer);
            }
        }
        let tags: Vec<u64> = self.broker.asking.keys().copied().collect();
        for tag in tags {
            let asking = self.broker.asking.get_mut(&tag);
            match asking.map(|asking| (asking.job, asking.answer.try_recv())) {
                Some((n, Ok(answer))) => {
                    self.broker.asking.remove(&tag);
                    self.answered(n, &answer);
                }
                Some((n, Err(oneshot::error::TryRecvError::Closed))) => {
                    self.broker.asking.remove(&tag);
                    self.answered(n, &Answer::Busy);
                }
                Some((_, Err(oneshot::error::TryRecvError::Empty))) | None => {}
            }
        }
    }

    pub(super) fn answered(&mut self, n: usize, answer: &Answer) {
        let at = self.now.since_start();
        let id = self.jobs[n].id.clone();
        match answer {
            Answer::Taken | Answer::Again { .. } => {
                self.trace.event(at, format_args!("{id} is taken"));
                self.jobs[n].acked = true;
            }
            Answer::Conflict => self.violate(format!("{id}: a conflict with itself")),
            Answer::Unknown => self.violate(format!("{id}: a challenge is answered as a word")),
            Answer::Busy => {
                self.trace
                    .event(at, format_args!("{id} is told to come again"));
                self.come_again(n);
            }
        }
    }

    /// It was told to come again, or nobody answered in time.
    fn come_again(&mut self, n: usize) {
        // It may be asked for twice at a time: then the other one's answer counts.
        let waits = self.broker.asking.values().any(|asking| asking.job == n);
        let job = &mut self.jobs[n];
        if job.acked || waits {
            return;
        }
        if job.door == Origin::Http && (job.asked >= ASKS || self.dice.chance(150)) {
            job.given_up = true;
            self.trace.reached("a client gave up");
            return;
        }
        let after = self.dice.between(200, 2_000);
        self.later(after, Event::Ask(n));
    }

    /// The client waits no longer.
    pub(super) fn give_up(&mut self, tag: u64) {
        let Some(asking) = self.broker.asking.get(&tag) else {
            return;
        };
        if asking.claim.give_up() {
            let n = asking.job;
            self.broker.asking.remove(&tag);
            self.trace.fault("a client waits no longer");
            self.come_again(n);
        } else {
            // It is being written: its answer must be waited for.
            self.later(Duration::from_millis(100), Event::GiveUp(tag));
        }
    }

    /// The process has died: whoever waits is told nothing, and asks again.
    pub(super) fn hang_on(&mut self) {
        while self.broker.answers.1.try_recv().is_ok() {}
        let deliveries = std::mem::take(&mut self.broker.deliveries);
        let asking = std::mem::take(&mut self.broker.asking);
        let waiting = deliveries.into_values();
        let waiting = waiting.chain(asking.into_values().map(|asking| asking.job));
        for n in waiting.collect::<Vec<_>>() {
            self.jobs[n].unsure = true;
            let after = self.dice.between(3_100, 6_000);
            self.later(after, Event::Ask(n));
        }
    }
}
