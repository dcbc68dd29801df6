//! How long this node may act on what the ledger has let it do, where several nodes have one ledger.
//!
//! A node counts a beat in the ledger, again and again. Others take over its work once that beat has stood still for one
//! term by their own clocks. So it stops before that: a term, less a margin for clocks that go apart, after it *asked* for
//! the last beat that was counted. What was decided before a term ran out is void for good, also where the term was renewed
//! since: a process that was stopped and goes on must not send what it was allowed to send half a minute ago. Pure.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Mono;

/// The node's own term; cheap to clone, one term behind all clones.
#[derive(Clone, Debug, Default)]
pub struct Term(Option<Arc<Mutex<Held>>>);

#[derive(Debug)]
struct Held {
    until: Mono,
    /// How often it has run out.
    lapses: u64,
}

/// Between which ends of the term something was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TermMark(u64);

/// Others take over what a node has left after so long.
pub const TERM: Duration = Duration::from_secs(10);
/// The node itself stops so much sooner.
const MARGIN: Duration = Duration::from_secs(1);

impl Term {
    /// Of a node that has the ledger for itself.
    pub fn endless() -> Term {
        Term(None)
    }

    /// Of an opening that was asked for then.
    pub fn begun(asked: Mono) -> Term {
        let until = asked + (TERM - MARGIN);
        Term(Some(Arc::new(Mutex::new(Held { until, lapses: 0 }))))
    }

    /// A beat was counted that was asked for then. True: the term had run out meanwhile.
    pub fn renewed(&self, asked: Mono, now: Mono) -> bool {
        let Some(mut held) = self.held() else {
            return false;
        };
        let lapsed = now >= held.until;
        if lapsed {
            held.lapses += 1;
        }
        held.until = asked + (TERM - MARGIN);
        lapsed
    }

    /// The opening is over: nothing is renewed any more.
    pub fn over(&self) {
        if let Some(mut held) = self.held() {
            held.until = Mono::default();
        }
    }

    /// For what is decided now.
    pub fn mark(&self) -> TermMark {
        TermMark(self.held().map_or(0, |held| held.lapses))
    }

    pub fn is_held(&self, now: Mono) -> bool {
        self.held().is_none_or(|held| now < held.until)
    }

    /// May what was decided under this mark still be done?
    pub fn allows(&self, mark: TermMark, now: Mono) -> bool {
        self.held()
            .is_none_or(|held| held.lapses == mark.0 && now < held.until)
    }

    fn held(&self) -> Option<MutexGuard<'_, Held>> {
        let held = self.0.as_ref()?;
        Some(held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Mono {
        Mono::after_start(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn a_term_goes_on_by_beats_and_ends_without_them() {
        let term = Term::begun(at(0.0));
        let mark = term.mark();
        assert!(term.allows(mark, at(8.9)) && !term.allows(mark, at(9.0)));
        // By the moment at which it was asked for, however late the answer came.
        assert!(!term.renewed(at(2.0), at(8.0)));
        assert!(term.allows(mark, at(10.9)) && !term.allows(mark, at(11.0)));
    }

    #[test]
    fn what_was_decided_before_a_term_ran_out_stays_void() {
        let term = Term::begun(at(0.0));
        let before = term.mark();
        assert!(term.renewed(at(30.0), at(30.1)));
        assert!(term.is_held(at(30.2)) && !term.allows(before, at(30.2)));
        assert!(term.allows(term.mark(), at(30.2)));
        term.over();
        assert!(!term.is_held(at(30.2)));
    }

    #[test]
    fn a_node_that_is_alone_may_always_act() {
        let term = Term::endless();
        assert!(!term.renewed(at(0.0), at(60.0)));
        assert!(term.allows(term.mark(), at(1e6)) && term.is_held(at(1e6)));
    }
}
