//! A trunk's task: sockets, audio, names and the clock around the machine of [`trunk`](super::trunk).
//!
//! One task owns everything of a trunk, so nothing here locks. It waits for whatever comes first (a datagram, a
//! frame, a key, a command, a deadline), hands it to the machine, and does what the machine wants done. Events that
//! dispatch has no room for wait in an outbox, so that a slow reader never delays a key or an ACK.

mod error;
mod hold;
mod local;
mod notices;
mod opened;
mod password;
mod resolve;
#[cfg(test)]
mod tests;
mod wire;

use std::{collections::VecDeque, future::pending, io, sync::Arc, time::Instant};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use super::{
    media::{Engine, EngineConfig, MediaEvent},
    trunk::{
        Local, Moment, Seeds, Trunk, TrunkChange, TrunkInput, TrunkOutput, TrunkSetup, most_audio,
    },
};
use crate::{
    carrier::{CallCarrier, CallCommand, CallToEnd, CarrierMessage, Finish, Slots},
    clock,
    config::carrier::{CarrierConfig, SipConfig, Transport as Kind},
    message::speech::Catalogue,
    protocol::{rtp::KeySource, sip::Transport},
};
pub use error::StartError;
pub use hold::hold;
pub use local::own_address;
use opened::random;
pub use opened::{Opened, start};
use password::Password;
use resolve::News;
use wire::{Arrived, Wire};

/// Opens a trunk's sockets. Calls that an earlier life of this process may have left up (`unterminated`) are ended, and known from the
/// first datagram on: whose far end hangs up meanwhile gets its answer.
pub async fn open(
    config: Arc<CarrierConfig>,
    voices: Arc<Catalogue>,
    said: mpsc::Sender<CarrierMessage>,
    unterminated: &[CallToEnd],
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
    let (media, keys) = engine(&sip, own)?.map_err(|error| StartError::Media {
        name: name.clone(),
        error,
    })?;
    let setup = TrunkSetup {
        config: config.clone(),
        sip,
        voices,
        own,
        bound: wire.local,
        seeds,
    };
    let mut driver = Driver {
        trunk: Trunk::new(setup),
        password: Password::of(&config),
        wire,
        media,
        outbox: VecDeque::new(),
        slots: Slots::default(),
    };
    driver.read_password();
    for call in unterminated {
        driver.input(TrunkInput::Unterminated(call));
    }
    let (carrier, orders) = CallCarrier::new(driver.slots.clone());
    let task = Box::pin(async move {
        driver.trunk.begin(moment());
        let inputs = Inputs {
            orders,
            arrivals,
            keys,
            resolved: mpsc::channel(1).1,
            said,
            change: None,
        };
        driver.run(inputs).await;
    });
    Ok(Opened {
        trunk: carrier,
        bind: own.bind,
        task,
    })
}

fn engine(
    sip: &SipConfig,
    own: Local,
) -> Result<io::Result<(Engine, mpsc::Receiver<MediaEvent>)>, StartError> {
    Ok(Engine::start(EngineConfig {
        address: own.rtp,
        first_port: sip.rtp.first_port,
        last_port: sip.rtp.last_port,
        max_calls: most_audio(sip.max_calls),
        seed: random().ok_or(StartError::Random)? as u64,
    }))
}

/// Everything a trunk listens to.
struct Inputs {
    orders: mpsc::Receiver<CallCommand>,
    arrivals: mpsc::Receiver<Arrived>,
    keys: mpsc::Receiver<MediaEvent>,
    resolved: mpsc::Receiver<News>,
    said: mpsc::Sender<CarrierMessage>,
    /// Another configuration is on its way, or will be dropped.
    change: Option<oneshot::Receiver<TrunkChange>>,
}

/// A trunk's task.
struct Driver {
    trunk: Trunk,
    password: Password,
    wire: Wire,
    media: Engine,
    /// Said, but not taken by dispatch yet. Bounded by the calls: each says a handful of things.
    outbox: VecDeque<CarrierMessage>,
    slots: Slots,
}

impl Driver {
    async fn run(mut self, mut inputs: Inputs) {
        tracing::info!(carrier = %self.trunk.name(), address = %self.wire.local, advertised = %self.trunk.advertised(), "SIP trunk open");
        let mut buffer = vec![0; DATAGRAM];
        // Somebody may still command us.
        let mut commanded = true;
        loop {
            self.carry_out(&mut inputs);
            let now = Instant::now();
            if self.trunk.is_finished(now, !self.outbox.is_empty()) {
                break;
            }
            let wake = self.trunk.next_deadline(now);
            tokio::select! {
                Some(event) = inputs.keys.recv() => self.input(TrunkInput::Media(event)),
                readable = self.wire.udp.readable() => match readable {
                    Ok(()) => self.datagrams(&mut buffer),
                    Err(error) => tracing::warn!(carrier = %self.trunk.name(), %error, "the UDP socket of a trunk fails"),
                },
                Some(arrived) = inputs.arrivals.recv() => self.arrived(arrived),
                () = sleep_to(wake) => {
                    // What has arrived goes first: after a pause nothing is sent again that is answered already.
                    self.datagrams(&mut buffer);
                    self.input(TrunkInput::Timer);
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
                        self.input(TrunkInput::Unheard);
                        self.input(TrunkInput::Finish(Finish::End));
                    }
                },
                order = inputs.orders.recv(), if commanded => match order {
                    Some(CallCommand::Prepare(to)) => {
                        inputs.change = hold::offer(to);
                        self.input(TrunkInput::Held(inputs.change.is_some()));
                    }
                    Some(order) => self.command(order),
                    None => {
                        commanded = false;
                        self.input(TrunkInput::Unheard);
                        self.input(TrunkInput::Finish(Finish::End));
                    }
                },
                Some(news) = inputs.resolved.recv() => self.input(TrunkInput::Resolved(news)),
                change = hold::next(&mut inputs.change) => {
                    inputs.change = None;
                    self.input(TrunkInput::Held(false));
                    if let Some(change) = change {
                        self.change(change);
                    }
                }
            }
        }
        tracing::info!(carrier = %self.trunk.name(), "SIP trunk closed");
    }

    fn input(&mut self, input: TrunkInput<'_>) {
        self.trunk.handle(moment(), input);
    }

    /// Reads what is there, but not for ever: others want their turn.
    fn datagrams(&mut self, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_A_TURN {
            match self.wire.udp.try_recv_from(buffer) {
                Ok((length, from)) => self.input(TrunkInput::Received {
                    from,
                    transport: Transport::Udp,
                    octets: &buffer[..length],
                }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of something sent earlier.
                Err(_) => {}
            }
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Frame { from, octets } => self.input(TrunkInput::Received {
                from,
                transport: Transport::Tcp,
                octets: &octets,
            }),
            Arrived::Accepted { from, out } => self.wire.accepted(from, out),
            Arrived::Closed { peer } => self.wire.closed(peer),
            Arrived::Refused { peer } => {
                self.wire.closed(peer);
                self.input(TrunkInput::Unreachable(peer));
            }
        }
    }

    fn command(&mut self, command: CallCommand) {
        match command {
            CallCommand::Submit(order) => self.input(TrunkInput::Order(order)),
            CallCommand::HangUp(key) => self.input(TrunkInput::HangUp(key)),
            CallCommand::Recorded(mark) => self.input(TrunkInput::Recorded(mark)),
            CallCommand::End(call) => self.input(TrunkInput::Unterminated(&call)),
            CallCommand::Finish(finish) => self.input(TrunkInput::Finish(finish)),
            // The task itself sees to it.
            CallCommand::Prepare(_) => {}
        }
    }

    fn change(&mut self, change: TrunkChange) {
        self.password.change(&change.config);
        self.read_password();
        self.input(TrunkInput::Change(Box::new(change)));
    }

    fn read_password(&mut self) {
        if let Some(credentials) = self.password.news(self.trunk.name()) {
            self.input(TrunkInput::Credentials(credentials));
        }
    }

    /// Does what the machine wants done.
    fn carry_out(&mut self, inputs: &mut Inputs) {
        while let Some(output) = self.trunk.poll_output() {
            match output {
                TrunkOutput::Transmit {
                    to,
                    transport: Transport::Udp,
                    bytes,
                } => self.wire.send_udp(to, &bytes),
                TrunkOutput::Transmit {
                    to,
                    transport: Transport::Tcp,
                    bytes,
                } => self.wire.send_tcp(to, bytes),
                TrunkOutput::Event(message) => self.outbox.push_back(message),
                TrunkOutput::Slots(slots) => self.slots.set(slots),
                TrunkOutput::Resolve(endpoints) => inputs.resolved = resolve::begin(endpoints),
                TrunkOutput::OpenMedia => {
                    let opened = self.media.open();
                    // It may have been rotated since the last call.
                    self.read_password();
                    self.input(TrunkInput::MediaOpened(opened));
                }
                TrunkOutput::Connect(media, to) => self.media.connect(media, to),
                TrunkOutput::Play {
                    media,
                    tag,
                    segments,
                } => self.media.play(media, tag, &segments),
                TrunkOutput::InfoKey(id, key) => {
                    let at = Instant::now();
                    if self.media.info(id, key, at) {
                        let source = KeySource::Info;
                        let event = MediaEvent::Key {
                            id,
                            key,
                            source,
                            at,
                        };
                        self.input(TrunkInput::Media(event));
                    }
                }
                TrunkOutput::CloseMedia(media, call) => {
                    let stats = self.media.close(media);
                    if let Some(call) = call.filter(|_| stats.is_some_and(|s| s.is_one_way())) {
                        notices::one_way(self.trunk.name(), &call);
                    }
                }
                TrunkOutput::MediaBounds(address, ports, most) => {
                    self.media.change(address, ports, most);
                }
                TrunkOutput::Notice(notice) => notices::log(self.trunk.name(), notice),
            }
        }
    }
}

fn moment() -> Moment {
    Moment {
        at: Instant::now(),
        wall: clock::now(),
    }
}

async fn sleep_to(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// The largest datagram there is.
const DATAGRAM: usize = 65_536;
const DATAGRAMS_A_TURN: usize = 64;
