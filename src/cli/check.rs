//! `ringback check`: every fault of the configuration at once, one line each.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use clap::Args;

use super::configured::{BAD_CONFIGURATION, ConfigArgs};
use crate::{
    config::{Config, Fault, Settings, Weight},
    message::speech::Catalogue,
};

/// What the verb takes.
#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Warnings (a secret that is not set, a carrier that no route names) count as faults too.
    #[arg(long)]
    strict: bool,
    /// Files that have been emptied, and a set without any route, are meant so. Else they are faults, as for `run`.
    #[arg(long)]
    allow_empty: bool,
}

/// 0 when all is well, 2 with any fault.
pub fn run(args: &CheckArgs) -> ExitCode {
    let found = Config::load(&args.config.config);
    let mut said = match &found {
        Ok(config) => config.warnings.clone(),
        Err(faults) => faults.clone(),
    };
    if let (Ok(config), false) = (&found, args.allow_empty) {
        let emptied = config.emptied();
        // Said as a fault, it need not be a warning too.
        said.retain(|warning| emptied.iter().all(|fault| fault.file != warning.file));
        said.extend(emptied);
    }
    let prompts = match &found {
        Ok(config) => config.settings.paths.prompts.clone(),
        // With faulty settings the usual folder is looked at.
        Err(_) => {
            let base = args.config.config.parent().unwrap_or(Path::new(""));
            Settings::in_folder(base).paths.prompts
        }
    };
    // Without calls nothing is spoken; and with faulty settings the folder may stand where they say.
    let calls = found.as_ref().is_ok_and(|config| config.table.has_calls());
    if calls || prompts.is_dir() {
        said.extend(spoken(&prompts));
    }
    let faulty = said
        .iter()
        .any(|f| args.strict || f.weight == Weight::Fault);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = said.iter().try_for_each(|fault| writeln!(out, "{fault}"));
    let written = written.and_then(|()| match &found {
        Ok(config) if !faulty => writeln!(out, "{}", summary(config)),
        _ => Ok(()),
    });
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ if faulty => ExitCode::from(BAD_CONFIGURATION),
        _ => ExitCode::SUCCESS,
    }
}

/// Faults of the recordings, in the same words.
fn spoken(folder: &Path) -> Vec<Fault> {
    let Err(faults) = Catalogue::load(folder) else {
        return Vec::new();
    };
    let one = |fault: crate::message::speech::PromptFault| Fault {
        file: Arc::new(fault.place),
        line: 1,
        key: "file".to_owned(),
        reason: fault.what,
        weight: Weight::Fault,
    };
    faults.into_iter().map(one).collect()
}

fn summary(config: &Config) -> String {
    let languages = match config.table.has_calls() {
        true => format!("; calls are spoken in {}", config.languages().join(", ")),
        false => String::new(),
    };
    format!(
        "{}: good. {} carriers, {} senders, {} route lines{languages}",
        config.file.display(),
        config.carriers.len(),
        config.senders().len(),
        config.table.lines().len()
    )
}
