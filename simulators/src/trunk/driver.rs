//! Sockets, clock and threads around the exchange. Knows no rule of SIP.

use super::call::Peer;
use super::exchange::{Exchange, Output, Settings};
use super::hub::{Hub, Order};
use super::listening::Listening;
use super::tcp::{Arrival, Connections};
use super::{TrunkConfig, TrunkHandle};
use crate::ear::Ear;
use crate::script::Faults;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};

pub async fn start(config: TrunkConfig) -> io::Result<TrunkHandle> {
    let sockets = Sockets::open(config.listen).await?;
    let address = sockets.udp.local_addr()?;
    let ear = match config
        .prompts
        .as_deref()
        .filter(|_| config.ear && config.media)
    {
        Some(prompts) => Some(Ear::load(prompts).map_err(|e| unreadable(&e))?),
        None => None,
    };
    let settings = Settings {
        contact: address,
        credentials: config.asks_for(),
        habits: config.habits,
        keep_audio: ear.is_some(),
        media: config.media,
        seed: config.seed,
    };
    let exchange = Arc::new(Mutex::new(Exchange::new(settings)));
    let hub = Hub::start(&config.name)?;
    let media = hub.shared();
    let listening = Listening::start(
        config.name.as_str().into(),
        config.record.clone(),
        ear,
        config.gain_db,
    )?;
    let written = listening.written();
    let (connections, arrivals) = Connections::new();
    let (stop, stopped) = watch::channel(false);
    let driver = Driver {
        address,
        exchange: exchange.clone(),
        hub,
        listening,
        connections,
        ports: Ports::new(address, config.rtp_ports, config.media)?,
        waiting: HashMap::new(),
    };
    let faults = config.script.watch();
    let task = tokio::spawn(driver.run(sockets, arrivals, faults, stopped));
    Ok(TrunkHandle {
        address,
        script: config.script,
        record: config.record,
        exchange,
        written,
        media,
        stop,
        task: Some(task),
    })
}

/// Not the address is at fault, and the kind of the error says so.
fn unreadable(error: &io::Error) -> io::Error {
    let words = format!("the recordings that the phones know can't be read: {error}");
    io::Error::new(io::ErrorKind::InvalidInput, words)
}

/// UDP and TCP on one port.
struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    async fn open(address: SocketAddr) -> io::Result<Sockets> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let tcp = TcpListener::bind(address).await?;
            match UdpSocket::bind(tcp.local_addr()?).await {
                Ok(udp) => return Ok(Sockets { udp, tcp }),
                // A port free for TCP may be taken for UDP: then another one.
                Err(_) if address.port() == 0 && attempt < MAX_PORT_ATTEMPTS => {}
                Err(fault) => return Err(fault),
            }
        }
    }
}

struct Driver {
    address: SocketAddr,
    exchange: Arc<Mutex<Exchange>>,
    hub: Hub,
    listening: Listening,
    connections: Connections,
    ports: Ports,
    /// Sockets of calls whose media has not begun.
    waiting: HashMap<u64, mio::net::UdpSocket>,
}

impl Driver {
    async fn run(
        mut self,
        sockets: Sockets,
        mut arrivals: mpsc::Receiver<Arrival>,
        mut faults: watch::Receiver<Arc<Faults>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut sockets = Some(sockets);
        let mut buffer = vec![0; super::sip::MAX_MESSAGE];
        while !*stopped.borrow() {
            let now_wrong = faults.borrow_and_update().clone();
            self.obey(&now_wrong, &mut sockets).await;
            let deadline = self.core().deadline();
            tokio::select! {
                _ = stopped.changed() => break,
                changed = faults.changed() => if changed.is_err() { break },
                () = until(deadline) => {}
                () = self.hub.told() => {}
                Some(arrival) = arrivals.recv() => self.arrived(arrival),
                () = readable(sockets.as_ref()) => self.read(sockets.as_ref(), &mut buffer),
                Some((stream, from)) = accepted(sockets.as_ref()) => self.connections.add(stream, from),
            }
            // Media sockets asked for must be open before the clock is looked at: it may be time to answer.
            self.drain(sockets.as_ref());
            let now = Instant::now();
            for (id, heard) in self.hub.heard() {
                self.core().media(id, heard, now);
            }
            self.core().elapsed(now);
            self.drain(sockets.as_ref());
        }
        self.core().stop(Instant::now());
        self.drain(sockets.as_ref());
        self.finish().await;
    }

    fn core(&self) -> MutexGuard<'_, Exchange> {
        // Nothing panics while it is held; a poisoned lock still holds whole values.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Down: both sockets closed, connections too; up again on the same port.
    async fn obey(&mut self, faults: &Arc<Faults>, sockets: &mut Option<Sockets>) {
        self.core().set_faults(faults.clone());
        self.hub.set_loss(faults.packet_loss);
        if faults.down {
            *sockets = None;
            self.connections.close_all();
        } else if sockets.is_none() {
            match Sockets::open(self.address).await {
                Ok(open) => *sockets = Some(open),
                Err(fault) => {
                    tracing::warn!(%fault, address = %self.address, "trunk: its port is taken; it stays down for now");
                    tokio::time::sleep(REOPEN).await;
                }
            }
        }
    }

    fn arrived(&mut self, (id, from, what): Arrival) {
        let now = Instant::now();
        match what {
            Some(Ok(message)) => self.core().message(message, Peer::Tcp(id, from), now),
            Some(Err(fault)) => self.core().malformed(fault),
            None => self.connections.close(id),
        }
    }

    fn read(&mut self, sockets: Option<&Sockets>, buffer: &mut [u8]) {
        let Some(sockets) = sockets else { return };
        for _ in 0..MAX_AT_ONCE {
            match sockets.udp.try_recv_from(buffer) {
                Ok((length, from)) => self
                    .core()
                    .datagram(&buffer[..length], from, Instant::now()),
                Err(_) => break,
            }
            self.drain(Some(sockets));
        }
    }

    /// Do what the exchange wants done.
    fn drain(&mut self, sockets: Option<&Sockets>) {
        loop {
            let Some(output) = self.core().poll() else {
                return;
            };
            match output {
                Output::Send(Peer::Udp(to), bytes) => {
                    if let Some(sockets) = sockets {
                        // A full buffer: the datagram is lost, and goes again as lost ones do.
                        let _ = sockets.udp.try_send_to(&bytes, to);
                    }
                }
                Output::Send(Peer::Tcp(id, _), bytes) => self.connections.send(id, bytes),
                Output::Bind(id) => {
                    let opened = self.ports.open();
                    let media = opened.as_ref().map(|(address, _)| *address);
                    if let Some((_, Some(socket))) = opened {
                        self.waiting.insert(id, socket);
                    }
                    self.core().bound(id, media, Instant::now());
                }
                Output::Talk(id, terms) => {
                    if let Some(socket) = self.waiting.remove(&id) {
                        self.hub.order(Order::Talk(id, socket, terms));
                    }
                }
                Output::Answered(id) => self.hub.order(Order::Answered(id)),
                Output::Hush(id) => {
                    if self.waiting.remove(&id).is_none() {
                        self.hub.order(Order::Hush(id));
                    }
                }
                Output::Ended(call, audio) => self.listening.ended(call, audio),
                Output::Broken(protocol, reason) => self.listening.broken(protocol, reason),
            }
        }
    }

    /// Write down what is still being said and listened to.
    async fn finish(mut self) {
        let limit = Instant::now() + FAREWELL;
        while !self.core().is_idle() && Instant::now() < limit {
            tokio::select! { () = self.hub.told() => {}, () = until(Some(limit)) => {} }
            let now = Instant::now();
            for (id, heard) in self.hub.heard() {
                self.core().media(id, heard, now);
            }
            self.drain(None);
        }
        let Driver { hub, listening, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            drop(hub);
            listening.finish();
        });
        let _ = ended.await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn readable(sockets: Option<&Sockets>) {
    match sockets {
        // An error shows when it is read.
        Some(sockets) => drop(sockets.udp.readable().await),
        None => std::future::pending().await,
    }
}

async fn accepted(sockets: Option<&Sockets>) -> Option<(tokio::net::TcpStream, SocketAddr)> {
    match sockets {
        Some(sockets) => sockets.tcp.accept().await.ok(),
        None => std::future::pending().await,
    }
}

/// Where media is received: a socket per call, or one for all where nobody listens.
struct Ports {
    host: SocketAddr,
    range: Option<RangeInclusive<u16>>,
    next: u16,
    deaf: Option<UdpSocket>,
}

impl Ports {
    fn new(host: SocketAddr, range: Option<RangeInclusive<u16>>, media: bool) -> io::Result<Ports> {
        let next = range.as_ref().map_or(0, |range| even(*range.start()));
        let deaf = if media {
            None
        } else {
            let socket = std::net::UdpSocket::bind(SocketAddr::new(host.ip(), next))?;
            socket.set_nonblocking(true)?;
            Some(UdpSocket::from_std(socket)?)
        };
        Ok(Ports {
            host,
            range,
            next,
            deaf,
        })
    }

    fn open(&mut self) -> Option<(SocketAddr, Option<mio::net::UdpSocket>)> {
        if let Some(deaf) = &self.deaf {
            return Some((deaf.local_addr().ok()?, None));
        }
        for _ in 0..MAX_PORT_ATTEMPTS {
            let address = SocketAddr::new(self.host.ip(), self.next());
            let Ok(socket) = mio::net::UdpSocket::bind(address) else {
                continue;
            };
            let media = socket.local_addr().ok()?;
            // RTP takes even ports (RFC 3550 section 11). On an odd one, chosen by the kernel, the reports of the call
            // one below would come in as media from a stranger.
            if media.port() % 2 == 0 {
                return Some((media, Some(socket)));
            }
        }
        tracing::warn!("trunk: no free port for media; the call is refused: widen rtp_ports");
        None
    }

    fn next(&mut self) -> u16 {
        let Some(range) = &self.range else { return 0 };
        let port = self.next;
        self.next = port
            .checked_add(2)
            .filter(|next| range.contains(next))
            .unwrap_or(even(*range.start()));
        port
    }
}

fn even(port: u16) -> u16 {
    port.saturating_add(port % 2)
}

const MAX_PORT_ATTEMPTS: usize = 500;
/// Datagrams read in a row before anything else.
const MAX_AT_ONCE: usize = 64;
const REOPEN: Duration = Duration::from_millis(50);
/// The longest wait for media that ends with the trunk.
const FAREWELL: Duration = Duration::from_secs(2);
