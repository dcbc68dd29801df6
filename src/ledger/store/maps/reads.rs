//! Look-ups in the maps.

use std::cmp::Reverse;

use super::{
    AGES, CallRow, ChallengeRow, InboxRow, KeptRow, Mac, Maps, Millis, OutcomeRow, Pending,
    ReferenceRow, StoreError, StoreReads, WaitingRow,
};

pub(super) struct Reads(pub Maps);

impl StoreReads for Reads {
    fn challenge(&mut self, key: i64) -> Result<Option<ChallengeRow>, StoreError> {
        let tables = self.0.lock();
        let challenge = tables.challenges.get(&key);
        Ok(challenge.map(|challenge| challenge.row.clone()))
    }

    fn challenge_of(&mut self, id: &Mac) -> Result<Option<ChallengeRow>, StoreError> {
        let key = self.0.lock().ids.get(id).copied();
        key.map_or(Ok(None), |key| self.challenge(key))
    }

    fn newest(&mut self, limit: usize) -> Result<Vec<ChallengeRow>, StoreError> {
        let tables = self.0.lock();
        let mut all: Vec<_> = tables.challenges.values().map(|c| &c.row).collect();
        all.sort_by_key(|row| Reverse((row.arrived, row.key)));
        Ok(all.into_iter().take(limit).cloned().collect())
    }

    fn outcomes(&mut self, id: &Mac, limit: usize) -> Result<Vec<OutcomeRow>, StoreError> {
        let tables = self.0.lock();
        let of = tables.outcomes.values().filter(|(mac, _)| mac == id);
        let mut found: Vec<OutcomeRow> = of.map(|(_, row)| row.clone()).collect();
        found.sort_by_key(|row| Reverse((row.arrived, row.key)));
        found.truncate(limit);
        Ok(found)
    }

    fn references(
        &mut self,
        reference: &Mac,
        limit: usize,
    ) -> Result<Vec<ReferenceRow>, StoreError> {
        let tables = self.0.lock();
        let rows = tables.references.get(reference).into_iter().flatten();
        Ok(rows.map(|(_, row)| *row).take(limit).collect())
    }

    fn early(&mut self, id: &Mac) -> Result<Option<i64>, StoreError> {
        Ok(self.0.lock().early.get(id).map(|waits| waits.word))
    }

    fn outbox(&mut self, after: i64, limit: usize) -> Result<Vec<WaitingRow>, StoreError> {
        let tables = self.0.lock();
        let waiting = tables.outbox.range(after.saturating_add(1)..);
        Ok(waiting.take(limit).map(|(_, w)| w.row.clone()).collect())
    }

    fn pending(&mut self, before: [Millis; AGES]) -> Result<Pending, StoreError> {
        let tables = self.0.lock();
        let ages = || tables.outbox.values().map(|waiting| waiting.at);
        Ok(Pending {
            count: tables.outbox.len() as u64,
            oldest: ages().min().map(Millis),
            before: before.map(|since| ages().filter(|at| *at <= since.0).count() as u64),
        })
    }

    fn audit(&mut self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let tables = self.0.lock();
        Ok(tables.audit.iter().rev().take(limit).cloned().collect())
    }

    fn kept(
        &mut self,
        challenge: i64,
        after_seq: u32,
        limit: usize,
    ) -> Result<Vec<KeptRow>, StoreError> {
        let tables = self.0.lock();
        let from = (challenge, after_seq.saturating_add(1), i64::MIN);
        let kept = tables.kept.range(from..=(challenge, u32::MAX, i64::MAX));
        Ok(kept.take(limit).map(|(_, row)| row.clone()).collect())
    }

    fn unfinished(
        &mut self,
        after: Option<i64>,
        below: i64,
        recent: Millis,
        limit: usize,
    ) -> Result<Vec<ChallengeRow>, StoreError> {
        let tables = self.0.lock();
        let from = after.map_or(i64::MIN, |after| after + 1);
        let rows = tables.challenges.range(from..below.max(from));
        let rows = rows.map(|(_, challenge)| &challenge.row);
        let wanted = rows.filter(|row| row.ended.is_none() || row.arrived >= recent.0);
        Ok(wanted.take(limit).cloned().collect())
    }

    fn arrivals(
        &mut self,
        since: Millis,
        below: i64,
        each: &mut dyn FnMut(Millis, &[u8]),
    ) -> Result<(), StoreError> {
        let tables = self.0.lock();
        let challenges = tables.challenges.range(..below).map(|(_, c)| c);
        let mut found: Vec<_> = challenges
            .filter(|challenge| challenge.row.arrived >= since.0)
            .filter_map(|challenge| Some((&challenge.row, challenge.limits.as_ref()?)))
            .collect();
        found.sort_by_key(|(row, _)| (row.arrived, row.key));
        for (row, limits) in found {
            each(Millis(row.arrived), limits);
        }
        Ok(())
    }

    fn calls(&mut self) -> Result<Vec<CallRow>, StoreError> {
        Ok(self.0.lock().calls.values().cloned().collect())
    }

    fn overlay(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.0.lock().overlay.values().cloned().collect())
    }

    fn inbox(&mut self) -> Result<Vec<InboxRow>, StoreError> {
        Ok(self.0.lock().inbox.values().cloned().collect())
    }
}
