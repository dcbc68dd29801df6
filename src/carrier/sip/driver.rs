//! A trunk's task: sockets and clocks around `protocol::sip`, the audio engine and the call scripts.
//!
//! One task owns everything of a trunk, so nothing here locks. It waits for whatever comes first (a datagram, a
//! frame, a key, an order, a deadline), hands it to its machine, and carries out what the machines say (`calls`). What
//! dispatch has no room for waits in an outbox, so that a slow reader never delays a key or an ACK.

mod call_scripts;
mod calls;
mod change;
mod local;
mod notices;
mod opened;
mod targets;
#[cfg(test)]
mod tests;
mod way;
mod wire;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    future::pending,
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use super::{
    address,
    media::{Engine, EngineConfig, MediaEvent, MediaId},
};
use crate::{
    carrier::{CallCarrier, CallCommand, CallMark, CallState, CarrierMessage, Finish, Link, Slots},
    challenge::AttemptKey,
    config::carrier::{CarrierConfig, Endpoint as Peer, SipConfig, Transport as Kind},
    message::speech::Catalogue,
    protocol::sip::{
        CallHandle, Config, Endpoint, Output, Transport, digest::Credentials, transaction::Timing,
    },
};
use calls::{Active, CAP_MARGIN};
pub use change::{TrunkChange, hold, is_another_link};
pub use local::{Local, own_address};
use opened::random;
pub use opened::{Opened, StartError, start};
use targets::{Probed, Resolved, Targets};
use wire::{Arrived, Wire};

/// Opens a trunk's sockets. Calls that an earlier life of this process may have `left_up` are ended, and known from the
/// first datagram on: whose far end hangs up meanwhile gets its answer.
pub async fn open(
    config: Arc<CarrierConfig>,
    voices: Arc<Catalogue>,
    said: mpsc::Sender<CarrierMessage>,
    left_up: &[CallState],
    own: Local,
) -> Result<Opened, StartError> {
    let name = config.name.clone();
    let Kind::Sip(sip) = config.transport.clone() else {
        return Err(StartError::NotSip(name));
    };
    let seeds = Seeds {
        signalling: random().ok_or(StartError::Random)?,
        session: random().ok_or(StartError::Random)? as u32 >> 1,
    };
    let opened = Wire::open(own.bind).await;
    let (wire, arrivals) = opened.map_err(|error| StartError::Bind {
        name: name.clone(),
        bind: own.bind,
        error,
    })?;
    let (media, keys) = Engine::start(EngineConfig {
        address: own.rtp,
        first_port: sip.rtp.first_port,
        last_port: sip.rtp.last_port,
        // A call that is settled may still say goodbye while its slot serves another.
        max_calls: sip.max_calls as usize * 2,
        seed: random().ok_or(StartError::Random)? as u64,
    })
    .map_err(|error| StartError::Media {
        name: name.clone(),
        error,
    })?;
    let bind = own.bind;
    let mut trunk = Trunk::new(config, sip, voices, (wire, media, own), seeds);
    trunk.read_credentials();
    left_up.iter().for_each(|state| trunk.end_orphan(state));
    let (carrier, orders) = CallCarrier::new(trunk.slots.clone());
    let task = Box::pin(async move {
        let resolved = trunk.look_for_targets();
        let inputs = Inputs {
            orders,
            arrivals,
            keys,
            resolved,
            said,
            change: None,
        };
        trunk.run(inputs).await;
    });
    Ok(Opened {
        trunk: carrier,
        bind,
        task,
    })
}

/// Random numbers, one for each purpose: what one gives away tells nothing of the other.
struct Seeds {
    signalling: u128,
    /// Session id of the first SDP.
    session: u32,
}

/// Everything a trunk listens to.
struct Inputs {
    orders: mpsc::Receiver<CallCommand>,
    arrivals: mpsc::Receiver<Arrived>,
    keys: mpsc::Receiver<MediaEvent>,
    resolved: mpsc::Receiver<Result<Resolved, Arc<str>>>,
    said: mpsc::Sender<CarrierMessage>,
    /// Another configuration is on its way, or will be dropped.
    change: Option<oneshot::Receiver<TrunkChange>>,
}

/// A trunk's task.
struct Trunk {
    config: Arc<CarrierConfig>,
    sip: SipConfig,
    own: Local,
    /// Host part of our own URIs.
    own_host: String,
    /// What our SDP says.
    media_address: IpAddr,
    endpoints: Arc<[Peer]>,
    voices: Arc<Catalogue>,
    endpoint: Endpoint,
    /// As last read, to notice a rotation.
    credentials: Option<(String, String)>,
    wire: Wire,
    media: Engine,
    /// Calls get no audio.
    mute: Option<notices::Mute>,
    targets: Targets,
    calls: HashMap<CallHandle, Active>,
    by_key: HashMap<AttemptKey, CallHandle>,
    by_media: HashMap<MediaId, CallHandle>,
    /// When call scripts want to be woken; what is no longer so is skipped.
    call_scripts: BinaryHeap<Reverse<(Instant, CallHandle)>>,
    /// Said, but not taken by dispatch yet. Bounded by the calls: each says a handful of things.
    outbox: VecDeque<CarrierMessage>,
    slots: Slots,
    next_probe: Option<Instant>,
    up: bool,
    /// No more orders are taken; when what still talks is hung up.
    draining: Option<Instant>,
    /// Session id of the next SDP.
    session: u32,
}

impl Trunk {
    fn new(
        config: Arc<CarrierConfig>,
        sip: SipConfig,
        voices: Arc<Catalogue>,
        (wire, media, own): (Wire, Engine, Local),
        seeds: Seeds,
    ) -> Trunk {
        let sent_by = local::sent_by(&sip, wire.local, own.rtp);
        Trunk {
            own,
            own_host: address::host_of(&sent_by).to_owned(),
            media_address: local::media_address(&sip, own.rtp),
            mute: None,
            endpoints: config.endpoints.clone().into(),
            endpoint: Endpoint::new(
                Config {
                    sent_by,
                    user: sip.username.as_deref().unwrap_or(USER).to_owned(),
                    user_agent: format!("ringback/{}", env!("CARGO_PKG_VERSION")),
                    credentials: None,
                    timing: Timing::default(),
                    allow: sip.allow.clone(),
                    media_allow: sip.rtp.allow.clone(),
                },
                seeds.signalling,
            ),
            config,
            sip,
            voices,
            credentials: None,
            wire,
            media,
            targets: Targets::default(),
            calls: HashMap::new(),
            by_key: HashMap::new(),
            by_media: HashMap::new(),
            call_scripts: BinaryHeap::new(),
            outbox: VecDeque::new(),
            slots: Slots::default(),
            next_probe: None,
            up: false,
            draining: None,
            session: seeds.session,
        }
    }

    async fn run(mut self, mut inputs: Inputs) {
        tracing::info!(carrier = %self.config.name, address = %self.wire.local, advertised = %self.own_host, "SIP trunk open");
        let mut buffer = vec![0; DATAGRAM];
        // Somebody may still command us.
        let mut commanded = true;
        loop {
            self.settle();
            let held = inputs.change.is_some();
            if self.is_finished() && !held {
                break;
            }
            let wake = self.next_deadline(held);
            tokio::select! {
                Some(event) = inputs.keys.recv() => self.heard(event),
                readable = self.wire.udp.readable() => match readable {
                    Ok(()) => self.datagrams(&mut buffer),
                    Err(error) => tracing::warn!(carrier = %self.config.name, %error, "SIP socket"),
                },
                Some(arrived) = inputs.arrivals.recv() => self.arrived(arrived),
                () = sleep_to(wake) => {
                    // What has arrived goes first: after a pause nothing is sent again that is answered already.
                    self.datagrams(&mut buffer);
                    self.time();
                }
                place = inputs.said.reserve(), if !self.outbox.is_empty() => match place {
                    Ok(place) => {
                        if let Some(said) = self.outbox.pop_front() {
                            place.send(said);
                        }
                    }
                    // Nobody listens any more: the process is ending.
                    Err(_) => {
                        self.outbox.clear();
                        self.drain(LAST_WORDS);
                    }
                },
                order = inputs.orders.recv(), if commanded => match order {
                    Some(CallCommand::Prepare(to)) => inputs.change = change::offer(to),
                    Some(order) => self.command(order),
                    None => {
                        commanded = false;
                        self.drain(LAST_WORDS);
                    }
                },
                Some(news) = inputs.resolved.recv() => self.resolved(news),
                change = change::next(&mut inputs.change) => {
                    inputs.change = None;
                    if let Some(resolved) = change.and_then(|change| self.change(change)) {
                        inputs.resolved = resolved;
                    }
                }
            }
        }
        tracing::info!(carrier = %self.config.name, "SIP trunk closed");
    }

    /// Drained, nothing is up, nothing is unsaid; or patience is over.
    fn is_finished(&self) -> bool {
        let Some(hang_up) = self.draining else {
            return false;
        };
        let done = self.calls.is_empty() && self.endpoint.is_settled() && self.outbox.is_empty();
        done || Instant::now() > hang_up + HANGUP_PATIENCE
    }

    /// `held`: it does not end, however long it has been drained.
    fn next_deadline(&self, held: bool) -> Option<Instant> {
        let talk = self.call_scripts.peek().map(|Reverse((at, _))| *at);
        let drain = self.draining.filter(|_| !held).map(|hang_up| {
            if Instant::now() < hang_up {
                hang_up
            } else {
                hang_up + HANGUP_PATIENCE
            }
        });
        [
            self.endpoint.next_deadline(),
            talk,
            self.next_probe,
            self.targets.next_late(),
            self.mute.as_ref().map(notices::Mute::may_end),
            drain,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn time(&mut self) {
        let now = Instant::now();
        self.endpoint.timeout(now);
        self.talk_timeouts(now);
        self.unmute(now);
        for probe in self.targets.late(now) {
            self.probed(probe, None);
        }
        if self.next_probe.is_some_and(|at| at <= now) {
            self.probe(now);
        }
        if self.draining.is_some_and(|hang_up| now >= hang_up) {
            self.hang_up_all(now);
        }
    }

    /// Reads what is there, but not for ever: others want their turn.
    fn datagrams(&mut self, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_A_TURN {
            match self.wire.udp.try_recv_from(buffer) {
                Ok((length, from)) => {
                    self.endpoint
                        .receive(Instant::now(), from, Transport::Udp, &buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of something sent earlier.
                Err(_) => {}
            }
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        let now = Instant::now();
        match arrived {
            Arrived::Frame { from, octets } => {
                self.endpoint.receive(now, from, Transport::Tcp, &octets)
            }
            Arrived::Accepted { from, out } => self.wire.accepted(from, out),
            Arrived::Closed { peer } => self.wire.closed(peer),
            Arrived::Refused { peer } => {
                self.wire.closed(peer);
                self.endpoint.unreachable(now, peer, Transport::Tcp);
            }
        }
    }

    fn command(&mut self, command: CallCommand) {
        match command {
            CallCommand::Submit(order) => self.submit(order),
            CallCommand::HangUp(key) => self.hang_up(key),
            CallCommand::Recorded(CallMark(mark)) => {
                self.endpoint
                    .recorded(Instant::now(), CallHandle::from_bits(mark));
            }
            CallCommand::Finish(Finish::Drain) => self.drain(self.longest_call()),
            CallCommand::Finish(Finish::End) => self.drain(LAST_WORDS),
            // The task itself sees to it.
            CallCommand::Prepare(_) => {}
        }
    }

    /// Takes nothing new; calls may go on for so long.
    fn drain(&mut self, patience: Duration) {
        let hang_up = Instant::now() + patience;
        self.draining = Some(self.draining.map_or(hang_up, |before| before.min(hang_up)));
        self.slots.set(0);
        self.next_probe = None;
    }

    fn resolved(&mut self, news: Result<Resolved, Arc<str>>) {
        match news {
            Ok(resolved) => {
                if !self.targets.resolved(&self.endpoints, &resolved) {
                    return;
                }
                self.check_reach(&resolved);
                let known = self.targets.iter().map(|target| target.address.ip());
                self.endpoint.set_peers(known);
            }
            Err(reason) => {
                tracing::warn!(carrier = %self.config.name, %reason, "endpoint");
                if self.targets.is_empty() {
                    self.tell_link(Link::Down { reason });
                }
                return;
            }
        }
        self.come_up();
        if self.config.probe.is_some() && self.draining.is_none() {
            self.probe(Instant::now());
        }
    }

    /// OPTIONS to every target that is not being asked.
    fn probe(&mut self, now: Instant) {
        let Some(every) = self.config.probe else {
            return;
        };
        self.next_probe = Some(now + every);
        let until = now + targets::patience(every, self.config.response_timeout);
        for target in self.targets.iter_mut().filter(|t| t.probe.is_none()) {
            let Some(peer) = self.endpoints.get(target.endpoint) else {
                continue;
            };
            let probe =
                self.endpoint
                    .options(now, target.address, target.transport, &address::peer(peer));
            target.probe = Some((probe, until));
        }
    }

    /// `status` None: no answer in time.
    fn probed(&mut self, probe: crate::protocol::sip::ProbeHandle, status: Option<u16>) {
        let link = match self.targets.probed(probe, Probed::of(status)) {
            None => return,
            Some(Probed::Alive) => Link::Probe { ok: true },
            Some(Probed::Silent) => Link::Probe { ok: false },
            Some(Probed::Unavailable(status)) => Link::Unavailable {
                reason: format!("OPTIONS answered {status}").into(),
            },
        };
        self.tell_link(link);
    }

    /// Carries out what the SIP machine has said.
    fn settle(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit {
                    to,
                    transport: Transport::Udp,
                    bytes,
                } => self.wire.send_udp(to, &bytes),
                Output::Transmit {
                    to,
                    transport: Transport::Tcp,
                    bytes,
                } => self.wire.send_tcp(to, bytes),
                Output::Event(event) => self.said(event),
            }
        }
    }

    /// The password may have been rotated since the last call.
    fn read_credentials(&mut self) {
        let (Some(username), Some(secret)) = (&self.sip.username, &self.sip.password) else {
            return;
        };
        let read = match secret.read() {
            Ok(password) => (username.to_string(), password),
            Err(reason) => {
                let until = match self.credentials {
                    Some(_) => "the one read before is used",
                    None => "calls go out without one, and are refused where the trunk asks for it",
                };
                tracing::error!(carrier = %self.config.name, %reason, "the password can't be read: {until}");
                return;
            }
        };
        if self.credentials.as_ref() != Some(&read) {
            let (username, password) = read.clone();
            self.credentials = Some(read);
            self.endpoint
                .set_credentials(Some(Credentials { username, password }));
        }
    }
}

async fn sleep_to(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// In our own URIs, where the trunk names no user.
const USER: &str = "ringback";
/// The largest datagram there is.
const DATAGRAM: usize = 65_536;
const DATAGRAMS_A_TURN: usize = 64;
/// News of names on their way to the task.
const NEWS: usize = 16;
/// How long calls may go on where the process ends: a goodbye, or the end of a digit.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the answers to those BYEs and CANCELs are awaited.
const HANGUP_PATIENCE: Duration = Duration::from_secs(4);
