//! The ledger's files taken away under a running gateway: what a restart would not find again is answered to nobody.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    process::Process,
    world::{Folder, LIMIT, SENDERS, World, ask, free_port, settings_file, smpp_file, text, until},
};

fn cut(file: &Path, octets: u64) {
    let file = fs::OpenOptions::new().write(true).open(file);
    file.expect("the file").set_len(octets).expect("cut");
}

async fn refuses(w: &World, id: &str, why: [&str; 2]) {
    // At the very next job, before the look that a quiet ledger takes.
    let answer = w.post(&text(id, "+12025550123")).await;
    assert_eq!(answer.status, 503, "{why:?}: {}", answer.text());
    assert!(answer.text().contains("ledger"), "{}", answer.text());
    until(&format!("{why:?}"), async || {
        let ready = w.admin("/readyz").await;
        ready.status == 503 && why.iter().all(|word| ready.text().contains(word))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ledger_that_is_renamed_away_takes_nothing_until_it_is_back() {
    let w = World::new("").await;
    assert_eq!(w.post(&text("f-1", "+12025550123")).await.status, 202);
    let file = |name: &str| w.folder.0.join("data").join(name);
    for name in ["ringback.db", "ringback.db-wal"] {
        let away = file("away");
        fs::rename(file(name), &away).expect("renamed");
        refuses(&w, "f-2", [name, "deleted or renamed away"]).await;
        fs::copy(&away, file(name)).expect("copied");
        refuses(&w, "f-2", [name, "replaced by another file"]).await;
        fs::rename(&away, file(name)).expect("renamed back");
        until("ready again", async || {
            w.admin("/readyz").await.status == 200
        })
        .await;
    }
    assert_eq!(w.post(&text("f-2", "+12025550124")).await.status, 202);
    for id in ["f-1", "f-2"] {
        assert_eq!(w.names(id).await, ["accepted", "sent", "delivered"]);
    }
    assert_eq!(w.record.texts_to("+12025550123").len(), 1);
    w.running.drain(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ledger_that_is_cut_takes_nothing_any_more() {
    for (name, to) in [
        ("ringback.db", 100),
        ("ringback.db-wal", 0),
        ("ringback.db-wal", 5_000),
    ] {
        let w = World::new("").await;
        assert_eq!(w.post(&text("k-1", "+12025550123")).await.status, 202);
        w.names("k-1").await;
        let file = w.folder.0.join("data").join(name);
        let octets = fs::metadata(&file).expect("it is there").len();
        cut(&file, to);
        refuses(&w, "k-2", [name, "has been cut"]).await;
        // Its size alone does not bring back what was in it.
        cut(&file, octets);
        refuses(&w, "k-3", [name, "has been cut"]).await;
    }
}

/// What another program may do with it: look, copy, and move the WAL into the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ledger_whose_wal_another_program_has_emptied_goes_on() {
    let w = World::new("").await;
    for n in 0..3 {
        let id = format!("e-{n}");
        assert_eq!(w.post(&text(&id, "+12025550123")).await.status, 202);
        w.names(&id).await;
        let conn = rusqlite::Connection::open(w.folder.0.join("data/ringback.db"));
        let sql = ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"][n % 2];
        let conn = conn.expect("the file");
        conn.busy_timeout(Duration::from_secs(5)).expect("patience");
        conn.execute_batch(sql).expect(sql);
    }
    assert_eq!(w.admin("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_gateway_says_once_that_its_ledger_is_gone_and_the_next_start_refuses() {
    let (folder, _, admin, mut process) = start().await;
    let file = folder.0.join("data/ringback.db");
    fs::remove_file(&file).expect("deleted");
    until("noticed", async || {
        ask("GET", admin, "/readyz", "")
            .await
            .text()
            .contains("renamed away")
    })
    .await;
    process.0.kill().expect("killed");
    process.0.wait().expect("waited");
    let log = fs::read_to_string(folder.0.join("log")).expect("a log");
    let said: Vec<&str> = log.lines().filter(|l| l.contains("ERROR")).collect();
    assert_eq!(said.len(), 1, "{log}");
    for word in [
        "data/ringback.db has been deleted",
        "rename it back, or stop",
    ] {
        assert!(said[0].contains(word), "{word}: {}", said[0]);
    }
    let mut process = Process::start(&folder, None);
    assert_eq!(process.0.wait().expect("ended").code(), Some(2));
    let log = fs::read_to_string(folder.0.join("log")).expect("a log");
    assert!(log.contains("the file is gone"), "{log}");
}

/// A gateway of its own process, without a carrier, on ports that are known.
async fn start() -> (Folder, SocketAddr, SocketAddr, Process) {
    let (folder, http, admin) = (Folder::new(), free_port(), free_port());
    let any = "listen = \"127.0.0.1:0\"";
    let at = |name: &str, port: SocketAddr| {
        (
            format!("[{name}]\n{any}"),
            format!("[{name}]\nlisten = \"{port}\""),
        )
    };
    let mut settings = settings_file(free_port(), "");
    for (any, ours) in [
        at("http", http),
        at("admin", admin),
        ("[node]\n".to_owned(), "[node]\ndrain = \"1s\"\n".to_owned()),
    ] {
        settings = settings.replacen(&any, &ours, 1);
    }
    folder.write("carriers/northwind.toml", &smpp_file(free_port()));
    folder.write("routes/senders.toml", SENDERS);
    let route = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    folder.write("routes/us.toml", route);
    folder.write("ringback.toml", &settings);
    let process = Process::start(&folder, None);
    until("up", async || {
        tokio::net::TcpStream::connect(admin).await.is_ok()
            && ask("GET", admin, "/healthz", "").await.status == 200
    })
    .await;
    (folder, http, admin, process)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_ledger_is_locked_ends_in_time_and_says_what_was_not_written() {
    let (folder, http, admin, mut process) = start().await;
    let held = rusqlite::Connection::open(folder.0.join("data/ringback.db")).expect("the file");
    held.busy_timeout(Duration::from_secs(5)).expect("patience");
    held.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let job = text("u-1", "+12025550123").to_string();
    assert_eq!(ask("POST", http, "/v1/challenges", &job).await.status, 503);
    assert_eq!(ask("GET", admin, "/readyz", "").await.status, 503);
    let begun = Instant::now();
    let term = std::process::Command::new("kill")
        .arg(process.0.id().to_string())
        .status();
    assert!(term.expect("kill").success());
    let ended = tokio::task::spawn_blocking(move || process.0.wait().expect("waited"));
    let ended = tokio::time::timeout(LIMIT, ended).await.expect("in time");
    assert_eq!(ended.expect("no panic").code(), Some(1));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    let log = fs::read_to_string(folder.0.join("log")).expect("a log");
    let mut said = log
        .lines()
        .filter(|l| l.contains("ERROR") && !l.contains("not acked"));
    let line = said.next().unwrap_or_else(|| panic!("{log}"));
    for word in [
        "could not be written",
        "locked",
        "1 jobs that were not taken",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert_eq!(said.next(), None, "one line");
}
