//! One bind as a pure machine: binding, bound, unbinding, closed (SMPP 3.4, 2.2).
//!
//! Octets and time in; octets, [`SessionEvent`]s and the next deadline out. Submits carry the driver's token; a response
//! finds it by sequence number, also after the submit was given up as unanswered. What the peer says out of turn
//! is counted and ignored; only broken framing, silence and its own unbind end the session.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::BytesMut;

mod change;

use super::pdu::{self, Deliver, Frame, FrameError, Submit, command, status};

/// Submits given up as unanswered whose response is still recognised.
const MAX_LATE: usize = 4_096;
/// Octets waiting to be written beyond which nothing more is read: the peer must take its answers first.
const MAX_OUTPUT: usize = 1 << 20;
/// Deliveries without our answer beyond which more are refused: a peer's window is far smaller.
const MAX_BROUGHT: usize = 4_096;
/// Sequence numbers run from 1 to this (3.2).
const LAST_SEQUENCE: u32 = 0x7FFF_FFFF;

#[derive(Clone)]
pub struct Settings {
    pub system_id: String,
    pub password: String,
    pub system_type: String,
    /// Submits in flight.
    pub window: usize,
    /// For the answer to bind, submit_sm, enquire_link, unbind.
    pub response_timeout: Duration,
    /// From one enquire_link to the next; none: never.
    pub probe: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum SessionEvent {
    Bound,
    /// The peer answered a submit, in time or later.
    Answered {
        token: u64,
        status: u32,
        message_id: String,
    },
    /// No answer within the time; one may still come.
    Unanswered {
        token: u64,
    },
    /// A receipt or a text from a phone, under the peer's number; it waits for [`Session::delivered`].
    Delivered {
        deliver: Deliver,
        sequence: u32,
    },
    /// enquire_link was answered, or not.
    Probe {
        ok: bool,
    },
    /// The session is over; nothing follows.
    Closed(Closed),
}

/// Why a session ended, as far as the protocol can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    BindRefused(u32),
    BindUnanswered,
    ProbeUnanswered,
    Framing(FrameError),
    /// The peer sent unbind.
    PeerUnbound,
    /// Our own unbind, answered or not.
    Unbound,
}

/// What was ignored or refused; never ends a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Responses to nothing we asked, or to something answered before.
    pub stray_responses: u64,
    pub unknown_commands: u64,
    pub malformed: u64,
}

pub struct Session {
    settings: Settings,
    state: State,
    sequence: u32,
    waiting: HashMap<u32, Waiting>,
    /// Deadlines of submits, oldest first; those answered meanwhile are dropped when they come to the front.
    due: VecDeque<(Instant, u32)>,
    late: HashMap<u32, u64>,
    late_order: VecDeque<u32>,
    /// What the peer brought and we have not answered: command and number, oldest first.
    brought: VecDeque<(u32, u32)>,
    probing: Option<(u32, Instant)>,
    next_probe: Option<Instant>,
    heard: Instant,
    output: BytesMut,
    /// Octets ever put into `output`.
    queued: u64,
    events: VecDeque<SessionEvent>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Binding { sequence: u32, until: Instant },
    Bound,
    Unbinding { sequence: u32, until: Instant },
    Closed,
}

struct Waiting {
    token: u64,
    /// Where its first octet stands in the stream.
    start: u64,
}

impl Session {
    /// A session on a fresh connection: bind_transceiver is the first thing to be written.
    pub fn new(settings: Settings, now: Instant) -> Session {
        let mut session = Session {
            state: State::Binding {
                sequence: 1,
                until: now + settings.response_timeout,
            },
            settings,
            sequence: 1,
            waiting: HashMap::new(),
            due: VecDeque::new(),
            late: HashMap::new(),
            late_order: VecDeque::new(),
            brought: VecDeque::new(),
            probing: None,
            next_probe: None,
            heard: now,
            output: BytesMut::new(),
            queued: 0,
            events: VecDeque::new(),
            counters: Counters::default(),
        };
        session.write(|settings, out| {
            pdu::write_bind_transceiver(
                &settings.system_id,
                &settings.password,
                &settings.system_type,
                1,
                out,
            );
        });
        session
    }

    /// Takes every whole PDU off `input`.
    pub fn receive(&mut self, input: &mut BytesMut, now: Instant) {
        while self.state != State::Closed {
            match pdu::take_frame(input) {
                Ok(Some(frame)) => {
                    self.heard = now;
                    self.frame(frame, now);
                }
                Ok(None) => break,
                Err(error) => self.close(Closed::Framing(error)),
            }
        }
        self.forget_answered();
    }

    /// Acts on every deadline that has passed.
    pub fn timeout(&mut self, now: Instant) {
        match self.state {
            State::Binding { until, .. } if until <= now => {
                return self.close(Closed::BindUnanswered);
            }
            State::Unbinding { until, .. } if until <= now => return self.close(Closed::Unbound),
            State::Closed => return,
            State::Binding { .. } | State::Unbinding { .. } | State::Bound => {}
        }
        while let Some((_, sequence)) = self.due.front().copied().filter(|(until, _)| *until <= now)
        {
            self.due.pop_front();
            let Some(waiting) = self.waiting.remove(&sequence) else {
                continue;
            };
            self.remember_late(sequence, waiting.token);
            self.events.push_back(SessionEvent::Unanswered {
                token: waiting.token,
            });
            // A peer that has said nothing since is asked at once whether it lives.
            let silent = self.heard + self.settings.response_timeout <= now;
            if silent && self.next_probe.is_some() {
                self.next_probe = Some(now);
            }
        }
        self.forget_answered();
        if self.probing.is_some_and(|(_, until)| until <= now) {
            self.events.push_back(SessionEvent::Probe { ok: false });
            return self.close(Closed::ProbeUnanswered);
        }
        if self.next_probe.is_some_and(|due| due <= now) {
            self.probe(now);
        }
    }

    /// When [`Session::timeout`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = match self.state {
            State::Binding { until, .. } | State::Unbinding { until, .. } => Some(until),
            State::Bound => None,
            State::Closed => return None,
        };
        let submit = self.due.front().map(|(until, _)| *until);
        let probe = self.probing.map(|(_, until)| until).or(self.next_probe);
        [state, submit, probe].into_iter().flatten().min()
    }

    /// How many submits the window has place for now.
    pub fn room(&self) -> usize {
        match self.state {
            State::Bound => self.settings.window.saturating_sub(self.waiting.len()),
            State::Binding { .. } | State::Unbinding { .. } | State::Closed => 0,
        }
    }

    /// Submits without an answer yet.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Writes a submit; false where there is no [`Session::room`] for it, or its fields don't fit.
    pub fn submit(&mut self, token: u64, submit: &Submit<'_>, now: Instant) -> bool {
        if self.room() == 0 || !submit.fits() {
            return false;
        }
        let sequence = self.next_sequence();
        let start = self.queued;
        self.write(|_, out| submit.write(sequence, out));
        self.waiting.insert(sequence, Waiting { token, start });
        self.due
            .push_back((now + self.settings.response_timeout, sequence));
        true
    }

    /// Says goodbye; the session closes on the answer or after the response timeout.
    pub fn unbind(&mut self, now: Instant) {
        match self.state {
            State::Bound => {
                let sequence = self.next_sequence();
                self.write(|_, out| pdu::write_bare(command::UNBIND, status::OK, sequence, out));
                self.state = State::Unbinding {
                    sequence,
                    until: now + self.settings.response_timeout,
                };
            }
            State::Binding { .. } => self.close(Closed::Unbound),
            State::Unbinding { .. } | State::Closed => {}
        }
    }

    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// What is to be written; the driver takes octets off its front as the socket takes them.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Whether more input is welcome: not while the peer does not take what it has asked for.
    pub fn wants_input(&self) -> bool {
        self.output.len() < MAX_OUTPUT
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The submits without an answer when the connection is gone: token, and whether any octet of it was written.
    pub fn unanswered(&self) -> impl Iterator<Item = (u64, bool)> + '_ {
        let written = self.queued - self.output.len() as u64;
        self.waiting
            .values()
            .map(move |waiting| (waiting.token, waiting.start < written))
    }

    fn frame(&mut self, frame: Frame, now: Instant) {
        if frame.command & command::RESPONSE != 0 {
            return self.response(frame, now);
        }
        let Frame {
            command, sequence, ..
        } = frame;
        match command {
            command::ENQUIRE_LINK => {
                self.write(|_, out| {
                    pdu::write_bare(command | command::RESPONSE, status::OK, sequence, out)
                });
            }
            command::DELIVER_SM | command::DATA_SM => self.brought(frame),
            command::UNBIND => {
                self.write(|_, out| {
                    pdu::write_bare(command | command::RESPONSE, status::OK, sequence, out)
                });
                self.close(Closed::PeerUnbound);
            }
            command::ALERT_NOTIFICATION | command::OUTBIND => {} // neither has a response (4.1.7, 4.12)
            _ => {
                self.counters.unknown_commands += 1;
                self.write(|_, out| {
                    pdu::write_bare(
                        command::GENERIC_NACK,
                        status::UNKNOWN_COMMAND,
                        sequence,
                        out,
                    )
                });
            }
        }
    }

    /// Answers a deliver_sm or data_sm: we have what it brought, for good.
    pub fn delivered(&mut self, sequence: u32) {
        self.answer(sequence, status::OK);
    }

    /// Answers it: there is no room for it now, it shall come again.
    pub fn refused(&mut self, sequence: u32) {
        self.answer(sequence, status::QUEUE_FULL);
    }

    fn answer(&mut self, sequence: u32, status: u32) {
        let Some(at) = self
            .brought
            .iter()
            .position(|(_, number)| *number == sequence)
        else {
            return;
        };
        let Some((command, _)) = self.brought.remove(at) else {
            return;
        };
        if self.state != State::Closed {
            self.write(|_, out| pdu::write_delivered(command, status, sequence, out));
        }
    }

    /// Deliveries of the peer that wait for [`Session::delivered`].
    pub fn undelivered(&self) -> usize {
        self.brought.len()
    }

    fn brought(&mut self, frame: Frame) {
        let Frame {
            command,
            sequence,
            body,
            ..
        } = frame;
        let parsed = match command {
            command::DATA_SM => Deliver::parse_data_sm(body),
            _ => Deliver::parse_deliver_sm(body),
        };
        let status = match (self.state, parsed) {
            (State::Binding { .. }, _) => status::WRONG_BIND_STATE,
            (_, None) => {
                self.counters.malformed += 1;
                status::REFUSED_FOR_GOOD
            }
            (_, Some(_)) if self.brought.len() >= MAX_BROUGHT => status::QUEUE_FULL,
            (_, Some(deliver)) => {
                self.brought.push_back((command, sequence));
                self.events
                    .push_back(SessionEvent::Delivered { deliver, sequence });
                return;
            }
        };
        self.write(|_, out| pdu::write_delivered(command, status, sequence, out));
    }

    fn response(&mut self, frame: Frame, now: Instant) {
        const BIND_RESP: u32 = command::BIND_TRANSCEIVER | command::RESPONSE;
        const SUBMIT_RESP: u32 = command::SUBMIT_SM | command::RESPONSE;
        const PROBE_RESP: u32 = command::ENQUIRE_LINK | command::RESPONSE;
        const UNBIND_RESP: u32 = command::UNBIND | command::RESPONSE;
        match (frame.command, self.state) {
            (BIND_RESP, State::Binding { sequence, .. }) if sequence == frame.sequence => {
                self.bound(frame.status, now)
            }
            (command::GENERIC_NACK, State::Binding { sequence, .. })
                if sequence == frame.sequence =>
            {
                self.close(Closed::BindRefused(frame.status));
            }
            (UNBIND_RESP | command::GENERIC_NACK, State::Unbinding { sequence, .. })
                if sequence == frame.sequence =>
            {
                self.close(Closed::Unbound);
            }
            (PROBE_RESP | command::GENERIC_NACK, _)
                if self.probing.is_some_and(|(s, _)| s == frame.sequence) =>
            {
                self.probing = None;
                self.events.push_back(SessionEvent::Probe { ok: true });
            }
            (SUBMIT_RESP | command::GENERIC_NACK, _) => self.answered(&frame),
            _ => self.counters.stray_responses += 1,
        }
    }

    fn bound(&mut self, status: u32, now: Instant) {
        if status != status::OK {
            return self.close(Closed::BindRefused(status));
        }
        self.state = State::Bound;
        self.next_probe = self.settings.probe.map(|probe| now + probe);
        self.events.push_back(SessionEvent::Bound);
    }

    fn answered(&mut self, frame: &Frame) {
        let waiting = self
            .waiting
            .remove(&frame.sequence)
            .map(|waiting| waiting.token);
        let Some(token) = waiting.or_else(|| self.late.remove(&frame.sequence)) else {
            self.counters.stray_responses += 1;
            return;
        };
        // A nack that says "no error" is still no acceptance.
        let status = match (frame.command, frame.status) {
            (command::GENERIC_NACK, status::OK) => status::UNKNOWN_COMMAND,
            (_, status) => status,
        };
        let message_id = if status == status::OK {
            pdu::message_id(&frame.body)
        } else {
            String::new()
        };
        self.events.push_back(SessionEvent::Answered {
            token,
            status,
            message_id,
        });
    }

    fn probe(&mut self, now: Instant) {
        self.next_probe = self.settings.probe.map(|probe| now + probe);
        if self.probing.is_none() && self.state == State::Bound {
            let sequence = self.next_sequence();
            self.write(|_, out| pdu::write_bare(command::ENQUIRE_LINK, status::OK, sequence, out));
            self.probing = Some((sequence, now + self.settings.response_timeout));
        }
    }

    fn remember_late(&mut self, sequence: u32, token: u64) {
        if self.late_order.len() >= MAX_LATE
            && let Some(oldest) = self.late_order.pop_front()
        {
            self.late.remove(&oldest);
        }
        self.late.insert(sequence, token);
        self.late_order.push_back(sequence);
    }

    fn forget_answered(&mut self) {
        while let Some((_, sequence)) = self.due.front()
            && !self.waiting.contains_key(sequence)
        {
            self.due.pop_front();
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = if self.sequence >= LAST_SEQUENCE {
            1
        } else {
            self.sequence + 1
        };
        self.sequence
    }

    fn close(&mut self, why: Closed) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.events.push_back(SessionEvent::Closed(why));
        }
    }

    fn write(&mut self, write: impl FnOnce(&Settings, &mut BytesMut)) {
        let before = self.output.len();
        write(&self.settings, &mut self.output);
        self.queued += (self.output.len() - before) as u64;
    }
}

#[cfg(test)]
mod tests;
