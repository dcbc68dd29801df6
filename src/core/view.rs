//! What operators are shown of the core while it runs. Numbers are masked, codes never stand here.

use std::{collections::VecDeque, sync::Arc};

use serde::Serialize;

use super::{Core, Running};
use crate::{
    challenge::{ChallengeKey, Millis},
    clock::Now,
    config::Config,
    delivery::{Attempt, DeliveryState, Phase},
    overlay::Entry,
    routing::{Availability, health::State, plan::Refusal},
};

/// What the plan sees of the carriers.
pub struct Seen {
    pub config: Arc<Config>,
    /// In the table's order.
    pub standing: Vec<Availability>,
    /// Senders and countries that carriers refuse.
    pub refusals: Vec<Refusal>,
}

/// One carrier, as `/admin/carriers` shows it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct CarrierView {
    pub name: Arc<str>,
    pub transport: &'static str,
    pub state: &'static str,
    pub reason: String,
    pub in_flight: usize,
    pub slots: u32,
    pub pace: Option<f64>,
    /// What is wrong with its receipts, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<String>,
}

impl CarrierView {
    /// It takes attempts, more than one at a time: well, or not asked yet whether it is.
    pub fn is_usable(&self) -> bool {
        let usable = [State::Healthy, State::Unproven].map(State::name);
        self.slots > 0 && usable.contains(&self.state)
    }
}

/// One challenge, as the page shows it.
#[derive(Clone, Serialize, schemars::JsonSchema)]
pub struct View {
    pub id: Arc<str>,
    pub at: String,
    pub to: String,
    pub country: String,
    pub method: &'static str,
    /// The final event, or what it is doing.
    pub state: String,
    /// Why it ended so, as the final report says it.
    pub reason: Option<&'static str>,
    pub attempts: Vec<AttemptView>,
}

private_debug!(View);

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct AttemptView {
    pub carrier: Arc<str>,
    pub sender: Arc<str>,
    pub why: Arc<str>,
    pub outcome: String,
}

/// The last arrivals, for the page.
#[derive(Debug, Default)]
pub(super) struct Recent {
    keys: VecDeque<ChallengeKey>,
    ended: VecDeque<(ChallengeKey, View)>,
}

/// How many challenges the page shows.
const SHOWN: usize = 100;

impl Recent {
    pub fn arrived(&mut self, key: ChallengeKey) {
        if self.keys.len() >= SHOWN {
            self.keys.pop_front();
        }
        self.keys.push_back(key);
    }

    /// Kept only if it is among the last arrivals: nothing is built for the page under load that nobody could see.
    pub fn ended(
        &mut self,
        key: ChallengeKey,
        open: &super::open::Open,
        reason: Option<&'static str>,
    ) {
        if self.keys.front().is_none_or(|first| key < *first) {
            return;
        }
        if self.ended.len() >= SHOWN {
            self.ended.pop_front();
        }
        let view = View {
            reason,
            ..view_of(open)
        };
        self.ended.push_back((key, view));
    }
}

impl Core {
    /// What the plan sees of each carrier now, for `explain`.
    pub fn seen(&mut self, now: Now) -> Seen {
        self.at(now);
        self.refresh_standing(false);
        Seen {
            config: self.config.clone(),
            standing: self.placement.standing.clone(),
            refusals: self.refusals(),
        }
    }

    /// The changes of operators that are in force.
    pub fn changes(&self) -> Vec<Entry> {
        self.placement.overlay.entries().cloned().collect()
    }

    /// The last arrivals, newest first, for the page.
    pub fn challenge_views(&self) -> Vec<View> {
        let recent = &self.registry.recent;
        let one = |key: &ChallengeKey| match self.registry.open.get(*key) {
            Some(open) => Some(view_of(open)),
            None => recent
                .ended
                .iter()
                .rev()
                .find(|(k, _)| k == key)
                .map(|(_, view)| view.clone()),
        };
        recent.keys.iter().rev().filter_map(one).collect()
    }
}

/// Why it is not healthy, and what it refuses though it is.
fn reason_of(running: &Running) -> String {
    let login = running.login.as_ref();
    let mut all = vec![running.health.reason()];
    all.extend(login.map(|code| format!("refuses our credentials or rights: {code}")));
    all.extend(running.scopes.words());
    all.retain(|reason| !reason.is_empty());
    all.join("; ")
}

pub(super) fn carrier_view(running: &Running, receipts: Option<String>) -> CarrierView {
    CarrierView {
        name: running.config.name.clone(),
        transport: running.config.transport.name(),
        state: running.health.state().name(),
        reason: reason_of(running),
        in_flight: running.in_flight(),
        slots: running.slots(),
        pace: running.config.pace.map(|p| p.per_second()),
        receipts,
    }
}

fn view_of(open: &super::open::Open) -> View {
    let ch = &open.ch;
    View {
        id: ch.id.clone(),
        at: Millis::rfc3339(ch.arrived),
        to: ch
            .to
            .map_or_else(|| "not a number".to_owned(), |to| to.to_string()),
        country: crate::report::body::country(ch).to_owned(),
        method: ch.method.name(),
        state: state_of(&open.life),
        reason: None,
        attempts: open
            .life
            .attempts
            .iter()
            .map(|a| AttemptView {
                carrier: a.carrier.clone(),
                sender: a.sender.clone(),
                why: a.why.clone(),
                outcome: outcome_of(a, open.life.ended.is_some()),
            })
            .collect(),
    }
}

/// What became of it; the cause, where that says more.
fn outcome_of(attempt: &Attempt, over: bool) -> String {
    if attempt.phase == Phase::Ringing && !over {
        return "ringing".to_owned();
    }
    let outcome = attempt.outcome().name();
    match attempt.cause.map(|cause| cause.name()) {
        Some(cause) if attempt.ended.is_some() && cause != outcome => {
            format!("{outcome} ({cause})")
        }
        _ => outcome.to_owned(),
    }
}

fn state_of(life: &DeliveryState) -> String {
    match &life.ended {
        Some(end) => end.event.name().to_owned(),
        None if life.attempts.is_empty() => "waiting for a slot".to_owned(),
        None => "under way".to_owned(),
    }
}
