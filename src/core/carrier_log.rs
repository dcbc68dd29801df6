//! What the log is told of carriers: each change of state, of the senders and countries that they refuse, and of our
//! credentials, once when it begins and once when it ends. What changes again and again is told once a minute, with a count.

use std::{collections::HashMap, sync::Arc};

use super::{Core, change_log::ChangeLog};
use crate::{
    clock::Now,
    number::Country,
    routing::health::{Health, Reason, Scope, ScopeChange, State},
};

/// What the log was told of one carrier.
#[derive(Debug)]
pub struct CarrierLog {
    states: ChangeLog<(State, String)>,
    logins: ChangeLog<Option<Arc<str>>>,
    scopes: HashMap<Scope, ScopeLog>,
}

/// What the log was told of one sender or country.
#[derive(Debug)]
struct ScopeLog {
    shut: bool,
    why: String,
    told: ChangeLog<bool>,
}

impl CarrierLog {
    pub fn new(state: State) -> CarrierLog {
        CarrierLog {
            states: ChangeLog::new((state, String::new())),
            logins: ChangeLog::new(None),
            scopes: HashMap::new(),
        }
    }

    pub fn scope_changed(&mut self, change: ScopeChange) {
        let known = self.scopes.entry(change.scope).or_insert_with(|| ScopeLog {
            shut: false,
            why: String::new(),
            told: ChangeLog::new(false),
        });
        known.shut = change.shut_for.is_some();
        known.why = change.why;
    }

    /// Worse is a WARN, better an INFO.
    fn state(&mut self, carrier: &Arc<str>, health: &Health, now: Now) {
        let state = health.state();
        let why = health.why();
        // Only these reasons are the drivers' own words, which may change while the state stays.
        let key = match state {
            State::Suspended(Reason::LinkDown | Reason::Unavailable) => without_counters(why),
            State::Suspended(_) | State::Probing(_) | State::Healthy | State::Unproven => {
                String::new()
            }
        };
        let Some(change) = self.states.see(now.mono, (state, key)) else {
            return;
        };
        let until = health.until().map(|at| {
            let left = at.saturating_duration_since(now.mono);
            let at = crate::clock::said_by(now.wall + left, now.ahead).rfc3339();
            format!("{at} ({} s)", left.as_secs())
        });
        let (from, to, until) = (shown(change.from.0), shown(state), until.as_deref());
        let times = (change.times > 1).then_some(change.times);
        match state {
            State::Suspended(_) => {
                tracing::warn!(%carrier, from, to, %why, until, times, "carrier state");
            }
            State::Healthy | State::Unproven | State::Probing(_) => {
                tracing::info!(%carrier, from, to, %why, until, times, "carrier state");
            }
        }
    }

    fn login(&mut self, carrier: &Arc<str>, refused: Option<&Arc<str>>, now: Now) {
        let Some(change) = self.logins.see(now.mono, refused.cloned()) else {
            return;
        };
        let times = (change.times > 1).then_some(change.times);
        match refused {
            Some(code) => {
                tracing::warn!(%carrier, %code, times, "the carrier refuses our credentials or rights: see username, password or token in its file");
            }
            None => tracing::info!(%carrier, times, "the carrier takes our credentials again"),
        }
    }

    fn scopes(&mut self, carrier: &Arc<str>, now: Now) {
        for (scope, known) in &mut self.scopes {
            let Some(change) = known.told.see(now.mono, known.shut) else {
                continue;
            };
            let times = (change.times > 1).then_some(change.times);
            let sender = scope.sender.as_deref().unwrap_or("any");
            let (country, why): (Country, &str) = (scope.country, &known.why);
            match known.shut {
                true => {
                    tracing::warn!(%carrier, sender, %country, why, times, "the carrier refuses this sender or country: not used there for now");
                }
                false => {
                    tracing::info!(%carrier, sender, %country, why, times, "the carrier takes this sender and country again");
                }
            }
        }
        self.scopes
            .retain(|_, known| known.shut || !known.told.is_quiet(now.mono));
    }
}

impl Core {
    pub(super) fn log_carriers(&mut self, now: Now) {
        for running in self
            .placement
            .carriers
            .iter_mut()
            .filter(|running| !running.leaving)
        {
            let name = &running.config.name;
            running.log.state(name, &running.health, now);
            running.log.login(name, running.login.as_ref(), now);
            running.log.scopes(name, now);
        }
    }
}

/// State and reason as the log names them: `suspended (faults)`.
fn shown(state: State) -> String {
    match state {
        State::Healthy | State::Unproven => state.name().to_owned(),
        State::Suspended(reason) | State::Probing(reason) => {
            format!("{} ({})", state.name(), reason.name())
        }
    }
}

/// The same reason with another clock or counter in it is the same reason. Statuses stay: they are the reason.
fn without_counters(why: &str) -> String {
    let mut kept = String::with_capacity(why.len());
    let mut before = "";
    for word in why.split(' ') {
        let status =
            word.starts_with("0x") || matches!(before, "HTTP" | "SIP" | "status" | "answered");
        if status {
            kept.push_str(word);
        } else {
            kept.extend(word.chars().filter(|c| !c.is_ascii_digit()));
        }
        kept.push(' ');
        before = word;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_counters_make_no_other_reason_and_statuses_do() {
        let same = [
            "certificate expired at 1790884893, 5 s ago",
            "certificate expired at 1790884899, 11 s ago",
        ];
        assert_eq!(without_counters(same[0]), without_counters(same[1]));
        let other = [
            "bind refused: 0x0000000e (password)",
            "bind refused: 0x0000000d (password)",
        ];
        assert_ne!(without_counters(other[0]), without_counters(other[1]));
        let other = [
            "OPTIONS answered 503 Service",
            "OPTIONS answered 500 Service",
        ];
        assert_ne!(without_counters(other[0]), without_counters(other[1]));
    }
}
