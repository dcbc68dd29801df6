//! The gateway's end of an SMPP carrier: a driver's binds and their pool, as `carrier::smpp` runs them. After a reload a
//! driver that was told to finish may stand beside its successor.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;

use super::{Delivery, OnTheWay, Smpp, arrive, goes, reached};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, DriverId, Slots, TextOrder,
        smpp::{
            bind::{Bind, Connection, unplaced},
            live::Live,
            pool::{Pool, PoolEvent},
        },
    },
    config::carrier::{CarrierConfig, SmppConfig},
    rehearse::{
        stage::{Effect, Stage},
        steps::{PipeId, SmppStep},
    },
};

/// One driver.
pub(super) struct Driver {
    id: DriverId,
    pool: Pool,
    is_leaving: bool,
    has_ended: bool,
}

/// A bind, and its end of its connection.
pub(super) struct Play {
    /// Whose it is, and which of its binds.
    driver: usize,
    nth: usize,
    pub bind: Bind,
    pub pipe: Option<PipeId>,
    pub is_connecting: bool,
    /// It had something to say, and nobody heard it: it is gone, with its connection.
    is_gone: bool,
    pub input: BytesMut,
}

impl Smpp {
    /// A driver begins.
    pub fn begin(
        &mut self,
        id: DriverId,
        config: &Arc<CarrierConfig>,
        smpp: &SmppConfig,
        stage: &mut Stage<'_>,
    ) -> Slots {
        let concatenation = stage.dice.below(256) as u8;
        let driver = self.drivers.len();
        let pool = Pool::new(smpp.binds as usize, smpp.window, concatenation);
        let slots = pool.slots().clone();
        self.drivers.push(Driver {
            id,
            pool,
            is_leaving: false,
            has_ended: false,
        });
        let live = Arc::new(Live::new(config.clone(), smpp.clone()));
        for nth in 0..smpp.binds as usize {
            let seed = stage.dice.below(u64::MAX);
            self.binds.push(Play {
                driver,
                nth,
                bind: Bind::new(nth, live.clone(), seed, stage.now),
                pipe: None,
                is_connecting: false,
                is_gone: false,
                input: BytesMut::new(),
            });
        }
        self.go_on(stage);
        slots
    }

    /// The process has died. What it had written is still on its way.
    pub fn crash(&mut self, stage: &mut Stage<'_>) {
        self.binds.clear();
        self.drivers.clear();
        self.brought.clear();
        self.is_unheard = false;
        for (id, pipe) in &self.pipes {
            stage.later(pipe.wire.sent_by(stage.now), SmppStep::Closed(*id));
        }
    }

    /// The carrier's file says something else now, and the sessions stay.
    pub fn change(
        &mut self,
        id: DriverId,
        config: &Arc<CarrierConfig>,
        smpp: &SmppConfig,
        stage: &mut Stage<'_>,
    ) {
        let live = Arc::new(Live::new(config.clone(), smpp.clone()));
        let Some(at) = self.drivers.iter().position(|driver| driver.id == id) else {
            return;
        };
        self.drivers[at].pool.change(smpp.window);
        for play in self.binds.iter_mut().filter(|play| play.driver == at) {
            play.bind
                .change(live.clone(), Some(String::new()), stage.now);
        }
        self.go_on(stage);
    }

    /// Nothing new comes: what is in the air is waited for, and the binds say goodbye.
    pub fn finish(&mut self, id: DriverId, stage: &mut Stage<'_>) {
        let Some(at) = self.drivers.iter().position(|driver| driver.id == id) else {
            return;
        };
        self.drivers[at].is_leaving = true;
        self.drivers[at].pool.drain();
        for play in self.binds.iter_mut().filter(|play| play.driver == at) {
            play.bind.drain(stage.now);
        }
        self.go_on(stage);
    }

    pub fn unheard(&mut self) {
        self.is_unheard = true;
    }

    pub fn has_ended(&self) -> bool {
        self.binds.iter().all(Play::is_over)
    }

    pub fn submit(&mut self, id: DriverId, order: &TextOrder, parts: u16, stage: &mut Stage<'_>) {
        let at = self.drivers.iter().position(|driver| driver.id == id);
        let place = at.and_then(|at| {
            let driver = &mut self.drivers[at];
            let place = if driver.is_leaving {
                None
            } else {
                driver.pool.place()
            };
            let mut binds = self.binds.iter_mut();
            place.and_then(|place| {
                let play = binds.find(|play| (play.driver, play.nth) == (at, place.bind))?;
                Some((play, place.concatenation))
            })
        });
        match place {
            Some((play, concatenation)) => {
                let pipe = play.pipe.and_then(|pipe| self.pipes.get_mut(&pipe));
                if let Some(pipe) = pipe {
                    pipe.orders.push(OnTheWay::new(order, parts, stage));
                }
                play.bind.submit(order.clone(), concatenation);
                self.go_on(stage);
            }
            None => {
                let outcome = unplaced(order.key);
                stage.say(CarrierEvent::Attempt(outcome.key, outcome.event));
            }
        }
    }

    pub(super) fn timeouts(&mut self, stage: &mut Stage<'_>) {
        for play in self.binds.iter_mut().filter(|play| !play.is_gone) {
            if play.bind.deadline().is_some_and(|at| at <= stage.now) {
                play.bind.timeout(stage.now);
            }
        }
        for driver in self.drivers.iter_mut().filter(|driver| !driver.is_leaving) {
            if let Some(room) = driver.pool.recover(stage.now) {
                stage.say(CarrierEvent::Link(room));
            }
        }
    }

    /// Until nothing more comes of it at this moment.
    pub(super) fn go_on(&mut self, stage: &mut Stage<'_>) {
        for index in 0..self.binds.len() {
            self.settle(index, stage);
        }
        self.hear_the_centre(stage);
        for (at, driver) in self.drivers.iter_mut().enumerate() {
            let mut own = self.binds.iter().filter(|play| play.driver == at);
            if driver.is_leaving && own.all(Play::is_over) && !driver.has_ended {
                driver.has_ended = true;
                stage.effects.push(Effect::Ended(driver.id));
            }
        }
        let binds = self.binds.iter().filter(|play| !play.is_gone);
        let binds = binds.filter_map(|play| play.bind.deadline());
        let pools = self.drivers.iter().filter(|driver| !driver.is_leaving);
        let pools = pools.filter_map(|driver| driver.pool.deadline());
        let deadline = binds.chain(pools).chain(self.centre.deadline()).min();
        self.wake_at(deadline, stage);
    }

    fn wake_at(&mut self, deadline: Option<Instant>, stage: &mut Stage<'_>) {
        let next = self.planned.first();
        if let Some(at) = deadline.filter(|at| next.is_none_or(|next| at < next)) {
            self.planned.insert(at);
            let after = at.saturating_duration_since(stage.now);
            stage.later(after, SmppStep::Wake);
        }
    }

    /// As the driver does it.
    fn settle(&mut self, index: usize, stage: &mut Stage<'_>) {
        let play = &mut self.binds[index];
        if play.is_gone {
            return;
        }
        play.bind.settle(stage.now, stage.wall);
        while let Some(event) = play.bind.poll_event() {
            let pool = &mut self.drivers[play.driver].pool;
            match pool.heard(play.nth, event, stage.now) {
                Some(_) if self.is_unheard => {
                    play.is_gone = true;
                    return self.hangs_up(index, stage);
                }
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
            stage.later(after, SmppStep::Connect(index));
        }
        self.write(index, stage);
    }

    /// The bind's end of its connection is closed: what it has not written never leaves.
    fn hangs_up(&mut self, index: usize, stage: &mut Stage<'_>) {
        let Some(id) = self.binds[index].pipe.take() else {
            return;
        };
        if let Some(pipe) = self.pipes.get(&id) {
            stage.later(pipe.wire.sent_by(stage.now), SmppStep::Closed(id));
        }
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
                    stage.later(after, SmppStep::Writable(id));
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
                stage.later(pipe.wire.sent_by(stage.now), SmppStep::Closed(id));
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

impl Play {
    fn is_over(&self) -> bool {
        self.is_gone || self.bind.connection() == Connection::Over
    }
}
