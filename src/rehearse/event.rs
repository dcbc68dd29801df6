//! What happens later in a rehearsal.

use super::{report_broker::ReportStep, steps::Step};
use crate::{
    carrier::{CarrierEvent, DriverId},
    core::LookUp,
};

/// One thing that happens at its time.
#[derive(Debug)]
pub(super) enum Event {
    Ask(usize),
    /// The same id with something else in it.
    AskOther(usize),
    GiveUp(u64),
    Control(usize),
    Disk,
    LookUp(Vec<LookUp>),
    Said(usize, Box<CarrierEvent>),
    DriverEnded(DriverId),
    Step(usize, Step),
    /// Of the reports' way to the broker.
    Report(ReportStep),
    /// The ledger's housekeeping, and a look whether all is over.
    Retention,
    Fault(Trouble),
}

/// Troubles that come at a moment of their own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Crash,
    /// A clean stop: SIGTERM.
    Drain,
    Disk,
    BrokerGone,
    BrokerBack,
    /// The connection that reports go by breaks.
    ReportsCut,
    /// The broker reads nothing from those who publish.
    BrokerBlocked,
    BrokerUnblocked,
    /// The queue of these replies is gone, and there again.
    QueueGone,
    QueueBack(&'static str),
    ClockStep,
    Reload,
    /// The carrier that a reload has taken out of all routes.
    PutBack(usize),
    LinkCut,
}

impl Event {
    /// Nothing but time passing.
    pub fn is_time(&self) -> bool {
        match self {
            Event::Retention => true,
            Event::Step(_, step) => step.is_time(),
            _ => false,
        }
    }

    /// It is of the world outside.
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            Event::Ask(_)
            | Event::AskOther(_)
            | Event::Control(_)
            | Event::Retention
            | Event::Fault(_) => true,
            Event::Step(_, step) => step.outlives_a_crash(),
            Event::GiveUp(_)
            | Event::Disk
            | Event::LookUp(_)
            | Event::Said(..)
            | Event::DriverEnded(_)
            | Event::Report(_) => false,
        }
    }
}
