//! What every ledger must do, whatever it is made of: one list, run against each kind by way of [`Home`].

use std::{sync::Arc, time::Duration};

use super::{engine::Engine, *};

mod carriers;
mod intake;
mod keeping;
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

    /// So much longer than retention may it keep what is over.
    fn slack(&self) -> Duration {
        Duration::ZERO
    }
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
    intake::accepts_and_gives_back(&*home()).await;
    intake::the_same_id_again_is_known(&*home()).await;
    intake::batches_are_done_in_order(&*home()).await;
    intake::an_op_at_fault_leaves_the_rest_alone(&*home()).await;
    intake::recovers_the_open_and_the_recent(&*home()).await;
    intake::recovery_goes_by_pages(&*home()).await;
    keeping::reports_wait_until_done(&*home()).await;
    carriers::references_are_found_after_the_end(&*home()).await;
    carriers::the_inbox_keeps_what_came_until_it_is_done(&*home()).await;
    carriers::what_was_told_late_outlives_the_wiping(&*home()).await;
    keeping::early_words_meet_their_challenge(&*home()).await;
    keeping::wiped_in_time_and_deleted_after_retention(&*home()).await;
    intake::keys_never_come_twice(&*home()).await;
    carriers::calls_left_up_are_given_back(&*home()).await;
    keeping::the_overlay_and_its_audit_survive(&*home()).await;
    keeping::octets_from_outside_come_back_as_they_were(&*home()).await;
    limits::over_a_limit_nothing_goes_in(&*home()).await;
    limits::what_does_not_go_in_counts_nowhere(&*home()).await;
    limits::windows_are_as_they_were_after_a_restart(&*home()).await;
    owners::what_belongs_to_another_is_not_written(&*home()).await;
    owners::an_opening_that_is_over_writes_nothing(&*home()).await;
    keeping::a_row_that_nothing_opens_hides_no_other(&*home()).await;
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
fn unterminated(recovered: &mut Recovered) -> Vec<(i64, u16, String)> {
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

/// In a far future, so that the housekeeping by the real clock finds nothing to do.
pub(super) const T0: Millis = Millis(4_000_000_000_000);
