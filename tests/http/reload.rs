//! Another configuration while the gateway runs: what changes, what waits, what is held back, and what the log says.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use simulators::{record::Record, smsc};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::world::{
    Answer, Folder, LIMIT, SENDERS, World, ask, ask_with, free_port, settings_file, smpp_file,
    text, until,
};

pub const US: &str = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\nweight = 70\n";

async fn reload(w: &World, more: &str) -> Answer {
    let path = format!("/admin/reload{more}");
    ask("POST", w.running.admin, &path, "").await
}

async fn last(w: &World, id: &str, to: &str) -> String {
    assert_eq!(w.post(&text(id, to)).await.status, 202);
    w.names(id).await.pop().expect("a report")
}

/// Connections of this machine to a server on loopback, as the kernel lists them (proc(5)): state 01 is established.
fn links(server: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let far = format!("0100007F:{:04X}", server.port());
    let to_it = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(far.as_str()) && fields.next() == Some("01")
    };
    table.lines().filter(to_it).count()
}

/// The change of this key, whatever the folder is called.
fn change(answer: &Value, key: &str) -> Value {
    let changes = answer["changes"].as_array().cloned().unwrap_or_default();
    let found = changes.into_iter().find(|change| change["key"] == key);
    let mut found = found.unwrap_or_else(|| panic!("no change of {key} in {answer}"));
    let file = found["file"].as_str().expect("a file");
    found["file"] = json!(file.rsplit('/').next());
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_while_it_runs_and_what_cannot_is_named() {
    let w = World::new("").await;
    w.folder.write("routes/us.toml", US);
    assert_eq!(reload(&w, "").await.status, 200);
    w.folder.write("routes/us.toml", &US.replace("70", "10"));
    let answer = reload(&w, "").await.json();
    assert_eq!(
        change(&answer, "sms[0].weight"),
        json!({ "file": "us.toml", "key": "sms[0].weight", "from": "70", "to": "10" })
    );
    assert_eq!(answer["changes"].as_array().map(Vec::len), Some(1));

    let file = w.folder.0.join("ringback.toml");
    let settings = std::fs::read_to_string(file).expect("settings");
    let limits = "[limits]\nchallenges_per_number = { count = 1, per = \"5m\" }\n[jobs]\nmax_segments = 1\n[ledger]\nretention = \"48h\"\n";
    w.folder
        .write("ringback.toml", &format!("{settings}{limits}"));
    let answer = reload(&w, "").await.json();
    assert_eq!(
        (&answer["reloaded"], &answer["restart_needed"]),
        (&json!(true), &json!([])),
        "{answer}"
    );
    assert_eq!(
        change(&answer, "limits.challenges_per_number.count")["to"],
        "1"
    );
    assert_eq!(last(&w, "s-1", "+12025550123").await, "delivered");
    assert_eq!(last(&w, "s-2", "+12025550123").await, "rejected");
    let mut long = text("s-3", "+12025550124");
    long["text"] = json!(format!("{{code}} {}", "x".repeat(300)));
    let refused = w.post(&long).await;
    assert_eq!(refused.status, 400, "{}", refused.text());

    // A name and an address wait for the restart: said, and nothing else is hurt.
    let moved = format!("{settings}{limits}")
        .replace("name = \"test\"", "name = \"other\"")
        .replacen(
            "[http]\nlisten = \"127.0.0.1:0\"",
            "[http]\nlisten = \"127.0.0.1:9\"",
            1,
        );
    w.folder.write("ringback.toml", &moved);
    for _ in 0..2 {
        let answer = reload(&w, "").await.json();
        assert_eq!(
            (&answer["reloaded"], &answer["restart_needed"]),
            (&json!(false), &json!(["node.name", "http.listen"]))
        );
    }
    let ready = w.admin("/readyz").await;
    let detail = ready.json()["detail"][0].clone();
    assert_eq!(ready.status, 200);
    assert!(
        detail
            .as_str()
            .is_some_and(|d| d.contains("node.name") && d.contains("restart")),
        "{detail}"
    );
    assert_eq!(last(&w, "s-4", "+12025550125").await, "delivered");

    // A token is asked from now on, and the old place serves on.
    w.folder.write("admin.token", "s3cret");
    let token = "[admin]\ntoken = { file = \"admin.token\" }\n";
    w.folder.write(
        "ringback.toml",
        &format!("{settings}{limits}").replace("[admin]\n", token),
    );
    assert_eq!(reload(&w, "").await.status, 200);
    assert_eq!(w.admin("/readyz").await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_set_is_held_back_until_it_is_meant() {
    let w = World::new("").await;
    w.folder.write("routes/us.toml", "");
    let held = reload(&w, "").await;
    assert_eq!(held.status, 422, "{}", held.text());
    assert!(
        held.text().contains("us.toml") && held.text().contains("is empty"),
        "{}",
        held.text()
    );
    let ready = w.admin("/readyz").await;
    assert_eq!(ready.status, 200, "the old set serves: {}", ready.text());
    assert!(ready.text().contains("us.toml"), "{}", ready.text());
    assert_eq!(last(&w, "h-1", "+12025550123").await, "delivered");

    // As it was: nothing is refused any more.
    w.folder.write("routes/us.toml", US);
    assert_eq!(reload(&w, "").await.status, 200);
    assert_eq!(w.admin("/readyz").await.json()["detail"], json!([]));

    // Neither are all routes taken away by mistake, nor the settings.
    for file in ["routes/us.toml", "routes/se.toml"] {
        std::fs::remove_file(w.folder.0.join(file)).expect("removed");
    }
    let held = reload(&w, "").await;
    assert_eq!(held.status, 422, "{}", held.text());
    assert!(held.text().contains("no route"), "{}", held.text());
    w.folder.write("routes/us.toml", US);
    let settings = w.folder.0.join("ringback.toml");
    let text = std::fs::read_to_string(&settings).expect("settings");
    w.folder.write("ringback.toml", "\n");
    assert_eq!(reload(&w, "").await.status, 422);
    std::fs::write(&settings, text).expect("settings");

    // A country less is taken, and named.
    let answer = reload(&w, "").await.json();
    assert_eq!(
        (&answer["reloaded"], &answer["routes_gone"]),
        (&json!(true), &json!(["se.sms"]))
    );
    assert_eq!(last(&w, "h-2", "+46701740605").await, "rejected");
    // And what is meant is done.
    w.folder.write("routes/us.toml", "");
    assert_eq!(reload(&w, "?allow_empty=true").await.status, 200);
    assert_eq!(last(&w, "h-3", "+12025550124").await, "rejected");
    assert_eq!(reload(&w, "?allow_empty=perhaps").await.status, 400);
}

/// `ringback run` as its own process, with its log.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    pub async fn start(folder: &Folder, more: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .arg("run")
            .arg("--config")
            .arg(folder.0.join("ringback.toml"))
            .args(more)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().expect("the log").push(line);
            }
        });
        let mut process = Process {
            child,
            log,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        until("the process runs", async || {
            process.lines().iter().any(|l| l["admin"].is_string())
        })
        .await;
        let lines = process.lines();
        let line = lines.iter().find(|l| l["admin"].is_string());
        let address = |key: &str| line.expect("a line")[key].as_str().expect("text").parse();
        process.http = address("http").expect("an address");
        process.admin = address("admin").expect("an address");
        process
    }

    pub fn lines(&self) -> Vec<Value> {
        self.log.lock().expect("the log").clone()
    }

    /// How many lines hold all of these words.
    pub fn said(&self, words: &[&str]) -> usize {
        let lines = self.lines();
        let holds = |line: &&Value| {
            let line = line.to_string();
            words.iter().all(|word| line.contains(word))
        };
        lines.iter().filter(holds).count()
    }

    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("alive").to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }

    pub async fn ended(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await;
        status.expect("ended in time").expect("waited").code()
    }
}

async fn delivered(p: &Process, id: &str) {
    let body = text(id, "+12025550123").to_string();
    let taken = ask("POST", p.http, "/v1/challenges", &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let path = format!("/v1/challenges/{id}/reports");
    let told = ask("GET", p.http, &path, "").await.events();
    let last = told.last().map(|(_, name, _)| name.as_str());
    assert_eq!(last, Some("delivered"), "{told:?}");
}

/// A folder with `northwind` for US, and its far end.
pub async fn one_carrier() -> (Folder, smsc::SmscHandle) {
    let folder = Folder::new();
    let config = smsc::SmscConfig {
        record: Record::new(),
        ..smsc::SmscConfig::default()
    };
    let smsc = smsc::Smsc::start(config).await.expect("a simulated SMSC");
    folder.write("carriers/northwind.toml", &smpp_file(smsc.address()));
    folder.write("routes/senders.toml", SENDERS);
    folder.write("routes/us.toml", US);
    folder.write(
        "ringback.toml",
        &settings_file(free_port(), "[log]\nformat = \"json\""),
    );
    (folder, smsc)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editor_that_truncates_costs_no_job_and_every_change_is_in_the_log() {
    let (folder, _smsc) = one_carrier().await;
    let mut p = Process::start(&folder, &[]).await;
    delivered(&p, "e-1").await;
    folder.write("routes/us.toml", "");
    until("said", async || p.said(&["us.toml", "is empty"]) == 1).await;
    delivered(&p, "e-2").await;
    folder.write("routes/us.toml", &US.replace("70", "10"));
    until("in force", async || {
        p.said(&["the configuration that was refused is in force now"]) == 1
    })
    .await;
    let line = [
        "configuration changed",
        "us.toml",
        "sms[0].weight",
        "\"70\"",
        "\"10\"",
    ];
    assert_eq!(p.said(&line), 1, "{:#?}", p.lines());
    assert_eq!(p.said(&["is refused and the one before stays in force"]), 1);

    // The settings' own file is watched too, and the log's form changes with it.
    let settings = std::fs::read_to_string(folder.0.join("ringback.toml")).expect("settings");
    folder.write("ringback.toml", &settings.replace("\"test\"", "\"other\""));
    until("a restart is asked for", async || {
        p.said(&["node.name", "need a restart"]) == 1
    })
    .await;
    folder.write("ringback.toml", &settings.replace("\"json\"", "\"text\""));
    until("plain lines", async || {
        p.lines()
            .iter()
            .any(|l| l.as_str().is_some_and(|l| l.contains("reloaded")))
    })
    .await;
    delivered(&p, "e-3").await;
    p.signal("-TERM").await;
    assert_eq!(p.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_it_so_may_empty_files() {
    let (folder, _smsc) = one_carrier().await;
    let p = Process::start(&folder, &["--allow-empty"]).await;
    folder.write("routes/us.toml", "");
    until("taken", async || {
        p.said(&["us.sms", "WARN", "rejected with no_route"]) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_pace_or_window_touches_no_session() {
    let w = World::new("").await;
    let view = async |name: &str| {
        let all = w.admin("/admin/carriers").await.json();
        let found = all.as_array().into_iter().flatten();
        let found: Vec<&Value> = found.filter(|c| c["name"] == name).collect();
        (
            found[0]["state"].clone(),
            found[0]["slots"].clone(),
            found[0]["pace"].clone(),
        )
    };
    for (name, more) in [
        ("northwind", "pace = \"100/s\"\nwindow = 3\n"),
        ("tailspin", "pace = \"100/s\"\nwindow = 6\n"),
    ] {
        let file = format!("carriers/{name}.toml");
        let text = std::fs::read_to_string(w.folder.0.join(&file)).expect("a file");
        w.folder.write(&file, &format!("{more}{text}"));
        let answer = reload(&w, "").await.json();
        assert_eq!(answer["changed"], json!([name]), "{answer}");
        // Never without its slots: who asks at once sees them.
        let (state, slots, pace) = view(name).await;
        assert_eq!((state, pace), (json!("healthy"), json!(100.0)), "{name}");
        assert!(slots.as_u64() > Some(0), "{name}: {slots}");
        until("six slots", async || view(name).await.1 == 6).await;
    }
    assert_eq!(last(&w, "w-1", "+12025550123").await, "delivered");
    assert_eq!(last(&w, "w-2", "+46701740605").await, "delivered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_taken_when_the_port_is_free() {
    let (folder, _smsc) = one_carrier().await;
    let prompts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let settings = std::fs::read_to_string(folder.0.join("ringback.toml")).expect("settings");
    let paths = format!("[paths]\nprompts = {:?}\n", prompts.display().to_string());
    folder.write("ringback.toml", &format!("{settings}\n{paths}"));
    let p = Process::start(&folder, &[]).await;
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let bind = taken.local_addr().expect("an address");
    let trunk = format!(
        "transport = \"sip\"\nendpoints = [\"udp:127.0.0.1:9\"]\nbind = \"{bind}\"\nrtp = {{ address = \"127.0.0.1\" }}\n"
    );
    let caller = "[[sender]]\nid = \"+18553308653\"\nkind = \"toll_free\"\ncountries = \"all\"\nvoice = true\n";
    folder.write("carriers/fabrikam.toml", &trunk);
    folder.write("routes/senders.toml", &format!("{SENDERS}{caller}"));
    let call = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n";
    folder.write("routes/us.toml", &format!("{US}{call}"));
    until("refused", async || {
        p.said(&["not reloaded", "fabrikam"]) > 0
    })
    .await;
    let ready = ask("GET", p.admin, "/readyz", "").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.text().contains("fabrikam"), "{}", ready.text());
    delivered(&p, "t-1").await;
    drop(taken);
    until("taken", async || {
        p.said(&["the configuration that was refused is in force now"]) == 1
    })
    .await;
    assert_eq!(
        p.said(&["not reloaded", "fabrikam"]),
        1,
        "once, though tried again"
    );
    let ready = ask("GET", p.admin, "/readyz", "").await.json();
    assert_eq!(ready["detail"], json!([]));
    delivered(&p, "t-2").await;
}

const LEASE: &str = r#"
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, lambda *_: print("asked", flush=True))
fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
while True:
    signal.pause()
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_end_is_never_behind_a_reload() {
    let (folder, _smsc) = one_carrier().await;
    let token = folder.0.join("carriers/token");
    std::fs::write(&token, "first").expect("a file");
    folder.write(
        "carriers/tailspin.toml",
        "transport = \"http\"\n[request]\nmethod = \"POST\"\nurl = \"http://127.0.0.1:9/\"\nauth = { bearer = { file = \"token\" } }\nbody = '{\"to\":{to},\"text\":{text}}'\n[response]\naccepted = [201]\n",
    );
    folder.write(
        "routes/se.toml",
        "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"Ringback\"]\n",
    );
    let mut p = Process::start(&folder, &[]).await;
    // A secret that never comes to an end: whoever opened it would wait.
    std::fs::remove_file(&token).expect("removed");
    let made = Command::new("mkfifo").arg(&token).status().await;
    assert!(made.expect("mkfifo").success());
    p.signal("-HUP").await;
    let refused = ["not reloaded", "carriers/tailspin.toml", "is not a file"];
    until("refused", async || p.said(&refused) == 1).await;
    delivered(&p, "f-1").await;
    // What stood in its way is gone: tried again by itself, and said once.
    std::fs::remove_file(&token).expect("removed");
    std::fs::write(&token, "second").expect("a file");
    until("in force", async || {
        p.said(&["the configuration that was refused is in force now"]) == 1
    })
    .await;
    assert_eq!(p.said(&["not reloaded"]), 1, "{:#?}", p.lines());
    // A secret that somebody else has a lease on (fcntl(2)): whoever opens it waits, for 45 s at the most.
    let mut lease = Command::new("python3")
        .args(["-c", LEASE])
        .arg(&token)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a python");
    let mut told = BufReader::new(lease.stdout.take().expect("piped")).lines();
    let mut tells = async || {
        let line = tokio::time::timeout(LIMIT, told.next_line()).await;
        line.expect("in time").expect("read").expect("a line")
    };
    assert_eq!(tells().await, "held");
    p.signal("-HUP").await;
    assert_eq!(tells().await, "asked", "the reload reads");
    let begun = std::time::Instant::now();
    p.signal("-TERM").await;
    assert_eq!(p.ended().await, Some(0));
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carriers_that_are_left_still_bring_the_receipts_of_what_they_took() {
    let w = World::new("").await;
    let slow = |faults: &mut simulators::script::Faults| faults.receipt_delay_ms = Some(1_500);
    w.smsc.faults().change(slow);
    w.tailspin.faults().change(slow);
    let texts = [("l-1", "+12025550123"), ("l-2", "+46701740605")];
    for (id, to) in texts {
        assert_eq!(w.post(&text(id, to)).await.status, 202);
        until("taken", async || !w.record.texts_to(to).is_empty()).await;
    }
    for file in ["routes/us.toml", "routes/se.toml"] {
        let path = w.folder.0.join(file);
        let route = std::fs::read_to_string(path).expect("a route");
        w.folder.write(file, &format!("{route}enabled = false\n"));
    }
    assert!(links(w.smsc.address()) > 0);
    let answer = reload(&w, "?allow_empty=true").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        w.admin("/admin/carriers").await.json(),
        json!([]),
        "nobody is in use"
    );
    for (id, _) in texts {
        let names = w.names(id).await;
        assert_eq!(names.last().map(String::as_str), Some("delivered"), "{id}");
    }
    assert_eq!(last(&w, "l-3", "+12025550124").await, "failed");
    // When the last receipt has come, the link ends.
    until("no session", async || links(w.smsc.address()) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_refused_leaves_the_tokens_too() {
    let token = "token = { file = \"token\" }";
    let w = World::new_with(token, |folder| folder.write("token", "the first")).await;
    let status = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let path = "/v1/challenges/nobody";
        let answer = ask_with("GET", w.running.http, path, "", &headers).await;
        answer.status
    };
    assert_eq!(status("the first").await, 404);
    w.folder.write("token", "the second");
    w.folder
        .write("routes/us.toml", "[[sms]]\ncarrier = \"nobody\"\n");
    assert_eq!(reload(&w, "").await.status, 422);
    assert_eq!(status("the first").await, 404, "refused as a whole");
    assert_eq!(status("the second").await, 401);
    w.folder.write("routes/us.toml", US);
    assert_eq!(reload(&w, "").await.status, 200);
    assert_eq!(status("the second").await, 404);
    assert_eq!(status("the first").await, 401);
}
