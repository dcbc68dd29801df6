//! The plan: which carrier and sender next, and why. Pure: the same table, health, challenge and roll give the same
//! choice.
//!
//! [`first`] is the choice that dispatch makes when a slot is free; it allocates nothing. [`plan`] is the same choice
//! made again and again, each time without what was chosen before, with everything that was left out beside it; that
//! is what `ringback explain` shows. A short code is never chosen outside the countries where it is leased, whatever
//! the routes say.

mod fit;
mod types;

use std::sync::Arc;

use self::fit::{refusal, refused, shut, standing, wish};
pub use self::types::{LeftOut, Why};
use super::{
    health::Availability,
    table::{CarrierIx, RouteEntry, RouteEntryIx, SenderIx, SenderRotation, Table},
};
use crate::{cause::Cause, challenge::Method, number::Country};

/// What is to be brought, and what was done for it before.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    pub country: Country,
    pub method: Method,
    pub tenant: &'a str,
    /// The caller ID that the job wishes for.
    pub caller_id: Option<&'a str>,
    /// What this challenge has tried on this method: never tried again.
    pub tried: &'a [Tried],
    /// What the person's last challenge, within five minutes, came by: put behind the others.
    pub avoid: Option<Avoid<'a>>,
    /// A second attempt because the first is in doubt.
    pub hedge: bool,
    /// Hash of challenge id and attempt ([`roll`]).
    pub roll: u64,
}

/// Something that was tried: a carrier, or one sender on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub carrier: Arc<str>,
    /// None: the whole carrier is out for this challenge.
    pub sender: Option<Arc<str>>,
    pub cause: Option<Cause>,
}

/// What the last challenge of the same person came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avoid<'a> {
    pub carrier: &'a str,
    pub sender: &'a str,
}

/// A sender in a country, or a country, that a carrier refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub carrier: CarrierIx,
    /// None: whatever the sender.
    pub sender: Option<SenderIx>,
    pub country: Country,
    /// One attempt may try.
    pub free: bool,
}

/// Health and turns, beside the table.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// By [`CarrierIx`]; what is not there is healthy.
    pub standing: &'a [Availability],
    pub turns: &'a SenderRotation,
    /// What carriers refuse; nearly always nothing.
    pub refusals: &'a [Refusal],
}

/// The answer of [`first`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    Take(Candidate),
    /// A better candidate than those that are free will have a slot soon.
    Wait,
    /// Nothing is left.
    Nothing,
}

/// A carrier and sender to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub line: RouteEntryIx,
    pub carrier: CarrierIx,
    pub sender: SenderIx,
    pub tier: u8,
    /// Percent of the traffic of its tier.
    pub share: f32,
    pub why: Why,
}

/// All candidates in order, and what was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub candidates: Vec<Candidate>,
    pub left_out: Vec<Omission>,
}

/// A pair that the route names and the plan does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Omission {
    /// None: a wished caller ID, whatever the carrier.
    pub carrier: Option<CarrierIx>,
    /// None: a wished caller ID that is no sender of ours.
    pub sender: Option<SenderIx>,
    pub why: LeftOut,
}

/// The roll of one attempt: what weights are drawn by.
pub fn roll(challenge: &str, attempt: u16) -> u64 {
    // FNV-1a over the id, then mixed with the attempt.
    let hash = challenge.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash ^ (u64::from(attempt) << 48))
}

/// The candidate for the next attempt.
pub fn first(table: &Table, view: View<'_>, ask: &PlanRequest<'_>) -> Choice {
    match choose(table, view, ask, &[], false) {
        // A text whose receipt is missing is better than none.
        Choice::Nothing if lacks_receipts(view) => choose(table, view, ask, &[], true),
        choice => choice,
    }
}

fn lacks_receipts(view: View<'_>) -> bool {
    let lacks = |standing: &Availability| matches!(standing, Availability::NoReceipts { .. });
    view.standing.iter().any(lacks)
}

/// Every candidate in the order in which they would be tried, and everything that was left out.
pub fn plan(table: &Table, view: View<'_>, ask: &PlanRequest<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut taken: Vec<(CarrierIx, SenderIx)> = Vec::new();
    // A full carrier is waited for; a list has no time to.
    let waits_for_nobody: Vec<Availability> = view
        .standing
        .iter()
        .map(|s| match *s {
            Availability::Full => Availability::Healthy,
            Availability::NoReceipts { .. } => Availability::NoReceipts { free: true },
            other => other,
        })
        .collect();
    let view = View {
        standing: &waits_for_nobody,
        ..view
    };
    let resort = lacks_receipts(view) && choose(table, view, ask, &[], false) == Choice::Nothing;
    while let Choice::Take(candidate) = choose(table, view, ask, &taken, resort) {
        taken.push((candidate.carrier, candidate.sender));
        plan.candidates.push(candidate);
    }
    let (_, lines) = table.route(ask.country, ask.method.channel());
    let wished = wish(table, ask).ok().flatten();
    share_out(table, wished, &mut plan.candidates);
    if let Some((sender, why)) = wish(table, ask).err() {
        plan.left_out.push(Omission {
            carrier: None,
            sender,
            why,
        });
    }
    for line in lines {
        for sender in &line.senders {
            let why = shut(view, table, ask, line, resort)
                .or_else(|| refused(table, view, ask, line, *sender));
            if let Some(why) = why {
                let omission = Omission {
                    carrier: Some(line.carrier),
                    sender: Some(*sender),
                    why,
                };
                if !plan.left_out.contains(&omission) {
                    plan.left_out.push(omission);
                }
            }
        }
    }
    plan
}

/// What a line can do for this challenge.
enum Offer {
    Now(Pair),
    /// It could, but has no slot now.
    Full(Rank),
    Nothing,
}

struct Pair {
    sender: SenderIx,
    rank: Rank,
    probe: bool,
    /// A sender or the carrier was put behind because the last challenge came by it.
    moved: bool,
}

/// The order among offers: smaller first. Wish, avoidance, tier, and whether the plan has the carrier already.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    unwished: bool,
    avoided: u8,
    tier: u8,
    again: bool,
}

/// What a pass over the lines of a route has found so far.
#[derive(Default)]
struct Best {
    found: Option<(Candidate, Pair)>,
    /// The best rank among those that have no slot now.
    full: Option<Rank>,
    /// Weights of the neighbours of the best rank, and how many they are.
    total: u64,
    peers: u32,
    offers: u32,
    /// A sender or carrier was put behind because the last challenge came by it.
    moved: bool,
}

impl Best {
    /// One pass over neighbours: each replaces the one before with its weight over the sum so far.
    fn see(&mut self, at: RouteEntryIx, line: &RouteEntry, offer: Offer, seed: impl Fn() -> u64) {
        let pair = match offer {
            Offer::Now(pair) => pair,
            Offer::Full(rank) => {
                self.full = Some(self.full.map_or(rank, |full| full.min(rank)));
                return;
            }
            Offer::Nothing => return,
        };
        self.offers += 1;
        self.moved |= pair.moved;
        let weight = u64::from(line.terms.weight);
        match &self.found {
            Some((_, best)) if best.rank < pair.rank => return,
            Some((_, best)) if best.rank == pair.rank => {
                self.total += weight;
                self.peers += 1;
                if !replaces(seed(), weight, self.total) {
                    return;
                }
            }
            _ => (self.total, self.peers) = (weight, 1),
        }
        let candidate = Candidate {
            line: at,
            carrier: line.carrier,
            sender: pair.sender,
            tier: line.terms.tier,
            share: line.terms.weight as f32,
            why: Why::Weighted,
        };
        self.found = Some((candidate, pair));
    }
}

/// One pass over the lines of the route: the best rank, and among its lines one by weight. `resort`: also those whose
/// receipts are missing.
fn choose(
    table: &Table,
    view: View<'_>,
    ask: &PlanRequest<'_>,
    taken: &[(CarrierIx, SenderIx)],
    resort: bool,
) -> Choice {
    let (start, lines) = table.route(ask.country, ask.method.channel());
    let wished = wish(table, ask).ok().flatten();
    let mut best = Best::default();
    for (offset, line) in (0u32..).zip(lines) {
        let at = RouteEntryIx(start.0 + offset);
        let offer = offer(table, view, ask, (wished, resort), at, line, taken);
        let salt = u64::from(offset) ^ ((taken.len() as u64) << 32);
        best.see(at, line, offer, || ask.roll ^ mix(salt));
    }
    let Some((mut candidate, pair)) = best.found else {
        return if best.full.is_some() {
            Choice::Wait
        } else {
            Choice::Nothing
        };
    };
    if best.full.is_some_and(|full| full < pair.rank) {
        return Choice::Wait;
    }
    candidate.share = candidate.share * 100.0 / best.total as f32;
    let lowest = lines.first().map_or(1, |line| line.terms.tier);
    let same_tier = |line: &&RouteEntry| line.terms.tier == candidate.tier;
    let neighbours =
        best.peers > 1 || (!taken.is_empty() && lines.iter().filter(same_tier).nth(1).is_some());
    candidate.why = match () {
        () if resort => Why::ReceiptsMissing,
        () if ask.hedge => Why::Hedge,
        () if pair.probe => Why::Probe,
        () if wished == Some(candidate.sender) => Why::AskedCallerId,
        () if !ask.tried.is_empty() => Why::Failover,
        () if best.moved && pair.rank.avoided < BOTH => Why::RetryAvoids,
        () if candidate.tier > lowest => Why::NextTier,
        () if neighbours => Why::Weighted,
        () if best.offers == 1 && taken.is_empty() && best.full.is_none() => Why::OnlyCandidate,
        () => Why::Preferred,
    };
    Choice::Take(candidate)
}

/// True with the probability of a weight over a sum.
fn replaces(seed: u64, weight: u64, total: u64) -> bool {
    (u128::from(mix(seed)) * u128::from(total)) >> 64 < u128::from(weight)
}

/// The rank of a pair that is just what the last challenge came by.
const BOTH: u8 = 3;

fn offer(
    table: &Table,
    view: View<'_>,
    ask: &PlanRequest<'_>,
    (wished, resort): (Option<SenderIx>, bool),
    at: RouteEntryIx,
    line: &RouteEntry,
    taken: &[(CarrierIx, SenderIx)],
) -> Offer {
    if shut(view, table, ask, line, resort).is_some() {
        return Offer::Nothing;
    }
    let carrier = table.carrier_name(line.carrier);
    let usable = |sender: SenderIx| {
        !taken.contains(&(line.carrier, sender))
            && refused(table, view, ask, line, sender).is_none()
    };
    let same_carrier = ask.avoid.is_some_and(|a| a.carrier == carrier);
    let same_sender = |sender| {
        ask.avoid
            .is_some_and(|a| table.sender(sender).is_some_and(|s| *s.id == *a.sender))
    };
    let asked = wished.filter(|sender| usable(*sender));
    let (sender, moved) = match asked {
        Some(sender) => (sender, false),
        None => match turn(&line.senders, view.turns.get(at), usable, same_sender) {
            Some(found) => found,
            None => return Offer::Nothing,
        },
    };
    let rank = Rank {
        unwished: wished.is_some() && asked.is_none(),
        avoided: 2 * u8::from(same_carrier) + u8::from(same_sender(sender)),
        tier: line.terms.tier,
        again: taken.iter().any(|(c, _)| *c == line.carrier),
    };
    match standing(view, line.carrier) {
        Availability::Full | Availability::NoReceipts { free: false } => Offer::Full(rank),
        found => Offer::Now(Pair {
            sender,
            rank,
            probe: matches!(found, Availability::Probing { .. })
                || refusal(view, ask, line, sender).is_some(),
            moved: moved || same_carrier,
        }),
    }
}

/// The sender whose turn it is among those that may be used; one to avoid only where no other may. Says whether it
/// stepped over one.
fn turn(
    senders: &[SenderIx],
    turn: u32,
    usable: impl Fn(SenderIx) -> bool,
    avoid: impl Fn(SenderIx) -> bool,
) -> Option<(SenderIx, bool)> {
    let count = senders.iter().filter(|s| usable(**s)).count();
    let better = senders
        .iter()
        .filter(|s| usable(**s) && !avoid(**s))
        .count();
    if count == 0 {
        return None;
    }
    let pool = if better > 0 { better } else { count };
    senders
        .iter()
        .filter(|s| usable(**s) && (better == 0 || !avoid(**s)))
        .nth(turn as usize % pool)
        .map(|sender| (*sender, 0 < better && better < count))
}

/// Shares of a whole plan: a line's weight among those of its tier, evenly over its senders. Where a tier has the wished
/// caller ID, all of the tier's traffic goes with it, and the others have none.
fn share_out(table: &Table, wished: Option<SenderIx>, candidates: &mut [Candidate]) {
    let whole = candidates.to_vec();
    for candidate in candidates {
        let tier = || whole.iter().filter(|c| c.tier == candidate.tier);
        let asked = wished.filter(|wished| tier().any(|c| c.sender == *wished));
        if asked.is_some_and(|asked| asked != candidate.sender) {
            candidate.share = 0.0;
            continue;
        }
        let all: Vec<&Candidate> = tier()
            .filter(|c| asked.is_none_or(|asked| c.sender == asked))
            .collect();
        let weight = |line: RouteEntryIx| table.line(line).map_or(0, |l| l.terms.weight);
        let mut lines: Vec<RouteEntryIx> = all.iter().map(|c| c.line).collect();
        lines.sort_unstable_by_key(|line| line.0);
        let senders = lines.iter().filter(|line| **line == candidate.line).count();
        lines.dedup();
        let total: u64 = lines.iter().map(|line| u64::from(weight(*line))).sum();
        candidate.share =
            weight(candidate.line) as f32 * 100.0 / total.max(1) as f32 / senders.max(1) as f32;
    }
}

/// A finaliser that spreads every bit over all (SplitMix64).
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
