//! The wall clock: the one place that reads it. Pure modules get their time as an argument.

use std::time::{Instant, SystemTime};

use crate::challenge::Millis;

/// One moment on both clocks: the wall's, which outlives the process, and the one that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub wall: Millis,
    pub mono: Instant,
}

impl Now {
    pub fn read() -> Now {
        Now {
            wall: now(),
            mono: Instant::now(),
        }
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
