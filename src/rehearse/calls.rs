//! A trunk: the real machine of its driver, and SIP over a network in memory to the far end.
//!
//! What the machine sends goes through [`Network`] to the simulator's exchange ([`FarEnd`]), and back. Audio is events: what
//! is played takes its time, and a key that a person presses arrives a moment later.

mod audio;
mod ending;
mod far_end;
mod machine;
mod messages;
mod network;
mod reach;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    stage::{Effect, Stage},
    steps::CallStep,
};
use crate::{
    carrier::{
        CallMark, CallOrder, CallToEnd, DriverId, Slots,
        sip::{
            media::{MediaEvent, MediaId},
            trunk::{Local, Moment, Seeds, Trunk, TrunkChange, TrunkInput, TrunkSetup},
        },
    },
    challenge::{AttemptKey, Millis},
    config::carrier::{CarrierConfig, Endpoint, SipConfig},
    message::speech::Catalogue,
    protocol::{
        rtp::{Key, KeySource},
        sip::digest::Credentials,
    },
};
use audio::Audio;
use far_end::{FarEnd, Says};
use network::Network;
use reach::OutOfReach;

/// A call is up no longer than this, if the gateway keeps its word.
const LONGEST: Duration = Duration::from_secs(240);
/// So long after its end was told no call is up: a last word is said, an answer that can't be recorded is ended after 32 s
/// (`sip/trunk`), and the BYE comes through.
const OVER: Duration = Duration::from_secs(60);
/// Where the network has held for so long.
const HELD: Duration = Duration::from_secs(20);
/// So long after everything is over at the trunk it is over at its far end: longer than a call is mute there.
const FAR_END_DONE: Duration = Duration::from_secs(130);
/// The longest that a network is gone: what is sent again for 32 s comes through after it.
const OUTAGE: (u64, u64) = (200, 12_000);
/// So long it holds after that.
const BETWEEN_OUTAGES: Duration = Duration::from_secs(40);
/// What the far end's exchange asks for, where it asks.
const CREDENTIALS: (&str, &str) = ("mfa", "sesame");

pub struct Calls {
    place: u32,
    config: Arc<CarrierConfig>,
    sip: SipConfig,
    voices: Arc<Catalogue>,
    slots: Slots,
    driver: DriverId,
    /// The machine of this life's driver.
    trunk: Option<Trunk>,
    /// It has begun.
    begun: bool,
    audio: Audio,
    /// The core takes what it says.
    is_heard: bool,
    /// When the machine is woken next.
    timer: Option<Instant>,
    orders: BTreeMap<AttemptKey, Ordered>,
    /// Attempts by the marks of their calls, of this life.
    marks: BTreeMap<CallMarkNumber, AttemptKey>,
    /// What is being done because this was recorded.
    recorded: Option<AttemptKey>,
    /// Calls that an INVITE has left for, by Call-ID.
    invited: BTreeMap<Arc<str>, AttemptKey>,
    /// Those of which the trunk has never heard more than that it shall come with credentials. No CANCEL may leave for them
    /// (RFC 3261 9.1): whatever the far end does with them, it ends by itself.
    unheard: BTreeSet<Arc<str>>,
    out_of_reach: OutOfReach,
    network: Network,
    far_ends: Vec<FarEnd>,
    /// Since when nothing is under way at the trunk.
    quiet_since: Option<Instant>,
}

type CallMarkNumber = u64;

/// What is known of an order of this life.
struct Ordered {
    deadline: Millis,
    code: String,
    invited: bool,
    settled: bool,
}

impl Calls {
    pub fn new(
        place: u32,
        config: Arc<CarrierConfig>,
        sip: SipConfig,
        voices: Arc<Catalogue>,
    ) -> Calls {
        Calls {
            place,
            config,
            sip,
            voices,
            slots: Slots::default(),
            driver: DriverId(0),
            trunk: None,
            begun: false,
            is_heard: true,
            audio: Audio::default(),
            timer: None,
            orders: BTreeMap::new(),
            marks: BTreeMap::new(),
            recorded: None,
            invited: BTreeMap::new(),
            unheard: BTreeSet::new(),
            out_of_reach: OutOfReach::default(),
            network: Network::default(),
            far_ends: Vec::new(),
            quiet_since: None,
        }
    }

    // --- the process ---------------------------------------------------------------------------------------------

    /// A driver begins.
    pub fn begin(&mut self, driver: DriverId, stage: &mut Stage<'_>) -> Slots {
        self.driver = driver;
        self.begun = false;
        self.timer = None;
        self.marks.clear();
        if self.far_ends.is_empty() {
            self.far_ends = FarEnd::all(&self.config, self.place, stage);
        }
        self.slots = Slots::default();
        self.is_heard = true;
        let mut half = || u128::from(stage.dice.below(u64::MAX));
        let seeds = Seeds {
            signalling: half() << 64 | half(),
            session: half() as u32 >> 1,
        };
        self.trunk = Some(Trunk::new(TrunkSetup {
            config: self.config.clone(),
            sip: self.sip.clone(),
            voices: self.voices.clone(),
            own: own(),
            bound: own().bind,
            seeds,
        }));
        let (username, password) = CREDENTIALS;
        let credentials = Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        self.input(TrunkInput::Credentials(Some(credentials)), stage);
        let after = stage.dice.between(5, 400);
        stage.later(after, CallStep::Up);
        self.slots.clone()
    }

    pub fn crash(&mut self) {
        self.trunk = None;
        self.far_ends.iter_mut().for_each(FarEnd::crashed);
        self.begun = false;
        self.timer = None;
        self.audio = self.audio.of_next_life();
        self.orders.clear();
        self.marks.clear();
    }

    /// The driver of a new life is told of a call that may be up.
    pub fn end_unterminated(&mut self, call: &CallToEnd, stage: &mut Stage<'_>) {
        self.input(TrunkInput::Unterminated(call), stage);
    }

    /// It looks for its targets; or those that it had lost are there again.
    fn up(&mut self, stage: &mut Stage<'_>) {
        if std::mem::replace(&mut self.begun, true) {
            return self.change(self.config.clone(), true, stage);
        }
        let now = self.moment(stage);
        if let Some(trunk) = &mut self.trunk {
            trunk.begin(now);
        }
        self.carry_out(stage);
    }

    /// The network is gone for a while; or the name of its far end stands for nothing any more.
    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        if !self.begun {
            return;
        }
        let now = self.moment(stage).at;
        if stage.dice.chance(500) && self.network.holds(now, BETWEEN_OUTAGES) {
            self.network
                .cut(now + stage.dice.between(OUTAGE.0, OUTAGE.1));
            return stage.effects.push(Effect::Fault("network to a trunk gone"));
        }
        let mut config = CarrierConfig::clone(&self.config);
        let nameless = |endpoint: &Endpoint| Endpoint {
            host: "trunk.example".into(),
            ..endpoint.clone()
        };
        config.endpoints = config.endpoints.iter().map(nameless).collect();
        self.change(Arc::new(config), true, stage);
        self.input(TrunkInput::Resolved(Err("cut".into())), stage);
        let after = stage.dice.between(200, 20_000);
        stage.later(after, CallStep::Up);
    }

    fn change(&mut self, config: Arc<CarrierConfig>, fresh: bool, stage: &mut Stage<'_>) {
        let change = TrunkChange {
            config,
            voices: self.voices.clone(),
            own: own(),
            fresh,
        };
        self.input(TrunkInput::Change(Box::new(change)), stage);
    }

    // --- what the core wants ------------------------------------------------------------------------------------

    pub fn submit(&mut self, order: &CallOrder, stage: &mut Stage<'_>) {
        let ordered = Ordered {
            deadline: order.deadline,
            code: order
                .content
                .code
                .as_ref()
                .map_or_else(String::new, |code| code.reveal().to_owned()),
            invited: false,
            settled: false,
        };
        self.orders.insert(order.key, ordered);
        self.input(TrunkInput::Order(Box::new(order.clone())), stage);
    }

    pub fn hang_up(&mut self, key: AttemptKey, stage: &mut Stage<'_>) {
        self.input(TrunkInput::HangUp(key), stage);
    }

    /// What waited for it may leave.
    pub fn recorded(&mut self, mark: CallMark, stage: &mut Stage<'_>) {
        self.recorded = self.marks.get(&mark.0).copied();
        self.input(TrunkInput::Recorded(mark), stage);
        self.recorded = None;
    }

    // --- the machine ---------------------------------------------------------------------------------------------

    fn moment(&self, stage: &Stage<'_>) -> Moment {
        Moment {
            at: stage.now,
            wall: stage.wall,
        }
    }

    fn input(&mut self, input: TrunkInput<'_>, stage: &mut Stage<'_>) {
        let now = self.moment(stage);
        if let Some(trunk) = &mut self.trunk {
            trunk.handle(now, input);
            self.carry_out(stage);
        }
    }

    // --- what happens later --------------------------------------------------------------------------------------

    pub fn step(&mut self, step: CallStep, stage: &mut Stage<'_>) {
        let now = self.moment(stage).at;
        match step {
            CallStep::Up => self.up(stage),
            CallStep::ToTrunk(from, bytes) => self.reaches_trunk(from, &bytes, stage),
            CallStep::ToFarEnd(at, bytes) => {
                self.network.arrived();
                if !self.network.holds(now, Duration::ZERO) {
                    return;
                }
                let says = self.far_ends[at].datagram(&bytes, own().bind, now, stage);
                self.far_end_says(at, says, stage);
            }
            CallStep::Timer => {
                if self.timer.is_some_and(|timer| timer <= now) {
                    self.timer = None;
                }
                self.input(TrunkInput::Timer, stage);
            }
            CallStep::FarTimer(at) => {
                let says = self.far_ends[at].timer(now);
                self.far_end_says(at, says, stage);
            }
            CallStep::Played(media, tag) => self.played(media, tag, stage),
            CallStep::Presses(at, call, key) => self.presses(at, call, key, stage),
            CallStep::HangsUp(at, call) => {
                let says = self.far_ends[at].hangs_up(call, now);
                self.far_end_says(at, says, stage);
            }
            CallStep::Key(media, key) => {
                if let Some(event) = self.key(media, key, KeySource::Event, stage) {
                    self.input(TrunkInput::Media(event), stage);
                }
            }
            CallStep::Silence(media) => {
                let Some(call) = self.audio.call_of(media) else {
                    return;
                };
                if !self.far_ends.iter().any(|far| far.is_heard(&call)) {
                    let event = MediaEvent::Silent { id: media };
                    self.input(TrunkInput::Media(event), stage);
                }
                stage.later(audio::SILENCE, CallStep::Silence(media));
            }
            CallStep::Longest(call) => {
                let up = self.far_ends.iter().any(|far| far.is_up(&call));
                let up = up && !self.unheard.contains(&call);
                if let (true, Some(key)) = (up, self.invited.get(&call)) {
                    stage.effects.push(Effect::UnterminatedCall(*key));
                }
            }
            CallStep::Over(key) => {
                if self.network.holds(now, HELD) && self.stays_up(key) {
                    stage.effects.push(Effect::UnterminatedCall(key));
                }
            }
        }
    }

    fn played(&mut self, media: MediaId, tag: u32, stage: &mut Stage<'_>) {
        let Some((key, heard)) = self.audio.played(media, tag) else {
            return;
        };
        if let Some(order) = self.orders.get(&key) {
            if !order.settled {
                stage.effects.push(Effect::Talks(key));
            }
            if !heard.is_empty() && heard == order.code {
                stage.effects.push(Effect::CodeRead(key));
            }
        }
        let event = MediaEvent::PlayDone { id: media, tag };
        self.input(TrunkInput::Media(event), stage);
    }

    fn presses(&mut self, at: usize, call: u64, key: char, stage: &mut Stage<'_>) {
        let now = self.moment(stage).at;
        let Some((id, port)) = self.far_ends[at].listens(call) else {
            return;
        };
        if let Some(attempt) = self.invited.get(&id) {
            if key == '#' {
                stage.effects.push(Effect::Pressed(*attempt));
            }
            if self.orders.get(attempt).is_some_and(|o| !o.settled) && self.audio.is_open(port) {
                stage.effects.push(Effect::Talks(*attempt));
            }
        }
        if stage.dice.chance(300) {
            let says = self.far_ends[at].key_by_info(call, key, now);
            return self.far_end_says(at, says, stage);
        }
        if let (Some(media), Some(key)) = (self.audio.at(port), Key::from_char(key)) {
            let after = stage.dice.between(20, 80);
            stage.later(after, CallStep::Key(media, key));
        }
    }

    fn far_end_says(&mut self, at: usize, says: Vec<Says>, stage: &mut Stage<'_>) {
        let now = self.moment(stage).at;
        for said in says {
            match said {
                Says::Datagram(bytes) => {
                    let from = self.far_ends[at].address;
                    self.out_of_reach.sent(&bytes);
                    for after in self.network.ways(now, stage) {
                        let step = CallStep::ToTrunk(from, bytes.clone());
                        stage.later(after, step);
                    }
                }
                Says::PickedUp(call) => {
                    for (after, step) in self.far_ends[at].person(call, at, stage) {
                        stage.later(after, step);
                    }
                }
                Says::Broken(reason) => {
                    let what = format!("the far end complains: {reason}");
                    stage.effects.push(Effect::Broken(what));
                }
            }
        }
        if let Some(next) = self.far_ends[at].next_timer() {
            let after = next.saturating_duration_since(now);
            stage.later(after, CallStep::FarTimer(at));
        }
    }
}

/// Where the gateway is.
fn own() -> Local {
    let ip = [127, 0, 0, 1].into();
    Local {
        bind: SocketAddr::new(ip, 5060),
        rtp: ip,
    }
}
