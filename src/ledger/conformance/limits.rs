//! Limits, of which the store gives the verdict as it takes a challenge.

use super::*;
use crate::{
    admission::{Guard, Kind, Limits},
    config::settings::Settings,
};

/// Those that the homes are opened with: three a person in five minutes, ten a tenant in a day; six a prefix are told.
pub(in crate::ledger) fn limits() -> Limits {
    let some = Settings::default().limits.per_user;
    let pace = |count, minutes: u64| {
        some.map(|mut pace| {
            (pace.count, pace.per) = (count, Duration::from_secs(minutes * 60));
            pace
        })
    };
    Limits {
        per_user: pace(3, 5),
        per_number: None,
        per_prefix: pace(6, 10),
        per_country: None,
        per_tenant: pace(10, 24 * 60),
        guard: Guard::Deny,
        prefix_guard: Some(Guard::Record),
    }
}

/// An accept of this person that came so many seconds after T0.
fn counted(key: i64, user: u64, seconds: u64) -> Box<NewChallenge> {
    let check = LimitCheck {
        keys: [user, 100 + user, 200, 0, 300],
        limits: Arc::new(limits()),
    };
    let arrived = T0 + Duration::from_secs(seconds);
    Box::new(NewChallenge {
        arrived,
        deadline: arrived + Duration::from_secs(180),
        limits: Some(check),
        ..*new(key, &format!("c-{key}"))
    })
}

/// Who was refused, and for which limit.
fn refused(done: &Done) -> Vec<(i64, Kind)> {
    let limited = done.limited.iter();
    limited
        .filter_map(|limited| Some((limited.key.0, limited.taken.refused?)))
        .collect()
}

pub(super) async fn over_a_limit_nothing_goes_in(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    assert!(recovered.full.is_empty());
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    // In one batch, in one group, and one by one.
    let ops = vec![
        Op::Accept(counted(key, 1, 0)),
        Op::Accept(counted(key + 1, 1, 10)),
        Op::Accept(counted(key + 2, 1, 20)),
        Op::Accept(counted(key + 3, 1, 30)),
        Op::Report(Box::new(report(first, key + 3, 1, reply_to()))),
        Op::Reference {
            carrier: "northwind".into(),
            reference: "r".into(),
            key: AttemptKey {
                challenge: ChallengeKey(key + 3),
                attempt: 1,
            },
            part: 0,
            phone: None,
        },
        end(key + 3, T0),
        Op::Accept(counted(key + 4, 2, 30)),
    ];
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!(refused(&said), [(key + 3, Kind::User)]);
    let reopens = Some(T0 + Duration::from_secs(300));
    let full = said.limited.iter();
    let full: Vec<_> = full.map(|l| (l.key.0, l.taken.full[0])).collect();
    assert_eq!(full, [(key + 2, reopens), (key + 3, reopens)]);
    assert!(said.lost.is_empty() && said.refused.is_empty() && said.known.is_empty());
    assert!(ledger.get(ChallengeKey(key + 3)).await.unwrap().is_none());
    assert_eq!(ledger.pending([T0; AGES]).await.unwrap().count, 0);
    assert_eq!(ledger.find_reference("northwind", "r").await.unwrap(), None);
    assert!(ledger.get(ChallengeKey(key + 4)).await.unwrap().is_some());
    // Its id is free: it goes in as refused, under another key, and counts nowhere.
    let mut again = counted(key + 5, 1, 30);
    again.id = format!("c-{}", key + 3).into();
    again.last = Some(b"rejected".to_vec());
    again.limits = None;
    let said = write(&ledger, &mut done, vec![Op::Accept(again)]).await;
    assert!(said.limited.is_empty() && said.known.is_empty());
    // The window slides: one is over, and one has room.
    let ops = vec![
        Op::Accept(counted(key + 6, 1, 299)),
        Op::Accept(counted(key + 7, 1, 300)),
        Op::Accept(counted(key + 8, 1, 301)),
    ];
    let said = write(&ledger, &mut done, ops).await;
    let over = [(key + 6, Kind::User), (key + 8, Kind::User)];
    assert_eq!(refused(&said), over);
    // The sixth of the prefix fills it, the seventh is told and goes in; the eleventh of the tenant does not.
    let mut recorded = Vec::new();
    for n in 0..8 {
        let accept = Op::Accept(counted(key + 10 + n, 10 + n as u64, 400));
        let said = write(&ledger, &mut done, vec![accept]).await;
        let over = said.limited.iter();
        let over = over.filter(|limited| limited.taken.recorded[Kind::Prefix as usize]);
        recorded.extend(over.map(|limited| (limited.key.0 - key, limited.taken.refused)));
    }
    let tenant = Some(Kind::Tenant);
    let expected = [(11, None), (12, None), (13, None), (14, None)];
    assert_eq!(recorded[..4], expected);
    assert_eq!(recorded[4..], [(15, tenant), (16, tenant), (17, tenant)]);
    ledger.close().await;
}

pub(super) async fn what_does_not_go_in_counts_nowhere(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let gone = Claim::default();
    assert!(gone.give_up());
    let mut withdrawn = counted(key + 1, 1, 0);
    withdrawn.claim = Some(gone);
    let mut again = counted(key + 2, 1, 0);
    again.id = format!("c-{key}").into();
    let mut twice = counted(key, 1, 0);
    twice.id = "another with this key".into();
    let ops = vec![
        Op::Accept(counted(key, 1, 0)),
        Op::Accept(withdrawn),
        Op::Accept(again),
        Op::Accept(twice),
        Op::Accept(counted(key + 3, 1, 0)),
        Op::Accept(counted(key + 4, 1, 0)),
        Op::Accept(counted(key + 5, 1, 0)),
    ];
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!(said.known.len(), 1);
    assert_eq!(said.lost, [ChallengeKey(key + 1), ChallengeKey(key)]);
    assert_eq!(refused(&said), [(key + 5, Kind::User)]);
    // What is known is told as known, not as over the limit.
    let mut again = counted(key + 6, 1, 0);
    again.id = format!("c-{key}").into();
    let said = write(&ledger, &mut done, vec![Op::Accept(again)]).await;
    assert_eq!((said.known.len(), said.limited.len()), (1, 0));
    ledger.close().await;
}

pub(super) async fn windows_are_as_they_were_after_a_restart(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let mut ops: Vec<_> = (0..5)
        .map(|n| Op::Accept(counted(key + n, 1, n as u64 * 10)))
        .collect();
    ops.extend((0..3).map(|n| end(key + n, T0)));
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!(refused(&said).len(), 2);
    while ledger
        .housekeep(T0 + Duration::from_secs(3_600))
        .await
        .unwrap()
    {}
    ledger.close().await;
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let reopens = T0 + Duration::from_secs(300);
    assert_eq!(recovered.full, [(1, reopens)]);
    let ops = vec![
        Op::Accept(counted(key, 1, 299)),
        Op::Accept(counted(key + 1, 1, 300)),
        Op::Accept(counted(key + 2, 1, 301)),
    ];
    let said = write(&ledger, &mut done, ops).await;
    let over = [(key, Kind::User), (key + 2, Kind::User)];
    assert_eq!(refused(&said), over);
    let unrecorded = |limited: &&Limited| limited.taken.recorded == [false; 5];
    assert_eq!(said.limited.iter().filter(unrecorded).count(), 3);
    ledger.close().await;
}
