//! The gateway's own process, and the carrier that it has.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use simulators::smsc::{Smsc, SmscConfig, SmscHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{fresh, until, within};

/// Everything that one gateway needs, and its process.
pub struct Gateway {
    pub url: String,
    /// Of further brokers.
    pub others: Vec<String>,
    pub folder: PathBuf,
    pub admin: SocketAddr,
    pub smsc: SmscHandle,
    child: Option<Child>,
}

impl Gateway {
    /// `jobs` and `amqp`: further lines of these sections.
    pub async fn new(name: &str, jobs: &str, amqp: &str) -> Gateway {
        let (url, folder) = fresh(name);
        Gateway::at(vec![url], folder, jobs, amqp).await
    }

    /// With these brokers, in this order.
    pub async fn at(mut urls: Vec<String>, folder: PathBuf, jobs: &str, amqp: &str) -> Gateway {
        let named = match urls.len() {
            1 => "url = { env = \"RINGBACK_AMQP_URL\" }".to_owned(),
            several => {
                let further = (1..several).map(|n| format!(", {{ env = \"RINGBACK_AMQP_{n}\" }}"));
                let further: String = further.collect();
                format!("urls = [{{ env = \"RINGBACK_AMQP_URL\" }}{further}]")
            }
        };
        let smsc = Smsc::start(SmscConfig::default()).await.expect("an SMSC");
        let [admin, http, callbacks] = [(); 3].map(|()| free());
        for inner in ["routes", "carriers"] {
            std::fs::create_dir_all(folder.join(inner)).expect("a folder");
        }
        let put = |file: &str, text: String| {
            std::fs::write(folder.join(file), text).expect("a file");
        };
        put(
            "ringback.toml",
            format!(
                "[node]\nname = \"gw-p\"\ndrain = \"10s\"\n[ledger]\nurl = \"sqlite:ringback.db\"\n\
                 [admin]\nlisten = \"{admin}\"\n[http]\nlisten = \"{http}\"\n\
                 [callbacks]\nlisten = \"{callbacks}\"\n[jobs]\n{jobs}\n\
                 [jobs.amqp]\n{named}\n{amqp}\n\
                 [limits]\nchallenges_per_number = false\nchallenges_per_prefix = false\n"
            ),
        );
        put(
            "carriers/northwind.toml",
            format!(
                "transport = \"smpp\"\nendpoints = [\"{}\"]\nsystem_id = \"mfa\"\nwindow = 100\n",
                smsc.address()
            ),
        );
        put(
            "routes/senders.toml",
            "[[sender]]\nid = \"+18553308653\"\nkind = \"toll_free\"\ncountries = \"all\"\n".into(),
        );
        put(
            "routes/default.toml",
            "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"+18553308653\"]\n".into(),
        );
        Gateway {
            url: urls.remove(0),
            others: urls,
            folder,
            admin,
            smsc,
            child: None,
        }
    }

    pub async fn start(&mut self) {
        let mut log = File::options();
        let log = log.create(true).append(true);
        let log = log.open(self.folder.join("log"));
        let others = self.others.iter().enumerate();
        let others = others.map(|(n, url)| (format!("RINGBACK_AMQP_{}", n + 1), url));
        let child = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .arg("run")
            .arg("--config")
            .arg(self.folder.join("ringback.toml"))
            .env("RINGBACK_AMQP_URL", &self.url)
            .envs(others)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log.expect("a log")))
            .spawn();
        self.child = Some(child.expect("the binary starts"));
        self.metric("ringback_broker_connected", 1).await;
    }

    /// The same binary's `ledger letters` with these arguments: its exit status, and its lines.
    pub fn letters(&self, arguments: &[&str]) -> (Option<i32>, Vec<serde_json::Value>) {
        let output = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(["ledger", "letters", "--config"])
            .arg(self.folder.join("ringback.toml"))
            .args(arguments)
            .env("RINGBACK_AMQP_URL", &self.url)
            .stderr(Stdio::inherit())
            .output()
            .expect("the binary starts");
        let lines = output.stdout.split(|octet| *octet == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let objects = lines.map(|line| serde_json::from_slice(line).expect("an object a line"));
        (output.status.code(), objects.collect())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    /// How many lines of the log hold these words.
    pub fn lines(&self, words: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until a metric has this value.
    pub async fn metric(&self, name: &str, value: u32) {
        let line = format!("{name} {value}");
        within(&line, async {
            while !get(self.admin, "/metrics").await.lines().any(|l| l == line) {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// What a metric shows now; None: there is no such metric.
    pub async fn value(&self, name: &str) -> Option<f64> {
        let metrics = get(self.admin, "/metrics").await;
        let mut values = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        values.next()
    }

    /// SIGTERM; the exit status that comes of it.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()));
        let mut status = None;
        until("the process to end", || {
            status = child.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        status.and_then(|status| status.code())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        } else {
            // Left behind at worst in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn free() -> SocketAddr {
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    held.local_addr().expect("an address")
}

/// The whole answer; empty where there is none.
pub async fn get(at: SocketAddr, path: &str) -> String {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(at).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    asked.await.unwrap_or_default()
}

/// Between two looks at something that tells nobody when it changes.
pub const LOOK: Duration = Duration::from_millis(50);
