//! Connecting: which broker is asked, how, and for how long. May not log an address with its password.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_rs::{Runtime, Tokio};
use lapin::{
    Connection, ConnectionProperties,
    tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedIdentity, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri},
};

use super::{
    BrokerError, Link, Node, TlsFault,
    octets::{
        self,
        cut::{Cut, CutUnlessKept},
        stream::{Mended, Version, runtime},
    },
    within,
};
use crate::config::{
    carrier::Tls,
    settings::{Address, Amqp},
};

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
        match Broker::read(&addresses[place], addresses.len() > 1) {
            Ok(broker) => match broker.connect(name).await {
                Ok(link) => return Ok(link),
                Err(reason) => reasons.push((place, broker.node.name, reason)),
            },
            Err(reason) => reasons.push((place, "unknown".into(), reason)),
        }
        turn.next();
    }
    if reasons.len() == 1 {
        return Err(reasons.remove(0).2);
    }
    // In the file's order, so that the same reasons are the same text whoever was asked first.
    reasons.sort_by_key(|(place, ..)| *place);
    Err(BrokerError::Nowhere(reasons))
}

/// One broker, as its address says now.
struct Broker {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    /// The name that the certificate must carry may be another than the host's, as for carriers.
    certified: Arc<str>,
    node: Node,
    longest: u32,
}

impl Broker {
    fn read(address: &Address, is_one_of_several: bool) -> Result<Broker, BrokerError> {
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
        let certified = address.tls.name.clone();
        Ok(Broker {
            tls,
            certified: certified.unwrap_or_else(|| uri.authority.host.as_str().into()),
            node: Node {
                name: format!("{}:{}", uri.authority.host, uri.authority.port).into(),
                is_one_of_several,
            },
            longest,
            uri,
        })
    }

    async fn connect(&self, name: &str) -> Result<Link, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (tokio, version, cut) = (Tokio::current(), Version::default(), Cut::default());
        let mended = runtime(&tokio);
        let (tls, certified) = (self.tls.clone(), self.certified.clone());
        let (longest, told, ends) = (self.longest, version.clone(), cut.clone());
        let socket = async move |uri: AMQPUri, _| {
            let plain = AMQPUri {
                scheme: AMQPScheme::AMQP,
                ..uri.clone()
            };
            let connecting = async {
                let stream = plain.connect_async(&Runtime::new(tokio.clone())).await?;
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&certified, tls.as_ref()).await,
                }
            };
            let stream = ends.unless(connecting).await?;
            Ok(AsyncTcpStream::Plain(Mended::new(
                stream,
                told.clone(),
                ends.clone(),
                longest,
            )))
        };
        let connecting = Connection::connector(self.uri.clone(), mended, socket, properties);
        // The library goes on with a connection that nobody waits for any more.
        let mut begun = CutUnlessKept(Some(cut.clone()));
        let connection = within(CONNECT, "connecting", connecting).await?;
        begun.0 = None;
        Ok(Link {
            connection,
            channels: Mutex::default(),
            major: version.major(),
            node: self.node.clone(),
            cut,
        })
    }
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
/// AMQP 0-9-1, 4.2.3 (frame-min-size): no peer may ask for less.
const SHORTEST_FRAME: u32 = 4_096;
