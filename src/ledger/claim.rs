//! Who decides over an accept whose asker may stop waiting: the asker until the ledger writes it, then the ledger.
//!
//! A client that is told "come again" must find its id free, and nothing may be sent to its phone. So the asker and the
//! writer settle between them, by one atomic word, which of the two came first: an accept that was given up is never
//! written, and one that is being written is waited for.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicU8>);

const OPEN: u8 = 0;
const GIVEN_UP: u8 = 1;
/// In a transaction that may be durable by now.
const WRITING: u8 = 2;

impl Claim {
    /// The asker waits no longer. False: it is being written, so its answer must be waited for.
    pub fn give_up(&self) -> bool {
        self.step(OPEN, GIVEN_UP) || self.given_up()
    }

    pub fn given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) == GIVEN_UP
    }

    /// From here on it can't be given up. False: it has been.
    pub fn begin(&self) -> bool {
        self.step(OPEN, WRITING) || !self.given_up()
    }

    /// The transaction was rolled back: the asker may give up again.
    pub fn rolled_back(&self) {
        self.step(WRITING, OPEN);
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_first_decides() {
        let claim = Claim::default();
        assert!(claim.begin() && !claim.give_up() && !claim.given_up());
        claim.rolled_back();
        assert!(claim.give_up() && claim.given_up() && !claim.begin());
        claim.rolled_back();
        assert!(claim.given_up(), "given up for good");
    }
}
