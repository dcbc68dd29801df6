//! Ops become rows, and verdicts on rows become answers: all sealing and opening on the writer's side.
//!
//! A row has its personal parts sealed and HMACs in the place of names; the store sees nothing else. What housekeeping
//! strips, packs and seals again goes through here too.

use std::sync::Arc;

use super::{
    Batch, Done, Known, NewChallenge, Op, OutboxReport, PendingControl, ReportKey, Target, Wipe,
    group::{
        AcceptRow, CallUpRow, EarlyRow, EndRow, Group, LimitRow, OutboxRow, OverlayRow,
        ReferenceRow, ReportKind, Row, Span,
    },
    pack::{Packer, Rest, RestReport},
    records::{self, Head, number_of, verified_by},
    rows::KeptRow,
    seal::{Keyring, Lookup, Mac, Opener, Part, Sealed, Sealer, Unsealable, key_number},
};
use crate::{
    challenge::{AttemptKey, Millis},
    number::written::Tail,
};

mod answers;

pub(super) struct Codec {
    pub ring: Arc<Keyring>,
    sealer: Sealer,
    opener: Opener,
    packer: Packer,
    wipe: Wipe,
    plain: Vec<u8>,
}

impl Codec {
    pub fn new(ring: Arc<Keyring>, wipe: Wipe) -> Result<Codec, Unsealable> {
        Ok(Codec {
            sealer: Sealer::new(&ring)?,
            opener: Opener::new(ring.clone()),
            ring,
            packer: Packer::new(),
            wipe,
            plain: Vec::new(),
        })
    }

    // --- ops to rows ---------------------------------------------------------------------------------------------

    /// Fills the group with a row for each op, as of `now`. What an asker may give up can't be given up from here on,
    /// until the store has refused the group.
    pub fn encode(&mut self, now: Millis, batches: &[Batch], group: &mut Group) {
        group.clear();
        for batch in batches {
            for op in &batch.ops {
                let row = self.row(now, op, group);
                group.push(row.unwrap_or_else(|_| unsealed(op)));
            }
            group.end_batch();
        }
    }

    fn row(&mut self, now: Millis, op: &Op, group: &mut Group) -> Result<Row, Unsealable> {
        Ok(match op {
            Op::Accept(new) => match &new.claim {
                Some(claim) if !claim.begin() => Row::Withdrawn { key: new.key.0 },
                Some(_) | None => Row::Accept(self.accept(new, group)?),
            },
            Op::Life { key, life } => Row::Life {
                key: key.0,
                life: self.seal(Part::Life, key.0, life, group)?,
            },
            Op::End {
                key,
                life,
                last,
                at,
            } => Row::End(EndRow {
                key: key.0,
                life: self.seal(Part::Life, key.0, life, group)?,
                last: self.seal(Part::Last, key.0, last, group)?,
                at: at.0,
            }),
            Op::Reference {
                carrier,
                reference,
                key,
                part,
                phone,
            } => self.reference((carrier, reference), *key, *part, *phone),
            Op::Inbox(message) => Row::Inbox {
                key: message.key.0,
                at: message.at.0,
                body: self.seal(Part::Inbox, message.key.0, &message.body, group)?,
            },
            Op::InboxDone { key } => Row::InboxDone { key: key.0 },
            Op::InboxHanded { key, challenge } => Row::InboxHanded {
                key: key.0,
                challenge: challenge.0,
            },
            Op::Late { key, late } => Row::Late {
                key: key.0,
                late: copy(late, group)?,
            },
            Op::CallUp {
                key,
                carrier,
                state,
            } => Row::CallUp(CallUpRow {
                challenge: key.challenge.0,
                attempt: key.attempt,
                carrier: copy(carrier.as_bytes(), group)?,
                state: self.seal(Part::Call, key.challenge.0, state.as_bytes(), group)?,
            }),
            Op::CallDown { key } => Row::CallDown {
                challenge: key.challenge.0,
                attempt: key.attempt,
            },
            Op::Report(report) => Row::Report(self.report(now, report, group)?),
            Op::ReportDone { report } => Row::ReportDone { report: report.0 },
            Op::Early(control) => self.early(control, group)?,
            Op::Overlay { .. } => overlay(op, group)?,
            Op::Feedback { key, verified, .. } => Row::Feedback {
                key: key.0,
                verified: *verified,
            },
        })
    }

    fn accept(&mut self, new: &NewChallenge, group: &mut Group) -> Result<AcceptRow, Unsealable> {
        let key = new.key.0;
        Head::write(&new.tenant, &new.id, &new.content, &mut self.plain);
        let head = seal(&mut self.sealer, Part::Head, key, &self.plain, group);
        self.plain.fill(0);
        Ok(AcceptRow {
            key,
            arrived: new.arrived.0,
            deadline: new.deadline.0,
            ended: new.last.as_ref().map(|_| new.arrived.0),
            id: self.ring.mac(Lookup::Id, &new.tenant, &new.id),
            older: self.older(&new.tenant, &new.id, group)?,
            head: head?,
            last: match &new.last {
                Some(last) => Some(self.seal(Part::Last, key, last, group)?),
                None => None,
            },
            life: self.seal(Part::Life, key, &new.life, group)?,
            job: self.seal(Part::Job, key, &new.job, group)?,
            limits: new.limits.as_ref().map(|check| LimitRow {
                keys: check.keys,
                in_force: group.in_force(&check.limits),
            }),
        })
    }

    fn reference(
        &self,
        (carrier, reference): (&str, &str),
        key: AttemptKey,
        part: u16,
        phone: Option<Tail>,
    ) -> Row {
        Row::Reference {
            mac: self.ring.mac(Lookup::Reference, carrier, reference),
            number: self.ring.number(),
            row: ReferenceRow {
                challenge: key.challenge.0,
                attempt: key.attempt,
                part,
                phone: phone.map(|tail| records::phone_mac(&self.ring, carrier, tail)),
            },
        }
    }

    fn report(
        &mut self,
        now: Millis,
        report: &OutboxReport,
        group: &mut Group,
    ) -> Result<OutboxRow, Unsealable> {
        let key = report.report.0;
        let (kind, route, correlation_id) = match &report.target {
            Target::ReplyTo {
                queue,
                correlation_id,
            } => (
                Some(ReportKind::ReplyTo),
                &**queue,
                correlation_id.as_deref(),
            ),
            Target::Exchange {
                routing_key,
                mandatory,
            } => match mandatory {
                true => (Some(ReportKind::Mandatory), &**routing_key, None),
                false => (Some(ReportKind::Exchange), &**routing_key, None),
            },
            Target::Http => (None, "", None),
        };
        let body = match kind {
            Some(_) => {
                records::join_body(correlation_id, &report.body, &mut self.plain);
                let body = seal(&mut self.sealer, Part::Outbox, key, &self.plain, group);
                self.plain.fill(0);
                body?
            }
            None => self.seal(Part::Kept, key, &report.body, group)?,
        };
        Ok(OutboxRow {
            report: key,
            challenge: report.challenge.0,
            seq: report.seq,
            kind,
            route: copy(route.as_bytes(), group)?,
            is_final: report.is_final,
            until: report.until.0,
            at: now.0,
            body,
        })
    }

    fn early(&mut self, control: &PendingControl, group: &mut Group) -> Result<Row, Unsealable> {
        let row = EarlyRow {
            id: self.ring.mac(Lookup::Id, &control.tenant, &control.id),
            older: self.older(&control.tenant, &control.id, group)?,
            number: self.ring.number(),
            word: number_of(control.word),
            until: control.until.0,
            verified: verified_by(control.word),
            stays: control.claim.is_some() || control.elsewhere,
        };
        Ok(match &control.claim {
            Some(claim) if !claim.begin() => Row::EarlyWithdrawn(row),
            Some(_) | None => Row::Early(row),
        })
    }

    /// Rows that are not yet sealed again are found under their own key only.
    fn older(&self, tenant: &str, id: &str, group: &mut Group) -> Result<Span, Unsealable> {
        let from = group.mark();
        for mac in self.ring.older_macs(Lookup::Id, tenant, id) {
            group.octets().extend_from_slice(&mac);
        }
        group.since(from).ok_or(Unsealable::Changed)
    }

    fn seal(
        &mut self,
        part: Part,
        row: i64,
        plain: &[u8],
        group: &mut Group,
    ) -> Result<Span, Unsealable> {
        seal(&mut self.sealer, part, row, plain, group)
    }

    // --- housekeeping --------------------------------------------------------------------------------------------

    /// What is left of a challenge whose time is over, packed, with its reports that are kept for HTTP; None: too long to
    /// keep. A part that no key opens can't be stripped, and goes. An error: a version that is not known is there, so all of
    /// it stays as it is.
    pub fn wiped(
        &mut self,
        key: i64,
        [job, life, last]: [Option<&[u8]>; 3],
        kept: &[KeptRow],
    ) -> Result<Option<Sealed>, Unsealable> {
        let wipe = self.wipe;
        let mut rest = Rest {
            job: self.stripped(Part::Job, key, job, wipe.job)?,
            life: self.stripped(Part::Life, key, life, wipe.life)?,
            last: self.stripped(Part::Last, key, last, wipe.report)?,
            reports: Vec::new(),
        };
        for row in kept {
            let body = self.stripped(Part::Kept, row.report, Some(&row.body), wipe.report)?;
            if !body.is_empty() {
                rest.reports.push(RestReport {
                    report: ReportKey(row.report),
                    seq: row.seq,
                    is_final: row.is_final,
                    until: Millis(row.until),
                    body,
                });
            }
        }
        let packed = self.packer.pack(&rest);
        if packed.is_none() {
            tracing::error!(key, "what is left of a wiped challenge is too long to keep");
        }
        Ok(packed.and_then(|packed| self.sealed(Part::Rest, key, &packed)))
    }

    /// What is remembered of a challenge beyond retention. None: it can't be sealed, or its version is not known.
    pub fn outcome(
        &mut self,
        key: i64,
        last: Option<&[u8]>,
        rest: Option<&[u8]>,
    ) -> Option<Sealed> {
        let wipe = self.wipe;
        let last = match rest {
            Some(rest) => match records::open_rest(&mut self.opener, key, rest) {
                Ok(rest) => rest.last,
                Err(Unsealable::Changed) => Vec::new(),
                Err(Unsealable::Version(_)) => return None,
            },
            None => self.stripped(Part::Last, key, last, wipe.report).ok()?,
        };
        self.sealed(Part::EndedChallenge, key, &(wipe.outcome)(&last))
    }

    /// Seals a record again where another key than the first has sealed it. None: it is to stay as it is.
    pub fn again(&mut self, part: Part, row: i64, sealed: &[u8]) -> Option<Sealed> {
        if key_number(sealed) == Some(self.ring.number()) {
            return None;
        }
        match self.opener.open(part, row, sealed) {
            Ok(plain) => self.sealed(part, row, &plain),
            Err(error) => {
                tracing::error!(row, ?part, %error, "a row of the ledger can't be sealed again and is left as it is");
                None
            }
        }
    }

    /// The same for what a challenge is found by, with its HMAC under the first key.
    pub fn head_again(&mut self, key: i64, head: &[u8]) -> Option<(Sealed, Mac)> {
        let new = self.again(Part::Head, key, head)?;
        let plain = self.opener.open(Part::Head, key, &new).ok()?;
        let whose = Head::parse(&plain).ok()?;
        Some((new, self.ring.mac(Lookup::Id, &whose.tenant, &whose.id)))
    }

    fn stripped(
        &mut self,
        part: Part,
        row: i64,
        sealed: Option<&[u8]>,
        strip: fn(&[u8]) -> Vec<u8>,
    ) -> Result<Vec<u8>, Unsealable> {
        let opened = sealed.map(|sealed| self.opener.open(part, row, sealed));
        match opened {
            Some(Ok(plain)) => Ok(strip(&plain)),
            Some(Err(error @ Unsealable::Version(_))) => {
                tracing::error!(row, ?part, %error, "a row of the ledger can't be wiped and is left as it is, with all that hangs on it");
                Err(error)
            }
            Some(Err(Unsealable::Changed)) | None => Ok(Vec::new()),
        }
    }

    fn sealed(&mut self, part: Part, row: i64, plain: &[u8]) -> Option<Sealed> {
        let mut out = Vec::new();
        self.sealer.seal(part, row, plain, &mut out).ok()?;
        Some(out)
    }
}

fn seal(
    sealer: &mut Sealer,
    part: Part,
    row: i64,
    plain: &[u8],
    group: &mut Group,
) -> Result<Span, Unsealable> {
    let from = group.mark();
    sealer.seal_onto(part, row, plain, group.octets())?;
    group.since(from).ok_or(Unsealable::Changed)
}

fn copy(octets: &[u8], group: &mut Group) -> Result<Span, Unsealable> {
    group.copy(octets).ok_or(Unsealable::Changed)
}

fn overlay(op: &Op, group: &mut Group) -> Result<Row, Unsealable> {
    let Op::Overlay {
        subject,
        entry,
        audit,
        order,
    } = op
    else {
        return Err(Unsealable::Changed);
    };
    let given_up = order.as_ref().filter(|order| !order.claim.begin());
    let entry = match given_up {
        Some(order) => order.before.as_deref(),
        None => entry.as_deref(),
    };
    let row = OverlayRow {
        subject: copy(subject.as_bytes(), group)?,
        entry: match entry {
            Some(entry) => Some(copy(entry, group)?),
            None => None,
        },
        audit: copy(audit, group)?,
    };
    Ok(match given_up {
        Some(_) => Row::OverlayWithdrawn(row),
        None => Row::Overlay(row),
    })
}

/// Too long to be sealed, or to be held with the others of its group.
fn unsealed(op: &Op) -> Row {
    match op {
        Op::Accept(new) => Row::Unsealed {
            challenge: Some(new.key.0),
            accept: true,
        },
        _ => Row::Unsealed {
            challenge: None,
            accept: false,
        },
    }
}
