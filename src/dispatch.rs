//! Dispatch: the shell around delivery.
//!
//! One task owns all open challenges. It takes what comes in (arrivals, the carriers' words, the ledger's and the
//! publisher's), lets each machine of `delivery` take its step, finds slots for what is wanted, and gives the ledger
//! everything that must be durable before anything is done about it. It decides nothing about a challenge's life
//! (`delivery` does), about routes (`routing`), or about protocols (`carrier`).
//!
//! A turn of the loop: take what is there, place who waits, flush one batch. So the batches grow with the load.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    admission::{CallRules, Windows, alarm::Alarms},
    carrier::{Command, Event, Said},
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    clock::Now,
    config::{Config, settings::MaxUnsent},
    delivery::Effect,
    intake::{Answer, Arrival, Ticket},
    ledger::{DoneReceiver, EarlyWord, Ledger, Op, OutboxReport, Recovered, ReportKey},
    number::{Number, NumberPolicy},
    operate::metrics,
    overlay::Overlay,
    report::body::Frame,
    routing::{Standing, table::Turns},
};

mod arrivals;
mod arrive;
mod carrier_log;
mod carriers;
mod change_log;
mod doubts;
mod effects;
mod evidence;
mod inbox;
mod late;
mod lead;
mod leaving;
mod open;
mod operator;
mod pipeline;
mod place;
mod queue;
mod receipts;
mod references;
mod resume;
mod said;
mod standing;
mod stop;
mod turns;
mod update;
mod view;

use arrivals::Arrivals;
use carriers::Carriers;
pub use carriers::Running;
use doubts::Doubts;
use inbox::Inbox;
use open::OpenTable;
pub use operator::{OpenChallenge, Ordered, OverlayOrder, Step};
use pipeline::{Action, Pipeline, Released};
use queue::Queue;
pub use update::{Update, UpdateLink};
pub use view::{CarrierView, Query, Seen, View};

/// Everything that dispatch listens to.
pub struct Inputs {
    pub jobs: mpsc::Receiver<Arrival>,
    /// Cancels and feedback: never behind a backlog of jobs.
    pub control: mpsc::Receiver<Arrival>,
    pub said: mpsc::Receiver<Said>,
    pub done: DoneReceiver,
    /// Reports that the broker has confirmed, or that were given up.
    pub published: mpsc::Receiver<Vec<ReportKey>>,
    pub queries: mpsc::Receiver<Query>,
}

/// What dispatch hands on to.
pub struct Outputs {
    pub ledger: Ledger,
    /// None: no broker is configured.
    pub publish: Option<Box<dyn FnMut(OutboxReport) + Send>>,
    /// Told when a challenge has a new report for those who follow by HTTP.
    pub wake: Box<dyn FnMut(ChallengeKey) + Send>,
}

pub struct Dispatch {
    config: Arc<Config>,
    numbers: NumberPolicy,
    call_rules: Arc<CallRules>,
    frame: Frame,
    broker: bool,
    open: OpenTable,
    arrivals: Arrivals,
    queue: Queue,
    carriers: Carriers,
    standing: Vec<Standing>,
    turns: Turns,
    windows: Windows,
    alarms: Alarms,
    people: HashMap<(Number, Channel), Last>,
    inbox: Inbox,
    unclear: receipts::UnclearReceipts,
    doubts: Doubts,
    leaving: leaving::Leaving,
    pipeline: Pipeline,
    effects: Vec<Effect>,
    /// Ended before the ledger had said whether their ids are new: kept until it has, for the door's answer.
    unborn: HashMap<ChallengeKey, open::Open>,
    /// What drivers said of challenges that are on their way to the disk.
    unheard: Vec<(Arc<str>, AttemptKey, Event)>,
    /// Words for challenges that are on their way to the disk.
    deferred: Vec<(Arc<str>, Arc<str>, EarlyWord, Ticket)>,
    last_challenge: i64,
    last_report: i64,
    /// Accepted, without a first attempt.
    unsent: usize,
    max_unsent: usize,
    publish: Option<Box<dyn FnMut(OutboxReport) + Send>>,
    wake: Box<dyn FnMut(ChallengeKey) + Send>,
    late: late::Lookups,
    /// What operators have changed for a while.
    overlay: Overlay,
    /// Calls of an earlier life that were told to end.
    orphans: Vec<AttemptKey>,
    recent: view::Recent,
    /// Open and waiting, as the gauges show them.
    shown: Option<(usize, usize)>,
    mono: Instant,
    swept: Instant,
    stopping: Stopping,
    /// The calls that were up at the end of a drain have been hung up.
    hung_up: bool,
}

/// What a person's last challenge came by.
#[derive(Debug)]
struct Last {
    carrier: Arc<str>,
    sender: Arc<str>,
    challenge: ChallengeKey,
    at: Millis,
}

/// On the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// Nothing new is taken or placed; what is in the air may settle until then.
    Until(Instant),
}

/// Most messages of one kind that one turn takes: a turn stays short, a batch bounded.
const TURN: usize = 512;
/// How long the timers of a challenge wait that is still on its way to the disk, unless it gets there sooner.
const UNBORN_WAIT: Duration = Duration::from_secs(1);
/// How often what is old is swept out.
const SWEEP: Duration = Duration::from_secs(30);
/// A final that is told again is tried for so long.
const AGAIN_OVERTIME: Duration = Duration::from_secs(3_600);
/// Without a pace on any carrier: so many unsent challenges.
const UNSENT_UNPACED: usize = 20_000;
/// However slow the carriers: so many may wait.
const UNSENT_LEAST: usize = 200;

impl Dispatch {
    pub fn new(config: Arc<Config>, outputs: Outputs, recovered: &Recovered, now: Now) -> Dispatch {
        let (late, frame) = (
            late::Lookups::new(outputs.ledger.clone()),
            Frame {
                node: config.settings.node.name.clone(),
                exchange_copy: config.settings.jobs.exchange_copy,
            },
        );
        let mut dispatch = Dispatch {
            numbers: NumberPolicy::default(),
            call_rules: Arc::default(),
            frame,
            broker: outputs.publish.is_some(),
            open: OpenTable::default(),
            arrivals: Arrivals::default(),
            queue: Queue::default(),
            carriers: Carriers::default(),
            standing: Vec::new(),
            turns: Turns::of(&config.table),
            windows: Windows::new(&recovered.limiter),
            alarms: Alarms::default(),
            people: HashMap::new(),
            inbox: Inbox::new(recovered.first_message.0),
            unclear: Default::default(),
            doubts: Doubts::default(),
            leaving: leaving::Leaving::default(),
            pipeline: Pipeline::new(outputs.ledger),
            effects: Vec::new(),
            unborn: HashMap::new(),
            unheard: Vec::new(),
            deferred: Vec::new(),
            last_challenge: recovered.first_challenge.0 - 1,
            last_report: recovered.first_report.0 - 1,
            unsent: 0,
            max_unsent: 0,
            publish: outputs.publish,
            wake: outputs.wake,
            late,
            overlay: Overlay::default(),
            orphans: Vec::new(),
            recent: view::Recent::default(),
            shown: None,
            mono: now.mono,
            swept: now.mono,
            stopping: Stopping::No,
            hung_up: false,
            config: config.clone(),
        };
        dispatch.configure(config, Vec::new());
        dispatch
    }

    /// Another configuration, found good as a whole, with the carriers that are new or have changed. Their drivers are
    /// set going, or changed, by this.
    pub fn configure(&mut self, config: Arc<Config>, updates: Vec<Update>) {
        let allow: Vec<String> = config
            .settings
            .numbers
            .allow
            .iter()
            .map(|p| p.to_string())
            .collect();
        // Checked when the file was read.
        self.numbers = NumberPolicy::new(&allow).unwrap_or_default();
        self.call_rules = Arc::new(CallRules {
            numbers: self.numbers.clone(),
            countries: config.settings.countries.voice.clone(),
        });
        self.frame.exchange_copy = config.settings.jobs.exchange_copy;
        self.turns = Turns::of(&config.table);
        let weights = &config.settings.jobs.tenant_weights;
        self.arrivals.weigh(weights.clone());
        self.queue.weigh(weights.clone());
        let unused = self.carriers.take_over(updates, &config.used(), self.mono);
        self.leave(unused);
        self.config = config;
        self.reckon();
        self.queue.room_changed();
    }

    fn reckon(&mut self) {
        let total: Option<f64> = self
            .carriers
            .iter()
            .map(|c| c.config.pace.map(|pace| pace.per_second()))
            .sum();
        self.max_unsent = match self.config.settings.jobs.max_unsent {
            MaxUnsent::Count(count) => count,
            MaxUnsent::OfPace(span) => total
                .map_or(UNSENT_UNPACED, |per_second| {
                    (per_second * span.as_secs_f64()) as usize
                })
                .max(UNSENT_LEAST),
        };
    }

    /// Runs until drained. Returns when nothing is in the air any more, or the limit is reached.
    pub async fn run(mut self, mut inputs: Inputs) {
        let (mut jobs, mut control, mut said, mut published) = (vec![], vec![], vec![], vec![]);
        loop {
            let taking = self.stopping == Stopping::No && self.arrivals.wants_more();
            let room = self.pipeline.room();
            let wake = match self.may_take() {
                true => self.mono,
                false => self.next_wake(Now::read()),
            };
            // A channel whose other side is gone gives nothing at once; such a branch is passed over.
            tokio::select! {
                biased;
                done = inputs.done.recv() => match done {
                    Some(done) => self.batch_done(done),
                    None => {
                        tracing::error!("the ledger's writer has ended by a fault of ours: nothing can go on");
                        return;
                    }
                },
                1.. = inputs.said.recv_many(&mut said, TURN), if room => {}
                1.. = inputs.control.recv_many(&mut control, TURN), if room => {}
                1.. = inputs.published.recv_many(&mut published, TURN), if room => {}
                Some(query) = inputs.queries.recv() => self.query(query),
                Some(found) = self.late.next(), if room => self.late_found(found),
                1.. = inputs.jobs.recv_many(&mut jobs, TURN), if taking => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            while let Ok(done) = inputs.done.try_recv() {
                self.batch_done(done);
            }
            let now = Now::read();
            self.mono = now.mono;
            for said in said.drain(..) {
                self.said(said, now.wall);
            }
            for arrival in control.drain(..).chain(jobs.drain(..)) {
                self.arrived(arrival, now.wall);
            }
            self.take_arrivals(now.wall);
            for report in published.drain(..).flatten() {
                self.pipeline.write(Op::ReportDone { report });
            }
            self.turn(now);
            if self.stopped(now.mono) {
                return;
            }
        }
    }

    /// What every turn does: timers, slots, one batch.
    fn turn(&mut self, now: Now) {
        self.release_overdue(now.wall);
        self.expire_overlay(now.wall);
        self.tick_carriers(now);
        while let Some(key) = self.open.due(now.wall) {
            self.missing_receipts(key, now.wall);
            if let Some(open) = self.open.get_mut(key) {
                if !open.durable {
                    // Its id may turn out to be known: until then it tells nothing more.
                    self.open.wake_at(key, now.wall + UNBORN_WAIT);
                    continue;
                }
                let min_call = self.config.settings.jobs.min_call;
                open.life
                    .tick(&open.ch, now.wall, min_call, &mut self.effects);
            }
            if self.effects.is_empty() {
                self.requeue(key, now.wall);
            } else {
                self.settle(key, effects::Change::Life, now.wall);
            }
        }
        if self.stopping == Stopping::No {
            self.place_all(now.wall);
        }
        if now.mono.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now.mono;
            self.arrivals.drop_void();
            self.forget_orphans();
            self.sweep_unclear();
            self.people
                .retain(|_, last| last.at.0 + place::AVOID_MS > now.wall.0);
            for running in self.carriers.iter_mut() {
                if running.sweep(now.mono) {
                    self.queue.room_changed();
                }
            }
        }
        self.say_limits(now.wall);
        self.log_carriers(now);
        self.tick_leaving(now.mono);
        let free = self.pipeline.flush(now.mono);
        self.act(free, now.wall);
        let figures = (self.open.len(), self.queue.len());
        // To find the gauges costs more than most turns do.
        if self.shown.replace(figures) != Some(figures) {
            metrics::dispatch(figures.0, figures.1);
        }
    }

    fn next_wake(&self, now: Now) -> Instant {
        let later = |at: Millis| now.mono + at.since(now.wall);
        let mut wake = now.mono + Duration::from_secs(1);
        let walls = [
            self.open.next_wake(),
            self.inbox.next_wake(),
            self.overlay.next_expiry(),
        ];
        for at in walls.into_iter().flatten() {
            wake = wake.min(later(at));
        }
        wake = wake.min(self.pipeline.due().unwrap_or(wake));
        for running in self.carriers.iter() {
            wake = wake.min(running.next_deadline(now.mono).unwrap_or(wake));
        }
        wake
    }

    fn batch_done(&mut self, done: crate::ledger::Done) {
        let now = Now::read();
        self.mono = now.mono;
        let Released {
            actions,
            known,
            lost,
            early,
            words,
        } = self.pipeline.done(done);
        for (key, ticket) in lost {
            self.undo(key);
            ticket.answer(Answer::Busy);
        }
        for (key, known, ticket) in known {
            self.known(key, known, ticket, now.wall);
        }
        for (key, word) in early {
            self.word_for(key, word, now.wall);
        }
        for (word, known, ticket) in words {
            self.word_answered(word, known, ticket, now.wall);
        }
        self.act(actions, now.wall);
        for (carrier, key, event) in std::mem::take(&mut self.unheard) {
            self.attempt_said(&carrier, key, event, now.wall);
        }
        self.deferred_words(now.wall);
    }

    fn act(&mut self, actions: Vec<Action>, now: Millis) {
        for action in actions {
            match action {
                Action::Taken(key, ticket) => {
                    self.born(key, now);
                    ticket.answer(Answer::Taken);
                }
                Action::Answer(ticket, answer) => ticket.answer(answer),
                Action::Repeat(ch, ticket) => self.repeated(*ch, ticket, now),
                // The ledger answers these; a word never waits without a batch.
                Action::Word { ticket, .. } => ticket.answer(Answer::Unknown),
                Action::Submit(at) => self.submit(at, now),
                Action::HangUp(at) => self.hang_up(at),
                Action::Recorded { at, carrier, mark } => self.recorded(at, &carrier, mark, now),
                Action::GiveBack(slip) => slip.give_back(),
                Action::LookUp(key) => self.look_up(key),
                Action::RoundOver => self.round_over(),
                Action::Publish(report) => {
                    if let Some(publish) = &mut self.publish {
                        publish(*report);
                    }
                }
                Action::Wake(key) => (self.wake)(key),
                Action::Ordered(order) => self.ordered(*order),
            }
        }
    }

    fn hang_up(&mut self, at: AttemptKey) {
        // The challenge may be gone by now; whoever holds the slot has the call.
        for running in self
            .carriers
            .iter()
            .filter(|c| c.is_voice() && c.since(at).is_some())
        {
            running.command(Command::HangUp(at));
        }
    }

    /// The ledger holds it. What had to wait for that goes on.
    fn born(&mut self, key: ChallengeKey, now: Millis) {
        let Some(open) = self.open.get_mut(key) else {
            self.unborn.remove(&key);
            return;
        };
        open.durable = true;
        if let Some((_, line)) = open.waiting {
            self.queue.unblock(line);
        }
        if open.wake <= now + UNBORN_WAIT {
            self.open.wake_at(key, now);
        }
    }
}
