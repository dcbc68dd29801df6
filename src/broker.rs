//! The broker: connecting to it, what must stand there, and how it is doing.
//!
//! Shared by the consuming side (`intake::amqp`) and the publishing side (`report::publish`), which use a connection
//! each, because a broker that blocks publishers blocks their whole connection. Every wait has a limit of its own.
//! May not log an address with its password.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lapin::{
    Connection, ConnectionProperties, Event,
    tcp::{AMQPUriTcpExt, OwnedIdentity, OwnedTLSConfig},
    types::ShortString,
    uri::{AMQPScheme, AMQPUri},
};

use crate::config::{carrier::Tls, settings::Amqp};

pub mod client;
mod topology;
mod version;

pub use topology::Topology;

/// How the two connections are doing, for `/readyz` and the page. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    consuming: AtomicBool,
    publishing: AtomicBool,
    blocked: AtomicBool,
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

/// Connects; the address and the certificates are read anew. The error is for the operator and holds no secret.
pub(crate) async fn connect(settings: &Amqp, name: &str) -> Result<Connection, String> {
    let url = settings.url.read()?;
    let tls = tls(&settings.tls)?;
    let mut uri: AMQPUri = url
        .parse()
        .map_err(|_| "the broker's address is no AMQP URI".to_owned())?;
    uri.query
        .heartbeat
        .get_or_insert(HEARTBEAT.as_secs() as u16);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime().map_err(|e| e.to_string())?;
    // As for carriers: the name that the certificate must carry may be another than the host's.
    let name = settings.tls.name.clone();
    let connect = async move |uri: AMQPUri, runtime| {
        let plain = AMQPUri {
            scheme: AMQPScheme::AMQP,
            ..uri.clone()
        };
        let stream = plain.connect_async(&runtime).await?;
        Ok(match uri.scheme {
            AMQPScheme::AMQP => stream,
            AMQPScheme::AMQPS => {
                let name = name.as_deref().unwrap_or(&uri.authority.host);
                stream.into_tls(name, tls.as_ref()).await?
            }
        })
    };
    let connecting = Connection::connector(uri, runtime, connect, properties);
    within(CONNECT, "connecting", connecting).await
}

/// The answer, or what went wrong, within a time of its own.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    doing: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, doing).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(format!("{what}: {e}")),
        Err(_) => Err(format!("{what}: no answer within {} s", limit.as_secs())),
    }
}

/// Closes in order, but waits no longer than a moment for the broker to agree.
pub(crate) async fn close(connection: &Connection) {
    // A broker that doesn't agree in time is left with a cut connection; it comes to the same.
    let _ = within(CLOSE, "closing", connection.close(200, "OK".into())).await;
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

fn tls(tls: &Tls) -> Result<OwnedTLSConfig, String> {
    let read = |key: &str, path: &std::path::Path| {
        std::fs::read(path).map_err(|e| format!("tls.{key}: {}: {e}", path.display()))
    };
    let cert_chain = match &tls.ca {
        None => None,
        Some(path) => Some(
            String::from_utf8(read("ca", path)?)
                .map_err(|_| format!("tls.ca: {}: not PEM", path.display()))?,
        ),
    };
    let identity = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read("cert", cert)?,
            key: key
                .read()
                .map_err(|e| format!("tls.key: {e}"))?
                .into_bytes(),
        }),
        (None, None) => None,
        _ => return Err("tls.cert and tls.key belong together; give both or none".into()),
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
const CLOSE: Duration = Duration::from_secs(2);
