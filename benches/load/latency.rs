//! From the job's publishing to its submit_sm at the carrier, at 500 a second: one clock, both ends in this process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use lapin::{Connection, ConnectionProperties, options::BasicConsumeOptions, types::FieldTable};
use simulators::record::Record;

use super::{
    Result, World,
    broker::{Load, Names, text_job},
    figure::{Figure, Goal, quantile},
    gateway::{Gateway, Setup},
    texts::smsc,
};

pub async fn run(world: &World) -> Result<Vec<Figure>> {
    let url = world
        .amqp
        .as_deref()
        .ok_or("no broker; run it by scripts/bench")?;
    let count = world.count(5_000);
    let floor = floor(url, count).await?;
    let record = Record::with_limit(count + 100);
    let smsc = smsc(record.clone()).await?;
    let names = Names::new("latency");
    let load = Load::open(url, names.clone(), count).await?;
    let setup = Setup {
        amqp: names.section(url),
        ..Setup::texts(smsc.address())
    };
    let gateway = Gateway::start(world, &setup).await?;
    let before = gateway.cpu()?;
    paced(&load, count).await?;
    load.finals(count as u64).await?;
    let cpu = (gateway.cpu()? - before).as_secs_f64() * 1e6 / count as f64;
    drop(gateway);
    load.close().await?;
    let lines = record.lines();
    let waits: Vec<f64> = lines
        .iter()
        .filter_map(|line| {
            let text = line.entry.text()?;
            let stamp: u128 = text.text.rsplit(' ').next()?.parse().ok()?;
            Some(micros(line.at).saturating_sub(stamp) as f64 / 1e3)
        })
        .collect();
    if waits.len() < count {
        return Err(format!("{} of {count} texts came", waits.len()).into());
    }
    Ok(vec![
        Figure::new(
            "job to submit_sm at 500/s, p50",
            "ms",
            Goal::AtMost(5.0),
            quantile(waits.clone(), 0.5),
        )
        .beside(quantile(floor.clone(), 0.5)),
        Figure::new(
            "job to submit_sm at 500/s, p99",
            "ms",
            Goal::AtMost(25.0),
            quantile(waits, 0.99),
        )
        .beside(quantile(floor, 0.99)),
        Figure::new("gateway CPU per challenge at 500/s", "us", Goal::None, cpu),
    ])
}

/// 500 a second, each with the moment of its publishing as the last word of its text.
async fn paced(load: &Load, count: usize) -> Result<()> {
    let mut publisher = load.publisher().await?;
    let begun = Instant::now();
    for n in 0..count {
        tokio::time::sleep_until((begun + EVERY * n as u32).into()).await;
        let text = format!(
            r#"{{"text":"Your code is {{code}}. {}","#,
            micros(SystemTime::now())
        );
        let job = text_job(n).replacen('{', &text, 1);
        publisher.publish(&load.names, n, &job).await?;
    }
    publisher.settle().await
}

/// The broker alone: from publishing to a consumer of the same queue.
async fn floor(url: &str, count: usize) -> Result<Vec<f64>> {
    let load = Load::open(url, Names::new("latency-floor"), count).await?;
    load.declare_jobs().await?;
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let queue = load.names.jobs.as_str().into();
    let mut jobs = channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await?;
    let waits = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let told = waits.clone();
    let consumer = tokio::spawn(async move {
        for _ in 0..count {
            let Some(Ok(job)) = jobs.next().await else {
                return;
            };
            let now = micros(SystemTime::now());
            let text = String::from_utf8_lossy(&job.data).into_owned();
            let stamp = text
                .split("code}. ")
                .nth(1)
                .and_then(|t| t.split('"').next());
            let stamp: Option<u128> = stamp.and_then(|s| s.parse().ok());
            let wait = stamp.map(|s| now.saturating_sub(s) as f64 / 1e3);
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(wait);
        }
    });
    paced(&load, count).await?;
    tokio::time::timeout(Duration::from_secs(20), consumer).await??;
    load.close().await?;
    let waits = waits.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(waits.clone())
}

fn micros(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros()
}

/// 500 a second.
const EVERY: Duration = Duration::from_millis(2);
