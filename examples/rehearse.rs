//! Runs rehearsals from the command line: `scripts/rehearse --help`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::Parser;
use ringback::{
    config::Config,
    message::speech::Catalogue,
    rehearse::{MemoryKind, Profile, Rehearsal, Summary, Violation},
};

/// The gateway in invented time, with everything around it going wrong on purpose.
#[derive(Parser)]
#[command(name = "rehearse")]
struct Options {
    /// From the first to the last, as `1..10000`
    #[arg(long, default_value = "1..100", value_parser = seeds)]
    seeds: (u64, u64),
    /// Of each seed
    #[arg(long, default_value_t = 50)]
    challenges: usize,
    /// storm, crashes, carriers, doubts or healthy; all of them in turns where none is named
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// This seed alone
    #[arg(long)]
    seed: Option<u64>,
    /// What the ledger is held in, maps or sqlite: the same happens over both
    #[arg(long, default_value = "maps", value_parser = store)]
    store: MemoryKind,
    /// Prints each event of it
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Where ringback.toml, routes and carriers of the rehearsal are
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rehearsal"))]
    config: PathBuf,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once("..").ok_or("write it as 1..10000")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    Ok((number(first)?, number(last)?))
}

fn profile(name: &str) -> Result<Profile, String> {
    let names = || Profile::ALL.map(|profile| profile.name).join(", ");
    Profile::named(name).ok_or_else(|| format!("it is one of {}", names()))
}

fn store(name: &str) -> Result<MemoryKind, String> {
    match name {
        "maps" => Ok(MemoryKind::Maps),
        "sqlite" => Ok(MemoryKind::Sqlite),
        _ => Err("it is maps or sqlite".to_owned()),
    }
}

/// A line is printed for so many seeds.
const LINE: u64 = 1_000;

fn main() -> ExitCode {
    let options = Options::parse();
    let (config, voices) = match load(&options.config) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(2);
        }
    };
    let rehearsals = rehearsals(&options, &config, &voices);
    let result = match options.seed {
        Some(seed) => one(&rehearsals, seed, options.trace),
        None => all(&rehearsals, options.seeds),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            report(&violation, &options, &rehearsals);
            ExitCode::FAILURE
        }
    }
}

fn load(folder: &Path) -> Result<(Arc<Config>, Arc<Catalogue>), String> {
    let config = Rehearsal::config(folder).map_err(lines)?;
    let voices = Rehearsal::voices(&config).map_err(lines)?;
    Ok((config, voices))
}

fn lines(faults: Vec<impl ToString>) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("\n")
}

fn rehearsals(options: &Options, config: &Arc<Config>, voices: &Arc<Catalogue>) -> Vec<Rehearsal> {
    let profiles = match &options.profile {
        Some(profile) => vec![profile.clone()],
        None => Profile::ALL.to_vec(),
    };
    let of = |profile| Rehearsal {
        voices: voices.clone(),
        config: config.clone(),
        profile,
        challenges: options.challenges,
        store: options.store,
    };
    profiles.into_iter().map(of).collect()
}

/// The profiles in turns.
fn of_seed(rehearsals: &[Rehearsal], seed: u64) -> &Rehearsal {
    &rehearsals[(seed % rehearsals.len() as u64) as usize]
}

fn one(rehearsals: &[Rehearsal], seed: u64, trace: bool) -> Result<(), Box<Violation>> {
    let rehearsal = of_seed(rehearsals, seed);
    let mut print = |line: &str| println!("{line}");
    let listener = trace.then_some(&mut print as &mut dyn FnMut(&str));
    let summary = rehearsal.run(seed, listener)?;
    println!(
        "seed {seed}, profile {}: kept; trace {:016x}",
        rehearsal.profile.name, summary.hash
    );
    println!("{}", words(&summary));
    Ok(())
}

/// On as many threads as there are cores. The first violation, by seed, ends it.
fn all(rehearsals: &[Rehearsal], (first, last): (u64, u64)) -> Result<(), Box<Violation>> {
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let sum = Mutex::new((Summary::default(), 0_u64, None::<Box<Violation>>));
    let began = Instant::now();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return;
            }
            let result = of_seed(rehearsals, seed).run(seed, None);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            let (total, count, violation) = &mut *sum;
            match result {
                Ok(summary) => {
                    total.add(&summary);
                    total.hash = total.hash.wrapping_add(summary.hash);
                    *count += 1;
                    if *count % LINE == 0 || seed == last {
                        let seconds = began.elapsed().as_secs();
                        println!("{count} seeds in {seconds} s: {}", words(total));
                    }
                }
                Err(broken) => {
                    failed.store(true, Ordering::Relaxed);
                    if violation
                        .as_ref()
                        .is_none_or(|known| broken.seed < known.seed)
                    {
                        *violation = Some(broken);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (total, count, violation) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    match violation {
        Some(violation) => Err(violation),
        None => {
            println!("{count} seeds kept the promise; traces {:016x}", total.hash);
            Ok(())
        }
    }
}

fn words(summary: &Summary) -> String {
    let list = |all: &std::collections::BTreeMap<&'static str, u64>| {
        let all: Vec<String> = all.iter().map(|(name, n)| format!("{n} {name}")).collect();
        all.join(", ")
    };
    let hours = summary.lived.as_secs_f64() / 3_600.0;
    format!(
        "{hours:.1} h lived\n  done to it: {}\n  reached: {}",
        list(&summary.faults),
        list(&summary.reached)
    )
}

fn report(violation: &Violation, options: &Options, rehearsals: &[Rehearsal]) {
    let Violation {
        seed,
        at,
        what,
        last,
    } = violation;
    for line in last {
        println!("{line}");
    }
    let profile = of_seed(rehearsals, *seed).profile.name;
    println!(
        "\nseed {seed} breaks the promise after {:.3} s: {what}",
        at.as_secs_f64()
    );
    println!(
        "again: scripts/rehearse --seed {seed} --challenges {} --profile {profile} --trace",
        options.challenges
    );
}
