//! Reload: reads all files again, whole or not at all, and says what another set changes. What is read is in force
//! only once somebody says so ([`Reloader::in_force`]): the carriers' drivers may still refuse it.
//!
//! What looks like a mistake is held back: a file that has been emptied, a set without any route.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use super::{
    Config, Fault, Weight,
    changes::{Change, Sheets},
    named::waits_for_a_connection,
    reach::Losses,
    values::SECRET_WARNING,
    watch::{self, Look, Places},
};
use crate::{challenge::Channel, number::Country, routing::Table};

/// Holds what is in force. The old set stays in force as long as the new one has faults.
#[derive(Debug)]
pub struct Reloader {
    config: Config,
    /// The faults last said, so that a faulty set is reported once.
    said: Vec<Fault>,
    /// How the files looked when they were last read.
    looked: Look,
}

/// What a reading came to.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// Good, and another than what is in force.
    New(Box<New>),
    /// The files say what is in force already, as far as it can be without a restart.
    Unchanged { restart_needed: Vec<&'static str> },
    /// The old set stays. `again`: the very same faults were said before.
    Faulty { faults: Vec<Fault>, again: bool },
}

/// Another set.
#[derive(Debug)]
pub struct New {
    pub config: Config,
    pub diff: Diff,
    /// Key by key.
    pub changes: Vec<Change>,
    /// Keys of `ringback.toml` whose new value waits for a restart.
    pub restart_needed: Vec<&'static str>,
    /// Keys behind which another secret stands, that the broker is sent with its next connection.
    pub at_next_connection: Vec<&'static str>,
    /// Routes that are gone.
    pub gone: Vec<Gone>,
    /// Countries without any sender and languages without recordings, that had some.
    pub losses: Losses,
}

/// A file of routes that is no longer there, or says nothing about a channel any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// `us.sms`, `default.voice`.
    pub route: String,
    /// The default route serves it now; else its challenges are rejected.
    pub by_default: bool,
}

/// Carriers by what a reload does to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Nothing of them is touched.
    pub unchanged: BTreeSet<Arc<str>>,
    /// File or secrets.
    pub changed: BTreeSet<Arc<str>>,
    pub added: BTreeSet<Arc<str>>,
    pub removed: BTreeSet<Arc<str>>,
}

impl Reloader {
    pub fn new(config: &Config) -> Reloader {
        Reloader {
            config: config.clone(),
            said: Vec::new(),
            looked: Look::default(),
        }
    }

    /// Reads the files. Blocking: for a thread that may wait for a disk. `allow_empty`: files that have been emptied
    /// and a set without routes are meant so.
    pub fn read(&mut self, allow_empty: bool) -> ReloadOutcome {
        self.looked = watch::look(&Places::of(&self.config));
        let read = Config::load_again(&self.config);
        let read = read.and_then(|(fresh, restart_needed)| {
            let mut held = lost_secrets(&self.config, &fresh);
            if !allow_empty {
                held.extend(held_back(&self.config, &fresh));
            }
            match held.is_empty() {
                true => Ok((fresh, restart_needed)),
                false => Err(held),
            }
        });
        let (config, restart_needed) = match read {
            Ok(read) => read,
            Err(faults) => {
                let again = faults == self.said;
                self.said.clone_from(&faults);
                return ReloadOutcome::Faulty { faults, again };
            }
        };
        self.said.clear();
        let diff = Diff::between(&self.config, &config);
        let rotated = self.config.named.changed(&config.named);
        let same = diff.is_empty()
            && rotated.is_empty()
            && self.config.table == config.table
            && self.config.settings == config.settings
            && self.config.recordings == config.recordings;
        if same {
            return ReloadOutcome::Unchanged { restart_needed };
        }
        ReloadOutcome::New(Box::new(New {
            changes: changes(&self.config, &config, &diff, &rotated),
            at_next_connection: rotated
                .into_iter()
                .filter(|key| waits_for_a_connection(key))
                .collect(),
            diff,
            restart_needed,
            gone: gone(&self.config.table, &config.table),
            losses: Losses::between(&self.config, &config),
            config,
        }))
    }

    /// Do the files look as when they were last read? Blocking.
    pub fn unmoved(&self) -> bool {
        self.looked == watch::look(&Places::of(&self.config))
    }

    /// This set is in force from now on.
    pub fn in_force(&mut self, config: &Config) {
        self.config = config.clone();
    }

    /// What is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// What has changed: in the files, and behind the secrets that they name.
fn changes(old: &Config, new: &Config, diff: &Diff, rotated: &[&'static str]) -> Vec<Change> {
    let mut changes = old.sheets.changes(&new.sheets);
    let settings = Arc::new(new.file.clone());
    let hidden = |key: &&str| Change::hidden(settings.clone(), key);
    changes.extend(rotated.iter().map(hidden));
    let behind = |name: &&Arc<str>| old.secrets.get(*name) != new.secrets.get(*name);
    for name in diff.changed.iter().filter(behind) {
        let file = new.settings.paths.carriers.join(format!("{name}.toml"));
        changes.push(Change::hidden(Arc::new(file), "secrets and certificates"));
    }
    if old.recordings != new.recordings {
        let folder = Arc::new(new.settings.paths.prompts.clone());
        changes.push(Change::hidden(folder, "recordings"));
    }
    changes
}

/// Secrets of `ringback.toml` that could be read until now: what is in force would be worse off without them. Those that
/// nothing starts without (tokens, the ledger's keys) are faults of the file already.
fn lost_secrets(old: &Config, new: &Config) -> Vec<Fault> {
    let lost = new.named.lost(&old.named).into_iter();
    let one = |(key, reason): (&str, &String)| {
        // The warning of the file's reader knows the line.
        let begins = |w: &&Fault| w.reason.strip_suffix(SECRET_WARNING) == Some(reason);
        let warned = new.warnings.iter().find(begins);
        Fault {
            file: Arc::new(new.file.clone()),
            line: warned.map_or(1, |w| w.line),
            key: key.to_owned(),
            reason: reason.clone(),
            weight: Weight::Fault,
        }
    };
    lost.flat_map(|(key, reasons)| reasons.iter().map(move |reason| (key, reason)))
        .map(one)
        .collect()
}

/// What looks like a mistake (an editor that truncates, a copy in place), as faults: the old set serves on.
fn held_back(old: &Config, new: &Config) -> Vec<Fault> {
    const HOW: &str = "the old set stays in force; if it is meant so, reload with POST /admin/reload?allow_empty=true";
    let emptied = new.sheets.emptied(&old.sheets).into_iter();
    let mut held: Vec<Fault> = emptied.map(|file| is_empty(file, HOW)).collect();
    if old.sheets.has(&old.file) && !new.sheets.has(&new.file) {
        let reason = format!("is gone; {HOW}");
        held.push(fault(Arc::new(old.file.clone()), reason));
    }
    if !old.table.lines().is_empty() && new.table.lines().is_empty() {
        let folder = Arc::new(new.settings.paths.routes.clone());
        held.push(fault(
            folder,
            format!("there is no route left in it; {HOW}"),
        ));
    }
    held
}

/// The same for a set that nothing came before.
pub(super) fn emptied(config: &Config) -> Vec<Fault> {
    const HOW: &str = "if it is meant so, say --allow-empty";
    let emptied = config.sheets.emptied(&Sheets::default()).into_iter();
    let mut found: Vec<Fault> = emptied.map(|file| is_empty(file, HOW)).collect();
    if config.table.lines().is_empty() {
        let folder = Arc::new(config.settings.paths.routes.clone());
        let reason = format!(
            "there is no route in it, and every challenge would be rejected with no_route: write one, such as default.toml with [[sms]]; {HOW}"
        );
        found.push(fault(folder, reason));
    }
    found
}

fn is_empty(file: Arc<PathBuf>, how: &str) -> Fault {
    fault(file, format!("is empty; {how}"))
}

fn fault(file: Arc<PathBuf>, reason: String) -> Fault {
    Fault {
        file,
        line: 1,
        key: "file".to_owned(),
        reason,
        weight: Weight::Fault,
    }
}

/// Routes of the old table that the new one has not.
fn gone(old: &Table, new: &Table) -> Vec<Gone> {
    let (before, after) = (old.routed(), new.routed());
    let gone = before.difference(&after).map(|route| {
        let (file, channel) = route.split_once('.').unwrap_or((route, ""));
        let channel = match channel == Channel::Voice.name() {
            true => Channel::Voice,
            false => Channel::Sms,
        };
        Gone {
            route: (*route).to_owned(),
            by_default: Country::parse(file)
                .is_some_and(|country| !new.route(country, channel).1.is_empty()),
        }
    });
    gone.collect()
}

impl Diff {
    /// What leads from one set to another. A carrier counts as there if it needs a driver: enabled, in a route or not.
    pub fn between(old: &Config, new: &Config) -> Diff {
        let mut diff = Diff::default();
        let live = |config: &Config| -> BTreeSet<Arc<str>> {
            let enabled = config.carriers.values().filter(|c| c.enabled);
            enabled.map(|c| c.name.clone()).collect()
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
