//! A carrier of texts over SMPP: the gateway's own binds and their pool, octets in a network in memory, and the simulated
//! message centre, which shares no codec with the gateway. What becomes of texts is the network's matter (`texts`).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use simulators::{
    record::Record,
    smsc::{
        SmscConfig,
        centre::{self, Centre},
        decided::Receipted,
        session::SessionId,
    },
};
use tokio::sync::mpsc;

mod driver;
mod far_end;

use driver::{Driver, Play};
use far_end::{OnTheWay, stat};

use super::{
    stage::{Effect, Stage},
    steps::{Brought, PipeId, SmppStep, TextStep},
    texts::Network,
    wire::{Piece, Wire},
};
use crate::{
    carrier::{Reply, smpp::bind::Connection},
    challenge::AttemptKey,
    config::carrier::SmppConfig,
};

/// One carrier.
pub struct Smpp {
    pub network: Network,
    /// By which our binds log in.
    account: Arc<str>,
    /// Those of this life.
    drivers: Vec<Driver>,
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
    /// Nobody hears the driver any more.
    is_unheard: bool,
    /// Attempts whose text has come whole and was not refused.
    taken: BTreeSet<AttemptKey>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
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

impl Smpp {
    pub fn new(place: u32, smpp: &SmppConfig) -> Smpp {
        let (acks, answers) = mpsc::unbounded_channel();
        let centre = SmscConfig {
            record: Record::counters_only(),
            probe: None,
            ..SmscConfig::default()
        };
        Smpp {
            network: Network::new(place),
            account: smpp.system_id.clone(),
            drivers: Vec::new(),
            binds: Vec::new(),
            centre: Centre::decided_outside(&centre),
            pipes: BTreeMap::new(),
            last_pipe: 0,
            down_until: None,
            planned: BTreeSet::new(),
            brought: BTreeMap::new(),
            safe: BTreeSet::new(),
            is_unheard: false,
            taken: BTreeSet::new(),
            acks,
            _answers: answers,
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
                    account: self.account.clone(),
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
        self.timeouts(stage);
        self.centre.tick(moment(stage));
        self.check_waiting(stage);
    }

    fn connect(&mut self, bind: usize, stage: &mut Stage<'_>) {
        let Some(play) = self.binds.get_mut(bind) else {
            return;
        };
        play.is_connecting = false;
        if !matches!(play.bind.connection(), Connection::Wanted(_)) {
            return;
        }
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
}

fn arrive(stage: &mut Stage<'_>, pieces: Vec<Piece>, step: impl Fn(Vec<u8>) -> SmppStep) {
    for (after, octets) in pieces {
        stage.later(after, step(octets));
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
    stage.later(sent.max(sent_back), SmppStep::Closed(id));
    // Or nobody says so: then the silence must be noticed.
    if stage.dice.chance(700) {
        let after = sent_back + stage.dice.between(0, 60);
        let reason = "connection reset by the peer";
        stage.later(after, SmppStep::Gone(id, reason));
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
