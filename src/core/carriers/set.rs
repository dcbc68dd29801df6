//! All carriers of a configuration, and how another set takes over.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::Running;
use crate::{
    carrier::{DriverId, Finish},
    clock::Mono,
    config::carrier::Transport,
    core::{
        CarrierUpdate,
        output::{Output, Outputs},
        share::Share,
    },
};

/// A driver of texts that no carrier in use has any more.
#[derive(Debug)]
pub struct Unused {
    pub carrier: Arc<str>,
    pub driver: DriverId,
}

/// All running carriers, by name.
#[derive(Debug)]
pub struct Carriers {
    all: Vec<Running>,
    names: HashMap<Arc<str>, usize>,
    share: Share,
}

impl Default for Carriers {
    fn default() -> Carriers {
        Carriers {
            all: Vec::new(),
            names: HashMap::new(),
            share: Share::WHOLE,
        }
    }
}

impl Carriers {
    pub fn get(&self, name: &str) -> Option<&Running> {
        self.names.get(name).map(|at| &self.all[*at])
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Running> {
        self.names.get(name).map(|at| &mut self.all[*at])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Running> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        self.all.iter_mut()
    }

    /// This node's part of what they all allow, from now on.
    pub fn share(&mut self, share: Share) {
        self.share = share;
        self.all.iter_mut().for_each(|running| running.share(share));
    }

    /// The carriers of another configuration take over; `names` are all that it uses. Drivers that have a successor of their
    /// name, and trunks, are told to finish; those of texts that nobody uses any more are given back: they may still have
    /// receipts to bring. A driver may have another name now, with its calls.
    pub fn take_over(
        &mut self,
        updates: Vec<CarrierUpdate>,
        names: &BTreeSet<Arc<str>>,
        now: Mono,
        out: &mut Outputs,
    ) -> Vec<Unused> {
        let (mut finish, mut unused) = (Vec::new(), Vec::new());
        for update in updates {
            let known = self.names.get(&update.config.name).copied();
            match known.filter(|at| self.all[*at].driver == update.driver) {
                Some(at) => self.all[at].become_by(update, now),
                None => finish.extend(self.put(known, Running::new(update, now))),
            }
        }
        self.share(self.share);
        for running in &mut self.all {
            if !names.contains(&running.config.name) && !running.leaving {
                running.leaving = true;
                match running.config.transport {
                    Transport::Sip(_) => finish.push(running.driver),
                    Transport::Smpp(_) | Transport::Http(_) => unused.push(Unused {
                        carrier: running.config.name.clone(),
                        driver: running.driver,
                    }),
                }
            }
        }
        unused.retain(|unused| !self.serves(unused.driver));
        for driver in finish.into_iter().filter(|driver| !self.serves(*driver)) {
            out.push(Output::Finish(driver, Finish::Drain));
        }
        unused
    }

    /// A driver has ended. True if a carrier has none any more by that.
    pub fn ended(&mut self, driver: DriverId) -> bool {
        let ended = self.all.iter_mut().map(|running| running.ended(driver));
        ended.fold(false, |any, own| any | own)
    }

    /// Gives the driver that had the name before.
    fn put(&mut self, known: Option<usize>, mut running: Running) -> Option<DriverId> {
        let Some(at) = known else {
            let name = running.config.name.clone();
            self.names.insert(name, self.all.len());
            self.all.push(running);
            return None;
        };
        let before = &mut self.all[at];
        running.holding = std::mem::take(&mut before.holding);
        running.before = std::mem::take(&mut before.before);
        // What was told to begin is told to end.
        std::mem::swap(&mut running.unmatched, &mut before.unmatched);
        running.log.take_over(&mut before.log);
        if !before.gone {
            running.before.push(before.driver);
        }
        let before = std::mem::replace(before, running);
        Some(before.driver)
    }

    /// Is it the driver of a carrier in use?
    fn serves(&self, driver: DriverId) -> bool {
        let mut used = self.all.iter().filter(|running| !running.leaving);
        used.any(|running| running.driver == driver)
    }
}
