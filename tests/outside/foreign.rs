//! A foreign SMPP server as the carrier: somebody else's library reads every octet of a thousand texts.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    ALONE,
    broker::Broker,
    caller::{Caller, Letter},
    gateway::{Gateway, get, tail},
    jobs::letter,
    town::Town,
};

const TEXTS: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Each alphabet, one part and several, and the characters that cost two.
const WORDS: [&str; 6] = [
    "Your code is {code}.",
    "[{code}] ~ ^ {} \\ | € is yours",
    "Ваш код {code}",
    "Your code is {code} 🔐, tell nobody",
    "Your code is {code}. It is asked for by the server that you have just now signed in to, and by nobody else; \
     whoever asks you for it by telephone is a thief. This text is longer than one part can carry.",
    "验证码 {code}。请勿告诉任何人。验证码 {code}。请勿告诉任何人。验证码 {code}。请勿告诉任何人。请勿告诉任何人。\
     请勿告诉任何人。请勿告诉任何人。",
];

/// The python that has the library, as RINGBACK_TEST_PYTHON or any; None: no library, and nobody insists.
async fn python() -> Option<String> {
    let python = std::env::var("RINGBACK_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut probe = Command::new(&python);
    probe.args(["-c", "import smpp34"]).stderr(Stdio::null());
    if probe.status().await.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(
        std::env::var_os("RINGBACK_PEERS").is_none(),
        "the foreign SMPP peer is missing: pip install -r tests/peers/smpp/requirements.txt"
    );
    eprintln!("not run: the foreign SMPP peer is missing (tests/peers/smpp/requirements.txt)");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_smsc_reads_a_thousand_texts() {
    let _alone = ALONE.lock().await;
    let (Some(python), Some(broker)) = (python().await, Broker::find()) else {
        return;
    };
    let town = Town::build("foreign").await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/smpp/peer.py");
    let mut peer = Command::new(python)
        .arg(script)
        .args(["--until-eof", "--seconds", "200"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the peer starts");
    let mut said = BufReader::new(peer.stdout.take().expect("piped")).lines();
    let first = timeout(LIMIT, said.next_line()).await.expect("in time");
    let first: Value = serde_json::from_str(&first.expect("a line").expect("one")).expect("JSON");
    settle(&town, &first["listening"]);

    let caller = Caller::start(&broker.url, &town.name).await;
    let gateway = Gateway::start(&town, &broker.url, "info,lapin=warn").await;
    let letters: Vec<Letter> = (0..TEXTS).map(text).collect();
    caller.publish(&letters, 200).await;
    let all = caller.until(LIMIT, |c| c.ended().0 >= TEXTS).await;
    let open = (0..TEXTS).filter(|n| caller.story(&letters[*n].id).finals.is_empty());
    let mut kinds = [0; WORDS.len()];
    open.for_each(|n| kinds[n % WORDS.len()] += 1);
    let metrics = get(town.admin, "/metrics").await.unwrap_or_default();
    let receipts = metrics
        .lines()
        .filter(|l| l.starts_with("ringback_receipts_total"));
    assert!(
        all,
        "{} have ended; open, by their words: {kinds:?}\n{:#?}\n{}",
        caller.ended().0,
        receipts.collect::<Vec<_>>(),
        tail(&town)
    );
    for letter in &letters {
        let end = caller.story(&letter.id).finals.remove(0);
        assert_eq!(end["event"], "delivered", "{end:#}");
    }
    // At the end of its input it says what it has seen.
    drop(peer.stdin.take());
    let last = timeout(LIMIT, said.next_line()).await.expect("in time");
    let last: Value = serde_json::from_str(&last.expect("a line").expect("one")).expect("JSON");
    assert_eq!(last["decode_errors"], 0, "{last:#}");
    assert_eq!(last["texts"], TEXTS, "{last:#}");
    let status = timeout(LIMIT, peer.wait()).await.expect("in time");
    assert!(status.expect("a status").success(), "{last:#}");
    assert_eq!(gateway.drain().await, 0, "{}", tail(&town));
}

/// The only carrier there is, is the peer.
fn settle(town: &Town, port: &Value) {
    let port = port.as_u64().expect("a port");
    let carrier = format!(
        "transport = \"smpp\"\nendpoints = [\"127.0.0.1:{port}\"]\nsystem_id = \"mfa\"\nbinds = 2\n\
         response_timeout = \"10s\"\n"
    );
    let route = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    std::fs::write(town.folder.join("carriers/northwind.toml"), carrier).expect("a file");
    std::fs::write(town.folder.join("routes/us.toml"), route).expect("a file");
}

fn text(n: usize) -> Letter {
    let id = format!("foreign-{n}");
    let to = format!("+1{}{}{:04}", 202 + n % 2 * 10, 230 + n / 50, n % 8_999);
    let body = json!({
        "id": id, "to": to, "method": "sms_code", "code": format!("{}", 100_000 + n),
        "text": WORDS[n % WORDS.len()],
    });
    letter(&id, &body)
}
