//! What a start says that finds less than was durable: the WAL damaged, the file emptied, gone, cut, or another.

use std::{path::Path, process::Command, time::Duration};

use ringback::{
    config::settings::OnLoss,
    ledger::check::{self, MarkStatus},
};

use crate::place::*;

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
            let checked =
                check::check(&settings, check::Depth::Whole).map(|standing| standing.refusal);
            let opened = open(&file).map(|(ledger, ..)| ledger);
            told.send((checked, opened)).unwrap();
        });
        let (checked, opened) = is_told.recv_timeout(Duration::from_secs(20)).expect(suffix);
        match (checked, opened) {
            (Ok(None), Ok(ledger)) if !refused => assert_eq!(ledger.close().await, None),
            (checked, Err(error)) if refused => {
                let said = error.to_string();
                assert!(said.contains("is not a file, but a FIFO"), "{said}");
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
    assert!(said.unwrap_err().to_string().contains("is not a file"));
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
    assert!(matches!(place.check().mark, MarkStatus::None));
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
    assert!(matches!(place.check().mark, MarkStatus::Unreadable(_)));
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
    let (status, shown, _) = ringback(&["ledger", "status"]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        shown.contains("5: 5 open") && !shown.contains("integrity"),
        "{shown}"
    );
    let (status, shown, _) = ringback(&["ledger", "migrate"]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("already"), "{shown}");
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
