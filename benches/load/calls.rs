//! Calls: set-up and end without audio, whole MFA calls, and 500 at a time, against the simulated trunk.

use std::{
    collections::HashMap,
    io::Read,
    ops::Range,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ringback::{
    carrier::{
        AttemptEvent, Call, CallCarrier, CallCommand, CallOrder, CarrierEvent, CarrierMessage,
        Link, SAID, sip as driver_of,
    },
    challenge::{AttemptKey, ChallengeKey, Method, Millis},
    config::Config,
    message::speech::Catalogue,
    number::Number,
};
use simulators::{
    record::Record,
    subscriber::Habits,
    trunk::{Trunk, TrunkConfig, TrunkHandle},
};
use tokio::sync::mpsc;

use super::{
    Result, World,
    broker::{Load, Names, millis},
    figure::{Figure, Goal, quantile},
    gateway::{self, Gateway, SENDER, Setup, phone},
    sip::ABREAST,
    texts::Part,
};

/// Set-up and end: INVITE, 200, ACK, BYE, with the driver alone in a child; audio is offered, and hung up on.
pub async fn bare(world: &World) -> Result<Vec<Figure>> {
    let count = world.count(20_000);
    let trunk = trunk(TrunkConfig {
        media: false,
        ..quick(Record::counters_only())
    })
    .await?;
    let floor = part(&["sip", &trunk.address().to_string(), &count.to_string()]).await?;
    let folder = world.folder.join(format!("driver-{}", std::process::id()));
    // Defaults hold; a file that is named must be there.
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("ringback.toml"), "")?;
    for (path, text) in &Setup::calls(trunk.address(), 1_000).files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        std::fs::write(path, text)?;
    }
    let ours = part(&["driver", &folder.display().to_string(), &count.to_string()]).await;
    std::fs::remove_dir_all(&folder)?;
    let (ours, left) = (ours?, trunk.live_calls());
    Ok(vec![
        Figure::new(
            "calls set up and ended",
            "calls/s",
            Goal::AtLeast(1_500.0),
            ours.0,
        )
        .beside(floor.0),
        Figure::new("CPU per call", "us", Goal::AtMost(300.0), ours.1).beside(floor.1),
        Figure::new("calls left up", "calls", Goal::AtMost(0.0), left as f64),
    ])
}

/// Calls per second and CPU of one, as the child says it.
async fn part(words: &[&str]) -> Result<(f64, f64)> {
    let mut child = Part::spawn(words)?;
    let mut out = child.stdout.take().ok_or("a child without an output")?;
    let said = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let said = said.await??;
    child.wait()?;
    let figures: Vec<f64> = said
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    match figures.as_slice() {
        [calls, seconds, cpu] => Ok((calls / seconds, *cpu)),
        _ => Err(format!("the part {words:?} did not finish").into()),
    }
}

/// The child of [`bare`]: the SIP driver of the carrier in `folder`, hanging up as soon as somebody answers.
pub async fn driver(folder: &str, count: usize) -> Result<()> {
    let file = Path::new(folder).join("ringback.toml");
    let config = Config::load(&file).map_err(|faults| {
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    })?;
    let carrier = config
        .carriers
        .get("fabrikam")
        .ok_or("no carrier fabrikam")?
        .clone();
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let voices = Catalogue::load(&prompts).map_err(|_| "the prompts can't be read")?;
    let (tx, mut said) = mpsc::channel(SAID);
    let (handle, _task) = driver_of::start(carrier, Arc::new(voices), tx, &[]).await?;
    while !matches!(
        said.recv().await,
        Some(CarrierMessage {
            what: CarrierEvent::Link(Link::Up),
            ..
        })
    ) {}
    let before = super::process::cpu(std::process::id())?;
    let (started, mut begun, mut done) = (Instant::now(), 0, 0);
    while done < count {
        while begun < count && begun - done < ABREAST {
            order(&handle, begun).await?;
            begun += 1;
        }
        match said.recv().await.ok_or("the driver ended")?.what {
            CarrierEvent::Attempt(key, AttemptEvent::Answered) => {
                handle.commands.send(CallCommand::HangUp(key)).await?
            }
            // No ledger here: as if it had answered at once.
            CarrierEvent::Attempt(_, AttemptEvent::CallState(_, mark)) => {
                handle.commands.send(CallCommand::Recorded(mark)).await?
            }
            CarrierEvent::Attempt(_, AttemptEvent::CallEnded(_)) => done += 1,
            CarrierEvent::Attempt(_, AttemptEvent::Failed(failure)) => {
                return Err(format!("a call failed: {:?}", failure.cause).into());
            }
            _ => {}
        }
    }
    let own = super::process::cpu(std::process::id())? - before;
    let whole = started.elapsed();
    // What was used before the first call (recordings, start) is not a call's.
    println!(
        "{count} {} {}",
        whole.as_secs_f64(),
        own.as_secs_f64() * 1e6 / count as f64
    );
    Ok(())
}

async fn order(handle: &CallCarrier, n: usize) -> Result<()> {
    let order = CallOrder {
        key: AttemptKey {
            challenge: ChallengeKey(n as i64 + 1),
            attempt: 1,
        },
        to: Number::from_e164(&phone(n)).ok_or("no number")?,
        sender: SENDER.into(),
        content: Call {
            method: Method::VoiceConfirm,
            locale: "en-US".into(),
            code: None,
            extension: None,
            rules: Arc::default(),
        },
        deadline: Millis(millis() + 180_000),
    };
    Ok(handle
        .commands
        .send(CallCommand::Submit(Box::new(order)))
        .await?)
}

/// Whole MFA calls, then many at a time on one core.
pub async fn talk(world: &World) -> Result<Vec<Figure>> {
    let mut figures = whole(world).await?;
    figures.extend(many(world).await?);
    Ok(figures)
}

/// INVITE, ring, prompt, #, BYE and both reports, 50 new calls a second.
async fn whole(world: &World) -> Result<Vec<Figure>> {
    let url = world
        .amqp
        .as_deref()
        .ok_or("no broker; run it by scripts/bench")?;
    let count = world.count(1_000);
    let run = Run::start(
        world,
        url,
        "whole",
        count,
        Duration::from_millis(1_500),
        None,
    )
    .await?;
    let before = run.gateway.cpu()?;
    let half = Duration::from_secs(1) / PER_SECOND * (count as u32 / 2);
    let (done, live) = tokio::join!(run.paced(0..count, PER_SECOND), async {
        tokio::time::sleep(half).await;
        run.trunk.live_calls()
    });
    done?;
    run.load.finals(count as u64).await?;
    let cpu = (run.gateway.cpu()? - before).as_secs_f64() * 1e6 / count as f64;
    let key_to_bye = run.trunk.stats().counts.key_to_bye;
    // Not one was timed: no figure, and never a goal that is met.
    let bye = |share| key_to_bye.quantile_ms(share).unwrap_or(f64::NAN);
    let behind = run.reported_after_end();
    let confirmed = run.load.seen.finals_with_time();
    let confirmed = confirmed
        .iter()
        .filter(|(_, body)| String::from_utf8_lossy(body).contains(r#""event":"confirmed""#));
    let confirmed = confirmed.count() as f64;
    run.load.close().await?;
    let whole = Figure::new("whole MFA call, CPU", "us", Goal::AtMost(3_000.0), cpu);
    // The audio alone of as many calls, shared out among those that began meanwhile.
    let media = world.media.as_deref();
    let floor = media
        .map(|media| engine_floor(media, live as usize))
        .transpose()?;
    let audio = |(core, _): (f64, f64)| core / 100.0 * 1e6 / f64::from(PER_SECOND);
    Ok(vec![
        floor.map_or(whole.clone(), |f| whole.beside(audio(f))),
        Figure::new("# to BYE, p50", "ms", Goal::None, bye(0.5)),
        Figure::new("# to BYE, p99", "ms", Goal::AtMost(30.0), bye(0.99)),
        Figure::new(
            "# to report at the consumer, p99",
            "ms",
            Goal::AtMost(60.0),
            bye(0.99) + behind,
        ),
        Figure::new(
            "# pressed and heard",
            "calls",
            Goal::AtLeast(count as f64),
            confirmed,
        ),
    ])
}

/// Nothing, as far as resident memory over 1,200 calls can tell.
const NOTHING_KB: f64 = 0.1;

/// 500 at a time, both ways, the gateway on one core.
async fn many(world: &World) -> Result<Vec<Figure>> {
    let url = world
        .amqp
        .as_deref()
        .ok_or("no broker; run it by scripts/bench")?;
    let (abreast, rest) = (world.count(500), Duration::from_secs(2));
    let rate = abreast as u32 / 10;
    // What is kept for a while after every call, and what only the first calls cost, is not left of a call: as many go
    // before as fill the ledger's page caches, and longer than late copies of an answer are awaited (RFC 6026).
    let (first, count) = (rate as usize * 70, rate as usize * 24);
    let all = first + count;
    let run = Run::start(world, url, "many", all, Duration::from_secs(10), Some(0)).await?;
    tokio::time::sleep(rest).await;
    let (idle, _) = run.gateway.memory()?;
    run.paced(0..first, rate).await?;
    let before = run.after(first).await?;
    let figures = tokio::join!(run.paced(first..all, rate), async {
        // The tenth second's calls end as the twentieth's begin: from here on as many are up as will be.
        tokio::time::sleep(Duration::from_secs(12)).await;
        let (begun, cpu) = (Instant::now(), run.gateway.cpu()?);
        let live = run.trunk.live_calls() as f64;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let used = (run.gateway.cpu()? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        let (full, _) = run.gateway.memory()?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((used, live, full))
    });
    figures.0?;
    let (used, live, full) = figures.1?;
    let left = run.after(all).await? - before;
    let stats = run.trunk.stats();
    let off = |share| stats.spacing.quantile_ms(share).unwrap_or(f64::NAN) - 20.0;
    let floor = world
        .media
        .as_deref()
        .map(|media| engine_floor(media, abreast))
        .transpose()?;
    run.load.close().await?;
    let share = Figure::new(
        "gateway at 500 calls",
        "% of a core",
        Goal::AtMost(60.0),
        used * 100.0,
    );
    let spacing = Figure::new(
        "packets off their 20 ms, p99",
        "ms",
        Goal::AtMost(10.0),
        off(0.99).max(-off(0.01)),
    );
    Ok(vec![
        Figure::new("calls up at once", "calls", Goal::None, live),
        floor.map_or(share.clone(), |f| share.beside(f.0)),
        floor.map_or(spacing.clone(), |f| spacing.beside(f.1)),
        Figure::new(
            "CPU per call-minute",
            "s",
            Goal::None,
            used * 60.0 / live.max(1.0),
        ),
        Figure::new(
            "packets missing at the far end",
            "packets",
            Goal::None,
            stats.counts.packets_lost as f64,
        ),
        Figure::new(
            "memory per call",
            "kB",
            Goal::AtMost(100.0),
            (full - idle) * 1024.0 / live.max(1.0),
        ),
        Figure::new(
            "left of a call 5 s after its end",
            "kB",
            Goal::AtMost(NOTHING_KB),
            left * 1024.0 / count as f64,
        ),
    ])
}

/// What the audio's floor takes of a core, and how far its packets are off (ms), as `benches/media.rs` says it.
fn engine_floor(media: &Path, calls: usize) -> Result<(f64, f64)> {
    let out = std::process::Command::new(media)
        .args(["--bench", &calls.to_string(), "5"])
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text
        .lines()
        .find(|l| l.starts_with("floor"))
        .ok_or("no floor of the audio")?;
    let word = line.split_whitespace().nth(1).and_then(|w| w.parse().ok());
    let p99 = line
        .split("p99 ")
        .nth(1)
        .and_then(|rest| rest.split([';', ',']).next());
    let p99 = p99.and_then(|text| match text.trim() {
        ms if ms.ends_with("ms") => ms.trim_end_matches("ms").parse().ok(),
        us => us
            .trim_end_matches("µs")
            .parse::<f64>()
            .ok()
            .map(|us| us / 1e3),
    });
    Ok(word
        .zip(p99)
        .ok_or("the floor of the audio reads otherwise")?)
}

/// A gateway with a broker before it and a trunk behind it.
struct Run {
    gateway: Gateway,
    load: Load,
    trunk: TrunkHandle,
    record: Record,
}

impl Run {
    async fn start(
        world: &World,
        url: &str,
        what: &str,
        count: usize,
        key_after: Duration,
        core: Option<usize>,
    ) -> Result<Run> {
        let record = Record::with_limit(count + 100);
        let mut config = quick(record.clone());
        config.habits.key_after = key_after;
        let trunk = trunk(config).await?;
        let load = Load::open(url, Names::new(what), count).await?;
        let amqp = load.names.section(url);
        let setup = Setup {
            amqp,
            core,
            ..Setup::calls(trunk.address(), 2_000)
        };
        let gateway = Gateway::start(world, &setup).await?;
        Ok(Run {
            gateway,
            load,
            trunk,
            record,
        })
    }

    async fn paced(&self, which: Range<usize>, per_second: u32) -> Result<()> {
        let mut publisher = self.load.publisher().await?;
        let mut at = Instant::now();
        for n in which {
            tokio::time::sleep_until(at.into()).await;
            at += Duration::from_secs(1) / per_second;
            publisher.publish(&self.load.names, n, &call_job(n)).await?;
        }
        publisher.settle().await
    }

    /// The gateway's memory (MB) 5 s after the end of so many calls.
    async fn after(&self, calls: usize) -> Result<f64> {
        self.load.finals(calls as u64).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(self.gateway.memory()?.0)
    }

    /// From the end of a call as the trunk wrote it down to its final at the consumer: p99 (ms).
    fn reported_after_end(&self) -> f64 {
        let lines = self.record.lines();
        let ended: HashMap<&str, i64> = lines
            .iter()
            .filter_map(|line| {
                let at = line
                    .at
                    .duration_since(std::time::UNIX_EPOCH)
                    .ok()?
                    .as_millis() as i64;
                line.entry.call().map(|call| (call.call_id.as_str(), at))
            })
            .collect();
        let waits = self
            .load
            .seen
            .finals_with_time()
            .into_iter()
            .filter_map(|(at, body)| {
                let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
                let ended = ended.get(body.get("reference")?.as_str()?)?;
                Some((at - ended).max(0) as f64)
            });
        quantile(waits.collect(), 0.99)
    }
}

/// So many people are called in turn, so that what is known of each of them is known before memory is compared; none is
/// called a sixth time.
const PEOPLE: usize = 1_200;

fn call_job(n: usize) -> String {
    let person = n % PEOPLE;
    format!(
        r#"{{"v":1,"id":"call-{n:08}","to":"{}","method":"voice_confirm","user":"user-{person}","locale":"en-US"}}"#,
        gateway::phone(person)
    )
}

/// People who answer at once.
fn quick(record: Record) -> TrunkConfig {
    TrunkConfig {
        ear: false,
        habits: Habits {
            ring: Duration::from_millis(20),
            ..Habits::default()
        },
        record,
        ..TrunkConfig::default()
    }
}

async fn trunk(config: TrunkConfig) -> Result<TrunkHandle> {
    Ok(Trunk::start(config).await?)
}

/// New calls a second.
const PER_SECOND: u32 = 50;
