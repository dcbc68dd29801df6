//! The benchmarks of the whole gateway: each row of the table in `BENCHMARKS.md`, with its floor, in one run.
//!
//! `scripts/bench [quick] [row...]` builds it, starts a private broker and calls it. The gateway is the built binary in
//! a process of its own, accounted by the kernel; load, phones and carriers live in this process. A floor is a program
//! that makes the same traffic with no product in between; where its CPU counts it is this binary again, as a child.
//! Loopback only, bounded in count and time. A slow machine fails nothing.

use std::{path::PathBuf, process::ExitCode};

mod broker;
mod calls;
mod decide;
mod figure;
mod floor;
mod gateway;
mod http;
mod latency;
mod memory;
mod process;
mod sip;
mod start;
mod texts;

use figure::{Figure, Report};

/// Whatever goes wrong in a benchmark, a person reads it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a run has to work with.
pub struct World {
    /// Where the broker is; none: rows that need it are left out.
    pub amqp: Option<String>,
    /// One short round.
    pub quick: bool,
    /// The built `benches/media.rs`, for the floor of the audio.
    pub media: Option<PathBuf>,
    /// A folder on a real disk: the ledger's fsync must cost what it costs.
    pub folder: PathBuf,
}

impl World {
    /// A count that a short round divides by ten.
    pub fn count(&self, whole: usize) -> usize {
        if self.quick { whole / 10 } else { whole }
    }
}

/// Rows by the name that selects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Texts,
    Http,
    Latency,
    Decide,
    Memory,
    Calls,
    Talk,
    Start,
}

impl Row {
    const ALL: [Row; 8] = [
        Row::Texts,
        Row::Http,
        Row::Latency,
        Row::Decide,
        Row::Memory,
        Row::Calls,
        Row::Talk,
        Row::Start,
    ];

    fn name(self) -> &'static str {
        match self {
            Row::Texts => "texts",
            Row::Http => "http",
            Row::Latency => "latency",
            Row::Decide => "decide",
            Row::Memory => "memory",
            Row::Calls => "calls",
            Row::Talk => "talk",
            Row::Start => "start",
        }
    }

    /// How often it is run: what takes minutes and doesn't drift is run once.
    fn rounds(self, quick: bool) -> usize {
        match self {
            Row::Memory => 1,
            _ if quick => 1,
            _ => 3,
        }
    }

    async fn run(self, world: &World) -> Result<Vec<Figure>> {
        match self {
            Row::Texts => texts::by_broker(world).await,
            Row::Http => texts::by_http(world).await,
            Row::Latency => latency::run(world).await,
            Row::Decide => Ok(decide::run(world)),
            Row::Memory => memory::run(world).await,
            Row::Calls => calls::bare(world).await,
            Row::Talk => calls::talk(world).await,
            Row::Start => start::run(world).await,
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let Some((first, rest)) = args.split_first()
        && first == "part"
    {
        return ended(part(rest));
    }
    if args.is_empty() {
        println!("a measurement, not a test: scripts/bench [quick] [row...]");
        return ExitCode::SUCCESS;
    }
    ended(measure(&args))
}

fn ended(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// The child of a run: a floor, or one part of the gateway alone. Says what it measured on its standard output.
fn part(args: &[String]) -> Result<()> {
    let runtime = runtime()?;
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["amqp", url, queue, count] => runtime.block_on(floor::amqp(url, queue, count.parse()?)),
        ["http", address] => runtime.block_on(floor::http(address)),
        ["sip", trunk, count] => sip::floor(trunk.parse()?, count.parse()?),
        ["driver", folder, count] => runtime.block_on(calls::driver(folder, count.parse()?)),
        _ => Err(format!("no such part: {words:?}").into()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

fn measure(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|a| a == "quick");
    let named: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|a| !matches!(*a, "quick" | "all"))
        .collect();
    let unknown = named
        .iter()
        .find(|name| Row::ALL.iter().all(|row| row.name() != **name));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = Row::ALL.iter().map(|row| row.name()).collect();
        return Err(format!("there is no row {unknown}; there are: {}", known.join(", ")).into());
    }
    let world = World {
        amqp: std::env::var("RINGBACK_BENCH_AMQP").ok(),
        quick,
        media: std::env::var_os("RINGBACK_BENCH_MEDIA").map(PathBuf::from),
        folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench"),
    };
    std::fs::create_dir_all(&world.folder)?;
    let runtime = runtime()?;
    let mut report = Report::default();
    for row in Row::ALL
        .into_iter()
        .filter(|r| named.is_empty() || named.contains(&r.name()))
    {
        for round in 1..=row.rounds(quick) {
            eprintln!("{} {round}/{} ...", row.name(), row.rounds(quick));
            match runtime.block_on(row.run(&world)) {
                Ok(figures) => {
                    for figure in &figures {
                        eprintln!("  {}", figure.line());
                    }
                    report.add(row.name(), figures);
                }
                Err(e) => {
                    eprintln!("  not measured: {e}");
                    report.missing(row.name(), &e.to_string());
                }
            }
        }
    }
    println!("{}", report.table());
    if let (false, Some(path)) = (quick, std::env::var_os("RINGBACK_BENCH_WRITE")) {
        report.write(&PathBuf::from(path))?;
    }
    Ok(())
}
