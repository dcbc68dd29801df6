//! What verbs share that read the configuration: the option that names it, and the faults on paper.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::config::{Config, DEFAULT_FILE};

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// The configuration; routes/, carriers/ and prompts/ stand beside it unless it says otherwise.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
}

/// Exit code of bad usage or bad configuration.
pub const BAD_CONFIGURATION: u8 = 2;

impl ConfigArgs {
    /// Reads it. Every fault goes to standard error, one a line; then the exit code is 2.
    pub fn load(&self) -> Result<Config, ExitCode> {
        Config::load(&self.config).map_err(|faults| {
            for fault in &faults {
                eprintln!("{fault}");
            }
            ExitCode::from(BAD_CONFIGURATION)
        })
    }
}
