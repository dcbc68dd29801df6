//! What the tasks of one carrier share: its file, its pool, and the way to dispatch.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};

use super::{
    bind::BindEvent,
    live::Live,
    pool::{Pool, PoolEvent},
};
use crate::{
    carrier::{CarrierEvent, CarrierMessage, Slots},
    config::carrier::{CarrierConfig, SmppConfig},
};

pub struct Shared {
    pub name: Arc<str>,
    live: ArcSwap<Live>,
    pub slots: Slots,
    /// Wakes the splitter when throttling has begun.
    pub throttled: Notify,
    said: mpsc::Sender<CarrierMessage>,
    pool: Mutex<Pool>,
}

/// A quarter of the channel to dispatch is never taken by what carriers bring.
const ANSWERS_SHARE: usize = 4;

impl Shared {
    pub fn new(
        config: Arc<CarrierConfig>,
        smpp: SmppConfig,
        said: mpsc::Sender<CarrierMessage>,
    ) -> Shared {
        let seed = crate::clock::now().0 as u8;
        let pool = Pool::new(smpp.binds as usize, smpp.window, seed);
        Shared {
            name: config.name.clone(),
            live: ArcSwap::from_pointee(Live::new(config, smpp)),
            slots: pool.slots().clone(),
            throttled: Notify::new(),
            said,
            pool: Mutex::new(pool),
        }
    }

    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Another configuration for the same sessions.
    pub fn change(&self, config: Arc<CarrierConfig>, smpp: SmppConfig) {
        self.pool().change(smpp.window);
        self.live.store(Arc::new(Live::new(config, smpp)));
    }

    /// Says something to dispatch; false once nobody listens any more. Waits while dispatch is behind.
    pub async fn say(&self, what: CarrierEvent) -> bool {
        let carrier = self.name.clone();
        let said = self.said.send(CarrierMessage { carrier, what }).await;
        said.is_ok()
    }

    /// Dispatch is so far behind that the rest of its channel is kept for the answers to submits.
    pub fn is_behind(&self) -> bool {
        self.said.capacity() < self.said.max_capacity() / ANSWERS_SHARE
    }

    /// What dispatch is told of a bind's event.
    pub fn heard(&self, bind: usize, event: BindEvent, now: Instant) -> Option<PoolEvent> {
        let mut pool = self.pool();
        let before = pool.deadline();
        let said = pool.heard(bind, event, now);
        if pool.deadline() != before {
            self.throttled.notify_one();
        }
        said
    }

    /// Nothing panics while it is held.
    pub fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
