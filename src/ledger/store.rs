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
    AGES, Keeping, Pending,
    codec::Codec,
    seal::{Mac, Sealed},
};
use crate::{admission::Windows, challenge::Millis};

mod group;
pub(super) mod maps;
pub(super) mod sqlite;

pub(super) use group::{
    AcceptRow, Accepted, CallUpRow, EarlyRow, EndRow, Fence, Group, KnownRow, LimitRow, OutboxRow,
    OverlayRow, Owner, ReferenceRow, ReportKind, Row, RowFault, RowVerdict, Span, Verdict,
};

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

/// A master key that the store knows.
#[derive(Clone, Debug)]
pub(super) struct KnownKey {
    pub number: u16,
    pub fingerprint: [u8; 8],
    pub id: String,
    /// Rows may be sealed by it; else only references are found by it.
    pub sealed: bool,
}

/// A challenge, still sealed. Once it is wiped, `rest` stands for `last`, `life` and `job`.
#[derive(Clone)]
pub(super) struct ChallengeRow {
    pub key: i64,
    pub arrived: i64,
    pub deadline: i64,
    pub ended: Option<i64>,
    pub verified: Option<bool>,
    pub head: Sealed,
    pub last: Option<Sealed>,
    pub life: Option<Sealed>,
    pub job: Option<Sealed>,
    /// In clear.
    pub late: Option<Vec<u8>>,
    pub rest: Option<Sealed>,
}

#[derive(Clone)]
pub(super) struct OutcomeRow {
    pub key: i64,
    pub arrived: i64,
    pub ended: i64,
    pub body: Sealed,
}

/// A report that waits for the broker.
#[derive(Clone)]
pub(super) struct WaitingRow {
    pub report: i64,
    pub challenge: i64,
    pub seq: u32,
    /// None: of a kind that a later version has written.
    pub kind: Option<ReportKind>,
    pub route: Vec<u8>,
    pub is_final: bool,
    pub until: i64,
    pub body: Sealed,
}

/// A report that is kept for HTTP.
#[derive(Clone)]
pub(super) struct KeptRow {
    pub report: i64,
    pub seq: u32,
    pub is_final: bool,
    pub until: i64,
    pub body: Sealed,
}

#[derive(Clone)]
pub(super) struct CallRow {
    pub challenge: i64,
    pub attempt: u16,
    pub carrier: Vec<u8>,
    pub state: Sealed,
}

#[derive(Clone)]
pub(super) struct InboxRow {
    pub key: i64,
    pub at: i64,
    pub body: Sealed,
}

/// What a store could not do, in its database's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StoreError {
    pub reason: String,
    pub kind: StoreErrorKind,
}

/// What that means for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Somebody else has it for a moment.
    Busy,
    /// The disk is full, or can't be read or written just now.
    Unavailable,
    /// What is there is not whole.
    Damaged,
    /// What is there is no database.
    NotADatabase,
    /// Its files are not where they were opened; the reason names them.
    Misplaced,
    /// Whether the group is there is not known: its connection broke at the commit.
    InDoubt,
    /// The database refuses a row for what is in it, and with it the whole group: to try the same again is of no use.
    Data,
    Other,
}

impl StoreError {
    /// Is it of no use to try again?
    pub fn is_damage(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Damaged | StoreErrorKind::NotADatabase
        )
    }
}
