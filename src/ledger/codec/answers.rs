//! Verdicts on rows become answers to batches.

use super::{Batch, Codec, Done, Head, Known, Op, Unsealable, records, records::word_of};
use crate::{
    admission::Taken,
    challenge::{ChallengeKey, Millis},
    ledger::{
        Limited,
        group::{Accepted, KnownRow, RowVerdict, Verdict},
        seal::Part,
    },
};

impl Codec {
    /// Of a group that is durable: an answer for each batch.
    pub fn answers(&mut self, batches: &[Batch], verdicts: &mut Vec<Verdict>) -> Vec<Done> {
        let done = |batch: &Batch| Done {
            number: batch.number,
            ..Done::default()
        };
        let mut dones: Vec<Done> = batches.iter().map(done).collect();
        for Verdict {
            batch,
            place,
            verdict,
        } in verdicts.drain(..)
        {
            if let (Some(batch), Some(done)) = (batches.get(batch), dones.get_mut(batch)) {
                self.note(batch, place, verdict, done);
            }
        }
        dones
    }

    fn note(&mut self, batch: &Batch, place: usize, verdict: RowVerdict, done: &mut Done) {
        let accepted = match batch.ops.get(place) {
            Some(Op::Accept(new)) => Some(new.key),
            Some(_) | None => None,
        };
        let refused = match verdict {
            RowVerdict::Known(row) => match (accepted, self.known(row)) {
                (Some(key), Ok(known)) => return done.known.push((key, known)),
                (_, known) => known.err().map(|error| error.to_string()),
            },
            RowVerdict::Met(row) => match self.known(row) {
                Ok(known) => return done.met.push((place, known)),
                Err(error) => Some(error.to_string()),
            },
            RowVerdict::Accepted(Accepted { waits, limits }) => {
                done.early.extend(accepted.zip(waits.and_then(word_of)));
                let limited = limits.and_then(|taken| limited(batch, place, taken));
                return done.limited.extend(limited);
            }
            RowVerdict::OverLimit(taken) => {
                return done.limited.extend(limited(batch, place, taken));
            }
            RowVerdict::Fenced(key) => {
                let key = ChallengeKey(key);
                let begins = |op: &Op| matches!(op, Op::Accept(new) if new.key == key);
                match batch.ops.iter().any(begins) {
                    true => done.lost.push(key),
                    false => done.fenced.push(key),
                }
                return;
            }
            RowVerdict::TermOver => {
                done.failed = Some(TERM_OVER.to_owned());
                return;
            }
            RowVerdict::Withdrawn => None,
            RowVerdict::Refused(reason) => Some(reason),
        };
        if let Some(reason) = refused {
            tracing::error!(
                batch = batch.number,
                place,
                reason,
                "the ledger leaves an op out"
            );
            done.refused.push(place);
        }
        done.lost.extend(accepted);
    }

    fn known(&mut self, row: KnownRow) -> Result<Known, Unsealable> {
        let head = self.opener.open(Part::Head, row.key, &row.head)?;
        let last = match &row.rest {
            Some(rest) => {
                let rest = records::open_rest(&mut self.opener, row.key, rest)?;
                Some(rest.last).filter(|last| !last.is_empty())
            }
            None => {
                let last = row.last.as_ref();
                let opened = last.map(|sealed| self.opener.open(Part::Last, row.key, sealed));
                opened.transpose()?
            }
        };
        Ok(Known {
            key: ChallengeKey(row.key),
            content: Head::parse(&head)?.content,
            ended: row.ended.map(Millis),
            last,
        })
    }
}

fn limited(batch: &Batch, place: usize, taken: Taken) -> Option<Limited> {
    let Some(Op::Accept(new)) = batch.ops.get(place) else {
        return None;
    };
    let check = new.limits.as_ref()?;
    Some(Limited {
        key: new.key,
        windows: check.keys,
        taken,
    })
}

/// Another opening of the store has the node's place.
const TERM_OVER: &str = "another process has taken this node's place";
