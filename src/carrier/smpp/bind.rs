//! One bind: connects, carries a session, reconnects, for ever. The driver of [`Session`] and [`Orders`].
//!
//! It owns the socket and the clock and no protocol. Everything that is ready is read in one call and what it
//! leads to is written in one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

mod change;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{Sleep, sleep, sleep_until},
};

use super::{
    orders::{OrderOutcome, Orders, refused},
    receipts,
    shared::Shared,
    status,
};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, Link, Reply, TextOrder,
        connect::{self, Stream},
    },
    cause::Cause,
    clock,
    protocol::smpp::{self, Closed, Deliver, Session},
    retry::{SHORTEST, Waits},
};

use change::changed;

/// Octets read in one call.
const READ: usize = 64 * 1024;
/// Orders taken in one go.
const BATCH: usize = 256;
/// A timer for "never": looked at once an hour.
const NEVER: Duration = Duration::from_secs(3_600);
/// How long answers may take while draining, beyond the carrier's own response timeout.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// The last octets (unbind_resp) are given this long to leave.
const LAST_WRITE: Duration = Duration::from_millis(200);

/// What the splitter tells a bind.
pub enum ToBind {
    Submit(Box<TextOrder>),
    Drain,
}

/// Why a session's run ended.
enum Ended {
    /// With the reason for the operator.
    Lost(String),
    /// Drained, or nobody listens any more.
    Finished,
}

pub struct Bind {
    pub shared: Arc<Shared>,
    pub index: usize,
    pub inbox: mpsc::Receiver<ToBind>,
    /// Tells that what may change for a running session has changed.
    pub changes: watch::Receiver<()>,
    pub draining: bool,
}

impl Bind {
    /// Until drained, or until nobody listens.
    pub async fn run(mut self) {
        self.run_sessions().await;
        self.inbox.close();
        while let Ok(told) = self.inbox.try_recv() {
            if let ToBind::Submit(order) = told {
                self.refuse(&order).await;
            }
        }
    }

    async fn run_sessions(&mut self) {
        let mut waits = Waits::default();
        while !self.draining {
            let tried = Instant::now();
            let was_bound = match self.connect().await {
                Ok(Some(stream)) => {
                    let (ended, was_bound) = self.session(stream).await;
                    match ended {
                        Ended::Finished => return,
                        Ended::Lost(reason) if !was_bound => self.failed(&reason).await,
                        Ended::Lost(_) => {}
                    }
                    was_bound
                }
                Ok(None) => return,
                Err(reason) => {
                    self.failed(&reason).await;
                    false
                }
            };
            if was_bound && tried.elapsed() >= SHORTEST {
                waits.succeeded();
            }
            let wait = waits.next_wait().saturating_sub(tried.elapsed());
            // After a long session the next try comes soon; never two in one second.
            if self.meanwhile(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// One round over the endpoints, beginning with this bind's own. None: drained meanwhile.
    async fn connect(&mut self) -> Result<Option<Box<dyn Stream>>, String> {
        let shared = self.shared.clone();
        let config = &shared.live().config;
        let count = config.endpoints.len();
        let mut reasons = Vec::new();
        for nth in 0..count {
            let endpoint = &config.endpoints[(self.index + nth) % count];
            match self
                .meanwhile(connect::connect(
                    endpoint,
                    &config.tls,
                    config.response_timeout,
                ))
                .await
            {
                Some(Ok(stream)) => return Ok(Some(stream)),
                Some(Err(reason)) => reasons.push(reason),
                None => return Ok(None),
            }
        }
        Err(if reasons.is_empty() {
            "no endpoint is configured".into()
        } else {
            reasons.join("; ")
        })
    }

    async fn failed(&self, reason: &str) {
        tracing::debug!(carrier = %self.shared.name, bind = self.index, reason, "no session");
        if let Some(link) = self
            .shared
            .connect_failed(reason)
            .filter(|_| !self.draining)
        {
            self.shared.say(CarrierEvent::Link(link)).await;
        }
    }

    /// Waits for something while no session is bound: orders that come nevertheless fail at once.
    /// None: drained.
    async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                done = &mut wait => return Some(done),
                told = self.inbox.recv() => match told {
                    Some(ToBind::Submit(order)) => self.refuse(&order).await,
                    Some(ToBind::Drain) | None => {
                        self.draining = true;
                        return None;
                    }
                },
            }
        }
    }

    async fn refuse(&self, order: &TextOrder) {
        let outcome = refused(order.key, Cause::CarrierFault.failure(None));
        self.say(outcome).await;
    }

    /// The load is less before the outcome is heard, so that the slot is free for the next order.
    async fn say(&self, outcome: OrderOutcome) -> bool {
        if outcome.first {
            self.shared.loads[self.index]
                .orders
                .fetch_sub(1, Ordering::Relaxed);
        }
        self.shared
            .say(CarrierEvent::Attempt(outcome.key, outcome.event))
            .await
    }

    /// Carries one session. The flag says whether it was ever bound.
    async fn session(&mut self, stream: Box<dyn Stream>) -> (Ended, bool) {
        let shared = self.shared.clone();
        self.changes.mark_unchanged();
        let settings = match settings(&shared) {
            Ok(settings) => settings,
            Err(reason) => return (Ended::Lost(reason), false),
        };
        let (acks, given_back) = mpsc::unbounded_channel();
        let mut run = Run {
            acks,
            session: Session::new(settings, Instant::now()),
            orders: Orders::new(shared.live().statuses.clone()),
            bound: false,
            was_bound: false,
            listening: true,
            drain_until: None,
            most: shared.live().smpp.window as usize * 2,
            outcomes: Vec::new(),
            bind: self,
        };
        let ended = run.carry(stream, given_back).await;
        let reason = match &ended {
            Ended::Lost(reason) => reason.clone(),
            Ended::Finished => "drained".to_owned(),
        };
        run.lost(&reason).await;
        let was_bound = run.was_bound;
        (ended, was_bound)
    }
}

/// One session in its connection.
struct Run<'a> {
    bind: &'a mut Bind,
    session: Session,
    /// Where dispatch says which deliveries are safe. As many as the session leaves unanswered.
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    orders: Orders,
    bound: bool,
    was_bound: bool,
    /// Dispatch still takes what we say.
    listening: bool,
    drain_until: Option<Instant>,
    /// Orders without an outcome beyond which none is taken from the inbox: dispatch gives fewer.
    most: usize,
    outcomes: Vec<OrderOutcome>,
}

impl Run<'_> {
    async fn carry(
        &mut self,
        stream: Box<dyn Stream>,
        mut given_back: mpsc::UnboundedReceiver<(u32, Reply)>,
    ) -> Ended {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut input = BytesMut::with_capacity(READ);
        let mut told = Vec::with_capacity(BATCH);
        let mut flushed = true;
        let timer = sleep(NEVER);
        tokio::pin!(timer);
        loop {
            if let Some(ended) = self.settle().await {
                let _ =
                    tokio::time::timeout(LAST_WRITE, writing.write_all_buf(self.session.output()))
                        .await;
                return ended;
            }
            self.wind(timer.as_mut());
            input.reserve(READ / 4);
            let reads = self.session.wants_input();
            let writes = !self.session.output().is_empty();
            let takes = self.drain_until.is_none() && self.orders.unsettled() < self.most;
            let output = self.session.output();
            let write = async {
                match writes {
                    true => writing.write(output).await.map(Some),
                    false => writing.flush().await.map(|()| None),
                }
            };
            tokio::select! {
                wrote = write, if writes || !flushed => match wrote {
                    Ok(Some(0)) => return Ended::Lost("connection closed by the peer".into()),
                    Ok(wrote) => {
                        flushed = wrote.is_none();
                        // Texts and numbers: nothing of what has left stays behind.
                        let gone = wrote.unwrap_or_default();
                        self.session.output().split_to(gone).fill(0);
                    }
                    Err(e) => return Ended::Lost(connect::describe(&e)),
                },
                read = reading.read_buf(&mut input), if reads => match read {
                    Ok(1..) => self.session.receive(&mut input, Instant::now()),
                    Ok(0) => return Ended::Lost("connection closed by the peer".into()),
                    Err(e) => return Ended::Lost(connect::describe(&e)),
                },
                count = self.bind.inbox.recv_many(&mut told, BATCH), if takes => self.told(count, &mut told),
                Some(ack) = given_back.recv() => {
                    self.answer(ack);
                    while let Ok(ack) = given_back.try_recv() {
                        self.answer(ack);
                    }
                }
                () = changed(&mut self.bind.changes) => self.changed(),
                () = &mut timer => self.session.timeout(Instant::now()),
            }
        }
    }

    fn answer(&mut self, (sequence, reply): (u32, Reply)) {
        match reply {
            Reply::Taken => self.session.delivered(sequence),
            Reply::QueueFull => self.session.refused(sequence),
        }
    }

    fn told(&mut self, count: usize, told: &mut Vec<ToBind>) {
        for one in told.drain(..) {
            match one {
                ToBind::Submit(order) if self.bound => {
                    let refused = self
                        .orders
                        .take(*order, self.bind.shared.next_concatenation());
                    self.outcomes.extend(refused);
                }
                ToBind::Submit(order) => self
                    .outcomes
                    .push(refused(order.key, Cause::CarrierFault.failure(None))),
                ToBind::Drain => self.drain(),
            }
        }
        if count == 0 {
            self.drain();
        }
    }

    fn drain(&mut self) {
        self.bind.draining = true;
        let limit = self.bind.shared.live().config.response_timeout + DRAIN_GRACE;
        self.drain_until.get_or_insert(Instant::now() + limit);
    }

    /// Says what the session has brought, moves waiting parts into the window, ends what is over.
    async fn settle(&mut self) -> Option<Ended> {
        let mut closed = None;
        while let Some(event) = self.session.poll_event() {
            match event {
                smpp::SessionEvent::Answered {
                    token,
                    status,
                    message_id,
                } => {
                    let outcome = self.orders.answered(token, status, message_id);
                    self.outcomes.extend(outcome);
                }
                smpp::SessionEvent::Unanswered { token } => {
                    self.outcomes.extend(self.orders.unanswered(token))
                }
                smpp::SessionEvent::Closed(why) => closed = Some(why),
                smpp::SessionEvent::Bound => {
                    (self.bound, self.was_bound) = (true, true);
                    let link = self.bind.shared.session_bound(self.bind.index);
                    self.say_link(link).await;
                }
                smpp::SessionEvent::Probe { ok } => self.say_link(Link::Probe { ok }).await,
                smpp::SessionEvent::Delivered { deliver, sequence } => {
                    self.say_outcomes(Instant::now()).await; // in the order in which the peer spoke
                    self.brought(&deliver, sequence).await;
                }
            }
        }
        let now = Instant::now();
        self.orders
            .fill(&mut self.session, now, clock::now(), &mut self.outcomes);
        self.say_outcomes(now).await;
        if let Some(why) = closed {
            return Some(match why {
                Closed::Unbound => Ended::Finished,
                why => Ended::Lost(reason(why)),
            });
        }
        if !self.listening {
            return Some(Ended::Finished);
        }
        if let Some(until) = self.drain_until
            && (self.orders.unsettled() + self.session.undelivered() == 0 || until <= now)
        {
            self.session.unbind(now);
            if !self.bound {
                return Some(Ended::Finished);
            }
        }
        None
    }

    /// The peer is answered when dispatch acknowledges it. While dispatch is far behind it is answered at once that
    /// there is no room: what stands behind it on the link (answers, probes) must be read.
    async fn brought(&mut self, deliver: &Deliver, sequence: u32) {
        let shared = &self.bind.shared;
        match receipts::read(deliver, &shared.live().statuses) {
            Some(_) if shared.is_behind() => self.session.refused(sequence),
            Some(incoming) => {
                let ack = Acknowledgement::Session(self.acks.clone(), sequence);
                self.say(CarrierEvent::Incoming(incoming, ack)).await;
            }
            None => {
                tracing::debug!(carrier = %shared.name, ?deliver, "neither receipt nor text");
                self.session.delivered(sequence);
            }
        }
    }

    async fn say_outcomes(&mut self, now: Instant) {
        let is_throttled = |outcome: &OrderOutcome| matches!(&outcome.event, AttemptEvent::Failed(failure) if failure.cause == Cause::Throttled);
        if self.outcomes.iter().any(is_throttled) {
            self.bind.shared.throttled(now);
        }
        for outcome in self.outcomes.drain(..) {
            self.listening &= self.bind.say(outcome).await;
        }
    }

    /// A bind that drains says nothing of its link any more: after a reload the name is its successor's.
    async fn say_link(&mut self, link: Link) {
        if !self.bind.draining {
            self.say(CarrierEvent::Link(link)).await;
        }
    }

    async fn say(&mut self, what: CarrierEvent) {
        self.listening &= self.bind.shared.say(what).await;
    }

    /// The connection is gone: the slots first, then the link, then every order without an outcome.
    async fn lost(&mut self, reason: &str) {
        if self.bound {
            self.bound = false;
            let link = self.bind.shared.session_lost(self.bind.index, reason);
            tracing::info!(carrier = %self.bind.shared.name, bind = self.bind.index, reason, "session over");
            if let Some(link) = link {
                self.say_link(link).await;
            }
        }
        let unwritten: Vec<u64> = self
            .session
            .unanswered()
            .filter(|(_, written)| !written)
            .map(|(token, _)| token)
            .collect();
        self.orders.lost(unwritten.into_iter(), &mut self.outcomes);
        self.say_outcomes(Instant::now()).await;
        let counters = self.session.counters();
        if counters != smpp::Counters::default() {
            tracing::info!(carrier = %self.bind.shared.name, ?counters, "the peer spoke out of turn");
        }
    }

    /// Sets the timer to the next deadline; a later deadline is found when the earlier one fires.
    fn wind(&self, timer: std::pin::Pin<&mut Sleep>) {
        let session = self.session.next_deadline();
        let waits = self.orders.unsettled() + self.session.undelivered() > 0;
        let drain = self.drain_until.filter(|_| waits);
        let next = [session, drain]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + NEVER);
        let next = tokio::time::Instant::from_std(next);
        if timer.is_elapsed() || next < timer.deadline() {
            let fresh = sleep_until(next);
            let deadline = fresh.deadline();
            timer.reset(deadline);
        }
    }
}

fn settings(shared: &Shared) -> Result<smpp::Settings, String> {
    let live = shared.live();
    let (config, smpp) = (&live.config, &live.smpp);
    let password = match &smpp.password {
        Some(secret) => secret.read().map_err(|e| format!("password: {e}"))?,
        None => String::new(),
    };
    Ok(smpp::Settings {
        system_id: smpp.system_id.to_string(),
        password,
        system_type: smpp.system_type.to_string(),
        window: smpp.window as usize,
        response_timeout: config.response_timeout,
        probe: config.probe,
    })
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
