//! The ledger in plain maps in memory: the rows as the seam gives them, and nothing of a database. For rehearsals and for
//! tests of the seam; what is not committed is lost with the [`MapStore`], what is committed lives as long as [`Maps`].
//!
//! It goes by age where a file with one writer goes by the order of keys, and it can be told to refuse a commit, or to lose
//! its answer.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Opening, Store, StoreReads};
use crate::{
    admission::Windows,
    challenge::Millis,
    ledger::{
        AGES, Keeping, Pending, StoreError, StoreErrorKind,
        codec::Codec,
        group::{
            AcceptRow, Accepted, EarlyRow, Fence, Group, KnownRow, OutboxRow, OverlayRow, Owner,
            ReferenceRow, Row, RowFault, RowVerdict, Verdict,
        },
        limiter,
        rows::{CallRow, ChallengeRow, InboxRow, KeptRow, KnownKey, OutcomeRow, WaitingRow},
        seal::{Mac, Sealed},
    },
};

mod accept;
mod age;
mod reads;

#[cfg(test)]
mod tests;

/// What outlives a crash; cheap to clone, one set of maps behind all clones.
#[derive(Clone, Default)]
pub struct Maps(Arc<Mutex<Tables>>);

impl Maps {
    /// Opens it as a process that starts does.
    pub(in crate::ledger) fn open(&self, node: &str) -> MapStore {
        MapStore {
            maps: self.clone(),
            node: node.to_owned(),
            windows: Windows::default(),
            resealing: true,
            in_doubt: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic in between leaves a transaction half done, as no crash does: tests fail by the panic itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many commits from now on fail, in this way.
    #[cfg(test)]
    pub(in crate::ledger) fn refuse(&self, commits: usize, refusal: Refusal) {
        self.lock().refusals = Some((commits, refusal));
    }

    /// From now on the report with this key is refused, with all that is to be committed at once with it.
    #[cfg(test)]
    pub(in crate::ledger) fn refuse_report(&self, report: i64) {
        self.lock().refused_report = Some(report);
    }
}

/// One opening of it.
pub(in crate::ledger) struct MapStore {
    maps: Maps,
    node: String,
    windows: Windows,
    /// What older keys have sealed may be there.
    resealing: bool,
    /// The last group's answer was lost.
    in_doubt: bool,
}

#[derive(Default)]
struct Tables {
    epoch: i64,
    /// Names, with their terms; the place is the number.
    nodes: Vec<(String, i64)>,
    keys: Vec<KnownKey>,
    secrets: BTreeMap<String, Sealed>,
    challenges: BTreeMap<i64, Challenge>,
    ids: BTreeMap<Mac, i64>,
    /// With the number of the key that made the HMAC.
    references: BTreeMap<Mac, Vec<(u16, ReferenceRow)>>,
    inbox: BTreeMap<i64, InboxRow>,
    outbox: BTreeMap<i64, Waiting>,
    /// By challenge, `seq` and key.
    kept: BTreeMap<(i64, u32, i64), KeptRow>,
    calls: BTreeMap<(i64, u16), CallRow>,
    early: BTreeMap<Mac, Early>,
    overlay: BTreeMap<Vec<u8>, Vec<u8>>,
    audit: Vec<Vec<u8>>,
    outcomes: BTreeMap<i64, (Mac, OutcomeRow)>,
    /// The last group that took effect: its opening and its number, with what was to be said.
    last: Option<(i64, u64, Vec<Verdict>)>,
    refusals: Option<(usize, Refusal)>,
    /// A report with this key is refused, and with it its group.
    refused_report: Option<i64>,
}

/// How a commit fails. Only tests make one fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code))]
pub(in crate::ledger) enum Refusal {
    /// Nothing takes effect.
    Nothing,
    /// It takes effect, and is taken for one that did not.
    Unnoticed,
    /// It takes effect, and nobody knows.
    InDoubt,
}

struct Challenge {
    /// The node's number.
    owner: u16,
    id: Mac,
    limits: Option<Vec<u8>>,
    wiped: bool,
    row: ChallengeRow,
}

struct Waiting {
    at: i64,
    row: WaitingRow,
}

struct Early {
    /// Of the key that made its HMAC.
    number: u16,
    word: i64,
    until: i64,
}

type Fault = RowFault<StoreError>;

impl Store for MapStore {
    fn keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        Ok(self.maps.lock().keys.clone())
    }

    fn seals_with(&mut self, fingerprint: [u8; 8], id: &str) -> Result<u16, StoreError> {
        let mut tables = self.maps.lock();
        let mut known = tables.keys.iter_mut();
        if let Some(known) = known.find(|key| key.fingerprint == fingerprint) {
            known.sealed = true;
            return Ok(known.number);
        }
        let number = tables.keys.iter().map(|key| key.number).max().unwrap_or(0) + 1;
        tables.keys.push(KnownKey {
            number,
            fingerprint,
            id: id.to_owned(),
            sealed: true,
        });
        Ok(number)
    }

    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.maps.lock().secrets.get(name).cloned())
    }

    fn put_secret(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        let mut tables = self.maps.lock();
        tables.secrets.insert(name.to_owned(), sealed.to_vec());
        Ok(())
    }

    fn begin(&mut self) -> Result<Opening, StoreError> {
        Ok(self.maps.lock().begin(&self.node))
    }

    fn windows(&mut self) -> Option<&mut Windows> {
        Some(&mut self.windows)
    }

    fn reader(&self) -> Result<Box<dyn StoreReads>, StoreError> {
        Ok(Box::new(reads::Reads(self.maps.clone())))
    }

    fn commit(&mut self, group: &Group, verdicts: &mut Vec<Verdict>) -> Result<(), StoreError> {
        let mut tables = self.maps.lock();
        if tables.refused_report.is_some_and(|key| group.reports(key)) {
            return Err(refusal(StoreErrorKind::Data));
        }
        let refused = tables.refuses();
        if refused == Some(Refusal::Nothing) {
            return Err(refusal(StoreErrorKind::Busy));
        }
        let epoch = tables.epoch;
        match &tables.last {
            // It was in doubt, and took effect.
            Some((of, number, last))
                if (*of, *number) == (epoch, group.number) && self.in_doubt =>
            {
                verdicts.clone_from(last);
            }
            _ => {
                // No row makes a commit fail, so all of them go in.
                let windows = &mut self.windows;
                let fence = tables.fence(group);
                group.apply(&fence, verdicts, |row| tables.put(group, windows, row))?;
                tables.last = Some((epoch, group.number, verdicts.clone()));
            }
        }
        self.in_doubt = refused == Some(Refusal::InDoubt);
        match refused {
            Some(Refusal::InDoubt) | None => self.windows.keep(),
            Some(_) => self.windows.back_to(0),
        }
        match refused {
            Some(Refusal::InDoubt) => Err(refusal(StoreErrorKind::InDoubt)),
            Some(_) => Err(refusal(StoreErrorKind::Busy)),
            None => Ok(()),
        }
    }

    fn housekeep(
        &mut self,
        codec: &mut Codec,
        keeping: &Keeping,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let mut tables = self.maps.lock();
        if std::mem::take(&mut self.resealing) {
            tables.reseal(codec);
        }
        Ok(tables.age(codec, keeping, now))
    }

    fn reseal(&mut self) {
        self.resealing = true;
    }
}

fn refusal(kind: StoreErrorKind) -> StoreError {
    StoreError {
        reason: "the maps are told to refuse".to_owned(),
        kind,
    }
}

impl Tables {
    fn refuses(&mut self) -> Option<Refusal> {
        let (left, refusal) = self.refusals.as_mut()?;
        *left = left.checked_sub(1)?;
        Some(*refusal)
    }

    fn put(
        &mut self,
        group: &Group,
        windows: &mut Windows,
        row: &Row,
    ) -> Result<Option<RowVerdict>, Fault> {
        match row {
            Row::Accept(new) => return self.accept(group, windows, new),
            Row::Withdrawn { key } => {
                self.forget(*key);
                return Ok(Some(RowVerdict::Withdrawn));
            }
            Row::Unsealed { .. } | Row::InboxHanded { .. } => {}
            Row::Life { key, life } => {
                if let Some(row) = self.unwiped(*key) {
                    row.life = Some(group.get(*life).to_vec());
                }
            }
            Row::End(end) => {
                if let Some(row) = self.unwiped(end.key) {
                    row.life = Some(group.get(end.life).to_vec());
                    row.last = Some(group.get(end.last).to_vec());
                    row.ended = Some(end.at);
                }
            }
            Row::Reference { mac, number, row } => self.reference(*mac, *number, *row),
            Row::Inbox { key, at, body } => {
                self.inbox.entry(*key).or_insert_with(|| InboxRow {
                    key: *key,
                    at: *at,
                    body: group.get(*body).to_vec(),
                });
            }
            Row::InboxDone { key } => {
                self.inbox.remove(key);
            }
            Row::Late { key, late } => {
                if let Some(challenge) = self.challenges.get_mut(key) {
                    challenge.row.late = Some(group.get(*late).to_vec());
                }
            }
            Row::CallUp(call) => {
                let row = CallRow {
                    challenge: call.challenge,
                    attempt: call.attempt,
                    carrier: group.get(call.carrier).to_vec(),
                    state: group.get(call.state).to_vec(),
                };
                self.calls.insert((call.challenge, call.attempt), row);
            }
            Row::CallDown { challenge, attempt } => {
                self.calls.remove(&(*challenge, *attempt));
            }
            Row::Report(report) => self.report(group, report)?,
            Row::ReportDone { report } => {
                self.outbox.remove(report);
            }
            Row::Early(early) => return Ok(self.early(group, early).map(RowVerdict::Met)),
            Row::EarlyWithdrawn(row) => {
                let waits = self.early.get(&row.id);
                if waits.is_some_and(|waits| (waits.word, waits.until) == (row.word, row.until)) {
                    self.early.remove(&row.id);
                }
            }
            Row::Overlay(row) => self.change(group, row),
            Row::OverlayWithdrawn(row) => self.change_back(group, row),
            Row::Feedback { key, verified } => self.feedback(*key, *verified),
        }
        Ok(None)
    }

    fn known(&self, mut macs: impl Iterator<Item = Mac>) -> Option<KnownRow> {
        let key = macs.find_map(|mac| self.ids.get(&mac))?;
        let row = &self.challenges.get(key)?.row;
        Some(KnownRow {
            key: row.key,
            head: row.head.clone(),
            ended: row.ended,
            last: row.last.clone(),
            rest: row.rest.clone(),
        })
    }

    fn unwiped(&mut self, key: i64) -> Option<&mut ChallengeRow> {
        let challenge = self.challenges.get_mut(&key)?;
        (!challenge.wiped).then_some(&mut challenge.row)
    }

    fn forget(&mut self, key: i64) {
        self.remove(key);
        self.outbox
            .retain(|_, waiting| waiting.row.challenge != key);
    }

    /// A challenge, with its reports that are kept for HTTP.
    fn remove(&mut self, key: i64) {
        if let Some(challenge) = self.challenges.remove(&key) {
            self.ids.remove(&challenge.id);
        }
        self.take_kept(key);
    }

    fn take_kept(&mut self, challenge: i64) -> Vec<KeptRow> {
        let of = (challenge, 0, i64::MIN)..=(challenge, u32::MAX, i64::MAX);
        let keys: Vec<_> = self.kept.range(of).map(|(key, _)| *key).collect();
        let taken = keys.iter().map(|key| self.kept.remove(key));
        taken.flatten().collect()
    }

    fn reference(&mut self, mac: Mac, number: u16, row: ReferenceRow) {
        let rows = self.references.entry(mac).or_default();
        let place = |row: &ReferenceRow| (row.challenge, row.attempt, row.part);
        rows.retain(|(_, other)| place(other) != place(&row));
        rows.push((number, row));
        rows.sort_by_key(|(_, row)| (Reverse(row.challenge), Reverse(row.attempt), row.part));
    }

    fn report(&mut self, group: &Group, report: &OutboxRow) -> Result<(), Fault> {
        let body = group.get(report.body).to_vec();
        let (key, seq, is_final) = (report.report, report.seq, report.is_final);
        let place = (report.challenge, seq, key);
        let Some(kind) = report.kind else {
            let mut others = self.kept.keys().filter(|(.., other)| *other == key);
            if others.any(|other| *other != place) {
                return Err(twice("report"));
            }
            self.kept.entry(place).or_insert(KeptRow {
                report: key,
                seq,
                is_final,
                until: report.until,
                body,
            });
            return Ok(());
        };
        let waiting = self.outbox.entry(key).or_insert_with(|| Waiting {
            at: report.at,
            row: WaitingRow {
                report: key,
                challenge: report.challenge,
                seq,
                kind: Some(kind),
                route: group.get(report.route).to_vec(),
                is_final,
                until: report.until,
                body,
            },
        });
        match (waiting.row.challenge, waiting.row.seq) == (report.challenge, seq) {
            true => Ok(()),
            false => Err(twice("report")),
        }
    }

    fn early(&mut self, group: &Group, row: &EarlyRow) -> Option<KnownRow> {
        let known = self.known([row.id].into_iter().chain(group.macs(row.older)));
        match &known {
            Some(known) if known.ended.is_some() => {
                if let Some(verified) = row.verified {
                    self.feedback(known.key, verified);
                }
            }
            Some(_) if !row.stays => {}
            Some(_) | None => {
                let waits = Early {
                    number: row.number,
                    word: row.word,
                    until: row.until,
                };
                self.early.insert(row.id, waits);
            }
        }
        known
    }

    fn feedback(&mut self, key: i64, verified: bool) {
        if let Some(challenge) = self.challenges.get_mut(&key) {
            challenge.row.verified = Some(verified);
        }
    }

    fn change(&mut self, group: &Group, row: &OverlayRow) {
        self.overlay(group, row);
        let audit = group.get(row.audit);
        if !self.audit.iter().any(|record| record == audit) {
            self.audit.push(audit.to_vec());
        }
    }

    fn change_back(&mut self, group: &Group, row: &OverlayRow) {
        let audit = group.get(row.audit);
        let before = self.audit.len();
        self.audit.retain(|record| record != audit);
        if self.audit.len() < before {
            self.overlay(group, row);
        }
    }

    fn overlay(&mut self, group: &Group, row: &OverlayRow) {
        let subject = group.get(row.subject);
        match row.entry {
            Some(entry) => {
                let entry = group.get(entry).to_vec();
                self.overlay.insert(subject.to_vec(), entry);
            }
            None => {
                self.overlay.remove(subject);
            }
        }
    }
}

fn twice(what: &str) -> Fault {
    Fault::Row(format!("the key of a {what} was given twice"))
}
