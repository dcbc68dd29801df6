//! The publisher's connection, again and again: carries out what the machine wants, and tells it what has happened.
//! Decides nothing.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
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
    machine::{PublishMachine, PublishOutput},
    queue::{BasicPublish, Confirm, LetterId, PublishBounds, PublishNames, Returned},
    unroutable::ReturnNotice,
};
use crate::{
    broker::{self, ANSWER, BrokerError, Link, Turn, outage::Outage, short, within},
    clock::Now,
    ledger::{OutboxReport, ReadError, ReportKey},
    retry::Waits,
};

/// What comes to the publisher.
pub(super) struct Inbox {
    pub reports: mpsc::Receiver<OutboxReport>,
    pub letters: mpsc::Receiver<(DeadLetterMessage, oneshot::Sender<()>)>,
    /// Reports were not taken in for want of room: the ledger knows them.
    pub missed: Arc<AtomicBool>,
    pub stop: watch::Receiver<Option<Duration>>,
}

/// Until it is stopped: connects, publishes, connects again.
pub(super) async fn run(publishing: Publishing, mut inbox: Inbox) {
    let amqp = &publishing.amqp;
    let names = PublishNames {
        reports: amqp.reports.clone(),
        dead: amqp.dead.clone(),
        node: publishing.node.clone(),
    };
    let mut machine = PublishMachine::new(names, PublishBounds::default());
    let mut letters = HashMap::new();
    let (mut waits, mut turn) = (Waits::default(), Turn::default());
    let mut outage = Outage::default();
    loop {
        let connected = tokio::select! {
            connected = connect(&publishing, &mut turn) => connected,
            _ = stopped(&mut inbox.stop) => return,
        };
        match connected {
            Ok((link, channels)) => {
                waits.succeeded();
                publishing.status.set_publishing(Some(&link));
                broker::say_there(&mut outage, PURPOSE, &link);
                machine.connected(Now::read());
                let mut session = Session {
                    events: Box::pin(link.events()),
                    channels,
                    publishing: &publishing,
                    machine: &mut machine,
                    letters: &mut letters,
                    inbox: &mut inbox,
                    in_flight: FuturesUnordered::new(),
                    reading: None,
                    stopping: false,
                };
                let end = session.work().await;
                publishing.status.set_publishing(None);
                publishing.status.set_blocked(false);
                link.close().await;
                match end {
                    End::Stopped => return,
                    End::Broken(reason) => {
                        broker::say_ended(&mut outage, PURPOSE, &link, &reason);
                    }
                }
            }
            Err(reason) => broker::say_lost(&mut outage, PURPOSE, &reason),
        }
        turn.next();
        let wait = waits.next_wait();
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
    match channels(publishing, &link).await {
        Ok(channels) => Ok((link, channels)),
        Err(reason) => {
            link.close().await;
            Err(reason)
        }
    }
}

async fn channels(publishing: &Publishing, link: &Link) -> Result<Vec<Channel>, BrokerError> {
    publishing.topology.declare(link, &publishing.amqp).await?;
    let mut channels = Vec::with_capacity(CHANNELS);
    for _ in 0..CHANNELS {
        let channel = link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within(ANSWER, "asking for confirms", confirms).await?;
        channels.push(channel);
    }
    Ok(channels)
}

enum End {
    Stopped,
    Broken(BrokerError),
}

type Answered = (u64, lapin::Result<Confirmation>);
type Page = (ReportKey, Result<Vec<OutboxReport>, ReadError>);

struct Session<'a> {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    channels: Vec<Channel>,
    publishing: &'a Publishing,
    machine: &'a mut PublishMachine,
    /// Who waits for letters.
    letters: &'a mut HashMap<LetterId, oneshot::Sender<()>>,
    inbox: &'a mut Inbox,
    in_flight: FuturesUnordered<BoxFuture<'static, Answered>>,
    reading: Option<BoxFuture<'static, Page>>,
    stopping: bool,
}

impl Session<'_> {
    async fn work(&mut self) -> End {
        let end = self.turns().await;
        self.machine.lost();
        // What was confirmed before is struck now, however long the broker is away. Nothing more is published.
        let now = Now::read();
        while let Some(output) = self.machine.poll_output(now) {
            let _ = self.carry_out(output).await;
        }
        end
    }

    async fn turns(&mut self) -> End {
        loop {
            self.take_in();
            let now = Now::read();
            let term = self.publishing.ledger.term();
            let mark = term.is_held(now.mono).then(|| term.mark());
            self.machine.term(mark, now);
            self.machine.turn(now);
            while let Some(output) = self.machine.poll_output(now) {
                if let Err(reason) = self.carry_out(output).await {
                    return End::Broken(reason);
                }
            }
            if self.machine.is_over(now) {
                return End::Stopped;
            }
            if let Err(reason) = self.wait(now).await {
                return End::Broken(reason);
            }
        }
    }

    /// Everything that waits and has room.
    fn take_in(&mut self) {
        while self.machine.has_room() {
            match self.inbox.reports.try_recv() {
                Ok(report) => self.machine.report(report),
                Err(_) => break,
            }
        }
        if self.inbox.missed.swap(false, Ordering::AcqRel) {
            self.machine.missed();
        }
    }

    async fn carry_out(&mut self, output: PublishOutput) -> Result<(), BrokerError> {
        match output {
            PublishOutput::Publish(slot, message) => {
                let channel = self.channels[message.lane % self.channels.len()].clone();
                self.in_flight
                    .push(publish(channel, slot, *message).boxed());
            }
            PublishOutput::Read(after, limit) => {
                let ledger = self.publishing.ledger.clone();
                let page = async move { (after, ledger.pending_reports(after, limit).await) };
                self.reading = Some(page.boxed());
            }
            PublishOutput::Done(keys) => {
                // Refused where dispatch has ended: nobody strikes them from the ledger, and they go again after the
                // restart. What is still at hand goes all the same.
                let _ = self.publishing.done.send(keys).await;
            }
            PublishOutput::LetterOver(letter) => {
                // The door may have gone with its connection; the message is at the broker all the same.
                let _ = self.letters.remove(&letter).map(|told| told.send(()));
            }
            PublishOutput::Unconfirmed(limit) => return Err(BrokerError::Unconfirmed(limit)),
            PublishOutput::Unroutable(waiting) => self.publishing.status.set_unroutable(waiting),
            PublishOutput::Notice(notice, waiting, queue) => say(notice, waiting, &queue),
        }
        Ok(())
    }

    /// Waits for one thing to happen and tells the machine.
    async fn wait(&mut self, now: Now) -> Result<(), BrokerError> {
        let deadline = self.machine.deadline();
        let wait = deadline.map_or(LOOK, |at| at.saturating_duration_since(now.mono).min(LOOK));
        let room = self.machine.has_room();
        tokio::select! {
            biased;
            event = self.events.next() => return self.event(event),
            Some(first) = self.in_flight.next(), if !self.in_flight.is_empty() => return self.confirmed(first),
            Some((letter, told)) = self.inbox.letters.recv(), if room => {
                let id = self.machine.letter(letter);
                self.letters.insert(id, told);
            }
            Some(report) = self.inbox.reports.recv(), if room => self.machine.report(report),
            (after, page) = read(&mut self.reading) => self.machine.page(after, page),
            limit = stopped(&mut self.inbox.stop), if !self.stopping => {
                self.stopping = true;
                self.machine.stop(Now::read(), limit);
            }
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }

    fn event(&mut self, event: Option<Event>) -> Result<(), BrokerError> {
        match event {
            None => Err(BrokerError::Ended),
            Some(Event::Error(error)) => Err(BrokerError::Broken(error)),
            Some(event) => {
                if let Some(blocked) = broker::blocked(&event)
                    && self.machine.blocked(Now::read(), blocked)
                {
                    self.say_blocked(blocked);
                }
                Ok(())
            }
        }
    }

    fn say_blocked(&self, blocked: bool) {
        self.publishing.status.set_blocked(blocked);
        if blocked {
            tracing::warn!("the broker takes nothing just now (alarm); reports wait in the ledger");
        } else {
            tracing::info!("the broker takes reports again");
        }
    }

    /// A confirm has come; so have, perhaps, others: all that are here are told at once.
    fn confirmed(&mut self, first: Answered) -> Result<(), BrokerError> {
        let mut all = vec![first];
        while let Some(Some(answered)) = self.in_flight.next().now_or_never() {
            all.push(answered);
        }
        let (mut confirms, mut broken) = (Vec::with_capacity(all.len()), None);
        for (slot, answer) in all {
            match answer {
                Ok(answer) => confirms.push(confirm(slot, answer)),
                Err(error) => broken = Some(BrokerError::Broken(error)),
            }
        }
        self.machine.confirmed(Now::read(), confirms);
        broken.map_or(Ok(()), Err)
    }
}

fn confirm(slot: u64, answer: Confirmation) -> Confirm {
    let ack = answer.is_ack();
    let returned = match &answer {
        Confirmation::Ack(message) | Confirmation::Nack(message) => message.as_ref(),
        Confirmation::NotRequested => None,
    };
    let returned = returned.map(|message| Returned {
        exchange: message.exchange.as_str().into(),
        routing_key: message.routing_key.as_str().into(),
        message_id: message
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string),
    });
    Confirm {
        slot,
        ack,
        returned,
    }
}

fn say(notice: ReturnNotice, waiting: usize, queue: &str) {
    match notice {
        ReturnNotice::Begins => tracing::warn!(
            waiting,
            queue,
            "reports come back from the broker: no queue of that name takes them; they are tried again until their time is over"
        ),
        ReturnNotice::GoesOn => tracing::warn!(
            waiting,
            queue,
            "reports still come back: no queue takes them"
        ),
        ReturnNotice::Ended => tracing::info!("no report comes back any more"),
    }
}

async fn publish(channel: Channel, slot: u64, message: BasicPublish) -> Answered {
    let options = BasicPublishOptions {
        mandatory: message.mandatory,
        ..BasicPublishOptions::default()
    };
    let published = channel
        .basic_publish(
            short(&message.exchange),
            short(&message.routing_key),
            options,
            &message.body,
            message.properties,
        )
        .await;
    match published {
        Ok(confirm) => (slot, confirm.await),
        Err(error) => (slot, Err(error)),
    }
}

/// The page that is being read; never, where none is.
async fn read(reading: &mut Option<BoxFuture<'static, Page>>) -> Page {
    match reading {
        Some(page) => {
            let page = page.await;
            *reading = None;
            page
        }
        None => std::future::pending().await,
    }
}

/// What the log calls this connection.
const PURPOSE: &str = "publishing reports";
/// Channels that share the work; a challenge stays on one.
const CHANNELS: usize = 2;
/// Between looks at whether dispatch has found no room, which wakes nobody.
const LOOK: Duration = Duration::from_millis(500);
