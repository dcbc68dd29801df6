//! What is true of every ledger is true of one in maps; and what only it can be told to do: refuse, and lose its answer.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Maps, Refusal};
use crate::{
    config::settings::{LedgerUrl, OnLoss},
    ledger::{
        conformance::{self, Home, Sealing, T0, WIPE, end, limits, new, report},
        engine::Engine,
        *,
    },
};

/// Maps, and a folder for the key.
struct Place {
    maps: Maps,
    folder: PathBuf,
}

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ringback-maps-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Place {
            maps: Maps::default(),
            folder,
        }
    }

    fn settings(&self) -> LedgerSettings {
        LedgerSettings {
            url: LedgerUrl::Sqlite(self.folder.join("maps")),
            keys: Vec::new(),
            retention: Duration::from_secs(86_400),
            outcomes: Duration::ZERO,
            on_loss: OnLoss::Refuse,
        }
    }
}

impl Home for Place {
    fn open(&self) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
        let store = Box::new(self.maps.open("gw-1"));
        Ledger::over(store, &self.settings(), &limits(), WIPE)
    }

    fn engine(&self, node: &str) -> (Engine, Recovered) {
        conformance::engine_over(Box::new(self.maps.open(node)), &self.settings())
    }

    fn spoil(&self, table: Sealing, key: i64) {
        let mut tables = self.maps.lock();
        let sealed = match table {
            Sealing::Outbox => tables.outbox.get_mut(&key).map(|w| &mut w.row.body),
            Sealing::Calls => tables.calls.get_mut(&(key, 1)).map(|row| &mut row.state),
            Sealing::Inbox => tables.inbox.get_mut(&key).map(|row| &mut row.body),
        };
        *sealed.expect("a row").last_mut().expect("an octet") ^= 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Left behind at worst in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn conforms() {
    conformance::all(|| Box::new(Place::new())).await;
}

/// Some of everything of which a second time could be noticed.
fn ops(recovered: &Recovered) -> Vec<Op> {
    let (key, report_key) = (recovered.first_challenge.0, recovered.first_report.0);
    let to = |n, target| Op::Report(Box::new(report(report_key + n, key, 1, target)));
    let exchange = Target::Exchange {
        routing_key: "sent.sms.us".into(),
        mandatory: false,
    };
    vec![
        Op::Accept(new(key, "a")),
        to(0, exchange),
        to(1, Target::Http),
        Op::Reference {
            carrier: "northwind".into(),
            reference: "r".into(),
            key: AttemptKey {
                challenge: recovered.first_challenge,
                attempt: 1,
            },
            part: 0,
            phone: None,
        },
        Op::Overlay {
            subject: "northwind".into(),
            entry: Some(b"suspended".to_vec()),
            audit: b"who and when".to_vec(),
            order: None,
        },
        end(key, T0),
        Op::Accept(new(key + 1, "a")),
        Op::Accept(new(key, "another with this key")),
    ]
}

#[tokio::test]
async fn a_group_that_is_given_again_has_one_effect_and_one_answer() {
    for refusal in [Refusal::Nothing, Refusal::Unnoticed, Refusal::InDoubt] {
        let place = Place::new();
        let (ledger, mut done, mut recovered) = place.open().unwrap();
        place.maps.refuse(2, refusal);
        let ops = ops(&recovered);
        ledger.submit(Batch { number: 1, ops }).await.unwrap();
        let done = done.recv().await.unwrap();
        assert_eq!(ledger.healthy(), Ok(()));
        let key = recovered.first_challenge;
        let known: Vec<_> = done.known.iter().map(|(n, k)| (n.0, k.key)).collect();
        assert_eq!(known, [(key.0 + 1, key)]);
        assert_eq!((done.refused, done.lost), (vec![7], vec![key]));
        let waiting = ledger.pending_reports(ReportKey(0), 10).await.unwrap();
        let kept = ledger.reports_of(key, 0).await.unwrap();
        assert_eq!((waiting.len(), kept.len()), (1, 1));
        assert_eq!(ledger.audit(10).await.unwrap().len(), 1);
        assert_eq!(ledger.newest(10).await.unwrap().len(), 1);
        assert_eq!(recovered.overlay().unwrap(), [b"suspended".to_vec()]);
        ledger.close().await;
    }
}

#[tokio::test]
async fn what_was_not_committed_is_lost() {
    let place = Place::new();
    let (ledger, _done, recovered) = place.open().unwrap();
    place.maps.refuse(usize::MAX, Refusal::Nothing);
    let ops = ops(&recovered);
    ledger.submit(Batch { number: 1, ops }).await.unwrap();
    let unwritten = ledger.close().await.expect("something is left");
    assert_eq!((unwritten.jobs, unwritten.changes), (3, 5));
    place.maps.refuse(0, Refusal::Nothing);
    let (ledger, ..) = place.open().unwrap();
    assert!(ledger.newest(10).await.unwrap().is_empty());
    ledger.close().await;
}

#[tokio::test]
async fn what_is_in_doubt_nobody_gives_up() {
    for (refusal, gives_up) in [(Refusal::Unnoticed, true), (Refusal::InDoubt, false)] {
        let place = Place::new();
        let (ledger, mut done, recovered) = place.open().unwrap();
        place.maps.refuse(3, refusal);
        let claim = Claim::default();
        let mut one = new(recovered.first_challenge.0, "a");
        one.claim = Some(claim.clone());
        let ops = vec![Op::Accept(one)];
        ledger.submit(Batch { number: 1, ops }).await.unwrap();
        while ledger.healthy().is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(claim.give_up(), gives_up, "{refusal:?}");
        let done = done.recv().await.unwrap();
        assert_eq!(done.lost.len(), usize::from(gives_up));
        let found = ledger.find("contoso-bank", "a").await.unwrap();
        assert_eq!(found.is_none(), gives_up, "{refusal:?}");
        ledger.close().await;
    }
}

#[tokio::test]
async fn a_batch_that_the_database_refuses_keeps_no_other_back() {
    for many in [1, 2, 40] {
        let place = Place::new();
        let (ledger, mut done, recovered) = place.open().unwrap();
        let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
        let bad = many / 2;
        place.maps.refuse_report(first + bad);
        // The first try fails otherwise, so that all of them come together.
        place.maps.refuse(1, Refusal::Nothing);
        for n in 0..many {
            let target = Target::Exchange {
                routing_key: "sent.sms.us".into(),
                mandatory: false,
            };
            let ops = vec![
                Op::Accept(new(key + n, &format!("c-{n}"))),
                Op::Report(Box::new(report(first + n, key + n, 1, target))),
            ];
            let number = n as u64;
            ledger.submit(Batch { number, ops }).await.unwrap();
        }
        for n in 0..many {
            let done = done.recv().await.unwrap();
            assert_eq!(done.number, n as u64);
            assert_eq!(done.failed.is_some(), n == bad);
            let lost: &[ChallengeKey] = match n == bad {
                true => &[ChallengeKey(key + n)],
                false => &[],
            };
            assert_eq!(done.lost, lost);
        }
        assert_eq!(ledger.healthy(), Ok(()));
        let waiting = ledger.pending_reports(ReportKey(0), 100).await.unwrap();
        assert_eq!(waiting.len() as i64, many - 1);
        let left_out = ledger.get(ChallengeKey(key + bad)).await.unwrap();
        assert!(left_out.is_none());
        // Its id is free, and the ledger goes on.
        let ops = vec![Op::Accept(new(key + many, &format!("c-{bad}")))];
        ledger.submit(Batch { number: 99, ops }).await.unwrap();
        let done = done.recv().await.unwrap();
        assert!(done.is_whole() && done.known.is_empty());
        ledger.close().await;
    }
}
