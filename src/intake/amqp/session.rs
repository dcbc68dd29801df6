//! The door's connection, again and again, and its two lanes.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{
    Connection, Event,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::sync::watch;

use super::{
    Intake,
    lane::{self, Lane},
    suspect::Mark,
};
use crate::{
    broker::{self, ANSWER, short, within},
    retry::Waits,
};

/// Until it is stopped: connects, consumes, connects again.
pub(super) async fn run(intake: Intake, mut stop: watch::Receiver<Option<Duration>>) {
    let mut mark = Mark::read(intake.suspect.clone());
    let mut waits = Waits::default();
    loop {
        let connected = tokio::select! {
            connected = open(&intake) => connected,
            _ = stopped(&mut stop) => return,
        };
        let reason = match connected {
            Ok((connection, jobs, control)) => {
                waits.succeeded();
                intake.status.set_consuming(true);
                tracing::info!("taking jobs");
                let end = serve(&connection, jobs, control, &mut mark, &stop).await;
                intake.status.set_consuming(false);
                broker::close(&connection).await;
                match end {
                    Ok(()) => return,
                    Err(reason) => reason,
                }
            }
            Err(reason) => reason,
        };
        let wait = waits.next_wait();
        tracing::warn!(reason, "no connection to take jobs; trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped(&mut stop) => return,
        }
    }
}

/// Resolves once the door is to stop, with the time it has; also when its owner is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(limit) => limit.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

async fn open(intake: &Intake) -> Result<(Connection, Lane, Lane), String> {
    let connection = broker::connect(&intake.amqp, "ringback jobs").await?;
    intake.topology.declare(&connection, &intake.amqp).await?;
    let amqp = &intake.amqp;
    let jobs = lane(intake, &connection, &amqp.queue, amqp.prefetch).await?;
    let control = lane(intake, &connection, &amqp.control, CONTROL).await?;
    Ok((connection, jobs, control))
}

async fn lane(
    intake: &Intake,
    connection: &Connection,
    queue: &str,
    prefetch: u16,
) -> Result<Lane, String> {
    let channel = within(ANSWER, "opening a channel", connection.create_channel()).await?;
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    within(ANSWER, "setting the prefetch", qos).await?;
    let consume = channel.basic_consume(
        short(queue),
        short(""),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = within(ANSWER, &format!("consuming from {queue}"), consume).await?;
    Ok(Lane::new(intake.clone(), channel, consumer))
}

/// Both lanes until one of them or the connection ends; Ok: stopped in order.
async fn serve(
    connection: &Connection,
    jobs: Lane,
    control: Lane,
    mark: &mut Mark,
    stop: &watch::Receiver<Option<Duration>>,
) -> Result<(), String> {
    let mut events = connection.events_listener();
    let broken = async {
        loop {
            match events.next().await {
                None => return "the connection has ended".to_owned(),
                Some(Event::Error(error)) => return error.to_string(),
                Some(_) => {}
            }
        }
    };
    let lanes = async {
        tokio::try_join!(
            lane::work(jobs, Some(mark), stop.clone()),
            lane::work(control, None, stop.clone()),
        )
    };
    tokio::select! {
        ended = lanes => ended.map(|_| ()),
        reason = broken => Err(reason),
    }
}

/// Prefetch of the control queue: words are short and settled at once.
const CONTROL: u16 = 256;
