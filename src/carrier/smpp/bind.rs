//! One bind's life, as a pure machine: connect to one endpoint after the other, bind, carry orders and deliveries, be
//! lost, wait, connect again; until it is drained. Around [`Session`] (the protocol) and [`Orders`] (what texts become).
//!
//! Octets and time come in; octets, [`BindEvent`]s and the next deadline go out. After any input [`Bind::settle`] does
//! what follows from it. It owns no socket, reads no clock, and knows nothing of the other binds (`pool`).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    live::Live,
    orders::{OrderOutcome, Orders, refused},
    receipts, status,
};
use crate::{
    carrier::{Incoming, Reply, TextOrder},
    cause::Cause,
    challenge::{AttemptKey, Millis},
    config::secret::SecretError,
    protocol::smpp::{Closed, Counters, Session, SessionEvent},
    retry::{SHORTEST, Waits},
};

/// How long answers may take while draining, beyond the carrier's own response timeout.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// What has come of an input, in order.
#[derive(Debug)]
pub enum BindEvent {
    Bound,
    /// No session came to be, with the reason for the operator.
    NotBound(String),
    /// The session that was bound is over; `counters`: what the peer has said out of turn.
    Lost {
        reason: String,
        counters: Counters,
    },
    Outcome(OrderOutcome),
    Probe {
        ok: bool,
    },
    /// The peer has brought this; it is answered by [`Bind::answer`].
    Brought {
        incoming: Incoming,
        sequence: u32,
    },
}

/// What the bind wants of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// A new one, to this endpoint of the carrier.
    Wanted(usize),
    /// It has one.
    Open,
    /// None now: what [`Bind::output`] still has may leave, then it is closed.
    None,
    /// None ever again.
    Over,
}

pub struct Bind {
    /// Its own endpoint: where each round of connecting begins.
    first: usize,
    live: Arc<Live>,
    state: State,
    waits: Waits,
    /// When this round of connecting began.
    tried: Instant,
    is_draining: bool,
    /// The last octets of a session that is over.
    last: BytesMut,
    events: VecDeque<BindEvent>,
}

enum State {
    Waiting { until: Instant },
    Connecting { nth: usize, reasons: Vec<String> },
    Connected(Box<Carried>),
    Over,
}

/// A session in its connection, and the orders that it carries.
struct Carried {
    session: Session,
    orders: Orders,
    is_bound: bool,
    drain_until: Option<Instant>,
    /// The goodbye is said: the session itself waits for its answer.
    is_unbinding: bool,
}

impl Bind {
    /// `first`: which of the endpoints it asks first. The waits between its tries are chosen by `seed`.
    pub fn new(first: usize, live: Arc<Live>, seed: u64, now: Instant) -> Bind {
        let mut bind = Bind {
            first,
            live,
            state: State::Waiting { until: now },
            waits: Waits::seeded(seed),
            tried: now,
            is_draining: false,
            last: BytesMut::new(),
            events: VecDeque::new(),
        };
        bind.connect(now);
        bind
    }

    // --- what comes in -------------------------------------------------------------------------------------------

    /// Without a session it fails at once. `concatenation` marks the parts of its text.
    pub fn submit(&mut self, order: TextOrder, concatenation: u8) {
        let outcome = match &mut self.state {
            State::Connected(carried) if carried.is_bound => {
                carried.orders.take(order, concatenation)
            }
            _ => Some(refused(order.key, Cause::CarrierFault.failure(None))),
        };
        self.events.extend(outcome.map(BindEvent::Outcome));
    }

    /// The connection that was wanted is there. `password`: as it reads now.
    pub fn connected(&mut self, password: Result<String, SecretError>, now: Instant) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        let settings = match password {
            Ok(password) => self.live.settings(password),
            Err(error) => return self.not_bound(format!("password: {error}"), now),
        };
        self.last.clear();
        self.state = State::Connected(Box::new(Carried {
            session: Session::new(settings, now),
            orders: Orders::new(self.live.statuses.clone()),
            is_bound: false,
            drain_until: None,
            is_unbinding: false,
        }));
    }

    /// There was none to be had from this endpoint.
    pub fn connect_failed(&mut self, reason: String, now: Instant) {
        let State::Connecting { nth, reasons } = &mut self.state else {
            return;
        };
        *nth += 1;
        reasons.push(reason);
        if *nth >= self.live.config.endpoints.len() {
            let reason = reasons.join("; ");
            self.not_bound(reason, now);
        }
    }

    /// The connection is gone, says whoever reads and writes it.
    pub fn disconnected(&mut self, reason: String, now: Instant) {
        if matches!(self.state, State::Connected(_)) {
            self.session_over(reason, now);
        }
        self.last.clear();
    }

    /// Takes every whole PDU off `input`.
    pub fn receive(&mut self, input: &mut BytesMut, now: Instant) {
        if let State::Connected(carried) = &mut self.state {
            carried.session.receive(input, now);
        }
    }

    /// Whoever was brought a delivery of this session has it, or has no room for it.
    pub fn answer(&mut self, sequence: u32, reply: Reply) {
        if let State::Connected(carried) = &mut self.state {
            match reply {
                Reply::Taken => carried.session.delivered(sequence),
                Reply::QueueFull => carried.session.refused(sequence),
            }
        }
    }

    /// Acts on every deadline that has passed.
    pub fn timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if *until <= now => self.connect(now),
            State::Connected(carried) => carried.session.timeout(now),
            State::Waiting { .. } | State::Connecting { .. } | State::Over => {}
        }
    }

    /// Nothing new is taken; what is in the air is waited for, within bounds.
    pub fn drain(&mut self, now: Instant) {
        self.is_draining = true;
        match &mut self.state {
            State::Connected(carried) => {
                let limit = self.live.config.response_timeout + DRAIN_GRACE;
                carried.drain_until.get_or_insert(now + limit);
            }
            State::Waiting { .. } | State::Connecting { .. } => self.state = State::Over,
            State::Over => {}
        }
    }

    /// Window, waits and the meanings of statuses are others from here on. `password`: if it can be read; one that can't is
    /// of no use to a session that stands.
    pub fn change(&mut self, live: Arc<Live>, password: Option<String>, now: Instant) {
        self.live = live;
        if let State::Connected(carried) = &mut self.state {
            carried.orders.read_by(self.live.statuses.clone());
            if let Some(password) = password {
                carried.session.change(self.live.settings(password), now);
            }
        }
    }

    // --- what follows --------------------------------------------------------------------------------------------

    /// Says what the session has brought, moves waiting parts into the window, ends what is over.
    pub fn settle(&mut self, now: Instant, wall: Millis) {
        let State::Connected(carried) = &mut self.state else {
            return;
        };
        let closed = carried.hear(&mut self.events, &self.live);
        let closed = closed.or_else(|| carried.go_on(&mut self.events, now, wall));
        match closed {
            Some(Closed::Unbound) => {
                self.is_draining = true;
                self.session_over("drained".to_owned(), now);
            }
            Some(why) => self.session_over(reason(why), now),
            None => {}
        }
    }

    /// The session is over: first it is said, then every order without an outcome gets one.
    fn session_over(&mut self, reason: String, now: Instant) {
        let State::Connected(mut carried) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        if carried.is_bound {
            let (reason, counters) = (reason.clone(), carried.session.counters());
            self.events.push_back(BindEvent::Lost { reason, counters });
        }
        let unwritten = carried.session.unanswered();
        let unwritten: Vec<u64> = unwritten
            .filter(|(_, written)| !written)
            .map(|(token, _)| token)
            .collect();
        let mut outcomes = Vec::new();
        carried.orders.lost(unwritten.into_iter(), &mut outcomes);
        self.events
            .extend(outcomes.into_iter().map(BindEvent::Outcome));
        self.last = std::mem::take(carried.session.output());
        match (carried.is_bound, self.is_draining) {
            (_, true) => {}
            (true, false) => {
                // After a long session the next try comes soon; never two in one second.
                if now.saturating_duration_since(self.tried) >= SHORTEST {
                    self.waits.succeeded();
                }
                self.wait(now);
            }
            (false, false) => self.not_bound(reason, now),
        }
    }

    fn not_bound(&mut self, reason: String, now: Instant) {
        self.events.push_back(BindEvent::NotBound(reason));
        self.wait(now);
    }

    fn wait(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.tried);
        let until = now + self.waits.next_wait().saturating_sub(since);
        self.state = State::Waiting { until };
    }

    fn connect(&mut self, now: Instant) {
        self.tried = now;
        if self.live.config.endpoints.is_empty() {
            return self.not_bound("no endpoint is configured".to_owned(), now);
        }
        self.state = State::Connecting {
            nth: 0,
            reasons: Vec::new(),
        };
    }

    // --- what goes out -------------------------------------------------------------------------------------------

    pub fn poll_event(&mut self) -> Option<BindEvent> {
        self.events.pop_front()
    }

    pub fn connection(&self) -> Connection {
        match &self.state {
            State::Connecting { nth, .. } => {
                Connection::Wanted((self.first + nth) % self.live.config.endpoints.len().max(1))
            }
            State::Connected(_) => Connection::Open,
            State::Waiting { .. } => Connection::None,
            State::Over => Connection::Over,
        }
    }

    /// What is to be written; the driver takes octets off its front as the socket takes them.
    pub fn output(&mut self) -> &mut BytesMut {
        match &mut self.state {
            State::Connected(carried) => carried.session.output(),
            State::Waiting { .. } | State::Connecting { .. } | State::Over => &mut self.last,
        }
    }

    /// Whether octets of the peer are welcome.
    pub fn wants_input(&self) -> bool {
        matches!(&self.state, State::Connected(carried) if carried.session.wants_input())
    }

    /// Whether orders are taken from the queue: they are refused quickly where there is no session, and stay where they
    /// are while it has more than enough.
    pub fn takes_orders(&self) -> bool {
        match &self.state {
            State::Connected(carried) => {
                let most = self.live.smpp.window as usize * 2;
                carried.drain_until.is_none() && carried.orders.unsettled() < most
            }
            State::Waiting { .. } | State::Connecting { .. } | State::Over => true,
        }
    }

    /// When [`Bind::timeout`] wants to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Connected(carried) => {
                let waits = carried.is_busy() && !carried.is_unbinding;
                let drain = carried.drain_until.filter(|_| waits);
                let session = carried.session.next_deadline();
                session.into_iter().chain(drain).min()
            }
            State::Connecting { .. } | State::Over => None,
        }
    }
}

impl Carried {
    /// What the session has to say.
    fn hear(&mut self, events: &mut VecDeque<BindEvent>, live: &Live) -> Option<Closed> {
        let mut closed = None;
        while let Some(event) = self.session.poll_event() {
            match event {
                SessionEvent::Answered {
                    token,
                    status,
                    message_id,
                } => {
                    let outcome = self.orders.answered(token, status, message_id);
                    events.extend(outcome.map(BindEvent::Outcome));
                }
                SessionEvent::Unanswered { token } => {
                    let outcome = self.orders.unanswered(token);
                    events.extend(outcome.map(BindEvent::Outcome));
                }
                SessionEvent::Closed(why) => closed = Some(why),
                SessionEvent::Bound => {
                    self.is_bound = true;
                    events.push_back(BindEvent::Bound);
                }
                SessionEvent::Probe { ok } => events.push_back(BindEvent::Probe { ok }),
                SessionEvent::Delivered { deliver, sequence } => {
                    match receipts::read(&deliver, &live.statuses) {
                        Some(incoming) => {
                            events.push_back(BindEvent::Brought { incoming, sequence });
                        }
                        None => {
                            tracing::debug!(carrier = %live.config.name, ?deliver, "neither receipt nor text");
                            self.session.delivered(sequence);
                        }
                    }
                }
            }
        }
        closed
    }

    /// Fills the window; says goodbye once everything is answered that was in the air at a drain, or in vain.
    fn go_on(
        &mut self,
        events: &mut VecDeque<BindEvent>,
        now: Instant,
        wall: Millis,
    ) -> Option<Closed> {
        let mut outcomes = Vec::new();
        self.orders
            .fill(&mut self.session, now, wall, &mut outcomes);
        events.extend(outcomes.into_iter().map(BindEvent::Outcome));
        let until = self.drain_until?;
        if !self.is_busy() || until <= now {
            self.session.unbind(now);
            self.is_unbinding = true;
            if !self.is_bound {
                return Some(Closed::Unbound);
            }
        }
        None
    }

    fn is_busy(&self) -> bool {
        self.orders.unsettled() + self.session.undelivered() > 0
    }
}

fn reason(why: Closed) -> String {
    match why {
        Closed::BindRefused(code) => format!("bind refused: {code:#010x} ({})", status::name(code)),
        Closed::BindUnanswered => "bind not answered".into(),
        Closed::ProbeUnanswered => "enquire_link not answered".into(),
        Closed::Framing(error) => error.reason(),
        Closed::PeerUnbound => "unbound by the peer".into(),
        Closed::Unbound => "unbound".into(),
    }
}

/// The order goes to nobody.
pub fn unplaced(key: AttemptKey) -> OrderOutcome {
    refused(key, Cause::CarrierFault.failure(None))
}

#[cfg(test)]
mod tests;
