//! What is taken, once, in order, and given back at a start.

use super::*;

pub(super) async fn accepts_and_gives_back(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let life = Op::Life {
        key: ChallengeKey(key),
        life: b"sent".to_vec(),
    };
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key, "a")), life]).await;
    assert!(said.known.is_empty() && said.early.is_empty() && said.refused.is_empty());
    let stored = ledger.find("contoso-bank", "a").await.unwrap().unwrap();
    let given = new(key, "a");
    assert_eq!(
        stored,
        Stored {
            key: given.key,
            tenant: given.tenant,
            id: given.id,
            content: given.content,
            arrived: given.arrived,
            deadline: given.deadline,
            job: given.job,
            life: b"sent".to_vec(),
            last: None,
            ended: None,
            late: Vec::new(),
            verified: None,
            early: None,
        }
    );
    assert!(ledger.find("another", "a").await.unwrap().is_none());
    let at = T0 + Duration::from_secs(3);
    let feedback = Op::Feedback {
        key: given.key,
        verified: true,
        at,
    };
    write(&ledger, &mut done, vec![end(key, at), feedback]).await;
    let stored = ledger.get(given.key).await.unwrap().unwrap();
    assert_eq!(stored.ended, Some(at));
    assert_eq!(stored.last.as_deref(), Some(&b"final with code 482913"[..]));
    assert_eq!(stored.verified, Some(true));
    assert_eq!(ledger.newest(9).await.unwrap(), vec![stored]);
}

pub(super) async fn the_same_id_again_is_known(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    write(&ledger, &mut done, vec![Op::Accept(new(key, "a"))]).await;
    // The second brings more of its own, and a stranger.
    let second = || {
        vec![
            Op::Accept(new(key + 1, "a")),
            Op::Report(Box::new(report(9, key + 1, 1, reply_to()))),
            end(key + 1, T0),
            Op::Accept(new(key + 2, "b")),
        ]
    };
    let said = write(&ledger, &mut done, second()).await;
    assert_eq!(said.known.len(), 1);
    let (asked, known) = &said.known[0];
    assert_eq!((asked.0, known.key.0), (key + 1, key));
    assert_eq!((known.content, known.ended), ([key as u8; 32], None));
    assert!(known.last.is_none());
    assert!(ledger.get(ChallengeKey(key + 1)).await.unwrap().is_none());
    assert!(ledger.get(ChallengeKey(key + 2)).await.unwrap().is_some());
    assert_eq!(ledger.pending([T0; AGES]).await.unwrap().count, 0);
    write(&ledger, &mut done, vec![end(key, T0)]).await;
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key + 3, "a"))]).await;
    assert_eq!(
        said.known[0].1.last.as_deref(),
        Some(&b"final with code 482913"[..])
    );
}

pub(super) async fn batches_are_done_in_order(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    for number in 0..1_000 {
        let ops = match number % 3 {
            0 => Vec::new(),
            // Twice the same id, often within one commit.
            _ => vec![Op::Accept(new(key + number, &format!("{}", number / 3)))],
        };
        let number = number as u64;
        ledger.submit(Batch { number, ops }).await.unwrap();
    }
    for number in 0..1_000 {
        let done = done.recv().await.unwrap();
        assert_eq!(done.number, number);
        assert_eq!(done.known.len(), usize::from(number % 3 == 2), "{number}");
    }
}

pub(super) async fn an_op_at_fault_leaves_the_rest_alone(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let ops = vec![
        Op::Accept(new(key, "a")),
        Op::Report(Box::new(report(1, key, 1, reply_to()))),
        Op::Accept(new(key, "another with this key")),
        Op::Report(Box::new(report(1, key + 5, 1, reply_to()))),
        Op::Accept(new(key + 1, "b")),
    ];
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!(said.refused, [2, 3]);
    assert_eq!(said.lost.len(), 1, "an accept, so that it isn't acked");
    assert!(ledger.find("contoso-bank", "a").await.unwrap().is_some());
    assert!(ledger.find("contoso-bank", "b").await.unwrap().is_some());
    assert_eq!(ledger.pending([T0; AGES]).await.unwrap().count, 1);
    assert_eq!(ledger.healthy(), Ok(()));
}

pub(super) async fn recovers_the_open_and_the_recent(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let late = T0 + Duration::from_secs(600);
    let mut ops = Vec::new();
    for (n, id) in ["ended long ago", "open", "ended lately", "rejected"]
        .into_iter()
        .enumerate()
    {
        let mut new = new(key + n as i64, id);
        if n >= 2 {
            new.arrived = late;
        }
        if n == 3 {
            new.last = Some(b"rejected".to_vec());
        }
        ops.push(Op::Accept(new));
    }
    ops.extend([end(key, T0), end(key + 2, late)]);
    write(&ledger, &mut done, ops).await;
    ledger.close().await;

    let now = late + Duration::from_secs(299);
    let (ledger, _done, mut recovered) = home.open().unwrap();
    let ids: Vec<_> = everything(&mut recovered, now)
        .into_iter()
        .map(|s| (s.id.to_string(), s.ended, s.job.is_empty()))
        .collect();
    assert_eq!(
        ids,
        [
            ("open".to_string(), None, false),
            ("ended lately".to_string(), Some(late), false),
            ("rejected".to_string(), Some(late), false)
        ]
    );
    ledger.close().await;
}

pub(super) async fn recovery_goes_by_pages(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let first = recovered.first_challenge.0;
    let count = Recovered::PAGE as i64 * 2 + 3;
    let ops = (0..count)
        .map(|n| Op::Accept(new(first + n, &n.to_string())))
        .collect();
    write(&ledger, &mut done, ops).await;
    ledger.close().await;
    let (ledger, mut done, mut recovered) = home.open().unwrap();
    // What comes in meanwhile is not recovered.
    let meanwhile = vec![Op::Accept(new(recovered.first_challenge.0, "meanwhile"))];
    write(&ledger, &mut done, meanwhile).await;
    let page = recovered.next_page(T0).unwrap();
    assert_eq!(page.len(), Recovered::PAGE);
    let rest = everything(&mut recovered, T0);
    let keys: Vec<_> = page.iter().chain(&rest).map(|s| s.key.0).collect();
    assert_eq!(keys, (first..first + count).collect::<Vec<_>>());
    ledger.close().await;
}

pub(super) async fn keys_never_come_twice(home: &dyn Home) {
    let (ledger, _done, first) = home.open().unwrap();
    ledger.close().await;
    let (ledger, _done, second) = home.open().unwrap();
    assert!(second.epoch > first.epoch);
    assert!(second.first_challenge > first.first_challenge);
    assert!(second.first_report > first.first_report);
    ledger.close().await;
}
