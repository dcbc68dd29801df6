//! What is true of the SQLite ledger in particular: its file, its keys, its lock, its disk.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Fault, Sqlite, schema};
use crate::{
    admission::{LimitKeys, Limits},
    config::{
        carrier::Secret,
        settings::{LedgerUrl, OnLoss},
    },
    ledger::{
        conformance::{self, Home, Sealing, T0, end, limits, new, report, write},
        *,
    },
};

/// A folder of its own, gone with it.
struct Place {
    folder: PathBuf,
    keys: Vec<LedgerKey>,
}

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringback-ledger-{}-{n}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Place {
            folder,
            keys: Vec::new(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("data/ringback.db")
    }

    /// A key in a file of the folder.
    fn key(&self, id: &str, octet: u8) -> LedgerKey {
        let path = self.folder.join(id);
        std::fs::write(&path, hex::encode([octet; 32])).unwrap();
        LedgerKey {
            id: id.into(),
            key: Secret::File(path),
        }
    }

    fn settings(&self) -> LedgerSettings {
        LedgerSettings {
            url: LedgerUrl::Sqlite(self.file()),
            keys: self.keys.clone(),
            retention: Duration::from_secs(86_400),
            outcomes: Duration::ZERO,
            on_loss: OnLoss::Refuse,
        }
    }

    /// With a disk that can be made full.
    fn open_faulty(&self) -> (Ledger, DoneReceiver, Recovered, Arc<Fault>) {
        let store = Sqlite::open(&self.settings(), "gw-1").unwrap();
        let fault = store.fault.clone();
        let opened = Ledger::over(
            Box::new(store),
            &self.settings(),
            &limits(),
            conformance::WIPE,
        );
        let (ledger, done, recovered) = opened.unwrap();
        (ledger, done, recovered, fault)
    }

    fn octets(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("data")).unwrap() {
            all.extend(std::fs::read(entry.unwrap().path()).unwrap());
        }
        all
    }
}

impl Home for Place {
    fn open(&self) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
        Ledger::open(&self.settings(), "gw-1", &limits(), conformance::WIPE)
    }

    fn engine(&self, node: &str) -> (engine::Engine, Recovered) {
        let store = Sqlite::open(&self.settings(), node).unwrap();
        conformance::engine_over(Box::new(store), &self.settings())
    }

    fn spoil(&self, table: Sealing, key: i64) {
        let conn = rusqlite::Connection::open(self.file()).unwrap();
        let changed = conn.execute(
            match table {
                Sealing::Outbox => "UPDATE outbox SET body = zeroblob(40) WHERE report = ?",
                Sealing::Calls => "UPDATE calls SET state = zeroblob(40) WHERE challenge = ?",
                Sealing::Inbox => "UPDATE inbox SET body = zeroblob(40) WHERE message = ?",
            },
            [key],
        );
        assert_eq!(changed.unwrap(), 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Left behind at worst in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn refused(place: &Place) -> OpenError {
    place.open().err().expect("refused")
}

fn pragma(path: &Path, sql: &str) -> i64 {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn conforms() {
    conformance::all(|| Box::new(Place::new())).await;
}

#[tokio::test]
async fn one_process_at_a_time() {
    let place = Place::new();
    let (ledger, _done, _recovered) = place.open().unwrap();
    assert!(matches!(refused(&place), OpenError::InUse(_)));
    ledger.close().await;
    let (ledger, ..) = place.open().unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_newer_or_a_foreign_file_is_refused() {
    let place = Place::new();
    let (ledger, ..) = place.open().unwrap();
    ledger.close().await;
    let conn = rusqlite::Connection::open(place.file()).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&place).to_string();
    assert!(error.contains("version 99"), "{error}");
    conn.pragma_update(None, "application_id", 1).unwrap();
    assert!(matches!(refused(&place), OpenError::Foreign(_)));
    let other = Place::new();
    std::fs::create_dir_all(other.folder.join("data")).unwrap();
    std::fs::write(other.file(), "a letter to my aunt, not a database").unwrap();
    assert!(matches!(refused(&other), OpenError::Store { .. }));
    let left = std::fs::read_to_string(other.file()).unwrap();
    assert!(left.starts_with("a letter"));
}

#[tokio::test]
async fn a_key_is_made_once_and_asked_for_ever_after() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let (ledger, mut done, recovered) = place.open().unwrap();
    let key = recovered.first_challenge.0;
    write(&ledger, &mut done, vec![Op::Accept(new(key, "a"))]).await;
    ledger.close().await;
    let file = place.folder.join("data/ringback.db.key");
    let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&place.file())), (0o600, 0o600));
    let text = std::fs::read(&file).unwrap();
    let (ledger, ..) = place.open().unwrap();
    assert!(ledger.find("contoso-bank", "a").await.unwrap().is_some());
    ledger.close().await;
    assert_eq!(std::fs::read(&file).unwrap(), text);
    // Lost: no other is made in its place.
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(refused(&place), OpenError::MissingKey { .. }));
    assert!(!file.exists());
    std::fs::write(&file, text).unwrap();
    let (ledger, ..) = place.open().unwrap();
    assert!(ledger.find("contoso-bank", "a").await.unwrap().is_some());
    ledger.close().await;
}

#[tokio::test]
async fn a_wrong_key_is_named_and_nothing_is_lost() {
    let mut place = Place::new();
    place.keys = vec![place.key("k1", 1)];
    let (ledger, mut done, recovered) = place.open().unwrap();
    let key = recovered.first_challenge.0;
    write(&ledger, &mut done, vec![Op::Accept(new(key, "a"))]).await;
    ledger.close().await;
    let before = std::fs::read(place.file()).unwrap();
    place.keys = vec![place.key("k1", 2)];
    let error = refused(&place);
    assert!(
        matches!(&error, OpenError::WrongKey { id, .. } if id == "k1"),
        "{error}"
    );
    place.keys = vec![place.key("k2", 2)];
    let error = refused(&place);
    assert!(
        matches!(&error, OpenError::MissingKey { id, .. } if id == "k1"),
        "{error}"
    );
    std::fs::write(place.folder.join("k2"), "too short").unwrap();
    assert!(matches!(refused(&place), OpenError::Key { .. }));
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
    place.keys = vec![place.key("k1", 1)];
    let (ledger, ..) = place.open().unwrap();
    assert!(ledger.find("contoso-bank", "a").await.unwrap().is_some());
    ledger.close().await;
}

/// A challenge with all that hangs on it.
fn full(key: i64, id: &str) -> Vec<Op> {
    let target = Target::ReplyTo {
        queue: "bank.replies".into(),
        correlation_id: Some("user-77@bank".into()),
    };
    vec![
        Op::Accept(new(key, id)),
        Op::Reference {
            carrier: "northwind".into(),
            reference: format!("ref-of-{id}").into(),
            key: AttemptKey {
                challenge: ChallengeKey(key),
                attempt: 1,
            },
            part: 0,
            phone: None,
        },
        Op::Report(Box::new(report(key * 2, key, 1, target))),
        Op::Report(Box::new(report(key * 2 + 1, key, 1, Target::Http))),
        end(key, T0),
    ]
}

#[tokio::test]
async fn keys_are_rotated_live() {
    let mut place = Place::new();
    place.keys = vec![place.key("k1", 1)];
    let (ledger, mut done, recovered) = place.open().unwrap();
    let first = recovered.first_challenge.0;
    for n in 0..600 {
        write(&ledger, &mut done, full(first + n, &format!("old-{n}"))).await;
    }
    let before = ledger.newest(1_000).await.unwrap();
    let both = vec![place.key("k2", 2), place.key("k1", 1)];
    ledger.rotate(both.clone()).await.unwrap();
    // At once, while most rows are as they were.
    let said = write(
        &ledger,
        &mut done,
        vec![Op::Accept(new(first + 900, "old-3"))],
    )
    .await;
    assert_eq!(said.known.len(), 1);
    let said = write(&ledger, &mut done, full(first + 901, "new-1")).await;
    assert!(said.known.is_empty());
    assert!(
        ledger
            .find("contoso-bank", "old-599")
            .await
            .unwrap()
            .is_some()
    );
    while ledger.housekeep(T0).await.unwrap() {}
    ledger.close().await;
    assert_eq!(
        pragma(&place.file(), "SELECT count(*) FROM keys WHERE sealed"),
        1
    );

    // The old key opens nothing any more: only references are lost with it.
    place.keys = vec![place.key("k2", 2)];
    let (ledger, mut done, recovered) = place.open().unwrap();
    let mut after = ledger.newest(1_000).await.unwrap();
    assert_eq!(&*after.remove(0).id, "new-1");
    assert_eq!(after, before);
    let key = recovered.first_challenge.0;
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key, "old-3"))]).await;
    assert_eq!(said.known.len(), 1);
    let waiting = ledger.pending_reports(ReportKey(0), 1_000).await.unwrap();
    assert_eq!(waiting.len(), 601);
    let heard = ledger.reports_of(ChallengeKey(first), 0).await.unwrap();
    assert_eq!(heard.len(), 1);
    let found = ledger.find_reference("northwind", "ref-of-old-3").await;
    assert_eq!(found.unwrap(), None);
    ledger.close().await;
    place.keys = both;
    let (ledger, ..) = place.open().unwrap();
    let found = ledger.find_reference("northwind", "ref-of-old-3").await;
    assert!(found.unwrap().is_some());
    ledger.close().await;
}

#[tokio::test]
async fn nothing_personal_is_in_the_files_in_clear() {
    let place = Place::new();
    let (ledger, mut done, recovered) = place.open().unwrap();
    let key = recovered.first_challenge.0;
    let early = Op::Early(PendingControl {
        tenant: "contoso-bank".into(),
        id: "early-bird".into(),
        word: ControlMessage::Cancel,
        until: T0,
        elsewhere: false,
        claim: None,
    });
    let mut ops = full(key, "login-of-alice");
    ops.push(early);
    ops.push(Op::Inbox(Box::new(InboxMessage {
        key: recovered.first_message,
        at: T0,
        body: b"receipt-of-15550109".to_vec(),
    })));
    write(&ledger, &mut done, ops).await;
    let secrets = [
        "14255550142",
        "482913",
        "contoso-bank",
        "login-of-alice",
        "early-bird",
        "user-77@bank",
        "ref-of-login-of-alice",
        "life at the end",
        "receipt-of-15550109",
    ];
    let found = |text: &str| {
        let octets = place.octets();
        octets.windows(text.len()).any(|w| w == text.as_bytes())
    };
    // The search itself works: a queue's name may stand there.
    assert!(found("bank.replies"));
    for secret in secrets {
        assert!(!found(secret), "{secret}");
    }
    ledger.close().await;
    for secret in secrets {
        assert!(!found(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let place = Place::new();
    let (ledger, mut done, recovered, fault) = place.open_faulty();
    let key = recovered.first_challenge.0;
    write(&ledger, &mut done, vec![Op::Accept(new(key, "before"))]).await;
    fault.max_pages.store(1, Ordering::SeqCst);
    let batch = |n: i64| Batch {
        number: n as u64,
        ops: (0..100)
            .flat_map(|m| full(key + n * 100 + m, &format!("{n}-{m}")))
            .collect(),
    };
    for n in 1..=5 {
        ledger.submit(batch(n)).await.unwrap();
    }
    while ledger.healthy().is_ok() {
        tokio::task::yield_now().await;
    }
    let reason = ledger.healthy().unwrap_err().to_string();
    assert!(reason.contains("full"), "{reason}");
    let stored = ledger.find("contoso-bank", "5-99").await.unwrap();
    assert!(stored.is_none(), "rolled back");
    fault.max_pages.store(1 << 30, Ordering::SeqCst);
    for n in 1..=5 {
        let done = done.recv().await.unwrap();
        assert_eq!(done.number, n);
        assert!(done.known.is_empty() && done.refused.is_empty());
    }
    assert_eq!(ledger.healthy(), Ok(()));
    assert!(ledger.find("contoso-bank", "5-99").await.unwrap().is_some());
    ledger.close().await;
    let check = rusqlite::Connection::open(place.file()).unwrap();
    let word: String = check
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(word, "ok");
}

#[tokio::test]
async fn what_counts_for_the_limiter_outlives_wiping_a_restart_and_a_change_of_keys() {
    let none = Limits {
        per_user: None,
        per_number: None,
        per_prefix: None,
        per_country: None,
        per_tenant: None,
        ..limits()
    };
    let none = Arc::new(none);
    let unlimited = |keys| LimitCheck {
        keys,
        limits: none.clone(),
    };
    let mut place = Place::new();
    place.keys = vec![place.key("k1", 1)];
    let (ledger, mut done, recovered) = place.open().unwrap();
    let (first, secret) = (recovered.first_challenge.0, recovered.limiter);
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let mut written = Vec::new();
    for n in 0..40 {
        let mut one = new(first + n, &format!("l-{n}"));
        one.arrived = T0 + minutes(n as u64);
        one.deadline = one.arrived + minutes(3);
        // Each fourth the limiter has refused itself.
        let keys = [n as u64 + 1, 7, 0, 8, 9];
        if n % 4 != 3 {
            one.limits = Some(unlimited(keys));
            written.push((one.arrived, keys));
        }
        let at = one.arrived;
        write(
            &ledger,
            &mut done,
            vec![Op::Accept(one), end(first + n, at)],
        )
        .await;
    }
    while ledger.housekeep(T0 + minutes(120)).await.unwrap() {}
    let wiped = ledger.get(ChallengeKey(first)).await.unwrap().unwrap();
    assert!(wiped.job.is_empty(), "number and user are gone by then");
    ledger
        .rotate(vec![place.key("k2", 2), place.key("k1", 1)])
        .await
        .unwrap();
    while ledger.housekeep(T0 + minutes(120)).await.unwrap() {}
    ledger.close().await;

    place.keys = vec![place.key("k2", 2)];
    let (ledger, _done, mut recovered) = place.open().unwrap();
    assert_eq!(recovered.limiter, secret);
    for since in [0, 10, 39] {
        let mut found = Vec::new();
        let each = |at, keys: &LimitKeys| found.push((at, *keys));
        recovered.arrivals(T0 + minutes(since), each).unwrap();
        let wanted = written.iter().filter(|(at, _)| *at >= T0 + minutes(since));
        assert_eq!(found, wanted.copied().collect::<Vec<_>>());
    }
    ledger.close().await;
}

#[tokio::test]
async fn what_its_asker_gave_up_is_never_written() {
    let place = Place::new();
    let (ledger, mut done, recovered) = place.open().unwrap();
    let first = recovered.first_challenge.0;
    let (gone, waits) = (Claim::default(), Claim::default());
    assert!(gone.give_up());
    let claimed = |key, id, claim: &Claim| {
        let mut one = new(key, id);
        one.claim = Some(claim.clone());
        Op::Accept(one)
    };
    let ops = vec![
        claimed(first, "gone", &gone),
        Op::Report(Box::new(report(
            recovered.first_report.0,
            first,
            1,
            Target::Http,
        ))),
        claimed(first + 1, "waits", &waits),
    ];
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!(said.lost, [ChallengeKey(first)]);
    assert!(said.known.is_empty() && said.refused.is_empty());
    assert!(!waits.give_up(), "written: the answer is on its way");
    assert!(ledger.find("contoso-bank", "gone").await.unwrap().is_none());
    assert!(
        ledger
            .find("contoso-bank", "waits")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        ledger
            .reports_of(ChallengeKey(first), 0)
            .await
            .unwrap()
            .is_empty()
    );
    // Its id is free for the next.
    let said = write(&ledger, &mut done, vec![Op::Accept(new(first + 2, "gone"))]).await;
    assert!(said.known.is_empty() && said.lost.is_empty());
    ledger.close().await;
}

#[tokio::test]
async fn done_is_said_once_the_disk_has_it() {
    let place = Place::new();
    let (ledger, mut done, recovered) = place.open().unwrap();
    let held = rusqlite::Connection::open(place.file()).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ops = vec![Op::Accept(new(recovered.first_challenge.0, "a"))];
    ledger.submit(Batch { number: 1, ops }).await.unwrap();
    while ledger.healthy().is_ok() {
        assert!(done.try_recv().is_err());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(done.try_recv().is_err());
    held.execute_batch("ROLLBACK").unwrap();
    assert_eq!(done.recv().await.unwrap().number, 1);
    assert!(ledger.healthy().is_ok());
    // FULL: a commit is on the disk when it returns, also through a loss of power.
    let writer = schema::open_writer(&place.file()).unwrap();
    let synchronous: i64 = writer
        .query_row("PRAGMA synchronous", [], |row| row.get(0))
        .unwrap();
    assert_eq!(synchronous, 2);
    ledger.close().await;
}

#[tokio::test]
async fn a_record_of_an_unknown_version_is_refused_aloud_and_kept() {
    let place = Place::new();
    let (ledger, mut done, recovered) = place.open().unwrap();
    let key = recovered.first_challenge.0;
    let ops = vec![
        Op::Accept(new(key, "later")),
        Op::Report(Box::new(report(1, key, 1, Target::Http))),
        end(key, T0),
        Op::Accept(new(key + 1, "ours")),
    ];
    write(&ledger, &mut done, ops).await;
    ledger.close().await;
    let row = || {
        let conn = rusqlite::Connection::open(place.file()).unwrap();
        conn.query_row("SELECT hex(life) FROM challenges LIMIT 1", [], |row| {
            row.get::<_, String>(0)
        })
        .unwrap()
    };
    let conn = rusqlite::Connection::open(place.file()).unwrap();
    // The version is the first octet.
    conn.execute(
        "UPDATE challenges SET life = unhex('09' || substr(hex(life), 3)) WHERE key = ?",
        [key],
    )
    .unwrap();
    drop(conn);
    let before = row();
    assert!(before.starts_with("09"));

    let (ledger, mut done, mut recovered) = place.open().unwrap();
    let page = recovered.next_page(T0).unwrap();
    assert_eq!(page.len(), 1, "the others are taken up");
    let error = ledger.get(ChallengeKey(key)).await.unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");
    // Its id stays taken.
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key + 9, "later"))]).await;
    assert_eq!(said.known.len(), 1);
    // Nor is it wiped: nothing of it could be stripped. With retention it goes, as everything does.
    let at = |seconds| T0 + Duration::from_secs(seconds);
    while ledger.housekeep(at(400)).await.unwrap() {}
    assert_eq!(row(), before);
    let kept = ledger.reports_of(ChallengeKey(key), 0).await.unwrap();
    assert_eq!(kept.len(), 1);
    while ledger.housekeep(at(86_401)).await.unwrap() {}
    assert!(ledger.get(ChallengeKey(key)).await.unwrap().is_none());
    ledger.close().await;
}
