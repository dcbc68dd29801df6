//! A carrier's SIP trunk with the phones behind it: takes calls over UDP and TCP on one port.
//!
//! ```text
//!   driver (sockets, clock)  ->  exchange (signalling, pure)  ->  hub (media thread)  ->  talk, person (pure)
//!                                       \__ ended calls __________ ear (what was heard) __ record
//! ```
//!
//! Everything here is the simulators' own, down to the tables of G.711: read `sip`, `sdp`, `digest` for the
//! signalling's words, `exchange` for what happens to a call, `talk` and `person` for who listens and presses.

pub mod call;
pub mod digest;
mod driver;
pub mod exchange;
pub mod g711;
mod hub;
mod listening;
pub mod md5;
pub mod person;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod stats;
pub mod talk;
mod tcp;
pub mod tones;

use crate::record::Record;
use crate::script::Script;
use crate::subscriber::Habits;
use digest::Credentials;
use exchange::Exchange;
use stats::{Counts, Spread};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a trunk is started with.
#[derive(Clone, Debug)]
pub struct TrunkConfig {
    /// The carrier's name in the record.
    pub name: String,
    /// Where to listen, UDP and TCP; port 0 takes a free one. Media uses the same host.
    pub listen: SocketAddr,
    /// Username and password asked for by 401; none: nobody is asked.
    pub credentials: Option<(String, String)>,
    /// Ask by 407 instead.
    pub proxy_challenge: bool,
    /// Ports of media; none: the system's choice.
    pub rtp_ports: Option<RangeInclusive<u16>>,
    /// False: calls are answered, but no media is sent and none is heard; for load without it.
    pub media: bool,
    /// Where the recordings are that the gateway plays (`prompts/<locale>/*.wav`); none: nothing is recognised.
    pub prompts: Option<PathBuf>,
    /// False: nothing is recognised and no audio is kept.
    pub ear: bool,
    /// Louder or softer on the way to the person (dB).
    pub gain_db: f32,
    /// How quick people are.
    pub habits: Habits,
    /// Of the dice.
    pub seed: u64,
    /// What goes wrong.
    pub script: Script,
    /// What is remembered.
    pub record: Record,
}

impl Default for TrunkConfig {
    fn default() -> Self {
        TrunkConfig {
            name: "trunk".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            credentials: None,
            proxy_challenge: false,
            rtp_ports: None,
            media: true,
            prompts: None,
            ear: true,
            gain_db: 0.0,
            habits: Habits::default(),
            seed: 1,
            script: Script::default(),
            record: Record::new(),
        }
    }
}

impl TrunkConfig {
    fn asks_for(&self) -> Option<Credentials> {
        let (username, password) = self.credentials.clone()?;
        Some(Credentials {
            username,
            password,
            proxy: self.proxy_challenge,
        })
    }
}

/// The trunk.
pub struct Trunk;

impl Trunk {
    /// Listen and take calls, on the current tokio runtime.
    pub async fn start(config: TrunkConfig) -> io::Result<TrunkHandle> {
        driver::start(config).await
    }
}

/// A running trunk. It ends when this is dropped, or properly by [`TrunkHandle::stop`].
pub struct TrunkHandle {
    address: SocketAddr,
    script: Script,
    record: Record,
    exchange: Arc<Mutex<Exchange>>,
    /// Calls in the record.
    written: Arc<AtomicU64>,
    media: Arc<hub::Shared>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Counts, and how regularly media came.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Of the signalling.
    pub counts: Counts,
    /// Times between media packets that directly follow each other, all calls together.
    pub spacing: Spread,
}

impl TrunkHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes wrong; may be changed at any time.
    pub fn faults(&self) -> &Script {
        &self.script
    }

    /// What the phones saw and heard.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Calls that ring or are up.
    pub fn live_calls(&self) -> u64 {
        self.exchange().counts().live
    }

    /// Calls that aren't in the record yet: they ring, are up, wait for the end of their signalling or for the ear.
    pub fn unwritten_calls(&self) -> u64 {
        let begun = self.exchange().begun();
        begun.saturating_sub(self.written.load(Ordering::Acquire))
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        Stats {
            counts: self.exchange().counts(),
            spacing: self.media.spacing(),
        }
    }

    /// Stop: calls that are up are written down as ended by the trunk.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        // Nothing panics while it is held; a poisoned lock still holds whole values.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TrunkHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
