//! A listening TCP port that can be down: closed while the script says so, and the same port again after.

use crate::script::Script;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two tries to listen on a port that is still taken, or to accept when accepting fails.
const AGAIN: Duration = Duration::from_millis(20);

/// An open port.
pub struct Listener {
    open: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Open the port; 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Listener> {
        let open = TcpListener::bind(address).await?;
        let address = open.local_addr()?;
        Ok(Listener { open, address })
    }

    /// The port that was opened.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serve every connection by `serve` until `stopped`; then wait for those that are left. A served connection
    /// watches for itself whether the carrier is down or stopped.
    pub async fn serve<S, F>(self, script: Script, mut stopped: watch::Receiver<bool>, mut serve: S)
    where
        S: FnMut(TcpStream) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut faults = script.watch();
        let mut open = Some(self.open);
        loop {
            let down = faults.borrow_and_update().down;
            if down {
                open = None;
            } else if open.is_none() {
                open = TcpListener::bind(self.address).await.ok();
            }
            tokio::select! {
                accepted = accept(open.as_ref()), if !down => {
                    if let Some(stream) = accepted {
                        connections.spawn(serve(stream));
                    }
                }
                changed = faults.changed() => if changed.is_err() { break },
                Some(_) = connections.join_next() => {}
                // A dropped handle is a stop, too.
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
        drop(open);
        while connections.join_next().await.is_some() {}
    }
}

/// The next connection; waits a little and gives none where there is no port.
async fn accept(open: Option<&TcpListener>) -> Option<TcpStream> {
    if let Some(open) = open
        && let Ok((stream, _)) = open.accept().await
    {
        return Some(stream);
    }
    tokio::time::sleep(AGAIN).await;
    None
}
