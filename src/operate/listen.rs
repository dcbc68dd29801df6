//! A listener and its connections: HTTP/1.1, bounded in number, in the time and size of a request's head, and in the
//! time of a farewell. Knows nothing of what is served; each request is told where it comes from.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::guard::Peer;

/// Open connections of one listener; more wait in the system's backlog.
pub const CONNECTIONS: usize = 4_096;
/// A request's head must be there in this time; so long may a kept connection be idle, too.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Longest head of a request, and longest stretch of a body that is held at once.
const HEAD_LENGTH: usize = 32 * 1024;
/// How long requests under way may take to end once the listener stops.
const GOODBYE: Duration = Duration::from_secs(2);
/// After an accept that failed for want of something (file descriptors): a pause instead of a spin.
const BREATH: Duration = Duration::from_millis(100);

/// A listener that has its port but serves nothing yet.
#[derive(Debug)]
pub struct Bound {
    section: &'static str,
    listener: TcpListener,
    pub address: SocketAddr,
}

/// A port that can't be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "[{section}] listen = \"{address}\": {source}; is another gateway running, or the address not this machine's?"
)]
pub struct BindError {
    pub section: &'static str,
    pub address: SocketAddr,
    pub source: io::Error,
}

impl Bound {
    /// Takes the port; port 0 takes a free one. `section` is the configuration's.
    pub async fn take(section: &'static str, address: SocketAddr) -> Result<Bound, BindError> {
        let fault = |source| BindError {
            section,
            address,
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Bound {
            section,
            listener,
            address,
        })
    }

    /// Serves until `stop`; then requests under way end within [`GOODBYE`].
    pub fn serve(self, router: Router, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(self.accept(router, stop))
    }

    async fn accept(self, router: Router, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        loop {
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = places.clone().acquire_owned() => place,
            };
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match stream {
                Ok((stream, peer)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    tasks.spawn(async move {
                        converse(stream, peer, router, stop).await;
                        drop(place);
                    });
                }
                Err(e) => {
                    tracing::warn!(listener = self.section, error = %e, "a connection was not taken");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        drop(self.listener);
        tasks.close();
        // Who is still there then is cut off with the process.
        let _ = tokio::time::timeout(GOODBYE, tasks.wait()).await;
    }
}

/// One connection, until either side ends it.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Small answers go out at once; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LENGTH);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        router.call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Garbage was answered by 400; what else ended it is the other side's business.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(GOODBYE, connection).await;
}
