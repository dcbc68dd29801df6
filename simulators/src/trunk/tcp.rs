//! SIP over TCP: cuts streams into messages and writes answers. Knows no meaning of a message.

use super::sip::{MAX_MESSAGE, Malformed, Message};
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What came on a connection; `None`: it has closed.
pub type Arrival = (u64, SocketAddr, Option<Result<Message, Malformed>>);

/// The open connections.
pub struct Connections {
    open: HashMap<u64, (mpsc::Sender<Vec<u8>>, JoinHandle<()>)>,
    arrivals: mpsc::Sender<Arrival>,
    last: u64,
}

impl Connections {
    /// None yet, and where what comes on them arrives.
    pub fn new() -> (Connections, mpsc::Receiver<Arrival>) {
        let (arrivals, receiver) = mpsc::channel(MAX_WAITING);
        (
            Connections {
                open: HashMap::new(),
                arrivals,
                last: 0,
            },
            receiver,
        )
    }

    /// Serve one more; beyond [`MAX_CONNECTIONS`] it is closed at once.
    pub fn add(&mut self, stream: TcpStream, from: SocketAddr) {
        if self.open.len() >= MAX_CONNECTIONS {
            return;
        }
        self.last += 1;
        let (sender, outgoing) = mpsc::channel(MAX_UNWRITTEN);
        let task = tokio::spawn(serve(
            self.last,
            stream,
            from,
            outgoing,
            self.arrivals.clone(),
        ));
        self.open.insert(self.last, (sender, task));
    }

    /// Write to a connection. One that doesn't read is closed.
    pub fn send(&mut self, id: u64, bytes: Vec<u8>) {
        if self
            .open
            .get(&id)
            .is_some_and(|(sender, _)| sender.try_send(bytes).is_err())
        {
            self.close(id);
        }
    }

    /// Close one.
    pub fn close(&mut self, id: u64) {
        if let Some((_, task)) = self.open.remove(&id) {
            task.abort();
        }
    }

    /// Close all.
    pub fn close_all(&mut self) {
        for (_, (_, task)) in self.open.drain() {
            task.abort();
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.close_all();
    }
}

async fn serve(
    id: u64,
    stream: TcpStream,
    from: SocketAddr,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    arrivals: mpsc::Sender<Arrival>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reading, mut writing) = stream.into_split();
    let write = async {
        while let Some(bytes) = outgoing.recv().await {
            if writing.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        let mut buffer = Vec::with_capacity(4096);
        loop {
            match reading.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            loop {
                match Message::from_stream(&buffer) {
                    Ok(None) if buffer.len() > 2 * MAX_MESSAGE => return,
                    Ok(None) => break,
                    Ok(Some((message, used))) => {
                        buffer.drain(..used);
                        if arrivals.send((id, from, Some(Ok(message)))).await.is_err() {
                            return;
                        }
                    }
                    // Where the next message begins is not known any more.
                    Err(fault) => {
                        let _ = arrivals.send((id, from, Some(Err(fault)))).await;
                        return;
                    }
                }
            }
        }
    };
    tokio::select! { () = write => {}, () = read => {} }
    let _ = arrivals.send((id, from, None)).await;
}

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 1024;
/// Messages read and not yet taken.
const MAX_WAITING: usize = 1024;
/// Messages not yet written to one connection.
const MAX_UNWRITTEN: usize = 4096;
