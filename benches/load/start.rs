//! Start with 250 routes, and all of them read again under load.

use std::{
    fs,
    time::{Duration, Instant},
};

use simulators::record::Record;

use super::{
    Result, World,
    broker::text_job,
    figure::{Figure, Goal, median},
    gateway::{Gateway, SENDER, Setup},
    http::{self, Client},
    texts,
};

pub async fn run(world: &World) -> Result<Vec<Figure>> {
    let smsc = texts::smsc(Record::counters_only()).await?;
    let mut setup = Setup::texts(smsc.address());
    setup.files.extend(routes());
    let mut gateway = Gateway::start(world, &setup).await?;
    let ready = gateway.ready_after.as_secs_f64() * 1e3;
    let folder = gateway.folder.clone();
    let (address, count) = (gateway.http.clone(), world.count(5_000));
    let load = tokio::spawn(async move { paced(&address, count).await });
    let (mut reloads, mut reads) = (Vec::new(), Vec::new());
    for weight in 2..7u32 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (path, text) in routes() {
            fs::write(
                folder.join(path),
                text.replace("weight = 1", &format!("weight = {weight}")),
            )?;
        }
        let begun = Instant::now();
        let (status, answer) = http::once(&gateway.admin, "POST", "/admin/reload").await?;
        reloads.push(begun.elapsed().as_secs_f64() * 1e3);
        if status != 200 {
            return Err(format!("reload: {status}: {answer}").into());
        }
        reads.push(parsed(&folder)?);
    }
    let longest = load.await??;
    let dropped = gateway.said("link down");
    gateway
        .until("all reported", Duration::from_secs(30), async |gateway| {
            gateway.metric("ringback_final_reports_total").await >= count as f64
        })
        .await?;
    let texts = smsc.record().summary().texts as f64;
    Ok(vec![
        Figure::new(
            "start to ready, 250 routes",
            "ms",
            Goal::AtMost(1_000.0),
            ready,
        ),
        Figure::new(
            "reload of all routes at 500/s",
            "ms",
            Goal::AtMost(100.0),
            median(&reloads),
        )
        .beside(median(&reads)),
        Figure::new(
            "sessions dropped by it",
            "sessions",
            Goal::AtMost(0.0),
            dropped as f64,
        ),
        Figure::new(
            "texts beyond one each",
            "texts",
            Goal::AtMost(0.0),
            texts - count as f64,
        ),
        Figure::new(
            "longest wait for a 202 meanwhile",
            "ms",
            Goal::None,
            longest,
        ),
    ])
}

/// A file per country: three tiers of the one carrier.
pub fn routes() -> Vec<(String, String)> {
    let line = format!("carrier = \"northwind\"\nsenders = [\"{SENDER}\"]\nweight = 1\n");
    let text: String = (1..=3)
        .map(|tier| format!("[[sms]]\ntier = {tier}\n{line}"))
        .collect();
    let codes = include_str!("../countries.txt").split_whitespace();
    codes
        .map(|code| (format!("routes/{}.toml", code.to_lowercase()), text.clone()))
        .collect()
}

/// The floor: the same files read and parsed as TOML, and no more (ms).
fn parsed(folder: &std::path::Path) -> Result<f64> {
    let begun = Instant::now();
    for entry in fs::read_dir(folder.join("routes"))? {
        let text = fs::read_to_string(entry?.path())?;
        std::hint::black_box(text.parse::<toml::Table>()?);
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// 500 a second; the longest wait for an answer (ms).
async fn paced(address: &str, count: usize) -> Result<f64> {
    let begun = Instant::now();
    let workers = (0..WORKERS).map(|worker| {
        let address = address.to_owned();
        tokio::spawn(async move {
            let mut client = Client::connect(&address).await?;
            let mut longest = Duration::ZERO;
            for n in (worker..count).step_by(WORKERS) {
                tokio::time::sleep_until((begun + EVERY * n as u32).into()).await;
                let asked = Instant::now();
                let (status, body) = client.ask("POST", "/v1/challenges", &text_job(n)).await?;
                longest = longest.max(asked.elapsed());
                if status != 202 {
                    return Err(std::io::Error::other(format!("{status}: {body}")));
                }
            }
            Ok(longest)
        })
    });
    let mut longest = Duration::ZERO;
    for worker in workers.collect::<Vec<_>>() {
        longest = longest.max(worker.await??);
    }
    Ok(longest.as_secs_f64() * 1e3)
}

const WORKERS: usize = 50;
/// 500 a second.
const EVERY: Duration = Duration::from_millis(2);
