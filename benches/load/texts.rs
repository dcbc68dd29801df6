//! Texts: how many challenges a second, and what one costs, by the broker and by HTTP, each beside its floor.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use simulators::{
    record::Record,
    smsc::{Smsc, SmscConfig, SmscHandle},
};

use super::{
    Result, World,
    broker::{Load, Names, text_job},
    figure::{Figure, Goal},
    gateway::{Gateway, Setup},
    http::Client,
    process,
};

/// Rate and CPU of the middle of a run: neither warming up nor the last stragglers count.
struct Middle {
    per_second: f64,
    cpu_us: f64,
}

/// A broker in and out: quorum job queue, `sent` and the final to one of eight queues.
pub async fn by_broker(world: &World) -> Result<Vec<Figure>> {
    let url = world
        .amqp
        .as_deref()
        .ok_or("no broker; run it by scripts/bench")?;
    let count = world.count(40_000);
    let floor = broker_floor(url, count).await?;
    let smsc = smsc(Record::counters_only()).await?;
    let names = Names::new("texts");
    let load = Load::open(url, names.clone(), count).await?;
    let setup = Setup {
        amqp: names.section(url),
        ..Setup::texts(smsc.address())
    };
    let gateway = Gateway::start(world, &setup).await?;
    let middle = flood(&load, count, || gateway.cpu()).await?;
    let (lost, twice) = load.seen.wrong(count);
    let extra = load.seen.reports() as f64 - 2.0 * count as f64;
    let (_, most) = gateway.memory()?;
    drop(gateway);
    load.close().await?;
    let texts = smsc.record().summary().texts as f64;
    Ok(vec![
        Figure::new(
            "texts by the broker",
            "challenges/s",
            Goal::AtLeast(3_000.0),
            middle.per_second,
        )
        .beside(floor.per_second),
        Figure::new(
            "its share of the floor",
            "%",
            Goal::AtLeast(40.0),
            middle.per_second / floor.per_second * 100.0,
        ),
        Figure::new(
            "gateway CPU per challenge",
            "us",
            Goal::AtMost(250.0),
            middle.cpu_us,
        )
        .beside(floor.cpu_us),
        Figure::new(
            "finals missing or twice",
            "challenges",
            Goal::AtMost(0.0),
            (lost + twice) as f64,
        ),
        Figure::new(
            "reports beyond two each",
            "reports",
            Goal::AtMost(0.0),
            extra,
        ),
        Figure::new(
            "texts beyond one each",
            "texts",
            Goal::AtMost(0.0),
            texts - count as f64,
        ),
        Figure::new("peak memory", "MB", Goal::None, most),
    ])
}

async fn broker_floor(url: &str, count: usize) -> Result<Middle> {
    let load = Load::open(url, Names::new("floor"), count).await?;
    load.declare_jobs().await?;
    let floor = Part::start(&["amqp", url, &load.names.jobs, &count.to_string()])?;
    let middle = flood(&load, count, || floor.cpu()).await?;
    drop(floor);
    load.close().await?;
    Ok(middle)
}

async fn flood(load: &Load, count: usize, cpu: impl Fn() -> Result<Duration>) -> Result<Middle> {
    let (from, to) = (count as u64 / 10, count as u64 * 9 / 10);
    let measure = async {
        let begun = (load.finals(from).await?, cpu()?, load.seen.finals());
        let ended = (load.finals(to).await?, cpu()?, load.seen.finals());
        let done = (ended.2 - begun.2) as f64;
        load.finals(count as u64).await?;
        Ok(Middle {
            per_second: done / (ended.0 - begun.0).as_secs_f64(),
            cpu_us: (ended.1 - begun.1).as_secs_f64() * 1e6 / done,
        })
    };
    let (published, middle) = tokio::join!(load.flood(count, OPEN, text_job), measure);
    published?;
    middle
}

/// HTTP in, embedded: no broker. A challenge is done when the simulated phone's receipt has come and is counted.
pub async fn by_http(world: &World) -> Result<Vec<Figure>> {
    let count = world.count(50_000);
    let (floor_rate, floor_cpu) = http_floor(count).await?;
    let smsc = smsc(Record::counters_only()).await?;
    let mut gateway = Gateway::start(world, &Setup::texts(smsc.address())).await?;
    // Prepared outside of what is measured.
    let before = gateway.cpu()?;
    let begun = Instant::now();
    post(&gateway.http, count).await?;
    let taken = begun.elapsed();
    gateway
        .until("all reported", Duration::from_secs(60), async |gateway| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            gateway.metric("ringback_final_reports_total").await >= count as f64
        })
        .await?;
    let ended = begun.elapsed();
    let cpu = (gateway.cpu()? - before).as_secs_f64() * 1e6 / count as f64;
    let (_, most) = gateway.memory()?;
    let texts = smsc.record().summary().texts as f64;
    Ok(vec![
        Figure::new(
            "texts by HTTP, to the final",
            "challenges/s",
            Goal::AtLeast(5_000.0),
            count as f64 / ended.as_secs_f64(),
        )
        .beside(floor_rate),
        Figure::new(
            "taken (202)",
            "challenges/s",
            Goal::None,
            count as f64 / taken.as_secs_f64(),
        ),
        Figure::new("gateway CPU per challenge", "us", Goal::None, cpu).beside(floor_cpu),
        Figure::new(
            "texts beyond one each",
            "texts",
            Goal::AtMost(0.0),
            texts - count as f64,
        ),
        Figure::new("peak memory", "MB", Goal::None, most),
    ])
}

async fn http_floor(count: usize) -> Result<(f64, f64)> {
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        free.local_addr()?.to_string()
    };
    let floor = Part::start(&["http", &address])?;
    let begun = Instant::now();
    post(&address, count).await?;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, floor.cpu()?.as_secs_f64() * 1e6 / count as f64))
}

/// Posts challenges `0..count` over kept connections, one at a time on each.
pub async fn post(address: &str, count: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..CONNECTIONS).map(|_| {
        let (next, address) = (next.clone(), address.to_owned());
        tokio::spawn(async move {
            let mut client = Client::connect(&address).await?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok::<(), std::io::Error>(());
                }
                let mut answer = client.ask("POST", "/v1/challenges", &text_job(n)).await?;
                // Overload is an answer, not an error: the same again, a little later.
                while matches!(answer.0, 429 | 503) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    answer = client.ask("POST", "/v1/challenges", &text_job(n)).await?;
                }
                if answer.0 != 202 {
                    let (status, body) = answer;
                    return Err(std::io::Error::other(format!("{status}: {body}")));
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await??;
    }
    Ok(())
}

/// A carrier that is never the bottleneck; receipts after 100 ms.
pub async fn smsc(record: Record) -> Result<SmscHandle> {
    Ok(Smsc::start(SmscConfig {
        record,
        ..SmscConfig::default()
    })
    .await?)
}

/// This binary again, as a floor. Killed when dropped.
pub struct Part(Child);

impl Part {
    /// Started, and ready for load.
    pub fn start(words: &[&str]) -> Result<Part> {
        let mut part = Part(Part::spawn(words)?);
        let out = part.0.stdout.take().ok_or("a child without an output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err(format!("the floor {words:?} did not start").into());
        }
        Ok(part)
    }

    pub fn spawn(words: &[&str]) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("part")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(command.spawn()?)
    }

    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.0.id())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Either fails only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Challenges on their way at a time.
const OPEN: u64 = 4_000;
/// Kept connections that post.
const CONNECTIONS: usize = 128;
