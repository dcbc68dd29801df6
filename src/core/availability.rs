//! What the plan sees of the carriers, and what of it one challenge may have.

use std::{sync::Arc, time::Duration};

use super::{
    Core, Running,
    placement::{FREE_PROBE, ProbesOf},
    queue::RouteKey,
};
use crate::{
    admission::countries,
    challenge::{ChallengeKey, Channel, Millis},
    config::Config,
    routing::{
        Availability,
        health::Reason,
        plan::{self, Choice, LeftOut, Omission, PlanRequest, Tried, View},
        table::{RouteEntry, Table},
    },
    schema::kinds::duration,
};

/// Most that an attempt remembers of what the plan left out.
const MOST_LEFT_OUT: usize = 8;

impl Core {
    /// What the plan sees of each carrier, by the table's order.
    pub(super) fn refresh_standing(&mut self, hedge: bool) {
        let names = self.config.table.carriers();
        self.placement.standing.clear();
        for name in names {
            let standing = match self.placement.carriers.get_mut(name) {
                _ if self.placement.overlay.suspended(name).is_some() => {
                    Availability::Suspended(Reason::ByOperator)
                }
                Some(running) => running.standing(self.mono, hedge),
                None => Availability::Suspended(Reason::NotConnected),
            };
            self.placement.standing.push(standing);
        }
    }

    /// A carrier that comes back is tried with what can wait longest for the answer, or for the receipt. In front of the
    /// line stand those who have waited long, and among them those whom no carrier ever takes. Where only receipts are
    /// missing, others go by the carrier too, if nobody else is left.
    pub(super) fn leave_probes_to_longer(&mut self, at: RouteKey, key: ChallengeKey) -> bool {
        let last = self.placement.queue.longest(at);
        if !self.placement.standing.contains(&FREE_PROBE) || last.is_none_or(|last| last == key) {
            return false;
        }
        let asks = |running: &Running| running.health.wants_long_life();
        self.placement
            .spare_probes(&self.config.table, |carriers, name| {
                Some(match carriers.get(name).is_some_and(asks) {
                    true => Availability::NoReceipts { free: true },
                    false => Availability::Probing { free: false },
                })
            });
        true
    }

    /// A carrier that comes back is not tried with what it, or another, has throttled, unless it is the turn `of` those. True
    /// if there is one that could be tried.
    pub(super) fn leave_probes_to_others(&mut self, key: ChallengeKey, of: ProbesOf) -> bool {
        let Some(open) = self.registry.open.get(key) else {
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
        self.placement.spare_probes(&self.config.table, |_, name| {
            told(name).then_some(Availability::Probing { free: false })
        })
    }
}

/// What the plan left out and why, for the attempt's trace. Nothing while all carriers are well, none refuses a sender and
/// nothing was tried: then only the files speak, and they stand where everybody can read them.
pub(super) fn left_out(table: &Table, view: View<'_>, ask: &PlanRequest<'_>) -> Box<[Arc<str>]> {
    let well = |s: &Availability| matches!(s, Availability::Healthy | Availability::Full);
    if ask.tried.is_empty() && view.refusals.is_empty() && view.standing.iter().all(well) {
        return Box::default();
    }
    let mut all: Vec<Arc<str>> = Vec::new();
    for omission in plan::plan(table, view, ask).left_out {
        note(&mut all, &words(table, omission));
    }
    all.into()
}

fn note(all: &mut Vec<Arc<str>>, words: &str) {
    if all.len() < MOST_LEFT_OUT && !all.iter().any(|said| **said == *words) {
        all.push(words.into());
    }
}

/// `northwind: suspended: link_down`, `northwind 97671: not_leased_here`.
fn words(table: &Table, omission: Omission) -> String {
    let carrier = omission.carrier.map_or("", |c| table.carrier_name(c));
    let sender = omission.sender.and_then(|s| table.sender(s));
    match (omission.why, sender) {
        // The whole carrier, whatever the sender.
        (LeftOut::Suspended(_) | LeftOut::Probing | LeftOut::Disabled, _) | (_, None) => {
            format!("{carrier}: {}", omission.why)
        }
        (why, Some(sender)) => format!("{carrier} {}: {why}", sender.id),
    }
}

impl Core {
    /// What keeps a challenge from its first attempt, in the words of an attempt's trace; of several methods each with
    /// its name.
    pub(super) fn kept_from(&mut self, key: ChallengeKey, now: Millis) -> Box<[Arc<str>]> {
        self.refresh_standing(false);
        let refusals = self.refusals();
        let view = View {
            standing: &self.placement.standing,
            turns: &self.placement.rotation,
            refusals: &refusals,
        };
        let mut all = Vec::new();
        let Some((ch, country)) = self
            .registry
            .open
            .get(key)
            .and_then(|o| Some((&o.ch, o.ch.country?)))
        else {
            return Box::default();
        };
        let several = ch.methods().nth(1).is_some();
        for method in ch.methods() {
            let ask = PlanRequest {
                country,
                method,
                tenant: &ch.tenant,
                caller_id: ch.caller_id.as_ref().map(|n| n.e164()),
                tried: &[],
                avoid: None,
                hedge: false,
                roll: 0,
            };
            let left = ch.deadline.since(now);
            for words in kept_from(&self.config, view, &ask, left) {
                match several {
                    true => note(&mut all, &format!("{}: {words}", method.name())),
                    false => note(&mut all, &words),
                }
            }
        }
        all.into()
    }
}

/// The same for one method, with so much of the challenge's life left.
fn kept_from(
    config: &Config,
    view: View<'_>,
    ask: &PlanRequest<'_>,
    left: Duration,
) -> Vec<String> {
    let (table, settings) = (&config.table, &config.settings);
    let channel = ask.method.channel();
    let on = match channel {
        Channel::Sms => &settings.countries.sms,
        Channel::Voice => &settings.countries.voice,
    };
    let (_, lines) = table.route(ask.country, channel);
    if !ask.method.served() {
        return vec!["method_disabled".to_owned()];
    }
    if !countries::on(on, ask.country) {
        return vec!["country_blocked".to_owned()];
    }
    if lines.is_empty() {
        return vec!["no_route".to_owned()];
    }
    let mut all = Vec::new();
    let min_call = settings.jobs.min_call;
    if channel == Channel::Voice && left < min_call {
        let min_call = duration(min_call);
        all.push(format!(
            "too late: no call is begun with less than {min_call} left (min_call)"
        ));
    }
    let omitted = plan::plan(table, view, ask).left_out.into_iter();
    all.extend(omitted.map(|omission| words(table, omission)));
    let full = |line: &&RouteEntry| {
        let standing = view.standing.get(usize::from(line.carrier.0));
        line.terms.enabled && matches!(standing, Some(Availability::Full))
    };
    let full = lines.iter().filter(full);
    all.extend(full.map(|line| format!("{}: {}", table.carrier_name(line.carrier), LeftOut::Full)));
    all
}

/// Would nobody bring it even if every carrier were well and free?
pub(super) fn nobody_at_all(
    table: &Table,
    view: View<'_>,
    ask: &PlanRequest<'_>,
    tried: &[Tried],
) -> bool {
    let everyone = vec![Availability::Healthy; view.standing.len()];
    let view = View {
        standing: &everyone,
        refusals: &[],
        ..view
    };
    plan::first(table, view, &PlanRequest { tried, ..*ask }) == Choice::Nothing
}
