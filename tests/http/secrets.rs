//! Secrets and emptied files, seen from outside: a secret that can't be read takes no link away, and a start with
//! nothing to route by says so.

use std::process::{Command, Output};

use serde_json::json;

use crate::reload::{Process, one_carrier};
use crate::world::{
    Folder, SENDERS, World, ask, ask_with, free_port, settings_file, smpp_file, text, until,
};

async fn reload(w: &World) -> (u16, String) {
    let answer = ask("POST", w.running.admin, "/admin/reload", "").await;
    (answer.status, answer.text())
}

async fn delivered(w: &World, id: &str, to: &str) {
    assert_eq!(w.post(&text(id, to)).await.status, 202);
    let names = w.names(id).await;
    assert_eq!(names.last().map(String::as_str), Some("delivered"), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_can_not_be_read_is_refused_and_the_session_stays() {
    let w = World::new("").await;
    let smpp = std::fs::read_to_string(w.folder.0.join("carriers/northwind.toml")).expect("a file");
    w.folder.write("carriers/empty", "\n");
    for (secret, says) in [
        (
            "{ env = \"RINGBACK_NOPE\" }",
            "environment variable RINGBACK_NOPE is not set",
        ),
        ("{ file = \"nowhere\" }", "carriers/nowhere"),
        ("{ file = \"empty\" }", "carriers/empty is empty"),
        ("{ file = \".\" }", "is not a file"),
    ] {
        let with = format!("{smpp}password = {secret}\n");
        w.folder.write("carriers/northwind.toml", &with);
        let (status, said) = reload(&w).await;
        assert_eq!(status, 422, "{secret}: {said}");
        assert!(
            said.contains("carriers/northwind.toml") && said.contains(says),
            "{said}"
        );
    }
    delivered(&w, "n-1", "+12025550123").await;
    // Read as soon as it is there, without a word from anybody.
    let with = format!("{smpp}password = {{ file = \"later\" }}\n");
    w.folder.write("carriers/northwind.toml", &with);
    assert_eq!(reload(&w).await.0, 422);
    w.folder.write("carriers/later", "s3cret\n");
    until("taken", async || {
        w.admin("/readyz").await.json()["detail"] == json!([])
    })
    .await;
    delivered(&w, "n-2", "+12025550124").await;

    // The same for a carrier by HTTP, and for one that is new.
    let http = std::fs::read_to_string(w.folder.0.join("carriers/tailspin.toml")).expect("a file");
    let without = http.replace("../callback.key", "../callback.kez");
    w.folder.write("carriers/tailspin.toml", &without);
    let (status, said) = reload(&w).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("callback.kez"), "{said}");
    delivered(&w, "n-3", "+46701740605").await;
    w.folder.write("carriers/tailspin.toml", &http);
    w.folder.write(
        "carriers/contoso.toml",
        &format!("{smpp}password = {{ env = \"RINGBACK_NOPE\" }}\n"),
    );
    w.folder.write(
        "routes/se.toml",
        "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"Ringback\"]\n[[sms]]\ncarrier = \"contoso\"\nsenders = [\"Ringback\"]\n",
    );
    let (status, said) = reload(&w).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("carriers/contoso.toml"), "{said}");
}

/// A gateway that starts without a carrier's secret runs without it, and lets all else of that carrier change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_never_there_holds_no_other_change_back() {
    let (folder, _smsc) = one_carrier().await;
    let smpp = "transport = \"smpp\"\nendpoints = [\"127.0.0.1:9\"]\nsystem_id = \"mfa\"\npassword = { env = \"RINGBACK_NOPE\" }\n";
    folder.write("carriers/fabrikam.toml", smpp);
    let route = "[[sms]]\ncarrier = \"fabrikam\"\nsenders = [\"Ringback\"]\n";
    folder.write("routes/default.toml", route);
    let p = Process::start(&folder, &[]).await;
    folder.write("carriers/fabrikam.toml", &format!("pace = \"5/s\"\n{smpp}"));
    until("taken", async || {
        p.said(&["configuration changed", "pace", "5/s"]) == 1
    })
    .await;
    assert_eq!(p.said(&["not reloaded"]), 0, "{:#?}", p.lines());
}

/// What the `[http]` listener says to this token.
async fn status(at: std::net::SocketAddr, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let answer = ask_with("GET", at, "/v1/challenges/nobody", "", &headers).await;
    answer.status
}

/// Secrets as Kubernetes mounts them: `NAME` leads to `..data/NAME`, and `..data` swings over to another version.
struct Mounted(Folder);

impl Mounted {
    fn new(secrets: &[(&str, &str)]) -> Mounted {
        let mounted = Mounted(Folder::new());
        for (name, _) in secrets {
            let link = mounted.0.0.join(name);
            std::os::unix::fs::symlink(format!("..data/{name}"), link).expect("a link");
        }
        mounted.swing("..1", secrets);
        mounted
    }

    fn swing(&self, version: &str, secrets: &[(&str, &str)]) {
        std::fs::create_dir(self.0.0.join(version)).expect("a folder");
        for (name, text) in secrets {
            self.0.write(&format!("{version}/{name}"), text);
        }
        let next = self.0.0.join("..data_tmp");
        std::os::unix::fs::symlink(version, &next).expect("a link");
        std::fs::rename(next, self.0.0.join("..data")).expect("swung over");
    }

    fn named(&self, name: &str) -> String {
        format!(
            "{{ file = {:?} }}",
            self.0.0.join(name).display().to_string()
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_stand_elsewhere_are_followed() {
    let secrets = |token, password, url| [("token", token), ("password", password), ("url", url)];
    let first = secrets("the first", "s3cret", "amqp://guest:guest@127.0.0.1:9");
    let mounted = Mounted::new(&first);
    let (folder, smsc) = one_carrier().await;
    let settings = format!(
        "token = {}\n[log]\nformat = \"json\"\n[jobs.amqp]\nurl = {}\n",
        mounted.named("token"),
        mounted.named("url"),
    );
    folder.write("ringback.toml", &settings_file(free_port(), &settings));
    let smpp = smpp_file(smsc.address());
    let with = |more: &str| format!("{smpp}password = {}\n{more}", mounted.named("password"));
    folder.write("carriers/northwind.toml", &with(""));
    let p = Process::start(&folder, &[]).await;
    assert_eq!(status(p.http, "the first").await, 404);

    let second = secrets("the second", "0ther", "amqp://ada:hush@127.0.0.1:9");
    mounted.swing("..2", &second);
    let changed = async |key: &str, times: usize| {
        let line = ["configuration changed", key, "(not shown)"];
        until(key, async || p.said(&line) == times).await;
    };
    changed("http.token", 1).await;
    changed("jobs.amqp.url", 1).await;
    changed("secrets and certificates", 1).await;
    assert_eq!(status(p.http, "the second").await, 404);
    assert_eq!(status(p.http, "the first").await, 401);
    until("told", async || {
        p.said(&["jobs.amqp.url", "from the next connection on"]) == 1
    })
    .await;

    // One that the files name from now on is followed as well.
    let other = Mounted::new(&[("later", "s3cret")]);
    let named = with("").replace(&mounted.named("password"), &other.named("later"));
    folder.write("carriers/northwind.toml", &named);
    until("named", async || {
        p.said(&["configuration changed", "password.file"]) == 1
    })
    .await;
    other.swing("..2", &[("later", "0ther")]);
    changed("secrets and certificates", 3).await;
    let log: Vec<String> = p.lines().iter().map(ToString::to_string).collect();
    for secret in ["the second", "s3cret", "0ther", "hush"] {
        assert!(!log.join("\n").contains(secret), "{log:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_is_told_by_its_key() {
    let settings = r#"token = { file = "token" }
[jobs.amqp]
url = { file = "broker" }
[ledger]
keys = [{ id = "k1", key = { file = "key" } }]
"#;
    let w = World::new_with(settings, |folder| {
        folder.write("token", "the first");
        folder.write("broker", "amqp://guest:guest@127.0.0.1:9");
        folder.write("key", &"11".repeat(32));
    })
    .await;
    let told = async || -> serde_json::Value {
        let answer = ask("POST", w.running.admin, "/admin/reload", "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    assert_eq!(told().await["reloaded"], false);

    w.folder.write("token", "the second");
    w.folder.write("broker", "amqp://ada:hush@127.0.0.1:9");
    let answer = told().await;
    assert_eq!(answer["reloaded"], true, "{answer}");
    let keys = answer["changes"].as_array().into_iter().flatten();
    let keys: Vec<_> = keys.map(|change| change["key"].clone()).collect();
    assert_eq!(keys, ["http.token", "jobs.amqp.url"]);
    assert_eq!(answer["at_next_connection"], json!(["jobs.amqp.url"]));
    assert_eq!(answer["restart_needed"], json!([]));
    assert_eq!(status(w.running.http, "the second").await, 404);
    assert_eq!(told().await["reloaded"], false);

    // The ledger has its keys for good.
    w.folder.write("key", &"22".repeat(32));
    for _ in 0..2 {
        let answer = told().await;
        assert_eq!(
            (&answer["reloaded"], &answer["restart_needed"]),
            (&json!(false), &json!(["ledger.keys"]))
        );
    }
    w.folder.write("key", &"11".repeat(32));
    assert_eq!(told().await["restart_needed"], json!([]));

    // What could be read until now is not given up.
    for (file, whole) in [("broker", "jobs.amqp.url"), ("token", "http.token")] {
        std::fs::remove_file(w.folder.0.join(file)).expect("removed");
        let (status, said) = reload(&w).await;
        assert_eq!(status, 422, "{said}");
        assert!(said.contains(&format!("{whole}: ")), "{said}");
        assert!(!said.contains("toml:1:"), "the line of the key: {said}");
        w.folder.write(file, "the third");
        assert_eq!(told().await["reloaded"], true);
    }
    assert_eq!(status(w.running.http, "the third").await, 404);
}

fn ringback(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(arguments)
        .arg("--config")
        .arg(folder.0.join("ringback.toml"))
        .env_remove("RUST_LOG")
        .output()
        .expect("the binary runs")
}

#[test]
fn a_start_with_nothing_to_route_by_says_so() {
    let folder = Folder::new();
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    folder.write("ringback.toml", &settings_file(nowhere, ""));
    folder.write("carriers/northwind.toml", &smpp_file(nowhere));
    folder.write("routes/senders.toml", SENDERS);
    let route = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    folder.write("routes/us.toml", route);
    assert_eq!(ringback(&folder, &["check"]).status.code(), Some(0));

    for (file, text, says) in [
        (
            "routes/default.toml",
            "",
            "routes/default.toml:1: file: is empty",
        ),
        (
            "routes/us.toml",
            "# later\n",
            "routes:1: file: there is no route in it",
        ),
    ] {
        folder.write(file, text);
        let checked = ringback(&folder, &["check"]);
        assert_eq!(checked.status.code(), Some(2), "{file}");
        let ran = ringback(&folder, &["run"]);
        assert_eq!(ran.status.code(), Some(2), "{file}");
        for said in [checked.stdout, ran.stderr] {
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(
                said.contains(says) && said.contains("--allow-empty"),
                "{said}"
            );
        }
        let meant = ringback(&folder, &["check", "--allow-empty"]);
        assert_eq!(meant.status.code(), Some(0), "{file}");
        std::fs::remove_file(folder.0.join(file)).expect("removed");
    }
}
