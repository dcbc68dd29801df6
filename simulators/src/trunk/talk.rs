//! The media of one call: what the phone hears, and what it sends every 20 ms.
//!
//! Pure: packets and time in; packets and [`Doing`]s out. The thread in `hub` owns sockets and the clock,
//! and the signalling in `exchange` decides when a talk begins and ends.

use super::g711::Law;
use super::person::{Act, Person};
use super::rtp::{Arrivals, Event, FRAME, Order, Packet};
use super::tones::Sound;
use crate::script::Dice;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How keys travel to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyWay {
    /// RFC 4733 with this payload type.
    Event(u8),
    /// Dual tones in the audio.
    Inband,
    /// SIP INFO, sent by the signalling.
    Info,
}

/// What a talk begins with.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where our packets go.
    pub remote: SocketAddr,
    /// The codec agreed on.
    pub law: Law,
    /// The payload type of telephone events, where they are agreed on.
    pub events: Option<u8>,
    /// How this phone's keys travel.
    pub keys: KeyWay,
    /// Who listens.
    pub person: Person,
    /// What is played towards the caller until the answer.
    pub early: Option<Sound>,
    /// What is played after the answer.
    pub sound: Sound,
    /// Whether the audio is kept for the ear.
    pub keep: bool,
    /// Seed of sequence numbers, SSRC and losses.
    pub seed: u64,
}

/// What the talk asks of the signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// This key was pressed; `info`: and must be sent by INFO.
    Key {
        /// Which key.
        key: char,
        /// By INFO.
        info: bool,
        /// When its first packet left.
        at: Instant,
    },
    /// The person hangs up.
    HangUp,
}

/// What was heard, as G.711 octets in their places; what never came is silence.
#[derive(Clone, Debug)]
pub struct Audio {
    /// How to read the octets.
    pub law: Law,
    /// From the first packet on.
    pub octets: Vec<u8>,
    /// From the answer to the first octet.
    pub offset: Duration,
}

/// The end of a talk.
#[derive(Clone, Debug)]
pub struct Told {
    /// What was heard, if it was kept.
    pub audio: Option<Audio>,
    /// The account of packets.
    pub arrivals: Arrivals,
    /// Rules broken, each named once.
    pub faults: BTreeSet<&'static str>,
}

/// The media of one call.
#[derive(Debug)]
pub struct Talk {
    terms: Terms,
    arrivals: Arrivals,
    faults: BTreeSet<&'static str>,
    heard: Hearing,
    answered: Option<Instant>,
    last_arrival: Option<Instant>,
    sending: Sending,
    dice: Dice,
}

/// Where received octets belong.
#[derive(Debug, Default)]
struct Hearing {
    octets: Vec<u8>,
    first_at: Option<Instant>,
    /// The stream and the timestamp that belongs to the first octet.
    base: Option<(u32, u32)>,
    /// Frames with speech, received and not yet told to the person.
    speech: u32,
}

#[derive(Debug)]
struct Sending {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    sound: Sound,
    at: u32,
    begun: bool,
    key: Option<Pressing>,
}

#[derive(Clone, Copy, Debug)]
struct Pressing {
    key: char,
    began: u32,
    /// Frames sent.
    frames: u16,
}

impl Talk {
    /// Begins silent or with early media; see [`Talk::answer`].
    pub fn new(terms: Terms) -> Talk {
        let mut dice = Dice::new(terms.seed);
        let sending = Sending {
            sequence: dice.bits() as u16,
            timestamp: dice.bits() as u32,
            ssrc: dice.bits() as u32,
            sound: terms.early.unwrap_or(Sound::Silence),
            at: 0,
            begun: false,
            key: None,
        };
        Talk {
            arrivals: Arrivals::default(),
            faults: BTreeSet::new(),
            heard: Hearing::default(),
            answered: None,
            last_arrival: None,
            sending,
            dice,
            terms,
        }
    }

    /// The call is answered: the person begins to listen.
    pub fn answer(&mut self, now: Instant) {
        if self.answered.is_none() {
            self.answered = Some(now);
            self.sending.sound = self.terms.sound;
            self.sending.at = 0;
        }
    }

    /// A packet came. Returns the time since the packet before it, where it directly followed that.
    pub fn packet(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        loss: f64,
        now: Instant,
    ) -> Option<Duration> {
        let Some(packet) = Packet::read(bytes) else {
            self.faults.insert("a media packet that is no RTP");
            return None;
        };
        if from != self.terms.remote {
            self.faults
                .insert("media from another address than the one in the offer");
        }
        if loss > 0.0 && self.dice.share() < loss {
            return None;
        }
        let order = self.arrivals.note(&packet);
        let spacing = self
            .last_arrival
            .filter(|_| order == Order::Next)
            .map(|last| now.duration_since(last));
        self.last_arrival = Some(now);
        if order == Order::Repeat {
            return None;
        }
        if packet.kind == self.terms.law.payload_type() {
            if packet.payload.len() != FRAME {
                self.faults
                    .insert("an audio packet of another length than 20 ms");
            }
            self.heard.place(&packet, &self.terms, now);
        } else if self.terms.events != Some(packet.kind) {
            self.faults.insert("a payload type that was not agreed on");
        }
        spacing
    }

    /// Twenty milliseconds have passed: what the person does, and the packet to send is appended to `out`.
    /// `loss` of ours are left out, as if lost on the way.
    pub fn tick(&mut self, loss: f64, now: Instant, out: &mut Vec<u8>) -> Option<Doing> {
        let mut doing = None;
        if self.answered.is_some() {
            let speech = self.heard.speech_now();
            match self.terms.person.hear(speech, now) {
                Some(Act::Press(key)) if self.terms.keys == KeyWay::Info => {
                    doing = Some(Doing::Key {
                        key,
                        info: true,
                        at: now,
                    });
                }
                Some(Act::Press(key)) => {
                    let pressing = Pressing {
                        key,
                        began: self.sending.timestamp,
                        frames: 0,
                    };
                    self.sending.key.get_or_insert(pressing);
                }
                Some(Act::HangUp) => doing = Some(Doing::HangUp),
                None => {}
            }
        }
        if self.answered.is_some() || self.terms.early.is_some() {
            let pressed = self.sending.frame(&self.terms, out);
            doing = doing.or(pressed.map(|key| Doing::Key {
                key,
                info: false,
                at: now,
            }));
            if loss > 0.0 && self.dice.share() < loss {
                out.clear();
            }
        }
        doing
    }

    /// Where packets go.
    pub fn remote(&self) -> SocketAddr {
        self.terms.remote
    }

    /// The end.
    pub fn end(self) -> Told {
        let offset = match (self.heard.first_at, self.answered) {
            (Some(first), Some(answered)) => first.saturating_duration_since(answered),
            _ => Duration::ZERO,
        };
        let law = self.terms.law;
        let audio = self.terms.keep.then_some(Audio {
            law,
            octets: self.heard.octets,
            offset,
        });
        Told {
            audio,
            arrivals: self.arrivals,
            faults: self.faults,
        }
    }
}

impl Hearing {
    fn place(&mut self, packet: &Packet<'_>, terms: &Terms, now: Instant) {
        let payload = &packet.payload[..packet.payload.len().min(MAX_PAYLOAD)];
        if is_speech(payload, terms.law) {
            self.speech += 1;
        }
        self.first_at.get_or_insert(now);
        if !terms.keep {
            return;
        }
        let at = match self.base {
            Some((ssrc, base)) if ssrc == packet.ssrc => {
                let at = packet.timestamp.wrapping_sub(base) as usize;
                if at > self.octets.len() + MAX_JUMP {
                    self.rebase(packet)
                } else {
                    at
                }
            }
            _ => self.rebase(packet),
        };
        let end = at + payload.len();
        if end > MAX_OCTETS {
            return;
        }
        if end > self.octets.len() {
            self.octets.resize(end, terms.law.silence());
        }
        self.octets[at..end].copy_from_slice(payload);
    }

    /// A new stream goes on where the old one ended.
    fn rebase(&mut self, packet: &Packet<'_>) -> usize {
        let at = self.octets.len();
        self.base = Some((packet.ssrc, packet.timestamp.wrapping_sub(at as u32)));
        at
    }

    /// Was there speech in these 20 ms? Packets that bunch up are told one by one.
    fn speech_now(&mut self) -> bool {
        if self.speech > 0 {
            self.speech -= 1;
            return true;
        }
        false
    }
}

impl Sending {
    /// Write the next packet; the key whose first it is.
    fn frame(&mut self, terms: &Terms, out: &mut Vec<u8>) -> Option<char> {
        let begun = self.key.filter(|pressing| pressing.frames == 0);
        match (self.key, terms.keys) {
            (Some(pressing), KeyWay::Event(kind)) => self.event(pressing, kind, out),
            (Some(pressing), _) => {
                self.audio(
                    Sound::Key(pressing.key),
                    u32::from(pressing.frames) * FRAME as u32,
                    terms.law,
                    out,
                );
                let frames = pressing.frames + 1;
                self.key = (frames < KEY_FRAMES).then_some(Pressing { frames, ..pressing });
            }
            (None, _) => {
                self.audio(self.sound, self.at, terms.law, out);
                self.at = self.at.wrapping_add(FRAME as u32);
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        begun.map(|pressing| pressing.key)
    }

    fn audio(&mut self, sound: Sound, at: u32, law: Law, out: &mut Vec<u8>) {
        let mut payload = [law.silence(); FRAME];
        if sound != Sound::Silence {
            for (place, octet) in payload.iter_mut().enumerate() {
                *octet = law.encode(sound.sample(at.wrapping_add(place as u32)));
            }
        }
        let marker = !self.begun;
        self.begun = true;
        self.write(law.payload_type(), marker, self.timestamp, &payload, out);
    }

    /// RFC 4733 section 2.5.1: the timestamp of the beginning in every packet, the duration growing, the end
    /// three times with the same duration.
    fn event(&mut self, pressing: Pressing, kind: u8, out: &mut Vec<u8>) {
        let frames = pressing.frames + 1;
        let end = frames >= KEY_FRAMES;
        let duration = frames.min(KEY_FRAMES) * FRAME as u16;
        let event = Event {
            code: Event::code_of(pressing.key).unwrap_or(11),
            end,
            duration,
        };
        self.write(kind, frames == 1, pressing.began, &event.write(), out);
        let over = frames == KEY_FRAMES + END_REPEATS;
        self.key = (!over).then_some(Pressing { frames, ..pressing });
    }

    fn write(&self, kind: u8, marker: bool, timestamp: u32, payload: &[u8], out: &mut Vec<u8>) {
        Packet {
            marker,
            kind,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            payload,
        }
        .write(out);
    }
}

/// Louder than the noise of a line: about -44 dB below full scale.
fn is_speech(payload: &[u8], law: Law) -> bool {
    let sum: i64 = payload
        .iter()
        .map(|octet| i64::from(law.decode(*octet)).pow(2))
        .sum();
    !payload.is_empty() && sum / payload.len() as i64 > SPEECH_POWER
}

/// How long a key is held: 100 ms.
pub const KEY_FRAMES: u16 = 5;
/// The end packet comes this often again.
pub const END_REPEATS: u16 = 2;
/// Audio kept per call: two minutes.
pub const MAX_OCTETS: usize = 120 * 8000;
/// A jump of the timestamp beyond this begins a new stream: ten seconds.
const MAX_JUMP: usize = 80_000;
/// The most of one packet that is heard.
const MAX_PAYLOAD: usize = 1600;
const SPEECH_POWER: i64 = 200 * 200;

#[cfg(test)]
mod tests;
