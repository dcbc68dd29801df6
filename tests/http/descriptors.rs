//! When there are no file descriptors left: the true cause, said once, no spin, and service as soon as there are some.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use crate::{
    process::Process,
    world::{Folder, SENDERS, ask, free_port, settings_file, smpp_file, until},
};

const DESCRIPTORS: u32 = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_without_descriptors_says_so_once_and_waits() {
    let (folder, http, admin) = listeners();
    one_carrier(&folder);
    let gateway = Process::start(&folder, Some(DESCRIPTORS));
    up(admin).await;
    let crowd = crowd(http);
    let said = || lines(&folder, "were not taken");
    until("said", async || !said().is_empty()).await;
    let before = gateway.ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = gateway.ticks() - before;
    assert!(spent < 60, "{spent} hundredths of a second in two seconds");
    let lines = said();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("no file descriptor is left"), "{lines:?}");

    drop(crowd);
    until("served again", async || {
        ask("GET", admin, "/healthz", "").await.status == 200
            && ask("GET", http, "/v1/challenges/none", "").await.status == 404
    })
    .await;
}

/// What it asks for, what it got as its line says, and what the kernel says that it has (proc(5)).
fn given(folder: &Folder, gateway: &Process, with: &str) -> (u64, u64, u64) {
    let said = lines(folder, with);
    assert_eq!(said.len(), 1, "{said:?}");
    let number = |key: &str| {
        let value = said[0].split(key).nth(1).unwrap_or_default();
        let digits = value.split(|c: char| !c.is_ascii_digit()).next();
        let digits = digits.and_then(|digits| digits.parse().ok());
        digits.unwrap_or_else(|| panic!("{key}: {said:?}"))
    };
    let limits = format!("/proc/{}/limits", gateway.0.id());
    let limits = std::fs::read_to_string(limits).expect("Linux");
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    (
        number("needed="),
        number("allowed="),
        soft.expect("a number"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_says_what_limit_of_descriptors_it_got() {
    // May be raised: as far as it needs.
    let (folder, _, admin) = listeners();
    one_carrier(&folder);
    let gateway = Process::start_after("ulimit -Sn 100", &folder, "info");
    up(admin).await;
    let (needed, allowed, has) = given(&folder, &gateway, "INFO ringback::operate::descriptors");
    assert_eq!((allowed, has), (needed, needed));
    assert!(needed > 100);
    assert_eq!(lines(&folder, "fewer file descriptors").len(), 0);
    drop(gateway);

    // May not.
    let (folder, _, admin) = listeners();
    one_carrier(&folder);
    let gateway = Process::start(&folder, Some(DESCRIPTORS));
    up(admin).await;
    let (needed, allowed, has) = given(&folder, &gateway, "fewer file descriptors");
    assert_eq!((allowed, has), (DESCRIPTORS.into(), DESCRIPTORS.into()));
    assert!(needed > allowed);
    let said = lines(&folder, "fewer file descriptors");
    assert!(
        said[0].contains("WARN") && said[0].contains("LimitNOFILE="),
        "{said:?}"
    );
}

const TRUNK: &str = "transport = \"sip\"\nendpoints = [\"udp:127.0.0.1:9\"]\nbind = \"127.0.0.1:0\"\nprobe = false\n\
                     max_calls = 2\nrtp = { address = \"127.0.0.1\", ports = \"31000-31999\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_descriptors_speak_against_no_trunk_and_it_is_told_when_it_begins_and_ends() {
    let (folder, http, admin) = listeners();
    folder.write("carriers/fabrikam.toml", TRUNK);
    let sender = "[[sender]]\nid = \"+18553308653\"\nkind = \"toll_free\"\ncountries = \"all\"\nvoice = true\n";
    folder.write("routes/senders.toml", sender);
    let route = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n";
    folder.write("routes/us.toml", route);
    let _gateway = Process::start_logging(&folder, Some(DESCRIPTORS), "info");
    up(admin).await;
    // The way in stays open while nobody else finds one.
    let mut open = TcpStream::connect(http).expect("a connection");
    say(&mut open, "GET", "/v1/challenges/none", "");
    let crowd = crowd(http);
    until("nothing is left", async || {
        !lines(&folder, "were not taken").is_empty()
    })
    .await;
    let job = "{\"v\":1,\"id\":\"c-1\",\"to\":\"+12025550123\",\"method\":\"voice_confirm\"}";
    let taken = say(&mut open, "POST", "/v1/challenges", job);
    assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
    let mut seen = String::new();
    until("tried twice", async || {
        seen = say(&mut open, "GET", "/v1/challenges/c-1", "");
        seen.matches("gateway_limit").count() >= 2
    })
    .await;
    assert!(!seen.contains("throttled"), "{seen}");
    let begun = lines(&folder, "no audio for calls");
    assert_eq!(begun.len(), 1, "{begun:?}");
    let limit = format!("the process may have {DESCRIPTORS}");
    assert!(
        begun[0].contains(&limit) && begun[0].contains("LimitNOFILE"),
        "{begun:?}"
    );

    drop(crowd);
    until("told that it is over", async || {
        !lines(&folder, "there is audio for calls again").is_empty()
    })
    .await;
    assert_eq!(lines(&folder, "no audio for calls").len(), 1);
    let states = lines(&folder, "carrier state");
    let blamed = states.iter().filter(|line| line.contains("throttled"));
    assert_eq!(blamed.count(), 0, "{states:?}");
}

/// A folder whose listeners have ports: that of jobs, and the admin's.
fn listeners() -> (Folder, SocketAddr, SocketAddr) {
    let (folder, callbacks, http, admin) = (Folder::new(), free_port(), free_port(), free_port());
    let settings = settings_file(callbacks, "");
    let settings = settings.replacen("127.0.0.1:0", &http.to_string(), 1);
    let settings = settings.replacen("127.0.0.1:0", &admin.to_string(), 1);
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    let prompts = format!("[paths]\nprompts = {:?}\n", prompts.display().to_string());
    folder.write("ringback.toml", &format!("{settings}{prompts}"));
    (folder, http, admin)
}

/// `northwind` for US. Nobody listens there: it serves all the same.
fn one_carrier(folder: &Folder) {
    folder.write("carriers/northwind.toml", &smpp_file(free_port()));
    folder.write("routes/senders.toml", SENDERS);
    let route = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    folder.write("routes/us.toml", route);
}

/// Without a carrier it serves, and is not ready.
async fn up(admin: SocketAddr) {
    until("up", async || {
        TcpStream::connect(admin).is_ok() && ask("GET", admin, "/healthz", "").await.status == 200
    })
    .await;
}

/// More connections than it has descriptors.
fn crowd(at: SocketAddr) -> Vec<TcpStream> {
    let one = |_| TcpStream::connect(at).expect("a place in the backlog");
    (0..DESCRIPTORS * 2).map(one).collect()
}

fn lines(folder: &Folder, with: &str) -> Vec<String> {
    let log = std::fs::read_to_string(folder.0.join("log")).expect("a log");
    let lines = log.lines().filter(|line| line.contains(with));
    lines.map(str::to_owned).collect()
}

/// Over a connection that stays. The head of the answer and what has come of its body with it.
fn say(connection: &mut TcpStream, method: &str, path: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let patience = Some(Duration::from_secs(20));
    connection.set_read_timeout(patience).expect("a time limit");
    connection
        .write_all(request.as_bytes())
        .expect("it takes it");
    let mut answer = Vec::new();
    let mut part = [0; 65_536];
    loop {
        let length = connection.read(&mut part).expect("an answer");
        answer.extend(&part[..length]);
        let text = String::from_utf8_lossy(&answer);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1);
            let length = length.and_then(|l| l.split_whitespace().next()?.parse().ok());
            length.is_none_or(|length: usize| body.len() >= length)
        });
        if whole || length == 0 {
            return text.into_owned();
        }
    }
}
