//! What a group comes to, in memory: verdicts on its rows in their order, and what is left to be written for each table.
//! Pure: [`Found`] is what the database says, inside the transaction that will write.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    admission::Windows,
    challenge::Millis,
    ledger::{
        StoreError,
        group::{
            AcceptRow, Accepted, CallUpRow, EarlyRow, Group, KnownRow, OutboxRow, OverlayRow, Row,
            RowFault, RowVerdict, Span,
        },
        seal::Mac,
    },
};

/// What there is before the group is written.
#[derive(Default)]
pub(super) struct Found {
    /// Whose these ids are, other than by a claim of this transaction.
    pub ids: HashMap<Mac, i64>,
    /// Ids that this transaction has claimed, each for an accept of its own.
    pub claimed: HashMap<Mac, i64>,
    pub known: HashMap<i64, KnownRow>,
    /// The control messages that wait, as their numbers.
    pub early: HashMap<Mac, i64>,
    /// Those that the group's accepts count in.
    pub windows: Windows,
    /// Keys that are there although they should be new.
    pub twice: Twice,
}

/// Keys that were given twice. Found where they are written; then the group is planned again.
#[derive(Clone, Debug, Default)]
pub(super) struct Twice {
    pub challenges: BTreeSet<i64>,
    pub reports: BTreeSet<i64>,
}

impl Twice {
    pub fn add(&mut self, found: Twice) {
        self.challenges.extend(found.challenges);
        self.reports.extend(found.reports);
    }
}

/// What is to be written.
#[derive(Default)]
pub(super) struct Plan {
    pub found: Found,
    pub accepts: BTreeMap<i64, AcceptRow>,
    /// How far challenges have come, new ones too.
    pub steps: BTreeMap<i64, StepRow>,
    pub late: BTreeMap<i64, Span>,
    pub feedback: BTreeMap<i64, bool>,
    /// The key that made the HMAC, and the phone.
    pub references: BTreeMap<ReferenceKey, (u16, Option<i64>)>,
    pub inbox: BTreeMap<i64, (i64, Span)>,
    pub inbox_done: BTreeSet<i64>,
    /// With the challenge that each is for.
    pub inbox_handed: BTreeMap<i64, i64>,
    pub outbox: BTreeMap<i64, OutboxRow>,
    pub outbox_done: BTreeSet<i64>,
    pub kept: BTreeMap<i64, OutboxRow>,
    pub calls: BTreeMap<(i64, u16), CallUpRow>,
    pub calls_down: BTreeSet<(i64, u16)>,
    pub early: BTreeMap<Mac, Waits>,
    pub early_withdrawn: BTreeSet<(Mac, i64, i64)>,
    pub overlay: Vec<OverlayChange>,
    /// Ids of the accepts that go in.
    taken: HashMap<Mac, i64>,
}

/// HMAC, challenge, attempt and part.
type ReferenceKey = (Mac, i64, u16, u16);

#[derive(Clone, Copy)]
pub(super) struct StepRow {
    pub life: Span,
    /// Its final report, and when.
    pub end: Option<(Span, i64)>,
}

/// A control message that waits.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    pub number: u16,
    pub word: i64,
    pub until: i64,
}

#[derive(Clone, Copy)]
pub(super) enum OverlayChange {
    Put(OverlayRow),
    Undo(OverlayRow),
}

type Fault = RowFault<StoreError>;

impl Plan {
    pub fn of(found: Found) -> Plan {
        Plan {
            found,
            ..Plan::default()
        }
    }

    /// Takes a row in; None: nothing is to be said of it.
    pub fn put(&mut self, group: &Group, row: &Row) -> Result<Option<RowVerdict>, Fault> {
        match row {
            Row::Accept(new) => return self.accept(group, new),
            // Done before all the others.
            Row::Withdrawn { .. } => return Ok(Some(RowVerdict::Withdrawn)),
            Row::Unsealed { .. } => {}
            Row::Life { key, life } => {
                let step = self.steps.entry(*key).or_insert(StepRow {
                    life: *life,
                    end: None,
                });
                step.life = *life;
            }
            Row::End(end) => {
                let step = StepRow {
                    life: end.life,
                    end: Some((end.last, end.at)),
                };
                self.steps.insert(end.key, step);
            }
            Row::Reference { mac, number, row } => {
                let place = (*mac, row.challenge, row.attempt, row.part);
                self.references.insert(place, (*number, row.phone));
            }
            Row::Inbox { key, at, body } => {
                self.inbox.entry(*key).or_insert((*at, *body));
            }
            Row::InboxDone { key } => {
                self.inbox.remove(key);
                self.inbox_done.insert(*key);
            }
            Row::InboxHanded { key, challenge } => {
                self.inbox_handed.insert(*key, *challenge);
            }
            Row::Late { key, late } => {
                self.late.insert(*key, *late);
            }
            Row::CallUp(call) => {
                let key = (call.challenge, call.attempt);
                self.calls_down.remove(&key);
                self.calls.insert(key, *call);
            }
            Row::CallDown { challenge, attempt } => {
                let key = (*challenge, *attempt);
                self.calls.remove(&key);
                self.calls_down.insert(key);
            }
            Row::Report(report) => self.report(report)?,
            Row::ReportDone { report } => {
                self.outbox.remove(report);
                self.outbox_done.insert(*report);
            }
            Row::Early(early) => return Ok(self.control(group, early).map(RowVerdict::Met)),
            Row::EarlyWithdrawn(EarlyRow {
                id, word, until, ..
            }) => {
                let waits = self.early.get(id);
                if waits.is_some_and(|waits| (waits.word, waits.until) == (*word, *until)) {
                    self.early.remove(id);
                }
                self.early_withdrawn.insert((*id, *word, *until));
            }
            Row::Overlay(row) => self.overlay.push(OverlayChange::Put(*row)),
            Row::OverlayWithdrawn(row) => self.overlay.push(OverlayChange::Undo(*row)),
            Row::Feedback { key, verified } => {
                self.feedback.insert(*key, *verified);
            }
        }
        Ok(None)
    }

    fn accept(&mut self, group: &Group, new: &AcceptRow) -> Result<Option<RowVerdict>, Fault> {
        let before = self.found.windows.mark();
        let put = self.limited_accept(group, new);
        if !matches!(put, Ok(None | Some(RowVerdict::Accepted(_)))) {
            self.found.windows.back_to(before);
        }
        put
    }

    /// What it has counted in the windows is taken back if it did not go in.
    fn limited_accept(
        &mut self,
        group: &Group,
        new: &AcceptRow,
    ) -> Result<Option<RowVerdict>, Fault> {
        let macs = || group.macs(new.older).chain([new.id]);
        let known = macs().find_map(|mac| self.whose(&mac));
        // This very row, written before, is there where the answer of a commit was lost. It has been counted then.
        let is_written = match known {
            Some(key) if key == new.key => !self.accepts.contains_key(&key),
            Some(key) => {
                let known = self.known(group, key);
                return match known {
                    Some(known) => Ok(Some(RowVerdict::Known(known))),
                    None => Err(Fault::Row(
                        "its id is taken, and nothing is known of it".into(),
                    )),
                };
            }
            None => false,
        };
        if !is_written
            && (self.accepts.contains_key(&new.key)
                || self.found.twice.challenges.contains(&new.key))
        {
            return Err(twice("challenge"));
        }
        let mut limits = None;
        if !is_written {
            limits = new.limits.as_ref().map(|row| {
                let limits = group.limits(row);
                let windows = &mut self.found.windows;
                windows.take(&row.keys, limits, Millis(new.arrived))
            });
            if let Some(taken) = limits.filter(|taken| taken.refused.is_some()) {
                return Ok(Some(RowVerdict::OverLimit(taken)));
            }
            self.taken.insert(new.id, new.key);
            self.accepts.insert(new.key, *new);
        }
        let waits = [new.id].into_iter().chain(group.macs(new.older));
        let waits = waits.into_iter().find_map(|mac| self.waits(&mac));
        let limits = limits.filter(|taken| !taken.is_plain());
        Ok(Accepted { waits, limits }.verdict())
    }

    fn whose(&self, mac: &Mac) -> Option<i64> {
        let taken = self.taken.get(mac).or_else(|| self.found.ids.get(mac));
        taken.copied()
    }

    fn waits(&self, mac: &Mac) -> Option<i64> {
        let here = self.early.get(mac).map(|waits| waits.word);
        here.or_else(|| self.found.early.get(mac).copied())
    }

    /// A challenge as it is with what the group has written of it so far.
    fn known(&self, group: &Group, key: i64) -> Option<KnownRow> {
        let octets = |span| group.get(span).to_vec();
        let mut known = match (self.accepts.get(&key), self.found.known.get(&key)) {
            (Some(new), _) => KnownRow {
                key,
                head: octets(new.head),
                ended: new.ended,
                last: new.last.map(octets),
                rest: None,
            },
            (None, Some(known)) => known.clone(),
            (None, None) => return None,
        };
        let step = self.steps.get(&key).filter(|_| known.rest.is_none());
        if let Some((last, at)) = step.and_then(|step| step.end) {
            (known.last, known.ended) = (Some(octets(last)), Some(at));
        }
        Some(known)
    }

    fn report(&mut self, report: &OutboxRow) -> Result<(), Fault> {
        let key = report.report;
        let place = |row: &OutboxRow| (row.challenge, row.seq);
        let reports = match report.kind {
            Some(_) => &mut self.outbox,
            None => &mut self.kept,
        };
        let there = reports.get(&key);
        if there.is_some_and(|there| place(there) != place(report))
            || self.found.twice.reports.contains(&key)
        {
            return Err(twice("report"));
        }
        reports.entry(key).or_insert(*report);
        Ok(())
    }

    fn control(&mut self, group: &Group, row: &EarlyRow) -> Option<KnownRow> {
        let mut macs = [row.id].into_iter().chain(group.macs(row.older));
        let key = macs.find_map(|mac| self.whose(&mac));
        let known = key.and_then(|key| self.known(group, key));
        match &known {
            Some(known) if known.ended.is_some() => {
                if let Some(verified) = row.verified {
                    self.feedback.insert(known.key, verified);
                }
            }
            // It takes effect in memory, and what comes of that is written by itself.
            Some(_) if !row.stays => {}
            Some(_) | None => {
                let waits = Waits {
                    number: row.number,
                    word: row.word,
                    until: row.until,
                };
                self.early.insert(row.id, waits);
            }
        }
        known
    }

    /// Claims that are other than what came of them: the id, for whom it was claimed, and whose it is now, if anybody's.
    pub fn corrected(&self) -> Vec<(Mac, i64, Option<i64>)> {
        let claimed = self.found.claimed.iter();
        let corrected = claimed.filter_map(|(mac, key)| {
            let whose = self.taken.get(mac).copied();
            (whose != Some(*key)).then_some((*mac, *key, whose))
        });
        corrected.collect()
    }
}

fn twice(what: &str) -> Fault {
    Fault::Row(format!("the key of a {what} was given twice"))
}
