//! The clocks: the one place that reads them. Pure modules get their time as an argument.
//!
//! There are two times. What is *waited for* (deadlines, timers, windows, retention) goes by a time that never jumps: the
//! wall clock as it stood when the process began, and the monotonic time since (CLOCK_BOOTTIME, which counts through a
//! suspend). What is *said* (times in reports, signatures, an `issued_at` that somebody wrote) goes by the system's wall
//! clock. [`watch`] compares the two once a second: a step of the wall clock is logged and counted, and from then on what
//! is said differs from what is waited for by that much.
//!
//! A restart goes on with the same time: the ledger keeps a [`Mark`] of how it stood to the machine's own.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::challenge::Millis;

pub use mono::Mono;
pub use term::{TERM, Term, TermMark};

mod mono;
mod term;

/// One moment on both clocks: the wall's as it is waited for, which outlives the process, and the one of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall: Millis,
    pub mono: Mono,
    /// How far the system's wall clock stands ahead of `wall`, in milliseconds.
    pub ahead: i64,
}

impl Now {
    pub fn read() -> Now {
        Now {
            wall: now(),
            mono: mono::read(),
            ahead: ahead(),
        }
    }
}

/// Now, as it is waited for: in milliseconds since the Unix epoch, if the wall clock had never been set since the start.
pub fn now() -> Millis {
    Millis(boottime() + base())
}

/// How such a moment is said: by the wall clock as it stands.
pub fn said(at: Millis) -> Millis {
    said_by(at, AHEAD.load(Ordering::Relaxed))
}

/// The same, where the wall clock stands so far ahead ([`Now::ahead`]).
pub fn said_by(at: Millis, ahead: i64) -> Millis {
    Millis(at.0.saturating_add(ahead))
}

/// How far the system's wall clock stands ahead of what is waited for, in milliseconds.
pub fn ahead() -> i64 {
    AHEAD.load(Ordering::Relaxed)
}

/// A moment that somebody gave by the wall clock, as it is waited for from here on.
pub fn waited_for(wall: Millis) -> Millis {
    Millis(wall.0.saturating_sub(AHEAD.load(Ordering::Relaxed)))
}

/// The wall clock, for what others compare with theirs.
pub fn wall() -> Millis {
    said(now())
}

/// Seconds since the Unix epoch by the wall clock, as signatures write them.
pub fn unix_seconds() -> u64 {
    u64::try_from(wall().0 / 1_000).unwrap_or_default()
}

/// Looks at the system's wall clock once a second, for as long as it is polled.
pub async fn watch() {
    let mut tick = tokio::time::interval(CHECK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        check();
    }
}

/// Compares the two clocks; a step is told, and taken over for what is said.
pub fn check() {
    let ahead = system() - now().0;
    let before = AHEAD.swap(ahead, Ordering::Relaxed);
    let step = ahead - before;
    if step.unsigned_abs() >= STEP.as_millis() as u64 {
        metrics::counter!("ringback_clock_steps_total").increment(1);
        tracing::warn!(
            step_ms = step,
            "the system's wall clock was set: times in reports follow it, deadlines and timers of what is open do not move"
        );
    }
}

/// How the time that is waited for stands to the machine's own, for the next process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which life of the machine (a hash of its boot id).
    pub boot: i64,
    /// What is waited for less CLOCK_BOOTTIME, in milliseconds.
    pub base: i64,
    /// The wall clock less what is waited for, in milliseconds.
    pub ahead: i64,
}

pub fn mark() -> Mark {
    Mark {
        boot: boot(),
        base: base(),
        ahead: AHEAD.load(Ordering::Relaxed),
    }
}

/// The first ledger that this process opens says how its times were meant: they go on as they did. Later ones change
/// nothing.
pub fn go_on(from: Mark) {
    if !GOING_ON.swap(true, Ordering::Relaxed) {
        BASE_IS.store(
            from.base_at(boot(), boottime(), system()),
            Ordering::Relaxed,
        );
        AHEAD.store(system() - now().0, Ordering::Relaxed);
    }
}

impl Mark {
    /// The same life of the machine: the same base, wherever the wall clock was set meanwhile. Another: the wall clock is all
    /// there is to tell how long it was down, as far ahead as it was.
    fn base_at(self, boot: i64, boottime: i64, system: i64) -> i64 {
        if self.boot == boot {
            self.base
        } else {
            system - self.ahead - boottime
        }
    }
}

/// What reads the system's wall clock from now on: for tests, which set it.
pub fn inject(read: fn() -> Millis) {
    *SYSTEM.lock().unwrap_or_else(PoisonError::into_inner) = read;
}

fn base() -> i64 {
    match BASE_IS.load(Ordering::Relaxed) {
        UNSET => {
            let first = system() - boottime();
            let set = BASE_IS.compare_exchange(UNSET, first, Ordering::Relaxed, Ordering::Relaxed);
            set.map_or_else(|other| other, |_| first)
        }
        base => base,
    }
}

fn system() -> i64 {
    let read = *SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    read().0
}

fn system_clock() -> Millis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds since the machine was started, times of suspension included.
fn boottime() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

/// Which life of the machine this is; 0 where it doesn't say, which is another one every time.
fn boot() -> i64 {
    static BOOT: OnceLock<i64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let Ok(id) = std::fs::read("/proc/sys/kernel/random/boot_id") else {
            return i64::from(std::process::id()) + 1;
        };
        let hash = ring::digest::digest(&ring::digest::SHA256, &id);
        let octets = hash.as_ref().first_chunk::<8>();
        octets.map_or(0, |octets| i64::from_le_bytes(*octets))
    })
}

static BASE_IS: AtomicI64 = AtomicI64::new(UNSET);
static AHEAD: AtomicI64 = AtomicI64::new(0);
static GOING_ON: AtomicBool = AtomicBool::new(false);
/// Looked at once a second.
static SYSTEM: Mutex<fn() -> Millis> = Mutex::new(system_clock);
const UNSET: i64 = i64::MIN;
/// How often the wall clock is looked at.
const CHECK: Duration = Duration::from_secs(1);
/// Less is no step: the two clocks are never read at one moment.
const STEP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_goes_on_by_the_machine_s_own_time() {
        let hour = 3_600_000;
        let before = Mark {
            boot: 1,
            base: 1_000 * hour,
            ahead: 0,
        };
        // A restart after the wall clock was set two hours back: a deadline five minutes off is still five minutes off.
        let (boottime, wall) = (10 * hour, 1_010 * hour);
        assert_eq!(before.base_at(1, boottime, wall - 2 * hour), before.base);
        // The machine was started anew: an hour by the wall clock is an hour.
        let base = before.base_at(2, 60_000, wall + hour);
        assert_eq!(base + 60_000, wall + hour);
        // What was stored while the wall clock stood an hour ahead of what was waited for keeps to it.
        let ahead = Mark {
            ahead: hour,
            ..before
        };
        assert_eq!(ahead.base_at(2, 60_000, wall + hour) + 60_000, wall);
    }

    #[test]
    fn it_does_not_go_back() {
        let (mut last, end) = (now(), now() + Duration::from_millis(20));
        while last < end {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }
}
