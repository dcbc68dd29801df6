//! A connection to an endpoint of a carrier: TCP, or TLS over it, within a time limit, with a reason when it fails.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::tls;
use crate::{
    config::carrier::{Carry, Endpoint, Tls},
    telemetry::descriptors,
};

/// What a connection is made of; one virtual call per read and write, which no measurement shows.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects within `limit`, handshake included. The error names the endpoint and the reason.
pub async fn connect(
    endpoint: &Endpoint,
    tls: &Tls,
    limit: Duration,
) -> Result<Box<dyn Stream>, String> {
    let named =
        |reason: &dyn std::fmt::Display| format!("{}:{}: {reason}", endpoint.host, endpoint.port);
    match tokio::time::timeout(limit, open(endpoint, tls)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(reason)) => Err(named(&reason)),
        Err(_) => Err(named(&format_args!("no connection within {limit:?}"))),
    }
}

async fn open(endpoint: &Endpoint, tls: &Tls) -> Result<Box<dyn Stream>, String> {
    let host = endpoint.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, endpoint.port))
        .await
        .map_err(|e| describe(&e))?;
    stream.set_nodelay(true).map_err(|e| describe(&e))?;
    match endpoint.carry {
        Carry::Tcp => Ok(Box::new(stream)),
        Carry::Tls => {
            let name = tls::server_name(tls, host)?;
            let config = Arc::new(tls::client_config(tls)?);
            let stream = TlsConnector::from(config)
                .connect(name, stream)
                .await
                .map_err(|e| format!("tls: {e}"))?;
            Ok(Box::new(stream))
        }
        Carry::Udp => Err("udp carries no texts; write tls:host:port or host:port".into()),
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
