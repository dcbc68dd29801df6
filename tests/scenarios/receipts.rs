//! Receipts: early, late, contradicting, for nobody in particular; and what a crash leaves of them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringback::{
    challenge::{Challenge, Method},
    config::Config,
    core::Unobserved,
    dispatch::{CarrierView, Query},
    gateway::{Prepared, Publishing, Service},
    intake::{Arrival, Job, Ticket},
    ledger::{OutboxReport, Target},
};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::{
    smsc::Smsc,
    world::{Folder, LIMIT, challenge, prompts},
};

/// Copies for everybody, in the order in which they were published.
#[derive(Clone)]
struct Exchange {
    reports: Arc<Mutex<Vec<Value>>>,
    news: watch::Sender<u64>,
}

impl Exchange {
    fn of(&self, id: &str) -> Vec<Value> {
        let all = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.iter().filter(|report| report["challenge"] == id);
        of.cloned().collect()
    }

    fn late(&self, id: &str) -> Vec<(u64, String)> {
        let late = self.of(id).into_iter().filter(|r| r["event"] == "late");
        late.map(|r| {
            let reason = r["reason"].as_str().unwrap_or("").to_owned();
            (r["seq"].as_u64().unwrap_or(0), reason)
        })
        .collect()
    }

    async fn until<T>(&self, what: &str, found: impl Fn(&Exchange) -> Option<T>) -> T {
        let mut news = self.news.subscribe();
        let wait = async {
            loop {
                if let Some(value) = found(self) {
                    return value;
                }
                news.changed().await.expect("the exchange lives on");
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .unwrap_or_else(|_| panic!("{what}: not in time; heard so far: {:#?}", self.reports))
    }

    async fn last(&self, id: &str) -> Value {
        let last = |e: &Exchange| e.of(id).into_iter().find(|r| r["final"] == true);
        self.until(id, last).await
    }

    async fn late_reports(&self, id: &str, count: usize) -> Vec<(u64, String)> {
        let late = |e: &Exchange| Some(e.late(id)).filter(|late| late.len() >= count);
        self.until(&format!("{count} late reports of {id}"), late)
            .await
    }
}

struct Rig {
    folder: Folder,
    first: Smsc,
    second: Smsc,
    exchange: Exchange,
    gateway: Service,
}

const ROUTE: &str = "[[sms]]\ncarrier = \"first\"\nsenders = [\"97671\"]\n\
                     [[sms]]\ntier = 2\ncarrier = \"second\"\nsenders = [\"97671\"]\n";
const TWO_SENDERS: &str = "[[sms]]\ncarrier = \"first\"\nsenders = [\"97671\", \"69829\"]\n";
const SENDERS: &str = "[[sender]]\nid = \"97671\"\nkind = \"short_code\"\ncountries = [\"US\"]\nprogramme = \"mfa\"\n\
                       [[sender]]\nid = \"69829\"\nkind = \"short_code\"\ncountries = [\"US\"]\nprogramme = \"mfa\"\n";

/// A gateway with two carriers of which the scenario says every word; the second is asked after the first.
async fn rig() -> Rig {
    rig_with(ROUTE).await
}

async fn rig_with(route: &str) -> Rig {
    let (first, second) = (Smsc::start().await, Smsc::start().await);
    let folder = Folder::new();
    for (name, smsc) in [("first", &first), ("second", &second)] {
        let text = format!(
            "transport = \"smpp\"\nendpoints = [\"{}\"]\nsystem_id = \"mfa\"\nresponse_timeout = \"2s\"\nwindow = 500\n",
            smsc.address
        );
        folder.write(&format!("carriers/{name}.toml"), &text);
    }
    folder.write("routes/us.toml", route);
    folder.write("routes/senders.toml", SENDERS);
    folder.write(
        "ringback.toml",
        &format!(
            "[node]\nname = \"test\"\n[paths]\nprompts = {:?}\n",
            prompts().display().to_string()
        ),
    );
    let exchange = Exchange {
        reports: Arc::default(),
        news: watch::Sender::new(0),
    };
    let gateway = start(&folder, &exchange).await;
    let rig = Rig {
        folder,
        first,
        second,
        exchange,
        gateway,
    };
    rig.healthy().await;
    rig
}

async fn start(folder: &Folder, exchange: &Exchange) -> Service {
    let config = Config::load(&folder.0.join("ringback.toml")).unwrap_or_else(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        panic!("the scenario's configuration:\n{}", lines.join("\n"))
    });
    let prepared = Prepared::open(config, Box::new(Unobserved)).expect("a gateway");
    let (exchange, published) = (exchange.clone(), prepared.published.clone());
    let publish = Box::new(move |report: OutboxReport| {
        if matches!(report.target, Target::Exchange { .. }) {
            let body = serde_json::from_slice(&report.body).expect("a report is JSON");
            let mut all = exchange
                .reports
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.push(body);
            exchange.news.send_modify(|n| *n += 1);
        }
        // Full: the report stays in the ledger, which hurts no scenario.
        let _ = published.try_send(vec![report.report]);
    });
    let publishing = Some(Publishing { publish });
    prepared.start(publishing).await.expect("a running gateway")
}

impl Rig {
    async fn send(&self, ch: Challenge) {
        let arrival = Arrival {
            job: Job::Challenge(Box::new(ch)),
            ticket: Ticket::None,
        };
        let jobs = &self.gateway.intake.jobs;
        jobs.send(arrival).await.expect("the gateway takes jobs");
    }

    /// Sends a text and waits until the first carrier has it.
    async fn text(&self, id: &str, to: &str) -> crate::smsc::Submit {
        let before = self.first.submits().len();
        self.send(challenge(id, to, Method::SmsCode)).await;
        self.first.submitted(before + 1).await.remove(before)
    }

    async fn sent(&self, id: &str) {
        let sent = |e: &Exchange| e.of(id).into_iter().find(|r| r["event"] == "sent");
        self.exchange.until(id, sent).await;
    }

    /// A text that the carrier took and then brought back as undeliverable.
    async fn undelivered(&self, id: &str, to: &str, reference: &str) {
        let submit = self.text(id, to).await;
        self.first
            .accept(&submit, &[reference.as_bytes(), b"\0"].concat());
        self.first.receipt(reference, &to[1..], "UNDELIV");
        let last = self.exchange.last(id).await;
        assert_eq!(last["event"], "undelivered", "{last:#}");
    }

    /// As after `kill -9`: another gateway goes on with what the disk held at this moment.
    async fn crash(mut self) -> Rig {
        let copy = Folder::new();
        copy_all(&self.folder.0, &copy.0);
        self.gateway.drain(Duration::ZERO).await;
        self.gateway = start(&copy, &self.exchange).await;
        self.folder = copy;
        self.healthy().await;
        self
    }

    /// Both carriers are bound.
    async fn healthy(&self) {
        let began = std::time::Instant::now();
        while self.carriers().await.iter().any(|c| c.state != "healthy") {
            assert!(began.elapsed() < LIMIT, "{:?}", self.carriers().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn carriers(&self) -> Vec<CarrierView> {
        let (ask, answer) = oneshot::channel();
        let queries = &self.gateway.queries;
        queries
            .send(Query::Carriers(ask))
            .await
            .expect("dispatch is there");
        answer.await.expect("dispatch answers")
    }
}

/// SQLite's `-shm` is made anew; locks are the other process's.
fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            std::fs::create_dir_all(to.join(&name)).expect("a folder");
            copy_all(&path, &to.join(&name));
        } else if !name.ends_with("-shm") && !name.contains(".lock") {
            std::fs::copy(&path, to.join(&name)).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_receipt_that_was_answered_survives_a_crash() {
    let rig = rig().await;
    rig.text("c-1", "+12025550123").await;
    // Its submit is never answered.
    let receipt = rig.first.receipt("E1", "12025550123", "DELIVRD");
    assert_eq!(rig.first.answered(receipt).await, 0);
    let rig = rig.crash().await;
    let last = rig.exchange.last("c-1").await;
    assert_eq!(last["event"], "delivered", "{last:#}");
    assert_eq!(rig.first.submits().len(), 1, "not sent again");
    assert_eq!(rig.second.submits().len(), 0, "no second text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_overtook_an_answer_that_never_comes_saves_the_second_text() {
    let rig = rig().await;
    rig.text("d-1", "+12025550123").await;
    let receipt = rig.first.receipt("E1", "+1 202 555 0123", "DELIVRD");
    assert_eq!(rig.first.answered(receipt).await, 0);
    let last = rig.exchange.last("d-1").await;
    assert_eq!(last["event"], "delivered", "{last:#}");
    assert_eq!(last["in_doubt"], true, "{last:#}");
    assert_eq!(rig.second.submits().len(), 0, "no second text: {last:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_the_response_can_tell_the_carrier_is_answered_after_it() {
    let rig = rig().await;
    let submit = rig.text("w-1", "+12025550123").await;
    // It names no phone: after a crash nothing could find its text.
    let receipt = rig.first.receipt("E1", "", "DELIVRD");
    let other = rig.first.receipt("E2", "12025559999", "DELIVRD");
    assert_eq!(rig.first.answered(other).await, 0);
    assert_eq!(rig.first.answer_to(receipt), None);
    rig.first.accept(&submit, b"E1\0");
    let last = rig.exchange.last("w-1").await;
    assert_eq!(last["event"], "delivered", "{last:#}");
    assert_eq!(rig.first.answered(receipt).await, 0);
    // Nothing can tell: it shall come again.
    rig.text("w-2", "+12025550124").await;
    let receipt = rig.first.receipt("E7", "", "DELIVRD");
    assert_eq!(rig.first.answered(receipt).await, 0x14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_contradicts_the_final_is_told_once_also_after_a_restart() {
    let rig = rig().await;
    rig.undelivered("l-1", "+12025550123", "A1").await;
    rig.undelivered("l-2", "+12025550124", "A2").await;
    let last = rig.exchange.last("l-1").await["seq"]
        .as_u64()
        .expect("a number");
    for state in ["UNDELIV", "DELIVRD", "DELIVRD", "UNDELIV", "REJECTD"] {
        rig.first.receipt("A1", "12025550123", state);
    }
    // Looked up after those before it.
    rig.first.receipt("A2", "12025550124", "DELIVRD");
    rig.exchange.late_reports("l-2", 1).await;
    let told = [
        (last + 1, "delivered".to_owned()),
        (last + 2, "rejected".to_owned()),
    ];
    assert_eq!(rig.exchange.late("l-1"), told);
    let rig = rig.crash().await;
    rig.text("l-3", "+12025550125").await; // the new session is bound
    for state in ["DELIVRD", "EXPIRED", "REJECTD"] {
        rig.first.receipt("A1", "12025550123", state);
    }
    rig.first.receipt("A2", "12025550124", "REJECTD");
    rig.exchange.late_reports("l-2", 2).await;
    let mut told = told.to_vec();
    told.push((last + 3, "expired".to_owned()));
    assert_eq!(rig.exchange.late("l-1"), told);
    let ids: std::collections::BTreeSet<String> = rig
        .exchange
        .of("l-1")
        .iter()
        .map(|r| r["report_id"].to_string())
        .collect();
    assert_eq!(ids.len(), rig.exchange.of("l-1").len(), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_text_that_is_then_undeliverable_is_told_late_and_once() {
    let rig = rig().await;
    let submit = rig.text("u-1", "+12025550123").await;
    rig.first.accept(&submit, b"U1\0");
    rig.first.receipt("U1", "12025550123", "DELIVRD");
    let last = rig.exchange.last("u-1").await;
    assert_eq!(last["event"], "delivered", "{last:#}");
    let seq = last["seq"].as_u64().expect("a number");
    rig.undelivered("u-2", "+12025550124", "U2").await;
    for state in ["DELIVRD", "UNDELIV", "UNDELIV", "DELIVRD"] {
        rig.first.receipt("U1", "12025550123", state);
    }
    // Looked up after those before it.
    rig.first.receipt("U2", "12025550124", "DELIVRD");
    rig.exchange.late_reports("u-2", 1).await;
    let told = [(seq + 1, "undelivered".to_owned())];
    assert_eq!(rig.exchange.late("u-1"), told);
    let late = rig.exchange.of("u-1").pop().expect("a report");
    assert_eq!(
        (&late["event"], &late["final"]),
        (&"late".into(), &false.into()),
        "{late:#}"
    );
    let finals = rig.exchange.of("u-1").into_iter();
    assert_eq!(finals.filter(|r| r["final"] == true).count(), 1);
    assert_eq!(rig.second.submits().len(), 0, "no second text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_late_receipts_is_told_in_full() {
    const ALL: usize = 300;
    let rig = rig().await;
    let number = |n: usize| format!("+1202555{:04}", 1_000 + n);
    let id = |n: usize| format!("b-{n}");
    for n in 0..ALL {
        rig.send(challenge(&id(n), &number(n), Method::SmsCode))
            .await;
    }
    for submit in rig.first.submitted(ALL).await {
        rig.first
            .accept(&submit, format!("R{}\0", submit.to).as_bytes());
        rig.first
            .receipt(&format!("R{}", submit.to), &submit.to, "UNDELIV");
    }
    for n in 0..ALL {
        rig.exchange.last(&id(n)).await;
    }
    let receipts: Vec<u32> = (0..ALL)
        .map(|n| {
            rig.first
                .receipt(&format!("R{}", &number(n)[1..]), &number(n)[1..], "DELIVRD")
        })
        .collect();
    for receipt in receipts {
        assert_eq!(rig.first.answered(receipt).await, 0);
    }
    for n in 0..ALL {
        let late = rig.exchange.late_reports(&id(n), 1).await;
        assert_eq!(late.len(), 1, "{late:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_id_for_everybody_the_phone_decides() {
    let rig = rig().await;
    let phones: Vec<String> = (0..8).map(|n| format!("+1202555010{n}")).collect();
    for (n, phone) in phones.iter().enumerate() {
        let id = format!("o-{n}");
        let submit = rig.text(&id, phone).await;
        rig.first.accept(&submit, b"1\0");
        rig.sent(&id).await;
    }
    // Nothing decides: not believed, and said.
    let nameless = rig.first.receipt("1", "", "DELIVRD");
    assert_eq!(rig.first.answered(nameless).await, 0);
    let view = rig.carriers().await.remove(0);
    assert_eq!(&*view.name, "first");
    assert!(
        view.receipts
            .as_deref()
            .unwrap_or("")
            .contains("can't be told apart"),
        "{view:?}"
    );
    let written = [
        "12025550100",
        "+12025550101",
        "0012025550102",
        "2025550103",
        "01112025550104",
        "1-202-555-0105",
        "12025550106",
        "12025550107",
    ];
    for (n, phone) in written.iter().enumerate() {
        let state = if n == 6 { "DELIVRD" } else { "UNDELIV" };
        rig.first.receipt("1", phone, state);
    }
    for n in 0..phones.len() {
        let last = rig.exchange.last(&format!("o-{n}")).await;
        let event = if n == 6 { "delivered" } else { "undelivered" };
        assert_eq!(last["event"], event, "{n}: {last:#}");
    }
    // And after the end, where the ledger knows all of them by one id.
    rig.first.receipt("1", "2025550102", "DELIVRD");
    rig.exchange.late_reports("o-2", 1).await;
    for n in 0..phones.len() {
        let late = rig.exchange.late(&format!("o-{n}"));
        assert_eq!(late.len(), usize::from(n == 2), "{n}: {late:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_another_phone_is_not_believed() {
    let rig = rig().await;
    let submit = rig.text("p-1", "+12025550123").await;
    rig.first.accept(&submit, b"16\0");
    rig.sent("p-1").await;
    for (id, phone) in [
        ("16", "12025550199"), // another user of the same account
        ("22", ""),            // 16 in hexadecimal, and no phone that says so
        ("22", "12025550199"),
    ] {
        let receipt = rig.first.receipt(id, phone, "UNDELIV");
        assert_eq!(rig.first.answered(receipt).await, 0);
    }
    rig.first.receipt("22", "2025550123", "DELIVRD");
    let last = rig.exchange.last("p-1").await;
    assert_eq!(last["event"], "delivered", "{last:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_are_found_however_they_are_padded_or_placed() {
    let rig = rig().await;
    for (n, (body, id, phone)) in [
        (&b"A1B2  \0"[..], "A1B2", ""),
        (b"A1B3\r\n\0", "A1B3", ""),
        (b"\0\x00\x1E\x00\x05A1B4\0", "A1B4", ""),
        (b"a1b5\0", "A1B5", "12025550103"),
        // Taken without a reference: carrier, phone, sender and time.
        (b"\0", "whatever", "2025550104"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("i-{n}");
        let submit = rig.text(&name, &format!("+1202555010{n}")).await;
        rig.first.accept(&submit, body);
        rig.sent(&name).await;
        rig.first.receipt(id, phone, "DELIVRD");
        let last = rig.exchange.last(&name).await;
        assert_eq!(last["event"], "delivered", "{id}: {last:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_texts_to_one_phone_are_told_apart_by_their_senders() {
    let rig = rig_with(TWO_SENDERS).await;
    let mut submits = Vec::new();
    for id in ["s-1", "s-2"] {
        let submit = rig.text(id, "+12025550123").await;
        rig.first.accept(&submit, b"\0");
        rig.sent(id).await;
        submits.push(submit);
    }
    let (one, two) = (&submits[0].from, &submits[1].from);
    assert_ne!(one, two, "asked again, another sender is used");
    // By a sender of somebody else's: neither of them.
    let foreign = rig
        .first
        .receipt_to("W0", "12025550123", "12345", "UNDELIV");
    assert_eq!(rig.first.answered(foreign).await, 0);
    rig.first.receipt_to("W2", "12025550123", two, "UNDELIV");
    let last = rig.exchange.last("s-2").await;
    assert_eq!(last["event"], "undelivered", "{last:#}");
    rig.first.receipt_to("W1", "12025550123", one, "DELIVRD");
    let last = rig.exchange.last("s-1").await;
    assert_eq!(last["event"], "delivered", "{last:#}");
}
