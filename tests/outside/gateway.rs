//! The gateway's process: started, asked, killed, drained; and a small HTTP client to ask it with.

use std::{
    fs::{File, OpenOptions},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::town::{Town, secrets};

/// Until a debug build is ready on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(50);

pub struct Gateway {
    child: Child,
    admin: SocketAddr,
}

impl Gateway {
    /// Starts it on the town's folder; its log goes on in the same file.
    pub fn launch(town: &Town, amqp: &str, log: &str) -> Gateway {
        let env = vec![("RINGBACK_AMQP_URL", amqp.to_owned())];
        Gateway::spawn(town, &town.folder, town.admin, log, env)
    }

    /// The same by the files of another folder, which name this address; its log goes into the town's.
    pub fn spawn(
        town: &Town,
        folder: &Path,
        admin: SocketAddr,
        log: &str,
        env: Vec<(&str, String)>,
    ) -> Gateway {
        let to = OpenOptions::new()
            .create(true)
            .append(true)
            .open(town.folder.join("log"))
            .expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(["run", "--log", log, "--config"])
            .arg(folder.join("ringback.toml"))
            .envs(env)
            .envs(secrets())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(to))
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        Gateway { child, admin }
    }

    /// Starts it and waits until it says that it is ready and holds its broker.
    pub async fn start(town: &Town, amqp: &str, log: &str) -> Gateway {
        let mut gateway = Gateway::launch(town, amqp, log);
        gateway.ready(town).await;
        gateway
    }

    pub async fn ready(&mut self, town: &Town) {
        let limit = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the gateway ended with {status}:\n{}", tail(town));
            }
            let answer = get(self.admin, "/readyz").await;
            let metrics = get(self.admin, "/metrics").await.unwrap_or_default();
            if answer
                .as_ref()
                .is_some_and(|a| a.starts_with("HTTP/1.1 200"))
                && metrics.contains("ringback_broker_connected 1")
            {
                return;
            }
            assert!(
                Instant::now() < limit,
                "not ready: {answer:?}\n{}",
                tail(town)
            );
            sleep(LOOK).await;
        }
    }

    /// SIGKILL: no word of farewell.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child that can be killed");
    }

    /// SIGHUP: it reads its files again.
    pub async fn reload(&self) {
        self.signal("-HUP").await;
    }

    pub async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let told = Command::new("kill").args([signal, &pid]).status().await;
        assert!(told.is_ok_and(|s| s.success()), "kill {signal} {pid}");
    }

    /// SIGTERM; the exit status that comes of it.
    pub async fn drain(mut self) -> i32 {
        self.signal("-TERM").await;
        let ended = timeout(Duration::from_secs(60), self.child.wait()).await;
        let status = ended.expect("a drain within its limit").expect("a status");
        status.code().unwrap_or(-1)
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Memory in the machine's chips, in KiB.
    pub fn memory(&self) -> u64 {
        let pid = self.child.id().expect("it still runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|n| n.parse().ok())
            .expect("a number of KiB")
    }
}

/// The end of the gateway's log.
pub fn tail(town: &Town) -> String {
    let text = log(town);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

pub fn log(town: &Town) -> String {
    let mut text = String::new();
    let file = File::open(town.folder.join("log"));
    let read = file.and_then(|mut f| std::io::Read::read_to_string(&mut f, &mut text));
    read.expect("a log in UTF-8");
    text
}

/// The whole answer, head and body; None: no connection, or it was cut off.
pub async fn get(at: SocketAddr, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    ask(at, request.as_bytes()).await
}

pub async fn post(at: SocketAddr, path: &str, body: &[u8]) -> Option<String> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    ask(at, &[head.as_bytes(), body].concat()).await
}

/// Writes these octets and reads what comes until the end, within ten seconds.
pub async fn ask(at: SocketAddr, octets: &[u8]) -> Option<String> {
    let talk = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        // An answer may come before all is written, as with 413.
        let _ = stream.write_all(octets).await;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend_from_slice(&piece[..n]),
            }
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(Duration::from_secs(10), talk).await.ok().flatten()
}

/// Looks until it holds.
pub async fn until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        sleep(LOOK).await;
    }
}
