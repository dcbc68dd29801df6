//! The sockets of a trunk: one UDP socket and one TCP listener on the same port, and the TCP connections both ways.
//!
//! Knows octets and frames, no SIP. What it can't send is dropped: over UDP the transactions send again, over TCP the
//! driver is told that the peer can't be reached.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::{
    carrier::connect::describe,
    protocol::sip::codec::Framer,
    telemetry::{descriptors, minutely::Minutely},
};

/// What the connections say to the trunk's task.
pub enum Arrived {
    Frame {
        from: SocketAddr,
        octets: Vec<u8>,
    },
    /// A connection came in.
    Accepted {
        from: SocketAddr,
        out: mpsc::Sender<Bytes>,
    },
    Closed {
        peer: SocketAddr,
    },
    /// It could not be made.
    Refused {
        peer: SocketAddr,
    },
}

private_debug!(Arrived);

pub struct Wire {
    pub udp: UdpSocket,
    pub local: SocketAddr,
    connections: HashMap<SocketAddr, mpsc::Sender<Bytes>>,
    arrived: mpsc::Sender<Arrived>,
    /// Connections that found no file descriptor.
    unmade: Arc<Minutely<()>>,
}

impl Wire {
    /// Opens both on one port; with port 0 on any port that is free for both.
    pub async fn open(bind: SocketAddr) -> io::Result<(Wire, mpsc::Receiver<Arrived>)> {
        let mut tries = if bind.port() == 0 { PORT_TRIES } else { 1 };
        let (udp, listener) = loop {
            tries -= 1;
            let udp = udp_socket(bind)?;
            let local = udp.local_addr()?;
            match TcpListener::bind(local).await {
                Ok(listener) => break (udp, listener),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {}
            }
        };
        let local = udp.local_addr()?;
        // Until the runtime has seen the socket once, it takes no datagram without waiting.
        udp.writable().await?;
        let (arrived, receiver) = mpsc::channel(ARRIVALS);
        tokio::spawn(accept(listener, arrived.clone()));
        Ok((
            Wire {
                udp,
                local,
                connections: HashMap::new(),
                arrived,
                unmade: Arc::new(Minutely::new(|(): &(), count| {
                    tracing::warn!(
                        count,
                        "SIP connections were not made: {}",
                        descriptors::EXHAUSTED
                    );
                })),
            },
            receiver,
        ))
    }

    pub fn send_udp(&self, to: SocketAddr, octets: &[u8]) {
        if let Err(error) = self.udp.try_send_to(octets, to) {
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }

    /// Over the connection to `to`, made if need be.
    pub fn send_tcp(&mut self, to: SocketAddr, octets: Bytes) {
        let octets = match self
            .connections
            .get(&to)
            .map(|connection| connection.try_send(octets.clone()))
        {
            Some(Ok(())) => return,
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                tracing::debug!(%to, "connection is stuck, message dropped");
                return;
            }
            Some(Err(mpsc::error::TrySendError::Closed(octets))) => octets,
            None => octets,
        };
        let (out, queue) = mpsc::channel(CONNECTION_QUEUE);
        // A fresh queue has room.
        let _ = out.try_send(octets);
        self.connections.insert(to, out);
        tokio::spawn(connect(
            to,
            queue,
            self.arrived.clone(),
            self.unmade.clone(),
        ));
    }

    pub fn accepted(&mut self, from: SocketAddr, out: mpsc::Sender<Bytes>) {
        self.connections.insert(from, out);
    }

    pub fn closed(&mut self, peer: SocketAddr) {
        if self
            .connections
            .get(&peer)
            .is_some_and(mpsc::Sender::is_closed)
        {
            self.connections.remove(&peer);
        }
    }
}

fn udp_socket(bind: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel gives what it may; a burst of calls must not be lost before we look.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&bind.into())?;
    UdpSocket::from_std(socket.into())
}

async fn accept(listener: TcpListener, arrived: mpsc::Sender<Arrived>) {
    let places = Arc::new(Semaphore::new(MAX_INBOUND));
    let failed = Minutely::new(|error: &String, count| {
        tracing::warn!(%error, count, "SIP connections were not taken");
    });
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = arrived.closed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let (out, queue) = mpsc::channel(CONNECTION_QUEUE);
                if arrived.send(Arrived::Accepted { from, out }).await.is_err() {
                    return;
                }
                tokio::spawn(serve(stream, from, queue, arrived.clone(), Some(place)));
            }
            // Out of descriptors, or the peer has gone already: not our end.
            Err(error) => {
                failed.note(describe(&error));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connect(
    to: SocketAddr,
    queue: mpsc::Receiver<Bytes>,
    arrived: mpsc::Sender<Arrived>,
    unmade: Arc<Minutely<()>>,
) {
    match timeout(CONNECT, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => serve(stream, to, queue, arrived, None).await,
        failed => {
            if let Ok(Err(error)) = failed
                && descriptors::exhausted(&error)
            {
                unmade.note(());
            }
            drop(queue);
            let _ = arrived.send(Arrived::Refused { peer: to }).await;
        }
    }
}

/// Both directions of one connection until either ends. An inbound one that is silent for long gives up its place.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    mut queue: mpsc::Receiver<Bytes>,
    arrived: mpsc::Sender<Arrived>,
    place: Option<OwnedSemaphorePermit>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let mut framer = Framer::default();
    let mut buffer = vec![0; READ];
    loop {
        let patience = if framer.is_partial() { PARTIAL } else { IDLE };
        tokio::select! {
            octets = queue.recv() => {
                let Some(octets) = octets else { break };
                if !matches!(timeout(PARTIAL, writer.write_all(&octets)).await, Ok(Ok(()))) {
                    break;
                }
            }
            read = timeout(patience, reader.read(&mut buffer)) => {
                let Ok(Ok(length @ 1..)) = read else { break };
                framer.push(&buffer[..length]);
                if !frames(&mut framer, peer, &arrived).await {
                    break;
                }
            }
        }
    }
    drop((queue, place));
    let _ = arrived.send(Arrived::Closed { peer }).await;
}

/// Hands on all whole frames; false if the connection is to be closed.
async fn frames(framer: &mut Framer, from: SocketAddr, arrived: &mpsc::Sender<Arrived>) -> bool {
    loop {
        match framer.next_frame() {
            Ok(Some(octets)) => {
                if arrived.send(Arrived::Frame { from, octets }).await.is_err() {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(fault) => {
                tracing::debug!(%from, %fault, "SIP connection closed");
                return false;
            }
        }
    }
}

const BUFFER: usize = 4 << 20;
/// Ports tried until one is free for UDP and TCP.
const PORT_TRIES: u32 = 16;
/// Frames and news of connections on their way to the trunk's task.
const ARRIVALS: usize = 1_024;
/// Connections that others made to us.
const MAX_INBOUND: usize = 64;
/// Messages waiting for one connection.
const CONNECTION_QUEUE: usize = 1_024;
const READ: usize = 16 << 10;
const CONNECT: Duration = Duration::from_secs(4);
/// Longest wait for the rest of a message, and for room to write one.
const PARTIAL: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(600);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
