//! The ledger's engine: gives a group of batches to the store, and says what became of them. Without a thread and without
//! a clock; [`super::writer`] drives it, and the rehearsal.

use std::{path::Path, sync::Arc};

use super::{
    Batch, Done, Keeping, Op, OpenError, Recovered,
    codec::Codec,
    keys, limiter,
    seal::{Keyring, Master, Unsealable},
    store::{Group, Store, StoreError, StoreErrorKind, Verdict},
};
use crate::challenge::Millis;

pub(super) struct Engine {
    pub store: Box<dyn Store>,
    pub keeping: Keeping,
    codec: Codec,
    group: Group,
    /// The group may be there: it is given again as it is, and nobody may give up what is in it.
    in_doubt: bool,
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
        let failed = |source| failed(path, source);
        let ring = Arc::new(keys::register(store.as_mut(), path, masters)?);
        let codec = Codec::new(ring.clone(), keeping.wipe).map_err(unusable)?;
        let secret = limiter::secret(store.as_mut(), &ring, failed)?;
        let epoch = store.begin().map_err(failed)?;
        let rows = store.reader().map_err(failed)?;
        let name = path.display().to_string();
        let recovered = Recovered::new(rows, name, ring.clone(), epoch, secret);
        let engine = Engine {
            store,
            keeping,
            codec,
            group: Group::default(),
            in_doubt: false,
            verdicts: Vec::new(),
        };
        Ok((engine, ring, recovered))
    }

    /// Writes these batches in one transaction; durable when it returns. On an error none of them is answered, and the
    /// same ones are to be given again, until they are.
    pub fn commit(&mut self, now: Millis, batches: &[Batch]) -> Result<Vec<Done>, StoreError> {
        if !self.in_doubt {
            // Before it is known who has given up: nobody is asked while the store still waits for its turn.
            self.store.lock()?;
            self.codec.encode(now, batches, &mut self.group);
        }
        if let Err(error) = self.store.commit(&self.group, &mut self.verdicts) {
            self.in_doubt |= error.kind == StoreErrorKind::InDoubt;
            if !self.in_doubt {
                release(batches);
            }
            return Err(error);
        }
        self.in_doubt = false;
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
        let ring = Arc::new(keys::register(self.store.as_mut(), path, masters)?);
        limiter::secret(self.store.as_mut(), &ring, |source| failed(path, source))?;
        self.codec = Codec::new(ring.clone(), self.keeping.wipe).map_err(unusable)?;
        told(ring);
        self.store.reseal();
        Ok(())
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

pub(super) fn failed(path: &Path, source: StoreError) -> OpenError {
    OpenError::Store {
        path: path.to_path_buf(),
        source,
    }
}

fn unusable(error: Unsealable) -> OpenError {
    OpenError::Key {
        id: "first".into(),
        reason: error.to_string(),
    }
}
