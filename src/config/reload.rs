//! Reload: reads routes and carriers again, whole or not at all, and says which carriers are concerned.

use std::{collections::BTreeSet, sync::Arc};

use super::{Config, Fault, Routes, Settings};

/// Holds what is in force. The old set stays in force as long as the new one has faults.
#[derive(Debug)]
pub struct Reloader {
    settings: Arc<Settings>,
    routes: Routes,
    /// The faults last said, so that a faulty set is reported once.
    said: Vec<Fault>,
}

/// What a reload came to.
#[derive(Debug)]
pub enum Outcome {
    /// In force from now on.
    New { routes: Routes, diff: Diff },
    /// The files say what is in force already.
    Unchanged,
    /// The old set stays. `again`: the very same faults were said before.
    Faulty { faults: Vec<Fault>, again: bool },
}

/// Carriers by what a reload does to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Their sessions are not touched.
    pub unchanged: BTreeSet<Arc<str>>,
    /// File or secrets: their sessions start anew.
    pub changed: BTreeSet<Arc<str>>,
    pub added: BTreeSet<Arc<str>>,
    pub removed: BTreeSet<Arc<str>>,
}

impl Reloader {
    pub fn new(config: &Config) -> Reloader {
        Reloader {
            settings: config.settings.clone(),
            routes: config.routes(),
            said: Vec::new(),
        }
    }

    /// Reads the files. Blocking: for a thread that may wait for a disk.
    pub fn reload(&mut self) -> Outcome {
        let fresh = match Config::load_routes_and_carriers(&self.settings) {
            Ok(fresh) => fresh,
            Err(faults) => {
                let again = faults == self.said;
                self.said.clone_from(&faults);
                return Outcome::Faulty { faults, again };
            }
        };
        self.said.clear();
        let diff = Diff::between(&self.routes, &fresh);
        if diff.is_empty() && self.routes.table == fresh.table {
            return Outcome::Unchanged;
        }
        self.routes = fresh.clone();
        Outcome::New {
            routes: fresh,
            diff,
        }
    }

    /// What is in force.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }
}

impl Diff {
    /// What leads from one set to another. A carrier counts as there if it needs a driver: enabled, in a route or not.
    pub fn between(old: &Routes, new: &Routes) -> Diff {
        let mut diff = Diff::default();
        let live = |routes: &Routes| -> BTreeSet<Arc<str>> {
            routes
                .carriers
                .values()
                .filter(|c| c.enabled)
                .map(|c| c.name.clone())
                .collect()
        };
        let (before, after) = (live(old), live(new));
        for name in before.union(&after) {
            let set = match (before.contains(name), after.contains(name)) {
                (true, false) => &mut diff.removed,
                (false, _) => &mut diff.added,
                (true, true) => {
                    let same = old.carriers.get(name) == new.carriers.get(name)
                        && old.secrets.get(name) == new.secrets.get(name);
                    if same {
                        &mut diff.unchanged
                    } else {
                        &mut diff.changed
                    }
                }
            };
            set.insert(name.clone());
        }
        diff
    }

    /// Does it concern no carrier?
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}
