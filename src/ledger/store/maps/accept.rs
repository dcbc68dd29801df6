//! What begins: openings, and challenges; and whose they are.

use super::{
    AcceptRow, Accepted, Challenge, ChallengeRow, Fault, Fence, Group, Millis, Opening, Owner,
    RowVerdict, Tables, Windows, limiter, twice,
};

impl Tables {
    /// What is open is this node's from here on.
    pub(super) fn begin(&mut self, node: &str) -> Opening {
        self.epoch += 1;
        let known = self.nodes.iter().position(|(name, _)| *name == node);
        let place = known.unwrap_or_else(|| {
            self.nodes.push((node.to_owned(), 0));
            self.nodes.len() - 1
        });
        self.nodes[place].1 = self.epoch;
        let owner = Owner {
            node: place as u16,
            term: self.epoch,
        };
        let challenges = self.challenges.values_mut();
        for challenge in challenges.filter(|challenge| challenge.row.ended.is_none()) {
            challenge.owner = owner.node;
        }
        Opening {
            epoch: self.epoch,
            owner,
        }
    }

    pub(super) fn fence(&self, group: &Group) -> Fence {
        let Owner { node, term } = group.owner;
        let current = self.nodes.get(usize::from(node));
        if current.is_none_or(|(_, current)| *current != term) {
            return Fence::Over;
        }
        if self.nodes.len() == 1 {
            return Fence::Open;
        }
        let other = |key| {
            let challenge = self.challenges.get(&key).filter(|c| c.owner != node)?;
            Some((key, challenge.row.ended.is_some()))
        };
        Fence::Others(group.challenges().into_iter().filter_map(other).collect())
    }

    pub(super) fn accept(
        &mut self,
        group: &Group,
        windows: &mut Windows,
        new: &AcceptRow,
    ) -> Result<Option<RowVerdict>, Fault> {
        let known = self.known(group.macs(new.older).chain([new.id]));
        // This very row, written before, is there where the answer of a commit was lost.
        let written = match known {
            Some(known) if known.key != new.key => return Ok(Some(RowVerdict::Known(known))),
            Some(_) => true,
            None if self.challenges.contains_key(&new.key) => return Err(twice("challenge")),
            None => false,
        };
        let taken = new.limits.as_ref().map(|row| {
            let limits = group.limits(row);
            windows.take(&row.keys, limits, Millis(new.arrived))
        });
        if !written {
            if let Some(taken) = taken.filter(|taken| taken.refused.is_some()) {
                return Ok(Some(RowVerdict::OverLimit(taken)));
            }
            self.insert(group, new);
        }
        let mut macs = [new.id].into_iter().chain(group.macs(new.older));
        let waits = macs.find_map(|mac| self.early.get(&mac));
        let accepted = Accepted {
            waits: waits.map(|waits| waits.word),
            limits: taken.filter(|taken| !taken.is_plain()),
        };
        Ok(accepted.verdict())
    }

    fn insert(&mut self, group: &Group, new: &AcceptRow) {
        let octets = |span| group.get(span).to_vec();
        let row = ChallengeRow {
            key: new.key,
            arrived: new.arrived,
            deadline: new.deadline,
            ended: new.ended,
            verified: None,
            head: octets(new.head),
            last: new.last.map(octets),
            life: Some(octets(new.life)),
            job: Some(octets(new.job)),
            late: None,
            rest: None,
        };
        let limits = new.limits.as_ref();
        let challenge = Challenge {
            owner: group.owner.node,
            id: new.id,
            limits: limits.map(|row| limiter::write(&row.keys).to_vec()),
            wiped: false,
            row,
        };
        self.ids.insert(new.id, new.key);
        self.challenges.insert(new.key, challenge);
    }
}
