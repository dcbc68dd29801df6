//! The SMPP carrier: texts over binds.
//!
//! Two pure machines decide: [`bind`], one bind's life, and [`pool`], which gives each order to the bound bind with the
//! fewest and derives slots and link from all of them. [`start`] spawns a task per bind ([`task`]: socket, timer,
//! channels) and a splitter that hands orders on. Nothing queues behind a dead carrier: without a bound session an order
//! fails at once. What an SMPP status means ends in [`status`], what a receipt means in [`receipts`].

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, sleep_until},
};

mod addresses;
pub mod bind;
pub mod live;
pub mod orders;
pub mod pool;
mod receipts;
mod shared;
mod status;
mod task;

use self::{
    bind::unplaced,
    shared::Shared,
    task::{BindTask, ToBind},
};
use super::{COMMANDS, CarrierEvent, CarrierMessage, Commit, TextCarrier, TextCommand, TextOrder};
use crate::config::carrier::{CarrierConfig, SmppConfig, Transport};

/// Orders on their way to one bind: all that the carrier's command channel can hold.
const BIND_INBOX: usize = COMMANDS;
/// Commands taken in one go.
const BATCH: usize = 256;

/// Starts the carrier on the current runtime. It runs until [`TextCommand::Finish`], or until every handle is gone.
/// After a drain the handle's channel is closed: `handle.commands.closed()` waits for it.
pub fn start(config: Arc<CarrierConfig>, said: mpsc::Sender<CarrierMessage>) -> TextCarrier {
    let (handle, _, begin) = prepare(config, said);
    begin();
    handle
}

/// The same, set going by the last of these.
pub fn prepare(
    config: Arc<CarrierConfig>,
    said: mpsc::Sender<CarrierMessage>,
) -> (TextCarrier, Changes, Commit) {
    let smpp = match &config.transport {
        Transport::Smpp(smpp) => smpp.clone(),
        Transport::Http(_) | Transport::Sip(_) => not_smpp(&config),
    };
    let shared = Arc::new(Shared::new(config, smpp, said));
    let (handle, inbox) = TextCarrier::new(shared.slots.clone());
    let (changed, changes) = watch::channel(());
    let to_change = Changes {
        shared: shared.clone(),
        changed,
    };
    let begin = Box::new(move || {
        tokio::spawn(split(shared, inbox, changes));
    });
    (handle, to_change, begin)
}

/// The way to change a carrier that runs: what touches neither its address nor its credentials.
pub struct Changes {
    shared: Arc<Shared>,
    changed: watch::Sender<()>,
}

impl Changes {
    /// In force for the next submit and probe; sessions stay.
    pub fn change(&self, config: Arc<CarrierConfig>) {
        if let Transport::Smpp(smpp) = config.transport.clone() {
            self.shared.change(config, smpp);
            self.changed.send_replace(());
        }
    }

    /// Can it be changed so, or does it take other sessions?
    pub fn can_become(old: &CarrierConfig, new: &CarrierConfig) -> bool {
        let (Transport::Smpp(before), Transport::Smpp(after)) = (&old.transport, &new.transport)
        else {
            return false;
        };
        let smpp = SmppConfig {
            window: after.window,
            receipt_id: after.receipt_id,
            ..before.clone()
        };
        let same = CarrierConfig {
            transport: Transport::Smpp(smpp),
            pace: new.pace,
            response_timeout: new.response_timeout,
            receipt_wait: new.receipt_wait,
            probe: new.probe,
            status: new.status.clone(),
            ..old.clone()
        };
        same == *new
    }
}

/// The caller chose the wrong driver: a carrier without endpoints, which says so as its link's reason.
fn not_smpp(config: &CarrierConfig) -> SmppConfig {
    tracing::error!(carrier = %config.name, transport = config.transport.name(), "a carrier of another transport was started as an SMPP carrier, by a fault of ours: it sends nothing");
    SmppConfig {
        system_id: "".into(),
        password: None,
        system_type: "".into(),
        binds: 1,
        window: 1,
        receipt_id: Default::default(),
    }
}

/// Hands orders to binds, and slots back as throttling eases.
async fn split(
    shared: Arc<Shared>,
    mut inbox: mpsc::Receiver<TextCommand>,
    changes: watch::Receiver<()>,
) {
    let mut tasks = JoinSet::new();
    let mut binds = Vec::new();
    for index in 0..shared.live().smpp.binds.max(1) as usize {
        let (to_bind, inbox) = mpsc::channel(BIND_INBOX);
        binds.push(to_bind);
        let seed = RandomState::new().hash_one(index);
        let task = BindTask::new(shared.clone(), index, inbox, changes.clone(), seed);
        tasks.spawn(task.run());
    }
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let recovers = shared.pool().deadline();
        let mut ends = false;
        tokio::select! {
            count = inbox.recv_many(&mut batch, BATCH) => {
                ends = count == 0;
                for command in batch.drain(..) {
                    match command {
                        TextCommand::Submit(order) => hand_over(&shared, &binds, order).await,
                        TextCommand::Finish(_) => ends = true,
                    }
                }
            }
            () = shared.throttled.notified() => {}
            () = at(recovers) => {
                let room = shared.pool().recover(Instant::now());
                if let Some(room) = room {
                    shared.say(CarrierEvent::Link(room)).await;
                }
            }
            _ = tasks.join_next() => ends = true, // binds end only when nobody listens any more
        }
        if ends {
            break;
        }
    }
    end(&shared, binds, tasks, &mut inbox).await;
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn hand_over(shared: &Shared, binds: &[mpsc::Sender<ToBind>], order: Box<TextOrder>) {
    let key = order.key;
    let place = shared.pool().place();
    if let Some(place) = place {
        let told = ToBind::Submit(order, place.concatenation);
        if binds[place.bind].try_send(told).is_ok() {
            return;
        }
        shared.pool().take_back(place.bind);
    }
    let outcome = unplaced(key);
    shared.say(CarrierEvent::Attempt(key, outcome.event)).await;
}

/// Every bind finishes what is in the air and unbinds, each within its own bound.
async fn end(
    shared: &Shared,
    binds: Vec<mpsc::Sender<ToBind>>,
    mut tasks: JoinSet<()>,
    inbox: &mut mpsc::Receiver<TextCommand>,
) {
    shared.pool().drain();
    for to_bind in &binds {
        let _ = to_bind.try_send(ToBind::Drain);
    }
    drop(binds);
    let limit = shared.live().config.response_timeout * 2 + Duration::from_secs(3);
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = sleep(limit) => {}
    }
    tasks.shutdown().await;
    shared.slots.set(0);
    // What was handed to us while we were ending was never sent.
    inbox.close();
    while let Ok(command) = inbox.try_recv() {
        if let TextCommand::Submit(order) = command {
            let outcome = unplaced(order.key);
            shared
                .say(CarrierEvent::Attempt(outcome.key, outcome.event))
                .await;
        }
    }
}

#[cfg(test)]
mod tests;
