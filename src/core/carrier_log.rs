//! What the log is told of carriers: each change of state, of the senders and countries that they refuse, and of our
//! credentials, once when it begins and once when it ends. What changes again and again is told once a minute, with a count.

use std::{collections::HashMap, sync::Arc};

use super::{
    Core,
    change_log::ChangeLog,
    notice::{CarrierNotice, ScopeNotice, StateChange, is_unhealthy},
};
use crate::{
    clock::Now,
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

    /// By another link nothing is refused yet.
    pub fn forget_scopes(&mut self) {
        for known in self.scopes.values_mut() {
            known.shut = false;
            known.why = "by another link".to_owned();
        }
    }

    /// That of a driver that takes the place of another: what was told to begin goes on until it is told to end. A carrier that
    /// was well is looked at from here on, as one that begins.
    pub fn take_over(&mut self, before: &mut CarrierLog) {
        if is_unhealthy(before.states.told().0) {
            std::mem::swap(&mut self.states, &mut before.states);
        }
        std::mem::swap(&mut self.logins, &mut before.logins);
        std::mem::swap(&mut self.scopes, &mut before.scopes);
        self.forget_scopes();
    }

    fn state(&mut self, health: &Health, now: Now) -> Option<CarrierNotice> {
        let state = health.state();
        let why = health.why();
        // Only these reasons are the drivers' own words, which may change while the state stays.
        let key = match state {
            State::Suspended(Reason::LinkDown | Reason::Unavailable) => without_counters(why),
            State::Suspended(_) | State::Probing(_) | State::Healthy | State::Unproven => {
                String::new()
            }
        };
        let change = self.states.see(now.mono, (state, key))?;
        let until = health.until().map(|at| {
            let left = at.saturating_duration_since(now.mono);
            (crate::clock::said_by(now.wall + left, now.ahead), left)
        });
        Some(CarrierNotice::State(StateChange {
            told: change.told.0,
            from: change.from.0,
            to: state,
            why: why.clone(),
            until,
            times: change.times,
        }))
    }

    fn login(&mut self, refused: Option<&Arc<str>>, now: Now) -> Option<CarrierNotice> {
        let change = self.logins.see(now.mono, refused.cloned())?;
        let (times, told) = (change.times, change.told.is_some());
        Some(match refused {
            Some(code) => CarrierNotice::LoginRefused {
                answer: code.clone(),
                times,
                goes_on: told,
            },
            None => CarrierNotice::LoginTaken { times, ends: told },
        })
    }

    fn scopes(&mut self, now: Now, mut tell: impl FnMut(CarrierNotice)) {
        for (scope, known) in &mut self.scopes {
            if let Some(change) = known.told.see(now.mono, known.shut) {
                tell(CarrierNotice::Scope(ScopeNotice {
                    scope: scope.clone(),
                    refused: known.shut,
                    told: change.told,
                    why: known.why.clone(),
                    times: change.times,
                }));
            }
        }
        self.scopes
            .retain(|_, known| known.shut || !known.told.is_quiet(now.mono));
    }

    fn look(
        &mut self,
        health: &Health,
        login: Option<&Arc<str>>,
        now: Now,
        mut tell: impl FnMut(CarrierNotice),
    ) {
        self.state(health, now).into_iter().for_each(&mut tell);
        self.login(login, now).into_iter().for_each(&mut tell);
        self.scopes(now, tell);
    }
}

impl Core {
    pub(super) fn log_carriers(&mut self, now: Now) {
        let (carriers, notices) = (&mut self.placement.carriers, &self.notices);
        let used = carriers.iter_mut();
        for running in used.filter(|running| !running.leaving) {
            let (name, login) = (&running.config.name, running.login.as_ref());
            running.log.look(&running.health, login, now, |notice| {
                notices.carrier(name, notice);
            });
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
