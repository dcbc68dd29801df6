//! The core: all open challenges, and everything that is decided about them.
//!
//! A machine without a clock, a socket or a task. It takes what comes in ([`Input`]), each with the moment at which it
//! came; lets each challenge's own machine (`delivery`) take its step, finds slots for what is wanted, and gives out what
//! is to be done ([`Output`]): batches that must be durable, orders for drivers, answers, reports. `dispatch` carries that
//! out. So the same events at the same moments lead to the same outputs, on any machine and in invented time.
//!
//! A turn: take what is there, place who waits, flush one batch. So the batches grow with the load.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    admission::{CallRules, Windows, alarm::Alarms},
    carrier::{AttemptEvent, Command},
    challenge::{AttemptKey, ChallengeKey, Channel, Millis},
    clock::{Mono, Now},
    config::{Config, settings::MaxUnsent},
    delivery::Effect,
    intake::{Answer, Ticket},
    ledger::{ControlMessage, Done, Op},
    number::{Number, NumberPolicy},
    overlay::Overlay,
    report::body::Frame,
    routing::{Availability, table::SenderRotation},
};

mod arrivals;
mod arrive;
mod carrier_events;
mod carrier_log;
mod carriers;
mod change_log;
mod doubts;
mod effects;
mod evidence;
mod hedges;
mod inbox;
mod input;
mod late;
mod lead;
mod leaving;
mod observer;
mod open;
mod operator;
mod output;
mod pipeline;
mod place;
mod queue;
mod reasons;
mod receipts;
mod references;
mod resume;
mod room;
mod standing;
mod stop;
#[cfg(test)]
mod stories;
mod turns;
mod unsent;
mod update;
mod view;
mod wipe;

use arrivals::Arrivals;
use carriers::Carriers;
pub use carriers::Running;
use doubts::Doubts;
use inbox::Inbox;
pub use input::{CoreSettings, Input, Rest, Wants};
pub use late::{Found, LookUp};
pub use observer::{Observer, Unobserved};
use open::OpenTable;
pub use operator::{OpenChallenge, Ordered, OverlayOrder, Step};
pub use output::{OrderId, Output, Outputs};
use pipeline::{Action, Pipeline, Released};
use queue::Queue;
pub use reasons::reasons;
pub use resume::take_up;
pub use update::{CarrierUpdate, UpdateLink};
pub use view::{CarrierView, Seen, View};
pub use wipe::WIPE;

pub struct Core {
    config: Arc<Config>,
    numbers: NumberPolicy,
    call_rules: Arc<CallRules>,
    frame: Frame,
    broker: bool,
    observer: Box<dyn Observer>,
    open: OpenTable,
    arrivals: Arrivals,
    queue: Queue,
    carriers: Carriers,
    standing: Vec<Availability>,
    turns: SenderRotation,
    windows: Windows,
    alarms: Alarms,
    people: HashMap<(Number, Channel), Last>,
    inbox: Inbox,
    unclear: receipts::UnclearReceipts,
    doubts: Doubts,
    /// The same of those that are settled, of challenges that go on: another receipt may be theirs.
    settled_doubts: Doubts,
    leaving: leaving::Leaving,
    pipeline: Pipeline,
    outputs: Outputs,
    effects: Vec<Effect>,
    /// Ended before the ledger had said whether their ids are new: kept until it has, for the door's answer.
    uncommitted: HashMap<ChallengeKey, open::Open>,
    /// What drivers said of challenges that are on their way to the disk.
    pending_events: Vec<(Arc<str>, AttemptKey, AttemptEvent)>,
    /// Words for challenges that are on their way to the disk.
    deferred: Vec<(Arc<str>, Arc<str>, ControlMessage, Ticket)>,
    last_challenge: i64,
    last_report: i64,
    /// Accepted, without a first attempt.
    unsent: usize,
    max_unsent: usize,
    late: late::Lookups,
    crowd: room::Crowd,
    /// What operators have changed for a while.
    overlay: Overlay,
    /// Calls of an earlier life that were told to end.
    unterminated_calls: Vec<AttemptKey>,
    /// Hedges that wait for a receipt to be looked up: since when.
    hesitating: BTreeMap<AttemptKey, Mono>,
    recent: view::Recent,
    /// Open and waiting, as the gauges show them.
    shown: Option<(usize, usize)>,
    mono: Mono,
    swept: Mono,
    stopping: Stopping,
    /// The calls that were up at the end of a drain have been hung up.
    hung_up: bool,
    /// The drain is over.
    over: bool,
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
    Until(Mono),
}

/// Most messages of one kind that one turn takes: a turn stays short, a batch bounded.
const TURN: usize = 512;
/// How long the timers of a challenge wait that is still on its way to the disk, unless it gets there sooner.
const UNCOMMITTED_WAIT: Duration = Duration::from_secs(1);
/// How soon a final that waits for a receipt is looked at again.
const END_AGAIN: Duration = Duration::from_millis(200);
/// How often what is old is swept out.
const SWEEP: Duration = Duration::from_secs(30);
/// A final that is told again is tried for so long.
const AGAIN_OVERTIME: Duration = Duration::from_secs(3_600);
/// Without a pace on any carrier: so many unsent challenges.
const UNSENT_UNPACED: usize = 20_000;
/// However slow the carriers: so many may wait.
const UNSENT_LEAST: usize = 200;

impl Core {
    pub fn new(settings: CoreSettings, now: Now) -> Core {
        let CoreSettings {
            config,
            broker,
            epoch,
            observer,
        } = settings;
        let mut core = Core {
            numbers: NumberPolicy::default(),
            call_rules: Arc::default(),
            frame: Frame {
                node: config.settings.node.name.clone(),
                exchange_copy: config.settings.jobs.exchange_copy,
                ahead: now.ahead,
            },
            broker,
            observer,
            open: OpenTable::default(),
            arrivals: Arrivals::default(),
            queue: Queue::default(),
            carriers: Carriers::default(),
            standing: Vec::new(),
            turns: SenderRotation::of(&config.table),
            windows: Windows::new(&epoch.limiter),
            alarms: Alarms::default(),
            people: HashMap::new(),
            inbox: Inbox::new(epoch.first_message.0),
            unclear: Default::default(),
            doubts: Doubts::default(),
            settled_doubts: Doubts::default(),
            leaving: leaving::Leaving::default(),
            pipeline: Pipeline::default(),
            outputs: Outputs::default(),
            effects: Vec::new(),
            uncommitted: HashMap::new(),
            pending_events: Vec::new(),
            deferred: Vec::new(),
            last_challenge: epoch.first_challenge.0 - 1,
            last_report: epoch.first_report.0 - 1,
            unsent: 0,
            max_unsent: 0,
            late: late::Lookups::default(),
            crowd: room::Crowd::default(),
            overlay: Overlay::default(),
            unterminated_calls: Vec::new(),
            hesitating: BTreeMap::new(),
            recent: view::Recent::default(),
            shown: None,
            mono: now.mono,
            swept: now.mono,
            stopping: Stopping::No,
            hung_up: false,
            over: false,
            config: config.clone(),
        };
        core.configure(config, Vec::new());
        core
    }

    /// Another configuration, found good as a whole, with the carriers that are new or have changed. Their drivers are
    /// set going, or changed, once the outputs of this are carried out.
    pub fn configure(&mut self, config: Arc<Config>, updates: Vec<CarrierUpdate>) {
        self.numbers = config.settings.numbers.policy();
        self.call_rules = Arc::new(CallRules {
            numbers: self.numbers.clone(),
            countries: config.settings.countries.voice.clone(),
        });
        self.frame.exchange_copy = config.settings.jobs.exchange_copy;
        self.turns = SenderRotation::of(&config.table);
        let weights = &config.settings.jobs.tenant_weights;
        self.arrivals.weigh(weights.clone());
        self.queue.weigh(weights.clone());
        let used = config.used();
        let unused = self
            .carriers
            .take_over(updates, &used, self.mono, &mut self.outputs);
        self.leave(unused);
        self.config = config;
        self.recompute_max_unsent();
        self.queue.room_changed();
    }

    fn recompute_max_unsent(&mut self) {
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

    /// What it takes just now.
    pub fn wants(&self) -> Wants {
        Wants {
            jobs: self.stopping == Stopping::No && self.arrivals.wants_more(),
            rest: self.pipeline.room(),
        }
    }

    /// Takes what has come. What follows of it is had by [`Core::poll_output`]; a [`Core::turn`] must follow.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.at(now);
        match input {
            Input::Arrival(arrival) => self.arrived(arrival, now.wall),
            Input::Carrier(said) => self.said(said, now.wall),
            Input::Committed(done) => self.batch_done(done, now),
            Input::Published(reports) => {
                for report in reports {
                    self.pipeline.write(Op::ReportDone { report });
                }
            }
            Input::LookedUp(found) => self.late_found(found, now),
            Input::Undelivered(order) => self.undelivered(&order, now.wall),
            Input::DriverEnded(driver) => {
                if self.carriers.ended(driver) {
                    self.queue.room_changed();
                }
            }
        }
    }

    /// What is not yet over; None: nothing is.
    pub fn rest(&self) -> Option<Rest> {
        let in_flight = self.carriers.iter().map(Running::in_flight);
        let rest = Rest {
            open: self.open.len() + self.uncommitted.len(),
            waiting: self.queue.len(),
            in_flight: in_flight.sum(),
            held: self.inbox.len(),
            committing: !self.pipeline.idle(),
        };
        (rest != Rest::default()).then_some(rest)
    }

    fn at(&mut self, now: Now) {
        self.mono = now.mono;
        self.frame.ahead = now.ahead;
    }

    /// What is to be done, in order. None: nothing more until something comes, or until [`Core::deadline`].
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    /// The drain is over: nothing comes of it any more.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// After whatever has come, and at each deadline: timers, slots, one batch.
    pub fn turn(&mut self, now: Now) {
        self.at(now);
        self.take_arrivals(now.wall);
        self.release_overdue(now.wall);
        self.take_up_hedges(now.wall);
        self.expire_overlay(now.wall);
        self.tick_carriers(now);
        while let Some(key) = self.open.due(now.wall) {
            self.missing_receipts(key, now.wall);
            if self.end_waits(key, now.wall) {
                self.open.wake_at(key, now.wall + END_AGAIN);
                continue;
            }
            if let Some(open) = self.open.get_mut(key) {
                if !open.durable {
                    // Its id may turn out to be known: until then it tells nothing more.
                    self.open.wake_at(key, now.wall + UNCOMMITTED_WAIT);
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
        self.say_crowded(now.mono);
        self.log_carriers(now);
        self.tick_leaving(now.mono);
        let free = self.pipeline.flush(now.mono, &mut self.outputs);
        self.act(free, now.wall);
        let figures = (self.open.len(), self.queue.len());
        // To find the gauges costs more than most turns do.
        if self.shown.replace(figures) != Some(figures) {
            self.observer.open(figures.0, figures.1);
        }
        self.over = self.stopped(now.mono);
    }

    /// When it wants another turn, though nothing comes.
    pub fn deadline(&self, now: Now) -> Mono {
        if self.may_take() {
            return now.mono;
        }
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

    fn batch_done(&mut self, done: Done, now: Now) {
        let Released {
            actions,
            known,
            lost,
            early,
            words,
        } = self.pipeline.done(done);
        for (key, ticket) in lost {
            self.undo(key);
            self.outputs.answer(ticket, Answer::Busy);
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
        for (carrier, key, event) in std::mem::take(&mut self.pending_events) {
            self.attempt_said(&carrier, key, event, now.wall);
        }
        self.deferred_words(now.wall);
    }

    fn act(&mut self, actions: Vec<Action>, now: Millis) {
        for action in actions {
            match action {
                Action::Taken(key, ticket) => {
                    self.committed(key, now);
                    self.outputs.answer(ticket, Answer::Taken);
                }
                Action::Answer(ticket, answer) => self.outputs.answer(ticket, answer),
                Action::Repeat(ch, ticket) => self.repeated(*ch, ticket, now),
                // The ledger answers these; a word never waits without a batch.
                Action::Word { ticket, .. } => self.outputs.answer(ticket, Answer::Unknown),
                Action::Submit(at) => self.submit(at, now),
                Action::HangUp(at) => self.hang_up(at),
                Action::Recorded { at, carrier, mark } => self.recorded(at, &carrier, mark, now),
                Action::Acknowledge(ack) => self.outputs.push(Output::Acknowledge(ack)),
                Action::LookUp(key) => self.look_up(key),
                Action::RoundOver => self.round_over(),
                Action::Publish(report) => self.outputs.push(Output::Publish(report)),
                Action::Wake(key) => self.outputs.push(Output::Notify(key)),
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
            running.command(&mut self.outputs, Command::HangUp(at));
        }
    }

    /// The ledger holds it. What had to wait for that goes on.
    fn committed(&mut self, key: ChallengeKey, now: Millis) {
        let Some(open) = self.open.get_mut(key) else {
            self.uncommitted.remove(&key);
            return;
        };
        open.durable = true;
        if let Some((_, line)) = open.waiting {
            self.queue.unblock(line);
        }
        if open.wake <= now + UNCOMMITTED_WAIT {
            self.open.wake_at(key, now);
        }
    }
}
