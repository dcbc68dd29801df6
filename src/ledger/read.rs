//! Look-ups: rows of the store become what was asked for. Beside the writer, with an opener of its own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use super::{
    AGES, Candidates, ControlMessage, EndedChallenge, OutboxReport, Pending, ReadError, Referred,
    ReportKey, Stored, Target, Whose,
    group::ReportKind,
    records::{self, Head, macs, word_of},
    rows::{ChallengeRow, WaitingRow},
    seal::{Keyring, Lookup, Opener, Part, Sealed},
    store::StoreReads,
};
use crate::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    number::written::Tail,
};

pub(super) struct Reader {
    inner: Mutex<Inner>,
    ring: Arc<ArcSwap<Keyring>>,
    /// Rows of which it has been said that they can't be opened: table and key.
    told: Mutex<HashSet<(&'static str, i64)>>,
}

struct Inner {
    rows: Box<dyn StoreReads>,
    opener: Opener,
}

impl Reader {
    pub fn new(rows: Box<dyn StoreReads>, ring: Arc<ArcSwap<Keyring>>) -> Reader {
        let opener = Opener::new(ring.load_full());
        Reader {
            inner: Mutex::new(Inner { rows, opener }),
            ring,
            told: Mutex::default(),
        }
    }

    /// The keys of this moment.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    fn with<T>(
        &self,
        what: impl FnOnce(&mut dyn StoreReads, &mut Opener) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        // A read that panicked has left nothing half done: it changes nothing.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load_full();
        if !Arc::ptr_eq(&ring, &inner.opener.ring) {
            inner.opener = Opener::new(ring);
        }
        let Inner { rows, opener } = &mut *inner;
        what(rows.as_mut(), opener)
    }

    pub fn find(&self, tenant: &str, id: &str) -> Result<Option<Stored>, ReadError> {
        self.with(|rows, opener| {
            let ring = opener.ring.clone();
            for mac in macs(&ring, Lookup::Id, tenant, id) {
                if let Some(row) = rows.challenge_of(&mac)? {
                    return open(row, rows, opener).map(Some);
                }
            }
            Ok(None)
        })
    }

    pub fn get(&self, key: ChallengeKey) -> Result<Option<Stored>, ReadError> {
        self.with(|rows, opener| {
            let row = rows.challenge(key.0)?;
            row.map(|row| open(row, rows, opener)).transpose()
        })
    }

    pub fn outcomes(&self, tenant: &str, id: &str) -> Result<Vec<EndedChallenge>, ReadError> {
        self.with(|rows, opener| {
            let ring = opener.ring.clone();
            let mut found = Vec::new();
            for mac in macs(&ring, Lookup::Id, tenant, id) {
                for row in rows.outcomes(&mac, PAGE)? {
                    found.push(EndedChallenge {
                        key: ChallengeKey(row.key),
                        arrived: Millis(row.arrived),
                        ended: Millis(row.ended),
                        outcome: opener.open(Part::EndedChallenge, row.key, &row.body)?,
                    });
                }
            }
            found.sort_by_key(|outcome| std::cmp::Reverse((outcome.arrived, outcome.key)));
            Ok(found)
        })
    }

    pub fn newest(&self, limit: usize) -> Result<Vec<Stored>, ReadError> {
        self.with(|rows, opener| {
            let found = rows.newest(limit.min(PAGE))?;
            let found = found.into_iter();
            found.map(|row| open(row, rows, opener)).collect()
        })
    }

    /// Where the first of these forms leads that leads to a text which is not known to have gone to another phone, else the
    /// first that leads anywhere; with its place among them. The newest first.
    pub fn find_references(
        &self,
        carrier: &str,
        forms: &[Arc<str>],
        phones: &[Tail],
    ) -> Result<(usize, Vec<Referred>), ReadError> {
        self.with(|rows, opener| {
            let ring = &opener.ring;
            let phones: Vec<i64> = phones
                .iter()
                .flat_map(|tail| records::phone_macs(ring, carrier, *tail))
                .collect();
            let asked = |known: &i64| (!phones.is_empty()).then(|| phones.contains(known));
            // Only texts to other phones have it in this form: a text to this one may have it in another.
            let mut elsewhere = None;
            for (place, form) in forms.iter().enumerate() {
                let mut found = Vec::new();
                for mac in macs(ring, Lookup::Reference, carrier, form) {
                    let referred = rows.references(&mac, REFERRED)?;
                    found.extend(referred.iter().map(|row| Referred {
                        key: AttemptKey {
                            challenge: ChallengeKey(row.challenge),
                            attempt: row.attempt,
                        },
                        part: row.part,
                        same_phone: row.phone.as_ref().and_then(asked),
                    }));
                }
                if found.iter().any(|one| one.same_phone != Some(false)) {
                    return Ok((place, found));
                }
                if !found.is_empty() {
                    elsewhere.get_or_insert((place, found));
                }
            }
            Ok(elsewhere.unwrap_or_default())
        })
    }

    /// Whom a receipt may mean: by its references, and by the phone where they lead to no text that is known to have gone
    /// there. A reference that came after its challenge's end lies here without its phone.
    pub fn whose(&self, whose: &Whose) -> Result<Candidates, ReadError> {
        let (place, referred) =
            self.find_references(&whose.carrier, &whose.forms, &whose.phones)?;
        let mut found = Candidates {
            literal: place < whose.literal,
            by_reference: self.candidates(&referred)?,
            by_phone: Vec::new(),
        };
        if referred.iter().all(|r| r.same_phone != Some(true)) {
            for form in &whose.unreferenced {
                let forms = std::slice::from_ref(form);
                let (_, referred) = self.find_references(&whose.carrier, forms, &[])?;
                found.by_phone.extend(self.candidates(&referred)?);
            }
        }
        Ok(found)
    }

    fn candidates(&self, referred: &[Referred]) -> Result<Vec<(Referred, Stored)>, ReadError> {
        let mut candidates = Vec::new();
        let others = referred.iter().filter(|r| r.same_phone != Some(false));
        for referred in others.take(CANDIDATES) {
            match self.get(referred.key.challenge) {
                Ok(Some(stored)) => candidates.push((*referred, stored)),
                // Deleted, or it can't be opened, which has been said where it was noticed.
                Ok(None) | Err(ReadError::Sealed | ReadError::Version(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(candidates)
    }

    pub fn early_word(&self, tenant: &str, id: &str) -> Result<Option<ControlMessage>, ReadError> {
        self.with(|rows, opener| early(rows, &opener.ring, tenant, id))
    }

    pub fn pending_reports(
        &self,
        after: ReportKey,
        limit: usize,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        let (mut after, limit) = (after.0, limit.min(PAGE));
        let (mut reports, mut unopened) = (Vec::new(), Vec::new());
        self.with(|rows, opener| {
            while reports.len() < limit {
                let waiting = rows.outbox(after, limit - reports.len())?;
                let Some(last) = waiting.last() else { break };
                after = last.report;
                for row in waiting {
                    let key = row.report;
                    match waiting_report(row, opener) {
                        Ok(report) => reports.push(report),
                        Err(error) => unopened.push((key, error)),
                    }
                }
            }
            Ok(())
        })?;
        for (key, error) in unopened {
            self.say_unopened("outbox", key, &error);
        }
        Ok(reports)
    }

    pub fn is_waiting(&self, report: ReportKey) -> Result<bool, ReadError> {
        let before = report.0.saturating_sub(1);
        let next = self.with(|rows, _| Ok(rows.outbox(before, 1)?))?;
        Ok(next.first().is_some_and(|row| row.report == report.0))
    }

    /// Once for each row: it is read again and again, and stays where it is.
    fn say_unopened(&self, table: &'static str, key: i64, error: &ReadError) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && told.insert((table, key)) {
            tracing::error!(table, key, %error, "a row of the ledger can't be opened and is left alone");
        }
    }

    pub fn pending(&self, before: [Millis; AGES]) -> Result<Pending, ReadError> {
        self.with(|rows, _| Ok(rows.pending(before)?))
    }

    pub fn audit(&self, limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        self.with(|rows, _| Ok(rows.audit(limit.min(PAGE))?))
    }

    pub fn reports_of(
        &self,
        key: ChallengeKey,
        after_seq: u32,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        self.with(|rows, opener| {
            let report = |report, seq, body: Vec<u8>, is_final, until| OutboxReport {
                report,
                challenge: key,
                seq,
                target: Target::Http,
                body: body.into(),
                is_final,
                until,
            };
            let mut reports = Vec::new();
            for row in rows.kept(key.0, after_seq, PAGE)? {
                let body = opener.open(Part::Kept, row.report, &row.body)?;
                let (key, until) = (ReportKey(row.report), Millis(row.until));
                reports.push(report(key, row.seq, body, row.is_final, until));
            }
            if let Some(packed) = rows.challenge(key.0)?.and_then(|row| row.rest) {
                let rest = records::open_rest(opener, key.0, &packed)?
                    .reports
                    .into_iter();
                let rest = rest.filter(|r| r.seq > after_seq);
                reports.extend(rest.map(|r| report(r.report, r.seq, r.body, r.is_final, r.until)));
                reports.sort_by_key(|report| report.seq);
                reports.truncate(PAGE);
            }
            Ok(reports)
        })
    }

    /// Messages of carriers that nothing has been made of yet.
    pub fn held_messages(&self) -> Result<usize, ReadError> {
        self.with(|rows, _| Ok(rows.inbox()?.len()))
    }
}

/// A challenge, with the control message that waits for it while it is open.
pub(super) fn open(
    row: ChallengeRow,
    rows: &mut dyn StoreReads,
    opener: &mut Opener,
) -> Result<Stored, ReadError> {
    let key = row.key;
    let head = Head::parse(&opener.open(Part::Head, key, &row.head)?)?;
    let early = match row.ended {
        None => early(rows, &opener.ring, &head.tenant, &head.id)?,
        Some(_) => None,
    };
    let (job, life, last) = match &row.rest {
        Some(rest) => {
            let rest = records::open_rest(opener, key, rest)?;
            let last = Some(rest.last).filter(|last| !last.is_empty());
            (rest.job, rest.life, last)
        }
        None => {
            let mut part = |part, sealed: Option<Sealed>| {
                sealed.map(|s| opener.open(part, key, &s)).transpose()
            };
            let job = part(Part::Job, row.job)?.unwrap_or_default();
            let life = part(Part::Life, row.life)?.unwrap_or_default();
            (job, life, part(Part::Last, row.last)?)
        }
    };
    Ok(Stored {
        key: ChallengeKey(key),
        content: head.content,
        arrived: Millis(row.arrived),
        deadline: Millis(row.deadline),
        job,
        life,
        last,
        ended: row.ended.map(Millis),
        late: row.late.unwrap_or_default(),
        verified: row.verified,
        early,
        tenant: head.tenant,
        id: head.id,
    })
}

fn early(
    rows: &mut dyn StoreReads,
    ring: &Keyring,
    tenant: &str,
    id: &str,
) -> Result<Option<ControlMessage>, ReadError> {
    for mac in macs(ring, Lookup::Id, tenant, id) {
        if let Some(word) = rows.early(&mac)? {
            return Ok(word_of(word));
        }
    }
    Ok(None)
}

fn waiting_report(row: WaitingRow, opener: &mut Opener) -> Result<OutboxReport, ReadError> {
    let plain = opener.open(Part::Outbox, row.report, &row.body)?;
    let (correlation_id, body) = records::split_body(&plain).ok_or(ReadError::Sealed)?;
    let kind = row.kind.ok_or(ReadError::Kind)?;
    let route = records::name_of(row.route)?;
    Ok(OutboxReport {
        report: ReportKey(row.report),
        challenge: ChallengeKey(row.challenge),
        seq: row.seq,
        target: match kind {
            ReportKind::ReplyTo => Target::ReplyTo {
                queue: route,
                correlation_id: correlation_id.map(Into::into),
            },
            ReportKind::Exchange | ReportKind::Mandatory => Target::Exchange {
                routing_key: route,
                mandatory: kind == ReportKind::Mandatory,
            },
        },
        body: body.into(),
        is_final: row.is_final,
        until: Millis(row.until),
    })
}

/// Most challenges that are read for one receipt: a carrier that gives more of them one reference has none.
const CANDIDATES: usize = 8;
/// Most attempts that one reference gives: a carrier that gives all of them one id has no use for more.
const REFERRED: usize = 64;
/// Most rows that are named in the log as not to be opened.
const TOLD: usize = 10_000;
/// Bound of rows that one read gives.
const PAGE: usize = 1_024;
