//! What is true of every ledger is true of one in PostgreSQL. With `RINGBACK_TEST_POSTGRES` (a URL of a database that may
//! be written); without it these tests say that they have not run.

use std::{
    path::PathBuf,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio_postgres::{Config, NoTls};

use super::{Postgres, Whom, target};
use crate::{
    config::settings::{LedgerUrl, OnLoss},
    ledger::{
        conformance::{self, Home, Sealing, T0, WIPE, limits, new, report, write},
        engine::Engine,
        *,
    },
};

mod nodes;

/// A schema of its own, and a folder for the key.
struct Place {
    url: String,
    schema: String,
    folder: PathBuf,
}

impl Place {
    fn new(url: &str) -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("ledger_{}_{n}", std::process::id());
        let folder = std::env::temp_dir().join(format!("ringback-{schema}"));
        let place = Place {
            url: url.to_owned(),
            schema,
            folder,
        };
        place.execute(&format!("CREATE SCHEMA {}", place.schema));
        place
    }

    fn target(&self) -> target::Target {
        let mut config: Config = self.url.parse().unwrap();
        config.options(format!("-c search_path={}", self.schema));
        config.application_name(&self.schema);
        target::Target { config, tls: None }
    }

    /// From outside: how many rows it touched.
    fn execute(&self, sql: &str) -> u64 {
        let (config, sql) = (self.target().config, sql.to_owned());
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let (client, connection) = config.connect(NoTls).await.unwrap();
                tokio::spawn(connection);
                client.execute(&sql, &[]).await.unwrap()
            })
        });
        done.join().unwrap()
    }

    fn settings(&self) -> LedgerSettings {
        LedgerSettings {
            url: LedgerUrl::Sqlite(self.folder.join("postgres")),
            keys: Vec::new(),
            retention: Duration::from_secs(86_400),
            outcomes: Duration::ZERO,
            on_loss: OnLoss::Refuse,
        }
    }

    fn store(&self, node: &str) -> Postgres {
        std::fs::create_dir_all(&self.folder).unwrap();
        Postgres::over(self.target(), self.settings().path(), node, Whom::One).unwrap()
    }
}

impl Home for Place {
    fn open(&self) -> Result<(Ledger, DoneReceiver, Recovered), OpenError> {
        Ledger::over(
            Box::new(self.store("gw-1")),
            &self.settings(),
            &limits(),
            WIPE,
        )
    }

    fn engine(&self, node: &str) -> (Engine, Recovered) {
        conformance::engine_over(Box::new(self.store(node)), &self.settings())
    }

    fn spoil(&self, table: Sealing, key: i64) {
        let zeros = "decode(repeat('00', 40), 'hex')";
        let touched = self.execute(&match table {
            Sealing::Outbox => format!("UPDATE outbox SET body = {zeros} WHERE report = {key}"),
            Sealing::Calls => format!("UPDATE calls SET state = {zeros} WHERE challenge = {key}"),
            Sealing::Inbox => format!("UPDATE inbox SET body = {zeros} WHERE message = {key}"),
        });
        assert_eq!(touched, 1);
    }

    /// A part of an hour, and the longest life of a challenge.
    fn slack(&self) -> Duration {
        Duration::from_secs(3_600 + 900)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.execute(&format!("DROP SCHEMA {} CASCADE", self.schema));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url() -> Option<String> {
    let url = std::env::var("RINGBACK_TEST_POSTGRES").ok();
    if url.is_none() {
        assert!(
            std::env::var_os("RINGBACK_PEERS").is_none_or(|peers| peers != "required"),
            "RINGBACK_TEST_POSTGRES is not set"
        );
        eprintln!("not run: RINGBACK_TEST_POSTGRES is not set");
    }
    url
}

#[tokio::test]
async fn conforms() {
    let Some(url) = url() else { return };
    conformance::all(|| Box::new(Place::new(&url))).await;
}

/// One that others may write beside.
fn beside(place: &Place, node: &str) -> (Engine, Recovered) {
    std::fs::create_dir_all(&place.folder).unwrap();
    let settings = place.settings();
    let store = Postgres::over(place.target(), settings.path(), node, Whom::Each).unwrap();
    conformance::engine_over(Box::new(store), &settings)
}

/// The database ends all connections, again and again: what is given to the ledger meanwhile is written, and counts once.
#[tokio::test]
async fn connections_that_break_are_made_anew() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (ledger, mut done, recovered) = place.open().unwrap();
    let key = recovered.first_challenge.0;
    for n in 0..30 {
        let ended = place.execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = '{}' AND pid <> pg_backend_pid()",
            place.schema
        ));
        let said = write(
            &ledger,
            &mut done,
            vec![Op::Accept(new(key + n, &format!("c-{n}")))],
        )
        .await;
        assert!(ended > 0 && said.is_whole() && said.known.is_empty());
        // A look-up may meet the end of its connection; the next one has another.
        let mut found = ledger.get(ChallengeKey(key + n)).await;
        if found.is_err() {
            found = ledger.get(ChallengeKey(key + n)).await;
        }
        assert!(found.unwrap().is_some());
    }
    let second = Postgres::over(place.target(), place.settings().path(), "gw-2", Whom::One);
    assert!(
        matches!(second, Err(OpenError::NameInUse { .. })),
        "the lock went with its connection"
    );
    ledger.close().await;
}

#[tokio::test]
async fn one_gateway_at_a_time_has_it() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (ledger, mut done, recovered) = place.open().unwrap();
    let settings = place.settings();
    let second = Postgres::over(place.target(), settings.path(), "gw-2", Whom::One);
    assert!(matches!(second, Err(OpenError::NameInUse { .. })));
    let key = recovered.first_challenge.0;
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key, "a"))]).await;
    assert!(said.is_whole());
    ledger.close().await;
}

fn ledger_beside(place: &Place, node: &str) -> (Ledger, DoneReceiver, Recovered) {
    std::fs::create_dir_all(&place.folder).unwrap();
    let settings = place.settings();
    let store = Postgres::over(place.target(), settings.path(), node, Whom::Each).unwrap();
    Ledger::over(Box::new(store), &settings, &limits(), WIPE).unwrap()
}

/// The same ids come to two nodes at once, group by group: each goes in once, and the other node hears whose it is.
#[test]
fn an_id_is_taken_once_among_two_nodes() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let engines = ["gw-1", "gw-2"].map(|node| beside(&place, node));
    let barrier = Arc::new(Barrier::new(engines.len()));
    let taken = engines.map(|(mut engine, recovered)| {
        let barrier = barrier.clone();
        std::thread::spawn(move || {
            let first = recovered.first_challenge.0;
            let mut taken = Vec::new();
            for group in 0..GROUPS {
                barrier.wait();
                let ops = (0..IN_A_GROUP).map(|n| {
                    let n = group * IN_A_GROUP + n;
                    Op::Accept(new(first + n, &format!("c-{n}")))
                });
                let batch = Batch {
                    number: 1,
                    ops: ops.collect(),
                };
                let said = patiently(&mut engine, &[batch]).remove(0);
                let known: Vec<i64> = said.known.iter().map(|(key, _)| key.0 - first).collect();
                let asked = group * IN_A_GROUP..(group + 1) * IN_A_GROUP;
                taken.extend(asked.filter(|n| !known.contains(n)));
            }
            taken
        })
    });
    let [one, two] = taken.map(|thread| thread.join().unwrap());
    let mut all = [one.clone(), two.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..GROUPS * IN_A_GROUP).collect::<Vec<_>>());
    assert!(!one.is_empty() && !two.is_empty(), "they did not meet");
}

const GROUPS: i64 = 40;
const IN_A_GROUP: i64 = 10;

/// As the writer does: again, while the database says that it may go well.
fn patiently(engine: &mut Engine, batches: &[Batch]) -> Vec<Done> {
    for _ in 0..50 {
        match engine.commit(T0, batches) {
            Ok(done) => return done,
            Err(error) if error.kind == StoreErrorKind::Busy => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("busy for ever");
}

/// A person asks at two nodes at once, a hundred times at each: three are let through, whichever.
#[test]
fn a_limit_is_exact_among_two_nodes() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let engines = ["gw-1", "gw-2"].map(|node| beside(&place, node));
    let persons = 20;
    let let_through = engines.map(|(mut engine, recovered)| {
        std::thread::spawn(move || {
            let first = recovered.first_challenge.0;
            let mut let_through = vec![0; persons];
            for round in 0..10 {
                for (person, through) in let_through.iter_mut().enumerate() {
                    let n = (round * persons + person) as i64;
                    let mut accept = new(first + n, &format!("{first}-{n}"));
                    accept.limits = Some(LimitCheck {
                        keys: [1 + person as u64, 0, 0, 0, 0],
                        limits: Arc::new(limits()),
                    });
                    let batch = Batch {
                        number: 1,
                        ops: vec![Op::Accept(accept)],
                    };
                    let said = patiently(&mut engine, &[batch]).remove(0);
                    let refused = said.limited.iter().any(|l| l.taken.refused.is_some());
                    *through += usize::from(!refused);
                }
            }
            let_through
        })
    });
    let [one, two] = let_through.map(|thread| thread.join().unwrap());
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one + two, 3);
    }
}

/// A commit takes effect, and its answer is lost: the same group is given again, and counts once.
#[tokio::test]
async fn a_group_that_is_given_again_counts_once() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (mut engine, recovered) = place.engine("gw-1");
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    let counted = |key: i64| {
        let mut accept = new(key, &format!("c-{key}"));
        accept.limits = Some(LimitCheck {
            keys: [7, 0, 0, 0, 0],
            limits: Arc::new(limits()),
        });
        Op::Accept(accept)
    };
    let target = Target::ReplyTo {
        queue: "bank.replies".into(),
        correlation_id: None,
    };
    let batch = Batch {
        number: 1,
        ops: vec![
            counted(key),
            Op::Report(Box::new(report(first, key, 1, target))),
            counted(key + 1),
        ],
    };
    let once = engine.commit(T0, std::slice::from_ref(&batch)).unwrap();
    // The group as it was, as after an answer that was lost.
    let mut verdicts = Vec::new();
    let engine::Engine { store, group, .. } = &mut engine;
    store.commit(group, &mut verdicts).unwrap();
    assert!(once[0].is_whole() && verdicts.is_empty());
    let third = Batch {
        number: 2,
        ops: vec![counted(key + 2), counted(key + 3)],
    };
    let said = engine.commit(T0, &[third]).unwrap();
    let refused = said[0].limited.iter().filter(|l| l.taken.refused.is_some());
    assert_eq!(refused.map(|l| l.key.0 - key).collect::<Vec<_>>(), [3]);
    drop(engine);
    let (ledger, ..) = place.open().unwrap();
    assert_eq!(ledger.pending([T0; AGES]).await.unwrap().count, 1);
    ledger.close().await;
}

/// Nothing of a person stands in the database in clear.
#[tokio::test]
async fn a_dump_shows_nobody() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (ledger, mut done, recovered) = place.open().unwrap();
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    let ops = vec![
        Op::Accept(new(key, "sign-in-1")),
        Op::Report(Box::new(report(first, key, 1, Target::Http))),
        Op::Accept(new(key + 1, "sign-in-2")),
        conformance::end(key + 1, T0),
    ];
    write(&ledger, &mut done, ops).await;
    ledger
        .housekeep(T0 + Duration::from_secs(3_600))
        .await
        .unwrap();
    ledger.close().await;
    let tables = [
        "live", "history", "outbox", "kept", "ids", "keys", "secrets", "nodes",
    ];
    for word in ["482913", "14255550142", "contoso-bank", "sign-in"] {
        let mut found = 0;
        for table in tables {
            // Octets stand in a row's text as hex.
            let octets = hex::encode(word);
            found += place.execute(&format!(
                "SELECT 1 FROM {table} AS r WHERE r::text LIKE '%{word}%' OR r::text LIKE '%{octets}%'"
            ));
        }
        assert_eq!(found, 0, "{word}");
    }
    assert!(place.execute("SELECT 1 FROM nodes WHERE name LIKE '%gw-1%'") > 0);
}

#[tokio::test]
async fn a_look_tells_who_has_it_and_what_is_in_it() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let url = format!("{url}?options=-csearch_path%3D{}", place.schema);
    let settings = place.settings();
    let found = database::check(&settings, &url).unwrap();
    assert_eq!((found.version, found.newest_version), (0, 2));
    assert!(found.well() && found.node.is_none() && found.content.is_none());
    let (ledger, mut done, recovered) = ledger_beside(&place, "gw-1");
    let key = recovered.first_challenge.0;
    let ops = vec![
        Op::Accept(new(key, "a")),
        Op::Accept(new(key + 1, "b")),
        conformance::end(key + 1, T0),
        Op::Report(Box::new(report(1, key, 1, Target::Http))),
    ];
    write(&ledger, &mut done, ops).await;
    let found = database::check(&settings, &url).unwrap();
    assert!(found.there == ["gw-1"] && found.well());
    assert_eq!(found.node.as_deref(), Some("gw-1"));
    let content = found.content.unwrap();
    let counts = (
        content.challenges,
        content.open,
        content.kept,
        content.waiting,
    );
    assert_eq!(counts, (2, 1, 1, 0));
    assert!(
        content
            .tables
            .iter()
            .any(|(name, octets)| name == "live" && *octets > 0)
    );
    ledger.close().await;
    // The key beside it is another now.
    let file = settings.path().with_extension("key");
    std::fs::remove_file(&file).unwrap();
    let found = database::check(&settings, &url).unwrap();
    assert!(!found.well(), "{found:?}");
    assert!(found.there.is_empty());
}
