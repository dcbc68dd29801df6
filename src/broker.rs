//! The broker: connecting to it, what must stand there, and how it is doing.
//!
//! Shared by the consuming side (`intake::amqp`) and the publishing side (`report::publish`), which use a connection
//! each, because a broker that blocks publishers blocks their whole connection. Every wait has a limit of its own.
//! May not log an address with its password.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use lapin::{
    Channel, Connection, ConnectionProperties, Event,
    tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedIdentity, OwnedTLSConfig},
    types::ShortString,
    uri::{AMQPScheme, AMQPUri},
};

use crate::config::{
    carrier::Tls,
    settings::{Address, Amqp},
};
use octets::stream::{Mended, Version, runtime};
use outage::{Notice, Outage};

pub mod client;
pub mod dead_letters;
mod error;
pub(crate) mod octets;
pub(crate) mod outage;
mod topology;

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

    pub(crate) fn set_consuming(&self, yes: bool) {
        self.0.consuming.store(yes, Ordering::Relaxed);
        self.gauges();
    }

    pub(crate) fn set_publishing(&self, yes: bool) {
        self.0.publishing.store(yes, Ordering::Relaxed);
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
}

impl Link {
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
        let _ = within(CLOSE, "closing", self.connection.close(200, "OK".into())).await;
    }
}

/// Which of several brokers is asked first. Each connection has its own.
#[derive(Debug, Default)]
pub(crate) struct Turn(usize);

impl Turn {
    /// The connection was no good: the next one first.
    pub fn next(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}

/// Connects to the first broker that lets us, each asked once, beginning with the one whose turn it is; addresses and
/// certificates are read anew. The error is for the operator and holds no secret.
pub(crate) async fn connect(
    settings: &Amqp,
    name: &str,
    turn: &mut Turn,
) -> Result<Link, BrokerError> {
    let addresses: Vec<Address> = settings.addresses().collect();
    let mut reasons = Vec::new();
    for _ in &addresses {
        let place = turn.0 % addresses.len();
        match connect_to(&addresses[place], name).await {
            Ok(link) => return Ok(link),
            Err(reason) if addresses.len() == 1 => return Err(reason),
            Err(reason) => reasons.push((place, reason)),
        }
        turn.next();
    }
    // In the file's order, so that the same reasons are the same text whoever was asked first.
    reasons.sort_by_key(|(place, _)| *place);
    Err(BrokerError::Nowhere(reasons))
}

async fn connect_to(address: &Address, name: &str) -> Result<Link, BrokerError> {
    let url = address.url.read()?;
    let tls = tls(&address.tls)?;
    let mut uri: AMQPUri = url.parse().map_err(|_| BrokerError::NoUri)?;
    uri.query
        .heartbeat
        .get_or_insert(HEARTBEAT.as_secs() as u16);
    // 0 asks for frames without a limit; there is one.
    let asked = uri.query.frame_max.filter(|asked| *asked > 0);
    let longest = asked
        .unwrap_or(octets::FRAME)
        .clamp(SHORTEST_FRAME, octets::LONGEST_FRAME);
    uri.query.frame_max = Some(longest);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let (tokio, version) = (Tokio::current(), Version::default());
    let mended = runtime(&tokio);
    // As for carriers: the name that the certificate must carry may be another than the host's.
    let name = address.tls.name.clone();
    let told = version.clone();
    let connect = async move |uri: AMQPUri, _| {
        let plain = AMQPUri {
            scheme: AMQPScheme::AMQP,
            ..uri.clone()
        };
        let stream = plain.connect_async(&Runtime::new(tokio.clone())).await?;
        let stream = match uri.scheme {
            AMQPScheme::AMQP => stream,
            AMQPScheme::AMQPS => {
                let name = name.as_deref().unwrap_or(&uri.authority.host);
                stream.into_tls(name, tls.as_ref()).await?
            }
        };
        Ok(AsyncTcpStream::Plain(Mended::new(
            stream,
            told.clone(),
            longest,
        )))
    };
    let connecting = Connection::connector(uri, mended, connect, properties);
    let connection = within(CONNECT, "connecting", connecting).await?;
    Ok(Link {
        connection,
        channels: Mutex::default(),
        major: version.major(),
    })
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

/// Logs that there is no connection for this purpose: once when that begins, and each further reason once.
pub(crate) fn say_lost(outage: &mut Outage, purpose: &str, reason: &BrokerError) {
    let reason = reason.to_string();
    let reason = reason.as_str();
    match outage.failed(Instant::now(), reason) {
        Some(Notice::Begins) => tracing::warn!(
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

/// Logs that there is one.
pub(crate) fn say_there(outage: &mut Outage, purpose: &str) {
    match outage.ended(Instant::now()) {
        None => tracing::info!(purpose, "connected to the broker"),
        Some(without) => tracing::info!(
            purpose,
            without_s = without.as_secs(),
            "connected to the broker again"
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

fn tls(tls: &Tls) -> Result<OwnedTLSConfig, BrokerError> {
    let fault = |setting, fault| BrokerError::Tls { setting, fault };
    let read = |key, path: &PathBuf| {
        crate::regular::read(path).map_err(|error| {
            let path = path.clone();
            fault(key, TlsFault::File { path, error })
        })
    };
    let cert_chain = match &tls.ca {
        None => None,
        Some(path) => Some(
            String::from_utf8(read("ca", path)?)
                .map_err(|_| fault("ca", TlsFault::NotPem(path.clone())))?,
        ),
    };
    let identity = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read("cert", cert)?,
            key: key
                .read()
                .map_err(|error| fault("key", TlsFault::Secret(error)))?
                .into_bytes(),
        }),
        (None, None) => None,
        _ => return Err(BrokerError::HalfAnIdentity),
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain,
    })
}

/// A peer that is gone is noticed after two of these.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Resolving, connecting, TLS and login together.
const CONNECT: Duration = Duration::from_secs(10);
/// Any one question to the broker.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// AMQP 0-9-1, 4.2.3 (frame-min-size): no peer may ask for less.
const SHORTEST_FRAME: u32 = 4_096;
const CLOSE: Duration = Duration::from_secs(2);
