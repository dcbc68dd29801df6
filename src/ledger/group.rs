//! What is committed at once: rows in the order in which they were asked for, parted into batches, with all their octets
//! in one buffer, so that a row costs no allocation of its own.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use super::seal::{Mac, Sealed};
use crate::admission::{LimitKeys, Limits, Taken};

mod fence;

pub(in crate::ledger) use fence::{Fence, Owner};

/// Octets of a group's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Span {
    at: u32,
    length: u32,
}

/// Used again and again by the engine.
#[derive(Default)]
pub(in crate::ledger) struct Group {
    pub owner: Owner,
    /// Rises by one from group to group of an opening; one that is given again after an error has the same.
    pub number: u64,
    octets: Vec<u8>,
    rows: Vec<Row>,
    /// Where each batch ends in `rows`.
    ends: Vec<usize>,
    /// Limits in force when its accepts came: as a rule the same for all.
    limits: Vec<Arc<Limits>>,
}

impl Group {
    pub fn of(owner: Owner) -> Group {
        Group {
            owner,
            ..Group::default()
        }
    }

    /// Forgets the rows. The memory is kept for the next group, as far as this one has made use of it: groups that follow
    /// each other are alike, and after a burst it is given back.
    pub fn clear(&mut self) {
        let octets = OCTETS_KEPT.max(self.octets.len() * 2);
        self.octets.clear();
        self.octets.shrink_to(octets);
        let rows = ROWS_KEPT.max(self.rows.len() * 2);
        self.rows.clear();
        self.rows.shrink_to(rows);
        self.ends.clear();
        self.limits.clear();
    }

    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The rows since the last one are a batch.
    pub fn end_batch(&mut self) {
        self.ends.push(self.rows.len());
    }

    /// Where octets that are written next begin.
    pub fn mark(&self) -> usize {
        self.octets.len()
    }

    /// To be written onto.
    pub fn octets(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// What was written since `from`. None: more than a group may hold.
    pub fn since(&self, from: usize) -> Option<Span> {
        Some(Span {
            at: u32::try_from(from).ok()?,
            length: u32::try_from(self.octets.len() - from).ok()?,
        })
    }

    pub fn copy(&mut self, octets: &[u8]) -> Option<Span> {
        let from = self.mark();
        self.octets.extend_from_slice(octets);
        self.since(from)
    }

    pub fn get(&self, span: Span) -> &[u8] {
        let from = span.at as usize;
        &self.octets[from..from + span.length as usize]
    }

    /// Limits of an accept that is pushed next, by their place.
    pub fn in_force(&mut self, limits: &Arc<Limits>) -> usize {
        if self
            .limits
            .last()
            .is_none_or(|last| !Arc::ptr_eq(last, limits))
        {
            self.limits.push(limits.clone());
        }
        self.limits.len() - 1
    }

    pub fn limits(&self, row: &LimitRow) -> &Limits {
        &self.limits[row.in_force]
    }

    /// HMACs under older keys.
    pub fn macs(&self, span: Span) -> impl Iterator<Item = Mac> {
        let macs = self.get(span).chunks_exact(size_of::<Mac>());
        macs.map(|octets| {
            let mut mac = Mac::default();
            mac.copy_from_slice(octets);
            mac
        })
    }

    fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| begin..*end)
    }

    /// Challenges that must be the owner's for all of it to be written: those that it speaks of and that don't begin in it.
    pub fn challenges(&self) -> BTreeSet<i64> {
        let mut all: BTreeSet<i64> = self.rows.iter().filter_map(Row::owned).collect();
        for row in self.rows.iter().filter(|row| row.begins()) {
            if let Some(key) = row.challenge() {
                all.remove(&key);
            }
        }
        all
    }

    /// All of them, in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Does a report with this key stand in it?
    pub fn reports(&self, key: i64) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| matches!(row, Row::Report(report) if report.report == key))
    }

    /// Gives each row to `put`, inside the store's transaction, and gathers the verdicts. Of a challenge whose accept does
    /// not go in nothing of the same batch does; nor of one that is fenced off, with all that depends on it. An error of
    /// the store ends it.
    pub fn apply<E>(
        &self,
        fence: &Fence,
        verdicts: &mut Vec<Verdict>,
        mut put: impl FnMut(&Row) -> Result<Option<RowVerdict>, RowFault<E>>,
    ) -> Result<(), E> {
        verdicts.clear();
        for (batch, rows) in self.batches().enumerate() {
            let rows = &self.rows[rows];
            let mut out = fence.off(rows);
            let is_fenced = !out.is_empty();
            let fenced = out.iter().map(|key| RowVerdict::Fenced(*key));
            let over = matches!(fence, Fence::Over).then_some(RowVerdict::TermOver);
            verdicts.extend(fenced.chain(over).map(|verdict| Verdict {
                batch,
                place: 0,
                verdict,
            }));
            if matches!(fence, Fence::Over) {
                continue;
            }
            for (place, row) in rows.iter().enumerate() {
                if !out.is_empty() && row.challenge().is_some_and(|key| out.contains(&key)) {
                    continue;
                }
                // What a carrier has brought waits for the owner: it may have been for one of those.
                if is_fenced && matches!(row, Row::InboxDone { .. }) {
                    continue;
                }
                let put = match row {
                    Row::Unsealed { .. } => Err(RowFault::Row("it can't be sealed".to_owned())),
                    row => put(row),
                };
                let verdict = match put {
                    Ok(None) => continue,
                    Ok(Some(verdict)) => verdict,
                    Err(RowFault::Row(reason)) => RowVerdict::Refused(reason),
                    Err(RowFault::Store(error)) => return Err(error),
                };
                if row.begins() && !matches!(verdict, RowVerdict::Accepted(_)) {
                    out.extend(row.challenge());
                }
                verdicts.push(Verdict {
                    batch,
                    place,
                    verdict,
                });
            }
        }
        Ok(())
    }
}

/// What is to be written; sealed octets and whatever else has no fixed length stand in the group's buffer.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) enum Row {
    Accept(AcceptRow),
    /// An accept that was given up: nothing of it is there afterwards, also where a commit took effect whose answer was
    /// lost. Its verdict is [`RowVerdict::Withdrawn`].
    Withdrawn {
        key: i64,
    },
    /// What could not be sealed; never given to the store's own hand. Its verdict is [`RowVerdict::Refused`].
    Unsealed {
        challenge: Option<i64>,
        accept: bool,
    },
    Life {
        key: i64,
        life: Span,
    },
    End(EndRow),
    Reference {
        mac: Mac,
        /// Of the key that made the HMACs.
        number: u16,
        row: ReferenceRow,
    },
    Inbox {
        key: i64,
        at: i64,
        body: Span,
    },
    InboxDone {
        key: i64,
    },
    InboxHanded {
        key: i64,
        challenge: i64,
    },
    Late {
        key: i64,
        late: Span,
    },
    CallUp(CallUpRow),
    CallDown {
        challenge: i64,
        attempt: u16,
    },
    /// `kind` None: kept for HTTP.
    Report(OutboxRow),
    ReportDone {
        report: i64,
    },
    Early(EarlyRow),
    EarlyWithdrawn(EarlyRow),
    Overlay(OverlayRow),
    /// `entry` is what was in force before.
    OverlayWithdrawn(OverlayRow),
    Feedback {
        key: i64,
        verified: bool,
    },
}

/// A new challenge. Where its id is known, by one of its HMACs, it does not go in: [`RowVerdict::Known`]; where it is new and
/// over a limit that denies, neither: [`RowVerdict::OverLimit`]. Where it goes in, it counts from then on, and there may
/// be something to say of it: [`RowVerdict::Accepted`].
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct AcceptRow {
    pub key: i64,
    pub arrived: i64,
    pub deadline: i64,
    pub ended: Option<i64>,
    pub id: Mac,
    /// HMACs of the id under older keys.
    pub older: Span,
    pub head: Span,
    pub last: Option<Span>,
    pub life: Span,
    pub job: Span,
    pub limits: Option<LimitRow>,
}

/// What an accept counts in, and the limits that are in force ([`Group::limits`]).
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct LimitRow {
    pub keys: LimitKeys,
    pub in_force: usize,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct EndRow {
    pub key: i64,
    pub life: Span,
    pub last: Span,
    pub at: i64,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct CallUpRow {
    pub challenge: i64,
    pub attempt: u16,
    pub carrier: Span,
    pub state: Span,
}

/// Where a reference leads. `phone`: of the phone's last digits, keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct ReferenceRow {
    pub challenge: i64,
    pub attempt: u16,
    pub part: u16,
    pub phone: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct OutboxRow {
    pub report: i64,
    pub challenge: i64,
    pub seq: u32,
    pub kind: Option<ReportKind>,
    pub route: Span,
    pub is_final: bool,
    pub until: i64,
    /// When it is written.
    pub at: i64,
    pub body: Span,
}

/// How a report goes to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum ReportKind {
    ReplyTo = 0,
    Exchange = 1,
    Mandatory = 2,
}

/// A control message for an id. Where the id is known: [`RowVerdict::Met`], and `verified` is recorded with a challenge that
/// has ended. It waits where the id is not known, or where the challenge is open and it `stays`: somebody may still give it
/// up, or another node has the challenge.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct EarlyRow {
    pub id: Mac,
    pub older: Span,
    /// Of the key that made `id`.
    pub number: u16,
    pub word: i64,
    pub until: i64,
    pub verified: Option<bool>,
    pub stays: bool,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct OverlayRow {
    pub subject: Span,
    /// None: nothing is in force.
    pub entry: Option<Span>,
    pub audit: Span,
}

impl Row {
    /// Whose row it is, as far as it is left out with its challenge.
    pub fn challenge(&self) -> Option<i64> {
        match self {
            Row::Accept(AcceptRow { key, .. })
            | Row::Withdrawn { key }
            | Row::Life { key, .. }
            | Row::End(EndRow { key, .. })
            | Row::Late { key, .. }
            | Row::Feedback { key, .. } => Some(*key),
            Row::Reference {
                row: ReferenceRow { challenge, .. },
                ..
            }
            | Row::CallUp(CallUpRow { challenge, .. })
            | Row::CallDown { challenge, .. }
            | Row::Report(OutboxRow { challenge, .. }) => Some(*challenge),
            Row::Unsealed { challenge, .. } => *challenge,
            Row::ReportDone { .. }
            | Row::Early(_)
            | Row::EarlyWithdrawn(_)
            | Row::Overlay(_)
            | Row::OverlayWithdrawn(_)
            | Row::Inbox { .. }
            | Row::InboxDone { .. }
            | Row::InboxHanded { .. } => None,
        }
    }

    /// The challenge that must be the owner's for it to be written.
    fn owned(&self) -> Option<i64> {
        match self {
            // Said of one that has ended, by whoever was told.
            Row::Feedback { .. } => None,
            row => row.challenge(),
        }
    }

    /// Does its challenge go on by it? Not even one that has ended does so by another's word.
    fn is_step(&self) -> bool {
        matches!(
            self,
            Row::Life { .. } | Row::End(_) | Row::CallUp(_) | Row::CallDown { .. }
        )
    }

    /// Does a challenge begin with it?
    fn begins(&self) -> bool {
        matches!(
            self,
            Row::Accept(_) | Row::Withdrawn { .. } | Row::Unsealed { accept: true, .. }
        )
    }
}

/// What there is to say of a row.
#[derive(Clone)]
pub(in crate::ledger) struct Verdict {
    /// Counted from 0 in the group, and in the batch.
    pub batch: usize,
    pub place: usize,
    pub verdict: RowVerdict,
}

#[derive(Clone)]
pub(in crate::ledger) enum RowVerdict {
    /// An accept that did not go in.
    Known(KnownRow),
    Withdrawn,
    /// An accept that did not go in either.
    OverLimit(Taken),
    /// An accept that went in.
    Accepted(Accepted),
    /// A control message whose id is known.
    Met(KnownRow),
    /// The store can't hold it; the others went in.
    Refused(String),
    /// Not of a row: nothing of the batch that speaks of this challenge went in.
    Fenced(i64),
    /// Not of a row: nothing of the batch went in.
    TermOver,
}

/// What there is to say of an accept that went in.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ledger) struct Accepted {
    /// The control message that waits for it, as its number.
    pub waits: Option<i64>,
    /// It is over limits that only record, or has filled a window.
    pub limits: Option<Taken>,
}

impl Accepted {
    /// None: nothing.
    pub fn verdict(self) -> Option<RowVerdict> {
        let plain = self.waits.is_none() && self.limits.is_none();
        (!plain).then_some(RowVerdict::Accepted(self))
    }
}

/// What is known of an id, still sealed.
#[derive(Clone)]
pub(in crate::ledger) struct KnownRow {
    pub key: i64,
    pub head: Sealed,
    pub ended: Option<i64>,
    pub last: Option<Sealed>,
    pub rest: Option<Sealed>,
}

/// Why a row could not be written.
#[derive(Debug)]
pub(in crate::ledger) enum RowFault<E> {
    /// It is at fault itself, and left out.
    Row(String),
    /// The store is: nothing of the group is written.
    Store(E),
}

impl ReportKind {
    pub fn from_number(number: i64) -> Option<ReportKind> {
        [
            ReportKind::ReplyTo,
            ReportKind::Exchange,
            ReportKind::Mandatory,
        ]
        .into_iter()
        .find(|kind| *kind as i64 == number)
    }
}

/// Memory that an idle engine holds on to.
const OCTETS_KEPT: usize = 64 << 10;
const ROWS_KEPT: usize = 512;
