//! Housekeeping of the maps: by age, all that is due in one step, since nobody waits for a disk here.

use std::time::Duration;

use super::{BTreeSet, Codec, Keeping, KeptRow, Mac, Millis, OutcomeRow, Sealed, Tables};
use crate::ledger::seal::Part;

impl Tables {
    /// Wipes what is over and deletes what is old. True: there is more, which never is.
    pub(super) fn age(&mut self, codec: &mut Codec, keeping: &Keeping, now: Millis) -> bool {
        let retired = now - keeping.retention;
        for key in self.over(now) {
            self.wipe(codec, key);
        }
        let mut gone = BTreeSet::new();
        for (key, challenge) in &self.challenges {
            let (arrived, ended) = (challenge.row.arrived, challenge.row.ended);
            if arrived < retired.0 && ended.is_some_and(|ended| ended < retired.0) {
                gone.insert(*key);
            }
        }
        for key in &gone {
            if keeping.outcomes > keeping.retention {
                self.keep_outcome(codec, *key, now - keeping.outcomes);
            }
            self.remove(*key);
        }
        for rows in self.references.values_mut() {
            rows.retain(|(_, row)| !gone.contains(&row.challenge));
        }
        self.references.retain(|_, rows| !rows.is_empty());
        let forgotten = now - keeping.outcomes.max(keeping.retention);
        self.outcomes
            .retain(|_, (_, row)| row.arrived >= forgotten.0);
        self.early.retain(|_, waits| waits.until >= now.0);
        let referring = self.references.values().flatten();
        let mut used: BTreeSet<u16> = referring.map(|(number, _)| *number).collect();
        used.extend(self.early.values().map(|waits| waits.number));
        self.keys
            .retain(|key| key.sealed || used.contains(&key.number));
        false
    }

    /// Ended challenges whose time is over, and that are not wiped.
    fn over(&self, now: Millis) -> Vec<i64> {
        let challenges = self.challenges.values();
        let due = challenges.filter(|challenge| {
            let row = &challenge.row;
            let over = Millis(row.deadline).max(Millis(row.arrived) + LIMITER) + MARGIN;
            let ended = row.ended.map(Millis);
            !challenge.wiped && ended.is_some_and(|ended| over.max(ended + MARGIN) <= now)
        });
        due.map(|challenge| challenge.row.key).collect()
    }

    fn wipe(&mut self, codec: &mut Codec, key: i64) {
        let of = (key, 0, i64::MIN)..=(key, u32::MAX, i64::MAX);
        let kept: Vec<KeptRow> = self.kept.range(of).map(|(_, row)| row.clone()).collect();
        let Some(challenge) = self.challenges.get_mut(&key) else {
            return;
        };
        let row = &mut challenge.row;
        let parts = [&row.job, &row.life, &row.last].map(Option::as_deref);
        // A later version's stays as it is.
        if let Ok(rest) = codec.wiped(key, parts, &kept) {
            (row.job, row.life, row.last, row.rest) = (None, None, None, rest);
            challenge.wiped = true;
            self.take_kept(key);
        }
    }

    fn keep_outcome(&mut self, codec: &mut Codec, key: i64, since: Millis) {
        let Some(challenge) = self.challenges.get(&key) else {
            return;
        };
        let row = &challenge.row;
        if row.arrived < since.0 {
            return;
        }
        if let Some(body) = codec.outcome(key, row.last.as_deref(), row.rest.as_deref()) {
            let row = OutcomeRow {
                key,
                arrived: row.arrived,
                ended: row.ended.unwrap_or(row.arrived),
                body,
            };
            self.outcomes.insert(key, (challenge.id, row));
        }
    }

    /// Seals with the first key what another has sealed.
    pub(super) fn reseal(&mut self, codec: &mut Codec) {
        let number = codec.ring.number();
        if !self
            .keys
            .iter()
            .any(|key| key.sealed && key.number != number)
        {
            return;
        }
        let mut moved: Vec<(Mac, Mac)> = Vec::new();
        for (key, challenge) in &mut self.challenges {
            let row = &mut challenge.row;
            if let Some((head, id)) = codec.head_again(*key, &row.head) {
                moved.push((std::mem::replace(&mut challenge.id, id), id));
                row.head = head;
            }
            let parts = [
                (Part::Last, &mut row.last),
                (Part::Life, &mut row.life),
                (Part::Job, &mut row.job),
                (Part::Rest, &mut row.rest),
            ];
            for (part, sealed) in parts {
                if let Some(sealed) = sealed {
                    again(codec, part, *key, sealed);
                }
            }
        }
        for (old, new) in moved {
            if let Some(key) = self.ids.remove(&old) {
                self.ids.insert(new, key);
            }
        }
        for (key, waiting) in &mut self.outbox {
            again(codec, Part::Outbox, *key, &mut waiting.row.body);
        }
        for row in self.kept.values_mut() {
            again(codec, Part::Kept, row.report, &mut row.body);
        }
        for (key, row) in &mut self.inbox {
            again(codec, Part::Inbox, *key, &mut row.body);
        }
        for (key, (_, row)) in &mut self.outcomes {
            again(codec, Part::EndedChallenge, *key, &mut row.body);
        }
        for key in &mut self.keys {
            key.sealed = key.number == number;
        }
    }
}

fn again(codec: &mut Codec, part: Part, row: i64, sealed: &mut Sealed) {
    if let Some(new) = codec.again(part, row, sealed) {
        *sealed = new;
    }
}

/// The limiter's longest window: it is rebuilt from the jobs of so long.
const LIMITER: Duration = Duration::from_secs(300);
/// After the life of a code, before it is wiped.
const MARGIN: Duration = Duration::from_secs(60);
