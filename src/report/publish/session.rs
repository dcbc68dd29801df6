//! The publisher's connection, again and again: fills the window, gathers the confirms, tells what is done.
//!
//! One turn takes in what waits, publishes as much as the window lets, and sleeps until something happens. A publish
//! or confirm that takes too long, an error, a closed channel: the connection is given up, and what was on its way
//! goes again on the next. While the broker is blocked nothing is published and nothing is late.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::FuturesUnordered,
};
use lapin::{
    Channel, Confirmation, Event,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    DeadLetterMessage, Publishing,
    queue::{PublishQueue, Words},
    unroutable::{Notice, Unroutable},
};
use crate::{
    broker::{self, ANSWER, BrokerError, Link, Turn, outage::Outage, short, within},
    clock,
    ledger::{OutboxReport, ReadError, ReportKey},
    retry::Waits,
};

/// What comes to the publisher.
pub(super) struct Inbox {
    pub reports: mpsc::Receiver<OutboxReport>,
    pub letters: mpsc::Receiver<(DeadLetterMessage, oneshot::Sender<()>)>,
    /// Reports were not taken in for want of room, or never: the ledger knows them.
    pub missed: Arc<AtomicBool>,
    pub stop: watch::Receiver<Option<Duration>>,
}

/// Until it is stopped: connects, publishes, connects again.
pub(super) async fn run(publishing: Publishing, mut inbox: Inbox) {
    let amqp = &publishing.amqp;
    let mut queue = PublishQueue::new(
        amqp.reports.clone(),
        amqp.dead.clone(),
        publishing.node.clone(),
    );
    let (mut waits, mut turn) = (Waits::default(), Turn::default());
    let (mut unroutable, mut outage) = (Unroutable::default(), Outage::default());
    loop {
        let connected = tokio::select! {
            connected = connect(&publishing, &mut turn) => connected,
            _ = stopped(&mut inbox.stop) => return,
        };
        let reason = match connected {
            Ok((link, channels)) => {
                waits.succeeded();
                publishing.status.set_publishing(true);
                broker::say_there(&mut outage, PURPOSE);
                let mut session = Session {
                    events: Box::pin(link.events()),
                    channels,
                    publishing: &publishing,
                    queue: &mut queue,
                    unroutable: &mut unroutable,
                    looked: Instant::now(),
                    inbox: &mut inbox,
                    in_flight: FuturesUnordered::new(),
                    scan: Scan::From(ReportKey(i64::MIN)),
                    scanned: Instant::now(),
                    blocked: false,
                    stop_at: None,
                };
                let end = session.work().await;
                publishing.status.set_publishing(false);
                publishing.status.set_blocked(false);
                link.close().await;
                queue.requeued();
                match end {
                    End::Stopped => return,
                    End::Broken(reason) => reason,
                }
            }
            Err(reason) => reason,
        };
        turn.next();
        let wait = waits.next_wait();
        broker::say_lost(&mut outage, PURPOSE, &reason);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped(&mut inbox.stop) => return,
        }
    }
}

/// Resolves once the publisher is to stop, with the time it has; also when its owner is gone.
async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(limit) => limit.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

async fn connect(
    publishing: &Publishing,
    turn: &mut Turn,
) -> Result<(Link, Vec<Channel>), BrokerError> {
    let link = broker::connect(&publishing.amqp, "ringback reports", turn).await?;
    publishing.topology.declare(&link, &publishing.amqp).await?;
    let mut channels = Vec::with_capacity(CHANNELS);
    for _ in 0..CHANNELS {
        let channel = link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within(ANSWER, "asking for confirms", confirms).await?;
        channels.push(channel);
    }
    Ok((link, channels))
}

enum End {
    Stopped,
    Broken(BrokerError),
}

/// Reading the ledger for what is not in hand.
enum Scan {
    /// From after this key on, when there is room.
    From(ReportKey),
    Reading(BoxFuture<'static, Result<Vec<OutboxReport>, ReadError>>),
    Done,
}

type Confirmed = (u64, lapin::Result<Confirmation>);

struct Session<'a> {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    channels: Vec<Channel>,
    publishing: &'a Publishing,
    queue: &'a mut PublishQueue,
    unroutable: &'a mut Unroutable,
    /// When what came back was counted last.
    looked: Instant,
    inbox: &'a mut Inbox,
    in_flight: FuturesUnordered<BoxFuture<'static, Confirmed>>,
    scan: Scan,
    scanned: Instant,
    blocked: bool,
    stop_at: Option<Instant>,
}

impl Session<'_> {
    async fn work(&mut self) -> End {
        loop {
            self.take_in();
            if self
                .stop_at
                .is_some_and(|at| Instant::now() >= at || self.queue.idle())
            {
                return End::Stopped;
            }
            self.fill();
            self.say_unroutable();
            if let Err(reason) = self.turn().await {
                return End::Broken(reason);
            }
            let done = self.queue.done();
            if !done.is_empty() && self.publishing.done.send(done).await.is_err() {
                // Dispatch has ended: nobody strikes them from the ledger, and they go again after the restart.
                return End::Stopped;
            }
        }
    }

    /// Everything that waits and has room.
    fn take_in(&mut self) {
        while self.queue.room() {
            match self.inbox.reports.try_recv() {
                Ok(report) => self.queue.report(report),
                Err(_) => break,
            }
        }
        let rested = self.scanned.elapsed() >= RESCAN;
        if matches!(self.scan, Scan::Done) && rested && self.stop_at.is_none() {
            let missed = self.inbox.missed.swap(false, Ordering::AcqRel);
            if missed || std::mem::take(&mut self.queue.left) {
                self.scan = Scan::From(ReportKey(i64::MIN));
                self.scanned = Instant::now();
            }
        }
        if let Scan::From(after) = self.scan
            && self.queue.below_low_water()
        {
            let ledger = self.publishing.ledger.clone();
            self.scan =
                Scan::Reading(async move { ledger.pending_reports(after, PAGE).await }.boxed());
        }
    }

    /// Reports that no queue takes are an operator's business at once, not only when their time is over.
    fn say_unroutable(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.looked) < TICK {
            return;
        }
        self.looked = now;
        let (waiting, queue) = self.queue.unroutable();
        self.publishing.status.set_unroutable(waiting);
        match self.unroutable.look(now, waiting) {
            Some(Notice::Begins) => {
                tracing::warn!(
                    waiting,
                    queue,
                    "reports come back from the broker: no queue of that name takes them; they are tried again until their time is over"
                );
            }
            Some(Notice::GoesOn) => {
                tracing::warn!(
                    waiting,
                    queue,
                    "reports still come back: no queue takes them"
                );
            }
            Some(Notice::Ended) => tracing::info!("no report comes back any more"),
            None => {}
        }
    }

    /// Publishes while the window lets.
    fn fill(&mut self) {
        if self.blocked {
            return;
        }
        let (mono, wall) = (Instant::now(), clock::now());
        while self.queue.in_flight() < WINDOW {
            let Some((slot, words)) = self.queue.take(mono, wall) else {
                break;
            };
            let channel = self.channels[words.lane % self.channels.len()].clone();
            self.in_flight.push(publish(channel, slot, words).boxed());
        }
    }

    /// Waits for one thing to happen and takes it in.
    async fn turn(&mut self) -> Result<(), BrokerError> {
        let due = self.queue.due().map_or(TICK, |due| {
            due.saturating_duration_since(Instant::now()).min(TICK)
        });
        let room = self.queue.room();
        tokio::select! {
            biased;
            event = self.events.next() => self.event(event),
            Some(first) = self.in_flight.next(), if !self.in_flight.is_empty() => self.confirmed(first),
            Some((letter, told)) = self.inbox.letters.recv(), if room => {
                self.queue.letter(letter, told);
                Ok(())
            }
            Some(report) = self.inbox.reports.recv(), if room => {
                self.queue.report(report);
                Ok(())
            }
            page = read(&mut self.scan) => {
                self.page(page);
                Ok(())
            }
            limit = stopped(&mut self.inbox.stop), if self.stop_at.is_none() => {
                self.stop_at = Some(Instant::now() + limit);
                Ok(())
            }
            () = tokio::time::sleep(due) => self.late(),
        }
    }

    fn event(&mut self, event: Option<Event>) -> Result<(), BrokerError> {
        match event {
            None => Err(BrokerError::Ended),
            Some(Event::Error(error)) => Err(BrokerError::Broken(error)),
            Some(event) => {
                if let Some(blocked) = broker::blocked(&event) {
                    self.set_blocked(blocked);
                }
                Ok(())
            }
        }
    }

    fn set_blocked(&mut self, blocked: bool) {
        if blocked == self.blocked {
            return;
        }
        self.blocked = blocked;
        self.publishing.status.set_blocked(blocked);
        self.queue.forgive(Instant::now());
        if blocked {
            tracing::warn!("the broker takes nothing just now (alarm); reports wait in the ledger");
        } else {
            tracing::info!("the broker takes reports again");
        }
    }

    /// A confirm has come; so have, perhaps, others. All that are here are gathered before any is believed: the
    /// client gives a returned message to whichever confirm of the channel it handles next, so the one that says
    /// "returned" may be a neighbour's.
    fn confirmed(&mut self, first: Confirmed) -> Result<(), BrokerError> {
        let mut all = vec![first];
        while let Some(Some(confirmed)) = self.in_flight.next().now_or_never() {
            all.push(confirmed);
        }
        for (_, confirmation) in &all {
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) =
                confirmation
            {
                self.queue.returned(message);
            }
        }
        let (mono, wall) = (Instant::now(), clock::now());
        let mut broken = None;
        for (slot, confirmation) in all {
            match confirmation {
                Ok(confirmation) => self
                    .queue
                    .confirmed(slot, confirmation.is_ack(), mono, wall),
                Err(error) => broken = Some(BrokerError::Broken(error)),
            }
        }
        broken.map_or(Ok(()), Err)
    }

    fn page(&mut self, page: Result<Vec<OutboxReport>, ReadError>) {
        match page {
            Ok(reports) => {
                self.scan = match reports.last() {
                    Some(last) if reports.len() >= PAGE => Scan::From(last.report),
                    _ => Scan::Done,
                };
                for report in reports {
                    self.queue.report(report);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "waiting reports can't be read from the ledger; trying again");
                self.inbox.missed.store(true, Ordering::Release);
                self.scan = Scan::Done;
            }
        }
    }

    fn late(&mut self) -> Result<(), BrokerError> {
        let late = self
            .queue
            .oldest()
            .is_some_and(|since| since.elapsed() >= CONFIRM);
        if late && !self.blocked {
            return Err(BrokerError::Unconfirmed(CONFIRM));
        }
        Ok(())
    }
}

async fn publish(channel: Channel, slot: u64, words: Words) -> Confirmed {
    let options = BasicPublishOptions {
        mandatory: words.mandatory,
        ..BasicPublishOptions::default()
    };
    let published = channel
        .basic_publish(
            short(&words.exchange),
            short(&words.routing_key),
            options,
            &words.body,
            words.properties,
        )
        .await;
    match published {
        Ok(confirm) => (slot, confirm.await),
        Err(error) => (slot, Err(error)),
    }
}

/// The page that is being read; never, where none is.
async fn read(scan: &mut Scan) -> Result<Vec<OutboxReport>, ReadError> {
    match scan {
        Scan::Reading(page) => page.await,
        Scan::From(_) | Scan::Done => std::future::pending().await,
    }
}

/// What the log calls this connection.
const PURPOSE: &str = "publishing reports";
/// Messages on their way without a confirm.
const WINDOW: usize = 1_024;
/// Channels that share the work; a challenge stays on one.
const CHANNELS: usize = 2;
/// A publish or confirm that takes longer means that the connection is no good.
const CONFIRM: Duration = Duration::from_secs(20);
/// Between looks at the clock.
const TICK: Duration = Duration::from_millis(500);
/// Reports read from the ledger at once.
const PAGE: usize = 512;
/// The ledger is not read from its beginning more often than this.
const RESCAN: Duration = Duration::from_secs(2);
