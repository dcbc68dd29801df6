//! A ledger in a folder of its own, what is written into it, and how it is damaged.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ringback::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    config::settings::{LedgerSettings, LedgerUrl, OnLoss, Settings},
    ledger::{
        Batch, DoneReceiver, Ledger, NewChallenge, Op, OpenError, OutboxReport, Recovered,
        ReportKey, Target, Wipe,
        check::{self, LedgerStatus, MarkStatus},
    },
};

pub const SOME: i64 = 200;
pub const SOME_CHILD: &str = "RINGBACK_TEST_LEDGER_SOME";
/// In a far future: nothing is wiped or deleted meanwhile.
pub const T0: Millis = Millis(4_000_000_000_000);

pub fn settings(path: &Path, on_loss: OnLoss) -> LedgerSettings {
    LedgerSettings {
        url: LedgerUrl::Sqlite(path.to_path_buf()),
        keys: Vec::new(),
        retention: Duration::from_secs(86_400),
        outcomes: Duration::ZERO,
        on_loss,
    }
}

pub fn open(path: &Path) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
    open_as(&settings(path, OnLoss::Refuse))
}

pub fn open_as(settings: &LedgerSettings) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
    let wipe = Wipe {
        job: |_| Vec::new(),
        life: <[u8]>::to_vec,
        report: <[u8]>::to_vec,
        outcome: |_| Vec::new(),
    };
    Ledger::open(settings, "gw-1", &Settings::default().limits, wipe)
}

/// One challenge's ops of one step: accepted with a report; or gone on, found by a reference, and ended.
pub fn ops(key: i64, step: u8) -> Vec<Op> {
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

pub async fn write(ledger: &Ledger, done: &mut DoneReceiver, first: i64, count: i64) {
    for key in first..first + count {
        let ops = ops(key, 0);
        ledger.submit(Batch { number: 0, ops }).await.unwrap();
        done.recv().await.unwrap();
    }
}

/// A folder with a ledger in it, gone with it.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("ringback-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Place(folder)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("ringback.db")
    }

    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("ringback.db{suffix}"))
    }

    /// With some challenges in it, closed.
    pub async fn with(name: &str, count: i64) -> Place {
        let place = Place::new(name);
        let (ledger, mut done, recovered) = open(&place.file()).unwrap();
        write(&ledger, &mut done, recovered.first_challenge.0, count).await;
        ledger.close().await;
        place
    }

    /// Written by a process that was killed as soon as its mark knew of all.
    pub fn killed(name: &str) -> Place {
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

    pub fn refused(&self) -> String {
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
    pub fn kept(&self) -> Vec<Vec<u8>> {
        let all = std::fs::read_dir(&self.0).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        let kept = all.filter(|path| path.display().to_string().contains(".db.damaged-20"));
        kept.map(|path| std::fs::read(path).unwrap()).collect()
    }

    pub fn check(&self) -> LedgerStatus {
        check::check(&settings(&self.file(), OnLoss::Refuse), check::Depth::Whole).unwrap()
    }

    pub fn whole(&self) -> bool {
        let standing = self.check();
        standing.well() && matches!(standing.mark, MarkStatus::Whole(_))
    }

    /// Goes on with what there is; afterwards the loss is forgotten.
    pub async fn go_on(&self) -> i64 {
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

pub fn truncate(file: &Path, to: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(to).unwrap();
}

pub fn overwrite(file: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 64], at).unwrap();
}
