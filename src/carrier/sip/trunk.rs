//! One trunk, pure: who is called where, what its calls do, and how it stands with its far end.
//!
//! It lies between three machines that know nothing of each other, the signalling of `protocol::sip`, the scripts of
//! [`call_script`](super::call_script) and the audio, which whoever drives it keeps. [`TrunkInput`]s come in with the
//! [`Moment`] at which they happened; [`TrunkOutput`]s are taken until there are none; [`Trunk::next_deadline`] says
//! when it wants its next [`TrunkInput::Timer`]. It reads no clock, opens no socket or file, and writes no log.

mod call_scripts;
mod calls;
mod change;
mod notices;
mod own;
mod placing;
mod targets;
#[cfg(test)]
mod tests;
mod way;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    address,
    media::{Connection, MediaEvent, MediaId, MediaPort, OpenError},
};
use crate::{
    carrier::{CallMark, CallOrder, CallToEnd, CarrierMessage, Finish, Link},
    challenge::{AttemptKey, Millis},
    config::carrier::{CarrierConfig, Endpoint as Peer, SipConfig},
    message::speech::Catalogue,
    protocol::{
        rtp::{Key, Segment},
        sip::{
            CallHandle, Config, Endpoint, Output, ProbeHandle, Transport, digest::Credentials,
            transaction::Timing,
        },
    },
};
use calls::Active;
pub use calls::calls_in;
pub use change::{TrunkChange, is_another_link, most_audio};
pub use notices::Notice;
pub use own::{Local, media_address, sent_by, unable};
use placing::{CAP_MARGIN, Opening};
use targets::{Probed, Targets};
pub use targets::{Resolved, literal};

/// When something happens, on the two clocks that a trunk goes by: that of its timers, and that of orders' deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Instant,
    pub wall: Millis,
}

impl Moment {
    fn time_left(self, deadline: Millis) -> Duration {
        deadline.since(self.wall).min(LONGEST_LIFE)
    }
}

/// What happens to a trunk.
pub enum TrunkInput<'a> {
    /// A call that is to be made.
    Order(Box<CallOrder>),
    /// The call of this attempt is to end.
    HangUp(AttemptKey),
    /// The last state of this call is durable.
    Recorded(CallMark),
    /// A call that an earlier life of the process may have left up is to end.
    Unterminated(&'a CallToEnd),
    /// Nobody takes what it says any more: nothing that it asks to be recorded will be.
    Unheard,
    /// No order comes any more.
    Finish(Finish),
    /// Another configuration is being prepared: until it has come, or this says false, the trunk does not end.
    Held(bool),
    Change(Box<TrunkChange>),
    /// What the trunk's password is now.
    Credentials(Option<Credentials>),
    /// The addresses of an endpoint, or why there are none.
    Resolved(Result<Resolved, Arc<str>>),
    /// A datagram, or a frame of a connection.
    Received {
        from: SocketAddr,
        transport: Transport,
        octets: &'a [u8],
    },
    /// No connection could be made to there: what was to go over it has not left.
    Unreachable(SocketAddr),
    /// The answer to [`TrunkOutput::OpenMedia`], in the same order.
    MediaOpened(Result<MediaPort, OpenError>),
    Media(MediaEvent),
    Timer,
}

/// What a trunk wants done, in this order.
pub enum TrunkOutput {
    Transmit {
        to: SocketAddr,
        transport: Transport,
        bytes: Bytes,
    },
    /// For the core.
    Event(CarrierMessage),
    /// How many calls the trunk can take at once now.
    Slots(u32),
    /// Ask what these names stand for from now on, and of no others.
    Resolve(Arc<[Peer]>),
    /// Open audio for a call.
    OpenMedia,
    /// The audio goes there from now on, and comes from there.
    Connect(MediaId, Connection),
    /// Play this instead of what is playing.
    Play {
        media: MediaId,
        tag: u32,
        segments: Vec<Segment>,
    },
    /// A key by SIP INFO: it counts, and comes back as a [`MediaEvent::Key`], unless the audio brought the same press.
    InfoKey(MediaId, Key),
    /// The audio of this call (by its Call-ID, where one was placed) is over.
    CloseMedia(MediaId, Option<Arc<str>>),
    /// Where audio is opened from now on: address, ports, most at once.
    MediaBounds(IpAddr, (u16, u16), usize),
    /// For the operator.
    Notice(Notice),
}

private_debug!(TrunkInput<'_>, TrunkOutput);

/// What a trunk begins with.
pub struct TrunkSetup {
    pub config: Arc<CarrierConfig>,
    pub sip: SipConfig,
    pub voices: Arc<Catalogue>,
    pub own: Local,
    /// The address that its socket is bound to.
    pub bound: SocketAddr,
    pub seeds: Seeds,
}

/// Random numbers, one for each purpose: what one gives away tells nothing of the other.
#[derive(Clone, Copy)]
pub struct Seeds {
    pub signalling: u128,
    /// Session id of the first SDP.
    pub session: u32,
}

private_debug!(TrunkSetup, Seeds);

/// The machine.
pub struct Trunk {
    config: Arc<CarrierConfig>,
    sip: SipConfig,
    own: Local,
    bound: SocketAddr,
    /// Host part of our own URIs.
    own_host: String,
    /// What our SDP says.
    media_address: IpAddr,
    endpoints: Arc<[Peer]>,
    voices: Arc<Catalogue>,
    endpoint: Endpoint,
    /// Calls get no audio.
    mute: Option<notices::Mute>,
    targets: Targets,
    /// What asks for audio, in the order of asking.
    opening: VecDeque<Opening>,
    calls: HashMap<CallHandle, Active>,
    by_key: HashMap<AttemptKey, CallHandle>,
    /// Calls of an earlier life of the process that are being ended.
    unterminated: BTreeMap<CallHandle, AttemptKey>,
    /// What it says is recorded.
    heard: bool,
    by_media: HashMap<MediaId, CallHandle>,
    /// When call scripts want to be woken; what is no longer so is skipped.
    call_scripts: BinaryHeap<Reverse<(Instant, CallHandle)>>,
    out: VecDeque<TrunkOutput>,
    next_probe: Option<Instant>,
    up: bool,
    /// No more orders are taken; when what still talks is hung up.
    draining: Option<Instant>,
    /// It does not end, however long it has been drained.
    held: bool,
    /// Session id of the next SDP.
    session: u32,
}

private_debug!(Trunk);

impl Trunk {
    /// Looks for its targets with the first [`Trunk::begin`].
    pub fn new(setup: TrunkSetup) -> Trunk {
        let TrunkSetup {
            config,
            sip,
            voices,
            own,
            bound,
            seeds,
        } = setup;
        let sent_by = sent_by(&sip, bound, own.rtp);
        Trunk {
            own,
            bound,
            own_host: address::host_of(&sent_by).to_owned(),
            media_address: media_address(&sip, own.rtp),
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
            targets: Targets::default(),
            opening: VecDeque::new(),
            calls: HashMap::new(),
            by_key: HashMap::new(),
            unterminated: BTreeMap::new(),
            heard: true,
            by_media: HashMap::new(),
            call_scripts: BinaryHeap::new(),
            out: VecDeque::new(),
            next_probe: None,
            up: false,
            draining: None,
            held: false,
            session: seeds.session,
        }
    }

    /// Its sockets are read from now on: whom may it call?
    pub fn begin(&mut self, now: Moment) {
        self.look_for_targets(now.at);
        self.settle(now);
    }

    /// The carrier's name.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// The host by which the far end is told to reach it.
    pub fn advertised(&self) -> &str {
        &self.own_host
    }

    /// Something happens. Then drain [`Trunk::poll_output`].
    pub fn handle(&mut self, now: Moment, input: TrunkInput<'_>) {
        match input {
            TrunkInput::Order(order) => self.submit(now, order),
            TrunkInput::HangUp(key) => self.hang_up(now.at, key),
            TrunkInput::Recorded(CallMark(mark)) => {
                self.endpoint.recorded(now.at, CallHandle::from_bits(mark));
            }
            TrunkInput::Unterminated(call) => self.end_unterminated(now.at, call),
            TrunkInput::Unheard => self.unheard(now.at),
            TrunkInput::Finish(Finish::Drain) => self.drain(now.at + self.longest_call()),
            TrunkInput::Finish(Finish::End) => self.drain(now.at + LAST_WORDS),
            TrunkInput::Held(held) => self.held = held,
            TrunkInput::Change(change) => self.change(now.at, *change),
            TrunkInput::Credentials(credentials) => self.endpoint.set_credentials(credentials),
            TrunkInput::Resolved(news) => self.resolved(now.at, news),
            TrunkInput::Received {
                from,
                transport,
                octets,
            } => self.endpoint.receive(now.at, from, transport, octets),
            TrunkInput::Unreachable(peer) => {
                self.endpoint.unreachable(now.at, peer, Transport::Tcp);
            }
            TrunkInput::MediaOpened(opened) => self.media_opened(now, opened),
            TrunkInput::Media(event) => self.heard(now.at, event),
            TrunkInput::Timer => self.timer(now),
        }
        self.settle(now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<TrunkOutput> {
        self.out.pop_front()
    }

    /// When [`TrunkInput::Timer`] is wanted. May come early: then nothing happens.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let talk = self.call_scripts.peek().map(|Reverse((at, _))| *at);
        let drain = self.draining.filter(|_| !self.held).map(|hang_up| {
            if now < hang_up {
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
            self.mute.as_ref().and_then(notices::Mute::may_end),
            drain,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Drained, and nothing is up or `unsaid` (its events have not all been taken); or patience is over.
    pub fn is_finished(&self, now: Instant, unsaid: bool) -> bool {
        let Some(hang_up) = self.draining.filter(|_| !self.held) else {
            return false;
        };
        (self.is_settled() && !unsaid) || now > hang_up + HANGUP_PATIENCE
    }

    /// No call is under way, and none is left at the far end that it knows of.
    pub fn is_settled(&self) -> bool {
        self.calls.is_empty() && self.opening.is_empty() && self.endpoint.is_settled()
    }

    fn timer(&mut self, now: Moment) {
        let at = now.at;
        self.endpoint.timeout(at);
        self.talk_timeouts(at);
        self.unmute(at);
        for probe in self.targets.late(at) {
            self.probed(probe, None);
        }
        if self.next_probe.is_some_and(|next| next <= at) {
            self.probe(at);
        }
        if self.draining.is_some_and(|hang_up| at >= hang_up) {
            self.hang_up_all(at);
        }
    }

    /// Takes nothing new; what talks then is hung up.
    fn drain(&mut self, hang_up: Instant) {
        self.draining = Some(self.draining.map_or(hang_up, |before| before.min(hang_up)));
        self.out.push_back(TrunkOutput::Slots(0));
        self.next_probe = None;
    }

    fn resolved(&mut self, now: Instant, news: Result<Resolved, Arc<str>>) {
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
                self.notice(Notice::Unresolved(reason.clone()));
                if self.targets.is_empty() {
                    self.tell_link(Link::Down { reason });
                }
                return;
            }
        }
        self.come_up();
        if self.config.probe.is_some() && self.draining.is_none() {
            self.probe(now);
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
    fn probed(&mut self, probe: ProbeHandle, status: Option<u16>) {
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
    fn settle(&mut self, now: Moment) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit {
                    to,
                    transport,
                    bytes,
                } => self.out.push_back(TrunkOutput::Transmit {
                    to,
                    transport,
                    bytes,
                }),
                Output::Event(event) => self.said(now, event),
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.out.push_back(TrunkOutput::Notice(notice));
    }
}

/// Longer than any challenge lives: keeps sums of instants in range.
const LONGEST_LIFE: Duration = Duration::from_secs(3_600);
/// In our own URIs, where the trunk names no user.
const USER: &str = "ringback";
/// How long calls may go on where the process ends: a goodbye, or the end of a digit.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the answers to those BYEs and CANCELs are awaited.
const HANGUP_PATIENCE: Duration = Duration::from_secs(4);
