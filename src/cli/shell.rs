//! `ringback completions SHELL` and `ringback man FOLDER`: made from the command line itself, so that they can't be behind it.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, print};

/// What the verb takes.
#[derive(Args)]
pub struct CompletionsArgs {
    /// For which shell; the script goes to standard output.
    shell: Shell,
}

/// What the verb takes.
#[derive(Args)]
pub struct ManArgs {
    /// Where the pages go: `ringback.1` and one for each verb.
    folder: PathBuf,
}

pub fn completions(args: &CompletionsArgs) -> ExitCode {
    // Into memory first: a reader that goes away early is no fault.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringback", &mut script);
    print(&script)
}

pub fn man(args: &ManArgs) -> ExitCode {
    let written = fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", args.folder.display());
            ExitCode::FAILURE
        }
    }
}
