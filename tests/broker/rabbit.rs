//! The broker under the tests, and its operator's tool.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Environment for `rabbitmqctl` and `scripts/rabbit`, and the address.
static ENVIRONMENT: OnceLock<Vec<(String, String)>> = OnceLock::new();

pub struct Broker {
    ours: bool,
}

impl Broker {
    /// The one in the environment, or a new one.
    pub fn find() -> Broker {
        let ours = std::env::var("RINGBACK_TEST_AMQP").is_err();
        let words = |text: &str| -> Vec<(String, String)> {
            text.lines()
                .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let environment = if ours {
            let out = Command::new(script())
                .arg("start")
                .output()
                .expect("scripts/rabbit runs");
            assert!(
                out.status.success(),
                "no broker to test with: {} (Debian's package is rabbitmq-server)",
                String::from_utf8_lossy(&out.stderr)
            );
            words(&String::from_utf8_lossy(&out.stdout))
        } else {
            // What rabbitmqctl needs lies beside the broker's data.
            let folder = std::env::var("RINGBACK_RABBIT_DIR").expect("set by scripts/rabbit");
            let file = Path::new(&folder).join("env");
            words(&std::fs::read_to_string(file).expect("the broker's environment"))
        };
        ENVIRONMENT.set(environment).expect("there is one broker");
        Broker { ours }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.ours {
            run(&script(), &["stop"]);
        }
    }
}

pub fn restart() {
    run(&script(), &["restart"]);
}

pub fn ctl(arguments: &[&str]) -> String {
    run(Path::new("/usr/lib/rabbitmq/bin/rabbitmqctl"), arguments)
}

/// Where it keeps its data and logs.
pub fn folder() -> String {
    variable("RINGBACK_RABBIT_DIR")
}

/// The same vhost, over TLS.
pub fn by_tls(url: &str) -> String {
    let plain = variable("RINGBACK_TEST_AMQP");
    url.replace(&plain, &variable("RINGBACK_TEST_AMQPS"))
}

/// The address of this vhost, made anew.
pub fn vhost(name: &str) -> String {
    ctl(&["-q", "add_vhost", name]);
    ctl(&[
        "-q",
        "set_permissions",
        "-p",
        name,
        "guest",
        ".*",
        ".*",
        ".*",
    ]);
    format!("{}/{name}", variable("RINGBACK_TEST_AMQP"))
}

fn variable(name: &str) -> String {
    let environment = ENVIRONMENT.get().expect("the broker is there");
    let found = environment.iter().find(|(n, _)| n == name);
    found.expect("set by scripts/rabbit").1.clone()
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let environment = ENVIRONMENT.get().expect("the broker is there");
    let out = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(n, v)| (n, v)))
        .output()
        .expect("it runs");
    assert!(
        out.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rabbit")
}
