//! What every ledger must do, whatever it is made of: one list, run against each kind by way of [`Home`].

use std::{sync::Arc, time::Duration};

use super::{engine::Engine, *};

mod limits;
mod owners;

pub(super) use limits::limits;
pub(super) use owners::engine_over;

/// Where a ledger lives: it can be opened again and again.
pub(super) trait Home {
    fn open(&self) -> Result<(Ledger, DoneReceiver, Recovered), OpenError>;

    /// The same in this thread, under this name.
    fn engine(&self, node: &str) -> (Engine, Recovered);

    /// Changes what is sealed in the row with this key (of a call: of its challenge), so that nothing opens it. Of a
    /// ledger that is closed.
    fn spoil(&self, table: Sealing, key: i64);
}

/// Tables whose rows are read one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sealing {
    Outbox,
    Calls,
    Inbox,
}

/// What the homes have their ledgers leave of what is over.
pub(super) const WIPE: Wipe = Wipe {
    job: |_| Vec::new(),
    life: <[u8]>::to_vec,
    report: |_| b"stripped".to_vec(),
    outcome: |_| b"outcome".to_vec(),
};

/// All of it, in the order in which a challenge meets it.
pub(super) async fn all(home: impl Fn() -> Box<dyn Home>) {
    accepts_and_gives_back(&*home()).await;
    the_same_id_again_is_known(&*home()).await;
    batches_are_done_in_order(&*home()).await;
    an_op_at_fault_leaves_the_rest_alone(&*home()).await;
    recovers_the_open_and_the_recent(&*home()).await;
    recovery_goes_by_pages(&*home()).await;
    reports_wait_until_done(&*home()).await;
    references_are_found_after_the_end(&*home()).await;
    the_inbox_keeps_what_came_until_it_is_done(&*home()).await;
    what_was_told_late_outlives_the_wiping(&*home()).await;
    early_words_meet_their_challenge(&*home()).await;
    wiped_in_time_and_deleted_after_retention(&*home()).await;
    keys_never_come_twice(&*home()).await;
    calls_left_up_are_given_back(&*home()).await;
    the_overlay_and_its_audit_survive(&*home()).await;
    octets_from_outside_come_back_as_they_were(&*home()).await;
    limits::over_a_limit_nothing_goes_in(&*home()).await;
    limits::what_does_not_go_in_counts_nowhere(&*home()).await;
    limits::windows_are_as_they_were_after_a_restart(&*home()).await;
    owners::what_belongs_to_another_is_not_written(&*home()).await;
    owners::an_opening_that_is_over_writes_nothing(&*home()).await;
    a_row_that_nothing_opens_hides_no_other(&*home()).await;
}

/// A batch, durable.
pub(super) async fn write(ledger: &Ledger, done: &mut DoneReceiver, ops: Vec<Op>) -> Done {
    ledger.submit(Batch { number: 7, ops }).await.unwrap();
    let done = done.recv().await.unwrap();
    assert_eq!(done.number, 7);
    done
}

pub(super) fn new(key: i64, id: &str) -> Box<NewChallenge> {
    Box::new(NewChallenge {
        key: ChallengeKey(key),
        tenant: "contoso-bank".into(),
        id: id.into(),
        content: [key as u8; 32],
        arrived: T0,
        deadline: T0 + Duration::from_secs(180),
        job: format!("job of {id} to +14255550142 code 482913").into_bytes(),
        life: b"life at birth".to_vec(),
        last: None,
        claim: None,
        limits: None,
    })
}

pub(super) fn report(key: i64, challenge: i64, seq: u32, target: Target) -> OutboxReport {
    OutboxReport {
        report: ReportKey(key),
        challenge: ChallengeKey(challenge),
        seq,
        target,
        body: Arc::from(format!("{{\"seq\":{seq},\"code\":\"482913\"}}").into_bytes()),
        is_final: seq > 1,
        until: T0 + Duration::from_secs(3_780),
    }
}

pub(super) fn end(key: i64, at: Millis) -> Op {
    Op::End {
        key: ChallengeKey(key),
        life: b"life at the end".to_vec(),
        last: b"final with code 482913".to_vec(),
        at,
    }
}

fn reply_to() -> Target {
    Target::ReplyTo {
        queue: "bank.replies".into(),
        correlation_id: Some("user-77@bank".into()),
    }
}

fn exchange(mandatory: bool) -> Target {
    Target::Exchange {
        routing_key: "delivered.sms.us".into(),
        mandatory,
    }
}

fn everything(recovered: &mut Recovered, now: Millis) -> Vec<Stored> {
    let mut all = Vec::new();
    loop {
        let page = recovered.next_page(now).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn call_up(challenge: i64, attempt: u16, state: &str) -> Op {
    Op::CallUp {
        key: AttemptKey {
            challenge: ChallengeKey(challenge),
            attempt,
        },
        carrier: "trunk".into(),
        state: state.into(),
    }
}

/// What is left up, as (challenge, attempt, state).
fn left_up(recovered: &mut Recovered) -> Vec<(i64, u16, String)> {
    let mut calls: Vec<_> = recovered
        .calls()
        .unwrap()
        .into_iter()
        .map(|call| {
            assert_eq!(&*call.carrier, "trunk");
            let AttemptKey { challenge, attempt } = call.key;
            (challenge.0, attempt, call.state.to_string())
        })
        .collect();
    calls.sort();
    calls
}

async fn calls_left_up_are_given_back(home: &dyn Home) {
    let (ledger, mut done, mut recovered) = home.open().unwrap();
    assert!(left_up(&mut recovered).is_empty());
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
    assert_eq!(left_up(&mut recovered), expected);
    ledger.close().await;
}

async fn accepts_and_gives_back(home: &dyn Home) {
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

async fn the_same_id_again_is_known(home: &dyn Home) {
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

async fn batches_are_done_in_order(home: &dyn Home) {
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

async fn an_op_at_fault_leaves_the_rest_alone(home: &dyn Home) {
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

async fn recovers_the_open_and_the_recent(home: &dyn Home) {
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

async fn recovery_goes_by_pages(home: &dyn Home) {
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

async fn reports_wait_until_done(home: &dyn Home) {
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

async fn references_are_found_after_the_end(home: &dyn Home) {
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
}

async fn the_inbox_keeps_what_came_until_it_is_done(home: &dyn Home) {
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

async fn what_was_told_late_outlives_the_wiping(home: &dyn Home) {
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

async fn early_words_meet_their_challenge(home: &dyn Home) {
    let (ledger, mut done, recovered) = home.open().unwrap();
    let key = recovered.first_challenge.0;
    let early = |id: &str, word| {
        Op::Early(PendingControl {
            tenant: "contoso-bank".into(),
            id: id.into(),
            word,
            until: T0 + Duration::from_secs(900),
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

async fn wiped_in_time_and_deleted_after_retention(home: &dyn Home) {
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
    while ledger.housekeep(at(86_401)).await.unwrap() {}
    assert!(ledger.get(ChallengeKey(key)).await.unwrap().is_none());
    let open = ledger.get(ChallengeKey(key + 1)).await.unwrap();
    assert!(open.is_some(), "open ones are never deleted");
    let heard = ledger.reports_of(ChallengeKey(key), 0).await.unwrap();
    assert!(heard.is_empty());
    ledger.housekeep(at(86_402)).await.unwrap();
    let found = ledger.find_reference("northwind", "r").await.unwrap();
    assert_eq!(found, None);
    let said = write(&ledger, &mut done, vec![Op::Accept(new(key + 2, "a"))]).await;
    assert!(said.known.is_empty());
}

async fn the_overlay_and_its_audit_survive(home: &dyn Home) {
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

async fn octets_from_outside_come_back_as_they_were(home: &dyn Home) {
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

async fn a_row_that_nothing_opens_hides_no_other(home: &dyn Home) {
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
        let calls = left_up(&mut recovered);
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

async fn keys_never_come_twice(home: &dyn Home) {
    let (ledger, _done, first) = home.open().unwrap();
    ledger.close().await;
    let (ledger, _done, second) = home.open().unwrap();
    assert!(second.epoch > first.epoch);
    assert!(second.first_challenge > first.first_challenge);
    assert!(second.first_report > first.first_report);
    ledger.close().await;
}

/// In a far future, so that the housekeeping by the real clock finds nothing to do.
pub(super) const T0: Millis = Millis(4_000_000_000_000);
