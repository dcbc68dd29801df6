//! The ledger's engine: gives a group of batches to the store, and says what became of them. Without a thread and without
//! a clock; [`super::writer`] drives it, and the rehearsal.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    Batch, Done, Keeping, Op, OpenError, Recovered, StoreError, StoreErrorKind,
    codec::Codec,
    group::{Group, Verdict},
    keys, limiter,
    seal::{Keyring, Master, Unsealable, key_number},
    store::{Opening, Store},
};
use crate::{
    admission::{self, Forgotten, Limits, Windows},
    challenge::Millis,
};

pub(super) struct Engine {
    pub store: Box<dyn Store>,
    pub keeping: Keeping,
    codec: Codec,
    pub group: Group,
    /// A group of so many batches may be there: it is given again as it is, and nobody may give up what is in it.
    in_doubt: Option<usize>,
    verdicts: Vec<Verdict>,
}

impl Engine {
    /// Takes the store into use under these keys, the sealing one first. `path` stands in errors.
    pub fn begin(
        mut store: Box<dyn Store>,
        path: &Path,
        masters: Vec<Master>,
        keeping: Keeping,
    ) -> Result<(Engine, Arc<Keyring>, Recovered), OpenError> {
        let failed = |source| OpenError::of(path, source);
        let ring = Arc::new(register(store.as_mut(), path, masters)?);
        let codec = Codec::new(ring.clone(), keeping.wipe).map_err(unusable)?;
        let secret = limiter_secret(store.as_mut(), path, &ring)?;
        let Opening { epoch, owner } = store.begin().map_err(failed)?;
        let rows = store.reader().map_err(failed)?;
        let name = path.display().to_string();
        let recovered = Recovered::new(rows, name, ring.clone(), epoch, secret);
        let engine = Engine {
            store,
            keeping,
            codec,
            group: Group::of(owner),
            in_doubt: None,
            verdicts: Vec::new(),
        };
        Ok((engine, ring, recovered))
    }

    /// Before the first commit: what the store holds counts for the limiter, as far as it counts by now.
    pub fn count_arrivals(
        &mut self,
        limits: &Limits,
        now: Millis,
        recovered: &mut Recovered,
    ) -> Result<(), StoreError> {
        let Some(windows) = self.store.windows() else {
            recovered.full = self.store.full(limits, now)?;
            return Ok(());
        };
        let mut full = HashMap::new();
        recovered.count(now - admission::longest(limits), |at, keys| {
            let taken = windows.refill(keys, limits, at);
            say_forgotten(windows);
            let filled = keys.iter().zip(taken.full);
            full.extend(filled.filter_map(|(key, until)| Some((*key, until?))));
        })?;
        full.retain(|_, until| *until > now);
        recovered.full = full.into_iter().collect();
        Ok(())
    }

    /// Writes these batches in one transaction, or the first of them where the database refuses one for what is in it;
    /// durable when it returns. Gives an answer for each that is written, at least for one; the others are to be given
    /// again. On an error none is answered, and the same ones are to be given again, until they are.
    ///
    /// The batch that is refused is found by halves, and is left out: its answer says why.
    pub fn commit(&mut self, now: Millis, batches: &[Batch]) -> Result<Vec<Done>, StoreError> {
        let mut first = self.in_doubt.unwrap_or(batches.len());
        loop {
            let some = &batches[..first];
            match (self.write(now, some), some) {
                (Err(error), [batch]) if error.kind == StoreErrorKind::Data => {
                    return Ok(vec![failed_batch(batch, error)]);
                }
                (Err(error), [_, _, ..]) if error.kind == StoreErrorKind::Data => first /= 2,
                (result, _) => return result,
            }
        }
    }

    /// The last group may be there.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.is_some()
    }

    fn write(&mut self, now: Millis, batches: &[Batch]) -> Result<Vec<Done>, StoreError> {
        if self.in_doubt.is_none() {
            // Before it is known who has given up: nobody is asked while the store still waits for its turn.
            self.store.lock()?;
            self.codec.encode(now, batches, &mut self.group);
        }
        let committed = self.store.commit(&self.group, &mut self.verdicts);
        self.store.windows().into_iter().for_each(say_forgotten);
        if let Err(error) = committed {
            match error.kind {
                StoreErrorKind::InDoubt => self.in_doubt = Some(batches.len()),
                // It is not there, and is not given again.
                StoreErrorKind::Data => self.in_doubt = None,
                _ => {}
            }
            if self.in_doubt.is_none() {
                release(batches);
            }
            return Err(error);
        }
        self.in_doubt = None;
        self.group.number += 1;
        Ok(self.codec.answers(batches, &mut self.verdicts))
    }

    /// One bounded step of wiping, retention and sealing again. True: there is more to do.
    pub fn housekeep(&mut self, now: Millis) -> Result<bool, StoreError> {
        self.store.housekeep(&mut self.codec, &self.keeping, now)
    }

    /// Other keys, the sealing one first; on an error they stay as they were. `told` hears of them before anything is
    /// sealed by them.
    pub fn rotate(
        &mut self,
        path: &Path,
        masters: Vec<Master>,
        told: impl FnOnce(Arc<Keyring>),
    ) -> Result<(), OpenError> {
        let ring = Arc::new(register(self.store.as_mut(), path, masters)?);
        limiter_secret(self.store.as_mut(), path, &ring)?;
        self.codec = Codec::new(ring.clone(), self.keeping.wipe).map_err(unusable)?;
        told(ring);
        self.store.reseal();
        Ok(())
    }
}

fn say_forgotten(windows: &mut Windows) {
    if let Some(Forgotten { windows, kept }) = windows.forgotten() {
        tracing::warn!(
            target: "ringback::admission::windows",
            windows,
            kept,
            "more persons and numbers than the limiter remembers: those seen longest ago are forgotten"
        );
    }
}

/// Nothing of it is written, and never will be.
fn failed_batch(batch: &Batch, error: StoreError) -> Done {
    tracing::error!(
        batch = batch.number,
        ops = batch.ops.len(),
        reason = error.reason,
        "the database refuses a batch for what is in it: it is left out, and the others are written"
    );
    let accepts = batch.ops.iter().filter_map(|op| match op {
        Op::Accept(new) => Some(new.key),
        _ => None,
    });
    Done {
        number: batch.number,
        lost: accepts.collect(),
        failed: Some(error.reason),
        ..Done::default()
    }
}

/// Nothing of these is written: whoever waits for one of them may give up until the next try.
fn release(batches: &[Batch]) {
    for op in batches.iter().flat_map(|batch| &batch.ops) {
        let claim = match op {
            Op::Accept(new) => new.claim.as_ref(),
            Op::Early(control) => control.claim.as_ref(),
            Op::Overlay { order, .. } => order.as_ref().map(|order| &order.claim),
            _ => None,
        };
        if let Some(claim) = claim {
            claim.rolled_back();
        }
    }
}

fn register(
    store: &mut dyn Store,
    path: &Path,
    masters: Vec<Master>,
) -> Result<Keyring, OpenError> {
    let known = store.keys().map_err(|source| OpenError::of(path, source))?;
    keys::register(&known, path, masters, |master| {
        store.seals_with(master.fingerprint, &master.id)
    })
}

/// The store's own secret of the limiter: made where it is missing, sealed again where another key than the first has
/// sealed it.
fn limiter_secret(
    store: &mut dyn Store,
    path: &Path,
    ring: &Arc<Keyring>,
) -> Result<limiter::Secret, OpenError> {
    let failed = |source| OpenError::of(path, source);
    let sealed = store.secret(limiter::NAME).map_err(failed)?;
    let secret = match &sealed {
        Some(sealed) => limiter::open(sealed, ring)?,
        None => limiter::made()?,
    };
    if sealed.and_then(|sealed| key_number(&sealed)) != Some(ring.number()) {
        let sealed = limiter::seal(&secret, ring)?;
        store.put_secret(limiter::NAME, &sealed).map_err(failed)?;
    }
    Ok(secret)
}

fn unusable(error: Unsealable) -> OpenError {
    OpenError::Key {
        id: "first".into(),
        reason: error.to_string(),
    }
}
