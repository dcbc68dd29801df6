//! Dispatch: drives the core.
//!
//! One task. It takes what comes from the doors, the carriers' drivers, the ledger, the publisher and the operator, gives
//! it to the [`Core`] with the moment at which it came, and carries out what the core wants done. It decides nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

pub use crate::core::{CarrierView, Ordered, OverlayOrder, Seen, Step, UpdateLink, View};
use crate::{
    carrier::{self, CallCommand, Carrier, CarrierMessage},
    challenge::ChallengeKey,
    clock::{Now, Term},
    config::{CarrierConfig, Config},
    core::{CarrierUpdate, Core, Input, OpenChallenge, OrderId, Output},
    intake::{Arrival, NoRoom},
    ledger::{Done, DoneReceiver, Ledger, NodeNews, OutboxReport, ReportKey},
    overlay::Entry,
};

mod lookups;
mod ports;

use lookups::Lookups;
use ports::Ports;

/// Everything that is listened to.
pub struct Inputs {
    pub jobs: mpsc::Receiver<Arrival>,
    /// Cancels and feedback: never behind a backlog of jobs.
    pub control: mpsc::Receiver<Arrival>,
    pub said: mpsc::Receiver<CarrierMessage>,
    pub done: DoneReceiver,
    /// Reports that the broker has confirmed, or that were given up.
    pub published: mpsc::Receiver<Vec<ReportKey>>,
    pub queries: mpsc::Receiver<Query>,
    /// What is heard of other nodes; None: there are none on this ledger.
    pub nodes: Option<mpsc::Receiver<NodeNews>>,
}

/// Where the core's outputs go.
pub struct Outputs {
    pub ledger: Ledger,
    /// None: no broker is configured.
    pub publish: Option<Box<dyn FnMut(OutboxReport) + Send>>,
    /// Has the reports read that wait in the ledger.
    pub read_reports: Box<dyn FnMut() + Send>,
    /// Told when a challenge has a new report for those who follow by HTTP.
    pub wake: Box<dyn FnMut(ChallengeKey) + Send>,
    /// What jobs wait for, where there is no room for more.
    pub no_room: watch::Sender<Option<NoRoom>>,
}

/// A carrier of another configuration, with its driver.
pub struct Update {
    pub config: Arc<CarrierConfig>,
    pub carrier: Carrier,
    pub link: UpdateLink,
    /// Sets the driver going, or changes it: once the core knows it.
    pub commit: carrier::Commit,
}

/// A question, with where the answer goes.
pub enum Query {
    Carriers(oneshot::Sender<Vec<CarrierView>>),
    Challenges(oneshot::Sender<Vec<View>>),
    /// What the plan sees of each carrier now, in the table's order, for `explain`.
    Availability(oneshot::Sender<Seen>),
    /// Another configuration, with the carriers that are new or have changed.
    Reload(Arc<Config>, Vec<Update>, oneshot::Sender<()>),
    Drain(Duration),
    /// A change that an operator wants; answered once it is durable.
    Overlay(OverlayOrder, oneshot::Sender<Ordered>),
    /// The changes of operators that are in force.
    Changes(oneshot::Sender<Vec<Entry>>),
    /// An open challenge, by tenant and id.
    Open(Arc<str>, Arc<str>, oneshot::Sender<Option<OpenChallenge>>),
}

/// The core with all that it needs to run.
pub struct Dispatch {
    core: Core,
    outputs: Outputs,
    ports: Ports,
    lookups: Lookups,
    /// Operators whose orders are not yet durable.
    ordering: BTreeMap<OrderId, oneshot::Sender<Ordered>>,
    last_order: u64,
}

/// Most messages of one kind that one turn takes: a turn stays short, a batch bounded.
const TURN: usize = 512;

/// What else waits in a channel: every turn takes from all of them, so that a flood in one holds up no other.
fn fill<T>(taken: &mut Vec<T>, from: &mut mpsc::Receiver<T>) {
    while taken.len() < TURN
        && let Ok(one) = from.try_recv()
    {
        taken.push(one);
    }
}

/// What was allowed in a term that has run out since is void.
fn committed(done: Done, term: &Term, now: Now) -> Input {
    let is_void = !term.allows(done.term, now.mono);
    Input::Committed(Done { is_void, ..done })
}

/// Never, where there is nobody to hear of.
async fn hear(nodes: &mut Option<mpsc::Receiver<NodeNews>>, news: &mut Vec<NodeNews>) -> usize {
    match nodes {
        Some(nodes) => nodes.recv_many(news, TURN).await,
        None => std::future::pending().await,
    }
}

impl Dispatch {
    pub fn new(core: Core, outputs: Outputs) -> Dispatch {
        Dispatch {
            lookups: Lookups::new(outputs.ledger.clone()),
            core,
            outputs,
            ports: Ports::default(),
            ordering: BTreeMap::new(),
            last_order: 0,
        }
    }

    /// For what is told to the core before [`Dispatch::run`].
    pub fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Another configuration takes over: first in the core, then in the drivers.
    pub fn configure(&mut self, config: Arc<Config>, updates: Vec<Update>) {
        let mut commits = Vec::new();
        let updates = updates.into_iter().map(|update| {
            commits.push(update.commit);
            self.ports.add(&update.carrier);
            CarrierUpdate {
                config: update.config,
                driver: update.carrier.id(),
                slots: update.carrier.slots().clone(),
                link: update.link,
            }
        });
        let updates = updates.collect();
        self.core.configure(config, updates);
        self.carry_out();
        commits.into_iter().for_each(|commit| commit());
    }

    /// Runs until drained. Returns when nothing is in the air any more, or the limit is reached.
    pub async fn run(mut self, mut inputs: Inputs) {
        let (mut jobs, mut control, mut said, mut published) = (vec![], vec![], vec![], vec![]);
        let (mut found, mut news) = (Vec::new(), Vec::new());
        loop {
            let wants = self.core.wants();
            let now = Now::read();
            let wait = self.core.deadline(now) - now.mono;
            let mut done = None;
            // A channel whose other side is gone gives nothing at once; such a branch is passed over.
            tokio::select! {
                biased;
                received = inputs.done.recv() => match received {
                    Some(received) => done = Some(received),
                    None => {
                        tracing::error!("the ledger's writer has ended by a fault of ours: nothing can go on");
                        return;
                    }
                },
                1.. = inputs.said.recv_many(&mut said, TURN), if wants.rest => {}
                1.. = inputs.control.recv_many(&mut control, TURN), if wants.rest => {}
                1.. = inputs.published.recv_many(&mut published, TURN), if wants.rest => {}
                Some(query) = inputs.queries.recv() => self.query(query),
                1.. = hear(&mut inputs.nodes, &mut news), if wants.rest => {}
                Some(round) = self.lookups.next(), if wants.rest => found.push(round),
                1.. = inputs.jobs.recv_many(&mut jobs, TURN), if wants.jobs => {}
                () = tokio::time::sleep(wait) => {}
            }
            // A question may have been the order to stop.
            let wants = self.core.wants();
            if wants.rest {
                fill(&mut said, &mut inputs.said);
                fill(&mut control, &mut inputs.control);
                fill(&mut published, &mut inputs.published);
            }
            if wants.jobs {
                fill(&mut jobs, &mut inputs.jobs);
            }
            if let Ok(query) = inputs.queries.try_recv() {
                self.query(query);
            }
            if self.core.is_stopping() {
                // What others leave is left to others.
                inputs.nodes = None;
            }
            let now = Now::read();
            let term = self.outputs.ledger.term().clone();
            self.core.heard_of(term.is_held(now.mono));
            let more = std::iter::from_fn(|| inputs.done.try_recv().ok());
            let came = done.into_iter().chain(more);
            let came = came.map(|done| committed(done, &term, now));
            let came = came.chain(news.drain(..).map(Input::Nodes));
            let came = came.chain(said.drain(..).map(Input::Carrier));
            let came = came.chain(control.drain(..).chain(jobs.drain(..)).map(Input::Arrival));
            let came = came.chain(published.drain(..).map(Input::Published));
            let came = came.chain(found.drain(..).map(Input::LookedUp));
            for input in came.chain(self.ports.ended().into_iter().map(Input::DriverEnded)) {
                self.core.handle(now, input);
            }
            self.core.turn(now);
            self.carry_out();
            self.tell();
            if self.core.is_over() {
                return;
            }
        }
    }

    /// How it stands, for the doors and for other nodes.
    fn tell(&mut self) {
        let no_room = self.core.crowded();
        self.outputs.no_room.send_if_modified(|told| {
            let news = *told != no_room;
            *told = no_room;
            news
        });
        self.outputs.ledger.says_open(self.core.open());
    }

    /// Does what the core wants done.
    fn carry_out(&mut self) {
        self.ports.retry();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Commit(batch) => {
                    // The channel is as long as the core may have batches on their way; it is closed only with the writer,
                    // which ends this task.
                    let _ = self.outputs.ledger.try_submit(batch);
                }
                Output::LookUp(round) => self.lookups.ask(round),
                Output::Text(driver, order) => {
                    let key = order.key;
                    if !self.ports.text(driver, order) {
                        self.core.handle(Now::read(), Input::Undelivered(key));
                    }
                }
                Output::Call(driver, order) => {
                    let key = order.key;
                    if !self.ports.call(driver, order) {
                        self.core.handle(Now::read(), Input::Undelivered(key));
                    }
                }
                Output::EndCall(driver, call) => {
                    self.ports.tell(driver, CallCommand::End(call));
                }
                Output::ReadReports => (self.outputs.read_reports)(),
                Output::HangUp(driver, key) => {
                    self.ports.tell(driver, CallCommand::HangUp(key));
                }
                Output::Recorded(driver, mark) => {
                    self.ports.tell(driver, CallCommand::Recorded(mark));
                }
                Output::Finish(driver, finish) => self.ports.finish(driver, finish),
                Output::Answer(ticket, answer) => ticket.answer(answer),
                Output::Acknowledge(ack) => ack.acknowledge(),
                Output::Refuse(ack) => ack.refuse(),
                Output::Publish(report) => {
                    if let Some(publish) = &mut self.outputs.publish {
                        publish(*report);
                    }
                }
                Output::Notify(key) => (self.outputs.wake)(key),
                Output::Ordered(id, ordered) => {
                    if let Some(waiting) = self.ordering.remove(&id) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(ordered);
                    }
                }
            }
        }
    }

    fn query(&mut self, query: Query) {
        let now = Now::read();
        // Whoever asked may have gone; then nobody hears the answer.
        match query {
            Query::Carriers(to) => drop(to.send(self.core.carrier_views())),
            Query::Challenges(to) => drop(to.send(self.core.challenge_views())),
            Query::Availability(to) => drop(to.send(self.core.seen(now))),
            Query::Reload(config, updates, to) => {
                self.configure(config, updates);
                let _ = to.send(());
            }
            Query::Drain(limit) => self.core.drain(now, limit),
            Query::Overlay(order, to) => {
                self.last_order += 1;
                let id = OrderId(self.last_order);
                self.ordering.insert(id, to);
                self.core.order_overlay(order, id, now.wall);
            }
            Query::Changes(to) => drop(to.send(self.core.changes())),
            Query::Open(tenant, id, to) => {
                drop(to.send(self.core.open_challenge(&tenant, &id, now)))
            }
        }
    }
}
