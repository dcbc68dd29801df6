//! The trunk's signalling: a user agent server for many calls (RFC 3261 sections 8.2, 13.3, 15, 17.2).
//!
//! Pure: messages and time in, [`Output`]s and the next deadline out. Media is opened, begun and closed by
//! outputs; its thread answers through [`Exchange::media`]. It may not read the clock or own a socket.

mod calls;
mod dialogs;
mod invites;

use super::call::{Call, Peer, State, Timer};
use super::digest::Credentials;
use super::sip::{Basics, Malformed, Message, Start, Writer};
use super::stats::Counts;
use super::talk::{Audio, Doing, Terms, Told};
use crate::record;
use crate::script::{Dice, Faults};
use crate::subscriber::Habits;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What never changes while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address in Contact.
    pub contact: SocketAddr,
    /// Ask for these.
    pub credentials: Option<Credentials>,
    /// How quick people are.
    pub habits: Habits,
    /// Keep the audio for the ear.
    pub keep_audio: bool,
    /// Media runs at all.
    pub media: bool,
    /// Everything random follows from it.
    pub seed: u64,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Send(Peer, Vec<u8>),
    /// Open a media socket for this call and say its address by [`Exchange::bound`], at once.
    Bind(u64),
    /// Begin to send and to listen.
    Talk(u64, Box<Terms>),
    /// The person has picked up.
    Answered(u64),
    /// End the media (or close the socket where it never began). Where it began, [`Exchange::media`] gets what
    /// was heard.
    Hush(u64),
    /// A call has ended: write it down.
    Ended(Box<record::Call>, Option<Audio>),
    /// The gateway broke a rule.
    Broken(&'static str, String),
}

/// What the media says.
#[derive(Debug)]
pub enum Heard {
    /// The person does something.
    Does(Doing),
    /// The media has ended.
    Ended(Box<Told>),
}

/// All calls of one trunk.
#[derive(Debug)]
pub struct Exchange {
    settings: Settings,
    faults: Arc<Faults>,
    dice: Dice,
    calls: HashMap<u64, Call>,
    /// By Call-ID and the caller's tag.
    dialogs: HashMap<(String, String), u64>,
    /// Calls that have ended and wait for what was heard.
    endings: HashMap<u64, record::Call>,
    recent: Recent,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    delayed: VecDeque<(Instant, Peer, Vec<u8>)>,
    out: VecDeque<Output>,
    last_id: u64,
    counts: Counts,
}

impl Exchange {
    /// Without calls.
    pub fn new(settings: Settings) -> Exchange {
        Exchange {
            dice: Dice::new(settings.seed),
            settings,
            faults: Arc::default(),
            calls: HashMap::new(),
            dialogs: HashMap::new(),
            endings: HashMap::new(),
            recent: Recent::default(),
            timers: BinaryHeap::new(),
            delayed: VecDeque::new(),
            out: VecDeque::new(),
            last_id: 0,
            counts: Counts::default(),
        }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, faults: Arc<Faults>) {
        self.faults = faults;
    }

    /// How quick people are from now on.
    pub fn set_habits(&mut self, habits: Habits) {
        self.settings.habits = habits;
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Exchange::elapsed`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        let delayed = self.delayed.front().map(|(at, ..)| *at);
        timer.into_iter().chain(delayed).min()
    }

    /// The counts so far, and the calls that are up.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// The Call-IDs of those that ring or are up.
    pub fn live(&self) -> impl Iterator<Item = &str> {
        let calls = self.calls.values().filter(|call| call.is_live());
        calls.map(|call| call.basics.call_id.as_str())
    }

    /// How many calls are live or still wait for something.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.endings.is_empty()
    }

    /// Calls that have ended, handed out or not, and those that are about to. One that hangs counts when it is given up:
    /// nobody waits for it before.
    pub fn begun(&self) -> u64 {
        let calls = self.calls.values();
        let unended = calls.filter(|call| !call.written && call.state != State::Mute);
        self.counts.ended + unended.count() as u64
    }

    /// A datagram came. Keep-alives of line breaks are skipped.
    pub fn datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) {
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        match Message::datagram(bytes) {
            Ok(message) => self.message(message, Peer::Udp(from), now),
            Err(fault) => self.malformed(fault),
        }
    }

    /// Bytes that are no message came.
    pub fn malformed(&mut self, fault: Malformed) {
        self.counts.malformed += 1;
        self.broken("sip", format!("a malformed message: {fault:?}"));
    }

    /// A message came.
    pub fn message(&mut self, message: Message, peer: Peer, now: Instant) {
        if self.faults.silent {
            return;
        }
        if let Start::Response { status } = message.start {
            return self.response(&message, status, now);
        }
        let basics = match Basics::of(&message) {
            Ok(basics) => basics,
            Err(fault) => {
                self.malformed(fault);
                if message.first("via").is_some() {
                    let bytes = message.response(400, None, peer.address()).end();
                    self.send(response_to(&message, peer), bytes, now);
                }
                return;
            }
        };
        if basics.method != "ACK"
            && let Some(bytes) = self.recent.find(&basics.branch, &basics.method)
        {
            self.counts.repeated += 1;
            let bytes = bytes.to_vec();
            return self.send(response_to(&message, peer), bytes, now);
        }
        match basics.method.as_str() {
            "INVITE" => self.invite(message, basics, peer, now),
            "ACK" => self.ack(&basics, now),
            "CANCEL" => self.cancel(&message, &basics, peer, now),
            "BYE" => self.bye(&message, &basics, peer, now),
            "INFO" | "UPDATE" => self.in_dialog(&message, &basics, peer, now),
            "OPTIONS" => {
                self.counts.options += 1;
                let writer =
                    message.response(200, Some(&format!("o{}", self.last_id)), peer.address());
                let writer = writer
                    .header("Allow", ALLOW)
                    .header("Accept", "application/sdp");
                self.reply(&message, &basics, peer, writer.end(), now);
            }
            _ => {
                let writer = message
                    .response(405, Some("x"), peer.address())
                    .header("Allow", ALLOW);
                self.reply(&message, &basics, peer, writer.end(), now);
            }
        }
    }

    /// The driver has opened a media socket for the call, or could not.
    pub fn bound(&mut self, id: u64, media: Option<SocketAddr>, now: Instant) {
        match (self.calls.get_mut(&id), media) {
            (Some(call), Some(media)) => call.media = Some(media),
            (Some(_), None) => self.refuse(id, 503, now),
            (None, _) => {}
        }
    }

    /// Time has passed.
    pub fn elapsed(&mut self, now: Instant) {
        while self.delayed.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, peer, bytes)) = self.delayed.pop_front() {
                self.push_send(peer, bytes);
            }
        }
        while let Some(Reverse((at, id, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(call) = self.calls.get_mut(&id) else {
                continue;
            };
            let deadline = &mut call.deadlines[timer as usize];
            if *deadline != Some(at) {
                continue;
            }
            *deadline = None;
            match timer {
                Timer::Answer => self.person_decides(id, now),
                Timer::Resend => self.resend(id, now),
                Timer::Own => self.resend_own(id, now),
                Timer::HangUp => self.hang_up(id, now),
                Timer::Forget => self.end(id, record::EndedBy::Trunk, now),
            }
        }
    }

    /// Ends what is left: the simulator stops.
    pub fn stop(&mut self, now: Instant) {
        let left: Vec<u64> = self.calls.keys().copied().collect();
        for id in left {
            self.end(id, record::EndedBy::Trunk, now);
        }
    }

    fn timer(&mut self, id: u64, timer: Timer, at: Instant) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.deadlines[timer as usize] = Some(at);
            self.timers.push(Reverse((at, id, timer)));
        }
    }

    /// Answer a request other than INVITE, and remember the answer for its repetitions.
    fn reply(
        &mut self,
        message: &Message,
        basics: &Basics,
        peer: Peer,
        bytes: Vec<u8>,
        now: Instant,
    ) {
        self.recent
            .keep(&basics.branch, &basics.method, bytes.clone(), now);
        self.send(response_to(message, peer), bytes, now);
    }

    /// Send now, or as much later as the faults say.
    fn send(&mut self, peer: Peer, bytes: Vec<u8>, now: Instant) {
        if self.faults.response_delay_ms == 0 && self.delayed.is_empty() {
            self.push_send(peer, bytes);
        } else if self.delayed.len() < MAX_DELAYED {
            let at = now + Duration::from_millis(self.faults.response_delay_ms);
            self.delayed.push_back((at, peer, bytes));
        }
    }

    fn push_send(&mut self, peer: Peer, bytes: Vec<u8>) {
        if !self.faults.silent {
            self.out.push_back(Output::Send(peer, bytes));
        }
    }

    fn broken(&mut self, protocol: &'static str, reason: String) {
        self.out.push_back(Output::Broken(protocol, reason));
    }

    fn word(&mut self) -> String {
        format!("{:016x}", self.dice.bits())
    }
}

/// Where a response goes (RFC 3261 section 18.2.2, RFC 3581): back to the source; without `rport`, to the port
/// of the topmost Via.
fn response_to(message: &Message, peer: Peer) -> Peer {
    let Peer::Udp(source) = peer else { return peer };
    let via = message
        .first("via")
        .and_then(|via| super::sip::split_commas(via).next())
        .unwrap_or_default();
    if super::sip::param(via, "rport").is_some() {
        return peer;
    }
    let port = super::sip::host_port(super::sip::sent_by(via))
        .map_or(source.port(), |(_, port)| port.unwrap_or(5060));
    Peer::Udp(SocketAddr::new(source.ip(), port))
}

/// Final answers of transactions that are over, for repetitions of their requests.
#[derive(Debug, Default)]
struct Recent {
    answers: HashMap<(String, String), Vec<u8>>,
    order: VecDeque<(Instant, (String, String))>,
}

impl Recent {
    fn find(&self, branch: &str, method: &str) -> Option<&[u8]> {
        self.answers
            .get(&(branch.to_owned(), method.to_owned()))
            .map(Vec::as_slice)
    }

    fn keep(&mut self, branch: &str, method: &str, bytes: Vec<u8>, now: Instant) {
        let too_old = |at: Instant| now.duration_since(at) > super::call::GIVE_UP;
        while self.order.len() >= MAX_RECENT
            || self.order.front().is_some_and(|(at, _)| too_old(*at))
        {
            if let Some((_, key)) = self.order.pop_front() {
                self.answers.remove(&key);
            }
        }
        let key = (branch.to_owned(), method.to_owned());
        if self.answers.insert(key.clone(), bytes).is_none() {
            self.order.push_back((now, key));
        }
    }
}

/// What the trunk understands.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
/// The most calls at once; beyond it, 503.
pub const MAX_CALLS: usize = 50_000;
/// Answers remembered for repetitions.
const MAX_RECENT: usize = 65_536;
/// Messages that wait under a response delay.
const MAX_DELAYED: usize = 65_536;

/// A response with our Contact.
fn with_contact(writer: Writer, contact: SocketAddr) -> Writer {
    writer.header("Contact", format_args!("<sip:trunk@{contact}>"))
}

#[cfg(test)]
mod tests;
