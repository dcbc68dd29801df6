//! The ledger under `kill -9`: what was acknowledged is there, whatever the moment.
//!
//! The test starts itself again as a child that writes without end and prints what has become durable, kills it in
//! mid-write, opens the ledger, and looks. And what a start says that finds less than was durable: the WAL damaged, the
//! file emptied, gone, or another.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ringback::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    config::settings::{LedgerSettings, OnLoss},
    ledger::{
        Batch, DoneReceiver, Ledger, NewChallenge, Op, OpenError, OutboxReport, Recovered,
        ReportKey, Target, Wipe,
        check::{self, MarkStanding, Standing},
    },
};

fn settings(path: &Path, on_loss: OnLoss) -> LedgerSettings {
    LedgerSettings {
        path: path.to_path_buf(),
        keys: Vec::new(),
        retention: Duration::from_secs(86_400),
        outcomes: Duration::ZERO,
        on_loss,
    }
}

fn open(path: &Path) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
    open_as(&settings(path, OnLoss::Refuse))
}

fn open_as(settings: &LedgerSettings) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
    let wipe = Wipe {
        job: |_| Vec::new(),
        life: <[u8]>::to_vec,
        report: <[u8]>::to_vec,
        outcome: |_| Vec::new(),
    };
    Ledger::open(settings, "gw-1", wipe)
}

/// One challenge's ops of one step: accepted with a report; or gone on, found by a reference, and ended.
fn ops(key: i64, step: u8) -> Vec<Op> {
    let challenge = ChallengeKey(key);
    let report = |seq: u32| {
        Op::Report(Box::new(OutboxReport {
            report: ReportKey(key * 2 + i64::from(seq)),
            challenge,
            seq,
            target: Target::Exchange {
                routing_key: "sent.sms.us".into(),
                mandatory: true,
            },
            body: Arc::from(key.to_string().into_bytes()),
            is_final: seq == 1,
            until: T0,
        }))
    };
    match step {
        0 => vec![
            Op::Accept(Box::new(NewChallenge {
                key: challenge,
                tenant: "contoso-bank".into(),
                id: key.to_string().into(),
                content: [1; 32],
                arrived: T0,
                deadline: T0,
                job: format!("job {key}").into_bytes(),
                life: b"born".to_vec(),
                last: None,
                claim: None,
                limits: None,
            })),
            report(0),
        ],
        _ => vec![
            Op::Reference {
                carrier: "northwind".into(),
                reference: key.to_string().into(),
                key: AttemptKey {
                    challenge,
                    attempt: 1,
                },
                part: 0,
                phone: None,
            },
            Op::ReportDone {
                report: ReportKey(key * 2),
            },
            report(1),
            Op::End {
                key: challenge,
                life: b"over".to_vec(),
                last: format!("final {key}").into_bytes(),
                at: T0,
            },
        ],
    }
}

/// Not a test of its own: the child's part, told by the environment where to write.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ledger, mut done, recovered) = open(Path::new(&path)).unwrap();
        let first = recovered.first_challenge.0;
        let mut given = 0u64;
        let mut out = std::io::stdout();
        loop {
            // Even numbers accept, odd ones end the same challenge.
            while ledger
                .try_submit(Batch {
                    number: given,
                    ops: ops(first + given as i64 / 2, (given % 2) as u8),
                })
                .is_ok()
            {
                given += 1;
            }
            let done = done.recv().await.unwrap();
            let key = first + done.number as i64 / 2;
            writeln!(out, "durable {key} {}", done.number % 2).unwrap();
            out.flush().unwrap();
        }
    });
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = std::env::temp_dir().join(format!("ringback-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("ringback.db");
    let mut acknowledged = HashMap::new();
    for life in 0..LIVES {
        let before = acknowledged.len();
        run_and_kill(&path, 150 + 170 * life, &mut acknowledged);
        assert!(acknowledged.len() > before);
        check(&path, &acknowledged).await;
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Kills the child once it has acknowledged so much, and takes also what it said before it was gone.
fn run_and_kill(path: &PathBuf, enough: usize, acknowledged: &mut HashMap<i64, u8>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut count = 0;
    for line in said.lines() {
        let line = line.unwrap();
        // The last line may be cut, the first ones are the harness's.
        let words: Vec<_> = line.split(' ').collect();
        if let ["durable", key, step] = words[..]
            && let (Ok(key), Ok(step)) = (key.parse(), step.parse())
        {
            acknowledged.insert(key, step);
            count += 1;
            if count == enough {
                child.kill().unwrap();
            }
        }
    }
    assert!(count >= enough, "the child ended by itself");
    child.wait().unwrap();
}

async fn check(path: &Path, acknowledged: &HashMap<i64, u8>) {
    let (ledger, _done, mut recovered) = open(path).unwrap();
    let waiting = all_reports(&ledger).await;
    for (key, step) in acknowledged {
        let stored = ledger.find("contoso-bank", &key.to_string()).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("{key} is lost"));
        assert_eq!(stored.job, format!("job {key}").into_bytes());
        // A batch is there whole or not at all, also where it was not acknowledged any more.
        let over = stored.ended.is_some();
        assert!(over || *step == 0, "the end of {key} is lost");
        assert_eq!(over, stored.life == b"over");
        assert_eq!(
            over,
            stored.last == Some(format!("final {key}").into_bytes())
        );
        assert_eq!(over, waiting.contains(&(key * 2 + 1)));
        assert_eq!(!over, waiting.contains(&(key * 2)));
        let found = ledger.find_reference("northwind", &key.to_string()).await;
        assert_eq!(over, found.unwrap().is_some());
    }
    // And what was open is handed out again.
    let mut open = Vec::new();
    loop {
        let page = recovered.next_page(T0 + Duration::from_secs(400)).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|s| s.ended.is_none()));
        open.extend(page.into_iter().map(|s| s.key.0));
    }
    for key in acknowledged.keys() {
        let stored = ledger.get(ChallengeKey(*key)).await.unwrap().unwrap();
        assert_eq!(open.contains(key), stored.ended.is_none());
    }
    ledger.close().await;
}

async fn all_reports(ledger: &Ledger) -> std::collections::HashSet<i64> {
    let mut all = std::collections::HashSet::new();
    let mut after = ReportKey(0);
    loop {
        let page = ledger.pending_reports(after, 1_000).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = last.report;
        all.extend(page.iter().map(|r| r.report.0));
    }
}

/// Not a test of its own: writes [`SOME`] challenges, each durable before the next, and waits to be killed.
#[test]
fn child_writes_some_and_waits() {
    let Some(path) = std::env::var_os(SOME_CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ledger, mut done, recovered) = open(Path::new(&path)).unwrap();
        write(&ledger, &mut done, recovered.first_challenge.0, SOME).await;
        std::future::pending::<()>().await;
    });
}

async fn write(ledger: &Ledger, done: &mut DoneReceiver, first: i64, count: i64) {
    for key in first..first + count {
        let ops = ops(key, 0);
        ledger.submit(Batch { number: 0, ops }).await.unwrap();
        done.recv().await.unwrap();
    }
}

/// A folder with a ledger in it, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("ringback-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Place(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("ringback.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("ringback.db{suffix}"))
    }

    /// With some challenges in it, closed.
    async fn with(name: &str, count: i64) -> Place {
        let place = Place::new(name);
        let (ledger, mut done, recovered) = open(&place.file()).unwrap();
        write(&ledger, &mut done, recovered.first_challenge.0, count).await;
        ledger.close().await;
        place
    }

    /// Written by a process that was killed as soon as its mark knew of all.
    fn killed(name: &str) -> Place {
        let place = Place::new(name);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_some_and_waits", "--nocapture"])
            .env(SOME_CHILD, place.file())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let all = format!("\"accepted\":{SOME},");
        let mark = place.beside(".mark");
        while !std::fs::read_to_string(&mark).is_ok_and(|mark| mark.contains(&all)) {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        place
    }

    fn refused(&self) -> String {
        match open(&self.file()).err().expect("refused") {
            error @ OpenError::Missing { .. } => {
                let said = error.to_string();
                assert!(!said.contains('\n') && said.contains("on_loss"), "{said}");
                said
            }
            error => panic!("{error}"),
        }
    }

    /// What has been kept of it under names with the time.
    fn kept(&self) -> Vec<Vec<u8>> {
        let all = std::fs::read_dir(&self.0).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        let kept = all.filter(|path| path.display().to_string().contains(".db.damaged-20"));
        kept.map(|path| std::fs::read(path).unwrap()).collect()
    }

    fn check(&self) -> Standing {
        check::check(&settings(&self.file(), OnLoss::Refuse)).unwrap()
    }

    fn whole(&self) -> bool {
        let standing = self.check();
        standing.well() && matches!(standing.mark, MarkStanding::Whole(_))
    }

    /// Goes on with what there is; afterwards the loss is forgotten.
    async fn go_on(&self) -> i64 {
        let (ledger, ..) = open_as(&settings(&self.file(), OnLoss::Continue)).unwrap();
        ledger.close().await;
        let left = self.check().content.unwrap().challenges;
        let (ledger, ..) = open(&self.file()).expect("nothing more is missing");
        ledger.close().await;
        assert!(self.whole());
        left
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Left behind at worst in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn truncate(file: &Path, to: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(to).unwrap();
}

fn overwrite(file: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 64], at).unwrap();
}

#[tokio::test]
async fn a_damaged_wal_is_told_with_what_is_missing() {
    type Damage = fn(&Path, u64);
    let damages: [(&str, Damage); 3] = [
        ("truncated", |wal, octets| truncate(wal, octets * 3 / 5)),
        ("overwritten", |wal, octets| overwrite(wal, octets / 2)),
        ("deleted", |wal, _| std::fs::remove_file(wal).unwrap()),
    ];
    for (name, damage) in damages {
        let place = Place::killed(&format!("wal-{name}"));
        assert!(place.whole(), "killed and whole");
        let wal = place.beside("-wal");
        damage(&wal, std::fs::metadata(&wal).unwrap().len());
        let before = (
            std::fs::read(place.file()).unwrap(),
            std::fs::read(&wal).unwrap_or_default(),
        );
        let said = place.refused();
        assert!(!place.check().well());
        let after = (
            std::fs::read(place.file()).unwrap(),
            std::fs::read(&wal).unwrap_or_default(),
        );
        assert!(before == after, "{name}: what is left is left alone");
        let left = place.go_on().await;
        let copies: Vec<Vec<u8>> = place.kept();
        let kept = (!before.1.is_empty()).then_some(before.1);
        assert_eq!(copies, Vec::from_iter(kept), "{name}: the WAL as it was");
        let missing = SOME - left;
        assert!(missing > 0, "{name}: the damage took something");
        let wanted = match left {
            0 => "the file is empty".to_owned(),
            _ => format!("its last writes are missing, {missing} accepted challenges among them"),
        };
        assert!(said.contains(&wanted), "{name}: {left} left, {said}");
        let known = format!("{SOME} challenges accepted in all, {SOME} open, {SOME} reports");
        assert!(said.contains(&known), "{name}: {said}");
    }
}

#[tokio::test]
async fn an_emptied_a_deleted_and_another_ledger_are_told() {
    let place = Place::with("emptied", 5).await;
    truncate(&place.file(), 0);
    assert!(place.refused().contains("the file is empty"));
    assert!(!place.check().well());
    assert_eq!(place.go_on().await, 0);

    let place = Place::with("deleted", 5).await;
    std::fs::remove_file(place.file()).unwrap();
    assert!(place.refused().contains("the file is gone"));
    assert!(!place.check().well());
    assert!(!place.file().exists(), "a refusal makes no new one");
    assert_eq!(place.go_on().await, 0);

    let place = Place::with("mine", 5).await;
    let other = Place::with("yours", 3).await;
    for suffix in ["", ".key"] {
        std::fs::copy(other.beside(suffix), place.beside(suffix)).unwrap();
    }
    assert!(place.refused().contains("another ledger"));
    assert_eq!(place.go_on().await, 3);

    let place = Place::with("thinned", 5).await;
    let conn = rusqlite::Connection::open(place.file()).unwrap();
    conn.execute("DELETE FROM challenges", []).unwrap();
    drop(conn);
    assert!(place.refused().contains("its newest challenge is missing"));
}

#[tokio::test]
async fn a_damaged_or_cut_database_is_refused_with_advice_and_set_aside_where_the_start_goes_on() {
    type Damage = fn(&Path, u64);
    let damages: [(&str, Damage, &str); 4] = [
        ("header", |file, _| overwrite(file, 0), "is damaged: "),
        (
            "middle",
            |file, _| overwrite(file, 4_096 * 3),
            "is damaged: ",
        ),
        (
            "cut",
            |file, octets| truncate(file, octets - 1_000),
            "is cut: ",
        ),
        (
            "halved",
            |file, octets| truncate(file, octets / 8_192 * 4_096),
            "is cut: ",
        ),
    ];
    for (name, damage, wanted) in damages {
        let place = Place::with(&format!("damaged-{name}"), SOME).await;
        damage(
            &place.file(),
            std::fs::metadata(place.file()).unwrap().len(),
        );
        let before = std::fs::read(place.file()).unwrap();
        for mark in [true, false] {
            if name == "header" && !mark {
                // For all that is known, somebody else's file.
                let settings = settings(&place.file(), OnLoss::Continue);
                assert!(open_as(&settings).is_err() && place.kept().is_empty());
                continue;
            }
            let said = place.refused();
            assert!(
                said.contains(wanted) && said.contains("set aside"),
                "{name}: {said}"
            );
            assert_eq!(said.contains("200 open"), mark, "{name}: {said}");
            let standing = place.check();
            assert_eq!(standing.refusal, Some(said), "{name}");
            assert!(!standing.well());
            if mark {
                std::fs::copy(place.beside(".mark"), place.beside(".kept")).unwrap();
                std::fs::remove_file(place.beside(".mark")).unwrap();
            }
        }
        std::fs::rename(place.beside(".kept"), place.beside(".mark")).unwrap();
        assert!(
            before == std::fs::read(place.file()).unwrap(),
            "a refusal changes nothing"
        );
        let (ledger, _, recovered) = open_as(&settings(&place.file(), OnLoss::Continue)).unwrap();
        assert!(
            recovered.first_challenge.0 >= 2 << 40,
            "no key is given a second time"
        );
        ledger.close().await;
        let kept: Vec<_> = place.kept().into_iter().filter(|k| !k.is_empty()).collect();
        assert!(kept == [before], "{name}: the damaged one as it was");
        assert!(place.whole());
        let (ledger, ..) = open(&place.file()).unwrap();
        ledger.close().await;
    }
}

#[tokio::test]
async fn check_says_what_a_start_would_say() {
    type Change = fn(&Place);
    let changes: [(&str, Change, &str); 5] = [
        (
            "keyless",
            |p| std::fs::remove_file(p.beside(".key")).unwrap(),
            "which is not there",
        ),
        (
            "rekeyed",
            |p| std::fs::write(p.beside(".key"), "ab".repeat(32)).unwrap(),
            "is not the one",
        ),
        (
            "unkeyed",
            |p| std::fs::write(p.beside(".key"), "secret").unwrap(),
            "64 hex digits",
        ),
        (
            "newer",
            |p| execute(p, "PRAGMA user_version = 99"),
            "newer ringback (version 99",
        ),
        (
            "foreign",
            |p| execute(p, "PRAGMA application_id = 7"),
            "not a ledger",
        ),
    ];
    for (name, change, wanted) in changes {
        let place = Place::with(name, 3).await;
        assert!(place.whole());
        change(&place);
        let standing = place.check();
        let refused = open(&place.file()).err().expect("refused").to_string();
        assert!(refused.contains(wanted), "{name}: {refused}");
        assert_eq!(standing.refusal, Some(refused), "{name}");
        assert!(!standing.well(), "{name}");
    }
}

fn execute(place: &Place, sql: &str) {
    let conn = rusqlite::Connection::open(place.file()).unwrap();
    conn.execute_batch(sql).unwrap();
}

/// Nobody ever writes into it: whoever opens it waits for ever.
fn fifo(file: &Path) {
    let _ = std::fs::remove_file(file);
    let made = Command::new("mkfifo").arg(file).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn a_fifo_in_the_place_of_a_file_is_told_and_not_waited_for() {
    for (suffix, refused) in [
        ("", true),
        ("-wal", true),
        (".lock", true),
        (".key", true),
        (".mark", false),
        (".mark.new", false),
    ] {
        let place = Place::with(&format!("fifo{suffix}"), 3).await;
        fifo(&place.beside(suffix));
        let file = place.file();
        let (told, is_told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let settings = settings(&file, OnLoss::Refuse);
            let checked = check::check(&settings).map(|standing| standing.refusal);
            let opened = open(&file).map(|(ledger, ..)| ledger);
            told.send((checked, opened)).unwrap();
        });
        let (checked, opened) = is_told.recv_timeout(Duration::from_secs(20)).expect(suffix);
        match (checked, opened) {
            (Ok(None), Ok(ledger)) if !refused => assert_eq!(ledger.close().await, None),
            (checked, Err(error)) if refused => {
                let said = error.to_string();
                assert!(said.contains("is a FIFO, not a regular file"), "{said}");
                let checked = checked.unwrap_or_else(|error| Some(error.to_string()));
                assert_eq!(checked, Some(said), "{suffix}");
            }
            (checked, opened) => panic!("{suffix}: {checked:?} {}", opened.is_ok()),
        }
    }
    let secret = Place::new("fifo-secret").0.join("secret");
    std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
    fifo(&secret);
    let said = ringback::config::carrier::Secret::File(secret.clone()).read();
    assert!(said.unwrap_err().contains("is not a file"));
    std::fs::remove_dir_all(secret.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn an_older_copy_is_told_and_meant_where_its_mark_is_removed() {
    let place = Place::with("restored", 5).await;
    let copy = std::fs::read(place.file()).unwrap();
    let (ledger, mut done, recovered) = open(&place.file()).unwrap();
    write(&ledger, &mut done, recovered.first_challenge.0, 4).await;
    ledger.close().await;
    std::fs::write(place.file(), copy).unwrap();
    assert!(place.refused().contains("4 accepted challenges among them"));
    std::fs::remove_file(place.beside(".mark")).unwrap();
    let (ledger, ..) = open(&place.file()).unwrap();
    ledger.close().await;
    assert!(place.whole());
}

#[tokio::test]
async fn a_copy_elsewhere_and_a_ledger_without_a_mark_just_start() {
    let place = Place::with("original", 5).await;
    for with_mark in [true, false] {
        let copy = Place::new(&format!("copy-{with_mark}"));
        for suffix in ["", ".key", ".mark"] {
            if suffix != ".mark" || with_mark {
                std::fs::copy(place.beside(suffix), copy.beside(suffix)).unwrap();
            }
        }
        let (ledger, mut done, recovered) = open(&copy.file()).unwrap();
        write(&ledger, &mut done, recovered.first_challenge.0, 1).await;
        ledger.close().await;
        assert!(copy.whole());
    }
    // As a version left it that knew no marks.
    std::fs::remove_file(place.beside(".mark")).unwrap();
    assert!(matches!(place.check().mark, MarkStanding::None));
    let conn = rusqlite::Connection::open(place.file()).unwrap();
    let names = "'ledger', 'stamps', 'accepted', 'accepted_to'";
    let sql = format!("DELETE FROM meta WHERE name IN ({names})");
    assert_eq!(conn.execute(&sql, []).unwrap(), 4);
    drop(conn);
    let (ledger, ..) = open(&place.file()).unwrap();
    ledger.close().await;
    assert!(place.whole());
    // One that can't be read tells nothing, and stops nobody.
    std::fs::write(place.beside(".mark"), "{\"version\":1").unwrap();
    assert!(matches!(place.check().mark, MarkStanding::Unreadable(_)));
    let (ledger, ..) = open(&place.file()).unwrap();
    ledger.close().await;
    assert!(place.whole());
}

#[tokio::test]
async fn a_check_beside_a_running_ledger_finds_it_whole() {
    let place = Place::new("running");
    let (ledger, mut done, recovered) = open(&place.file()).unwrap();
    let first = recovered.first_challenge.0;
    for n in 0..20 {
        write(&ledger, &mut done, first + n * 20, 20).await;
        let standing = place.check();
        assert!(standing.well(), "{standing:?}");
        assert_eq!(standing.content.unwrap().challenges, (n + 1) * 20);
    }
    ledger.close().await;
    overwrite(&place.file(), 4_096 * 2 + 5);
    let standing = place.check();
    assert!(!standing.faults.is_empty() && !standing.well());
}

#[tokio::test]
async fn the_command_line_says_how_it_stands() {
    let place = Place::new("verb");
    for folder in ["routes", "carriers"] {
        std::fs::create_dir_all(place.0.join(folder)).unwrap();
    }
    for (file, text) in [
        (
            "carriers/northwind.toml",
            "transport = \"smpp\"\nendpoints = [\"127.0.0.1:9\"]\nsystem_id = \"mfa\"\n",
        ),
        (
            "routes/senders.toml",
            "[[sender]]\nid = \"97671\"\nkind = \"short_code\"\ncountries = [\"US\"]\n",
        ),
        (
            "routes/us.toml",
            "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n",
        ),
    ] {
        std::fs::write(place.0.join(file), text).unwrap();
    }
    let config = place.0.join("ringback.toml");
    let url = place.file().display().to_string();
    let any = "listen = \"127.0.0.1:0\"";
    let text = format!(
        "[http]\n{any}\n[callbacks]\n{any}\n[admin]\n{any}\n[ledger]\nurl = \"sqlite:{url}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let ringback = |verb: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(verb)
            .arg("--config")
            .arg(&config)
            .output()
            .unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (status, _, said) = ringback(&["ledger", "check"]);
    assert_eq!(status, Some(2), "there is none: {said}");

    let (ledger, mut done, recovered) = open(&place.file()).unwrap();
    write(&ledger, &mut done, recovered.first_challenge.0, 5).await;
    ledger.close().await;
    let (status, shown, _) = ringback(&["ledger", "check"]);
    assert_eq!(status, Some(0), "{shown}");
    for wanted in [
        "integrity  ok",
        "nothing of what it knows is missing",
        "5: 5 open",
        "per challenge",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    // Somebody else has it for a while: no fault of the configuration, so that a service manager starts it again.
    let lock = rusqlite::Connection::open(place.file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, _, said) = ringback(&["run"]);
    assert_eq!(status, Some(1), "{said}");
    drop(lock);
    truncate(&place.file(), 0);
    let (status, shown, _) = ringback(&["ledger", "check", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((status, &found["well"]), (Some(1), &false.into()));
    let (status, _, said) = ringback(&["run"]);
    let lines: Vec<&str> = said.lines().filter(|l| l.contains("on_loss")).collect();
    assert_eq!((status, lines.len()), (Some(2), 1), "{said}");
    assert!(
        lines[0].contains("the file is empty") && lines[0].contains("5 open"),
        "{said}"
    );
}

const SOME: i64 = 200;
const SOME_CHILD: &str = "RINGBACK_TEST_LEDGER_SOME";
const CHILD: &str = "RINGBACK_TEST_LEDGER_CHILD";
const LIVES: usize = 5;
/// In a far future: nothing is wiped or deleted meanwhile.
const T0: Millis = Millis(4_000_000_000_000);
