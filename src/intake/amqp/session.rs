//! The door's connection, again and again, and its two consumers.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use lapin::{
    Event,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::sync::watch;

use super::{
    Intake,
    consumer::{self, QueueConsumer, stopped},
    neighbours::Neighbours,
    poison_guard::PoisonGuard,
    watchdog::{Progress, watch},
};
use crate::{
    broker::{self, ANSWER, BrokerError, Link, Turn, outage::Outage, short, within},
    retry::Waits,
};

/// Until it is stopped: connects, consumes, connects again.
pub(super) async fn run(intake: Intake, mut stop: watch::Receiver<Option<Duration>>) {
    let mut mark = PoisonGuard::read(intake.suspect.clone());
    let (mut waits, mut turn) = (Waits::default(), Turn::default());
    let mut patience = intake.stuck_after;
    let mut neighbours = Neighbours::new();
    let mut outage = Outage::default();
    loop {
        let connected = tokio::select! {
            connected = open(&intake, &mut turn) => connected,
            _ = stopped(&mut stop) => return,
        };
        match connected {
            Ok((link, jobs, control)) => {
                waits.succeeded();
                intake.status.set_consuming(Some(&link));
                broker::say_there(&mut outage, PURPOSE, &link);
                let progress = [jobs.progress(), control.progress()];
                let watched = watched(&intake, &link, &progress, patience);
                let served = serve(&link, jobs, control, &mut mark, &stop);
                let end = tokio::select! {
                    end = served => end,
                    reason = watched => Err(reason),
                    () = neighbours.look(&intake, &link) => Ok(()),
                };
                // Made anew in vain (another is the queue's single active consumer), it is left alone for longer.
                patience = match progress.iter().any(|consumer| consumer.count() > 0) {
                    true => intake.stuck_after,
                    false => (patience * 2).min(intake.stuck_after * PATIENCE),
                };
                intake.status.set_consuming(None);
                link.close().await;
                match end {
                    Ok(()) => return,
                    Err(reason) => broker::say_ended(&mut outage, PURPOSE, &link, &reason),
                }
            }
            Err(reason) => broker::say_lost(&mut outage, PURPOSE, &reason),
        }
        turn.next();
        let wait = waits.next_wait();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped(&mut stop) => return,
        }
    }
}

async fn open(
    intake: &Intake,
    turn: &mut Turn,
) -> Result<(Link, QueueConsumer, QueueConsumer), BrokerError> {
    let link = broker::connect(&intake.amqp, "ringback jobs", turn).await?;
    match consumers(intake, &link).await {
        Ok((jobs, control)) => Ok((link, jobs, control)),
        Err(reason) => {
            link.close().await;
            Err(reason)
        }
    }
}

async fn consumers(
    intake: &Intake,
    link: &Link,
) -> Result<(QueueConsumer, QueueConsumer), BrokerError> {
    let amqp = &intake.amqp;
    intake.topology.declare(link, amqp).await?;
    let jobs = consumer(intake, link, &amqp.queue, amqp.prefetch).await?;
    let control = consumer(intake, link, &amqp.control, CONTROL).await?;
    Ok((jobs, control))
}

async fn consumer(
    intake: &Intake,
    link: &Link,
    queue: &str,
    prefetch: u16,
) -> Result<QueueConsumer, BrokerError> {
    let channel = link.channel().await?;
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    within(ANSWER, "setting the prefetch", qos).await?;
    let consume = channel.basic_consume(
        short(queue),
        short(""),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = within(ANSWER, &format!("consuming from {queue}"), consume).await?;
    Ok(QueueConsumer::new(
        intake.clone(),
        channel,
        consumer,
        prefetch,
    ))
}

/// Ends with the reason once one of the two consumers gets nothing although messages wait.
async fn watched(
    intake: &Intake,
    link: &Link,
    [jobs, control]: &[Arc<Progress>; 2],
    limit: Duration,
) -> BrokerError {
    let amqp = &intake.amqp;
    tokio::select! {
        reason = watch(link, &amqp.queue, jobs.clone(), limit) => reason,
        reason = watch(link, &amqp.control, control.clone(), limit) => reason,
    }
}

/// Both consumers until one of them or the connection ends; Ok: stopped in order.
async fn serve(
    link: &Link,
    jobs: QueueConsumer,
    control: QueueConsumer,
    mark: &mut PoisonGuard,
    stop: &watch::Receiver<Option<Duration>>,
) -> Result<(), BrokerError> {
    let mut events = link.events();
    let broken = async {
        loop {
            match events.next().await {
                None => return BrokerError::Ended,
                Some(Event::Error(error)) => return BrokerError::Broken(error),
                Some(_) => {}
            }
        }
    };
    let lanes = async {
        tokio::try_join!(
            consumer::work(jobs, Some(mark), stop.clone()),
            consumer::work(control, None, stop.clone()),
        )
    };
    tokio::select! {
        ended = lanes => ended.map(|_| ()),
        reason = broken => Err(reason),
    }
}

/// What the log calls this connection.
const PURPOSE: &str = "taking jobs";
/// Prefetch of the control queue: words are short and settled at once.
const CONTROL: u16 = 256;
/// The longest patience with a consumer that gets nothing, in times of the shortest.
const PATIENCE: u32 = 20;
