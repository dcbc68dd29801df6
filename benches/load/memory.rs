//! Memory: idle, with 100,000 open challenges, and with a backlog that waits in the broker.

use std::time::Duration;

use simulators::{record::Record, script::Often};

use super::{
    Result, World,
    broker::{Load, Names, text_job},
    figure::{Figure, Goal},
    gateway::{Gateway, Setup},
    start, texts,
};

pub async fn run(world: &World) -> Result<Vec<Figure>> {
    let url = world
        .amqp
        .as_deref()
        .ok_or("no broker; run it by scripts/bench")?;
    let (open, waiting) = (world.count(100_000), world.count(backlog()));
    let smsc = texts::smsc(Record::counters_only()).await?;
    // Receipts are withheld: nothing ends before its life of five minutes does.
    smsc.faults()
        .change(|faults| faults.no_receipts = Often::ALWAYS);
    let names = Names::new("memory");
    let load = Load::open(url, names.clone(), open + waiting).await?;
    let mut setup = Setup::texts(smsc.address());
    setup.files.extend(start::routes());
    setup.jobs = format!("max_open = {open}\n");
    setup.amqp = names.section(url);
    let mut gateway = Gateway::start(world, &setup).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (idle, _) = gateway.memory()?;
    let mut publisher = load.publisher().await?;
    for n in 0..open + waiting {
        publisher
            .publish(
                &load.names,
                n,
                &text_job(n).replace("\"lifetime_s\":300", "\"lifetime_s\":900"),
            )
            .await?;
    }
    publisher.settle().await?;
    let text_count = || smsc.record().summary().texts;
    gateway
        .until("full", Duration::from_secs(240), async |gateway| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let held = gateway.metric("ringback_challenges_open").await;
            held >= open as f64 && text_count() >= open as u64
        })
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = gateway.metric("ringback_challenges_open").await;
    let (now, most) = gateway.memory()?;
    drop(gateway);
    load.close().await?;
    Ok(vec![
        Figure::new("idle, 250 routes", "MB", Goal::AtMost(40.0), idle),
        Figure::new("open challenges held", "challenges", Goal::None, held),
        Figure::new("with 100,000 open", "MB", Goal::AtMost(250.0), now),
        Figure::new(
            "jobs waiting in the broker meanwhile",
            "jobs",
            Goal::None,
            waiting as f64,
        ),
        Figure::new(
            "the most, with the backlog",
            "MB",
            Goal::AtMost(300.0),
            most,
        ),
        Figure::new(
            "per open challenge",
            "octets",
            Goal::None,
            (now - idle) * 1048576.0 / held.max(1.0),
        ),
    ])
}

/// The target says a million; `RINGBACK_BENCH_BACKLOG` may say so too. What waits in the broker is not in the gateway,
/// however much it is.
fn backlog() -> usize {
    let said = std::env::var("RINGBACK_BENCH_BACKLOG").ok();
    said.and_then(|n| n.parse().ok()).unwrap_or(200_000)
}
