//! Several nodes beside each other on one database.

use super::*;
use crate::{
    clock::Now,
    ledger::{
        store::{Beat, NodeRow, StoreNodes},
        types::InboxMessage,
    },
};

fn nodes(engine: &Engine) -> Box<dyn StoreNodes> {
    engine.store.nodes().expect("nodes beside each other")
}

fn row(nodes: &mut dyn StoreNodes, name: &str) -> NodeRow {
    let rows = nodes.beat(&Beat::default()).unwrap().expect("it is there");
    rows.into_iter().find(|row| row.name == name).expect(name)
}

fn message(key: i64) -> Op {
    Op::Inbox(Box::new(InboxMessage {
        key: InboxKey(key),
        at: T0,
        body: b"what was brought".to_vec(),
    }))
}

fn one(engine: &mut Engine, ops: Vec<Op>) -> Done {
    let batch = Batch { number: 1, ops };
    patiently(engine, &[batch]).remove(0)
}

fn to_queue() -> Target {
    Target::ReplyTo {
        queue: "bank.replies".into(),
        correlation_id: None,
    }
}

/// All that a node had goes to the one that takes it, those that end first before the others; what has ended stays.
#[test]
fn what_a_node_left_is_taken_over_in_bites() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (mut left, recovered) = beside(&place, "gw-1");
    let (mut takes, _) = beside(&place, "gw-2");
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    let mut ops: Vec<Op> = (0..5)
        .map(|n| {
            let mut new = new(key + n, &format!("c-{n}"));
            new.deadline = T0 + Duration::from_secs(100 - n.unsigned_abs());
            Op::Accept(new)
        })
        .collect();
    ops.push(conformance::end(key + 4, T0));
    ops.push(Op::Report(Box::new(report(first, key + 4, 1, to_queue()))));
    ops.push(message(recovered.first_message.0));
    assert!(one(&mut left, ops).is_whole());

    let mut nodes = nodes(&takes);
    let dead = row(nodes.as_mut(), "gw-1");
    let bite = nodes.take(&dead, 2).unwrap();
    let keys = |taken: &crate::ledger::store::TakenRows| {
        let mut keys: Vec<i64> = taken.challenges.iter().map(|row| row.key - key).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!((keys(&bite), bite.is_more), (vec![2, 3], true));
    assert_eq!((bite.reports, bite.inbox.len()), (1, 1));
    let bite = nodes.take(&dead, 2).unwrap();
    assert_eq!(keys(&bite), [0, 1]);
    let bite = nodes.take(&dead, 2).unwrap();
    assert_eq!((keys(&bite), bite.is_more), (vec![], false));

    // It goes on here, and not there.
    let step = |n: i64| Op::Life {
        key: ChallengeKey(key + n),
        life: b"gone on".to_vec(),
    };
    assert_eq!(one(&mut left, vec![step(0)]).fenced, [ChallengeKey(key)]);
    assert!(one(&mut takes, vec![step(0)]).is_whole());
}

/// One that lives after all, or has opened the ledger again, is left alone.
#[test]
fn a_node_whose_beat_has_moved_on_is_left_alone() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (mut one_engine, recovered) = beside(&place, "gw-1");
    let (two, _) = beside(&place, "gw-2");
    let key = recovered.first_challenge.0;
    one(&mut one_engine, vec![Op::Accept(new(key, "a"))]);
    let (mut of_one, mut of_two) = (nodes(&one_engine), nodes(&two));
    let seen = row(of_two.as_mut(), "gw-1");
    of_one.beat(&Beat::default()).unwrap().expect("it lives");
    assert!(of_two.take(&seen, 10).unwrap().challenges.is_empty());

    let seen = row(of_two.as_mut(), "gw-1");
    drop((one_engine, of_one));
    let (again, mut recovered) = beside(&place, "gw-1");
    assert!(of_two.take(&seen, 10).unwrap().challenges.is_empty());
    let page = recovered.next_page(T0).unwrap();
    assert_eq!(page.len(), 1, "it takes up its own at once");
    drop(again);
}

#[test]
fn a_name_is_one_node_s_at_a_time() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (first, _) = beside(&place, "gw-1");
    let second = Postgres::over(place.target(), place.settings().path(), "gw-1", Whom::Each);
    assert!(matches!(second, Err(OpenError::NameInUse { .. })));
    drop(first);
}

/// Whoever comes after knows that its place is taken.
#[test]
fn an_opening_that_is_over_beats_no_more() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (engine, _) = beside(&place, "gw-1");
    let mut before = nodes(&engine);
    assert!(before.beat(&Beat::default()).unwrap().is_some());
    drop(engine);
    let (_again, _) = beside(&place, "gw-1");
    assert_eq!(before.beat(&Beat::default()).unwrap(), None);
}

/// A word and a receipt come to the wrong node: the right one finds both, until they are done.
#[test]
fn what_comes_to_the_wrong_node_is_found_by_the_right_one() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let (mut has, recovered) = beside(&place, "gw-1");
    let (mut hears, other) = beside(&place, "gw-2");
    let key = recovered.first_challenge.0;
    one(&mut has, vec![Op::Accept(new(key, "a"))]);
    let brought = other.first_message.0;
    let word = Op::Early(PendingControl {
        tenant: "contoso-bank".into(),
        id: "a".into(),
        word: ControlMessage::Cancel,
        until: T0 + Duration::from_secs(900),
        elsewhere: true,
        claim: None,
    });
    let challenge = ChallengeKey(key);
    let handed = |message| Op::InboxHanded {
        key: InboxKey(message),
        challenge,
    };
    let said = one(&mut hears, vec![word, message(brought), handed(brought)]);
    assert!(said.is_whole() && said.met.len() == 1);
    let mut nodes_of = [nodes(&has), nodes(&hears)];
    let found = nodes_of.each_mut().map(|nodes| nodes.errands().unwrap());
    let words = found.each_ref().map(|found| found.words.len());
    let messages = found.each_ref().map(|found| found.inbox.len());
    assert_eq!((words, messages), ([1, 0], [1, 0]));
    assert_eq!(found[0].words[0].0, key);

    one(
        &mut has,
        vec![Op::InboxDone {
            key: InboxKey(brought),
        }],
    );
    assert!(nodes_of[0].errands().unwrap().inbox.is_empty());
    // Of one that has ended by now nobody has anything: it comes back.
    one(&mut has, vec![conformance::end(key, T0)]);
    one(&mut hears, vec![message(brought + 1), handed(brought + 1)]);
    let found = nodes_of.each_mut().map(|nodes| nodes.errands().unwrap());
    assert_eq!(found.map(|found| found.inbox.len()), [0, 1]);
}

/// One that ends well is followed at once, and its term is not waited for.
#[tokio::test]
async fn a_node_that_leaves_is_followed_at_once() {
    let Some(url) = url() else { return };
    let place = Place::new(&url);
    let open = |node: &str| ledger_beside(&place, node);
    let (stays, _done, _) = open("gw-2");
    let mut news = stays.attend().expect("news of other nodes");
    let (leaves, mut done, recovered) = open("gw-1");
    let key = recovered.first_challenge.0;
    write(&leaves, &mut done, vec![Op::Accept(new(key, "a"))]).await;
    let began = Now::read().mono;
    assert!(leaves.close().await.is_none());
    let taken = loop {
        match news.recv().await.expect("it lives") {
            NodeNews::TakenOver(taken) => break taken,
            NodeNews::Others { .. } | NodeNews::Word(..) | NodeNews::Handed(_) => {}
        }
    };
    let took = Now::read().mono.saturating_duration_since(began);
    assert!(took < clock::TERM / 2, "{took:?}");
    assert_eq!(&*taken.node, "gw-1");
    assert_eq!(taken.challenges[0].id.as_ref(), "a");
    stays.close().await;
}
