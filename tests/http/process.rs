//! The gateway as a process of its own.

use std::{
    fs::File,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use crate::world::{Folder, ask, until};

/// Ended with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already: all the better.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// On the folder's configuration, with its log in the folder; with so many file descriptors, if the number is given.
    pub fn start(folder: &Folder, descriptors: Option<u32>) -> Process {
        Process::start_logging(folder, descriptors, "warn")
    }

    /// The same, with all lines of this level and above in its log.
    pub fn start_logging(folder: &Folder, descriptors: Option<u32>, level: &str) -> Process {
        let limit = descriptors.map(|n| format!("ulimit -n {n}"));
        Process::start_after(&limit.unwrap_or_default(), folder, level)
    }

    /// The same, from a shell that has run this line before.
    pub fn start_after(line: &str, folder: &Folder, level: &str) -> Process {
        let script = format!("{line}\nexec \"$0\" \"$@\"");
        let log = File::create(folder.0.join("log")).expect("a log");
        Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_ringback")])
            .args(["run", "--log", level, "--config"])
            .arg(folder.0.join("ringback.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::from(log.try_clone().expect("the same log")))
            .stdout(Stdio::from(log))
            .spawn()
            .map(Process)
            .expect("the binary starts")
    }

    pub async fn ready(&self, http: SocketAddr, admin: SocketAddr) {
        until("ready", async || {
            tokio::net::TcpStream::connect(http).await.is_ok()
                && ask("GET", admin, "/readyz", "").await.status == 200
        })
        .await;
    }

    /// Hundredths of a second that it has computed.
    pub fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("Linux");
        // After the name in parentheses; user and system time are fields 14 and 15.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}
