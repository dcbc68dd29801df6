//! The words of the ledger: what is asked of it and what it says back. No logic.

use std::{fmt, sync::Arc, time::Duration};

use super::Claim;
use crate::{
    admission::{LimitKeys, Limits, Taken},
    challenge::{AttemptKey, ChallengeKey, Millis},
    clock::TermMark,
    number::written::Tail,
};

/// Why nothing becomes durable just now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    #[error("{0}")]
    Refused(Arc<String>),
    #[error("a write has not ended for {} ms", .0.as_millis())]
    Stalled(Duration),
    #[error("other nodes have not heard of this one for a whole term, and may have its work")]
    TermOver,
}

/// Something that must become durable.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new challenge. If (tenant, id) is known, or it is over a limit, nothing of the batch's ops with the same key is
    /// written and the outcome says so.
    Accept(Box<NewChallenge>),
    /// The challenge has gone on. Once it is wiped, nothing is written any more; likewise for [`Op::End`].
    Life {
        key: ChallengeKey,
        life: Vec<u8>,
    },
    /// The challenge has ended: `last` is its final report as it goes to the caller (sealed, wiped in time).
    End {
        key: ChallengeKey,
        life: Vec<u8>,
        last: Vec<u8>,
        at: Millis,
    },
    /// A carrier's reference that may still speak after the end, for `late` reports and other nodes.
    Reference {
        carrier: Arc<str>,
        reference: Arc<str>,
        key: AttemptKey,
        /// Which part of the text, counted from 0.
        part: u16,
        /// Of the phone that the text went to: tells apart what shares a reference, also after wiping.
        phone: Option<Tail>,
    },
    /// Something that a carrier has brought and that has led to nothing yet: kept as it came until
    /// [`Op::InboxDone`], which stands in the batch with its effect.
    Inbox(Box<InboxMessage>),
    InboxDone {
        key: InboxKey,
    },
    /// What is in the inbox is for a challenge that is open at another node: that node has it from here on. Where it is
    /// nobody's, it comes back to this one.
    InboxHanded {
        key: InboxKey,
        challenge: ChallengeKey,
    },
    /// What was told of an ended challenge after its final. Outlives the wiping; nothing personal in it.
    Late {
        key: ChallengeKey,
        late: Vec<u8>,
    },
    /// A call is up, or being set up: what a restart needs to end it. Replaces what was known of it before.
    CallUp {
        key: AttemptKey,
        carrier: Arc<str>,
        state: Arc<str>,
    },
    /// Nothing of it is up any more.
    CallDown {
        key: AttemptKey,
    },
    /// A report that somebody must get. Durable until [`Op::ReportDone`] (AMQP) or until retention (HTTP).
    Report(Box<OutboxReport>),
    ReportDone {
        report: ReportKey,
    },
    /// A cancel or feedback for an id that is not known (yet): remembered until then. If it is known after all,
    /// [`Done::met`] says so: feedback on one that has ended is recorded with it, and for an open one a word that somebody
    /// claims is remembered too, so that it is durable before it takes effect.
    Early(PendingControl),
    /// A change of the overlay: what is in force now for this subject (None: nothing), and its audit record. Both in clear.
    Overlay {
        subject: Arc<str>,
        entry: Option<Vec<u8>>,
        audit: Vec<u8>,
        order: Option<ClaimedOrder>,
    },
    /// Feedback after the final: recorded, nothing is reported.
    Feedback {
        key: ChallengeKey,
        verified: bool,
        at: Millis,
    },
}

/// A change whose asker may stop waiting before it is written: then it is not written.
#[derive(Clone, Debug)]
pub struct ClaimedOrder {
    pub claim: Claim,
    /// What was in force before it.
    pub before: Option<Vec<u8>>,
}

/// A cancel or feedback, before it has taken effect.
#[derive(Clone, Debug)]
pub struct PendingControl {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub word: ControlMessage,
    /// Remembered until then.
    pub until: Millis,
    /// The challenge is not open here; where it is open all the same, another node has it, and finds the word.
    pub elsewhere: bool,
    /// Whose asker may stop waiting before it is written: then nothing of it is.
    pub claim: Option<Claim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    Cancel,
    Verified,
    NotVerified,
}

/// A challenge as it enters the ledger.
#[derive(Clone, Debug)]
pub struct NewChallenge {
    pub key: ChallengeKey,
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    /// Tells "the same again" from "another with this id".
    pub content: [u8; 32],
    pub arrived: Millis,
    pub deadline: Millis,
    /// `Challenge`, serialised; sealed by the ledger.
    pub job: Vec<u8>,
    /// `delivery::Life`, serialised; sealed by the ledger.
    pub life: Vec<u8>,
    /// Already over at birth (rejected): the final as in [`Op::End`].
    pub last: Option<Vec<u8>>,
    /// Whose asker may stop waiting before it is written: then it is not written, and stands in [`Done::lost`].
    pub claim: Option<Claim>,
    /// The limiter's windows that it counts in; None: the limiter refused it, so it counts in none.
    pub limits: Option<LimitCheck>,
}

/// The limiter's windows that a challenge counts in, and the limits that are in force: over one of them it does not go in.
#[derive(Clone, Debug)]
pub struct LimitCheck {
    pub keys: LimitKeys,
    pub limits: Arc<Limits>,
}

/// A report's own key in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportKey(pub i64);

/// A row's own key in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxKey(pub i64);

/// Something that a carrier has brought, until it has led to something.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxMessage {
    pub key: InboxKey,
    /// When it came.
    pub at: Millis,
    /// What it is, serialised; sealed by the ledger.
    pub body: Vec<u8>,
}

/// Never what a carrier or a person wrote.
impl fmt::Debug for InboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InboxMessage({})", self.key.0)
    }
}

/// Where a reference leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referred {
    pub key: AttemptKey,
    pub part: u16,
    /// Is it the phone that was asked about? None: one of the two is not known.
    pub same_phone: Option<bool>,
}

/// Whose is a receipt? What is asked where nobody open is known for it.
#[derive(Clone, Debug)]
pub struct Whose {
    pub carrier: Arc<str>,
    /// Forms of its references, literal ones first, so many of them.
    pub forms: Vec<Arc<str>>,
    pub literal: usize,
    /// The phones that it may name.
    pub phones: Vec<Tail>,
    /// What is written as the reference of texts that have none, for these phones.
    pub unreferenced: Vec<Arc<str>>,
}

/// Whom a receipt may mean among those that have ended, with what is kept of each.
#[derive(Default)]
pub struct Candidates {
    /// By a reference as the receipt writes it, not in another form.
    pub literal: bool,
    pub by_reference: Vec<(Referred, Stored)>,
    /// Asked for only where no reference leads anywhere.
    pub by_phone: Vec<(Referred, Stored)>,
}

private_debug!(Candidates);

/// One copy of a report, waiting to be published.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxReport {
    pub report: ReportKey,
    pub challenge: ChallengeKey,
    pub seq: u32,
    pub target: Target,
    /// The JSON body; sealed by the ledger.
    pub body: Arc<[u8]>,
    pub is_final: bool,
    /// Tried until then, afterwards dead-lettered as `unroutable`.
    pub until: Millis,
}

private_debug!(OutboxReport);

/// Reports that wait to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub count: u64,
    /// Since when the one that has waited longest does.
    pub oldest: Option<Millis>,
    /// Those that have waited since the moments asked about, or longer.
    pub before: [u64; AGES],
}

/// Moments that are asked about at once.
pub const AGES: usize = 4;

/// Where a copy of a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The caller's queue, by the default exchange; always `mandatory`.
    ReplyTo {
        queue: Arc<str>,
        correlation_id: Option<Arc<str>>,
    },
    /// The exchange for reports.
    Exchange {
        routing_key: Arc<str>,
        mandatory: bool,
    },
    /// Kept for `GET /v1/challenges/{id}/reports`; never published to the broker.
    Http,
}

/// Ops that become durable together.
#[derive(Debug)]
pub struct Batch {
    /// Given back in [`Done`]; batches are done in the order in which they were given.
    pub number: u64,
    pub ops: Vec<Op>,
}

/// One opening of the ledger, and where its keys begin: which keys are free, upwards by one, above all that were ever given on
/// any node; and the secret with which the limiter makes its hashes.
#[derive(Clone, Copy)]
pub struct Epoch {
    pub first_challenge: ChallengeKey,
    pub first_report: ReportKey,
    pub first_message: InboxKey,
    pub limiter: [u8; 32],
}

private_debug!(Epoch);

/// A batch is durable, or was refused for good.
#[derive(Debug, Default)]
pub struct Done {
    pub number: u64,
    /// The accepts of the batch that met a known (tenant, id), by their key.
    pub known: Vec<(ChallengeKey, Known)>,
    /// What the limiter says of accepts, where it says anything. One that is refused did not go in, and counts nowhere; the
    /// others did.
    pub limited: Vec<Limited>,
    /// Accepts that went in and for which a word had come before them.
    pub early: Vec<(ChallengeKey, ControlMessage)>,
    /// Early words of the batch whose id was known after all, by their place in the batch.
    pub met: Vec<(usize, Known)>,
    /// Ops that the ledger can't hold (a key used twice, a value too long), by their place in the batch: nothing of
    /// them is written, the rest of the batch is. Never happens while keys are given as [`Recovered`] says.
    pub refused: Vec<usize>,
    /// Nothing of the batch is written, and never will be, for this reason: the database refuses it for what is in it, or
    /// another process has this node's place.
    pub failed: Option<String>,
    /// Challenges that belong to another node by now: nothing of the batch that speaks of them is written.
    pub fenced: Vec<ChallengeKey>,
    /// The challenges whose very accept was refused, or given up by its asker before it was written: nobody holds them, so
    /// nobody may say that they are taken.
    pub lost: Vec<ChallengeKey>,
    /// Under which it was written: what follows of it may be done while the term still allows this.
    pub term: TermMark,
    /// The term does not allow it any more: others may have the challenges that it speaks of. What is durable stays so, and
    /// nothing follows of it here.
    pub is_void: bool,
}

/// What the limiter says of an accept.
#[derive(Clone, Copy, Debug)]
pub struct Limited {
    pub key: ChallengeKey,
    /// What it counts in, or would.
    pub windows: LimitKeys,
    pub taken: Taken,
}

impl Done {
    /// All of it is durable, but for single ops and challenges that it names: what waited for that may be said.
    pub fn is_whole(&self) -> bool {
        self.failed.is_none() && self.fenced.is_empty()
    }
}

/// What the ledger knows of an id that came again.
#[derive(Clone, Debug)]
pub struct Known {
    pub key: ChallengeKey,
    pub content: [u8; 32],
    pub ended: Option<Millis>,
    /// The final report, if it has ended and is remembered.
    pub last: Option<Vec<u8>>,
}

/// A challenge as the ledger gives it back: at start for the open and the recent ones, and on a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: ChallengeKey,
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub content: [u8; 32],
    pub arrived: Millis,
    pub deadline: Millis,
    /// Empty once wiped; likewise `life`, and `last` is then stripped (see [`Wipe`]).
    pub job: Vec<u8>,
    pub life: Vec<u8>,
    pub last: Option<Vec<u8>>,
    pub ended: Option<Millis>,
    /// What [`Op::Late`] wrote last; empty: nothing.
    pub late: Vec<u8>,
    /// The caller's feedback, where there was one after the end.
    pub verified: Option<bool>,
    /// A word that came before the challenge, still remembered.
    pub early: Option<ControlMessage>,
}

/// What is left of a challenge when its time is over: after the deadline (and the limiter's five minutes) plus a
/// minute, each part of an ended challenge goes through its function; what comes back empty is dropped. The functions
/// run on the writer's thread and must be quick.
#[derive(Clone, Copy, Debug)]
pub struct Wipe {
    pub job: fn(&[u8]) -> Vec<u8>,
    pub life: fn(&[u8]) -> Vec<u8>,
    /// For `last` and for the reports kept for HTTP: without code, reply and digits.
    pub report: fn(&[u8]) -> Vec<u8>,
    /// Of a stripped `last`: what is remembered beyond retention.
    pub outcome: fn(&[u8]) -> Vec<u8>,
}

/// How long what is kept is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    pub wipe: Wipe,
    pub retention: Duration,
    /// Outcomes are kept for so long; nothing of a challenge after retention, where this is no longer.
    pub outcomes: Duration,
}

/// What is remembered of a challenge beyond retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedChallenge {
    pub key: ChallengeKey,
    pub arrived: Millis,
    pub ended: Millis,
    /// As [`Wipe::outcome`] made it.
    pub outcome: Vec<u8>,
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

/// What became of the tables' version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The one that was found; 0: there were no tables.
    pub found: i64,
    /// That of this program.
    pub newest: i64,
}
