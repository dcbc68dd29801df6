//! What the plan sees of the carriers, and what of it one challenge may have.

use std::sync::Arc;

use super::{Core, Running, place::ProbesOf, queue::RouteKey};
use crate::{
    challenge::ChallengeKey,
    routing::{
        health::Reason,
        plan::{self, Ask, Choice, LeftOut, Standing, Tried, View},
        table::Table,
    },
};

/// Most that an attempt remembers of what the plan left out.
const MOST_LEFT_OUT: usize = 8;

impl Core {
    /// What the plan sees of each carrier, by the table's order.
    pub(super) fn refresh_standing(&mut self, hedge: bool) {
        let names = self.config.table.carriers();
        self.standing.clear();
        for name in names {
            let standing = match self.carriers.get_mut(name) {
                _ if self.overlay.suspended(name).is_some() => {
                    Standing::Suspended(Reason::ByOperator)
                }
                Some(running) => running.standing(self.mono, hedge),
                None => Standing::Suspended(Reason::NotConnected),
            };
            self.standing.push(standing);
        }
    }

    /// A carrier that comes back is tried with what can wait longest for the answer, or for the receipt. In front of the
    /// line stand those who have waited long, and among them those whom no carrier ever takes. Where only receipts are
    /// missing, others go by the carrier too, if nobody else is left.
    pub(super) fn leave_probes_to_longer(&mut self, at: RouteKey, key: ChallengeKey) -> bool {
        let free = Standing::Probing { free: true };
        if !self.standing.contains(&free) || self.queue.longest(at).is_none_or(|last| last == key) {
            return false;
        }
        let asks = |running: &Running| running.health.wants_long_life();
        for (name, standing) in self.config.table.carriers().iter().zip(&mut self.standing) {
            if *standing == free {
                *standing = match self.carriers.get(name).is_some_and(asks) {
                    true => Standing::NoReceipts { free: true },
                    false => Standing::Probing { free: false },
                };
            }
        }
        true
    }

    /// A carrier that comes back is not tried with what it, or another, has throttled, unless it is the turn `of` those. True
    /// if there is one that could be tried.
    pub(super) fn leave_probes_to_others(&mut self, key: ChallengeKey, of: ProbesOf) -> bool {
        let Some(open) = self.open.get(key) else {
            return false;
        };
        if open.life.throttling().next().is_none() {
            return false;
        }
        let told = |name: &str| match of {
            ProbesOf::Untold => true,
            ProbesOf::Others => open.life.throttled_by(name),
            ProbesOf::Anyone => false,
        };
        let mut spared = false;
        for (name, standing) in self.config.table.carriers().iter().zip(&mut self.standing) {
            if *standing == (Standing::Probing { free: true }) && told(name) {
                *standing = Standing::Probing { free: false };
                spared = true;
            }
        }
        spared
    }
}

/// What the plan left out and why, for the attempt's trace. Nothing while all carriers are well, none refuses a sender and
/// nothing was tried: then only the files speak, and they stand where everybody can read them.
pub(super) fn left_out(table: &Table, view: View<'_>, ask: &Ask<'_>) -> Box<[Arc<str>]> {
    let well = |s: &Standing| matches!(s, Standing::Healthy | Standing::Full);
    if ask.tried.is_empty() && view.refusals.is_empty() && view.standing.iter().all(well) {
        return Box::default();
    }
    let mut all: Vec<Arc<str>> = Vec::new();
    for omission in plan::plan(table, view, ask).left_out {
        let carrier = omission.carrier.map_or("", |c| table.carrier_name(c));
        let sender = omission.sender.and_then(|s| table.sender(s));
        let words: Arc<str> = match (omission.why, sender) {
            // The whole carrier, whatever the sender.
            (LeftOut::Suspended(_) | LeftOut::Probing | LeftOut::Disabled, _) | (_, None) => {
                format!("{carrier}: {}", omission.why).into()
            }
            (why, Some(sender)) => format!("{carrier} {}: {why}", sender.id).into(),
        };
        if all.len() < MOST_LEFT_OUT && !all.contains(&words) {
            all.push(words);
        }
    }
    all.into()
}

/// Would nobody bring it even if every carrier were well and free?
pub(super) fn nobody_at_all(table: &Table, view: View<'_>, ask: &Ask<'_>, tried: &[Tried]) -> bool {
    let everyone = vec![Standing::Healthy; view.standing.len()];
    let view = View {
        standing: &everyone,
        refusals: &[],
        ..view
    };
    plan::first(table, view, &Ask { tried, ..*ask }) == Choice::Nothing
}
