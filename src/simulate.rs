//! `ringback simulate`: the whole gateway with simulated carriers and phones, in one process.
//!
//! For a newcomer who wants to see what it does, and for whoever wants to know whether it still does. Everything is
//! real but the far end: the shipped routes, carriers and recordings, the ledger (in a temporary folder), SMPP, HTTP,
//! SIP and RTP over loopback. Read [`sample`] for what is asked, [`verdict`] for when it was right, [`world`] for
//! what runs.
//!
//! Codes are secrets everywhere else and are shown here: the people do not exist. Logs stay masked even so.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub mod address;
mod carriers_only;
pub mod case;
pub mod far_end;
pub mod folder;
pub mod follow;
pub mod load;
pub mod people;
pub mod play;
pub mod sample;
pub mod scenario;
pub mod screen;
pub mod setup;
pub mod shipped;
pub mod sim_broker;
pub mod stay;
pub mod usage;
pub mod verdict;
pub mod world;

use crate::config::settings::Amqp;
use load::{EVERYWHERE, Mix};
use sample::Sample;
use scenario::Scenario;
use screen::Screen;
use world::{World, WorldConfig, WorldError};

/// What a run is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// End after the sample.
    pub once: bool,
    pub json: bool,
    pub seed: u64,
    /// Keep configuration and ledger there.
    pub data: Option<PathBuf>,
    /// Jobs and reports go through this broker.
    pub broker: Option<Amqp>,
    pub what: Program,
}

impl Options {
    /// Does it stay up after what it plays?
    fn stays(&self) -> bool {
        !self.once && matches!(self.what, Program::Sample)
    }
}

/// What a run plays.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    Sample,
    Load {
        /// Challenges a second.
        rate: f64,
        duration: Duration,
        /// Percent.
        texts: u8,
    },
    Scenario(Scenario),
    /// Nothing: the carriers alone, for `ringback run`.
    CarriersOnly,
}

/// How long the carriers may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// Lines of the far end's record that are kept; a load looks at them ten times a second.
const LINES: usize = 20_000;
/// Under load: reports of one challenge within this time are read together.
const REST: Duration = Duration::from_millis(50);
/// Up to so many calls a second are listened to by ear: recognising speech costs more than carrying it.
const HEARD: f64 = 2.0;

/// Runs; true if everything went as it must.
pub async fn run(options: &Options) -> Result<bool, WorldError> {
    let screen = Screen::new(options.json);
    if let Program::CarriersOnly = options.what {
        return carriers_only::run(options.seed, &screen).await;
    }
    screen.say("Ringback, with simulated carriers and phones: nothing leaves this machine.");
    let mut end = Signals::listen()?;
    let mut world = World::start(&order(options)).await?;
    let played = tokio::select! {
        good = play(&mut world, options, &screen) => good,
        () = end.end() => None,
    };
    let good = match played {
        Some(good) if !options.stays() => good,
        Some(good) => {
            stay::introduce(&world, &screen);
            stay::forget(&world.follow);
            world.follow_others();
            tokio::select! {
                () = stay::watch(&mut world, &screen) => {}
                () = end.end() => {}
            }
            good
        }
        None => false,
    };
    screen.say("");
    screen.note("ending");
    world.stop().await;
    Ok(good)
}

fn order(options: &Options) -> WorldConfig {
    let (lines, rest, ear) = match options.what {
        Program::Sample => (LINES, Duration::ZERO, true),
        Program::Load { rate, texts, .. } => {
            let calls = rate * f64::from(100 - texts.min(100)) / 100.0;
            (LINES, REST, calls <= HEARD)
        }
        Program::Scenario(_) | Program::CarriersOnly => (LINES, REST, false),
    };
    WorldConfig {
        seed: options.seed,
        lines,
        ear,
        rest,
        data: options.data.clone(),
        carriers: match options.what {
            Program::Scenario(scenario) => scenario.carriers(),
            Program::Sample | Program::Load { .. } | Program::CarriersOnly => Vec::new(),
        },
        broker: options.broker.clone(),
        usual_ports: options.stays(),
    }
}

/// Some: it is over, and whether it was good.
async fn play(world: &mut World, options: &Options, screen: &Screen) -> Option<bool> {
    introduce(world, options, screen).await;
    Some(match options.what {
        Program::Sample => play_sample(world, options, screen).await,
        Program::Load {
            rate,
            duration,
            texts,
        } => {
            let mix = Mix {
                rate,
                texts,
                lifetime: load::LIFETIME,
                places: EVERYWHERE,
            };
            load::run(world, mix, options.seed, duration, screen).await
        }
        Program::Scenario(scenario) => scenario::run(world, scenario, options.seed, screen).await,
        // Has no gateway, and so no world.
        Program::CarriersOnly => true,
    })
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What was started, and where.
async fn introduce(world: &World, options: &Options, screen: &Screen) {
    for (kind, name) in world.far.named() {
        let address = world
            .far
            .address(name)
            .map_or(String::new(), |at| at.to_string());
        screen.say(&format!("  {name:<10} {kind} carrier on {address}"));
    }
    screen.say(&format!("  page       http://{}/", world.gateway.admin));
    screen.say(&format!(
        "  phones     http://{}/record, and /faults to break something",
        world.far.control()
    ));
    let routes = match world.shipped.here {
        true => "the files of this folder: edit routes/ and see the change".to_owned(),
        false => format!("as shipped, in {}", world.shipped.root.display()),
    };
    screen.say(&format!("  routes     {routes}"));
    screen.say(&format!(
        "  ledger     {} ({})",
        world.data().display(),
        if world.folder.kept() {
            "kept"
        } else {
            "removed at the end"
        }
    ));
    if let Some(door) = &world.door {
        screen.say(&format!(
            "  broker     jobs by exchange {}, reports by a queue of our own; removed at the end",
            door.amqp().exchange
        ));
    }
    screen.say(&format!(
        "  seed       {} (--seed repeats this run)",
        options.seed
    ));
    for trouble in world.ready(CONNECT).await {
        screen.note(&format!("still not ready: {trouble}"));
    }
}

async fn play_sample(world: &World, options: &Options, screen: &Screen) -> bool {
    let sample = Sample::new(options.seed, &world.config);
    screen.head(&format!(
        "{} challenges to people who do not exist",
        sample.len()
    ));
    let mut outcomes = play::sample(world, &sample, screen).await;
    let strays = play::strays(world, &outcomes);
    outcomes.sort_by_key(|outcome| order_of(&sample, &outcome.case.id));
    screen.table(&outcomes);
    for stray in &strays {
        screen.verdict(false, &format!("  wrong: {stray}"));
    }
    let wrong = outcomes
        .iter()
        .filter(|outcome| !outcome.faults.is_empty())
        .count();
    let good = wrong == 0 && strays.is_empty();
    let seconds = screen.elapsed().as_secs_f64();
    let summary = world.far.record.summary();
    screen.say("");
    screen.verdict(
        good,
        &format!(
            "{} challenges, {} as they must be, {wrong} wrong; {} texts and {} calls at the phones; {seconds:.1} s",
            outcomes.len(),
            outcomes.len() - wrong,
            summary.texts,
            summary.calls,
        ),
    );
    screen.object(&json!({
        "kind": "summary",
        "seed": options.seed,
        "challenges": outcomes.len(),
        "ok": outcomes.len() - wrong,
        "wrong": wrong,
        "strays": strays,
        "phones": summary,
        "seconds": seconds,
        "good": good,
    }));
    good
}

/// The place in which it was written.
fn order_of(sample: &Sample, id: &str) -> usize {
    sample
        .cases()
        .position(|case| *case.id == *id)
        .unwrap_or(usize::MAX)
}
