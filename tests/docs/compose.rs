//! What `docker compose` is given, as far as it can be looked at without an engine: its files by the schema of the Compose
//! Specification, the gateways' configurations by the gateway, HAProxy's and Prometheus' by their own programs. The brokers'
//! is the one that `scripts/rabbit cluster` starts with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{read, root};

/// Is a program that may be missing there? Under scripts/test it must be.
fn there(command: &mut Command, missing: &str) -> bool {
    let there = command.output().is_ok_and(|said| said.status.success());
    assert!(
        there || std::env::var_os("RINGBACK_PEERS").is_none(),
        "{missing}"
    );
    there
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let said = command.output().expect("it starts");
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[test]
fn the_compose_files_are_valid_and_what_they_name_is_there() {
    let python = std::env::var("RINGBACK_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let needs = ["-c", "import check_jsonschema, yaml"];
    if there(
        Command::new(&python).args(needs),
        "no check-jsonschema in RINGBACK_TEST_PYTHON",
    ) {
        let check = root().join("tests/peers/documents/check.py");
        let mut checking = Command::new(&python);
        checking.arg(check).arg("compose");
        succeeds(checking.arg(root().join("docker-compose.yml")));
    }
}

/// A copy of it in which the folders of the image are those of the repository, for `ringback check`.
fn configuration(path: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ringback-compose-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let compose = root().join("compose").display().to_string();
    let repository = root().display().to_string();
    let text = read(path)
        .replace("/etc/ringback/cluster", &format!("{compose}/cluster"))
        .replace("/etc/ringback", &repository)
        .replace("/var/lib/ringback", &folder.display().to_string());
    let file = folder.join(Path::new(path).to_string_lossy().replace('/', "-"));
    fs::write(&file, text).expect("written");
    file
}

#[test]
fn the_gateways_of_compose_have_good_configurations() {
    for path in ["compose/ringback.toml", "compose/cluster/ringback.toml"] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_ringback"));
        check
            .args(["check", "--strict", "--config"])
            .arg(configuration(path));
        for broker in ["AMQP_URL", "AMQP_1", "AMQP_2", "AMQP_3"] {
            check.env(format!("RINGBACK_{broker}"), "amqp://u:p@broker:5672/%2f");
        }
        for token in ["HTTP", "CALLBACKS", "ADMIN"] {
            check.env(format!("RINGBACK_{token}_TOKEN"), "example");
        }
        for carrier in ["NORTHWIND", "LITWARE", "FABRIKAM", "CONTOSO"] {
            check.env(format!("{carrier}_PASSWORD"), "example");
        }
        check.env("TAILSPIN_TOKEN", "example");
        check.env("TAILSPIN_CALLBACK_KEY", "example");
        let database = "postgres://ringback:p@postgres/ringback?sslmode=disable";
        check.env("RINGBACK_LEDGER_URL", database);
        check.env("RINGBACK_LEDGER_KEY", "0123456789abcdef".repeat(4));
        succeeds(&mut check);
    }
}

/// All nodes have one file; each start puts its name in.
#[test]
fn a_node_of_compose_has_the_name_that_it_is_given() {
    let script = read("compose/cluster/gateway");
    let put_in = script.lines().find(|line| line.starts_with("sed "));
    let put_in = put_in.expect("a line that puts it in").replace(
        "/etc/ringback/cluster/ringback.toml",
        "compose/cluster/ringback.toml",
    );
    let put_in = put_in.split(" >").next().expect("a command");
    let said = Command::new("sh")
        .args(["-c", put_in])
        .env("RINGBACK_NODE_NAME", "gw-7")
        .current_dir(root())
        .output()
        .expect("sh starts");
    let text = String::from_utf8(said.stdout).expect("UTF-8");
    let file: toml::Table = text.parse().expect("TOML");
    assert_eq!(file["node"]["name"].as_str(), Some("gw-7"));
    let before: toml::Table = read("compose/cluster/ringback.toml").parse().expect("TOML");
    let but_for_the_name = |mut file: toml::Table| {
        file.remove("node");
        file
    };
    assert_eq!(but_for_the_name(file), but_for_the_name(before));
}

#[test]
fn haproxy_and_prometheus_take_their_files() {
    let missing = "no haproxy (Debian: haproxy)";
    if there(Command::new("haproxy").arg("-v"), missing) {
        succeeds(
            Command::new("haproxy")
                .args(["-c", "-f", "compose/cluster/haproxy.cfg"])
                .env("RINGBACK_ADMIN_TOKEN", "example")
                .env("RINGBACK_CALLBACKS_TOKEN", "example")
                .current_dir(root()),
        );
    }
    let missing = "no promtool (Debian: prometheus)";
    if there(Command::new("promtool").arg("--version"), missing) {
        let files = ["compose/prometheus.yml", "compose/cluster/prometheus.yml"];
        let mut check = Command::new("promtool");
        check.args(["check", "config", "--syntax-only"]);
        succeeds(check.args(files).current_dir(root()));
        let mut check = Command::new("promtool");
        check.args(["check", "rules", "compose/alerts.yml"]);
        succeeds(check.current_dir(root()));
    }
}

/// Every node is asked where it serves, and by both ways in.
#[test]
fn each_gateway_stands_behind_haproxy_and_is_scraped() {
    let (haproxy, prometheus) = (
        read("compose/cluster/haproxy.cfg"),
        read("compose/cluster/prometheus.yml"),
    );
    let cluster = read("compose/cluster.yml");
    for node in ["gw-1", "gw-2", "gw-3"] {
        assert!(cluster.contains(&format!("RINGBACK_NODE_NAME: {node}\n")));
        for port in ["8080", "8081"] {
            let server = format!("    server {node} {node}:{port}\n");
            assert_eq!(haproxy.matches(&server).count(), 1, "{server}");
        }
        assert!(prometheus.contains(&format!("\"{node}:8082\"")));
    }
    let asks = haproxy.lines().filter(|line| line.contains("uri /readyz "));
    assert_eq!(asks.count(), 2);
}
