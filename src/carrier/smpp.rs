//! The SMPP carrier: texts over binds.
//!
//! [`start`] spawns one task per bind ([`bind`]) and one splitter, which hands each order to the bound bind with the
//! fewest. Nothing queues behind a dead carrier: without a bound session an order fails at once. What an SMPP
//! status means ends in [`status`], what a receipt means in [`receipts`].

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, sleep_until},
};

mod addresses;
mod bind;
mod orders;
mod receipts;
mod shared;
mod status;

use self::{
    bind::{Bind, ToBind},
    shared::Shared,
};
use super::{
    AttemptEvent, COMMANDS, CarrierEvent, CarrierMessage, Commit, Link, TextCarrier, TextCommand,
    TextOrder,
};
use crate::{
    cause::{Cause, Failure},
    config::carrier::{CarrierConfig, SmppConfig, Transport},
};

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
    tracing::error!(carrier = %config.name, transport = config.transport.name(), "started as an SMPP carrier");
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
    for index in 0..shared.loads.len() {
        let (to_bind, inbox) = mpsc::channel(BIND_INBOX);
        binds.push(to_bind);
        tasks.spawn(
            Bind {
                shared: shared.clone(),
                index,
                inbox,
                changes: changes.clone(),
                draining: false,
            }
            .run(),
        );
    }
    let mut batch = Vec::with_capacity(BATCH);
    let mut ease_at: Option<Instant> = None;
    loop {
        let easing = async {
            match ease_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
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
            () = shared.pressed.notified() => ease_at = shared.ease(Instant::now()).1,
            () = easing => {
                let (more, next) = shared.ease(Instant::now());
                ease_at = next;
                if more {
                    shared.say(CarrierEvent::Link(Link::Room)).await;
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

async fn hand_over(shared: &Shared, binds: &[mpsc::Sender<ToBind>], order: Box<TextOrder>) {
    let key = order.key;
    let given = match shared.least_loaded() {
        Some(index) => {
            shared.loads[index].orders.fetch_add(1, Ordering::Relaxed);
            binds[index].try_send(ToBind::Submit(order)).is_ok()
        }
        None => false,
    };
    if !given {
        let failure: Failure = Cause::CarrierFault.failure(None);
        shared
            .say(CarrierEvent::Attempt(key, AttemptEvent::Failed(failure)))
            .await;
    }
}

/// Every bind finishes what is in the air and unbinds, each within its own bound.
async fn end(
    shared: &Shared,
    binds: Vec<mpsc::Sender<ToBind>>,
    mut tasks: JoinSet<()>,
    inbox: &mut mpsc::Receiver<TextCommand>,
) {
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
            shared
                .say(CarrierEvent::Attempt(
                    order.key,
                    AttemptEvent::Failed(Cause::CarrierFault.failure(None)),
                ))
                .await;
        }
    }
}

#[cfg(test)]
mod tests;
