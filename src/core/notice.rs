//! What people are told of the core's work. The core writes no line of the log above debug by itself: it gives each as
//! plain data to the [`Notices`] that it is given when it begins, and `operate/notices` writes it.
//!
//! A state that hurts traffic is told when it begins and when it ends: [`Notice::begins`] and [`Notice::ends`] say which
//! state that is, so that the rehearsal can hold them against each other.

use std::{sync::Arc, time::Duration};

use crate::{
    admission::alarm::AlarmLine,
    challenge::Millis,
    intake::NoRoom,
    ledger::InboxKey,
    number::{Country, Number},
    overlay::{Audit, Entry, OverlayChange},
    pace::Pace,
    routing::health::{Reason, Scope, State},
};

/// Where notices go. Given to the core beside its [`Observer`](super::Observer), so that whoever counts otherwise, or not
/// at all, silences no line of the log.
pub struct Notices(Box<dyn Fn(Notice) + Send>);

impl Notices {
    /// `sink` must be quick, and can't change anything.
    pub fn to(sink: impl Fn(Notice) + Send + 'static) -> Notices {
        Notices(Box::new(sink))
    }

    /// Nobody reads them.
    pub fn nowhere() -> Notices {
        Notices::to(drop)
    }

    pub(super) fn tell(&self, notice: Notice) {
        (self.0)(notice);
    }

    pub(super) fn carrier(&self, carrier: &Arc<str>, notice: CarrierNotice) {
        self.tell(Notice::Carrier(carrier.clone(), notice));
    }

    pub(super) fn ledger(&self, notice: LedgerNotice) {
        self.tell(Notice::Ledger(notice));
    }

    pub(super) fn overlay(&self, notice: OverlayNotice) {
        self.tell(Notice::Overlay(notice));
    }
}

/// One line of the log.
#[derive(Clone, Debug)]
pub enum Notice {
    /// About this carrier.
    Carrier(Arc<str>, CarrierNotice),
    /// About what the ledger holds, or does not.
    Ledger(LedgerNotice),
    /// About a change that an operator has made.
    Overlay(OverlayNotice),
    /// Jobs begin to wait for room.
    NoRoom(Occupancy),
    /// There is room again, after so long.
    Room(Occupancy, Duration),
    /// Challenges over a limit; told once a minute.
    OverLimit(OverLimit),
    /// The drain is over.
    Stopped { open: usize, in_flight: usize },
}

/// About one carrier.
#[derive(Clone, Debug)]
pub enum CarrierNotice {
    State(StateChange),
    /// It refuses our credentials or rights.
    LoginRefused {
        /// As the carrier says it.
        answer: Arc<str>,
        times: u32,
        /// The line before has said so already, perhaps with another answer.
        goes_on: bool,
    },
    LoginTaken {
        times: u32,
        /// False: the line before has said so already.
        ends: bool,
    },
    /// It refuses a sender or a country, or takes it again.
    Scope(ScopeNotice),
    /// Slots are free again though their orders were never settled.
    NeverSettled {
        orders: usize,
    },
    /// Receipts come for texts that are not ours.
    ForeignReceipts {
        receipts: u32,
    },
    NoForeignReceipts,
    /// Receipts come that nothing decides whose they are.
    UnclearReceipts,
    ClearReceipts {
        unclear: u64,
    },
    /// No route names it, and so many of its texts wait for a receipt.
    OutOfUse {
        texts: usize,
    },
    /// Nothing waits for its receipts any more, or has waited too long.
    LinkEnds {
        unsettled: usize,
    },
}

/// A change of a carrier's health. Changes in between may have been left out.
#[derive(Clone, Debug)]
pub struct StateChange {
    /// The state that the line before has named.
    pub told: State,
    pub from: State,
    pub to: State,
    pub why: Arc<str>,
    /// When the suspension ends by itself: the time of day, and how long until then.
    pub until: Option<(Millis, Duration)>,
    /// So often since the last line of its kind.
    pub times: u32,
}

/// A sender or country that a carrier refuses, or takes again.
#[derive(Clone, Debug)]
pub struct ScopeNotice {
    pub scope: Scope,
    pub refused: bool,
    /// What the line before has said.
    pub told: bool,
    pub why: String,
    pub times: u32,
}

/// About what the ledger holds, or does not.
#[derive(Clone, Debug)]
pub enum LedgerNotice {
    /// After a start.
    TakenUp {
        challenges: usize,
        receipts: usize,
    },
    ChallengeUnreadable {
        challenge: Arc<str>,
    },
    LifeUnreadable {
        challenge: Arc<str>,
        error: String,
    },
    MessageUnreadable {
        message: InboxKey,
    },
    LateUnreadable {
        challenge: Arc<str>,
        error: String,
    },
    /// Another node has this challenge, and so many with it.
    Fenced {
        challenge: Arc<str>,
        challenges: usize,
    },
    /// Ops that it can't hold.
    OpsRefused {
        ops: usize,
    },
    /// So many receipts wait, since it can't be asked whose they are.
    LookUpsFail {
        receipts: usize,
    },
    LookUpsAnswered,
}

/// About a change that an operator has made.
#[derive(Clone, Debug)]
pub enum OverlayNotice {
    InForce {
        entry: Entry,
        /// It takes the place of one that was in force.
        replaces: bool,
    },
    /// As the ledger held it.
    StillInForce(Entry),
    NoLonger(Audit),
    /// Its asker waits no longer.
    GivenUp(Audit),
    Unreadable {
        reason: String,
    },
}

/// How many challenges there are beside the setting that allows no more.
#[derive(Clone, Copy, Debug)]
pub struct Occupancy {
    pub no_room: NoRoom,
    pub open: usize,
    pub unsent: usize,
}

/// Challenges over a limit.
#[derive(Clone, Debug)]
pub struct OverLimit {
    pub line: AlarmLine,
    /// What the limit is, as far as it is still configured.
    pub pace: Option<Pace>,
    /// Of one of them.
    pub tenant: Option<Arc<str>>,
    pub to: Option<Number>,
}

/// A state that begins and ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// The carrier is suspended, or is being tried again.
    Unhealthy(Arc<str>),
    LoginRefused(Arc<str>),
    /// The carrier refuses this sender (None: whatever the sender) in this country.
    ScopeRefused(Arc<str>, Option<Arc<str>>, Country),
    ForeignReceipts(Arc<str>),
    UnclearReceipts(Arc<str>),
    NoRoom,
    LookUpsFail,
    Overlay(OverlayChange),
}

impl Notice {
    /// The state that begins by it.
    pub fn begins(&self) -> Option<Condition> {
        match self {
            Notice::Carrier(carrier, notice) => notice.begins(carrier),
            Notice::Ledger(LedgerNotice::LookUpsFail { .. }) => Some(Condition::LookUpsFail),
            Notice::Overlay(OverlayNotice::InForce {
                entry,
                replaces: false,
            })
            | Notice::Overlay(OverlayNotice::StillInForce(entry)) => {
                Some(Condition::Overlay(entry.change.clone()))
            }
            Notice::NoRoom(_) => Some(Condition::NoRoom),
            Notice::Ledger(_)
            | Notice::Overlay(_)
            | Notice::Room(..)
            | Notice::OverLimit(_)
            | Notice::Stopped { .. } => None,
        }
    }

    /// The state that ends by it.
    pub fn ends(&self) -> Option<Condition> {
        match self {
            Notice::Carrier(carrier, notice) => notice.ends(carrier),
            Notice::Ledger(LedgerNotice::LookUpsAnswered) => Some(Condition::LookUpsFail),
            Notice::Overlay(OverlayNotice::NoLonger(audit)) => {
                Some(Condition::Overlay(audit.change.clone()))
            }
            Notice::Room(..) => Some(Condition::NoRoom),
            Notice::Ledger(_)
            | Notice::Overlay(_)
            | Notice::NoRoom(_)
            | Notice::OverLimit(_)
            | Notice::Stopped { .. } => None,
        }
    }
}

impl CarrierNotice {
    fn begins(&self, carrier: &Arc<str>) -> Option<Condition> {
        let carrier = carrier.clone();
        match self {
            CarrierNotice::State(change) => (!is_unhealthy(change.told) && is_unhealthy(change.to))
                .then_some(Condition::Unhealthy(carrier)),
            CarrierNotice::LoginRefused { goes_on, .. } => {
                (!goes_on).then_some(Condition::LoginRefused(carrier))
            }
            CarrierNotice::Scope(notice) => {
                (notice.refused && !notice.told).then(|| notice.condition(carrier))
            }
            CarrierNotice::ForeignReceipts { .. } => Some(Condition::ForeignReceipts(carrier)),
            CarrierNotice::UnclearReceipts => Some(Condition::UnclearReceipts(carrier)),
            CarrierNotice::LoginTaken { .. }
            | CarrierNotice::NeverSettled { .. }
            | CarrierNotice::NoForeignReceipts
            | CarrierNotice::ClearReceipts { .. }
            | CarrierNotice::OutOfUse { .. }
            | CarrierNotice::LinkEnds { .. } => None,
        }
    }

    fn ends(&self, carrier: &Arc<str>) -> Option<Condition> {
        let carrier = carrier.clone();
        match self {
            CarrierNotice::State(change) => (is_unhealthy(change.told) && !is_unhealthy(change.to))
                .then_some(Condition::Unhealthy(carrier)),
            CarrierNotice::LoginTaken { ends, .. } => {
                ends.then_some(Condition::LoginRefused(carrier))
            }
            CarrierNotice::Scope(notice) => {
                (!notice.refused && notice.told).then(|| notice.condition(carrier))
            }
            CarrierNotice::NoForeignReceipts => Some(Condition::ForeignReceipts(carrier)),
            CarrierNotice::ClearReceipts { .. } => Some(Condition::UnclearReceipts(carrier)),
            CarrierNotice::LoginRefused { .. }
            | CarrierNotice::NeverSettled { .. }
            | CarrierNotice::ForeignReceipts { .. }
            | CarrierNotice::UnclearReceipts
            | CarrierNotice::OutOfUse { .. }
            | CarrierNotice::LinkEnds { .. } => None,
        }
    }
}

impl ScopeNotice {
    fn condition(&self, carrier: Arc<str>) -> Condition {
        Condition::ScopeRefused(carrier, self.scope.sender.clone(), self.scope.country)
    }
}

/// A carrier that has just been started is not known to be well, and nothing is wrong with it.
pub(super) fn is_unhealthy(state: State) -> bool {
    match state {
        State::Healthy | State::Unproven => false,
        State::Suspended(reason) | State::Probing(reason) => reason != Reason::NotConnected,
    }
}
