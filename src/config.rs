//! Configuration: `ringback.toml`, `routes/`, `carriers/` as checked types. A file is parsed once, here, into types
//! that can't be wrong; every fault is found at once, with file, line and key.
//!
//! [`Config::load`] reads all; a [`Reloader`] reads it again while the gateway runs, whole or not at all. [`watch`]
//! says when to. Secrets are named here and read where they are needed; that one is not
//! set is a warning, as it may come later, except where nothing could start without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;

pub mod account;
pub mod carrier;
pub mod changes;
pub mod fault;
mod load;
mod named;
pub mod reach;
pub mod reference;
pub mod reload;
mod routes_file;
pub mod secret;
pub mod settings;
mod source;
pub mod values;
pub mod watch;

pub use carrier::CarrierConfig;
pub use changes::Change;
pub use fault::{Fault, Weight};
pub use reload::{Diff, ReloadOutcome, Reloader};
pub use settings::Settings;

use crate::routing::{Sender, Table};
use changes::Sheets;

/// The file that is read where the command line names none. It may be absent: then all defaults hold.
pub const DEFAULT_FILE: &str = "ringback.toml";

/// Everything that the operator has written.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was asked for, there or not.
    pub file: PathBuf,
    pub settings: Arc<Settings>,
    pub carriers: Carriers,
    /// Compiled routes, with their senders.
    pub table: Arc<Table>,
    /// What hinders nothing, but will perhaps not do what its author thinks.
    pub warnings: Vec<Fault>,
    pub(crate) secrets: Secrets,
    /// The same for what `ringback.toml` names.
    pub(crate) named: Arc<named::Named>,
    /// The files as they stand, key by key.
    pub(crate) sheets: Arc<Sheets>,
    /// How the recordings look from outside.
    pub(crate) recordings: Arc<watch::Look>,
}

/// The settings as they are in force now, for what looks at them again and again.
pub type LiveSettings = Arc<ArcSwap<Settings>>;
/// By name; all files of the folder, used by a route or not.
pub type Carriers = Arc<BTreeMap<Arc<str>, Arc<CarrierConfig>>>;
/// What the secrets of each carrier came to.
type Secrets = Arc<BTreeMap<Arc<str>, carrier::SecretsRead>>;

impl Config {
    /// Reads all files. Err has every fault that was found in any of them, in the order of files and lines.
    pub fn load(file: &Path) -> Result<Config, Vec<Fault>> {
        load::all(file)
    }

    /// Reads all files again, beside a gateway that runs with `in_force`. With the keys of `ringback.toml` whose new
    /// value waits for a restart; until then what is in force holds for them.
    pub fn load_again(in_force: &Config) -> Result<(Config, Vec<&'static str>), Vec<Fault>> {
        load::again(in_force)
    }

    /// Tells one set of routes and carriers from another, for other nodes.
    pub fn common(&self) -> String {
        self.sheets.common(&self.file)
    }

    /// What looks like a mistake where a gateway starts with it (an editor that truncated, a copy cut short), as faults:
    /// every challenge would be rejected.
    pub fn emptied(&self) -> Vec<Fault> {
        reload::emptied(self)
    }

    /// Languages that calls are spoken in, by the folders of the recordings.
    pub fn languages(&self) -> Vec<String> {
        reach::languages(&self.recordings).into_iter().collect()
    }

    /// Every file that holds a secret or a certificate, wherever it stands.
    pub(crate) fn secret_files(&self) -> BTreeSet<PathBuf> {
        let mut found = named::files(&self.settings);
        found.extend(self.carriers.values().flat_map(|c| c.secret_files()));
        found
    }

    pub fn senders(&self) -> &[Sender] {
        self.table.senders()
    }

    /// The carriers that some route names and that are not drained: those that need a driver.
    pub fn used(&self) -> BTreeSet<Arc<str>> {
        let lines = self.table.lines().iter().filter(|line| line.terms.enabled);
        lines
            .filter_map(|line| self.table.carrier_arc(line.carrier).cloned())
            .collect()
    }
}
