//! The gateway under measurement: the built binary in a process and a folder of its own.

use std::{
    fmt::Write,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{Result, World, http, process};

/// What a run's gateway is configured with.
#[derive(Default)]
pub struct Setup {
    /// The lines of `[jobs]`.
    pub jobs: String,
    /// `[jobs.amqp]` with everything in it, or nothing.
    pub amqp: String,
    /// Files by path, such as `carriers/northwind.toml`.
    pub files: Vec<(String, String)>,
    /// The one core it may use; none: all.
    pub core: Option<usize>,
}

impl Setup {
    /// Texts to everywhere over one SMPP carrier at `smsc`.
    pub fn texts(smsc: std::net::SocketAddr) -> Setup {
        let carrier = format!(
            "transport = \"smpp\"\nendpoints = [\"{smsc}\"]\nsystem_id = \"mfa\"\nbinds = 2\nwindow = 500\n"
        );
        let route = format!("[[sms]]\ncarrier = \"northwind\"\nsenders = [\"{SENDER}\"]\n");
        Setup {
            files: vec![
                ("carriers/northwind.toml".into(), carrier),
                ("routes/default.toml".into(), route),
                ("routes/senders.toml".into(), senders()),
            ],
            ..Setup::default()
        }
    }

    /// Calls to everywhere over one trunk at `trunk`.
    pub fn calls(trunk: std::net::SocketAddr, calls: usize) -> Setup {
        let route = format!("[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"{SENDER}\"]\n");
        Setup {
            files: vec![
                ("carriers/fabrikam.toml".into(), trunk_file(trunk, calls)),
                ("routes/default.toml".into(), route),
                ("routes/senders.toml".into(), senders()),
            ],
            ..Setup::default()
        }
    }
}

/// A trunk without pace, ring and key times short, no goodbye: the BYE follows the key.
pub fn trunk_file(trunk: std::net::SocketAddr, calls: usize) -> String {
    format!(
        "transport = \"sip\"\nendpoints = [\"udp:{trunk}\"]\nbind = \"127.0.0.1:0\"\n\
         rtp = {{ address = \"127.0.0.1\", ports = \"20000-31999\" }}\nmax_calls = {calls}\n\
         farewell = false\ncall = \"60s\"\nprobe = \"5s\"\n"
    )
}

pub fn senders() -> String {
    format!(
        "[[sender]]\nid = \"{SENDER}\"\nkind = \"toll_free\"\ncountries = \"all\"\nvoice = true\n"
    )
}

/// What a phone sees.
pub const SENDER: &str = "+18553308653";

/// A running gateway. Killed when dropped.
pub struct Gateway {
    child: Child,
    pub folder: PathBuf,
    pub http: String,
    pub admin: String,
    /// From its start to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

impl Gateway {
    pub async fn start(world: &World, setup: &Setup) -> Result<Gateway> {
        let ports = free_ports()?;
        let folder = write(world, setup, ports)?;
        let log = fs::File::create(folder.join("log"))?;
        let binary = env!("CARGO_BIN_EXE_ringback");
        let mut command = match setup.core {
            None => Command::new(binary),
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", &core.to_string(), binary]);
                pinned
            }
        };
        command
            .args(["run", "--config"])
            .arg(folder.join("ringback.toml"));
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut gateway = Gateway {
            child,
            folder,
            http: format!("127.0.0.1:{}", ports[0]),
            admin: format!("127.0.0.1:{}", ports[2]),
            ready_after: Duration::ZERO,
        };
        let wants_broker = !setup.amqp.is_empty();
        gateway
            .until("ready", READY, async |gateway| {
                let ready = matches!(
                    http::once(&gateway.admin, "GET", "/readyz").await,
                    Ok((200, _))
                );
                ready && (!wants_broker || gateway.metric("ringback_broker_connected").await == 1.0)
            })
            .await?;
        gateway.ready_after = started.elapsed();
        Ok(gateway)
    }

    /// Waits until it is so, looking often.
    pub async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut so: impl AsyncFnMut(&Gateway) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while !so(self).await {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the gateway ended ({status}): {}", self.last_words()).into());
            }
            if begun.elapsed() > limit {
                return Err(format!("not {what} within {limit:?}: {}", self.last_words()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The sum of a metric over its labels; 0 where it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let Ok((200, text)) = http::once(&self.admin, "GET", "/metrics").await else {
            return 0.0;
        };
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let value = rest
                .starts_with([' ', '{'])
                .then(|| rest.rsplit(' ').next())?;
            value?.parse::<f64>().ok()
        };
        text.lines().filter_map(of).sum()
    }

    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.child.id())
    }

    /// Now and at most, in MB.
    pub fn memory(&self) -> Result<(f64, f64)> {
        process::memory(self.child.id())
    }

    /// How often its log says this.
    pub fn said(&self, words: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.matches(words).count()
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(4).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Either fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write(world: &World, setup: &Setup, ports: [u16; 3]) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = world
        .folder
        .join(format!("{}-{number}", std::process::id()));
    for part in ["data", "routes", "carriers"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let mut text = format!(
        "[node]\nname = \"bench\"\ndrain = \"2s\"\n[paths]\nprompts = \"{}\"\n[ledger]\nurl = \"sqlite:data/ringback.db\"\n",
        prompts.display()
    );
    for (name, port) in ["http", "callbacks", "admin"].into_iter().zip(ports) {
        // Writing into a String can't fail.
        let _ = write!(text, "[{name}]\nlisten = \"127.0.0.1:{port}\"\n");
    }
    let _ = write!(text, "[jobs]\n{}{}", setup.jobs, setup.amqp);
    fs::write(folder.join("ringback.toml"), text)?;
    for (path, content) in &setup.files {
        fs::write(folder.join(path), content)?;
    }
    Ok(folder)
}

fn free_ports() -> std::io::Result<[u16; 3]> {
    // All are held until all are known, so that they differ.
    let bind = || TcpListener::bind("127.0.0.1:0");
    let held = [bind()?, bind()?, bind()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// The number of the `n`-th person: valid, unlike any other, and with no special behaviour of the simulators.
pub fn phone(n: usize) -> String {
    let (exchange, line) = (200 + n / 9_000, n % 9_000);
    format!("+1202{exchange:03}{line:04}")
}

const READY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);
