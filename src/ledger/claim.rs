//! Who decides over an accept whose asker may stop waiting: the asker until the ledger writes it, then the ledger.
//!
//! A client that is told "come again" must find its id free, and nothing may be sent to its phone. So the asker and the
//! writer settle between them, by one atomic word, which of the two came first: an accept that was given up is never
//! written, and one that is being written is waited for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

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

/// Somebody who waits for an answer. Gone, for whatever reason, they have given up.
pub struct Waiting<T> {
    answer: oneshot::Receiver<T>,
    claim: Claim,
}

impl<T> Waiting<T> {
    pub fn new(answer: oneshot::Receiver<T>, claim: Claim) -> Waiting<T> {
        Waiting { answer, claim }
    }

    /// Hands over what is asked and waits for so long. What is being written then is waited for all the same, until it is
    /// durable or rolled back: only the ledger knows what becomes of it. None: nothing of it is done, nor will be.
    pub async fn within(
        mut self,
        patience: Duration,
        hand_over: impl Future<Output = bool>,
    ) -> Option<T> {
        let answer = &mut self.answer;
        let asked = async {
            if hand_over.await {
                answer.await.ok()
            } else {
                None
            }
        };
        if let Ok(answered) = tokio::time::timeout(patience, asked).await {
            return answered;
        }
        loop {
            if self.claim.give_up() {
                return None;
            }
            if let Ok(answered) = tokio::time::timeout(ASK_AGAIN, &mut self.answer).await {
                return answered.ok();
            }
        }
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.claim.give_up();
    }
}

/// A transaction that is rolled back may be given up: looked at this often.
const ASK_AGAIN: Duration = Duration::from_millis(50);

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

    #[tokio::test(start_paused = true)]
    async fn what_is_rolled_back_is_given_up_and_what_is_durable_is_told() {
        for durable in [false, true] {
            let (answer, asked) = oneshot::channel();
            let claim = Claim::default();
            assert!(claim.begin());
            let waiting = Waiting::new(asked, claim.clone());
            let ledger = async {
                tokio::time::sleep(Duration::from_secs(9)).await;
                match durable {
                    true => answer.send(7).unwrap(),
                    false => claim.rolled_back(),
                }
            };
            let told = waiting.within(Duration::from_secs(2), async { true });
            let (told, ()) = tokio::join!(told, ledger);
            assert_eq!(told, durable.then_some(7));
            assert_eq!(claim.begin(), durable, "given up: never written");
        }
    }
}
