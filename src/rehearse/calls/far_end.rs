//! One target of a trunk: the simulator's exchange, and the people who pick up.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use simulators::{
    script::{Faults, Often, Refusal},
    subscriber::{Behaviour, Habits, VoiceBehaviour},
    trunk::{
        call::Peer,
        digest::Credentials,
        exchange::{Exchange, Heard, Output, Settings},
        talk::Doing,
    },
};

use super::{CREDENTIALS, messages};
use crate::{
    config::CarrierConfig,
    rehearse::{
        profile::Profile,
        stage::{Effect, Stage},
        steps::CallStep,
    },
};

pub struct FarEnd {
    pub address: SocketAddr,
    exchange: Exchange,
    /// It never answers.
    dead: bool,
    /// The network does what it likes: some complaints are its fault.
    lossy: bool,
    /// A process of the gateway has died: what it had forgotten before, the next can't know.
    crashed: bool,
    timer: Option<Instant>,
    /// What becomes of the calls, by Call-ID.
    fates: BTreeMap<Arc<str>, Fate>,
    /// Who is spoken to, by the exchange's number of the call.
    people: BTreeMap<u64, Person>,
}

struct Person {
    call: Arc<str>,
    fate: Fate,
    /// Where the gateway hears them.
    port: u16,
    hung_up: bool,
}

/// What the far end says.
pub enum Says {
    Datagram(Vec<u8>),
    PickedUp(u64),
    /// The gateway has broken a rule.
    Broken(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Presses,
    WrongKeyFirst,
    NoKey,
    Voicemail,
    HangsUp,
    PressesAndHangsUp,
    Forks,
    EarlyMedia,
    Busy,
    Declines,
    RingsOut,
    Refused,
    Throttled,
    Unreachable,
    /// No answer at all.
    Silent,
    /// 100, and nothing more.
    Hangs,
}

const OTHERS: [Fate; 15] = [
    Fate::WrongKeyFirst,
    Fate::NoKey,
    Fate::Voicemail,
    Fate::HangsUp,
    Fate::PressesAndHangsUp,
    Fate::Forks,
    Fate::EarlyMedia,
    Fate::Busy,
    Fate::Declines,
    Fate::RingsOut,
    Fate::Refused,
    Fate::Throttled,
    Fate::Unreachable,
    Fate::Silent,
    Fate::Hangs,
];
/// Of what a network that loses and repeats datagrams may be the cause.
const OF_THE_NETWORK: [&str; 4] = [
    "a BYE for an answer that was not ACKed",
    "an ACK before a final answer",
    "no answer to a request of ours in a call",
    "481 in answer to our",
];
/// The refusal had its ACK, which was lost; the call is over and forgotten.
const OF_A_CRASH: &str = "a refusal was never ACKed";
/// The same of an answer, where the network loses datagrams: its BYE came through, and whoever would have repeated the ACK is gone.
const OF_A_CRASH_AND_THE_NETWORK: &str = "a 200 was never ACKed";

impl FarEnd {
    /// One for each endpoint of the carrier. Of several one may be dead.
    pub fn all(config: &CarrierConfig, place: u32, stage: &mut Stage<'_>) -> Vec<FarEnd> {
        let addresses = config.endpoints.iter();
        let addresses: Vec<SocketAddr> = addresses
            .filter_map(|endpoint| Some(SocketAddr::new(endpoint.ip()?, endpoint.port)))
            .collect();
        let dead = addresses.len() > 1 && stage.dice.chance(stage.profile.dead_targets);
        let dead = dead.then(|| stage.dice.below(addresses.len() as u64) as usize);
        if dead.is_some() {
            stage.effects.push(Effect::Fault("a target that is dead"));
        }
        let credentials = match stage.dice.below(3) {
            0 => None,
            asks => Some(Credentials {
                username: CREDENTIALS.0.to_owned(),
                password: CREDENTIALS.1.to_owned(),
                proxy: asks == 1,
            }),
        };
        let far_end = |(at, address)| FarEnd {
            address,
            exchange: Exchange::new(Settings {
                contact: address,
                credentials: credentials.clone(),
                habits: Habits::default(),
                keep_audio: false,
                media: false,
                seed: stage.dice.below(u64::MAX) ^ u64::from(place),
            }),
            dead: dead == Some(at),
            lossy: is_lossy(stage.profile),
            crashed: false,
            timer: None,
            fates: BTreeMap::new(),
            people: BTreeMap::new(),
        };
        addresses.into_iter().enumerate().map(far_end).collect()
    }

    /// A datagram of the gateway's arrives.
    pub fn datagram(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        now: Instant,
        stage: &mut Stage<'_>,
    ) -> Vec<Says> {
        if self.dead {
            return Vec::new();
        }
        let invites = bytes.starts_with(b"INVITE ");
        let call: Arc<str> = messages::call_id(bytes).unwrap_or_default().into();
        if invites {
            let fate = self.fates.entry(call.clone());
            let fate = *fate.or_insert_with(|| fate_of(stage));
            self.exchange
                .set_faults(Arc::new(fate.faults(messages::called(bytes))));
            self.exchange.set_habits(Habits {
                ring: stage.dice.between(800, 9_000),
                ..Habits::default()
            });
        } else if bytes.starts_with(b"CANCEL ")
            && stage.dice.chance(stage.profile.answers_cancelled)
        {
            stage
                .effects
                .push(Effect::Fault("an answer after a CANCEL"));
            self.exchange.set_faults(Arc::new(Faults {
                answer_cancelled: Often::ALWAYS,
                ..Faults::default()
            }));
        }
        self.exchange.datagram(bytes, from, now);
        self.exchange.elapsed(now);
        self.exchange.set_faults(Arc::default());
        self.drain(now, invites.then_some((call, messages::audio_port(bytes))))
    }

    pub fn timer(&mut self, now: Instant) -> Vec<Says> {
        self.timer = self.timer.filter(|timer| *timer > now);
        self.exchange.elapsed(now);
        self.drain(now, None)
    }

    /// When it wants to be woken, if that is sooner than it will be.
    pub fn next_timer(&mut self) -> Option<Instant> {
        let next = self.exchange.deadline()?;
        if self.timer.is_some_and(|timer| timer <= next) {
            return None;
        }
        self.timer = Some(next);
        Some(next)
    }

    /// `invited`: the call that an INVITE has just come for, and where its audio is wanted.
    fn drain(&mut self, now: Instant, invited: Option<(Arc<str>, u16)>) -> Vec<Says> {
        let mut says = Vec::new();
        while let Some(output) = self.exchange.poll() {
            match output {
                Output::Send(Peer::Udp(_), bytes) => says.push(Says::Datagram(bytes)),
                Output::Bind(id) => {
                    let media = SocketAddr::new(self.address.ip(), 40_000);
                    self.exchange.bound(id, Some(media), now);
                    if let Some((call, port)) = &invited {
                        let person = Person {
                            call: call.clone(),
                            fate: self.fates.get(call).copied().unwrap_or(Fate::NoKey),
                            port: *port,
                            hung_up: false,
                        };
                        self.people.insert(id, person);
                    }
                }
                Output::Answered(id) => says.push(Says::PickedUp(id)),
                Output::Broken(_, reason) => {
                    if !self.is_excused(&reason) {
                        says.push(Says::Broken(reason));
                    }
                }
                Output::Ended(line, _) => self.people.retain(|_, p| *p.call != *line.call_id),
                Output::Send(Peer::Tcp(..), _) | Output::Talk(..) | Output::Hush(_) => {}
            }
        }
        says
    }

    /// The process of the gateway has died.
    pub fn crashed(&mut self) {
        self.crashed = true;
    }

    fn is_excused(&self, reason: &str) -> bool {
        let of_the_network = OF_THE_NETWORK.iter().any(|known| reason.contains(known));
        let of_both = reason == OF_A_CRASH_AND_THE_NETWORK;
        (self.lossy && of_the_network)
            || (self.crashed && reason == OF_A_CRASH)
            || (self.crashed && self.lossy && of_both)
    }

    // --- people --------------------------------------------------------------------------------------------------

    /// What the person who has picked up does, and when.
    pub fn person(&self, id: u64, at: usize, stage: &mut Stage<'_>) -> Vec<(Duration, CallStep)> {
        let Some(person) = self.people.get(&id) else {
            return Vec::new();
        };
        let first = stage.dice.between(500, 12_000);
        let presses = |after, key| (after, CallStep::Presses(at, id, key));
        match person.fate {
            Fate::Presses | Fate::Forks | Fate::EarlyMedia => vec![presses(first, '#')],
            Fate::WrongKeyFirst => {
                let then = first + stage.dice.between(100, 9_000);
                vec![presses(first, '5'), presses(then, '#')]
            }
            Fate::HangsUp => vec![(first, CallStep::HangsUp(at, id))],
            Fate::PressesAndHangsUp => {
                let then = first + stage.dice.between(10, 12_000);
                vec![presses(first, '#'), (then, CallStep::HangsUp(at, id))]
            }
            Fate::NoKey
            | Fate::Voicemail
            | Fate::Busy
            | Fate::Declines
            | Fate::RingsOut
            | Fate::Refused
            | Fate::Throttled
            | Fate::Unreachable
            | Fate::Silent
            | Fate::Hangs => Vec::new(),
        }
    }

    /// The call that this person is in (its Call-ID), and where the gateway hears them.
    pub fn listens(&self, id: u64) -> Option<(Arc<str>, u16)> {
        let person = self.people.get(&id).filter(|person| !person.hung_up)?;
        self.is_up(&person.call)
            .then(|| (person.call.clone(), person.port))
    }

    pub fn hangs_up(&mut self, id: u64, now: Instant) -> Vec<Says> {
        if let Some(person) = self.people.get_mut(&id) {
            person.hung_up = true;
        }
        self.exchange.media(id, Heard::Does(Doing::HangUp), now);
        self.drain(now, None)
    }

    pub fn key_by_info(&mut self, id: u64, key: char, now: Instant) -> Vec<Says> {
        let (info, at) = (true, now);
        let key = Doing::Key { key, info, at };
        self.exchange.media(id, Heard::Does(key), now);
        self.drain(now, None)
    }

    // --- what is left --------------------------------------------------------------------------------------------

    /// Rings or is up.
    pub fn is_up(&self, call: &str) -> bool {
        self.exchange.live().any(|live| live == call)
    }

    /// Sends audio.
    pub fn is_heard(&self, call: &str) -> bool {
        let mut people = self.people.values().filter(|p| *p.call == *call);
        people.any(|person| person.fate != Fate::NoKey && !person.hung_up) && self.is_up(call)
    }

    pub fn is_idle(&self) -> bool {
        self.exchange.is_idle()
    }

    /// What should not be at the end: calls that are up, but those that are `excused`.
    pub fn left_over(&self, excused: impl Fn(&str) -> bool) -> Option<String> {
        let up = self.exchange.live().filter(|call| !excused(call));
        let up = up.count();
        (up > 0).then(|| format!("{up} dialogs are up at the far end"))
    }
}

impl Fate {
    /// What the exchange is to do with the INVITE to this number.
    fn faults(self, called: &str) -> Faults {
        let voice = match self {
            Fate::Busy => VoiceBehaviour::Busy,
            Fate::Declines => VoiceBehaviour::Declined,
            Fate::RingsOut => VoiceBehaviour::NoAnswer,
            Fate::Unreachable => VoiceBehaviour::Unreachable,
            Fate::Forks => VoiceBehaviour::TwoAnswers,
            Fate::EarlyMedia => VoiceBehaviour::EarlyMedia,
            Fate::Presses
            | Fate::WrongKeyFirst
            | Fate::NoKey
            | Fate::Voicemail
            | Fate::HangsUp
            | Fate::PressesAndHangsUp
            | Fate::Refused
            | Fate::Throttled
            | Fate::Silent
            | Fate::Hangs => VoiceBehaviour::Normal,
        };
        let often = |is| if is { Often::ALWAYS } else { Often::NEVER };
        let behaviour = Behaviour {
            voice,
            ..Behaviour::default()
        };
        Faults {
            throttle: often(self == Fate::Throttled),
            error: Refusal {
                often: often(self == Fate::Refused),
                code: 500,
            },
            drop_after_send: often(self == Fate::Silent),
            hang_calls: self == Fate::Hangs,
            people: BTreeMap::from([(called.to_owned(), behaviour)]),
            ..Faults::default()
        }
    }
}

fn fate_of(stage: &mut Stage<'_>) -> Fate {
    match stage.dice.chance(stage.profile.call_fails) {
        true => *stage.dice.pick(&OTHERS),
        false => Fate::Presses,
    }
}

fn is_lossy(profile: &Profile) -> bool {
    !profile.is_healthy()
}
