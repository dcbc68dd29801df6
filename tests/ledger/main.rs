//! The ledger under `kill -9`: what was acknowledged is there, whatever the moment.
//!
//! The test starts itself again as a child that writes without end and prints what has become durable, kills it in
//! mid-write, opens the ledger, and looks.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use ringback::{
    challenge::ChallengeKey,
    ledger::{Batch, Ledger, ReportKey},
};

mod golden;
mod loss;
mod place;

use place::{SOME, SOME_CHILD, T0, open, ops, write};

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

const CHILD: &str = "RINGBACK_TEST_LEDGER_CHILD";
const LIVES: usize = 5;
