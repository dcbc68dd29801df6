//! One channel's deliveries: read while there is room, handed to dispatch, acked as the answers come.
//!
//! A job that dispatch has no room for stays with us, unacked, and is offered again after a pause: giving it back to
//! the broker would count as one more delivery and make a suspect of it. What waits fills the prefetch, and that stops
//! the intake.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicCancelOptions},
    types::{AMQPValue, ShortString},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use super::{
    Intake, Ticket,
    poison_guard::PoisonGuard,
    rejected::{Body, Why, dead_letter},
    tags::{Ack, Tags},
    watchdog::Progress,
};
use crate::{
    broker::{ANSWER, BrokerError, octets, within},
    challenge::Origin,
    clock,
    intake::{
        self, Answer, Arrival, Job,
        job::{BadJob, Properties, parse_typed},
    },
    report::JobFault,
};

/// A channel with its consumer, and everything that came on it.
pub(super) struct QueueConsumer {
    intake: Intake,
    channel: Channel,
    consumer: Consumer,
    tags: Tags<Body>,
    answers: mpsc::UnboundedReceiver<(u64, Answer)>,
    answering: mpsc::UnboundedSender<(u64, Answer)>,
    /// Tickets that dispatch holds.
    out: usize,
    /// Parsed, and dispatch's channel is full.
    waiting: Option<Arrival>,
    /// Dispatch had no room: offered again then.
    paused: VecDeque<(Instant, u64)>,
    burying: FuturesUnordered<BoxFuture<'static, (u64, bool)>>,
    progress: Arc<Progress>,
    prefetch: usize,
    /// It was said that suspects come.
    suspects: bool,
    /// Answered since the last ack, and when that must go out.
    fresh: usize,
    ack_at: Option<Instant>,
    /// The last ack. The next goes no sooner than [`ACK_WAIT`] after it; after a quiet moment at once.
    acked: Instant,
    tick_at: Instant,
    stop_at: Option<Instant>,
}

impl QueueConsumer {
    pub fn new(
        intake: Intake,
        channel: Channel,
        consumer: Consumer,
        prefetch: u16,
    ) -> QueueConsumer {
        let (answering, answers) = mpsc::unbounded_channel();
        QueueConsumer {
            intake,
            channel,
            consumer,
            tags: Tags::new(),
            answers,
            answering,
            out: 0,
            waiting: None,
            paused: VecDeque::new(),
            burying: FuturesUnordered::new(),
            progress: Arc::default(),
            prefetch: prefetch.into(),
            suspects: false,
            fresh: 0,
            ack_at: None,
            acked: Instant::now(),
            tick_at: Instant::now() + TICK,
            stop_at: None,
        }
    }

    /// What has come on it.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    fn reads(&self) -> bool {
        self.waiting.is_none() && self.burying.len() < BURIALS && self.stop_at.is_none()
    }

    /// Everything that came at once, while there is room.
    fn deliveries(
        &mut self,
        first: Option<lapin::Result<Delivery>>,
        mark: &mut Option<&mut PoisonGuard>,
    ) -> Result<(), BrokerError> {
        let mut next = first;
        for taken in 1.. {
            match next {
                Some(Ok(delivery)) => self.delivery(delivery, mark)?,
                Some(Err(error)) => return Err(BrokerError::Broken(error)),
                None => return Err(BrokerError::ConsumerCancelled),
            }
            // Decided before the next one is out of the client's hands: what is taken from it can't be put back.
            if taken >= TURN || !self.reads() {
                break;
            }
            match self.consumer.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        Ok(())
    }

    fn delivery(
        &mut self,
        delivery: Delivery,
        mark: &mut Option<&mut PoisonGuard>,
    ) -> Result<(), BrokerError> {
        self.progress.came();
        let tag = delivery.delivery_tag;
        let body = body(delivery);
        let poison = match mark {
            Some(mark) if body.suspect => mark.names(&body.data),
            _ => false,
        };
        if body.suspect && !std::mem::replace(&mut self.suspects, true) {
            tracing::info!(
                "jobs come that the broker has given out often; each is marked while it is parsed"
            );
        }
        if !self.tags.arrived(tag, body) {
            return Err(BrokerError::TagOutOfOrder);
        }
        if poison {
            let bad = BadJob {
                faults: Vec::new(),
                id: None,
            };
            self.dead_letter(tag, Why::Poison, bad);
            return Ok(());
        }
        self.offer(tag, mark)
    }

    /// Parses what is held and hands it to dispatch. A suspect is marked meanwhile: should it end the process here,
    /// the next one knows.
    fn offer(&mut self, tag: u64, mark: &mut Option<&mut PoisonGuard>) -> Result<(), BrokerError> {
        let Some(body) = self.tags.held(tag) else {
            return Ok(());
        };
        let mut mark = mark.as_deref_mut().filter(|_| body.suspect);
        if let Some(mark) = &mut mark {
            mark.set(&body.data);
        }
        let parsed = self.parse(body);
        if let Some(mark) = mark {
            mark.clear();
        }
        match parsed {
            Ok(job) => {
                let ticket = intake::Ticket::Amqp(Ticket {
                    tag,
                    answers: Some(self.answering.clone()),
                });
                self.out += 1;
                self.hand(Arrival { job, ticket })
            }
            Err(bad) => {
                self.dead_letter(tag, Why::BadJob, bad);
                Ok(())
            }
        }
    }

    fn parse(&self, body: &Body) -> Result<Job, BadJob> {
        let reply_to = body.reply_to.clone().map_err(|_| BadJob {
            faults: vec![JobFault::new(
                "reply_to",
                "is no UTF-8, as the name of every queue is",
            )],
            id: None,
        })?;
        let properties = Properties {
            door: Origin::Amqp,
            reply_to,
            correlation_id: body.correlation_id.clone(),
        };
        let settings = self.intake.settings.load();
        parse_typed(
            body.kind.as_deref(),
            &body.data,
            properties,
            clock::now(),
            &settings.jobs,
        )
    }

    fn to(&self, job: &Job) -> &mpsc::Sender<Arrival> {
        match job {
            Job::Challenge(_) => &self.intake.jobs,
            Job::Cancel { .. } | Job::Feedback { .. } => &self.intake.control,
        }
    }

    fn hand(&mut self, arrival: Arrival) -> Result<(), BrokerError> {
        match self.to(&arrival.job).try_send(arrival) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(arrival)) => {
                self.waiting = Some(arrival);
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(BrokerError::GatewayEnds),
        }
    }

    fn answer(&mut self, tag: u64, answer: Answer) {
        self.out = self.out.saturating_sub(1);
        match answer {
            Answer::Taken | Answer::Again { .. } | Answer::Unknown => {
                self.settled(tag);
            }
            Answer::Conflict => {
                let id = self
                    .tags
                    .held(tag)
                    .and_then(|body| self.parse(body).ok())
                    .map(|job| match job {
                        Job::Challenge(ch) => ch.id,
                        Job::Cancel { id, .. } | Job::Feedback { id, .. } => id,
                    });
                let faults = vec![JobFault::new("id", "known already with other content")];
                self.dead_letter(tag, Why::Duplicate, BadJob { faults, id });
            }
            Answer::Busy if self.stop_at.is_some() => {}
            Answer::Busy => self.paused.push_back((Instant::now() + PAUSE, tag)),
        }
    }

    fn dead_letter(&mut self, tag: u64, why: Why, bad: BadJob) {
        let Some(body) = self.tags.held(tag).cloned() else {
            return;
        };
        let buried = dead_letter(self.intake.clone(), body, why, bad.faults, bad.id);
        self.burying
            .push(async move { (tag, buried.await) }.boxed());
    }

    fn settled(&mut self, tag: u64) {
        self.tags.answered(tag);
        self.fresh += 1;
        self.ack_at.get_or_insert(self.acked + ACK_WAIT);
    }

    /// Acks what is due; the front as one.
    async fn acks(&mut self, now: Instant) -> Result<(), BrokerError> {
        let due = self.ack_at.is_some_and(|at| at <= now);
        if due || self.fresh >= ACK_MANY || self.stop_at.is_some() {
            self.fresh = 0;
            self.ack_at = None;
            self.acked = now;
            if let Some(ack) = self.tags.front() {
                send(&self.channel, ack).await?;
            }
        }
        Ok(())
    }

    /// Now and then: what is answered behind a slow one, what may be offered again.
    async fn tick(
        &mut self,
        now: Instant,
        mark: &mut Option<&mut PoisonGuard>,
    ) -> Result<(), BrokerError> {
        let unacked = self.tags.unacked();
        self.progress
            .set_room(self.reads() && unacked < self.prefetch);
        if mark.is_some() {
            metrics::gauge!("ringback_jobs_unacked").set(unacked as f64);
        }
        for ack in self.tags.stragglers(STRAGGLERS) {
            send(&self.channel, ack).await?;
        }
        while self.waiting.is_none() && self.stop_at.is_none() {
            match self.paused.front() {
                Some((at, tag)) if *at <= now => {
                    let tag = *tag;
                    self.paused.pop_front();
                    self.offer(tag, mark)?;
                }
                _ => break,
            }
        }
        self.tick_at = now + TICK;
        Ok(())
    }

    async fn stop(&mut self, limit: Duration) -> Result<(), BrokerError> {
        self.stop_at = Some(Instant::now() + limit);
        // Its ticket says Busy, and it goes back to the broker with the channel.
        self.waiting = None;
        let cancel = self
            .channel
            .basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        within(ANSWER, "cancelling the consumer", cancel).await
    }

    /// Stopping, and nothing more will be answered.
    fn over(&self, now: Instant) -> bool {
        let quiet = self.out == 0 && self.burying.is_empty();
        self.stop_at.is_some_and(|at| quiet || now >= at)
    }
}

/// Resolves once the door is to stop, with the time it has; also when its owner is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(limit) => limit.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

/// Until the channel ends (why), or until it is stopped. Only the consumer of jobs has a mark.
pub(super) async fn work(
    mut consumer: QueueConsumer,
    mut mark: Option<&mut PoisonGuard>,
    mut stop: watch::Receiver<Option<Duration>>,
) -> Result<(), BrokerError> {
    loop {
        let now = Instant::now();
        consumer.acks(now).await?;
        if consumer.tick_at <= now {
            consumer.tick(now, &mut mark).await?;
        }
        if consumer.over(now) {
            return consumer.acks(now).await;
        }
        let wake = consumer
            .ack_at
            .map_or(consumer.tick_at, |at| at.min(consumer.tick_at));
        let (reads, stopping) = (consumer.reads(), consumer.stop_at.is_some());
        let to = consumer
            .waiting
            .as_ref()
            .map(|arrival| consumer.to(&arrival.job).clone());
        tokio::select! {
            biased;
            Some((tag, answer)) = consumer.answers.recv() => {
                consumer.answer(tag, answer);
                while let Ok((tag, answer)) = consumer.answers.try_recv() {
                    consumer.answer(tag, answer);
                }
            }
            Some((tag, held)) = consumer.burying.next(), if !consumer.burying.is_empty() => {
                if !held {
                    return Err(BrokerError::NoDeadLetters);
                }
                consumer.settled(tag);
            }
            permit = room(to.as_ref()) => match (permit, consumer.waiting.take()) {
                (Ok(permit), Some(arrival)) => permit.send(arrival),
                _ => return Err(BrokerError::GatewayEnds),
            },
            first = consumer.consumer.next(), if reads => consumer.deliveries(first, &mut mark)?,
            limit = stopped(&mut stop), if !stopping => consumer.stop(limit).await?,
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
}

async fn send(channel: &Channel, ack: Ack) -> Result<(), BrokerError> {
    let options = BasicAckOptions {
        multiple: ack.multiple,
    };
    within(ANSWER, "acking", channel.basic_ack(ack.tag, options)).await
}

/// Room in dispatch's channel; never, where nothing waits for it.
async fn room(
    to: Option<&mpsc::Sender<Arrival>>,
) -> Result<mpsc::Permit<'_, Arrival>, mpsc::error::SendError<()>> {
    match to {
        Some(to) => to.reserve().await,
        None => std::future::pending().await,
    }
}

/// How often the broker has given it out before (quorum queues count).
fn seen(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    match count {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => (*count).into(),
        Some(AMQPValue::LongUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortInt(count)) => (*count).into(),
        _ => 0,
    }
}

/// What of a delivery is kept until it is acked. Without a `type`, a control word is known by its routing key.
fn body(delivery: Delivery) -> Body {
    let suspect = seen(&delivery) >= SUSPECT;
    let text =
        |text: &Option<ShortString>| text.as_ref().map(|text| Arc::<str>::from(text.as_str()));
    let kind = text(delivery.properties.kind()).or_else(|| {
        let key = delivery.routing_key.as_str();
        matches!(key, "cancel" | "feedback").then(|| key.into())
    });
    Body {
        suspect,
        kind,
        reply_to: octets::reply_to(&delivery.properties).map(|queue| queue.map(Arc::from)),
        correlation_id: octets::correlation_id(&delivery.properties).map(Arc::from),
        data: delivery.data,
    }
}

/// Deliveries taken in one turn.
const TURN: usize = 128;
/// Jobs on their way to the dead letters; more wait unread.
const BURIALS: usize = 64;
/// From this `x-delivery-count` on a job is marked while it is parsed.
const SUSPECT: i64 = 3;
/// An ack goes out after so many answers, or so long after the one before: nobody waits for it, and each costs the broker
/// an entry in its log. A process that dies before it is given the jobs again, and the ledger knows them.
const ACK_MANY: usize = 64;
const ACK_WAIT: Duration = Duration::from_millis(40);
/// How often the consumer looks after what waits.
const TICK: Duration = Duration::from_millis(200);
/// Single acks in one tick.
const STRAGGLERS: usize = 512;
/// Before a job is offered again that dispatch had no room for.
const PAUSE: Duration = Duration::from_secs(1);
