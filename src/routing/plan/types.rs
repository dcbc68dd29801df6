//! Why a candidate is chosen, and why another is not: the words of attempts, reports and `ringback explain`.

use std::fmt;

use crate::{cause::Cause, routing::health::Reason};

/// Why a candidate is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// By weight among its neighbours of the tier.
    Weighted,
    /// The only line of its tier.
    Preferred,
    /// Nothing else could bring it.
    OnlyCandidate,
    /// The tiers before have failed or are suspended.
    NextTier,
    /// An earlier attempt has failed.
    Failover,
    /// An earlier attempt is in doubt.
    Hedge,
    /// The person has just asked before, by another carrier or sender.
    RetryAvoids,
    /// The job wished for this caller ID.
    AskedCallerId,
    /// The carrier is coming back and gets single attempts.
    Probe,
    /// Everybody who could bring it is out for missing receipts: sent all the same.
    ReceiptsMissing,
}

impl Why {
    pub const ALL: [Why; 10] = [
        Why::Weighted,
        Why::Preferred,
        Why::OnlyCandidate,
        Why::NextTier,
        Why::Failover,
        Why::Hedge,
        Why::RetryAvoids,
        Why::AskedCallerId,
        Why::Probe,
        Why::ReceiptsMissing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Why::Weighted => "weighted",
            Why::Preferred => "preferred",
            Why::OnlyCandidate => "only_candidate",
            Why::NextTier => "next_tier",
            Why::Failover => "failover",
            Why::Hedge => "hedge",
            Why::RetryAvoids => "retry_avoids",
            Why::AskedCallerId => "asked_caller_id",
            Why::Probe => "probe",
            Why::ReceiptsMissing => "receipts_missing",
        }
    }
}

/// Why a carrier or sender of the route is not among the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    Suspended(Reason),
    /// Coming back, and its one attempt is out.
    Probing,
    /// It refuses this sender, or this country.
    Refused,
    /// No free slot now.
    Full,
    Disabled,
    Tried(Option<Cause>),
    /// A short code, or another sender, outside its countries.
    NotLeasedHere,
    /// It may not be a caller ID.
    NoVoice,
    /// It can't be answered, and an answer is wanted.
    OneWay,
    /// Another tenant's.
    Tenant,
    /// The wished caller ID is no sender of ours.
    NotRegistered,
}

impl LeftOut {
    pub fn name(self) -> &'static str {
        match self {
            LeftOut::Suspended(_) => "suspended",
            LeftOut::Probing => "probing",
            LeftOut::Refused => "refused_by_carrier",
            LeftOut::Full => "full",
            LeftOut::Disabled => "disabled",
            LeftOut::Tried(_) => "tried",
            LeftOut::NotLeasedHere => "not_leased_here",
            LeftOut::NoVoice => "no_voice",
            LeftOut::OneWay => "one_way",
            LeftOut::Tenant => "tenant",
            LeftOut::NotRegistered => "not_registered",
        }
    }
}

/// The name, with the cause where there is one: `suspended: link_down`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            LeftOut::Suspended(reason) => write!(f, ": {}", reason.name()),
            LeftOut::Tried(Some(cause)) => write!(f, ": {}", cause.name()),
            _ => Ok(()),
        }
    }
}
