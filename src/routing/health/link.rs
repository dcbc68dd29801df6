//! What a carrier's link says: up, down, its probes, and a pause that the carrier asks for.

use std::{sync::Arc, time::Duration};

use crate::clock::Mono;

use super::{Health, MAX_RETRY_AFTER, Outcome, Phase, Reason, begun_since, probing};

impl Health {
    pub(super) fn link_up(&mut self, now: Mono, answered: bool) {
        self.link_up = true;
        self.proven |= answered;
        let reason = match self.phase {
            Phase::Suspended { reason, .. } => reason,
            // It has just been started, and the first probe was answered before the link was called up.
            Phase::Probing {
                reason: reason @ Reason::NotConnected,
                ..
            } => reason,
            Phase::Probing { .. } | Phase::Healthy => return,
        };
        let found = match answered {
            true => "link up",
            false => "its address is known again",
        };
        match (reason, self.owed.take()) {
            (Reason::LinkDown, Some((reason, until))) => {
                let until = Some(until);
                self.phase = Phase::Suspended { reason, until };
                self.since = now;
                self.why = format!("{found}, its traffic is not proven yet").into();
                self.expire(now);
            }
            (Reason::NotConnected, _) => {
                let why = if self.proven {
                    "link up"
                } else {
                    "nothing has answered yet"
                };
                self.enter(now, Phase::Healthy, why.into());
            }
            (Reason::LinkDown, None) => self.enter(now, probing(reason), found.to_owned()),
            (
                Reason::NoProbe
                | Reason::Unavailable
                | Reason::Faults
                | Reason::Silent
                | Reason::Refuses
                | Reason::Throttled
                | Reason::RetryAfter
                | Reason::ByOperator
                | Reason::ReceiptsCollapsed,
                owed,
            ) => self.owed = owed,
        }
    }

    /// Something at the far end has answered: only then is a link up.
    pub(super) fn has_answered(&mut self, what: &str) {
        if !self.proven && self.phase == Phase::Healthy {
            self.why = format!("link up: {what}").into();
        }
        self.proven = true;
    }

    pub(super) fn link_down(&mut self, now: Mono, why: Arc<str>) {
        self.link_up = false;
        let down = Phase::Suspended {
            reason: Reason::LinkDown,
            until: None,
        };
        if self.phase == down {
            self.why = why;
            return;
        }
        self.owed = match self.phase {
            Phase::Healthy => None,
            Phase::Suspended { reason, until } if !reason.is_link() => {
                Some((reason, until.unwrap_or(now)))
            }
            Phase::Probing { reason, .. } if !reason.is_link() => Some((reason, now)),
            Phase::Suspended { .. } | Phase::Probing { .. } => self.owed,
        };
        self.suspended = Some(now);
        self.enter(now, down, String::new());
        self.why = why;
    }

    pub(super) fn probe(&mut self, now: Mono, ok: bool) {
        if ok {
            self.has_answered("a probe was answered");
            self.misses = 0;
        }
        match (self.phase, ok) {
            (
                Phase::Suspended {
                    reason: reason @ (Reason::NoProbe | Reason::Unavailable | Reason::NotConnected),
                    ..
                },
                true,
            ) => self.enter(now, probing(reason), "link up: a probe was answered".into()),
            (Phase::Probing { reason, .. }, true) if reason.is_link() => {
                self.enter(now, Phase::Healthy, "a probe was answered".into());
            }
            (Phase::Healthy, false) => {
                self.misses += 1;
                if let Some((reason, why)) = self.verdict(now) {
                    self.suspend(now, reason, why);
                }
            }
            (Phase::Probing { reason, .. }, false) => {
                let reason = if reason.is_link() {
                    Reason::NoProbe
                } else {
                    reason
                };
                self.suspend(now, reason, "a probe of the link was not answered".into());
            }
            (Phase::Probing { .. } | Phase::Suspended { .. } | Phase::Healthy, _) => {}
        }
    }

    pub(super) fn unavailable(&mut self, now: Mono, why: Arc<str>) {
        self.has_answered("it answers that it is not available");
        match self.phase {
            Phase::Healthy => self.suspend(now, Reason::Unavailable, why.to_string()),
            Phase::Probing { reason, .. } => {
                let reason = if reason.is_link() {
                    Reason::Unavailable
                } else {
                    reason
                };
                self.suspend(now, reason, why.to_string());
            }
            Phase::Suspended {
                reason: Reason::NotConnected,
                ..
            } => self.suspend(now, Reason::Unavailable, why.to_string()),
            Phase::Suspended { .. } => {}
        }
    }

    /// The pause is kept as it was given. Answers to what was in the air may make it longer, and no pause after it. One
    /// of many calls that a trunk relays may be told so by the network that it was for: that is of this call alone.
    pub(super) fn retry_after(&mut self, now: Mono, pause: Duration, after: Duration) {
        self.answers.add(after);
        self.has_answered("an attempt was answered");
        self.pauses.add(now, true);
        let speaks = !self.settings.relays || self.pauses.speak_for_all(now);
        let end = now + pause.min(MAX_RETRY_AFTER);
        let probe = begun_since(now, after, self.since);
        let fresh = match self.phase {
            Phase::Suspended { until: None, .. } => return,
            Phase::Suspended { reason, until } if reason != Reason::ReceiptsCollapsed => {
                let until = until.map(|known| known.max(end));
                if speaks {
                    self.phase = Phase::Suspended { reason, until };
                }
                return;
            }
            Phase::Probing { .. } if !speaks && !probe => return,
            Phase::Probing { .. } => probe,
            Phase::Healthy | Phase::Suspended { .. } if !speaks => {
                return self.judge(now, Outcome::Throttled, after);
            }
            Phase::Healthy | Phase::Suspended { .. } => {
                self.suspended.is_none_or(|at| begun_since(now, after, at))
            }
        };
        if fresh {
            self.count_period(now);
        }
        let why = format!("it asked for a pause of {} s", pause.as_secs());
        self.begin_suspension(now, Reason::RetryAfter, end, why);
    }
}
