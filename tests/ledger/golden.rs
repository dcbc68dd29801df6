//! A ledger of each release, as that release left it: every later one reads it, also through its migrations.
//!
//! `tests/golden/ledger-VERSION.db.gz` is made once, when VERSION is released, and never changed:
//! `RINGBACK_TEST_GOLDEN=1 cargo test --test ledger writes_the_golden`. Its key is in this file; it protects nothing.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use ringback::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    config::settings::{LedgerSettings, LedgerUrl, OnLoss, Settings},
    ledger::{
        Batch, ControlMessage, DoneReceiver, EndedChallenge, InboxMessage, Ledger, LimitCheck,
        NewChallenge, Op, OutboxReport, PendingControl, Recovered, ReportKey, Stored, Target, Wipe,
    },
};

use crate::place::{Place, T0};

const RELEASE: &str = "RINGBACK_TEST_GOLDEN";
const KEY: &str = "7f3c1f5e0b6d4a2998877665544332210f1e2d3c4b5a69788796a5b4c3d2e1f0";
const DAY: Duration = Duration::from_secs(86_400);
/// When everything that is over has been wiped or retired.
const LATER: Millis = Millis(T0.0 + 400_000);
const LIMITS: [u64; 5] = [11, 12, 0, 14, 15];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn open(place: &Place) -> (Ledger, DoneReceiver, Recovered) {
    std::fs::write(place.beside(".key"), KEY).unwrap();
    let settings = LedgerSettings {
        url: LedgerUrl::Sqlite(place.file()),
        keys: Vec::new(),
        retention: DAY,
        outcomes: DAY * 4,
        on_loss: OnLoss::Refuse,
    };
    let wipe = Wipe {
        job: |_| Vec::new(),
        life: <[u8]>::to_vec,
        report: <[u8]>::to_vec,
        outcome: <[u8]>::to_vec,
    };
    Ledger::open(&settings, "gw-1", &Settings::default().limits, wipe).unwrap()
}

fn accept(key: i64, id: &str, arrived: Millis) -> Op {
    Op::Accept(Box::new(NewChallenge {
        key: ChallengeKey(key),
        tenant: "contoso-bank".into(),
        id: id.into(),
        content: [7; 32],
        arrived,
        deadline: arrived + Duration::from_secs(180),
        job: format!("job of {id}").into_bytes(),
        life: b"life at the beginning".to_vec(),
        last: None,
        claim: None,
        limits: Some(LimitCheck {
            keys: LIMITS,
            limits: Arc::new(Settings::default().limits),
        }),
    }))
}

fn end(key: i64, at: Millis) -> Op {
    Op::End {
        key: ChallengeKey(key),
        life: b"life at the end".to_vec(),
        last: b"final".to_vec(),
        at,
    }
}

fn report(report: i64, challenge: i64, target: Target) -> Op {
    Op::Report(Box::new(OutboxReport {
        report: ReportKey(report),
        challenge: ChallengeKey(challenge),
        seq: 2,
        target,
        body: b"{\"v\":1,\"seq\":2}".as_slice().into(),
        is_final: true,
        until: T0 + DAY,
    }))
}

fn targets() -> [Target; 3] {
    let exchange = |mandatory| Target::Exchange {
        routing_key: "delivered.sms.us".into(),
        mandatory,
    };
    let reply_to = Target::ReplyTo {
        queue: "bank.replies".into(),
        correlation_id: Some("user-77@bank".into()),
    };
    [reply_to, exchange(false), exchange(true)]
}

/// A retired one, a wiped one, one that has ended, one that is open, with all that may hang on them.
fn ops(recovered: &Recovered) -> Vec<Op> {
    let (key, to) = (recovered.first_challenge.0, recovered.first_report.0);
    let lately = LATER - Duration::from_secs(10);
    let attempt = AttemptKey {
        challenge: ChallengeKey(key + 2),
        attempt: 1,
    };
    let mut ops = vec![
        accept(key, "retired", T0 - DAY * 2),
        end(key, T0 - DAY * 2),
        accept(key + 1, "wiped", T0 - DAY / 2),
        report(to, key + 1, Target::Http),
        end(key + 1, T0 - DAY / 2),
        accept(key + 2, "ended", lately),
        report(to + 1, key + 2, Target::Http),
        Op::Reference {
            carrier: "northwind".into(),
            reference: "0000A7F3".into(),
            key: attempt,
            part: 1,
            phone: None,
        },
        end(key + 2, lately),
        Op::Late {
            key: ChallengeKey(key + 2),
            late: b"seq 3".to_vec(),
        },
        Op::Feedback {
            key: ChallengeKey(key + 2),
            verified: true,
            at: lately,
        },
        accept(key + 3, "open", lately),
        Op::CallUp {
            key: AttemptKey {
                challenge: ChallengeKey(key + 3),
                attempt: 2,
            },
            carrier: "trunk".into(),
            state: "its dialog".into(),
        },
        Op::Inbox(Box::new(InboxMessage {
            key: recovered.first_message,
            at: lately,
            body: b"a receipt".to_vec(),
        })),
        Op::Early(PendingControl {
            tenant: "contoso-bank".into(),
            id: "to come".into(),
            word: ControlMessage::Cancel,
            until: T0 + DAY,
            elsewhere: false,
            claim: None,
        }),
        Op::Overlay {
            subject: "northwind".into(),
            entry: Some(b"suspended".to_vec()),
            audit: b"who and when".to_vec(),
            order: None,
        },
    ];
    for (n, target) in (2..).zip(targets()) {
        ops.push(report(to + n, key + 2, target));
    }
    ops
}

async fn found(ledger: &Ledger, id: &str) -> Option<Stored> {
    ledger.find("contoso-bank", id).await.unwrap()
}

/// All that [`ops`] has written, as it is after [`LATER`].
async fn is_all_there(ledger: &Ledger, recovered: &mut Recovered) {
    let open = found(ledger, "open").await.unwrap();
    assert_eq!(open.job, b"job of open");
    assert_eq!(open.life, b"life at the beginning");
    assert_eq!((open.content, open.ended), ([7; 32], None));
    let ended = found(ledger, "ended").await.unwrap();
    assert_eq!(ended.job, b"job of ended");
    assert_eq!(ended.last.as_deref(), Some(&b"final"[..]));
    assert_eq!((&*ended.late, ended.verified), (&b"seq 3"[..], Some(true)));
    let wiped = found(ledger, "wiped").await.unwrap();
    assert_eq!(
        (&*wiped.job, &*wiped.life),
        (&b""[..], &b"life at the end"[..])
    );
    assert_eq!(wiped.last.as_deref(), Some(&b"final"[..]));
    assert!(found(ledger, "retired").await.is_none());
    let outcomes = ledger.outcomes("contoso-bank", "retired").await.unwrap();
    let [EndedChallenge { outcome, .. }] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(outcome, b"final");
    for key in [wiped.key, ended.key] {
        let kept = ledger.reports_of(key, 0).await.unwrap();
        assert_eq!(
            (kept.len(), &*kept[0].body),
            (1, &b"{\"v\":1,\"seq\":2}"[..])
        );
    }
    let waiting = ledger.pending_reports(ReportKey(0), 10).await.unwrap();
    let waiting: Vec<Target> = waiting.into_iter().map(|report| report.target).collect();
    assert_eq!(waiting, targets());
    let reference = ledger.find_reference("northwind", "0000A7F3").await;
    let reference = reference.unwrap().unwrap();
    assert_eq!((reference.challenge, reference.attempt), (ended.key, 1));
    let early = ledger.early_word("contoso-bank", "to come").await;
    assert_eq!(early.unwrap(), Some(ControlMessage::Cancel));
    assert_eq!(ledger.audit(10).await.unwrap(), [b"who and when"]);

    let calls = recovered.calls().unwrap();
    assert_eq!((calls.len(), &*calls[0].state), (1, "its dialog"));
    assert_eq!(recovered.inbox().unwrap()[0].body, b"a receipt");
    assert_eq!(recovered.overlay().unwrap(), [b"suspended"]);
    let mut counted = Vec::new();
    let each = |at, limits: &[u64; 5]| counted.push((at, *limits));
    recovered.arrivals(T0 - DAY, each).unwrap();
    let arrived = [wiped.arrived, ended.arrived, open.arrived];
    assert_eq!(counted, arrived.map(|at| (at, LIMITS)));
    let page = recovered.next_page(LATER).unwrap();
    let keys: Vec<_> = page.iter().map(|stored| stored.key).collect();
    assert_eq!(keys, [ended.key, open.key]);
}

async fn make(place: &Place) {
    let (ledger, mut done, recovered) = open(place);
    let ops = ops(&recovered);
    ledger.submit(Batch { number: 1, ops }).await.unwrap();
    let done = done.recv().await.unwrap();
    assert!(done.refused.is_empty() && done.known.is_empty());
    while ledger.housekeep(LATER).await.unwrap() {}
    ledger.close().await;
}

#[tokio::test]
async fn what_this_release_writes_it_reads() {
    let place = Place::new("golden-now");
    make(&place).await;
    let (ledger, _done, mut recovered) = open(&place);
    is_all_there(&ledger, &mut recovered).await;
    ledger.close().await;
}

#[tokio::test]
async fn ledgers_of_all_releases_are_read() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("ledger-") {
            continue;
        }
        count += 1;
        let place = Place::new(&name);
        let packed = std::fs::read(&path).unwrap();
        let mut octets = Vec::new();
        GzDecoder::new(&*packed).read_to_end(&mut octets).unwrap();
        std::fs::write(place.file(), octets).unwrap();
        for _ in 0..2 {
            let (ledger, _done, mut recovered) = open(&place);
            is_all_there(&ledger, &mut recovered).await;
            ledger.close().await;
        }
    }
    assert!(count > 0, "one for each release");
}

/// Not a test of its own: makes the file of this release where it is told to. One that was released is never written over.
#[tokio::test]
async fn writes_the_golden_ledger_of_this_release() {
    if std::env::var_os(RELEASE).is_none() {
        return;
    }
    let place = Place::new("golden-made");
    make(&place).await;
    let name = format!("ledger-{}.db.gz", env!("CARGO_PKG_VERSION"));
    let out = std::fs::File::create_new(folder().join(name)).unwrap();
    let mut out = GzEncoder::new(out, Compression::best());
    out.write_all(&std::fs::read(place.file()).unwrap())
        .unwrap();
    out.finish().unwrap();
}
