//! The core: all open challenges, and everything that is decided about them.
//!
//! A machine without a clock, a socket or a task. It takes what comes in ([`Input`]), each with the moment at which it
//! came; lets each challenge's own machine (`delivery`) take its step, finds slots for what is wanted, and gives out what
//! is to be done ([`Output`]): batches that must be durable, orders for drivers, answers, reports. `dispatch` carries that
//! out. So the same events at the same moments lead to the same outputs, on any machine and in invented time.
//!
//! A turn: take what is there, place who waits, flush one batch. So the batches grow with the load.

use std::{sync::Arc, time::Duration};

use crate::{
    admission::{CallRules, FullWindows, LimitHasher, Limits, alarm::Alarms},
    challenge::{AttemptKey, ChallengeKey, Millis},
    clock::{Mono, Now},
    config::{Config, settings::MaxUnsent},
    delivery::Effect,
    intake::Answer,
    ledger::{Done, Op},
    number::NumberPolicy,
    report::body::Frame,
    routing::table::SenderRotation,
};

mod arrivals;
mod arrive;
mod availability;
mod carrier_events;
mod carrier_log;
mod carriers;
mod change_log;
mod commit;
mod correlation;
mod doubts;
mod effects;
mod evidence;
mod fenced;
mod hedges;
mod inbox;
mod input;
mod late;
mod lead;
mod leaving;
mod nodes;
pub mod notice;
mod observer;
mod open;
mod operator;
mod output;
mod place;
mod placement;
mod queue;
mod reasons;
mod receipts;
mod references;
mod registry;
mod resume;
mod room;
mod share;
mod stop;
#[cfg(test)]
mod stories;
mod tenant_turns;
mod unsent;
mod update;
mod view;
mod wipe;

pub use carriers::Running;
use commit::{Action, CommitQueue, Released};
use correlation::Correlation;
pub use input::{CoreSettings, Input, Rest, Wants};
pub use late::{Found, late_receipts};
use nodes::Beside;
use notice::{CarrierNotice, LedgerNotice, Notices};
pub use observer::{Observer, Unobserved};
pub use operator::{OpenChallenge, OverlayOrder, Step};
pub use output::{LookUp, OrderId, Ordered, Output, Outputs};
use placement::Placement;
pub use reasons::reasons;
use registry::Registry;
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
    beside: Beside,
    observer: Box<dyn Observer>,
    notices: Notices,
    registry: Registry,
    placement: Placement,
    correlation: Correlation,
    commit: CommitQueue,
    hasher: LimitHasher,
    limits: Arc<Limits>,
    full: FullWindows,
    /// The last challenge that came under other limits.
    limits_after: ChallengeKey,
    alarms: Alarms,
    outputs: Outputs,
    effects: Vec<Effect>,
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
            notices,
        } = settings;
        let mut core = Core {
            numbers: NumberPolicy::default(),
            call_rules: Arc::default(),
            frame: Frame {
                node: config.settings.node.name.clone(),
                exchange_copy: config.settings.jobs.exchange_copy(),
                ahead: now.ahead,
            },
            broker,
            beside: Beside::default(),
            observer,
            notices,
            registry: Registry::new(epoch.first_challenge),
            placement: Placement::new(&config.table),
            correlation: Correlation::new(epoch.first_message),
            commit: CommitQueue::new(epoch.first_report),
            hasher: LimitHasher::new(&epoch.limiter),
            limits: Arc::new(config.settings.limits.clone()),
            full: FullWindows::default(),
            limits_after: ChallengeKey(0),
            alarms: Alarms::default(),
            outputs: Outputs::default(),
            effects: Vec::new(),
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
        self.frame.exchange_copy = config.settings.jobs.exchange_copy();
        if *self.limits != config.settings.limits {
            self.limits = Arc::new(config.settings.limits.clone());
            self.full.clear();
            self.limits_after = self.registry.newest();
        }
        self.placement.rotation = SenderRotation::of(&config.table);
        let weights = &config.settings.jobs.tenant_weights;
        self.registry.arrivals.weigh(weights.clone());
        self.placement.queue.weigh(weights.clone());
        let used = config.used();
        let unused =
            self.placement
                .carriers
                .take_over(updates, &used, self.mono, &mut self.outputs);
        self.leave(unused);
        self.config = config;
        self.recompute_max_unsent();
        self.placement.queue.room_changed();
    }

    fn recompute_max_unsent(&mut self) {
        let total: Option<f64> = self
            .placement
            .carriers
            .iter()
            .map(|c| c.config.pace.map(|pace| pace.per_second()))
            .sum();
        self.registry.max_unsent = match self.config.settings.jobs.max_unsent {
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
            jobs: self.may_begin() && self.registry.arrivals.wants_more(),
            rest: self.commit.room(),
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
                    self.commit.write(Op::ReportDone { report });
                }
            }
            Input::LookedUp(found) => self.late_found(found, now),
            Input::Nodes(news) => self.nodes_say(news, now.wall),
            Input::Undelivered(at) => self.undelivered(at, now.wall),
            Input::DriverEnded(driver) => {
                if self.placement.carriers.ended(driver) {
                    self.placement.queue.room_changed();
                }
            }
        }
    }

    /// It takes nothing new any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Challenges that are open here.
    pub fn open(&self) -> usize {
        self.registry.open.len()
    }

    /// What is not yet over; None: nothing is.
    pub fn rest(&self) -> Option<Rest> {
        let in_flight = self.placement.carriers.iter().map(Running::in_flight);
        let rest = Rest {
            open: self.registry.open.len(),
            uncommitted: self.registry.uncommitted.len(),
            waiting: self.placement.queue.len(),
            in_flight: in_flight.sum(),
            held: self.correlation.inbox.len(),
            committing: !self.commit.idle(),
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
        while let Some(key) = self.registry.open.due(now.wall) {
            self.missing_receipts(key, now.wall);
            if self.end_waits(key, now.wall) {
                self.registry.open.wake_at(key, now.wall + END_AGAIN);
                continue;
            }
            if let Some(open) = self.registry.open.get_mut(key) {
                if !open.durable {
                    // Its id may turn out to be known: until then it tells nothing more.
                    self.registry.open.wake_at(key, now.wall + UNCOMMITTED_WAIT);
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
        if self.may_begin() {
            self.place_all(now.wall);
        }
        if now.mono.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now.mono;
            self.registry.arrivals.drop_void();
            self.forget_unterminated();
            self.sweep_unclear();
            self.placement.sweep(now.wall);
            self.full.sweep(now.wall);
            for running in self.placement.carriers.iter_mut() {
                let orders = running.sweep(now.mono);
                if orders > 0 {
                    let what = CarrierNotice::NeverSettled { orders };
                    self.notices.carrier(&running.config.name, what);
                    self.placement.queue.room_changed();
                }
            }
        }
        self.say_limits(now.wall);
        self.say_crowded(now.mono);
        self.log_carriers(now);
        self.tick_leaving(now.mono);
        let free = self.commit.flush(now.mono, &mut self.outputs);
        self.act(free, now.wall);
        let figures = (self.registry.open.len(), self.placement.queue.len());
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
            self.registry.open.next_wake(),
            self.correlation.inbox.next_wake(),
            self.placement.overlay.next_expiry(),
        ];
        for at in walls.into_iter().flatten() {
            wake = wake.min(later(at));
        }
        wake = wake.min(self.commit.due().unwrap_or(wake));
        for running in self.placement.carriers.iter() {
            wake = wake.min(running.next_deadline(now.mono).unwrap_or(wake));
        }
        wake
    }

    fn batch_done(&mut self, done: Done, now: Now) {
        let Released {
            actions,
            known,
            lost,
            over,
            limited,
            fenced,
            unwritten,
            early,
            words,
            refused_ops: ops,
            unpublished,
            ..
        } = self.commit.done(done);
        if unpublished {
            self.outputs.push(Output::ReadReports);
        }
        if ops > 0 {
            let refused = LedgerNotice::OpsRefused { ops };
            self.notices.ledger(refused);
        }
        for (key, ticket) in lost {
            self.undo(key);
            self.outputs.answer(ticket, Answer::Busy);
        }
        self.disown_all(fenced);
        for at in unwritten {
            self.intent_unwritten(at, now.wall);
        }
        for (key, known, ticket) in known {
            self.known(key, known, ticket, now.wall);
        }
        for limited in limited {
            self.limits_say(&limited, now.wall);
        }
        for (key, taken, ticket) in over {
            self.over_limit(key, taken, ticket, now.wall);
        }
        for (key, word) in early {
            self.word_for(key, word, now.wall);
        }
        for (word, known, ticket) in words {
            self.word_answered(word, known, ticket, now.wall);
        }
        self.act(actions, now.wall);
        for (carrier, key, event) in std::mem::take(&mut self.registry.pending_events) {
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
                Action::Refuse(ack) => self.outputs.push(Output::Refuse(ack)),
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
            .placement
            .carriers
            .iter()
            .filter(|c| c.is_voice() && c.since(at).is_some())
        {
            running.hang_up(&mut self.outputs, at);
        }
    }

    /// The ledger holds it. What had to wait for that goes on.
    fn committed(&mut self, key: ChallengeKey, now: Millis) {
        let Some(open) = self.registry.open.get_mut(key) else {
            self.registry.uncommitted.remove(&key);
            return;
        };
        open.durable = true;
        if let Some((_, line)) = open.waiting {
            self.placement.queue.unblock(line);
        }
        if open.wake <= now + UNCOMMITTED_WAIT {
            self.registry.open.wake_at(key, now);
        }
    }
}
