//! The thread: every tick sends to the shard whose turn it is, and visits the sockets of all.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use metrics::counter;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{MediaEvent, MediaId, Shared, TICK, call::Call, lock};
use crate::protocol::rtp::{FRAME_TIME, Heard};

/// A call as its driver and the thread hold it: nothing in it once it is closed. Each has a lock of its own, so that
/// the driver never waits for a tick's work on others.
pub(super) type Slot = Arc<Mutex<Option<Call>>>;

/// The calls of a thread, in shards by the tick in which they are sent to.
#[derive(Default)]
struct Shards([Vec<(MediaId, Slot)>; SHARDS]);

impl Shards {
    fn join(&mut self, (id, slot): (MediaId, Slot)) {
        // The emptiest, so that all ticks have the same to do.
        if let Some(shard) = self.0.iter_mut().min_by_key(|shard| shard.len()) {
            shard.push((id, slot));
        }
    }

    fn receive(&mut self, now: Instant, tell: &mut Tell) {
        for shard in &mut self.0 {
            each(shard, |id, call| {
                call.receive(now, |Heard { key, source }| {
                    tell.tell(MediaEvent::Key {
                        id,
                        key,
                        source,
                        at: now,
                    })
                });
            });
        }
    }

    fn send(&mut self, turn: usize, now: Instant, tell: &mut Tell) {
        each(&mut self.0[turn % SHARDS], |id, call| {
            let turn = call.send(now);
            if let Some(tag) = turn.ended {
                tell.tell(MediaEvent::PlayDone { id, tag });
            }
            if turn.silent {
                tell.tell(MediaEvent::Silent { id });
            }
        });
    }

    fn skip(&mut self, frames: u32) {
        for shard in &mut self.0 {
            each(shard, |_, call| call.skip(frames));
        }
    }
}

/// Does something for each call, and leaves out from now on what is closed. A panic in one ends that one's audio, not
/// the others'.
fn each(shard: &mut Vec<(MediaId, Slot)>, mut act: impl FnMut(MediaId, &mut Call)) {
    shard.retain(|(id, slot)| {
        let mut slot = lock(slot);
        let Some(call) = slot.as_mut() else {
            return false;
        };
        if catch_unwind(AssertUnwindSafe(|| act(*id, call))).is_err() {
            error!(
                call = id.0,
                "the audio of a call has failed and is off; the call ends at its cap"
            );
            call.disconnect();
        }
        true
    });
}

/// The way to the driver: never blocks. What the channel has no room for waits here.
struct Tell<'a> {
    shared: &'a Shared,
    events: mpsc::Sender<MediaEvent>,
    waiting: VecDeque<MediaEvent>,
}

impl Tell<'_> {
    fn tell(&mut self, event: MediaEvent) {
        if self.waiting.is_empty()
            && let Ok(()) = self.events.try_send(event)
        {
            return;
        }
        if self.waiting.len() < WAITING_EVENTS {
            self.waiting.push_back(event);
        } else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&mut self) {
        while let Some(event) = self.waiting.front() {
            if self.events.try_send(*event).is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

/// The thread's life: until the engine is dropped.
pub(super) fn run(shared: &Shared, events: mpsc::Sender<MediaEvent>) {
    let mut tell = Tell {
        shared,
        events,
        waiting: VecDeque::new(),
    };
    // The grid of ticks. Packets are due on the grid, however late the thread wakes.
    let mut next = Instant::now();
    let (mut turn, mut shards) = (0, Shards::default());
    while !shared.stop.load(Ordering::Acquire) {
        lock(&shared.joining)
            .drain(..)
            .for_each(|call| shards.join(call));
        if shared.calls.load(Ordering::Acquire) == 0 {
            tell.flush();
            std::thread::park_timeout(IDLE);
            next = Instant::now();
            continue;
        }
        let now = Instant::now();
        if now < next {
            std::thread::sleep(next - now);
            continue;
        }
        next += pass_over(&mut shards, now - next);
        turn = (turn + 1) % SHARDS;
        // What is sent first keeps its time best.
        shards.send(turn, now, &mut tell);
        shards.receive(now, &mut tell);
        tell.flush();
        next += TICK;
    }
}

/// After a stall a few packets are made up for; the rest of the time is passed over, and its length given back.
fn pass_over(shards: &mut Shards, late: Duration) -> Duration {
    let frames = u32::try_from(late.as_millis() / FRAME_TIME.as_millis()).unwrap_or(u32::MAX);
    if frames <= MADE_UP_FOR {
        return Duration::ZERO;
    }
    shards.skip(frames);
    counter!("ringback_audio_pauses_total").increment(1);
    warn!(
        ms = late.as_millis(),
        "no audio could be sent for a while, and every call heard a pause: this machine is too busy"
    );
    FRAME_TIME * frames
}

/// Parts of the calls, each sent to in its own tick of the 20 ms.
const SHARDS: usize = (FRAME_TIME.as_millis() / TICK.as_millis()) as usize;
/// Packets sent at once after a stall: a far end's jitter buffer commonly holds 60 to 200 ms, and plays them as if nothing
/// had been. More would be thrown away there, and words with them; a pause costs none.
const MADE_UP_FOR: u32 = 5;
/// Events kept while the channel is full.
const WAITING_EVENTS: usize = 65_536;
/// How long a thread without calls sleeps; opening a call wakes it.
const IDLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        carrier::sip::media::{Connection, call::Turn, ports::Ports},
        protocol::rtp::{Codec, StreamConfig},
    };
    use std::net::{IpAddr, Ipv4Addr};

    fn call() -> Call {
        let (rtp, rtcp, _) = Ports::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 34_000, 39_999)
            .open()
            .unwrap();
        Call::new(rtp, rtcp)
    }

    #[test]
    fn a_full_channel_delays_events_and_loses_none() {
        let shared = Shared::default();
        let (events, mut receiver) = mpsc::channel(2);
        let mut tell = Tell {
            shared: &shared,
            events,
            waiting: VecDeque::new(),
        };
        let event = |tag| MediaEvent::PlayDone {
            id: MediaId(0),
            tag,
        };
        (0..10).for_each(|tag| tell.tell(event(tag)));
        let mut came = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            came.push(event);
            tell.flush();
        }
        assert_eq!(came, (0..10).map(event).collect::<Vec<_>>());
        // Past its bound it counts what it drops.
        (0..WAITING_EVENTS as u32 + 5).for_each(|tag| tell.tell(event(tag)));
        assert_eq!(
            (tell.waiting.len(), shared.dropped.load(Ordering::Relaxed)),
            (WAITING_EVENTS, 3)
        );
    }

    #[test]
    fn a_panic_in_one_call_ends_its_audio_and_leaves_the_others() {
        let far_end = Connection {
            remote: "127.0.0.1:9".parse().unwrap(),
            hears: true,
            symmetric: false,
            codec: Codec::Pcmu,
            key_type: None,
        };
        let stream = StreamConfig {
            codec: Codec::Pcmu,
            key_type: None,
            seed: 1,
        };
        let slots: Vec<Slot> = (0..4).map(|_| Arc::new(Mutex::new(Some(call())))).collect();
        let mut shard: Vec<_> = (0..).map(MediaId).zip(slots.iter().cloned()).collect();
        each(&mut shard, |_, call| call.connect(far_end, stream));
        each(&mut shard, |_, call| {
            assert_eq!(call.send(Instant::now()), Turn::default())
        });
        each(&mut shard, |id, _| {
            assert_ne!(id, MediaId(1), "meant to panic")
        });
        each(&mut shard, |_, call| {
            assert_eq!(call.send(Instant::now()), Turn::default())
        });
        let sent = |slot: &Slot| lock(slot).take().unwrap().stats().sent;
        assert_eq!(sent(&slots[3]), 2);
        // That one is closed now, and left out.
        each(&mut shard, |id, _| assert_ne!(id, MediaId(3)));
        let sent: Vec<u64> = slots[..3].iter().map(sent).collect();
        assert_eq!(sent, [2, 0, 2]);
    }
}
