//! `ringback run`: the gateway, until it is told to end.

use std::{future::Future, num::NonZeroUsize, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::configured::{BAD_CONFIGURATION, ConfigArgs};
use crate::{
    config::{Config, watch::Watch},
    gateway::{Drained, Gateway},
    operate::{self, Control},
};

/// What the verb takes.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Files that have been emptied, and a set without any route, are meant so. Without it the start refuses such a set,
    /// and a reload holds it back: the one before serves on.
    #[arg(long)]
    allow_empty: bool,
    /// What is logged: error, warn, info, debug, trace, or by module, as in `info,ringback::carrier=debug`.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG")]
    log: Option<String>,
}

/// 0 after a drain, 1 when a second signal has cut it short, the ledger could not be written, or a fault of ours has ended it, 2 with a bad configuration or a port that is taken.
pub fn run(args: &RunArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if !args.allow_empty {
        let emptied = config.emptied();
        emptied.iter().for_each(|fault| eprintln!("{fault}"));
        if !emptied.is_empty() {
            return ExitCode::from(BAD_CONFIGURATION);
        }
    }
    if let Err(reason) = operate::log::begin(config.settings.log, args.log.as_deref()) {
        eprintln!("{reason}");
        return ExitCode::from(BAD_CONFIGURATION);
    }
    if !config.settings.node.core_dumps
        && let Err(error) = operate::dumps::forbid()
    {
        tracing::warn!(%error, "a crash may leave a dump with codes and numbers in it: the system does not let it be forbidden");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("the system gives no threads: {e}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(config, args.allow_empty));
    // What is left after a drain, or a cut, is not waited for.
    runtime.shutdown_background();
    code
}

/// Threads for the tasks. The ledger, the audio and the broker's connections have threads of their own, and dispatch is
/// one task: more workers than half of the cores mostly wake each other.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    (cores / 2).clamp(1, WORKERS_MOST)
}

const WORKERS_MOST: usize = 8;

async fn serve(config: Config, allow_empty: bool) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("the system gives no signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let settings = config.settings.clone();
    // Watching begins before the start is over: a change meanwhile is a change.
    let mut watch = Watch::start(&config);
    let running = tokio::select! {
        started = Gateway::start_watched(config, Some(watch.follow())) => match started {
            Ok(running) => running,
            Err(e) => {
                eprintln!("{e}");
                return match e.may_pass() {
                    true => ExitCode::FAILURE,
                    false => ExitCode::from(BAD_CONFIGURATION),
                };
            }
        },
        () = signals.end() => return ExitCode::SUCCESS,
    };
    tracing::info!(
        node = %settings.node.name,
        http = %running.http,
        callbacks = %running.callbacks,
        admin = %running.admin,
        "ringback {} runs; the operator's page is http://{}/",
        env!("CARGO_PKG_VERSION"),
        running.admin,
    );
    if allow_empty {
        running.control.allow_empty();
    }
    let reloads = reloads(running.control.clone());
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                SignalAction::End => break,
                SignalAction::Reload => ask_for(&reloads, "SIGHUP"),
            },
            Some(_) = watch.changed() => ask_for(&reloads, "a file"),
            () = running.control.broken() => {
                tracing::error!(
                    "the gateway has ended by a fault of ours; what is open is in the ledger: start it again"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    drop((watch, reloads));
    let limit = running.control.intake.settings.load().node.drain;
    leave(running.drain(limit), &mut signals, limit).await
}

/// Reloads one after the other, beside everything else: a signal to end is never behind one. Ends with its sender.
fn reloads(control: Arc<Control>) -> mpsc::Sender<()> {
    // One that waits is as good as many.
    let (ask, mut asked) = mpsc::channel(1);
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            // What came of it is in the log.
            let _ = control.reload(false).await;
        }
    });
    ask
}

fn ask_for(reloads: &mpsc::Sender<()>, by: &str) {
    tracing::debug!(by, "reading the configuration again");
    // Full: one is about to begin anyway.
    let _ = reloads.try_send(());
}

/// Drains; a second signal ends it at once.
async fn leave(
    drain: impl Future<Output = Drained>,
    signals: &mut Signals,
    limit: Duration,
) -> ExitCode {
    tracing::info!(
        limit_s = limit.as_secs(),
        "draining; a second signal ends at once"
    );
    tokio::select! {
        drained = drain => match drained {
            Drained::Whole => {
                tracing::info!("drained");
                ExitCode::SUCCESS
            }
            Drained::Unwritten(unwritten) => {
                tracing::error!("ended: {unwritten}");
                ExitCode::FAILURE
            }
            Drained::Late => {
                tracing::error!("ended, though not all had come to its end in time; the ledger has what was answered");
                ExitCode::FAILURE
            }
        },
        () = signals.end() => {
            tracing::warn!("ended before all was drained; the ledger has what is open");
            ExitCode::FAILURE
        }
    }
}

/// What a signal says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SignalAction {
    End,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::End,
            _ = self.interrupt.recv() => SignalAction::End,
            _ = self.hangup.recv() => SignalAction::Reload,
        }
    }

    /// SIGTERM or SIGINT; while starting and ending nothing is reloaded.
    async fn end(&mut self) {
        while self.next().await != SignalAction::End {}
    }
}
