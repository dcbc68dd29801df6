//! The rehearsal: the gateway's core in invented time, in one thread, with everything around it going wrong on purpose.
//!
//! Real are the [`core`](crate::core) with delivery, routing and admission, the parsing of jobs, the ledger's engine over a
//! store in memory that loses what was not committed, the SMPP carriers' machines, which speak octets through a network
//! in memory (`wire`) to the simulated message centre (`smpp`), the HTTP carriers' machine, the writing of their requests and
//! the reading of their answers and callbacks (`http`), the trunks' machines, which speak SIP through another network
//! (`calls::network`) to the simulated exchange, and the publisher's, which brings reports to a broker in memory
//! (`report_broker`). Played are the broker, the servers that ask (`callers`) and those that read reports
//! (`world::consumers`), HTTP's own framing and connections, what becomes of texts (`texts`), the people at the phones, and
//! the disk. A seed decides everything: the same seed gives the same trace, and its hash, on any machine.
//!
//! `world` owns all of it and takes one event after the other. After each step and at the end `world::checks` holds what
//! happened against the promise: every acked job ends in exactly one final, nothing is sent without an intent that is
//! durable or after the deadline, nothing is called delivered that no phone has, nothing that a carrier was answered for is
//! lost, no call is left up, no more is taken than the limits allow.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use crate::{
    config::{Config, Fault},
    message::speech::{Catalogue, PromptFault},
};

pub use crate::ledger::in_memory::MemoryKind;

mod callers;
mod calls;
mod carriers;
mod dice;
mod event;
mod http;
mod limits;
mod notices;
mod profile;
mod publisher;
mod report_broker;
mod smpp;
mod stage;
mod steps;
mod texts;
mod trace;
mod wire;
mod world;

pub use profile::Profile;

/// One rehearsal.
#[derive(Clone)]
pub struct Rehearsal {
    pub config: Arc<Config>,
    pub profile: Profile,
    pub challenges: usize,
    /// What the ledger is held in.
    pub store: MemoryKind,
    /// What calls say.
    pub voices: Arc<Catalogue>,
}

/// What a run that kept the promise has seen.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Of all that happened, in order.
    pub hash: u64,
    pub lived: Duration,
    /// What was done to it, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// How the challenges ended, and other states that were reached.
    pub reached: BTreeMap<&'static str, u64>,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    pub seed: u64,
    /// When, since the beginning.
    pub at: Duration,
    pub what: String,
    /// The last events before it, oldest first.
    pub last: Vec<String>,
}

impl Rehearsal {
    /// The configuration of rehearsals, from this folder.
    pub fn config(folder: &Path) -> Result<Arc<Config>, Vec<Fault>> {
        Config::load(&folder.join("ringback.toml")).map(Arc::new)
    }

    /// The recordings that it names.
    pub fn voices(config: &Config) -> Result<Arc<Catalogue>, Vec<PromptFault>> {
        Catalogue::load(&config.settings.paths.prompts).map(Arc::new)
    }

    /// Runs one seed. `trace`: each event is given to it as it happens.
    pub fn run(
        &self,
        seed: u64,
        trace: Option<&mut dyn FnMut(&str)>,
    ) -> Result<Summary, Box<Violation>> {
        let rehearsal = self.limited(seed);
        world::World::new(&rehearsal, seed, trace).run()
    }
}

impl Summary {
    pub fn add(&mut self, other: &Summary) {
        self.lived += other.lived;
        for (all, more) in [
            (&mut self.faults, &other.faults),
            (&mut self.reached, &other.reached),
        ] {
            for (name, count) in more {
                *all.entry(name).or_default() += count;
            }
        }
    }
}
