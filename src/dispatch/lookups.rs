//! The core's questions to the ledger, one round at a time.

use tokio::task::JoinSet;

use crate::{
    core::{Found, LookUp},
    ledger::Ledger,
};

pub struct Lookups {
    ledger: Ledger,
    running: JoinSet<Vec<Found>>,
}

impl Lookups {
    pub fn new(ledger: Ledger) -> Lookups {
        Lookups {
            ledger,
            running: JoinSet::new(),
        }
    }

    pub fn ask(&mut self, round: Vec<LookUp>) {
        let ledger = self.ledger.clone();
        self.running.spawn(async move {
            let mut all = Vec::with_capacity(round.len());
            for look_up in round {
                let LookUp { key, whose } = look_up;
                // What is missing in the answer is asked again.
                let found = ledger.whose(whose).await.ok();
                all.extend(found.map(|candidates| Found { key, candidates }));
            }
            all
        });
    }

    /// The round that is done. Waits for ever while none is under way.
    pub async fn next(&mut self) -> Option<Vec<Found>> {
        match self.running.join_next().await {
            Some(Ok(found)) => Some(found),
            // A fault of ours: what it was asked is asked again.
            Some(Err(_)) => Some(Vec::new()),
            None => std::future::pending().await,
        }
    }
}
