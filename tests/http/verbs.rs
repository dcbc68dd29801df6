//! `ringback run` and `ringback send`, run as a person runs them.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
};

use serde_json::Value;
use simulators::{record::Record, smsc};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::world::{Folder, LIMIT, SENDERS, World, ask, settings_file, smpp_file, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringback");

async fn send(at: SocketAddr, number: &str, more: &[&str]) -> Output {
    let run = Command::new(PROGRAM)
        .args([
            "send",
            number,
            "--method",
            "sms_code",
            "--http",
            &format!("http://{at}"),
        ])
        .args(more)
        .output();
    let ended = tokio::time::timeout(LIMIT, run).await;
    ended.expect("ended in time").expect("run")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_follows_to_the_end_and_its_exit_code_says_how_it_went() {
    let w = World::new("").await;
    let good = send(w.running.http, "+12025550123", &[]).await;
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{said}");
    for word in ["accepted", "sent", "delivered", "northwind", "97671"] {
        assert!(said.contains(word), "{word} not in {said}");
    }
    let code = w.record.codes_to("+12025550123").remove(0);
    assert!(!said.contains(&code), "the code is shown unasked: {said}");

    let lines = send(
        w.running.http,
        "+12025550124",
        &["--json", "--code", "482913"],
    )
    .await;
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["event"], "delivered");

    let bad = send(w.running.http, "+12025559001", &[]).await;
    assert_eq!(bad.status.code(), Some(1), "undelivered is no success");
    let wrong = send(w.running.http, "+12025550123", &["--code", "12"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("code: "),
        "{wrong:?}"
    );
    let nobody = send(crate::world::free_port(), "+12025550123", &[]).await;
    assert_eq!(nobody.status.code(), Some(1));
}

/// A gateway as its own process.
struct Gateway {
    child: Child,
    _log: Lines<BufReader<ChildStderr>>,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Gateway {
    async fn start(folder: &Folder) -> Gateway {
        let mut child = Command::new(PROGRAM)
            .arg("run")
            .arg("--config")
            .arg(folder.0.join("ringback.toml"))
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let started = async {
            while let Some(line) = log.next_line().await.expect("read") {
                let line: Value = serde_json::from_str(&line).expect("a JSON line");
                if let (Some(http), Some(admin)) = (line["http"].as_str(), line["admin"].as_str()) {
                    return (
                        http.parse().expect("address"),
                        admin.parse().expect("address"),
                    );
                }
            }
            panic!("ended before it ran");
        };
        let (http, admin) = tokio::time::timeout(LIMIT, started)
            .await
            .expect("started in time");
        Gateway {
            child,
            _log: log,
            http,
            admin,
        }
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("alive").to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }

    async fn ended(mut self) -> Option<i32> {
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await;
        status.expect("ended in time").expect("waited").code()
    }
}

async fn senders(admin: SocketAddr) -> Value {
    let routes = ask("GET", admin, "/admin/routes", "").await;
    match routes.status {
        200 => routes.json()[0]["senders"].clone(),
        _ => Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_starts_without_its_carrier_reloads_by_itself_and_drains() {
    let (folder, record) = (Folder::new(), Record::new());
    let at = crate::world::free_port();
    folder.write("carriers/northwind.toml", &smpp_file(at));
    folder.write("routes/senders.toml", SENDERS);
    folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n",
    );
    let settings = settings_file(crate::world::free_port(), "[log]\nformat = \"json\"");
    folder.write("ringback.toml", &settings);
    let gateway = Gateway::start(&folder).await;
    assert_eq!(ask("GET", gateway.admin, "/readyz", "").await.status, 503);
    let config = smsc::SmscConfig {
        listen: at,
        record: record.clone(),
        ..smsc::SmscConfig::default()
    };
    let _smsc = smsc::Smsc::start(config).await.expect("a simulated SMSC");
    until("ready", async || {
        ask("GET", gateway.admin, "/readyz", "").await.status == 200
    })
    .await;
    assert_eq!(
        send(gateway.http, "+12025550123", &[]).await.status.code(),
        Some(0)
    );

    folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"69829\"]\n",
    );
    until("reloaded by the file", async || {
        senders(gateway.admin).await == serde_json::json!(["69829"])
    })
    .await;
    gateway.signal("-HUP").await;
    // A second gateway on the same ports is bad configuration, and says which.
    let taken = settings.replace("127.0.0.1:0", &gateway.http.to_string());
    let second = Folder::new();
    second.write("ringback.toml", &taken);
    let second = Command::new(PROGRAM)
        .arg("run")
        .arg("--config")
        .arg(second.0.join("ringback.toml"))
        .output();
    let second = second.await.expect("run");
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains("[http]") && said.contains(&gateway.http.to_string()),
        "{said}"
    );

    gateway.signal("-TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_ends_it_with_every_fault() {
    let folder = Folder::new();
    folder.write(
        "ringback.toml",
        "[node]\ncolour = 1\n[jobs]\nmax_open = \"many\"\n",
    );
    let run = Command::new(PROGRAM)
        .arg("run")
        .arg("--config")
        .arg(folder.0.join("ringback.toml"))
        .output();
    let ended = tokio::time::timeout(LIMIT, run)
        .await
        .expect("ended")
        .expect("run");
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        said.lines().count() >= 2 && said.contains("colour") && said.contains("max_open"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_plans_by_the_files_where_no_gateway_answers_and_a_refusal_is_an_answer_too() {
    let w = World::new("").await;
    let nobody = crate::world::free_port();
    for (admin, said) in [
        (nobody, "every carrier is taken for healthy"),
        (w.running.admin, "as the gateway at"),
    ] {
        let listen = format!("[admin]\nlisten = \"{admin}\"\n");
        w.folder.write("cli.toml", &listen);
        for (number, words) in [
            ("+12025550123", ["northwind", "97671"]),
            ("+1911", ["refused: number_type", "+1911"]),
        ] {
            let run = Command::new(PROGRAM)
                .args(["explain", number, "--config"])
                .arg(w.folder.0.join("cli.toml"))
                .output();
            let ended = tokio::time::timeout(LIMIT, run).await;
            let ended = ended.expect("ended in time").expect("run");
            let [plan, line] =
                [&ended.stdout, &ended.stderr].map(|out| String::from_utf8_lossy(out));
            assert_eq!(ended.status.code(), Some(0), "{line}");
            assert!(words.iter().all(|word| plan.contains(word)), "{plan}");
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(
                line.contains(said) && line.contains(&admin.to_string()),
                "{line}"
            );
        }
    }
}
