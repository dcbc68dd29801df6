//! What carriers bring, and what is up at them.

use super::*;

pub(super) async fn calls_left_up_are_given_back(home: &dyn Home) {
    let (ledger, mut done, mut recovered) = home.open().unwrap();
    assert!(unterminated(&mut recovered).is_empty());
    let key = recovered.first_challenge.0;
    let ops = vec![
        call_up(key, 1, "invited"),
        call_up(key, 2, "invited too"),
        call_up(key + 1, 1, "another's"),
        call_up(key, 1, "answered"),
    ];
    write(&ledger, &mut done, ops).await;
    let ended = AttemptKey {
        challenge: ChallengeKey(key + 1),
        attempt: 1,
    };
    write(&ledger, &mut done, vec![Op::CallDown { key: ended }]).await;
    ledger.close().await;
    let (ledger, _done, mut recovered) = home.open().unwrap();
    let expected = [
        (key, 1, "answered".to_owned()),
        (key, 2, "invited too".to_owned()),
    ];
    assert_eq!(unterminated(&mut recovered), expected);
    ledger.close().await;
}

pub(super) async fn references_are_found_after_the_end(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge;
    let attempt = |attempt| AttemptKey {
        challenge: key,
        attempt,
    };
    let reference = |carrier: &str, n| Op::Reference {
        carrier: carrier.into(),
        reference: "0000A7F3".into(),
        key: attempt(n),
        part: 0,
        phone: Tail::written(&format!("+1202555010{n}")),
    };
    let ops = vec![
        Op::Accept(new(key.0, "a")),
        reference("northwind", 1),
        reference("tailspin", 2),
        end(key.0, T0),
    ];
    write(&ledger, &mut done, ops).await;
    for (carrier, n) in [("northwind", Some(1)), ("tailspin", Some(2)), ("x", None)] {
        let found = ledger.find_reference(carrier, "0000A7F3").await.unwrap();
        assert_eq!(found, n.map(attempt), "{carrier}");
    }
    // A carrier that begins its numbers anew means the newer message.
    write(&ledger, &mut done, vec![reference("northwind", 3)]).await;
    let found = ledger.find_reference("northwind", "0000A7F3").await;
    assert_eq!(found.unwrap(), Some(attempt(3)));
    // And both stay known: the phone tells them apart, also by a reference in another form.
    let phones = vec![Tail::written("2025550101").expect("a phone")];
    let forms = vec!["42995".into(), "0000A7F3".into()];
    let found = ledger.find_references("northwind".into(), forms, phones);
    let (form, found) = found.await.unwrap();
    assert_eq!(form, 1);
    let each: Vec<_> = found.iter().map(|r| (r.key, r.same_phone)).collect();
    assert_eq!(each, [(attempt(3), Some(false)), (attempt(1), Some(true))]);
    // A form that leads to other phones alone hides no other form that leads to this one.
    let other = Op::Reference {
        carrier: "northwind".into(),
        reference: "42995".into(),
        key: attempt(4),
        part: 0,
        phone: Tail::written("+12025550104"),
    };
    write(&ledger, &mut done, vec![other]).await;
    for (phone, form) in [("2025550101", 1), ("2025550104", 0), ("2025550109", 0)] {
        let phones = vec![Tail::written(phone).expect("a phone")];
        let forms = vec!["42995".into(), "0000A7F3".into()];
        let found = ledger.find_references("northwind".into(), forms, phones);
        assert_eq!(found.await.unwrap().0, form, "{phone}");
    }
}

pub(super) async fn the_inbox_keeps_what_came_until_it_is_done(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let first = recovered.first_message;
    let message = |n| InboxMessage {
        key: InboxKey(first.0 + n),
        at: T0 + Duration::from_secs(n as u64),
        body: format!("a receipt for +1202555010{n}").into_bytes(),
    };
    let put = |n| Op::Inbox(Box::new(message(n)));
    write(&ledger, &mut done, vec![put(0), put(1)]).await;
    let ops = vec![
        Op::InboxDone {
            key: message(0).key,
        },
        put(2),
    ];
    write(&ledger, &mut done, ops).await;
    ledger.close().await;
    let (ledger, _done, mut recovered) = home.open().unwrap();
    assert_eq!(recovered.inbox().unwrap(), [message(1), message(2)]);
    assert!(recovered.first_message > message(2).key);
    ledger.close().await;
}

pub(super) async fn what_was_told_late_outlives_the_wiping(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge;
    write(
        &ledger,
        &mut done,
        vec![Op::Accept(new(key.0, "a")), end(key.0, T0)],
    )
    .await;
    ledger
        .housekeep(T0 + Duration::from_secs(361))
        .await
        .unwrap();
    let late = b"seq 4".to_vec();
    write(&ledger, &mut done, vec![Op::Late { key, late }]).await;
    let stored = ledger.get(key).await.unwrap().unwrap();
    assert!(stored.job.is_empty());
    assert_eq!(stored.late, b"seq 4");
    ledger.close().await;
}
