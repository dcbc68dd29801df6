//! Audio of all calls of a trunk: sockets, one thread and its timer around `protocol::rtp`.
//!
//! The SIP driver opens a port for a call's SDP, connects it to the address the far end has signalled, plays and
//! closes; keys and ends of playing come back on one bounded channel. Packets from anywhere but the signalled address
//! are refused: the address is never learned from what arrives, or digits could be forged.
//!
//! One thread ticks every [`TICK`]: it sends half of the calls their packet and visits the sockets of all. That costs less
//! than a wake-up per packet or a timer per call, and keys of a regular stream wait no longer than a tick. No `unsafe`:
//! with a socket per call there is nothing to batch in one system call.

mod call;
mod engine;
mod ports;

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::protocol::rtp::{Codec, Key, KeySource, Segment, StreamConfig};
use call::Call;
use engine::Slot;
use ports::Ports;

pub use ports::OpenError;

/// Where the audio of a trunk lives.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The local address of all audio sockets.
    pub address: IpAddr,
    /// The range of ports; RTP takes the even ones, RTCP the odd one above.
    pub first_port: u16,
    pub last_port: u16,
    /// Calls open at once.
    pub max_calls: usize,
    /// Of the first sequence numbers, timestamps and SSRCs: a fresh random number in production.
    pub seed: u64,
}

/// One call's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(u64);

impl MediaId {
    /// Of audio that somebody else than the engine keeps.
    pub fn of(number: u64) -> MediaId {
        MediaId(number)
    }
}

/// An open pair of sockets: what the SDP offer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPort {
    pub id: MediaId,
    pub local: SocketAddr,
}

/// What SDP has agreed on for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The far end's address as signalled: packets go there and are taken from there alone.
    pub remote: SocketAddr,
    /// The far end wants to hear us. On hold nothing is sent, and tones in what it plays are no keys.
    pub hears: bool,
    /// Another port of the same address will do, the first that audio comes from (RFC 4961). Packets go there then.
    pub symmetric: bool,
    pub codec: Codec,
    /// The payload type of telephone-event, if the answer has it.
    pub key_type: Option<u8>,
}

impl Connection {
    /// An address of zeros or of everybody is no place, whatever SDP says.
    fn is_a_place(&self) -> bool {
        let ip = self.remote.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        !ip.is_unspecified() && !ip.is_multicast() && !broadcast && self.remote.port() != 0
    }
}

/// What the driver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    Key {
        id: MediaId,
        key: Key,
        source: KeySource,
        at: Instant,
    },
    /// The play of this tag has been sent to its end.
    PlayDone { id: MediaId, tag: u32 },
    /// The far end has sent audio, and none for [`SILENCE`], nor more often than that.
    Silent { id: MediaId },
}

/// The figures of one call's audio.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaStats {
    pub sent: u64,
    /// Packets that the socket did not take.
    pub unsent: u64,
    pub received: u64,
    pub lost: u64,
    pub jitter_ms: f64,
    /// Packets from before an address was signalled, or from elsewhere.
    pub early: u64,
    /// Packets from the right address that were no RTP of this call.
    pub ignored: u64,
}

impl MediaStats {
    /// So much was sent to a far end that nothing came from that this is odd: two seconds of packets.
    pub fn is_one_way(&self) -> bool {
        self.received == 0 && self.sent >= ONE_WAY_AFTER
    }
}

/// The audio engine of a trunk. Dropping it ends its thread and closes all sockets.
pub struct Engine {
    shared: Arc<Shared>,
    open: Mutex<HashMap<MediaId, Slot>>,
    thread: Option<JoinHandle<()>>,
    ports: Ports,
    next_id: AtomicU64,
    max_calls: usize,
    seed: u64,
}

/// What the engine's owner and its thread share.
#[derive(Default)]
struct Shared {
    /// Open calls that the thread has not seen yet.
    joining: Mutex<Vec<(MediaId, Slot)>>,
    calls: AtomicUsize,
    stop: AtomicBool,
    /// Events dropped because nobody took them for very long.
    dropped: AtomicU64,
}

impl Engine {
    /// Starts the thread. The receiver brings the events of all calls.
    pub fn start(config: EngineConfig) -> io::Result<(Engine, mpsc::Receiver<MediaEvent>)> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("ringback-media".into())
            .spawn(move || engine::run(&of_thread, events))?;
        let engine = Engine {
            shared,
            open: Mutex::default(),
            thread: Some(thread),
            ports: Ports::new(config.address, config.first_port, config.last_port),
            next_id: AtomicU64::new(0),
            max_calls: config.max_calls,
            seed: config.seed,
        };
        Ok((engine, receiver))
    }

    /// Other addresses, ports and bounds for the calls to come; those that are open keep what they have.
    pub fn change(&mut self, address: IpAddr, ports: (u16, u16), max_calls: usize) {
        self.ports = Ports::new(address, ports.0, ports.1);
        self.max_calls = max_calls;
    }

    /// Opens a pair of sockets for a call.
    pub fn open(&self) -> Result<MediaPort, OpenError> {
        let taken = self.shared.calls.fetch_add(1, Ordering::AcqRel);
        if taken >= self.max_calls {
            self.shared.calls.fetch_sub(1, Ordering::AcqRel);
            return Err(OpenError::Full {
                max_calls: self.max_calls,
            });
        }
        let opened = self.ports.open().inspect_err(|_| {
            self.shared.calls.fetch_sub(1, Ordering::AcqRel);
        });
        let (rtp, rtcp, local) = opened?;
        let id = MediaId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let slot: Slot = Arc::new(Mutex::new(Some(Call::new(rtp, rtcp))));
        lock(&self.open).insert(id, slot.clone());
        lock(&self.shared.joining).push((id, slot));
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        Ok(MediaPort { id, local })
    }

    /// The far end is known, or has signalled another address: silence goes there from the next 20 ms on.
    /// What is playing goes on.
    pub fn connect(&self, id: MediaId, to: Connection) {
        let seed = self.seed.wrapping_add(id.0);
        let config = StreamConfig {
            codec: to.codec,
            key_type: to.key_type,
            seed,
        };
        self.with_call(id, |call| call.connect(to, config));
    }

    /// Plays this instead of what was playing; [`MediaEvent::PlayDone`] with `tag` comes at its end. Before
    /// [`Engine::connect`] there is nobody to play to, and nothing happens.
    pub fn play(&self, id: MediaId, tag: u32, segments: &[Segment]) {
        self.with_call(id, |call| call.play(tag, segments));
    }

    /// Sends silence; what was playing reports no end.
    pub fn hush(&self, id: MediaId) {
        self.with_call(id, Call::hush);
    }

    /// A key told by SIP INFO. True if it is a new press and not one already heard in the audio or as an event; no
    /// [`MediaEvent::Key`] comes for it.
    pub fn info(&self, id: MediaId, key: Key, now: Instant) -> bool {
        self.with_call(id, |call| call.info(now, key))
            .unwrap_or(false)
    }

    /// The call is over: closes its sockets. None if it was closed before.
    pub fn close(&self, id: MediaId) -> Option<MediaStats> {
        let slot = lock(&self.open).remove(&id)?;
        let call = lock(&slot).take()?;
        self.shared.calls.fetch_sub(1, Ordering::AcqRel);
        Some(call.stats())
    }

    /// The figures so far.
    pub fn stats(&self, id: MediaId) -> Option<MediaStats> {
        self.with_call(id, |call| call.stats())
    }

    /// Calls open now.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Acquire)
    }

    fn with_call<T>(&self, id: MediaId, act: impl FnOnce(&mut Call) -> T) -> Option<T> {
        let slot = lock(&self.open).get(&id)?.clone();
        lock(&slot).as_mut().map(act)
    }

    /// Events dropped since the start because the receiver was not read: anything but 0 is a fault of its reader.
    pub fn dropped_events(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread ends within a tick; if it has panicked there is nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} of {} calls)", self.calls(), self.max_calls)
    }
}

/// A panic in one call's work leaves the data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without audio for so long a far end may have vanished. Or it says nothing while it hears nothing (RFC 3551, section
/// 4.1), which is no fault: only asking by SIP tells.
pub const SILENCE: Duration = Duration::from_secs(20);
/// Packets, as [`MediaStats::is_one_way`] counts them.
const ONE_WAY_AFTER: u64 = 100;
/// The grid on which packets are sent. A divisor of 20 ms.
const TICK: Duration = Duration::from_millis(10);
/// Events on their way to the driver.
const EVENTS: usize = 4_096;

#[cfg(test)]
mod tests;
