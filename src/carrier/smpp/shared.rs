//! What the binds of one carrier share: who is bound, how full each is, the slots that dispatch sees, the link.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};

use super::status::Statuses;
use crate::{
    carrier::{CarrierEvent, CarrierMessage, Link, Slots, throttle::ThrottleLimiter},
    config::carrier::{CarrierConfig, SmppConfig},
};

pub struct Shared {
    pub name: Arc<str>,
    live: ArcSwap<Live>,
    pub slots: Slots,
    pub loads: Vec<Load>,
    /// Wakes the splitter when pressure has begun.
    pub pressed: Notify,
    said: mpsc::Sender<CarrierMessage>,
    pool: Mutex<Pool>,
    concatenation: AtomicU8,
}

/// What may change while the sessions stay.
pub struct Live {
    pub config: Arc<CarrierConfig>,
    pub smpp: SmppConfig,
    pub statuses: Arc<Statuses>,
}

impl Live {
    fn new(config: Arc<CarrierConfig>, smpp: SmppConfig) -> Live {
        Live {
            statuses: Arc::new(Statuses::new(&config.status)),
            config,
            smpp,
        }
    }
}

/// One bind as the splitter sees it.
#[derive(Default)]
pub struct Load {
    pub bound: AtomicBool,
    /// Orders given to it that have no outcome yet.
    pub orders: AtomicU32,
}

#[derive(Default)]
struct Pool {
    bound: u32,
    throttle: ThrottleLimiter,
    /// What was last said to be wrong, while no session is bound.
    down: Option<Arc<str>>,
}

impl Shared {
    pub fn new(
        config: Arc<CarrierConfig>,
        smpp: SmppConfig,
        said: mpsc::Sender<CarrierMessage>,
    ) -> Shared {
        let loads = (0..smpp.binds.max(1)).map(|_| Load::default()).collect();
        // After a restart another reference than before: an old part must not join a new text.
        let seed = crate::clock::now().0 as u8;
        Shared {
            name: config.name.clone(),
            live: ArcSwap::from_pointee(Live::new(config, smpp)),
            slots: Slots::default(),
            loads,
            pressed: Notify::new(),
            said,
            pool: Mutex::default(),
            concatenation: AtomicU8::new(seed),
        }
    }

    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Another configuration for the same sessions.
    pub fn change(&self, config: Arc<CarrierConfig>, smpp: SmppConfig) {
        let pool = self.pool();
        self.live.store(Arc::new(Live::new(config, smpp)));
        self.count_slots(&pool);
    }

    /// Says something to dispatch; false once nobody listens any more. Waits while dispatch is behind.
    pub async fn say(&self, what: CarrierEvent) -> bool {
        self.said
            .send(CarrierMessage {
                carrier: self.name.clone(),
                what,
            })
            .await
            .is_ok()
    }

    /// Dispatch is so far behind that the rest of its channel is kept for the answers to submits.
    pub fn is_behind(&self) -> bool {
        self.said.capacity() < self.said.max_capacity() / ANSWERS_SHARE
    }

    /// The bound bind with the fewest orders.
    pub fn least_loaded(&self) -> Option<usize> {
        let bound = self
            .loads
            .iter()
            .enumerate()
            .filter(|(_, load)| load.bound.load(Ordering::Acquire));
        bound
            .min_by_key(|(_, load)| load.orders.load(Ordering::Relaxed))
            .map(|(index, _)| index)
    }

    pub fn session_bound(&self, bind: usize) -> Link {
        let mut pool = self.pool();
        self.loads[bind].bound.store(true, Ordering::Release);
        pool.bound += 1;
        pool.down = None;
        self.count_slots(&pool);
        if pool.bound == 1 {
            Link::Up
        } else {
            Link::Room
        }
    }

    /// A bound session is gone. The slots are less before anything is said.
    pub fn session_lost(&self, bind: usize, reason: &str) -> Option<Link> {
        let mut pool = self.pool();
        self.loads[bind].bound.store(false, Ordering::Release);
        pool.bound = pool.bound.saturating_sub(1);
        self.count_slots(&pool);
        down(&mut pool, reason)
    }

    /// No session came to be; said once for each reason, while none is bound.
    pub fn connect_failed(&self, reason: &str) -> Option<Link> {
        down(&mut self.pool(), reason)
    }

    /// The carrier says that it is full.
    pub fn throttled(&self, now: Instant) {
        let mut pool = self.pool();
        let all = self.all(&pool);
        pool.throttle.throttled(all, None, now);
        self.count_slots(&pool);
        self.pressed.notify_one();
    }

    /// Gives slots back as time allows: whether there are more, and when to ask again.
    pub fn ease(&self, now: Instant) -> (bool, Option<Instant>) {
        let mut pool = self.pool();
        let all = self.all(&pool);
        let more = pool.throttle.recover(all, now);
        self.count_slots(&pool);
        (more && pool.bound > 0, pool.throttle.next_deadline())
    }

    /// The reference of the next text in several parts: one sequence for all binds.
    pub fn next_concatenation(&self) -> u8 {
        self.concatenation.fetch_add(1, Ordering::Relaxed)
    }

    fn all(&self, pool: &Pool) -> u32 {
        pool.bound.saturating_mul(self.live.load().smpp.window)
    }

    fn count_slots(&self, pool: &Pool) {
        self.slots.set(pool.throttle.slots(self.all(pool)));
    }

    /// Nothing panics while it is held.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quarter of the channel to dispatch is never taken by what carriers bring.
const ANSWERS_SHARE: usize = 4;

fn down(pool: &mut Pool, reason: &str) -> Option<Link> {
    if pool.bound > 0 || pool.down.as_deref() == Some(reason) {
        return None;
    }
    let reason: Arc<str> = reason.into();
    pool.down = Some(reason.clone());
    Some(Link::Down { reason })
}
