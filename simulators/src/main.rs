//! `carrier-sim`: simulated carriers and phones alone, for tests from outside and for trying things out.
//!
//! Prints one line per listener when it is ready; ends cleanly on Ctrl-C and SIGTERM.

use clap::{Parser, ValueEnum};
use simulators::control::{Carrier, Control};
use simulators::http_carrier::{Callback, HttpCarrier, HttpConfig, HttpHandle};
use simulators::record::{DEFAULT_LINES, Record};
use simulators::script::Script;
use simulators::smsc::{Smsc, SmscConfig, SmscHandle};
use simulators::subscriber::Habits;
use simulators::trunk::{Trunk, TrunkConfig, TrunkHandle};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Simulated carriers and the phones behind them.
///
/// Numbers choose who answers: the last four digits 90NN are special people, everybody else reads and answers.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Which carrier.
    kind: Kind,
    /// Where the carrier listens; `all` takes this port and those after it, in the order smsc, http, trunk.
    #[arg(long, default_value = "127.0.0.1:2775")]
    listen: SocketAddr,
    /// Where it is watched and steered: GET /record, /summary, /faults; POST /faults, /texts.
    #[arg(long, default_value = "127.0.0.1:2780")]
    control: SocketAddr,
    /// The carrier's name in the record; with `all` the kind is appended.
    #[arg(long)]
    name: Option<String>,
    /// Account wanted of an SMPP bind, user name of the trunk; none: anybody.
    #[arg(long)]
    system_id: Option<String>,
    /// Its password.
    #[arg(long, default_value = "")]
    password: String,
    /// Of the dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// From a submit's answer to its receipt (ms).
    #[arg(long, default_value_t = 100)]
    receipt_delay: u64,
    /// From the first ring to the answer (ms).
    #[arg(long, default_value_t = 300)]
    ring: u64,
    /// How long a prompt is heard before a key is pressed (ms).
    #[arg(long, default_value_t = 1500)]
    key_after: u64,
    /// HTTP: where receipts and inbound texts go.
    #[arg(long, requires = "callback_key")]
    callback_url: Option<String>,
    /// HTTP: the key they are signed with.
    #[arg(long)]
    callback_key: Option<String>,
    /// HTTP: the bearer token wanted.
    #[arg(long)]
    token: Option<String>,
    /// Trunk: the recordings that the gateway plays (`LOCALE/*.wav`), so that what is heard can be named.
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Trunk: media packets lost, both ways, 0 to 1.
    #[arg(long, value_parser = share)]
    packet_loss: Option<f64>,
    /// Trunk: hear nothing, keep no audio; for load.
    #[arg(long)]
    no_ear: bool,
    /// Trunk: no media at all; for load.
    #[arg(long)]
    no_media: bool,
    /// The faults to begin with, as the JSON of POST /faults.
    #[arg(long)]
    faults: Option<String>,
    /// Lines of the record that are kept; 0: counts and codes only, for load.
    #[arg(long, default_value_t = DEFAULT_LINES)]
    lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// SMPP 3.4.
    Smsc,
    /// HTTP/1.1 with callbacks.
    Http,
    /// SIP and RTP.
    Trunk,
    /// One of each.
    All,
}

/// The carriers that run.
#[derive(Default)]
struct Running {
    smsc: Option<Arc<SmscHandle>>,
    http: Option<Arc<HttpHandle>>,
    trunk: Option<TrunkHandle>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            eprintln!("carrier-sim: {error}");
            ExitCode::from(2)
        }
        Err(error) => failed(&error),
    }
}

fn share(written: &str) -> Result<f64, String> {
    let share = written
        .parse::<f64>()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share between 0 and 1 is wanted, such as 0.02".to_owned())
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("carrier-sim: {error}");
    ExitCode::FAILURE
}

async fn run(options: &Options) -> io::Result<()> {
    // Listen for the end before the first line is printed: whoever reads it may send the signal at once.
    let end = end()?;
    let record = Record::with_limit(options.lines);
    let mut running = Running::default();
    let mut carriers = Vec::new();
    if options.kind.has(Kind::Smsc) {
        let handle = at(options.smsc(&record)?, Smsc::start).await?;
        println!("smsc {} listens on {}", handle.name(), handle.address());
        carriers.push(Carrier::smsc(running.smsc.insert(Arc::new(handle))));
    }
    if options.kind.has(Kind::Http) {
        let handle = at(options.http(&record)?, HttpCarrier::start).await?;
        println!("http {} listens on {}", handle.name(), handle.address());
        carriers.push(Carrier::http(running.http.insert(Arc::new(handle))));
    }
    if options.kind.has(Kind::Trunk) {
        let name = options.name("trunk");
        let handle = at(options.trunk(&record)?, Trunk::start).await?;
        println!("trunk {name} listens on {}", handle.address());
        carriers.push(Carrier::new(&name, handle.faults().clone()));
        running.trunk = Some(handle);
    }
    let control = Control::start(options.control, carriers, record)
        .await
        .map_err(|e| cannot(options.control, &e))?;
    println!("control listens on {}", control.address());
    end.await;
    control.stop().await;
    running.stop().await;
    Ok(())
}

/// Start a carrier; the error says where it could not listen.
async fn at<C: Listens, H, F>(config: C, start: impl FnOnce(C) -> F) -> io::Result<H>
where
    F: Future<Output = io::Result<H>>,
{
    let listen = config.listen();
    start(config).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => error,
        _ => cannot(listen, &error),
    })
}

trait Listens {
    fn listen(&self) -> SocketAddr;
}

impl Listens for SmscConfig {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

impl Listens for HttpConfig {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

impl Listens for TrunkConfig {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

fn cannot(listen: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
}

/// Ends with Ctrl-C or SIGTERM.
fn end() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

impl Running {
    /// The control address is gone: these are the last holders.
    async fn stop(self) {
        if let Some(smsc) = self.smsc.and_then(Arc::into_inner) {
            smsc.stop().await;
        }
        if let Some(http) = self.http.and_then(Arc::into_inner) {
            http.stop().await;
        }
        if let Some(trunk) = self.trunk {
            trunk.stop().await;
        }
    }
}

impl Kind {
    fn has(self, other: Kind) -> bool {
        self == other || self == Kind::All
    }
}

impl Options {
    fn smsc(&self, record: &Record) -> io::Result<SmscConfig> {
        Ok(SmscConfig {
            name: self.name("smsc"),
            listen: self.port(0)?,
            credentials: self.credentials(),
            habits: self.habits(),
            seed: self.seed,
            script: self.script()?,
            record: record.clone(),
            ..SmscConfig::default()
        })
    }

    fn http(&self, record: &Record) -> io::Result<HttpConfig> {
        let callback = self.callback_url.clone().zip(self.callback_key.clone());
        Ok(HttpConfig {
            name: self.name("http"),
            listen: self.port(1)?,
            token: self.token.clone(),
            callback: callback.map(|(url, key)| Callback { url, key }),
            habits: self.habits(),
            seed: self.seed,
            script: self.script()?,
            record: record.clone(),
        })
    }

    fn trunk(&self, record: &Record) -> io::Result<TrunkConfig> {
        let script = self.script()?;
        if let Some(loss) = self.packet_loss {
            script.change(|faults| faults.packet_loss = loss);
        }
        Ok(TrunkConfig {
            name: self.name("trunk"),
            listen: self.port(2)?,
            credentials: self.credentials(),
            media: !self.no_media,
            ear: !self.no_ear,
            prompts: self.prompts.clone(),
            habits: self.habits(),
            seed: self.seed,
            script,
            record: record.clone(),
            ..TrunkConfig::default()
        })
    }

    fn credentials(&self) -> Option<(String, String)> {
        self.system_id
            .clone()
            .map(|system_id| (system_id, self.password.clone()))
    }

    /// The port of `--listen`, or with `all` the one so many after it (0 stays 0).
    fn port(&self, after: u16) -> io::Result<SocketAddr> {
        let mut listen = self.listen;
        if self.kind == Kind::All && listen.port() != 0 {
            let wrong = || {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "--listen: no ports are left after this one",
                )
            };
            listen.set_port(listen.port().checked_add(after).ok_or_else(wrong)?);
        }
        Ok(listen)
    }

    fn name(&self, kind: &str) -> String {
        match (&self.name, self.kind) {
            (None, _) => kind.to_owned(),
            (Some(name), Kind::All) => format!("{name}-{kind}"),
            (Some(name), _) => name.clone(),
        }
    }

    fn habits(&self) -> Habits {
        Habits {
            receipt_delay: Duration::from_millis(self.receipt_delay),
            ring: Duration::from_millis(self.ring),
            key_after: Duration::from_millis(self.key_after),
            ..Habits::default()
        }
    }

    /// Each carrier has its own, so that each can be steered alone.
    fn script(&self) -> io::Result<Script> {
        let script = Script::default();
        if let Some(faults) = &self.faults {
            let wrong = |reason: String| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("--faults: {reason}"))
            };
            let faults = serde_json::from_str(faults).map_err(|e| wrong(e.to_string()))?;
            script.apply(&faults).map_err(wrong)?;
        }
        Ok(script)
    }
}
