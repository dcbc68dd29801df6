//! The broker of a test: the one that stands already, or one of its own.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

pub struct Broker {
    pub url: String,
    folder: String,
    own: bool,
}

impl Broker {
    /// None: there is none on this machine, and nobody insists.
    pub fn find() -> Option<Broker> {
        if let (Ok(url), Ok(folder)) = (
            std::env::var("RINGBACK_TEST_AMQP"),
            std::env::var("RINGBACK_RABBIT_DIR"),
        ) {
            return Some(Broker {
                url,
                folder,
                own: false,
            });
        }
        if !std::path::Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() {
            assert!(
                std::env::var_os("RINGBACK_PEERS").is_none(),
                "RabbitMQ is missing: apt-get install rabbitmq-server"
            );
            eprintln!("not run: RabbitMQ is missing (apt-get install rabbitmq-server)");
            return None;
        }
        let started = script().arg("start").output().expect("scripts/rabbit runs");
        let said = String::from_utf8_lossy(&started.stdout);
        let told = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "no broker: {told}");
        let words: BTreeMap<&str, &str> = said
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .collect();
        Some(Broker {
            url: words["RINGBACK_TEST_AMQP"].to_owned(),
            folder: words["RINGBACK_RABBIT_DIR"].to_owned(),
            own: true,
        })
    }

    /// Stops the node and starts it again on the same data; every connection is cut.
    pub async fn restart(&self) {
        let mut restart = script();
        restart
            .arg("restart")
            .env("RINGBACK_RABBIT_DIR", &self.folder);
        let restarted = tokio::process::Command::from(restart).output();
        let restarted = restarted.await.expect("scripts/rabbit runs");
        let told = String::from_utf8_lossy(&restarted.stderr);
        assert!(restarted.status.success(), "the broker's restart: {told}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.own {
            let mut stop = script();
            stop.arg("stop").env("RINGBACK_RABBIT_DIR", &self.folder);
            // Left behind at worst: a broker of nobody's on a port of its own.
            let _ = stop.output();
        }
    }
}

fn script() -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("scripts/rabbit"));
    command.current_dir(root);
    command
}
