//! What the core is given, what it takes just now, and what is left in it.

use std::sync::Arc;

use super::{late::Found, notice::Notices, observer::Observer};
use crate::{
    carrier::{CarrierMessage, DriverId},
    challenge::AttemptKey,
    config::Config,
    intake::Arrival,
    ledger::{Done, Epoch, NodeNews, ReportKey},
};

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// A job, a cancel or feedback.
    Arrival(Arrival),
    /// What a carrier's driver says.
    Carrier(CarrierMessage),
    /// A batch is durable: the answer to [`Output::Commit`].
    Committed(Done),
    /// Reports that the broker has confirmed, or that were given up.
    Published(Vec<ReportKey>),
    /// The answer to [`Output::LookUp`]; what is missing in it could not be asked.
    LookedUp(Vec<Found>),
    /// What this node hears of others that have the same ledger.
    Nodes(NodeNews),
    /// An order that its driver could not take.
    Undelivered(AttemptKey),
    DriverEnded(DriverId),
}

/// What the core takes just now: the rest waits where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Jobs.
    pub jobs: bool,
    /// All else but batches that are durable, which it always takes.
    pub rest: bool,
}

/// What is not yet over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    pub open: usize,
    /// Ended before the ledger has said whether their ids are new.
    pub uncommitted: usize,
    /// For a slot.
    pub waiting: usize,
    /// Orders that hold a slot.
    pub in_flight: usize,
    /// Receipts that nobody is known for yet.
    pub held: usize,
    pub committing: bool,
}

/// What the core consists of for as long as it runs.
pub struct CoreSettings {
    pub config: Arc<Config>,
    /// Is there a broker that reports go to?
    pub broker: bool,
    pub epoch: Epoch,
    pub observer: Box<dyn Observer>,
    pub notices: Notices,
}
