//! A listener and its connections: HTTP/1.1, bounded in number, in the time and size of a request's head, and in the
//! time of a farewell. Knows nothing of what is served; each request is told where it comes from.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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

use super::guard::{Peer, source};
use crate::telemetry::{descriptors, minutely::Minutely};

/// Open connections of one listener; more wait in the system's backlog.
pub const CONNECTIONS: usize = 4_096;
/// Of these, connections of one source: so that one that opens them and says nothing leaves places for others.
const OF_ONE_SOURCE: usize = CONNECTIONS / 2;
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
        let sources = Sources::default();
        let section = self.section;
        let failed = Minutely::new(move |error: &String, count| {
            tracing::warn!(listener = section, %error, count, "connections were not taken");
        });
        let crowded = Minutely::new(move |(): &(), count| {
            tracing::warn!(
                listener = section,
                count,
                "connections were closed: one source has half of all places"
            );
        });
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
                    let Some(of_source) = sources.enter(source(peer.ip()), OF_ONE_SOURCE) else {
                        crowded.note(());
                        continue;
                    };
                    let (router, stop) = (router.clone(), stop.clone());
                    tasks.spawn(async move {
                        converse(stream, peer, router, stop).await;
                        drop((place, of_source));
                    });
                }
                Err(e) => {
                    failed.note(match descriptors::exhausted(&e) {
                        true => descriptors::EXHAUSTED.to_owned(),
                        false => e.kind().to_string(),
                    });
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

/// Open connections by source.
#[derive(Clone, Default)]
struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place among those of its source.
struct OfSource {
    sources: Sources,
    from: IpAddr,
}

impl Sources {
    /// None: it has as many as it may have.
    fn enter(&self, from: IpAddr, most: usize) -> Option<OfSource> {
        let mut open = self.lock();
        let count = open.entry(from).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(OfSource {
            sources: self.clone(),
            from,
        })
    }

    /// Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfSource {
    fn drop(&mut self) {
        let mut open = self.sources.lock();
        if let Some(count) = open.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_its_share_and_others_theirs() {
        let sources = Sources::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held: Vec<_> = (0..2).map(|_| sources.enter(one, 2)).collect();
        assert!(held.iter().all(Option::is_some) && sources.enter(one, 2).is_none());
        let theirs = sources.enter(other, 2);
        assert!(theirs.is_some());
        drop(held);
        let again = sources.enter(one, 2);
        assert!(again.is_some() && sources.lock().len() == 2);
        drop((theirs, again));
        assert!(sources.lock().is_empty());
    }
}
