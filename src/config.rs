//! Configuration: `ringback.toml`, `routes/`, `carriers/` as checked types. A file is parsed once, here, into types
//! that can't be wrong; every fault is found at once, with file, line and key.
//!
//! [`Config::load`] reads all; [`Config::load_routes_and_carriers`] the half that changes while the gateway runs,
//! whole or not at all. [`watch`] says when to. Secrets are named here and read where they are needed; that one is not
//! set is a warning, as it may come later, except where nothing could start without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

pub mod carrier;
mod carrier_file;
mod carrier_http;
mod carrier_sip;
pub mod fault;
mod load;
pub mod reload;
mod routes_file;
pub mod settings;
mod settings_file;
mod source;
mod table;
pub mod values;
pub mod watch;

pub use carrier::CarrierConfig;
pub use fault::{Fault, Weight};
pub use reload::{Diff, Outcome, Reloader};
pub use settings::Settings;

use crate::routing::{Sender, Table};

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
}

/// By name; all files of the folder, used by a route or not.
pub type Carriers = Arc<BTreeMap<Arc<str>, Arc<CarrierConfig>>>;
/// Digest of the values of a carrier's secrets, to see that one was changed.
type Secrets = Arc<BTreeMap<Arc<str>, [u8; 32]>>;

/// The half of the configuration that changes while the gateway runs.
#[derive(Clone, Debug)]
pub struct Routes {
    pub carriers: Carriers,
    pub table: Arc<Table>,
    pub warnings: Vec<Fault>,
    pub(crate) secrets: Secrets,
}

impl Config {
    /// Reads all files. Err has every fault that was found in any of them, in the order of files and lines.
    pub fn load(file: &Path) -> Result<Config, Vec<Fault>> {
        load::all(file)
    }

    /// Reads `routes/` and `carriers/` again.
    pub fn load_routes_and_carriers(settings: &Settings) -> Result<Routes, Vec<Fault>> {
        load::routes_and_carriers(settings)
    }

    pub fn senders(&self) -> &[Sender] {
        self.table.senders()
    }

    pub fn routes(&self) -> Routes {
        Routes {
            carriers: self.carriers.clone(),
            table: self.table.clone(),
            warnings: self.warnings.clone(),
            secrets: self.secrets.clone(),
        }
    }
}

impl Routes {
    /// The carriers that some route names and that are not drained: those that need a driver.
    pub fn used(&self) -> BTreeSet<Arc<str>> {
        let lines = self.table.lines().iter().filter(|line| line.enabled);
        lines
            .filter_map(|line| self.table.carrier_arc(line.carrier).cloned())
            .collect()
    }
}
