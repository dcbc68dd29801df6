//! Challenges are written for the node that owns them, and for no other.

use super::*;
use crate::ledger::store::Store;

/// An engine over this store, as a writer has one.
pub(in crate::ledger) fn engine_over(
    store: Box<dyn Store>,
    settings: &LedgerSettings,
) -> (Engine, Recovered) {
    let masters = keys::read(|| store.keys(), settings.path(), &settings.keys).unwrap();
    let keeping = Keeping {
        wipe: WIPE,
        retention: settings.retention,
        outcomes: settings.outcomes,
    };
    let (engine, _, recovered) = Engine::begin(store, settings.path(), masters, keeping).unwrap();
    (engine, recovered)
}

/// Each of these in a batch of its own, in one group.
fn commit(engine: &mut Engine, batches: Vec<Vec<Op>>) -> Vec<Done> {
    let batches = (1..).zip(batches);
    let batches: Vec<_> = batches.map(|(number, ops)| Batch { number, ops }).collect();
    let dones = engine.commit(T0, &batches).unwrap();
    assert_eq!(dones.len(), batches.len());
    dones
}

fn life(key: i64, life: &str) -> Op {
    Op::Life {
        key: ChallengeKey(key),
        life: life.as_bytes().to_vec(),
    }
}

fn reference_of(key: i64, reference: &str) -> Op {
    Op::Reference {
        carrier: "northwind".into(),
        reference: reference.into(),
        key: AttemptKey {
            challenge: ChallengeKey(key),
            attempt: 1,
        },
        part: 0,
        phone: None,
    }
}

pub(super) async fn what_belongs_to_another_is_not_written(home: &dyn Home) {
    let (mut engine, recovered) = home.engine("gw-1");
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    let inbox = recovered.first_message;
    let message = |n: i64| InboxMessage {
        key: InboxKey(inbox.0 + n),
        at: T0,
        body: b"a receipt".to_vec(),
    };
    let mut ops = vec![Op::Accept(new(key, "a")), Op::Accept(new(key + 1, "b"))];
    ops.extend([0, 1].map(|n| Op::Inbox(Box::new(message(n)))));
    commit(&mut engine, vec![ops]);
    let before = engine.group.owner;
    drop(engine);
    // Another has it, with all that is open. The first lives on, and does not know.
    let (mut engine, _recovered) = home.engine("gw-2");
    let now = engine.group.owner;
    assert!(before.node != now.node && before.term < now.term);
    commit(&mut engine, vec![vec![end(key + 1, T0)]]);
    engine.group.owner = before;
    let said = commit(
        &mut engine,
        vec![
            vec![
                Op::Report(Box::new(report(first, key, 1, reply_to()))),
                Op::Report(Box::new(report(first + 1, key, 1, Target::Http))),
                life(key, "gone on"),
                reference_of(key, "r0"),
                call_up(key, 1, "invited"),
                Op::InboxDone {
                    key: message(0).key,
                },
                Op::Report(Box::new(report(first + 2, key + 4, 1, reply_to()))),
            ],
            vec![
                Op::Accept(new(key + 3, "d")),
                life(key + 3, "gone on"),
                Op::InboxDone {
                    key: message(1).key,
                },
            ],
            // Of one that the other has ended: no other end, but what is known of it besides.
            vec![
                Op::End {
                    key: ChallengeKey(key + 1),
                    life: b"another end".to_vec(),
                    last: b"another final".to_vec(),
                    at: T0,
                },
                reference_of(key + 1, "r1"),
            ],
            vec![
                reference_of(key + 1, "r2"),
                Op::Late {
                    key: ChallengeKey(key + 1),
                    late: b"late".to_vec(),
                },
            ],
        ],
    );
    assert_eq!(said[0].fenced, [ChallengeKey(key)]);
    assert_eq!(said[2].fenced, [ChallengeKey(key + 1)]);
    let whole: Vec<_> = said.iter().map(Done::is_whole).collect();
    assert_eq!(whole, [false, true, false, true]);
    assert!(
        said.iter()
            .all(|done| done.lost.is_empty() && done.refused.is_empty())
    );
    // What is its own it may write; and the owner goes on.
    engine.group.owner = now;
    let said = commit(&mut engine, vec![vec![life(key, "the owner's")]]);
    assert!(said[0].is_whole());
    drop(engine);

    let (ledger, _done, mut recovered) = home.open().unwrap();
    let stored = |key| ledger.get(ChallengeKey(key));
    let a = stored(key).await.unwrap().unwrap();
    assert_eq!((a.life, a.ended), (b"the owner's".to_vec(), None));
    let b = stored(key + 1).await.unwrap().unwrap();
    assert_eq!(b.last.as_deref(), Some(&b"final with code 482913"[..]));
    assert_eq!(
        (b.life, b.late),
        (b"life at the end".to_vec(), b"late".to_vec())
    );
    let d = stored(key + 3).await.unwrap().unwrap();
    assert_eq!(d.life, b"gone on");
    let waiting = ledger.pending_reports(ReportKey(0), 10).await.unwrap();
    let keys: Vec<_> = waiting.iter().map(|r| r.report.0 - first).collect();
    assert_eq!(keys, [2], "of a challenge that nobody else has");
    assert!(
        ledger
            .reports_of(ChallengeKey(key), 0)
            .await
            .unwrap()
            .is_empty()
    );
    for (reference, leads) in [("r0", None), ("r1", None), ("r2", Some(key + 1))] {
        let found = ledger.find_reference("northwind", reference).await.unwrap();
        assert_eq!(found.map(|at| at.challenge.0), leads, "{reference}");
    }
    assert!(unterminated(&mut recovered).is_empty());
    assert_eq!(recovered.inbox().unwrap(), [message(0)]);
    ledger.close().await;
}

pub(super) async fn an_opening_that_is_over_writes_nothing(home: &dyn Home) {
    let (mut engine, recovered) = home.engine("gw-1");
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    commit(&mut engine, vec![vec![Op::Accept(new(key, "a"))]]);
    let before = engine.group.owner;
    drop(engine);
    let (mut engine, _recovered) = home.engine("gw-1");
    let now = engine.group.owner;
    assert_eq!(now.node, before.node, "the same node, in another term");
    engine.group.owner = before;
    let early = Op::Early(PendingControl {
        tenant: "contoso-bank".into(),
        id: "b".into(),
        word: ControlMessage::Cancel,
        until: T0 + Duration::from_secs(900),
        elsewhere: false,
        claim: None,
    });
    let said = commit(
        &mut engine,
        vec![
            vec![end(key, T0), Op::Accept(new(key + 1, "b"))],
            vec![
                early,
                Op::Report(Box::new(report(first, key, 1, reply_to()))),
            ],
        ],
    );
    assert!(said.iter().all(|done| done.failed.is_some()));
    assert_eq!(said[0].lost, [ChallengeKey(key + 1)]);
    for done in &said {
        assert_eq!(done.fenced, [ChallengeKey(key)]);
    }
    engine.group.owner = now;
    let said = commit(&mut engine, vec![vec![life(key, "gone on")]]);
    assert!(said[0].is_whole());
    drop(engine);
    let (ledger, ..) = home.open().unwrap();
    let stored = ledger.get(ChallengeKey(key)).await.unwrap().unwrap();
    assert_eq!((stored.life, stored.ended), (b"gone on".to_vec(), None));
    assert!(ledger.find("contoso-bank", "b").await.unwrap().is_none());
    assert_eq!(ledger.early_word("contoso-bank", "b").await.unwrap(), None);
    assert_eq!(ledger.pending([T0; AGES]).await.unwrap().count, 0);
    ledger.close().await;
}
