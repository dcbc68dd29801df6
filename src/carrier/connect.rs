//! A connection to an endpoint of a carrier: TCP, or TLS over it, within a time limit, with a reason when it fails.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::tls::{self, TlsError};
use crate::{
    config::carrier::{Carry, Endpoint, Tls},
    telemetry::descriptors,
};

/// What a connection is made of; one virtual call per read and write, which no measurement shows.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection: the endpoint, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{host}:{port}: {reason}")]
pub struct ConnectError {
    host: Arc<str>,
    port: u16,
    reason: Unconnected,
}

#[derive(Debug, thiserror::Error)]
enum Unconnected {
    #[error("{}", describe(.0))]
    Tcp(#[from] io::Error),
    #[error("tls: {0}")]
    Handshake(io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no connection within {0:?}")]
    InTime(Duration),
    #[error("udp carries no texts; write tls:host:port or host:port")]
    Udp,
}

/// Connects within `limit`, handshake included.
pub async fn connect(
    endpoint: &Endpoint,
    tls: &Tls,
    limit: Duration,
) -> Result<Box<dyn Stream>, ConnectError> {
    let opened = tokio::time::timeout(limit, open(endpoint, tls)).await;
    let opened = opened.unwrap_or(Err(Unconnected::InTime(limit)));
    opened.map_err(|reason| ConnectError {
        host: endpoint.host.clone(),
        port: endpoint.port,
        reason,
    })
}

async fn open(endpoint: &Endpoint, tls: &Tls) -> Result<Box<dyn Stream>, Unconnected> {
    let host = endpoint.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, endpoint.port)).await?;
    stream.set_nodelay(true)?;
    match endpoint.carry {
        Carry::Tcp => Ok(Box::new(stream)),
        Carry::Tls => {
            let name = tls::server_name(tls, host)?;
            let config = Arc::new(tls::client_config(tls)?);
            let stream = TlsConnector::from(config)
                .connect(name, stream)
                .await
                .map_err(Unconnected::Handshake)?;
            Ok(Box::new(stream))
        }
        Carry::Udp => Err(Unconnected::Udp),
    }
}

/// An I/O error in a word or two, without the system's number.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset by the peer".into(),
        io::ErrorKind::BrokenPipe => "connection closed by the peer".into(),
        io::ErrorKind::TimedOut => "connection timed out".into(),
        _ if descriptors::exhausted(error) => descriptors::EXHAUSTED.into(),
        _ => error.to_string(),
    }
}
