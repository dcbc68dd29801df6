//! `ringback simulate`: the whole of it with simulated carriers and phones, no database server, and a broker only where
//! one is named.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::configured::BAD_CONFIGURATION;
use crate::{
    broker::client,
    config::settings::{Log, LogFormat},
    operate,
    simulate::{self, Options, Program, scenario::Scenario, world::WorldError},
};

/// What the verb takes.
#[derive(Args)]
pub struct SimulateArgs {
    /// End after the sample: 0 if every outcome was right, 1 if not.
    #[arg(long)]
    once: bool,
    /// One JSON object for each challenge, and one with the totals.
    #[arg(long)]
    json: bool,
    /// Load: so many challenges a second.
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "scenario")]
    rate: Option<f64>,
    /// For so many seconds.
    #[arg(long, value_name = "S", default_value_t = 10, requires = "rate")]
    duration: u64,
    /// Percent of the load that are texts; the others are calls.
    #[arg(long, value_name = "PERCENT", default_value_t = 90, requires = "rate", value_parser = clap::value_parser!(u8).range(0..=100))]
    texts: u8,
    /// Breaks something on purpose, and shows what comes of it.
    #[arg(long, value_name = "NAME")]
    scenario: Option<Scenario>,
    /// The simulated carriers alone, where this folder's configuration looks for them: what `ringback run` needs.
    #[arg(long, conflicts_with_all = ["once", "rate", "scenario", "amqp", "data"])]
    carriers_only: bool,
    /// The same seed, the same people, codes and behaviour.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Jobs and reports go through this RabbitMQ: amqp:// or amqps://; what is made there is removed at the end.
    #[arg(long, value_name = "URL")]
    amqp: Option<String>,
    /// Keep configuration and ledger in this folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What is logged on standard error, as in `info,ringback::carrier=debug`.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG")]
    log: Option<String>,
}

/// What breaks here breaks on purpose: only what is wrong with the gateway itself is logged. The AMQP library calls it an
/// error when a channel closes at the end; what matters of a lost broker, we say ourselves.
const QUIET: &str = "error,lapin=off";
/// More than this no machine of today carries.
const MAX_RATE: f64 = 100_000.0;

#[derive(Debug, thiserror::Error)]
#[error("a number above 0, at most {MAX_RATE}")]
struct NoRate;

fn rate(text: &str) -> Result<f64, NoRate> {
    let rate = text.parse::<f64>().ok();
    let rate = rate.filter(|rate| *rate > 0.0 && *rate <= MAX_RATE);
    rate.ok_or(NoRate)
}

pub fn run(args: &SimulateArgs) -> ExitCode {
    let broker = match args.amqp.as_deref().map(client::address).transpose() {
        Ok(broker) => broker,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let options = Options {
        once: args.once,
        json: args.json,
        seed: args.seed.unwrap_or_else(any_seed),
        data: args.data.clone(),
        broker,
        what: match (args.scenario, args.rate) {
            _ if args.carriers_only => Program::CarriersOnly,
            (Some(scenario), _) => Program::Scenario(scenario),
            (None, Some(rate)) => Program::Load {
                rate,
                duration: Duration::from_secs(args.duration),
                texts: args.texts,
            },
            (None, None) => Program::Sample,
        },
    };
    let log = Log {
        format: LogFormat::Text,
    };
    if let Err(reason) = operate::log::begin(log, Some(args.log.as_deref().unwrap_or(QUIET))) {
        eprintln!("{reason}");
        return ExitCode::from(BAD_CONFIGURATION);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ringback simulate: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(simulate::run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringback simulate: {error}");
            match error {
                WorldError::Setup(_) | WorldError::Gateway(_) => ExitCode::from(BAD_CONFIGURATION),
                WorldError::Io(_) | WorldError::Broker(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// A small one, that a person can type again.
fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| u64::from(since.subsec_nanos()) % 100_000)
}
