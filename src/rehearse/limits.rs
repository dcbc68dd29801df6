//! Limits that bite, in every fourth run: never more is taken than they allow, and nobody is refused while there is room. In
//! another fourth few challenges may be open, and others wait.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::{Rehearsal, callers::Job};
use crate::{
    admission::{Kind, Limits},
    challenge::Millis,
    ledger::in_memory::Engine,
};

/// Of the seeds: those that leave this rest by four.
const TIGHT: u64 = 3;
/// And those with room for few.
const CROWDED: u64 = 1;
const FEW: usize = 6;

impl Rehearsal {
    /// The same with tight limits, for seeds that have them.
    pub(super) fn limited(&self, seed: u64) -> Rehearsal {
        let mut limited = self.clone();
        if seed % 4 == CROWDED && !self.profile.is_healthy() {
            let config = Arc::make_mut(&mut limited.config);
            Arc::make_mut(&mut config.settings).jobs.max_open = FEW;
        }
        if seed % 4 == TIGHT && !self.profile.is_healthy() {
            let config = Arc::make_mut(&mut limited.config);
            let limits = &mut Arc::make_mut(&mut config.settings).limits;
            let some = limits.per_user;
            let pace = |count, seconds| {
                some.map(|mut pace| {
                    (pace.count, pace.per) = (count, Duration::from_secs(seconds));
                    pace
                })
            };
            limits.per_user = pace(1, 15);
            limits.per_number = pace(2, 30);
            limits.per_tenant = pace(4, 10);
        }
        limited
    }
}

/// Which limit is broken by all that was asked, as the ledger holds it, if any.
pub(super) fn broken(limits: &Limits, jobs: &[Job], engine: &Engine) -> Option<String> {
    limits.per_tenant?;
    let mut windows: BTreeMap<(usize, String), Vec<Millis>> = BTreeMap::new();
    let mut refused = Vec::new();
    for job in jobs {
        let Ok(Some(stored)) = engine.find(&job.tenant, &job.id) else {
            continue;
        };
        let last = stored.last.as_deref().unwrap_or_default();
        let last: Value = serde_json::from_slice(last).unwrap_or_default();
        let over = ["too_many_attempts", "fraud_guard"].map(Value::from);
        let counts = !over.contains(&last["reason"]);
        let body: Value = serde_json::from_slice(&job.body).unwrap_or_default();
        let keys = [
            (Kind::User, format!("{} {}", job.tenant, body["user"])),
            (Kind::Number, job.to.clone()),
            (Kind::Tenant, job.tenant.to_string()),
        ]
        .map(|(kind, of)| (kind as usize, of));
        for key in &keys {
            let window = windows.entry(key.clone()).or_default();
            window.extend(counts.then_some(stored.arrived));
        }
        if !counts {
            refused.push((job.id.clone(), stored.arrived, keys));
        }
    }
    let mut wrong = None;
    for ((kind, of), arrivals) in &mut windows {
        arrivals.sort_unstable();
        if let Some(pace) = Kind::ALL[*kind].pace(limits)
            && let Some(at) = beyond(arrivals, pace.count, pace.per)
        {
            let name = Kind::ALL[*kind].name();
            wrong = Some(format!(
                "{name}: more than {} of {of} at {at:?}",
                pace.count
            ));
        }
    }
    for (id, at, keys) in &refused {
        let full = |key: &(usize, String)| is_full(limits, key, &windows, *at);
        if !keys.iter().any(full) {
            wrong = Some(format!("{id} is refused for a limit, and there is room"));
        }
    }
    wrong
}

/// When more count than may.
fn beyond(arrivals: &[Millis], count: u32, per: Duration) -> Option<Millis> {
    let mut spans = arrivals.windows(count as usize + 1);
    let span = spans.find(|span| span[span.len() - 1] < span[0] + per)?;
    span.last().copied()
}

fn is_full(
    limits: &Limits,
    key: &(usize, String),
    windows: &BTreeMap<(usize, String), Vec<Millis>>,
    at: Millis,
) -> bool {
    let (Some(pace), Some(arrivals)) = (Kind::ALL[key.0].pace(limits), windows.get(key)) else {
        return false;
    };
    let counting = arrivals
        .iter()
        .filter(|came| **came <= at && **came > at - pace.per);
    counting.count() >= pace.count as usize
}
