//! The broker: connecting to it, what must stand there, and how it is doing.
//!
//! Shared by the consuming side (`intake::amqp`) and the publishing side (`report::publish`), which use a connection
//! each, because a broker that blocks publishers blocks their whole connection. Every wait has a limit of its own.
//! May not log an address with its password.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::Stream;
use lapin::{Channel, Connection, Event, types::ShortString};

use octets::cut::Cut;
use outage::{Arrival, Notice, Outage};

pub mod client;
mod connect;
pub mod dead_letters;
mod error;
pub(crate) mod octets;
pub(crate) mod outage;
mod topology;

pub(crate) use connect::{Turn, connect};
pub use error::{BrokerError, TlsFault};
pub use topology::{Plan, Topology};

/// How the two connections are doing, for `/readyz` and the page. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    consuming: AtomicBool,
    publishing: AtomicBool,
    blocked: AtomicBool,
    unroutable: AtomicUsize,
    neighbours: Mutex<Vec<String>>,
    nodes: Mutex<Nodes>,
}

/// Where the connections are to that stand, of several brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    pub jobs: Option<Arc<str>>,
    pub reports: Option<Arc<str>>,
}

impl Status {
    /// Both connections stand.
    pub fn connected(&self) -> bool {
        self.0.consuming.load(Ordering::Relaxed) && self.0.publishing.load(Ordering::Relaxed)
    }

    /// The broker takes no reports just now (memory or disk alarm).
    pub fn blocked(&self) -> bool {
        self.0.blocked.load(Ordering::Relaxed)
    }

    /// Reports that wait because no queue takes them.
    pub fn unroutable(&self) -> usize {
        self.0.unroutable.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unroutable(&self, waiting: usize) {
        self.0.unroutable.store(waiting, Ordering::Relaxed);
        metrics::gauge!("ringback_reports_returned_waiting").set(waiting as f64);
    }

    /// Other gateways, with ledgers of their own, that share the job exchange or a carrier account: their nodes' names.
    pub fn neighbours(&self) -> Vec<String> {
        let held = self.0.neighbours.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_neighbours(&self, nodes: Vec<String>) {
        metrics::gauge!("ringback_gateways_beside").set(nodes.len() as f64);
        let held = self.0.neighbours.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// Which brokers are used just now; none is named where only one is configured.
    pub fn nodes(&self) -> Nodes {
        let held = self.0.nodes.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection that jobs come by.
    pub(crate) fn set_consuming(&self, by: Option<&Link>) {
        self.0.consuming.store(by.is_some(), Ordering::Relaxed);
        let held = self.0.nodes.lock();
        held.unwrap_or_else(PoisonError::into_inner).jobs = by.and_then(Link::one_of_several);
        self.gauges();
    }

    /// The connection that reports go by.
    pub(crate) fn set_publishing(&self, by: Option<&Link>) {
        self.0.publishing.store(by.is_some(), Ordering::Relaxed);
        let held = self.0.nodes.lock();
        held.unwrap_or_else(PoisonError::into_inner).reports = by.and_then(Link::one_of_several);
        self.gauges();
    }

    pub(crate) fn set_blocked(&self, yes: bool) {
        self.0.blocked.store(yes, Ordering::Relaxed);
        self.gauges();
    }

    fn gauges(&self) {
        let number = |yes: bool| if yes { 1.0 } else { 0.0 };
        metrics::gauge!("ringback_broker_connected").set(number(self.connected()));
        metrics::gauge!("ringback_broker_blocked").set(number(self.blocked()));
    }
}

/// A connection to one of the brokers, and its channels.
pub struct Link {
    connection: Connection,
    /// A channel whose last handle goes closes itself. Beside the end of the whole connection that is an error for the
    /// client library, and it drops the connection without a word to the broker: so they are kept until then.
    channels: Mutex<Vec<Channel>>,
    /// The broker's major version, where it says one.
    major: Option<u32>,
    node: Node,
    cut: Cut,
}

/// A broker of those that are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Host and port.
    pub name: Arc<str>,
    /// There are others.
    pub is_one_of_several: bool,
}

impl Link {
    fn one_of_several(&self) -> Option<Arc<str>> {
        let node = Some(&self.node).filter(|node| node.is_one_of_several);
        node.map(|node| node.name.clone())
    }

    /// Another channel.
    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        let opening = self.connection.create_channel();
        let channel = within(ANSWER, "opening a channel", opening).await?;
        let held = self.channels.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        held.retain(|channel| channel.status().connected());
        held.push(channel.clone());
        Ok(channel)
    }

    pub(crate) fn events(&self) -> impl Stream<Item = Event> + Send + 'static {
        self.connection.events_listener()
    }

    /// Closes in order, but waits no longer than a moment for the broker to agree.
    pub(crate) async fn close(&self) {
        // A broker that doesn't agree in time is left with a cut connection; it comes to the same.
        let closing = self.connection.close(200, "OK".into());
        if within(CLOSE, "closing", closing).await.is_err() {
            self.cut.cut();
        }
    }
}

/// The answer, or what went wrong, within a time of its own.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    doing: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(limit, doing).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(BrokerError::Refused {
            doing: what.to_owned(),
            error,
        }),
        Err(_) => Err(BrokerError::Unanswered {
            doing: what.to_owned(),
            limit,
        }),
    }
}

/// A connection for this purpose has ended. It is logged at once where its broker is the only one, else once it is known
/// whether another takes us.
pub(crate) fn say_ended(outage: &mut Outage, purpose: &str, link: &Link, reason: &BrokerError) {
    outage.ended(Instant::now(), &link.node.name, &reason.to_string());
    if !link.node.is_one_of_several {
        say_lost(outage, purpose, reason);
    }
}

/// Logs that there is no connection for this purpose: once when that begins, and each further reason once.
pub(crate) fn say_lost(outage: &mut Outage, purpose: &str, reason: &BrokerError) {
    let reason = reason.to_string();
    match outage.failed(Instant::now(), &reason) {
        Some(Notice::Begins(reason)) => tracing::warn!(
            purpose,
            reason,
            "no connection to the broker; it is tried again until there is one"
        ),
        Some(Notice::Reason) => {
            tracing::info!(purpose, reason, "still no connection to the broker")
        }
        None => tracing::debug!(purpose, reason, "still no connection to the broker"),
    }
}

/// Logs that there is one, and to which node.
pub(crate) fn say_there(outage: &mut Outage, purpose: &str, link: &Link) {
    let node = &*link.node.name;
    match outage.arrived(Instant::now(), node) {
        Arrival::First => tracing::info!(purpose, node, "connected to the broker"),
        Arrival::Again(without) => tracing::info!(
            purpose,
            node,
            without_s = without.as_secs(),
            "connected to the broker again"
        ),
        Arrival::Elsewhere {
            before,
            reason,
            without,
        } => tracing::warn!(
            purpose,
            node,
            before = &*before,
            reason,
            without_s = without.as_secs(),
            "connected to another node of the broker"
        ),
    }
}

/// True once the broker says that it is blocked, false that it is not; None: nothing about that.
pub(crate) fn blocked(event: &Event) -> Option<bool> {
    match event {
        Event::ConnectionBlocked(_) => Some(true),
        Event::ConnectionUnblocked => Some(false),
        _ => None,
    }
}

/// A short string of AMQP 0-9-1. Longer ones than its 255 octets come from nowhere; they are cut.
pub(crate) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::try_new(&text[..end]).unwrap_or_default()
}

/// Any one question to the broker.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// For the broker to agree to the end of a connection.
const CLOSE: Duration = Duration::from_secs(2);
