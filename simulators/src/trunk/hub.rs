//! The media of all calls, on one thread: receives as packets come, sends each call's packet every 20 ms.
//!
//! Owns the sockets and the clock of [`Talk`]s. Calls are spread over twenty slots of a millisecond, so that
//! hundreds of them don't send in one burst. The signalling gives [`Order`]s and gets [`Heard`] back; both
//! lists are bounded by the number of calls, for each call gives and gets a handful.

use super::exchange::Heard;
use super::stats::Spread;
use super::talk::{Talk, Terms};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What the signalling asks.
#[derive(Debug)]
pub enum Order {
    /// Begin on this socket.
    Talk(u64, UdpSocket, Box<Terms>),
    /// The person has picked up.
    Answered(u64),
    /// End it, and tell.
    Hush(u64),
    /// End everything.
    Stop,
}

/// The signalling's end.
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What both threads see.
#[derive(Debug)]
pub struct Shared {
    orders: Mutex<Vec<Order>>,
    heard: Mutex<Vec<(u64, Heard)>>,
    spacing: Mutex<Spread>,
    /// Bits of the share of packets lost.
    loss: AtomicU64,
    waker: Waker,
    told: Notify,
}

impl Hub {
    /// Start the thread.
    pub fn start(name: &str) -> io::Result<Hub> {
        let poll = Poll::new()?;
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            heard: Mutex::default(),
            spacing: Mutex::default(),
            loss: AtomicU64::new(0),
            waker: Waker::new(poll.registry(), WAKE)?,
            told: Notify::new(),
        });
        let worker = Worker {
            shared: shared.clone(),
            poll,
            talks: HashMap::new(),
            slots: vec![Vec::new(); SLOTS],
            last: 0,
            started: Instant::now(),
            buffer: vec![0; DATAGRAM],
        };
        let thread = std::thread::Builder::new()
            .name(format!("media-{name}"))
            .spawn(move || worker.run())?;
        Ok(Hub {
            shared,
            thread: Some(thread),
        })
    }

    /// Give an order.
    pub fn order(&self, order: Order) {
        lock(&self.shared.orders).push(order);
        // Without a waker the thread still looks at its orders with every slot.
        let _ = self.shared.waker.wake();
    }

    /// Share of packets lost from now on, both ways.
    pub fn set_loss(&self, share: f64) {
        self.shared.loss.store(share.to_bits(), Ordering::Relaxed);
    }

    /// What calls have said since the last time.
    pub fn heard(&self) -> Vec<(u64, Heard)> {
        std::mem::take(&mut *lock(&self.shared.heard))
    }

    /// Wait until calls say something.
    pub async fn told(&self) {
        self.shared.told.notified().await;
    }

    /// For reading the spacing while it runs.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

impl Shared {
    /// Times between packets that directly follow each other.
    pub fn spacing(&self) -> Spread {
        lock(&self.spacing).clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    talks: HashMap<u64, (UdpSocket, Talk)>,
    /// Calls by the millisecond of their 20 in which they send.
    slots: Vec<Vec<u64>>,
    /// Milliseconds since `started` whose slots are done.
    last: u64,
    started: Instant,
    buffer: Vec<u8>,
}

impl Worker {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.until_next_slot();
            // With many calls, packets are gathered for a slot: one wake-up for all of them.
            if self.talks.len() > GATHER_ABOVE
                && let Some(timeout) = timeout
            {
                std::thread::sleep(timeout);
            }
            let wait = if self.talks.len() > GATHER_ABOVE {
                Some(Duration::ZERO)
            } else {
                timeout
            };
            if let Err(fault) = self.poll.poll(&mut events, wait)
                && fault.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%fault, "media: cannot wait for packets; no call on this trunk is heard any more");
                return;
            }
            if !self.follow_orders() {
                return;
            }
            let ready: Vec<u64> = events
                .iter()
                .map(|event| event.token())
                .filter(|t| *t != WAKE)
                .map(|t| t.0 as u64)
                .collect();
            let loss = f64::from_bits(self.shared.loss.load(Ordering::Relaxed));
            self.receive(&ready, loss);
            self.send(loss);
        }
    }

    fn milliseconds(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// None while there are no calls.
    fn until_next_slot(&self) -> Option<Duration> {
        if self.talks.is_empty() {
            return None;
        }
        let now = self.last + 1;
        let busy = (0..SLOTS as u64)
            .find(|ahead| !self.slots[((now + ahead) % SLOTS as u64) as usize].is_empty());
        let at = self.started + Duration::from_millis(now + busy.unwrap_or(0));
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// False at the end.
    fn follow_orders(&mut self) -> bool {
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            match order {
                Order::Talk(id, mut socket, terms) => {
                    if self.talks.is_empty() {
                        self.last = self.milliseconds();
                    }
                    let registered = self.poll.registry().register(
                        &mut socket,
                        Token(id as usize),
                        Interest::READABLE,
                    );
                    if let Err(fault) = registered {
                        tracing::warn!(%fault, "media: a call's socket cannot be watched; nothing is heard on it");
                    }
                    self.emptiest_slot().push(id);
                    self.talks.insert(id, (socket, Talk::new(*terms)));
                }
                Order::Answered(id) => {
                    if let Some((_, talk)) = self.talks.get_mut(&id) {
                        talk.answer(Instant::now());
                    }
                }
                Order::Hush(id) => {
                    for slot in &mut self.slots {
                        slot.retain(|other| *other != id);
                    }
                    // What lies in the socket was heard.
                    self.receive(
                        &[id],
                        f64::from_bits(self.shared.loss.load(Ordering::Relaxed)),
                    );
                    if let Some((mut socket, talk)) = self.talks.remove(&id) {
                        let _ = self.poll.registry().deregister(&mut socket);
                        self.tell(id, Heard::Ended(Box::new(talk.end())));
                    }
                }
                Order::Stop => return false,
            }
        }
        true
    }

    fn emptiest_slot(&mut self) -> &mut Vec<u64> {
        let place = (0..SLOTS)
            .min_by_key(|slot| self.slots[*slot].len())
            .unwrap_or(0);
        &mut self.slots[place]
    }

    fn receive(&mut self, ready: &[u64], loss: f64) {
        let mut spacings = Vec::new();
        let mut left = Vec::new();
        for id in ready {
            let Some((socket, talk)) = self.talks.get_mut(id) else {
                continue;
            };
            for round in 0.. {
                if round == MAX_AT_ONCE {
                    left.push(*id);
                    break;
                }
                match socket.recv_from(&mut self.buffer) {
                    Ok((length, from)) => {
                        let now = Instant::now();
                        spacings.extend(talk.packet(&self.buffer[..length], from, loss, now));
                    }
                    Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP message about a packet of ours; the next read goes on.
                    Err(_) => {}
                }
            }
        }
        if !spacings.is_empty() {
            let mut spread = lock(&self.shared.spacing);
            for spacing in spacings {
                spread.add(spacing);
            }
        }
        // The readiness is told once: ask again for what was left.
        for id in left {
            if let Some((socket, _)) = self.talks.get_mut(&id) {
                let _ =
                    self.poll
                        .registry()
                        .reregister(socket, Token(id as usize), Interest::READABLE);
            }
        }
    }

    fn send(&mut self, loss: f64) {
        let now_ms = self.milliseconds();
        // After a stall, at most one round is made up for.
        self.last = self.last.max(now_ms.saturating_sub(SLOTS as u64));
        let mut said = Vec::new();
        let mut packet = Vec::with_capacity(DATAGRAM);
        while self.last < now_ms {
            self.last += 1;
            for id in &self.slots[(self.last % SLOTS as u64) as usize] {
                let Some((socket, talk)) = self.talks.get_mut(id) else {
                    continue;
                };
                packet.clear();
                if let Some(doing) = talk.tick(loss, Instant::now(), &mut packet) {
                    said.push((*id, doing));
                }
                if !packet.is_empty() {
                    // A full buffer or an ICMP message: the packet is lost, as packets are.
                    let _ = socket.send_to(&packet, talk.remote());
                }
            }
        }
        for (id, doing) in said {
            self.tell(id, Heard::Does(doing));
        }
    }

    fn tell(&self, id: u64, heard: Heard) {
        lock(&self.shared.heard).push((id, heard));
        self.shared.told.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while these are held; a poisoned lock still holds whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const WAKE: Token = Token(usize::MAX);
/// Slots of a millisecond in 20 ms.
const SLOTS: usize = 20;
/// Calls above which packets are gathered per slot.
const GATHER_ABOVE: usize = 40;
/// Datagrams read from one socket in a row.
const MAX_AT_ONCE: usize = 64;
const DATAGRAM: usize = 2048;
