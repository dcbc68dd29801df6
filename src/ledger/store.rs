//! The seam between the ledger's engine and the database behind it.
//!
//! The engine seals, groups, waits and answers; a [`Store`] keeps rows. What crosses between them is plain data: numbers,
//! names in clear and sealed octets, never a type of a database's library. What comes from
//! outside (queues, names, references) is octets there, not text: nothing that anybody sends makes a database refuse a row. A store commits a [`Group`] whole or not at all,
//! is read by [`StoreReads`], and does its housekeeping one bounded step at a time.
//!
//! Nothing here assumes that the order of keys is the order of age, or that one node writes. A group names its owner
//! ([`Owner`]); of a challenge that is another's by now nothing is written, and the rest of the group is.
//!
//! Where the answer to a commit is lost, the store says so ([`StoreErrorKind::InDoubt`]) and is given the very same group
//! again, under the same number, until it knows: it has left number and verdicts in the group's own transaction, and looks
//! before it writes. A store that can't tell gives another error; then the group is made anew, and what an asker has given
//! up meanwhile is withdrawn: rows that are there already are found as they are, and the verdicts are the same.

use std::time::Duration;

use super::{
    AGES, Keeping, Pending, StoreError,
    codec::Codec,
    group::{Group, Owner, ReferenceRow, Verdict},
    rows::{CallRow, ChallengeRow, InboxRow, KeptRow, KnownKey, OutcomeRow, WaitingRow},
    seal::Mac,
};
use crate::{
    admission::{Limits, Windows},
    challenge::Millis,
};

pub(super) mod maps;
pub(super) mod postgres;
pub(super) mod sqlite;

/// A database that holds a ledger, open for this process, in the hands of one thread. Dropped, it is free for another.
pub(super) trait Store: Send {
    /// The master keys that have sealed something here.
    fn keys(&self) -> Result<Vec<KnownKey>, StoreError>;

    /// This key seals from now on; its number here, given where it is new.
    fn seals_with(&mut self, fingerprint: [u8; 8], id: &str) -> Result<u16, StoreError>;

    /// A sealed secret of the ledger's own, by name.
    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    fn put_secret(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError>;

    /// Counts this opening: above all that were ever given here, on any node. Called once, before the first group. What is
    /// open of a node of this name is this opening's from here on; where one node at a time has the store, all that is open.
    fn begin(&mut self) -> Result<Opening, StoreError>;

    /// The limiter's windows, where the store counts in memory: filled after [`Store::begin`] with what counts of
    /// what is here. None: it counts in its own tables.
    fn windows(&mut self) -> Option<&mut Windows> {
        None
    }

    /// The windows that are full under these limits, and until when: of a store that counts in its own tables.
    fn full(&mut self, _limits: &Limits, _now: Millis) -> Result<Vec<(u64, Millis)>, StoreError> {
        Ok(Vec::new())
    }

    /// A reader of what is committed, at any time, beside the writer.
    fn reader(&self) -> Result<Box<dyn StoreReads>, StoreError>;

    /// Takes the right to write, for a commit that follows at once: another program may hold the file for long, and until
    /// it lets go whoever asked may give up.
    fn lock(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes a group in one transaction; durable when it returns. Rows of which there is more to say than that they are
    /// written have a verdict, in their order. On an error nothing of the group is there, unless it is in doubt, or done
    /// again by a store that can't tell.
    fn commit(&mut self, group: &Group, verdicts: &mut Vec<Verdict>) -> Result<(), StoreError>;

    /// What keeps several nodes apart, over a connection of its own, after [`Store::begin`]. None: one node at a time has it.
    fn nodes(&self) -> Option<Box<dyn StoreNodes>> {
        None
    }

    /// One bounded step of wiping, deleting and sealing again, in a transaction of its own, as of `now`. True: there is
    /// more to do.
    fn housekeep(
        &mut self,
        codec: &mut Codec,
        keeping: &Keeping,
        now: Millis,
    ) -> Result<bool, StoreError>;

    /// The keys have changed: what another than the first has sealed is to be sealed again.
    fn reseal(&mut self);

    /// How long until [`Store::upkeep`] is due; None: not before something is written.
    fn upkeep_in(&self) -> Option<Duration> {
        None
    }

    /// What the store does for its own sake when nothing else has for a while.
    fn upkeep(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// All is written, and nothing more comes: the end of a process that ends well.
    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Look-ups, each as of one moment at which all that was committed before it is there.
pub(super) trait StoreReads: Send {
    fn challenge(&mut self, key: i64) -> Result<Option<ChallengeRow>, StoreError>;

    fn challenge_of(&mut self, id: &Mac) -> Result<Option<ChallengeRow>, StoreError>;

    /// Those that came last, the last first.
    fn newest(&mut self, limit: usize) -> Result<Vec<ChallengeRow>, StoreError>;

    /// What is left after retention, the newest first.
    fn outcomes(&mut self, id: &Mac, limit: usize) -> Result<Vec<OutcomeRow>, StoreError>;

    /// Where a reference leads: attempts with higher keys first, the parts of one attempt in their order.
    fn references(
        &mut self,
        reference: &Mac,
        limit: usize,
    ) -> Result<Vec<ReferenceRow>, StoreError>;

    /// A control message that waits for this id, as its number.
    fn early(&mut self, id: &Mac) -> Result<Option<i64>, StoreError>;

    /// Reports that wait for the broker, by key, after `after`.
    fn outbox(&mut self, after: i64, limit: usize) -> Result<Vec<WaitingRow>, StoreError>;

    /// How many of them there are, and how many have waited since these moments.
    fn pending(&mut self, before: [Millis; AGES]) -> Result<Pending, StoreError>;

    /// Records of the overlay's audit, the newest first.
    fn audit(&mut self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError>;

    /// A challenge's reports that are kept for HTTP, by `seq`, after `after_seq`.
    fn kept(
        &mut self,
        challenge: i64,
        after_seq: u32,
        limit: usize,
    ) -> Result<Vec<KeptRow>, StoreError>;

    /// What a start takes up: this node's challenges with keys below `below` that are open, or arrived since `recent`; by
    /// key, after `after`.
    fn unfinished(
        &mut self,
        after: Option<i64>,
        below: i64,
        recent: Millis,
        limit: usize,
    ) -> Result<Vec<ChallengeRow>, StoreError>;

    /// What counts for the limiter since then, oldest first, of challenges with keys below `below`: when it arrived, and the
    /// windows as they were written.
    fn arrivals(
        &mut self,
        since: Millis,
        below: i64,
        each: &mut dyn FnMut(Millis, &[u8]),
    ) -> Result<(), StoreError>;

    fn calls(&mut self) -> Result<Vec<CallRow>, StoreError>;

    /// The overlay's entries in force.
    fn overlay(&mut self) -> Result<Vec<Vec<u8>>, StoreError>;

    /// What carriers have brought and what has led to nothing yet, by key.
    fn inbox(&mut self) -> Result<Vec<InboxRow>, StoreError>;
}

/// One opening of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub epoch: i64,
    pub owner: Owner,
}

/// Several nodes beside each other in one store.
pub(super) trait StoreNodes: Send {
    /// Counts this node's beat; all nodes as they stand after that. None: its opening is over, since another process has its
    /// name.
    fn beat(&mut self, beat: &Beat) -> Result<Option<Vec<NodeRow>>, StoreError>;

    /// Takes over what this node has left, at most `limit` rows of each kind, those first that end first. Nothing, where its
    /// beat has moved on.
    fn take(&mut self, of: &NodeRow, limit: usize) -> Result<TakenRows, StoreError>;

    /// What others have left for this node's open challenges. The same again, until it is done or over.
    fn errands(&mut self) -> Result<Errands, StoreError>;

    /// What carriers have brought to this node before then, and what still waits; so many at most.
    fn waiting(&mut self, before: Millis) -> Result<Vec<InboxRow>, StoreError>;
}

/// What a node says of itself with each beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beat {
    pub version: String,
    /// A hash of the configuration in use.
    pub configuration: String,
    /// Challenges that it has.
    pub open: i64,
    /// It uses one part of so many of what the carriers allow; 0: none.
    pub parts: i32,
    /// The newest opening among those that it counts.
    pub seen: i64,
}

/// A node as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRow {
    pub number: u16,
    pub name: String,
    /// Its last opening.
    pub term: i64,
    pub beat: i64,
    /// It has ended well.
    pub gone: bool,
    pub version: String,
    pub configuration: String,
    pub open: i64,
    pub parts: i32,
    pub seen: i64,
}

/// One bite of what a node had.
#[derive(Default)]
pub(super) struct TakenRows {
    pub challenges: Vec<ChallengeRow>,
    pub calls: Vec<CallRow>,
    pub inbox: Vec<InboxRow>,
    /// Reports that waited for the broker.
    pub reports: u64,
    /// There may be more.
    pub is_more: bool,
}

/// What others have left for this node.
#[derive(Default)]
pub(super) struct Errands {
    /// Control messages for open challenges: key, word, and until when they are remembered.
    pub words: Vec<(i64, i64, i64)>,
    /// What carriers have brought there for challenges that are here.
    pub inbox: Vec<InboxRow>,
}
