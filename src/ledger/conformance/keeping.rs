//! Reports, control messages and changes by operators, for as long as they are kept.

use super::*;

pub(super) async fn reports_wait_until_done(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let first = recovered.first_report.0;
    let plain = Target::ReplyTo {
        queue: "bank.replies".into(),
        correlation_id: None,
    };
    let reports = [
        report(first, key, 1, reply_to()),
        report(first + 1, key, 1, exchange(false)),
        report(first + 2, key, 2, exchange(true)),
        report(first + 3, key, 1, Target::Http),
        report(first + 4, key, 2, Target::Http),
        report(first + 5, key, 2, plain),
    ];
    let mut ops = vec![Op::Accept(new(key, "a"))];
    ops.extend(reports.iter().cloned().map(Box::new).map(Op::Report));
    write(&ledger, &mut done, ops).await;
    let waiting = ledger.pending_reports(ReportKey(0), 100).await.unwrap();
    let [a, b, c, h1, h2, d] = reports;
    assert_eq!(waiting, [a.clone(), b.clone(), c.clone(), d.clone()]);
    let now = crate::clock::now();
    let hour = Duration::from_secs(3_600);
    let pending = ledger
        .pending([now + hour, now, now - hour, Millis(0)])
        .await;
    let pending = pending.unwrap();
    assert_eq!((pending.count, pending.before), (4, [4, 4, 0, 0]));
    assert!(
        pending
            .oldest
            .is_some_and(|at| at <= now && at > now - hour)
    );
    let two = ledger.pending_reports(a.report, 2).await.unwrap();
    assert_eq!(two, [b.clone(), c.clone()]);
    let ops = [&a, &c, &h1]
        .map(|r| Op::ReportDone { report: r.report })
        .into_iter()
        .collect();
    write(&ledger, &mut done, ops).await;
    ledger.close().await;

    let (ledger, _done, _recovered) = home.open().unwrap();
    let waiting = ledger.pending_reports(ReportKey(0), 100).await.unwrap();
    assert_eq!(waiting, [b, d]);
    assert_eq!(ledger.pending([now; AGES]).await.unwrap().before, [2; AGES]);
    let heard = ledger.reports_of(ChallengeKey(key), 0).await.unwrap();
    assert_eq!(heard, [h1, h2.clone()]);
    assert_eq!(ledger.reports_of(ChallengeKey(key), 1).await.unwrap(), [h2]);
    ledger.close().await;
}

pub(super) async fn early_words_meet_their_challenge(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let early = |id: &str, word| {
        Op::Early(PendingControl {
            tenant: "contoso-bank".into(),
            id: id.into(),
            word,
            until: T0 + Duration::from_secs(900),
            elsewhere: false,
            claim: None,
        })
    };
    let said = write(&ledger, &mut done, vec![early("a", ControlMessage::Cancel)]).await;
    assert!(said.met.is_empty());
    let word = ledger.early_word("contoso-bank", "a").await.unwrap();
    assert_eq!(word, Some(ControlMessage::Cancel));
    let ops = vec![Op::Accept(new(key, "a")), Op::Accept(new(key + 1, "b"))];
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!(said.early, [(ChallengeKey(key), ControlMessage::Cancel)]);
    // For an id that is known after all, open or ended.
    let ops = vec![
        early("b", ControlMessage::Cancel),
        end(key + 1, T0),
        early("b", ControlMessage::NotVerified),
    ];
    let said = write(&ledger, &mut done, ops).await;
    let met: Vec<_> = said
        .met
        .iter()
        .map(|(n, k)| (*n, k.key.0, k.ended))
        .collect();
    assert_eq!(met, [(0, key + 1, None), (2, key + 1, Some(T0))]);
    let stored = ledger.find("contoso-bank", "b").await.unwrap().unwrap();
    assert_eq!(stored.verified, Some(false));
    // Of an open one, what somebody claims is durable before it takes effect; what they gave up is not there, even if a
    // commit has put it there whose success was not told.
    let claimed = |claim: &Claim| match early("c", ControlMessage::Cancel) {
        Op::Early(control) => Op::Early(PendingControl {
            claim: Some(claim.clone()),
            ..control
        }),
        other => other,
    };
    let (kept, gone) = (Claim::default(), Claim::default());
    assert!(gone.give_up());
    let ops = vec![Op::Accept(new(key + 2, "c")), claimed(&kept)];
    let said = write(&ledger, &mut done, ops).await;
    assert_eq!((said.met.len(), kept.give_up()), (1, false));
    let word = ledger.early_word("contoso-bank", "c").await.unwrap();
    assert_eq!(word, Some(ControlMessage::Cancel));
    let said = write(&ledger, &mut done, vec![claimed(&gone)]).await;
    assert!(said.met.is_empty());
    let word = ledger.early_word("contoso-bank", "c").await.unwrap();
    assert_eq!(word, None);
    ledger.close().await;
    // Through a restart, until its time is over.
    let (ledger, _done, mut recovered) = home.open().unwrap();
    let open = everything(&mut recovered, T0);
    assert_eq!(open[0].early, Some(ControlMessage::Cancel));
    ledger
        .housekeep(T0 + Duration::from_secs(901))
        .await
        .unwrap();
    let word = ledger.early_word("contoso-bank", "a").await.unwrap();
    assert_eq!(word, None);
    ledger.close().await;
}

pub(super) async fn wiped_in_time_and_deleted_after_retention(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let reference = Op::Reference {
        carrier: "northwind".into(),
        reference: "r".into(),
        key: AttemptKey {
            challenge: ChallengeKey(key),
            attempt: 1,
        },
        part: 0,
        phone: None,
    };
    let ops = vec![
        Op::Accept(new(key, "a")),
        Op::Accept(new(key + 1, "still open")),
        reference,
        Op::Report(Box::new(report(1, key, 1, Target::Http))),
        end(key, T0),
    ];
    write(&ledger, &mut done, ops).await;
    let at = |seconds| T0 + Duration::from_secs(seconds);
    let whole = ledger.get(ChallengeKey(key)).await.unwrap().unwrap();
    ledger.housekeep(at(359)).await.unwrap();
    assert_eq!(
        ledger.get(ChallengeKey(key)).await.unwrap().unwrap(),
        whole,
        "the limiter may need it"
    );
    ledger.housekeep(at(361)).await.unwrap();
    let wiped = ledger.get(ChallengeKey(key)).await.unwrap().unwrap();
    assert!(wiped.job.is_empty());
    assert_eq!(wiped.life, whole.life);
    assert_eq!(wiped.last.as_deref(), Some(&b"stripped"[..]));
    assert_eq!((wiped.id, wiped.content), (whole.id, whole.content));
    let heard = ledger.reports_of(ChallengeKey(key), 0).await.unwrap();
    assert_eq!(&*heard[0].body, b"stripped");
    let open = ledger.get(ChallengeKey(key + 1)).await.unwrap().unwrap();
    assert!(!open.job.is_empty());

    ledger.housekeep(at(86_399)).await.unwrap();
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key + 2, "a"))]).await;
    assert_eq!(said.known.len(), 1, "remembered for 24 h");
    let slack = home.slack().as_secs();
    while ledger.housekeep(at(86_401 + slack)).await.unwrap() {}
    assert!(ledger.get(ChallengeKey(key)).await.unwrap().is_none());
    let open = ledger.get(ChallengeKey(key + 1)).await.unwrap();
    assert!(open.is_some(), "open ones are never deleted");
    let heard = ledger.reports_of(ChallengeKey(key), 0).await.unwrap();
    assert!(heard.is_empty());
    ledger.housekeep(at(86_402 + slack)).await.unwrap();
    let found = ledger.find_reference("northwind", "r").await.unwrap();
    assert_eq!(found, None);
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key + 2, "a"))]).await;
    assert!(said.known.is_empty());
}

pub(super) async fn the_overlay_and_its_audit_survive(home: &dyn Home) {
    let (ledger, mut done, _) = home.open().unwrap();
    let op = |subject: &str, entry: Option<&str>, audit: &str| Op::Overlay {
        subject: subject.into(),
        entry: entry.map(|entry| entry.as_bytes().to_vec()),
        audit: audit.as_bytes().to_vec(),
        order: None,
    };
    let ops = vec![
        op("a", Some("first"), "1"),
        op("b", Some("second"), "2"),
        op("a", Some("third"), "3"),
        op("b", None, "4"),
    ];
    write(&ledger, &mut done, ops).await;
    let audit = ledger.audit(3).await.unwrap();
    assert_eq!(audit, [b"4", b"3", b"2"], "newest first");
    ledger.close().await;
    let (ledger, _done, mut recovered) = home.open().unwrap();
    assert_eq!(recovered.overlay().unwrap(), [b"third".to_vec()]);
    ledger.close().await;
}

pub(super) async fn octets_from_outside_come_back_as_they_were(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    let odd = [
        "a\0b",
        "\0",
        "\u{fffd}\u{10ffff}",
        "' OR 1=1 --",
        "\u{1b}[31m",
    ];
    let mut ops = vec![Op::Accept(new(key, "\0"))];
    let reply_to = |n: i64, odd: &str| OutboxReport {
        target: Target::ReplyTo {
            queue: odd.into(),
            correlation_id: Some(odd.into()),
        },
        ..report(first + n, key, 1, exchange(false))
    };
    for (n, odd) in (0..).zip(odd) {
        let at = AttemptKey {
            challenge: ChallengeKey(key),
            attempt: n as u16,
        };
        ops.push(Op::Report(Box::new(reply_to(n, odd))));
        ops.push(Op::Reference {
            carrier: odd.into(),
            reference: odd.into(),
            key: at,
            part: 0,
            phone: None,
        });
        ops.push(Op::CallUp {
            key: at,
            carrier: odd.into(),
            state: odd.into(),
        });
        ops.push(Op::Overlay {
            subject: odd.into(),
            entry: Some(odd.as_bytes().to_vec()),
            audit: odd.as_bytes().to_vec(),
            order: None,
        });
    }
    let said = write(&ledger, &mut done, ops).await;
    assert!(said.refused.is_empty() && said.known.is_empty());
    ledger.close().await;
    let (ledger, _done, mut recovered) = home.open().unwrap();
    let waiting = ledger.pending_reports(ReportKey(0), 100).await.unwrap();
    let given: Vec<_> = (0..).zip(odd).map(|(n, odd)| reply_to(n, odd)).collect();
    assert_eq!(waiting, given);
    let calls = recovered.calls().unwrap();
    let mut names: Vec<_> = calls.iter().map(|call| &*call.carrier).collect();
    let mut given = odd.to_vec();
    names.sort_unstable();
    given.sort_unstable();
    assert_eq!(names, given);
    let mut entries = recovered.overlay().unwrap();
    entries.sort_unstable();
    assert_eq!(
        entries,
        given.iter().map(|odd| odd.as_bytes()).collect::<Vec<_>>()
    );
    for (n, odd) in (0..).zip(odd) {
        let found = ledger.find_reference(odd, odd).await.unwrap();
        assert_eq!(found.map(|at| at.attempt), Some(n), "{odd:?}");
    }
    assert!(ledger.find("contoso-bank", "\0").await.unwrap().is_some());
    ledger.close().await;
}

pub(super) async fn a_row_that_nothing_opens_hides_no_other(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let (key, first) = (recovered.first_challenge.0, recovered.first_report.0);
    let inbox = recovered.first_message.0;
    let mut ops = vec![Op::Accept(new(key, "a"))];
    for n in 0..4 {
        let report = report(first + n, key, n as u32 + 1, exchange(false));
        ops.push(Op::Report(Box::new(report)));
        ops.push(call_up(key + n, 1, "invited"));
        ops.push(Op::Inbox(Box::new(InboxMessage {
            key: InboxKey(inbox + n),
            at: T0,
            body: b"a receipt".to_vec(),
        })));
    }
    write(&ledger, &mut done, ops).await;
    ledger.close().await;
    for n in [0, 2] {
        home.spoil(Sealing::Outbox, first + n);
        home.spoil(Sealing::Calls, key + n);
        home.spoil(Sealing::Inbox, inbox + n);
    }
    // They are kept: another start, with the right key, finds them.
    for _ in 0..2 {
        let (ledger, _done, mut recovered) = home.open().unwrap();
        for limit in [1, 100] {
            let waiting = ledger.pending_reports(ReportKey(0), limit).await.unwrap();
            let keys: Vec<_> = waiting.iter().map(|r| r.report.0 - first).collect();
            assert_eq!(keys, [1, 3][..limit.min(2)]);
        }
        let pending = ledger.pending([T0; AGES]).await.unwrap();
        assert_eq!(pending.count, 4);
        let calls = unterminated(&mut recovered);
        let keys: Vec<_> = calls
            .iter()
            .map(|(challenge, ..)| challenge - key)
            .collect();
        assert_eq!(keys, [1, 3]);
        let messages = recovered.inbox().unwrap();
        let keys: Vec<_> = messages.iter().map(|m| m.key.0 - inbox).collect();
        assert_eq!(keys, [1, 3]);
        ledger.close().await;
    }
}
