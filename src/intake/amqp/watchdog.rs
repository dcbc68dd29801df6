//! Looks whether jobs come at all: messages wait in the queue, the consumer has room, and nothing arrives. Then the
//! consumer is no good, whatever the client library believes, and the connection is made anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lapin::{Channel, options::QueueDeclareOptions, types::FieldTable};

use crate::broker::{ANSWER, BrokerError, Link, short, within};

/// What a consumer's side of the channel has seen.
#[derive(Debug, Default)]
pub(super) struct Progress {
    came: AtomicU64,
    room: AtomicBool,
}

impl Progress {
    pub fn came(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// Would a delivery be taken now?
    pub fn set_room(&self, room: bool) {
        self.room.store(room, Ordering::Relaxed);
    }
}

/// Ends with the reason once the queue's consumer is no good. A queue whose length isn't said counts as one in which
/// messages wait: its broker is silent, or parted from the queue's members.
pub(super) async fn watch(
    link: &Link,
    queue: &str,
    progress: Arc<Progress>,
    limit: Duration,
) -> BrokerError {
    let (mut channel, mut watchdog) = (None, Watchdog::default());
    loop {
        tokio::time::sleep(limit / LOOKS).await;
        let looked = waiting(link, &mut channel, queue).await;
        let (waiting, silent) = match looked {
            Ok(waiting) => (waiting, None),
            Err(reason @ BrokerError::Unanswered { .. }) => {
                channel = None;
                (1, Some(reason))
            }
            Err(reason) => {
                // While its leader changes, a queue can't be looked at. The channel has ended with that.
                tracing::debug!(queue, %reason, "the queue's length can't be read");
                channel = None;
                tokio::time::sleep(limit).await;
                continue;
            }
        };
        let room = progress.room.load(Ordering::Relaxed);
        if watchdog.stuck(Instant::now(), waiting, progress.count(), room, limit) {
            return silent.unwrap_or_else(|| BrokerError::Stuck {
                waiting,
                queue: queue.to_owned(),
                quiet: limit,
            });
        }
    }
}

async fn waiting(
    link: &Link,
    channel: &mut Option<Channel>,
    queue: &str,
) -> Result<u32, BrokerError> {
    let channel = match channel {
        Some(channel) => channel,
        None => channel.insert(link.channel().await?),
    };
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(short(queue), options, FieldTable::default());
    let queue = within(ANSWER, "looking at the queue", declared).await?;
    Ok(queue.message_count())
}

/// Pure.
#[derive(Debug, Default)]
struct Watchdog {
    came: u64,
    since: Option<Instant>,
}

impl Watchdog {
    fn stuck(
        &mut self,
        now: Instant,
        waiting: u32,
        came: u64,
        room: bool,
        limit: Duration,
    ) -> bool {
        if waiting == 0 || !room || came != self.came {
            self.came = came;
            self.since = None;
            return false;
        }
        now.duration_since(*self.since.get_or_insert(now)) >= limit
    }
}

/// Looks within the limit.
const LOOKS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_limit_without_any_delivery_counts() {
        let (start, limit) = (Instant::now(), Duration::from_secs(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut dog = Watchdog::default();
        assert!(!dog.stuck(at(0), 5, 0, true, limit));
        assert!(!dog.stuck(at(20), 5, 1, true, limit), "one came");
        assert!(!dog.stuck(at(30), 5, 1, true, limit));
        assert!(!dog.stuck(at(50), 0, 1, true, limit), "none waits");
        assert!(!dog.stuck(at(60), 5, 1, true, limit));
        assert!(!dog.stuck(at(70), 5, 1, false, limit), "no room for any");
        assert!(!dog.stuck(at(80), 5, 1, true, limit));
        assert!(!dog.stuck(at(109), 5, 1, true, limit));
        assert!(dog.stuck(at(110), 5, 1, true, limit));
    }
}
