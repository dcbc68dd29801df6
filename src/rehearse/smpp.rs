//! A carrier of texts over SMPP: the gateway's own binds and their pool, octets in a network in memory, and the simulated
//! message centre, which shares no codec with the gateway. What becomes of texts is the network's matter (`texts`).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use simulators::{
    record::Record,
    smsc::{
        SmscConfig,
        centre::{self, Centre},
        decided::{Receipted, Submitted},
        session::SessionId,
    },
};
use tokio::sync::mpsc;

mod far_end;

use far_end::{OnTheWay, stat};

use super::{
    carriers::{self, Effect, Stage},
    texts::{Brought, Network, TextStep},
    wire::{Piece, Wire},
};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, Reply, Slots, TextOrder,
        smpp::{
            bind::{Bind, Connection, unplaced},
            live::Live,
            pool::{Pool, PoolEvent},
        },
    },
    challenge::AttemptKey,
    config::carrier::{CarrierConfig, SmppConfig},
};

/// One carrier.
pub struct Smpp {
    pub network: Network,
    live: Arc<Live>,
    pool: Pool,
    binds: Vec<Play>,
    centre: Centre,
    pipes: BTreeMap<PipeId, Pipe>,
    last_pipe: PipeId,
    /// Nobody is let in before.
    down_until: Option<Instant>,
    /// When it is woken, as far as that is planned.
    planned: BTreeSet<Instant>,
    /// Where what the core has not acknowledged came from, by its number.
    brought: BTreeMap<u32, VecDeque<Delivery>>,
    /// What the core has acknowledged.
    safe: BTreeSet<u32>,
    /// Attempts whose text has come whole and was not refused.
    taken: BTreeSet<AttemptKey>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
}

type PipeId = u64;

/// A bind, and its end of its connection.
struct Play {
    bind: Bind,
    pipe: Option<PipeId>,
    is_connecting: bool,
    input: BytesMut,
}

/// A connection.
struct Pipe {
    wire: Wire,
    session: SessionId,
    /// Texts that were given to its bind and have not come to the centre whole, in order.
    orders: Vec<OnTheWay>,
}

/// A delivery in a session of ours.
#[derive(Clone, Copy)]
struct Delivery {
    bind: usize,
    pipe: PipeId,
    sequence: u32,
}

#[derive(Debug)]
pub enum SmppStep {
    /// A deadline of one of the machines has come.
    Wake,
    /// A connection comes to be, or not.
    Connect(usize),
    /// The process has died: its end is closed.
    Closed(PipeId),
    /// Ours is told that the connection is gone.
    Gone(PipeId, &'static str),
    /// Our end takes octets again.
    Writable(PipeId),
    ToCentre(PipeId, Vec<u8>),
    ToUs(PipeId, Vec<u8>),
    /// The centre answers a submit: a status, or an id.
    Answer(Box<Submitted>, Result<Arc<str>, u32>),
}

impl SmppStep {
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            SmppStep::Wake
            | SmppStep::Closed(_)
            | SmppStep::ToCentre(..)
            | SmppStep::Answer(..) => true,
            SmppStep::Connect(_)
            | SmppStep::Gone(..)
            | SmppStep::Writable(_)
            | SmppStep::ToUs(..) => false,
        }
    }

    /// Nothing but time passing.
    pub fn is_time(&self) -> bool {
        matches!(self, SmppStep::Wake)
    }
}

impl Smpp {
    pub fn new(place: u32, config: Arc<CarrierConfig>, smpp: SmppConfig) -> Smpp {
        let (acks, answers) = mpsc::unbounded_channel();
        let centre = SmscConfig {
            record: Record::counters_only(),
            probe: None,
            ..SmscConfig::default()
        };
        Smpp {
            network: Network::new(place),
            pool: Pool::new(0, 0, 0),
            live: Arc::new(Live::new(config, smpp)),
            binds: Vec::new(),
            centre: Centre::decided_outside(&centre),
            pipes: BTreeMap::new(),
            last_pipe: 0,
            down_until: None,
            planned: BTreeSet::new(),
            brought: BTreeMap::new(),
            safe: BTreeSet::new(),
            taken: BTreeSet::new(),
            acks,
            _answers: answers,
        }
    }

    // --- the process ---------------------------------------------------------------------------------------------

    /// A process has started: its driver begins.
    pub fn begin(&mut self, stage: &mut Stage<'_>) -> Slots {
        let smpp = &self.live.smpp;
        let concatenation = stage.dice.below(256) as u8;
        self.pool = Pool::new(smpp.binds as usize, smpp.window, concatenation);
        self.brought.clear();
        self.binds.clear();
        for index in 0..smpp.binds as usize {
            let seed = stage.dice.below(u64::MAX);
            self.binds.push(Play {
                bind: Bind::new(index, self.live.clone(), seed, stage.now),
                pipe: None,
                is_connecting: false,
                input: BytesMut::new(),
            });
        }
        self.go_on(stage);
        self.pool.slots().clone()
    }

    /// The process has died. What it had written is still on its way.
    pub fn crash(&mut self, stage: &mut Stage<'_>) {
        self.binds.clear();
        for (id, pipe) in &self.pipes {
            later(stage, pipe.wire.sent_by(stage.now), SmppStep::Closed(*id));
        }
    }

    pub fn submit(&mut self, order: &TextOrder, parts: u16, stage: &mut Stage<'_>) {
        match self.pool.place() {
            Some(place) => {
                let play = &mut self.binds[place.bind];
                let pipe = play.pipe.and_then(|pipe| self.pipes.get_mut(&pipe));
                if let Some(pipe) = pipe {
                    pipe.orders.push(OnTheWay::new(order, parts, stage));
                }
                play.bind.submit(order.clone(), place.concatenation);
                self.go_on(stage);
            }
            None => {
                let outcome = unplaced(order.key);
                stage.say(CarrierEvent::Attempt(outcome.key, outcome.event));
            }
        }
    }

    /// The core says of what was brought under this number that it is safe, or that there is no room for it. Gives what
    /// has become safe by that.
    pub fn answered(
        &mut self,
        number: u32,
        reply: Reply,
        stage: &mut Stage<'_>,
    ) -> Option<Brought> {
        let first = reply == Reply::Taken && self.safe.insert(number);
        let delivery = self.brought.get_mut(&number);
        if let Some(delivery) = delivery.and_then(VecDeque::pop_front) {
            let play = self.binds.get_mut(delivery.bind);
            if let Some(play) = play.filter(|play| play.pipe == Some(delivery.pipe)) {
                play.bind.answer(delivery.sequence, reply);
            }
        }
        let brought = self.network.bringing.get(&number).cloned();
        self.go_on(stage);
        brought.filter(|_| first)
    }

    // --- the network ---------------------------------------------------------------------------------------------

    /// All connections break; for a while there are no others.
    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        self.down_until = Some(stage.now + stage.dice.between(200, 20_000));
        let pipes: Vec<PipeId> = self.pipes.keys().copied().collect();
        for id in pipes {
            let Some(pipe) = self.pipes.get_mut(&id) else {
                continue;
            };
            pipe.wire.is_cut = stage.dice.chance(500);
            goes(id, pipe, stage);
        }
    }

    /// Receipts that no answer has come for.
    pub fn is_busy(&self) -> bool {
        !self.network.bringing.is_empty()
    }

    pub fn step(&mut self, step: SmppStep, stage: &mut Stage<'_>) {
        match step {
            SmppStep::Wake => self.wake(stage),
            SmppStep::Connect(bind) => self.connect(bind, stage),
            SmppStep::Closed(id) => {
                if let Some(pipe) = self.pipes.remove(&id) {
                    if self.centre.is_within_pdu(pipe.session) {
                        reached(stage, "a link was cut within a PDU of ours");
                    }
                    self.centre.closed(pipe.session, moment(stage));
                }
            }
            SmppStep::Gone(id, reason) => {
                let play = self.binds.iter_mut().find(|play| play.pipe == Some(id));
                if let Some(play) = play {
                    play.pipe = None;
                    if !play.input.is_empty() {
                        reached(stage, "a link was cut within a PDU of the carrier's");
                    }
                    play.bind.disconnected(reason.to_owned(), stage.now);
                }
            }
            SmppStep::Writable(id) => {
                if let Some(pipe) = self.pipes.get_mut(&id) {
                    pipe.wire.is_full = false;
                }
            }
            SmppStep::ToCentre(id, octets) => {
                if let Some(pipe) = self.pipes.get(&id).filter(|pipe| !pipe.wire.is_cut) {
                    self.centre.received(pipe.session, &octets, moment(stage));
                }
            }
            SmppStep::ToUs(id, octets) => {
                let play = self.binds.iter_mut().find(|play| play.pipe == Some(id));
                let is_cut = self.pipes.get(&id).is_none_or(|pipe| pipe.wire.is_cut);
                if let Some(play) = play.filter(|_| !is_cut) {
                    play.input.extend_from_slice(&octets);
                    play.bind.receive(&mut play.input, stage.now);
                }
            }
            SmppStep::Answer(submit, Ok(id)) => self.centre.answer_submit(&submit, 0, Some(&id)),
            SmppStep::Answer(submit, Err(status)) => {
                self.centre.answer_submit(&submit, status, None);
            }
        }
        self.go_on(stage);
    }

    /// A step of the network behind.
    pub fn text_step(&mut self, step: TextStep, stage: &mut Stage<'_>) {
        match step {
            TextStep::AtPhone(key) => stage.effects.push(Effect::TextAtPhone(key)),
            TextStep::Write(brought) => {
                let receipt = &brought.receipt;
                let digits = |number: &Option<Arc<str>>| number.as_deref().unwrap_or("").to_owned();
                let receipted = Receipted {
                    account: self.live.smpp.system_id.clone(),
                    phone: digits(&receipt.phone),
                    sender: digits(&receipt.sender),
                    id: receipt.references.first().map(ToString::to_string),
                    stat: stat(receipt.state),
                    tag: self.network.written((*brought).clone()),
                };
                self.centre.bring(receipted, moment(stage));
                self.go_on(stage);
            }
        }
    }

    fn wake(&mut self, stage: &mut Stage<'_>) {
        self.planned.retain(|at| *at > stage.now);
        for play in &mut self.binds {
            if play.bind.deadline().is_some_and(|at| at <= stage.now) {
                play.bind.timeout(stage.now);
            }
        }
        if let Some(room) = self.pool.recover(stage.now) {
            stage.say(CarrierEvent::Link(room));
        }
        self.centre.tick(moment(stage));
        self.check_waiting(stage);
    }

    fn connect(&mut self, bind: usize, stage: &mut Stage<'_>) {
        let Some(play) = self.binds.get_mut(bind) else {
            return;
        };
        play.is_connecting = false;
        if self.down_until.is_some_and(|until| stage.now < until) {
            let reason = "connection refused".to_owned();
            return play.bind.connect_failed(reason, stage.now);
        }
        let Some(session) = self.centre.connected(moment(stage)) else {
            return;
        };
        self.last_pipe += 1;
        let pipe = Pipe {
            wire: Wire::new(stage.now),
            session,
            orders: Vec::new(),
        };
        self.pipes.insert(self.last_pipe, pipe);
        play.pipe = Some(self.last_pipe);
        play.input.clear();
        play.bind.connected(Ok(String::new()), stage.now);
    }

    // --- what follows --------------------------------------------------------------------------------------------

    /// Until nothing more comes of it at this moment.
    fn go_on(&mut self, stage: &mut Stage<'_>) {
        for index in 0..self.binds.len() {
            self.settle(index, stage);
        }
        self.hear_the_centre(stage);
        let binds = self.binds.iter().filter_map(|play| play.bind.deadline());
        let others = [self.pool.deadline(), self.centre.deadline()];
        let deadline = binds.chain(others.into_iter().flatten()).min();
        let next = self.planned.first();
        if let Some(at) = deadline.filter(|at| next.is_none_or(|next| at < next)) {
            self.planned.insert(at);
            let after = at.saturating_duration_since(stage.now);
            later(stage, after, SmppStep::Wake);
        }
    }

    /// As the driver does it.
    fn settle(&mut self, index: usize, stage: &mut Stage<'_>) {
        let play = &mut self.binds[index];
        play.bind.settle(stage.now, stage.wall);
        while let Some(event) = play.bind.poll_event() {
            match self.pool.heard(index, event, stage.now) {
                Some(PoolEvent::Say(what)) => {
                    if let CarrierEvent::Attempt(key, AttemptEvent::Failed(_)) = &what
                        && self.taken.contains(key)
                    {
                        stage.effects.push(Effect::FailedThoughTaken(*key));
                    }
                    stage.say(what);
                }
                Some(PoolEvent::Bring(incoming, sequence)) => {
                    let pipe = play.pipe.and_then(|id| Some((id, self.pipes.get(&id)?)));
                    let tagged = pipe.and_then(|(id, pipe)| {
                        Some((id, self.centre.tag_of(pipe.session, sequence)?))
                    });
                    // Of a session that is gone at the far end: it will be brought again.
                    let Some((pipe, tag)) = tagged else {
                        continue;
                    };
                    if self.brought.contains_key(&tag) || self.safe.contains(&tag) {
                        reached(stage, "a receipt came again");
                    }
                    self.brought.entry(tag).or_default().push_back(Delivery {
                        bind: index,
                        pipe,
                        sequence,
                    });
                    let ack = Acknowledgement::Session(self.acks.clone(), tag);
                    stage.say(CarrierEvent::Incoming(incoming, ack));
                }
                None => {}
            }
        }
        if let Connection::Wanted(_) = play.bind.connection()
            && !std::mem::replace(&mut play.is_connecting, true)
        {
            let after = stage.dice.between(1, 150);
            later(stage, after, SmppStep::Connect(index));
        }
        self.write(index, stage);
    }

    /// What the bind has to write leaves, as far as its end takes it.
    fn write(&mut self, index: usize, stage: &mut Stage<'_>) {
        let play = &mut self.binds[index];
        let Some(id) = play.pipe else {
            return;
        };
        let is_open = play.bind.connection() == Connection::Open;
        let output = play.bind.output();
        if let Some(pipe) = self.pipes.get_mut(&id) {
            if pipe.wire.is_broken {
                output.clear();
            }
            if !output.is_empty() && !pipe.wire.is_full {
                let taken = pipe.wire.takes(output.len(), stage.dice);
                let mut octets = output.split_to(taken).to_vec();
                let per_mille = stage.profile.wire_breaks;
                let breaks = pipe.wire.breaks(&mut octets, per_mille, stage.dice);
                if pipe.wire.is_full {
                    let after = stage.dice.between(1, 400);
                    later(stage, after, SmppStep::Writable(id));
                }
                if !octets.is_empty() {
                    let pieces = pipe.wire.send(octets, stage.now, stage.dice);
                    arrive(stage, pieces, |octets| SmppStep::ToCentre(id, octets));
                }
                if breaks {
                    goes(id, pipe, stage);
                }
            }
            if !is_open {
                later(stage, pipe.wire.sent_by(stage.now), SmppStep::Closed(id));
            }
        } else {
            // The far end is gone, and nobody has said so: they leave, and come nowhere.
            output.clear();
        }
        if !is_open {
            play.pipe = None;
        }
    }
}

fn later(stage: &mut Stage<'_>, after: Duration, step: SmppStep) {
    stage.later(after, carriers::Step::Smpp(step));
}

fn arrive(stage: &mut Stage<'_>, pieces: Vec<Piece>, step: impl Fn(Vec<u8>) -> SmppStep) {
    for (after, octets) in pieces {
        later(stage, after, step(octets));
    }
}

/// The connection is lost: each end finds out, or only the far one does. What the far end's system has is read before the end
/// is noticed.
fn goes(id: PipeId, pipe: &Pipe, stage: &mut Stage<'_>) {
    let (sent, sent_back) = match pipe.wire.is_cut {
        true => (Duration::ZERO, Duration::ZERO),
        false => (
            pipe.wire.sent_by(stage.now),
            pipe.wire.sent_back_by(stage.now),
        ),
    };
    later(stage, sent.max(sent_back), SmppStep::Closed(id));
    // Or nobody says so: then the silence must be noticed.
    if stage.dice.chance(700) {
        let after = sent_back + stage.dice.between(0, 60);
        let reason = "connection reset by the peer";
        later(stage, after, SmppStep::Gone(id, reason));
    } else {
        reached(stage, "a link broke and nobody said so");
    }
}

fn reached(stage: &mut Stage<'_>, state: &'static str) {
    stage.effects.push(Effect::Reached(state));
}

fn moment(stage: &Stage<'_>) -> centre::Now {
    centre::Now {
        at: stage.now,
        unix: stage.wall.0.unsigned_abs() / 1_000,
    }
}
