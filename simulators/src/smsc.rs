//! A simulated SMSC: SMPP 3.4, server side.
//!
//! ```text
//!   socket <-> driver <-> centre (sessions, accounts, timers)
//!                           |-- taking: is the submit sound, does the script refuse it, who is the person
//!                           |-- decided: the same questions, answered by somebody else
//!                           |-- delivery, receipt: what goes back, when, with which id
//!                           \-- pdu, write, alphabet, parts: SMPP and GSM 03.38 / 03.40 as octets
//! ```
//!
//! Everything but [`driver`] is a machine without sockets and clocks. It is strict: a PDU that breaks a rule of
//! the standard is refused *and* written into the record as a `protocol_error`, so that a test may want none.

use crate::record::Record;
use crate::script::Script;
use crate::subscriber::Habits;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

mod accounts;
pub mod alphabet;
pub mod centre;
pub mod decided;
pub mod delivery;
mod driver;
pub mod parts;
pub mod pdu;
pub mod receipt;
pub mod session;
mod taking;
pub mod timers;
pub mod write;

/// How a simulated SMSC is set up.
#[derive(Clone, Debug)]
pub struct SmscConfig {
    /// The carrier's name in the record.
    pub name: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `system_id` and password wanted of a bind; none: any.
    pub credentials: Option<(String, String)>,
    /// deliver_sm without an answer, per session.
    pub receipt_window: usize,
    /// A session that is quiet for so long gets an enquire_link; none: never.
    pub probe: Option<Duration>,
    /// How quick people and networks are.
    pub habits: Habits,
    /// Of the dice.
    pub seed: u64,
    /// What goes wrong.
    pub script: Script,
    /// What is remembered.
    pub record: Record,
}

impl Default for SmscConfig {
    fn default() -> Self {
        SmscConfig {
            name: "smsc".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            credentials: None,
            receipt_window: 500,
            probe: Some(Duration::from_secs(30)),
            habits: Habits::default(),
            seed: 1,
            script: Script::default(),
            record: Record::new(),
        }
    }
}

/// A simulated SMSC.
pub struct Smsc;

impl Smsc {
    /// Listen and serve, on the current tokio runtime.
    pub async fn start(config: SmscConfig) -> io::Result<SmscHandle> {
        driver::start(config).await
    }
}

/// A running SMSC. It ends when this is dropped, or properly by [`SmscHandle::stop`].
pub struct SmscHandle {
    address: SocketAddr,
    script: Script,
    record: Record,
    name: String,
    driver: driver::Driver,
}

impl SmscHandle {
    /// Where it listens; the same after it was down and came back.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The carrier's name in the record.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What goes wrong, live: `smsc.faults().change(|f| f.down = true)`.
    pub fn faults(&self) -> &Script {
        &self.script
    }

    /// What the phones saw.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The person at `person` sends `text` to `sender` (a short code, or `+` and a number) by deliver_sm.
    /// False: no gateway was ever bound.
    pub fn text_from(&self, person: &str, sender: &str, text: &str) -> bool {
        self.driver.text_from(person, sender, text)
    }

    /// Unbind every session, close, and end.
    pub async fn stop(self) {
        self.driver.stop().await;
    }
}

#[cfg(test)]
mod tests;
