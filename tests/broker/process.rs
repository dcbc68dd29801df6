//! The gateway's own process between a broker and one carrier: what both logs say of a clean run, and what the broker
//! still has once the process is killed.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use lapin::BasicProperties;

use crate::{
    gateway::{Gateway, LOOK, get},
    rabbit,
    world::{Client, run, until, within},
};

pub const TESTS: &[super::Test] = &[
    ("a_clean_run_leaves_no_warning_in_either_log", clean),
    ("what_the_ledger_does_not_hold_is_not_acked", not_held),
    ("no_more_is_taken_than_may_be_open", full),
    ("reports_that_no_queue_takes_are_told_at_once", no_queue),
    ("a_lost_broker_is_one_line_and_its_return_another", lost),
    ("an_operator_opens_dead_letters_beside_the_gateway", letters),
];

/// The broker's own log from a place on.
struct BrokerLog {
    path: PathBuf,
    from: u64,
}

impl BrokerLog {
    fn here() -> BrokerLog {
        let folder = Path::new(&rabbit::folder()).join("log");
        let files = std::fs::read_dir(folder).expect("the broker's logs");
        let mut logs = files
            .map(|file| file.expect("a file").path())
            .filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy());
                name.is_some_and(|name| name.ends_with(".log") && !name.contains("upgrade"))
            });
        let path = logs.next().expect("the broker's log");
        let from = std::fs::metadata(&path).expect("its size").len();
        BrokerLog { path, from }
    }

    fn since(&self) -> String {
        let mut file = File::open(&self.path).expect("the broker's log");
        file.seek(SeekFrom::Start(self.from)).expect("its place");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        text
    }
}

async fn send(client: &Client, count: usize) {
    for n in 0..count {
        let body = format!(
            r#"{{"id":"p-{n}","to":"+1202555{:04}","method":"sms_code"}}"#,
            200 + n
        );
        let properties = BasicProperties::default().with_reply_to("answers".into());
        client
            .publish("ringback", "challenge", body.as_bytes(), properties)
            .await;
    }
}

/// The challenges of so many final reports, sorted.
async fn finals(client: &Client, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        for report in client.take("answers", 1).await {
            let told: serde_json::Value = serde_json::from_slice(&report.data).expect("JSON");
            if told["final"] == true {
                all.push(told["challenge"].as_str().expect("an id").to_owned());
            }
        }
    }
    all.sort();
    all
}

/// Nobody else is connected: what the broker logs from now on is about this test.
async fn alone() {
    until("earlier connections to end", || {
        rabbit::ctl(&["-q", "list_connections", "pid"])
            .lines()
            .all(|line| line.trim().is_empty() || line.trim() == "pid")
    })
    .await;
}

fn clean() {
    run(async {
        alone().await;
        let mut gateway = Gateway::new("clean", "", "").await;
        // From here on: a new vhost has warnings of its own.
        let broker = BrokerLog::here();
        let client = Client::at(&gateway.url).await;
        client.queue("answers").await;
        gateway.start().await;
        send(&client, 20).await;
        finals(&client, 20).await;
        assert_eq!(gateway.stop().await, Some(0));
        client.connection.close(200, "OK".into()).await.unwrap();
        alone().await;
        let ours = gateway.log();
        assert!(ours.contains("connected to the broker"), "{ours}");
        for word in [" ERROR ", " WARN "] {
            assert!(!ours.contains(word), "{ours}");
        }
        let theirs = broker.since();
        // It has heard of us, and that we went in order.
        assert!(theirs.contains("ringback jobs"), "{theirs}");
        for word in ["[error]", "[warning]", "unexpectedly"] {
            assert!(!theirs.contains(word), "{theirs}");
        }
    });
}

/// Another program holds the ledger while jobs come: the prefetch is taken and nothing more, nothing of it is acked, and
/// after `kill -9` the broker has all of it.
fn not_held() {
    run(async {
        let mut gateway = Gateway::new("held", "", "prefetch = 100").await;
        let client = Client::at(&gateway.url).await;
        client.queue("answers").await;
        gateway.start().await;
        let other = rusqlite::Connection::open(gateway.folder.join("ringback.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        send(&client, 300).await;
        // By then a job that had not waited for the ledger would be acked, and others come in its place.
        until("the ledger to be waited for", || {
            gateway.log().contains("the ledger can't write")
        })
        .await;
        gateway.metric("ringback_jobs_unacked", 100).await;
        assert_eq!(client.depth("ringback.jobs").await, 200);
        gateway.kill();
        alone_but(&client).await;
        assert_eq!(client.depth("ringback.jobs").await, 300);
        let sent = gateway.smsc.record().lines();
        assert!(sent.is_empty(), "nothing was sent: {sent:?}");
        other.execute_batch("ROLLBACK").unwrap();
        drop(other);
        gateway.start().await;
        let mut all: Vec<String> = (0..300).map(|n| format!("p-{n}")).collect();
        all.sort();
        assert_eq!(finals(&client, 300).await, all);
        assert_eq!(gateway.stop().await, Some(0));
        assert_eq!(client.depth("ringback.jobs").await, 0);
    });
}

/// As many challenges are open as may be, and the prefetch is full: the rest stays with the broker.
fn full() {
    run(async {
        let mut gateway = Gateway::new("full", "max_open = 20", "prefetch = 50").await;
        let client = Client::at(&gateway.url).await;
        client.queue("answers").await;
        let silent = simulators::script::Often::ALWAYS;
        gateway.smsc.faults().change(|f| f.no_receipts = silent);
        gateway.start().await;
        send(&client, 100).await;
        gateway.metric("ringback_challenges_open", 20).await;
        gateway.metric("ringback_jobs_unacked", 50).await;
        assert_eq!(client.depth("ringback.jobs").await, 30);
        gateway.kill();
        alone_but(&client).await;
        assert_eq!(client.depth("ringback.jobs").await, 80);
    });
}

/// An asker whose queue is gone: the operator sees it while there is time, and nothing of it is lost.
fn no_queue() {
    run(async {
        let mut gateway = Gateway::new("nowhere", "", "").await;
        let client = Client::at(&gateway.url).await;
        gateway.start().await;
        send(&client, 2).await;
        // Each is told of as accepted, sent and delivered.
        gateway.metric("ringback_reports_returned_waiting", 6).await;
        gateway.metric("ringback_reports_pending", 6).await;
        let returned = gateway.value("ringback_reports_returned_total").await;
        assert!(returned >= Some(6.0), "{returned:?}");
        assert_eq!(gateway.lines("reports come back from the broker"), 1);
        let ready = get(gateway.admin, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        assert!(ready.contains("6 reports wait because no queue"), "{ready}");
        // Ten seconds later by their age too; none has waited for longer.
        let by_age =
            |at_least: &str| format!("ringback_reports_pending_by_age{{at_least=\"{at_least}\"}}");
        gateway.metric(&by_age("10s"), 6).await;
        assert_eq!(gateway.value(&by_age("10m")).await, Some(0.0));
        client.queue("answers").await;
        assert_eq!(finals(&client, 2).await, ["p-0", "p-1"]);
        gateway.metric(&by_age("10s"), 0).await;
        gateway.metric("ringback_reports_returned_waiting", 0).await;
        until("its end to be told", || {
            gateway.lines("no report comes back any more") == 1
        })
        .await;
        assert_eq!(gateway.stop().await, Some(0));
    });
}

fn lost() {
    run(async {
        let mut gateway = Gateway::new("lost", "", "").await;
        gateway.start().await;
        tokio::task::spawn_blocking(rabbit::restart).await.unwrap();
        // Jobs and reports have a connection each.
        until("both to be there again", || {
            gateway.lines("connected to the broker again") == 2
        })
        .await;
        assert_eq!(gateway.lines("no connection to the broker;"), 2);
        assert_eq!(gateway.lines(" WARN "), 2, "{}", gateway.log());
        assert_eq!(gateway.lines(" ERROR "), 0, "{}", gateway.log());
        assert_eq!(gateway.stop().await, Some(0));
    });
}

/// The broker knows that the gateway's connections have ended, and has put back what they held.
async fn alone_but(client: &Client) {
    until("the broker to miss the gateway", || {
        let connections = rabbit::ctl(&["-q", "list_connections", "client_properties"]);
        !connections.contains("ringback jobs")
    })
    .await;
    let mut depth = client.depth("ringback.jobs").await;
    loop {
        // Put back in steps: two answers alike, and it is done.
        let again = client.depth("ringback.jobs").await;
        if std::mem::replace(&mut depth, again) == again {
            break;
        }
    }
}

/// Taken off the queue one by one, each with the job that was sealed; the rest stays.
fn letters() {
    run(async {
        let mut gateway = Gateway::new("letters", "", "").await;
        gateway.start().await;
        let client = Client::at(&gateway.url).await;
        let jobs = ["fax-1", "fax-2", "no JSON: 987654321"];
        for job in &jobs[..2] {
            let body = format!(r#"{{"id":"{job}","to":"+14255550123","method":"fax"}}"#);
            bury(&client, body.as_bytes()).await;
        }
        bury(&client, jobs[2].as_bytes()).await;
        deep(&client, 3).await;

        let (status, taken) = gateway.letters(&["--take", "1"]);
        assert_eq!((status, taken.len()), (Some(0), 1), "{taken:?}");
        assert_eq!(taken[0]["reason"], "bad_job");
        assert_eq!(taken[0]["body"]["id"], jobs[0]);
        assert_eq!(taken[0]["sealed"], serde_json::Value::Null);
        deep(&client, 2).await;

        // As they stand in the queue, from a file; one that was changed is told apart.
        let records = client.take("ringback.dead", 2).await;
        let mut text: Vec<u8> = records.iter().flat_map(|r| r.data.clone()).collect();
        let forged = br#"{"v":1,"reason":"bad_job","sealed":"AAAA"}"#;
        text.extend(forged);
        let file = gateway.folder.join("dead.json");
        std::fs::write(&file, text).expect("a file");
        let (status, opened) = gateway.letters(&[&file.display().to_string()]);
        assert_eq!((status, opened.len()), (Some(1), 3), "{opened:?}");
        assert_eq!(opened[0]["body"]["id"], jobs[1]);
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(jobs[2]);
        assert_eq!(opened[1]["body_base64"], body);
        let why = opened[2]["unopened"].as_str().unwrap_or_default();
        assert!(why.contains("version 0"), "{opened:?}");

        let (status, none) = gateway.letters(&["--take", "5"]);
        assert_eq!((status, none.len()), (Some(0), 0));
        assert_eq!(gateway.stop().await, Some(0));
    });
}

/// A job that is none.
async fn bury(client: &Client, body: &[u8]) {
    let properties = BasicProperties::default();
    client
        .publish("ringback", "challenge", body, properties)
        .await;
}

/// So many dead letters are in the queue.
async fn deep(client: &Client, count: u32) {
    within("dead letters", async {
        while client.depth("ringback.dead").await != count {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}
