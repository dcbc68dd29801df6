//! The publisher of one life of the process, and what is known of the reports that it has to bring out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::{dice::Dice, profile::Profile};
use crate::{
    challenge::Millis,
    clock::{Mono, Now},
    ledger::{OutboxReport, ReportKey, Target},
    report::{
        body::report_id,
        publish::{PublishBounds, PublishMachine, PublishNames, PublishOutput},
    },
    retry::Waits,
};

/// What `report::publish::session` drives, driven in invented time.
pub(super) struct ReportPublisher {
    pub machine: PublishMachine,
    bounds: PublishBounds,
    /// What the core has given out and the machine has no room for.
    offered: VecDeque<OutboxReport>,
    most_offered: usize,
    pub waits: Waits,
    /// The connection that it believes to stand.
    pub connection: Option<u64>,
    /// It was told to stop, and has so long.
    pub stops_at: Mono,
}

impl ReportPublisher {
    pub fn new(names: PublishNames, profile: &Profile, dice: &mut Dice) -> ReportPublisher {
        let (mut bounds, mut most_offered) = (PublishBounds::default(), OFFERED);
        if dice.chance(profile.little_room) {
            // So that what doesn't fit happens to few reports too.
            bounds = PublishBounds {
                window: 1 + dice.below(8) as usize,
                fresh: 8 + dice.below(24) as usize,
                again: 4 + dice.below(28) as usize,
                page: 2 + dice.below(14) as usize,
            };
            most_offered = 4 + dice.below(28) as usize;
        }
        ReportPublisher {
            machine: PublishMachine::new(names, bounds),
            bounds,
            offered: VecDeque::new(),
            most_offered,
            waits: Waits::seeded(dice.below(u64::MAX)),
            connection: None,
            stops_at: Mono::default(),
        }
    }

    /// The core gives out a durable report. False: the ledger has to be asked for it.
    pub fn offer(&mut self, report: OutboxReport) -> bool {
        let fits = self.offered.len() < self.most_offered;
        if fits {
            self.offered.push_back(report);
        } else {
            self.machine.missed();
        }
        fits
    }

    /// Takes in what has room, and does what follows of the time that has passed.
    pub fn turn(&mut self, now: Now) {
        while self.machine.has_room()
            && let Some(report) = self.offered.pop_front()
        {
            self.machine.report(report);
        }
        self.machine.turn(now);
    }

    pub fn next(&mut self, now: Now) -> Option<PublishOutput> {
        self.machine.poll_output(now)
    }

    /// More in hand than its bounds allow, by what each cut connection gives back at the most.
    pub fn is_overfull(&self) -> bool {
        let bounds = &self.bounds;
        self.machine.in_hand() > bounds.fresh + bounds.page + bounds.again + 2 * bounds.window
    }

    pub fn is_at_rest(&self) -> bool {
        self.offered.is_empty() && self.machine.is_at_rest()
    }

    /// Nothing is on its way, and nothing that could go now waits.
    pub fn is_idle(&self) -> bool {
        self.offered.is_empty() && self.machine.is_idle()
    }
}

/// As `report::publish` has it.
const OFFERED: usize = 4_096;

/// One copy of a report, over all its keys: told again it has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReportCopy {
    id: u64,
    is_public: bool,
}

impl ReportCopy {
    pub fn new(report_id: &str, is_public: bool) -> ReportCopy {
        let mut hash = DefaultHasher::new();
        report_id.hash(&mut hash);
        ReportCopy {
            id: hash.finish(),
            is_public,
        }
    }
}

/// What is to be brought out, and what has been.
#[derive(Default)]
pub(super) struct OwedReports {
    /// Each that was durable, and until when it is tried.
    keys: BTreeMap<ReportKey, (ReportCopy, Millis)>,
    /// Queues have these, or they are dead letters.
    held: BTreeSet<ReportCopy>,
}

impl OwedReports {
    /// It is durable now.
    pub fn durable(&mut self, report: &OutboxReport, node: &str) {
        let id = report_id(node, report.challenge, report.seq);
        let is_public = matches!(report.target, Target::Exchange { .. });
        let owed = (ReportCopy::new(&id, is_public), report.until);
        self.keys.insert(report.report, owed);
    }

    pub fn held(&mut self, copy: ReportCopy) {
        self.held.insert(copy);
    }

    /// Nobody has this one, and it is said to be done.
    pub fn is_lost(&self, key: ReportKey) -> bool {
        let copy = self.keys.get(&key);
        copy.is_none_or(|(copy, _)| !self.held.contains(copy))
    }

    /// It may be given up: its time is over.
    pub fn is_overdue(&self, copy: ReportCopy, now: Millis) -> bool {
        let mut keys = self.keys.values();
        keys.any(|(other, until)| *other == copy && *until <= now)
    }
}

/// How long a publisher has that is told to stop (`gateway::service`).
pub(super) const LAST_REPORTS: Duration = Duration::from_secs(3);
