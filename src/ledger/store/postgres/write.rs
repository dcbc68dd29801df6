//! What a plan comes to, a statement for each table, all of them in one exchange.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;

use super::{
    found::UNCLAIM,
    plan::{OverlayChange, Plan, Twice},
    session::{Link, Param},
};
use crate::{
    admission::limited,
    challenge::Millis,
    ledger::{
        StoreError,
        group::{Group, OutboxRow, OverlayRow},
        limiter,
        seal::Mac,
    },
};

mod statements;

pub(super) use statements::STATEMENTS;
use statements::{
    ACCEPT, CALL_DOWN, CALL_UP, COUNT, EARLY, EARLY_WITHDRAWN, END, FEEDBACK, FORGET_RECORDS,
    IDS_OF, IN_FORCE, INBOX, INBOX_DONE, INBOX_HANDED, KEEP, KEPT, LATE, LIFE, NOT_IN_FORCE,
    PAST_FEEDBACK, PAST_LATE, RECLAIM, RECORD, REFERENCE, REPORT, REPORT_DONE, REPORTS, UNRECORD,
};

/// A statement with what it is given.
struct Write<'a> {
    sql: &'static str,
    params: Vec<Box<dyn ToSql + Sync + 'a>>,
    /// So many rows go in, or some were there already.
    rows: Option<u64>,
}

/// Parameters, each an array with an element for each row.
macro_rules! params {
    ($($param:expr),* $(,)?) => { vec![$(Box::new($param) as Box<dyn ToSql + Sync + '_>),*] };
}

/// Writes it, without the commit. Keys that were given twice: nothing may be committed, and the group is to be planned
/// again with them.
pub(super) async fn write(
    link: &Link,
    group: &Group,
    plan: &Plan,
) -> Result<Option<Twice>, StoreError> {
    let mut writes = Vec::new();
    ids(plan, &mut writes);
    challenges(group, plan, &mut writes);
    steps(group, plan, &mut writes);
    reports(group, plan, &mut writes);
    carriers(group, plan, &mut writes);
    calls(group, plan, &mut writes);
    control(group, plan, &mut writes);
    windows(group, plan, &mut writes);
    let put = writes.iter().map(async |write| {
        let params: Vec<Param<'_>> = write.params.iter().map(|p| &**p as Param<'_>).collect();
        link.put(write.sql, &params).await
    });
    let touched = try_join_all(put).await?;
    let short = writes.iter().zip(&touched);
    let mut short =
        short.filter(|(write, touched)| write.rows.is_some_and(|rows| rows > **touched));
    if short.any(|(write, _)| matches!(write.sql, ACCEPT | REPORT | KEEP))
        && let Some(twice) = twice(link, plan).await?
    {
        return Ok(Some(twice));
    }
    past(link, group, plan).await?;
    for change in &plan.overlay {
        overlay(link, group, change).await?;
    }
    Ok(None)
}

/// Ids whose accepts did not go in, or another one with the same did.
fn ids<'a>(plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let corrected = plan.corrected();
    let free = corrected.iter().filter(|(.., whose)| whose.is_none());
    let (free, of): (Vec<Vec<u8>>, Vec<i64>) =
        free.map(|(mac, key, _)| (mac.to_vec(), *key)).unzip();
    let moved = corrected
        .iter()
        .filter_map(|(mac, _, whose)| Some((mac.to_vec(), (*whose)?)));
    let (moved, keys): (Vec<Vec<u8>>, Vec<i64>) = moved.unzip();
    add(writes, UNCLAIM, free.len(), || params![free, of], false);
    add(writes, RECLAIM, moved.len(), || params![moved, keys], false);
}

fn challenges<'a>(group: &'a Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let all = || plan.accepts.values();
    let step = |key: &i64| plan.steps.get(key);
    let end = |key: &i64| step(key).and_then(|step| step.end);
    add(
        writes,
        ACCEPT,
        plan.accepts.len(),
        || {
            params![
                i32::from(group.owner.node),
                group.owner.term,
                all().map(|new| new.key).collect::<Vec<_>>(),
                all().map(|new| new.arrived).collect::<Vec<_>>(),
                all().map(|new| new.deadline).collect::<Vec<_>>(),
                all()
                    .map(|new| end(&new.key).map(|(_, at)| at).or(new.ended))
                    .collect::<Vec<_>>(),
                all()
                    .map(|new| plan.feedback.get(&new.key).copied())
                    .collect::<Vec<_>>(),
                all().map(|new| octets(&new.id)).collect::<Vec<_>>(),
                all().map(|new| group.get(new.head)).collect::<Vec<_>>(),
                all()
                    .map(|new| {
                        let last = end(&new.key).map(|(last, _)| last).or(new.last);
                        last.map(|last| group.get(last))
                    })
                    .collect::<Vec<_>>(),
                all()
                    .map(|new| group.get(step(&new.key).map_or(new.life, |step| step.life)))
                    .collect::<Vec<_>>(),
                all().map(|new| group.get(new.job)).collect::<Vec<_>>(),
                all()
                    .map(|new| new.limits.map(|row| limiter::write(&row.keys).to_vec()))
                    .collect::<Vec<_>>(),
                all()
                    .map(|new| plan.late.get(&new.key).map(|late| group.get(*late)))
                    .collect::<Vec<_>>(),
            ]
        },
        true,
    );
}

/// How far others have come, that were there before.
fn steps<'a>(group: &'a Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let is_old = |key: &i64| !plan.accepts.contains_key(key);
    let (mut keys, mut lives) = (Vec::new(), Vec::new());
    let (mut ended, mut last_lives, mut lasts, mut at) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, step) in plan.steps.iter().filter(|(key, _)| is_old(key)) {
        match step.end {
            None => {
                keys.push(*key);
                lives.push(group.get(step.life));
            }
            Some((last, when)) => {
                ended.push(*key);
                last_lives.push(group.get(step.life));
                lasts.push(group.get(last));
                at.push(when);
            }
        }
    }
    let term = group.owner.term;
    add(
        writes,
        LIFE,
        keys.len(),
        || params![keys, lives, term],
        false,
    );
    add(
        writes,
        END,
        ended.len(),
        || params![ended, last_lives, lasts, at, term],
        false,
    );
}

fn reports<'a>(group: &'a Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let outbox = || plan.outbox.values();
    add(
        writes,
        REPORT,
        plan.outbox.len(),
        || {
            params![
                i32::from(group.owner.node),
                outbox().map(|row| row.report).collect::<Vec<_>>(),
                outbox().map(|row| row.challenge).collect::<Vec<_>>(),
                outbox().map(|row| i64::from(row.seq)).collect::<Vec<_>>(),
                outbox()
                    .map(|row| row.kind.map_or(0, |kind| kind as i32))
                    .collect::<Vec<_>>(),
                outbox().map(|row| group.get(row.route)).collect::<Vec<_>>(),
                outbox().map(|row| row.is_final).collect::<Vec<_>>(),
                outbox().map(|row| row.until).collect::<Vec<_>>(),
                outbox().map(|row| row.at).collect::<Vec<_>>(),
                outbox().map(|row| group.get(row.body)).collect::<Vec<_>>(),
            ]
        },
        true,
    );
    let done: Vec<i64> = plan.outbox_done.iter().copied().collect();
    add(writes, REPORT_DONE, done.len(), || params![done], false);
    let kept = || plan.kept.values();
    add(
        writes,
        KEEP,
        plan.kept.len(),
        || {
            params![
                kept().map(|row| row.report).collect::<Vec<_>>(),
                kept().map(|row| row.challenge).collect::<Vec<_>>(),
                kept().map(|row| i64::from(row.seq)).collect::<Vec<_>>(),
                kept().map(|row| row.is_final).collect::<Vec<_>>(),
                kept().map(|row| row.until).collect::<Vec<_>>(),
                kept().map(|row| group.get(row.body)).collect::<Vec<_>>(),
            ]
        },
        true,
    );
}

fn carriers<'a>(group: &'a Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let refs = || plan.references.iter();
    add(
        writes,
        REFERENCE,
        plan.references.len(),
        || {
            params![
                refs().map(|((mac, ..), _)| octets(mac)).collect::<Vec<_>>(),
                refs().map(|((_, key, ..), _)| *key).collect::<Vec<_>>(),
                refs()
                    .map(|((.., attempt, _), _)| i32::from(*attempt))
                    .collect::<Vec<_>>(),
                refs()
                    .map(|((.., part), _)| i32::from(*part))
                    .collect::<Vec<_>>(),
                refs()
                    .map(|(_, (number, _))| i32::from(*number))
                    .collect::<Vec<_>>(),
                refs().map(|(_, (_, phone))| *phone).collect::<Vec<_>>(),
            ]
        },
        false,
    );
    let node = i32::from(group.owner.node);
    add(
        writes,
        INBOX,
        plan.inbox.len(),
        || {
            params![
                node,
                plan.inbox.keys().copied().collect::<Vec<_>>(),
                plan.inbox.values().map(|(at, _)| *at).collect::<Vec<_>>(),
                plan.inbox
                    .values()
                    .map(|(_, body)| group.get(*body))
                    .collect::<Vec<_>>(),
            ]
        },
        false,
    );
    let done: Vec<i64> = plan.inbox_done.iter().copied().collect();
    add(writes, INBOX_DONE, done.len(), || params![done], false);
    let handed = &plan.inbox_handed;
    let messages = || handed.keys().copied().collect::<Vec<_>>();
    let of = || handed.values().copied().collect::<Vec<_>>();
    add(
        writes,
        INBOX_HANDED,
        handed.len(),
        || params![messages(), of()],
        false,
    );
}

fn calls<'a>(group: &'a Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let node = i32::from(group.owner.node);
    let calls = || plan.calls.values();
    add(
        writes,
        CALL_UP,
        plan.calls.len(),
        || {
            params![
                node,
                calls().map(|call| call.challenge).collect::<Vec<_>>(),
                calls()
                    .map(|call| i32::from(call.attempt))
                    .collect::<Vec<_>>(),
                calls()
                    .map(|call| group.get(call.carrier))
                    .collect::<Vec<_>>(),
                calls()
                    .map(|call| group.get(call.state))
                    .collect::<Vec<_>>(),
            ]
        },
        false,
    );
    let down = || plan.calls_down.iter();
    add(
        writes,
        CALL_DOWN,
        plan.calls_down.len(),
        || {
            params![
                down().map(|(key, _)| *key).collect::<Vec<_>>(),
                down()
                    .map(|(_, attempt)| i32::from(*attempt))
                    .collect::<Vec<_>>(),
            ]
        },
        false,
    );
}

/// What is said of challenges: to come, open, or over.
fn control<'a>(group: &'a Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let gone = || plan.early_withdrawn.iter();
    add(
        writes,
        EARLY_WITHDRAWN,
        plan.early_withdrawn.len(),
        || {
            params![
                gone().map(|(mac, ..)| octets(mac)).collect::<Vec<_>>(),
                gone().map(|(_, word, _)| *word).collect::<Vec<_>>(),
                gone().map(|(.., until)| *until).collect::<Vec<_>>(),
            ]
        },
        false,
    );
    add(
        writes,
        EARLY,
        plan.early.len(),
        || {
            params![
                plan.early.keys().map(octets).collect::<Vec<_>>(),
                plan.early
                    .values()
                    .map(|waits| i32::from(waits.number))
                    .collect::<Vec<_>>(),
                plan.early
                    .values()
                    .map(|waits| waits.word)
                    .collect::<Vec<_>>(),
                plan.early
                    .values()
                    .map(|waits| waits.until)
                    .collect::<Vec<_>>(),
            ]
        },
        false,
    );
    let old = |key: &&i64| !plan.accepts.contains_key(*key);
    let late: Vec<i64> = plan.late.keys().filter(old).copied().collect();
    let said: Vec<&[u8]> = late.iter().map(|key| group.get(plan.late[key])).collect();
    add(writes, LATE, late.len(), || params![late, said], false);
    let heard: Vec<i64> = plan.feedback.keys().filter(old).copied().collect();
    let verified: Vec<bool> = heard.iter().map(|key| plan.feedback[key]).collect();
    add(
        writes,
        FEEDBACK,
        heard.len(),
        || params![heard, verified],
        false,
    );
}

/// Windows that the accepts count in.
fn windows<'a>(group: &Group, plan: &'a Plan, writes: &mut Vec<Write<'a>>) {
    let mut counted: BTreeMap<u64, Millis> = BTreeMap::new();
    for new in plan.accepts.values() {
        let Some(row) = &new.limits else { continue };
        for (_, pace, key) in limited(&row.keys, group.limits(row)) {
            let until = counted.entry(key).or_default();
            *until = (*until).max(Millis(new.arrived) + pace.per);
        }
    }
    let keys: Vec<i64> = counted.keys().map(|key| key.cast_signed()).collect();
    let until: Vec<i64> = counted.values().map(|until| until.0).collect();
    let arrivals = counted.keys().map(|key| plan.found.windows.arrivals(*key));
    let arrivals: Vec<_> = arrivals.map(|all| limiter::write_arrivals(&all)).collect();
    add(
        writes,
        COUNT,
        keys.len(),
        || params![keys, until, arrivals],
        false,
    );
}

fn add<'a>(
    writes: &mut Vec<Write<'a>>,
    sql: &'static str,
    rows: usize,
    params: impl FnOnce() -> Vec<Box<dyn ToSql + Sync + 'a>>,
    is_counted: bool,
) {
    if rows > 0 {
        writes.push(Write {
            sql,
            params: params(),
            rows: is_counted.then_some(rows as u64),
        });
    }
}

fn octets(mac: &Mac) -> &[u8] {
    mac.as_slice()
}

/// Which of the plan's new keys were there with something else. None: what was there is what the plan has, from a commit
/// whose answer was lost.
async fn twice(link: &Link, plan: &Plan) -> Result<Option<Twice>, StoreError> {
    let mut twice = Twice::default();
    let keys: Vec<i64> = plan.accepts.keys().copied().collect();
    for row in link.rows(IDS_OF, &[&keys]).await? {
        let (key, id): (i64, &[u8]) = (row.get(0), row.get(1));
        if plan.accepts.get(&key).is_some_and(|new| new.id != id) {
            twice.challenges.insert(key);
        }
    }
    for (sql, reports) in [(REPORTS, &plan.outbox), (KEPT, &plan.kept)] {
        let keys: Vec<i64> = reports.keys().copied().collect();
        for row in link.rows(sql, &[&keys]).await? {
            let (key, there): (i64, (i64, i64)) = (row.get(0), (row.get(1), row.get(2)));
            let is_other = |row: &OutboxRow| (row.challenge, i64::from(row.seq)) != there;
            if reports.get(&key).is_some_and(is_other) {
                twice.reports.insert(key);
            }
        }
    }
    let is_any = !(twice.challenges.is_empty() && twice.reports.is_empty());
    Ok(is_any.then_some(twice))
}

/// What is said of challenges that are wiped already.
async fn past(link: &Link, group: &Group, plan: &Plan) -> Result<(), StoreError> {
    if !plan.late.is_empty() {
        let keys: Vec<i64> = plan.late.keys().copied().collect();
        let late: Vec<&[u8]> = plan.late.values().map(|late| group.get(*late)).collect();
        link.put(PAST_LATE, &[&keys, &late]).await?;
    }
    if !plan.feedback.is_empty() {
        let keys: Vec<i64> = plan.feedback.keys().copied().collect();
        let verified: Vec<bool> = plan.feedback.values().copied().collect();
        link.put(PAST_FEEDBACK, &[&keys, &verified]).await?;
    }
    Ok(())
}

/// Puts what is in force for a subject, with the record of it: once, also where the answer of its commit was lost.
async fn overlay(link: &Link, group: &Group, change: &OverlayChange) -> Result<(), StoreError> {
    match change {
        OverlayChange::Put(row) => {
            in_force(link, group, row).await?;
            let audit = group.get(row.audit);
            if link.put(RECORD, &[&audit, &AUDIT_LATE]).await? > 0 {
                link.put(FORGET_RECORDS, &[&AUDIT_KEPT]).await?;
            }
        }
        OverlayChange::Undo(row) => {
            let audit = group.get(row.audit);
            if link.put(UNRECORD, &[&audit, &AUDIT_LATE]).await? > 0 {
                in_force(link, group, row).await?;
            }
        }
    }
    Ok(())
}

async fn in_force(link: &Link, group: &Group, row: &OverlayRow) -> Result<(), StoreError> {
    let subject = group.get(row.subject);
    match row.entry {
        Some(entry) => link.put(IN_FORCE, &[&subject, &group.get(entry)]).await?,
        None => link.put(NOT_IN_FORCE, &[&subject]).await?,
    };
    Ok(())
}

/// Audit records that are kept: years of an operator's work, a few megabytes.
const AUDIT_KEPT: i64 = 20_000;
/// A change that was just committed is among so many records.
const AUDIT_LATE: i64 = 64;
