//! Ops become rows: inside the writer's transaction, each op by one prepared statement. Decides nothing but whether an
//! id is known. An op that the tables refuse leaves the rest of its batch alone.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{Connection, ErrorCode, Statement, params};

mod known;
mod overlay;
mod reports;

use super::{
    Batch, Done, InboxMessage, NewChallenge, Op, limiter,
    mark::Tally,
    pack::Packer,
    read::{self, Head, early_word},
    seal::{Keyring, Lookup, Opener, Part, Sealer, Unsealable},
};
use crate::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    number::written::Tail,
};

/// What the writer works with, beside the connection.
pub(super) struct RowCodec {
    pub ring: Arc<Keyring>,
    pub sealer: Sealer,
    pub opener: Opener,
    pub owner: Arc<str>,
    pub epoch: i64,
    /// May there be early words? Saves a look-up per accept.
    pub early: bool,
    /// How much there is, with what the present transaction has done so far.
    pub tally: Tally,
    pub packer: Packer,
    /// When the present transaction began.
    pub now: Millis,
    plain: Vec<u8>,
    head: Vec<u8>,
    job: Vec<u8>,
    life: Vec<u8>,
    last: Vec<u8>,
}

impl RowCodec {
    pub fn new(
        ring: Arc<Keyring>,
        owner: Arc<str>,
        epoch: i64,
        early: bool,
    ) -> Result<RowCodec, Unsealable> {
        Ok(RowCodec {
            sealer: Sealer::new(&ring)?,
            opener: Opener::new(ring.clone()),
            ring,
            owner,
            epoch,
            early,
            tally: Tally::default(),
            packer: Packer::new(),
            now: Millis(0),
            plain: Vec::new(),
            head: Vec::new(),
            job: Vec::new(),
            life: Vec::new(),
            last: Vec::new(),
        })
    }
}

/// Why an op or a transaction did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The op itself is at fault: left out.
    #[error("{0}")]
    Op(String),
    /// The disk, the file, another program: the whole group is tried again.
    #[error("{0}")]
    Outside(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => {
                    Fault::Op(error.to_string())
                }
                _ => Fault::Outside(error),
            },
            _ => Fault::Op(error.to_string()),
        }
    }
}

impl From<Unsealable> for Fault {
    fn from(error: Unsealable) -> Fault {
        Fault::Op(error.to_string())
    }
}

/// The statements of the hot path, prepared once.
pub(super) struct Statements<'c> {
    conn: &'c Connection,
    accept: Statement<'c>,
    life: Statement<'c>,
    end: Statement<'c>,
    reference: Statement<'c>,
    inbox: Statement<'c>,
    inbox_done: Statement<'c>,
    late: Statement<'c>,
    outbox: Statement<'c>,
    outbox_done: Statement<'c>,
    kept: Statement<'c>,
    call_up: Statement<'c>,
    call_down: Statement<'c>,
    early: Statement<'c>,
    not_early: Statement<'c>,
    feedback: Statement<'c>,
    known: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            conn,
            accept: conn.prepare(
                "INSERT INTO challenges
                    (key, arrived, deadline, ended, owner, epoch, id_hmac, head, last, life, job,
                     limits)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            life: conn.prepare(
                "UPDATE challenges SET life = ?, owner = ?, epoch = ? WHERE key = ? AND wiped = 0",
            )?,
            end: conn.prepare(
                "UPDATE challenges SET life = ?, last = ?, ended = ?, owner = ?, epoch = ?
                 WHERE key = ? AND wiped = 0",
            )?,
            reference: conn.prepare(
                "INSERT OR REPLACE INTO refs (hmac, key, challenge, attempt, part, phone)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?,
            inbox: conn.prepare(
                "INSERT INTO inbox (message, at, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            inbox_done: conn.prepare("DELETE FROM inbox WHERE message = ?")?,
            late: conn.prepare("UPDATE challenges SET late = ? WHERE key = ?")?,
            outbox: conn.prepare(
                "INSERT INTO outbox (report, challenge, seq, kind, route, final, until, at, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            outbox_done: conn.prepare("DELETE FROM outbox WHERE report = ?")?,
            kept: conn.prepare(
                "INSERT INTO kept (report, challenge, seq, final, until, body)
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )?,
            call_up: conn.prepare(
                "INSERT OR REPLACE INTO calls (challenge, attempt, carrier, state) VALUES (?, ?, ?, ?)",
            )?,
            call_down: conn.prepare("DELETE FROM calls WHERE challenge = ? AND attempt = ?")?,
            early: conn.prepare(
                "INSERT OR REPLACE INTO early (hmac, key, word, until) VALUES (?, ?, ?, ?)",
            )?,
            not_early: conn
                .prepare("DELETE FROM early WHERE hmac = ? AND word = ? AND until = ?")?,
            feedback: conn.prepare("UPDATE challenges SET verified = ? WHERE key = ?")?,
            known: conn
                .prepare("SELECT key, head, ended, last, rest FROM challenges WHERE id_hmac = ?")?,
        })
    }

    /// Writes a batch; the answer is right once the transaction is durable.
    pub fn batch(&mut self, codec: &mut RowCodec, batch: &Batch) -> Result<Done, rusqlite::Error> {
        let mut done = Done {
            number: batch.number,
            ..Done::default()
        };
        // Challenges of this batch that did not go in: nothing of theirs may.
        let mut out = HashSet::new();
        for (place, op) in batch.ops.iter().enumerate() {
            if !out.is_empty() && challenge_of(op).is_some_and(|key| out.contains(&key)) {
                continue;
            }
            match self.op(codec, place, op, &mut done) {
                Ok(true) => {}
                Ok(false) => {
                    out.extend(challenge_of(op));
                }
                Err(Fault::Op(reason)) => {
                    tracing::error!(
                        batch = batch.number,
                        place,
                        reason,
                        "the ledger leaves an op out"
                    );
                    done.refused.push(place);
                    if let Op::Accept(new) = op {
                        out.insert(new.key);
                        done.lost.push(new.key);
                    }
                }
                Err(Fault::Outside(error)) => return Err(error),
            }
        }
        Ok(done)
    }

    /// False: the challenge is known under another key.
    fn op(
        &mut self,
        codec: &mut RowCodec,
        place: usize,
        op: &Op,
        done: &mut Done,
    ) -> Result<bool, Fault> {
        match op {
            Op::Accept(new) => return self.accept(codec, new, done),
            Op::Life { key, life } => {
                codec
                    .sealer
                    .seal(Part::Life, key.0, life, &mut codec.life)?;
                self.life
                    .execute(params![codec.life, &*codec.owner, codec.epoch, key.0])?;
            }
            Op::End {
                key,
                life,
                last,
                at,
            } => self.end(codec, *key, life, last, *at)?,
            Op::Reference {
                carrier,
                reference,
                key,
                part,
                phone,
            } => self.reference(codec, (carrier, reference), *key, *part, *phone)?,
            Op::Inbox(message) => self.inbox(codec, message)?,
            Op::InboxDone { key } => {
                self.inbox_done.execute([key.0])?;
            }
            Op::Late { key, late } => {
                self.late.execute(params![late, key.0])?;
            }
            Op::CallUp {
                key,
                carrier,
                state,
            } => self.call_up(codec, *key, carrier, state)?,
            Op::CallDown { key } => {
                self.call_down
                    .execute(params![key.challenge.0, key.attempt])?;
            }
            Op::Report(report) => self.report(codec, report)?,
            Op::ReportDone { report } => {
                codec.tally.waiting -= self.outbox_done.execute([report.0])? as i64;
            }
            Op::Early(control) => {
                let known = self.word(codec, control)?;
                done.met.extend(known.map(|known| (place, known)));
            }
            Op::Overlay {
                subject,
                entry,
                audit,
                order,
            } => overlay::change(self.conn, subject, entry.as_deref(), audit, order.as_ref())?,
            Op::Feedback { key, verified, .. } => {
                self.feedback.execute(params![verified, key.0])?;
            }
        }
        Ok(true)
    }

    fn accept(
        &mut self,
        codec: &mut RowCodec,
        new: &NewChallenge,
        done: &mut Done,
    ) -> Result<bool, Fault> {
        let key = new.key.0;
        if new.claim.as_ref().is_some_and(|claim| !claim.begin()) {
            self.forget(codec, key)?;
            done.lost.push(new.key);
            return Ok(false);
        }
        let mac = codec.ring.mac(Lookup::Id, &new.tenant, &new.id);
        if let Some(known) = self.known_by_older(codec, &new.tenant, &new.id)? {
            done.known.push((new.key, known));
            return Ok(false);
        }
        Head::write(&new.tenant, &new.id, &new.content, &mut codec.plain);
        let sealer = &mut codec.sealer;
        sealer.seal(Part::Head, key, &codec.plain, &mut codec.head)?;
        codec.plain.fill(0);
        sealer.seal(Part::Job, key, &new.job, &mut codec.job)?;
        sealer.seal(Part::Life, key, &new.life, &mut codec.life)?;
        let last = match &new.last {
            Some(last) => {
                sealer.seal(Part::Last, key, last, &mut codec.last)?;
                Some(&codec.last)
            }
            None => None,
        };
        let ended = new.last.as_ref().map(|_| new.arrived.0);
        let inserted = self.accept.execute(params![
            key,
            new.arrived.0,
            new.deadline.0,
            ended,
            &*codec.owner,
            codec.epoch,
            mac,
            codec.head,
            last,
            codec.life,
            codec.job,
            new.limits.as_ref().map(limiter::write)
        ])?;
        if inserted == 0 {
            match self.known_by(codec, mac)? {
                // This very op, done before: a commit whose success was not told.
                Some(known) if known.key == new.key => {}
                Some(known) => {
                    done.known.push((new.key, known));
                    return Ok(false);
                }
                None => return Err(twice("challenge")),
            }
        } else {
            codec.tally.accepted += 1;
            codec.tally.open += i64::from(ended.is_none());
            if key > codec.tally.newest {
                (codec.tally.newest, codec.tally.newest_arrived) = (key, new.arrived.0);
            }
        }
        if codec.early
            && let Some(word) = early_word(self.conn, &codec.ring, &new.tenant, &new.id)?
        {
            done.early.push((new.key, word));
        }
        Ok(true)
    }

    /// Nothing of it is there, unless a commit took effect whose success was not told.
    fn forget(&self, codec: &mut RowCodec, key: i64) -> rusqlite::Result<()> {
        let delete = |table: &str| {
            self.conn
                .prepare_cached(&format!("DELETE FROM {table} = ?"))?
                .execute([key])
        };
        let challenges = delete("challenges WHERE key")? as i64;
        codec.tally.accepted -= challenges;
        codec.tally.open -= challenges;
        if key == codec.tally.newest {
            // No longer looked for.
            codec.tally.newest_arrived = 0;
        }
        codec.tally.waiting -= delete("outbox WHERE challenge")? as i64;
        delete("kept WHERE challenge")?;
        Ok(())
    }

    fn end(
        &mut self,
        codec: &mut RowCodec,
        key: ChallengeKey,
        life: &[u8],
        last: &[u8],
        at: Millis,
    ) -> Result<(), Fault> {
        codec
            .sealer
            .seal(Part::Life, key.0, life, &mut codec.life)?;
        codec
            .sealer
            .seal(Part::Last, key.0, last, &mut codec.last)?;
        let ended = self.end.execute(params![
            codec.life,
            codec.last,
            at.0,
            &*codec.owner,
            codec.epoch,
            key.0
        ])?;
        codec.tally.open -= ended as i64;
        Ok(())
    }

    fn reference(
        &mut self,
        codec: &RowCodec,
        (carrier, reference): (&str, &str),
        key: AttemptKey,
        part: u16,
        phone: Option<Tail>,
    ) -> Result<(), Fault> {
        let mac = codec.ring.mac(Lookup::Reference, carrier, reference);
        let phone = phone.map(|tail| read::phone_mac(&codec.ring, carrier, tail));
        self.reference.execute(params![
            mac,
            codec.ring.number(),
            key.challenge.0,
            key.attempt,
            part,
            phone
        ])?;
        Ok(())
    }

    fn inbox(&mut self, codec: &mut RowCodec, message: &InboxMessage) -> Result<(), Fault> {
        let key = message.key.0;
        codec
            .sealer
            .seal(Part::Inbox, key, &message.body, &mut codec.head)?;
        self.inbox.execute(params![key, message.at.0, codec.head])?;
        Ok(())
    }

    fn call_up(
        &mut self,
        codec: &mut RowCodec,
        key: AttemptKey,
        carrier: &str,
        state: &str,
    ) -> Result<(), Fault> {
        let challenge = key.challenge.0;
        codec
            .sealer
            .seal(Part::Call, challenge, state.as_bytes(), &mut codec.head)?;
        self.call_up
            .execute(params![challenge, key.attempt, carrier, codec.head])?;
        Ok(())
    }
}

fn twice(what: &str) -> Fault {
    Fault::Op(format!("the key of a {what} was given twice"))
}

/// Whose op it is, as far as it may be left out with its challenge.
fn challenge_of(op: &Op) -> Option<ChallengeKey> {
    match op {
        Op::Accept(new) => Some(new.key),
        Op::Life { key, .. }
        | Op::End { key, .. }
        | Op::Feedback { key, .. }
        | Op::Late { key, .. } => Some(*key),
        Op::Reference { key, .. } | Op::CallUp { key, .. } | Op::CallDown { key } => {
            Some(key.challenge)
        }
        Op::Report(report) => Some(report.challenge),
        Op::ReportDone { .. }
        | Op::Early(_)
        | Op::Overlay { .. }
        | Op::Inbox(_)
        | Op::InboxDone { .. } => None,
    }
}
