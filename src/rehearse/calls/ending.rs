//! What is left of calls: while something may still come, and where nothing should be left.

use std::time::{Duration, Instant};

use super::{Calls, FAR_END_DONE, FarEnd, Trunk};
use crate::challenge::AttemptKey;

impl Calls {
    /// Something is under way, or a dialog may still be ending.
    pub fn is_busy(&self, now: Instant) -> bool {
        let since = self.quiet_since.filter(|_| self.network.is_empty());
        let idle = self.far_ends.iter().all(FarEnd::is_idle);
        let over = |since| idle || now.saturating_duration_since(since) > FAR_END_DONE;
        !since.is_some_and(over)
    }

    /// Its network has held for so long.
    pub fn has_held(&self, now: Instant, so_long: Duration) -> bool {
        self.network.holds(now, so_long)
    }

    /// The call of this attempt rings or is up at a far end, and the trunk has heard of it.
    pub fn is_up(&self, key: AttemptKey) -> bool {
        let mut calls = self.invited.iter().filter(|(_, of)| **of == key);
        calls.any(|(call, _)| {
            !self.unheard.contains(call) && self.far_ends.iter().any(|far| far.is_up(call))
        })
    }

    /// What is left that should not be.
    pub fn left_over(&self) -> Option<String> {
        self.left_but(|call| self.unheard.contains(call))
    }

    /// The same where the process has ended just now: some calls it can't have ended yet.
    pub fn left_at_stop(&self) -> Option<String> {
        self.left_but(|call| self.unheard.contains(call) || self.out_of_reach.has(call))
    }

    /// The trunk still ends a call of an earlier life: what it says of it is to be recorded.
    pub fn ends_unterminated(&self) -> bool {
        self.trunk.as_ref().is_some_and(Trunk::ends_unterminated)
    }

    fn left_but(&self, excused: impl Fn(&str) -> bool) -> Option<String> {
        let name = &self.config.name;
        let mut left = self
            .far_ends
            .iter()
            .filter_map(|far| far.left_over(&excused));
        left.next().map(|what| format!("{name}: {what}"))
    }

    /// Its call is up though nothing was lost on the way that the trunk would have to know.
    pub(super) fn stays_up(&self, key: AttemptKey) -> bool {
        let mut calls = self.invited.iter().filter(|(_, of)| **of == key);
        let excused = |call: &str| self.unheard.contains(call) || self.out_of_reach.has(call);
        calls.any(|(call, _)| !excused(call) && self.far_ends.iter().any(|far| far.is_up(call)))
    }
}
