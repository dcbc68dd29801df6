//! `ringback ledger`: how the ledger stands and what is in it, also beside a running gateway; its tables' version; and what
//! it has sealed for the dead letters.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::configured::{BAD_CONFIGURATION, ConfigArgs};
use crate::{
    config::settings::LedgerSettings,
    ledger::{
        Content, Migrated, OpenError,
        check::{self, Depth, LedgerStatus, MarkStatus},
        database,
    },
};

mod letters;
mod of_database;

/// What the verb takes.
#[derive(Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Whether the file is whole, whether anything is missing, whether a start would take it, what is in it and what that takes; of a database in PostgreSQL the latter two, and who has it. Exit status 1 if it is damaged, something is missing, or a start would refuse it.
    Check(LookArgs),
    /// What is in it, in numbers, and its tables' version: like check, without reading the whole file for damage.
    Status(LookArgs),
    /// Brings its tables to the version of this program, as a start does. Of a file no gateway may run; of PostgreSQL one may.
    Migrate(ConfigArgs),
    /// Opens dead letters: their records, one JSON object a line, each with the body that was sealed. Exit status 1 if one of them can't be opened.
    Letters(letters::LettersArgs),
}

#[derive(Args)]
struct LookArgs {
    /// The answer as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// 0 when all is well, 1 with damage or a loss or where a start would refuse it, 2 where there is nothing to look at.
pub fn run(args: &LedgerArgs) -> ExitCode {
    let done = match &args.verb {
        Verb::Check(args) => look(args, Depth::Whole),
        Verb::Status(args) => look(args, Depth::Counts),
        Verb::Migrate(config) => migrate(config),
        Verb::Letters(args) => return letters::run(args),
    };
    done.unwrap_or_else(|code| code)
}

fn look(args: &LookArgs, depth: Depth) -> Result<ExitCode, ExitCode> {
    let config = args.config.load()?;
    let settings = &config.settings.ledger;
    let found = match settings.database() {
        None => check::check(settings, depth).map(|standing| Answer {
            lines: lines(settings, &standing, depth),
            object: object(settings, &standing, depth),
            is_well: standing.well(),
        }),
        Some(url) => url.map_err(OpenError::from).and_then(|url| {
            let standing = database::check(settings, &url)?;
            Ok(Answer {
                lines: of_database::lines(settings, &standing),
                object: of_database::object(settings, &standing),
                is_well: standing.well(),
            })
        }),
    };
    Ok(found.map_err(refused)?.write(args.json))
}

fn migrate(config: &ConfigArgs) -> Result<ExitCode, ExitCode> {
    let config = config.load()?;
    let settings = &config.settings.ledger;
    let migrated = match settings.database() {
        None => check::migrate(settings),
        Some(url) => {
            let url = url.map_err(OpenError::from);
            url.and_then(|url| database::migrate(settings, &url))
        }
    };
    let Migrated { found, newest } = migrated.map_err(refused)?;
    let name = settings.name().display();
    match found {
        0 => println!("{name}: tables of version {newest} are made"),
        found if found == newest => println!("{name}: its tables are of version {newest} already"),
        found => println!("{name}: tables of version {found} are of version {newest} now"),
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(error: OpenError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(BAD_CONFIGURATION)
}

/// What is written of it, for people and for programs.
struct Answer {
    lines: Vec<Finding>,
    object: Value,
    is_well: bool,
}

/// What it is about, and how that stands.
type Finding = (&'static str, String);

impl Answer {
    fn write(&self, is_json: bool) -> ExitCode {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = match is_json {
            true => writeln!(out, "{}", self.object),
            false => {
                let mut lines = self.lines.iter();
                lines.try_for_each(|(what, how)| writeln!(out, "{what:<11}{how}"))
            }
        };
        match written.and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ if self.is_well => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

fn lines(settings: &LedgerSettings, standing: &LedgerStatus, depth: Depth) -> Vec<Finding> {
    let mut lines = vec![(
        "file",
        format!(
            "{}: {} octets, {} more in its WAL; tables of version {}, this program makes {}",
            settings.path().display(),
            standing.octets,
            standing.wal_octets,
            standing.version,
            standing.newest_version
        ),
    )];
    match standing.faults.as_slice() {
        [] if standing.octets > 0 && depth == Depth::Whole => {
            lines.push(("integrity", "ok".to_owned()))
        }
        [] => {}
        faults => lines.extend(faults.iter().map(|fault| ("integrity", fault.clone()))),
    }
    lines.push(mark_line(&standing.mark));
    if let Some(refusal) = &standing.refusal {
        lines.push(("start", format!("would be refused: {refusal}")));
    }
    lines.extend(standing.content.iter().flat_map(content_lines));
    lines
}

fn content_lines(content: &Content) -> Vec<Finding> {
    let mut lines = Vec::new();
    lines.push((
        "challenges",
        format!(
            "{}: {} open, {} wiped",
            content.challenges, content.open, content.wiped
        ),
    ));
    lines.push((
        "reports",
        format!(
            "{} wait for the broker, {} are kept to be asked for",
            content.waiting, content.kept
        ),
    ));
    lines.push((
        "inbox",
        format!("{} messages of carriers wait", content.inbox),
    ));
    lines.push((
        "outcomes",
        format!("{} of challenges beyond retention", content.outcomes),
    ));
    let per = [
        (content.octets_per_challenge(), "challenge"),
        (content.octets_per_outcome(), "outcome"),
    ];
    for (octets, what) in per {
        if let Some(octets) = octets {
            lines.push(("octets", format!("{octets} per {what}, indexes included")));
        }
    }
    let tables = content.tables.iter().filter(|(_, octets)| *octets > 0);
    lines.extend(tables.map(|(name, octets)| ("", format!("{octets:>12} {name}"))));
    lines
}

fn mark_line(mark: &MarkStatus) -> Finding {
    (
        match mark {
            MarkStatus::Missing(_) => "loss",
            MarkStatus::None | MarkStatus::Unreadable(_) | MarkStatus::Whole(_) => "mark",
        },
        match mark {
            MarkStatus::None => {
                "there is none: whether anything is missing can't be told".to_owned()
            }
            MarkStatus::Unreadable(reason) => format!("can't be compared: {reason}"),
            MarkStatus::Whole(at) => {
                format!("of {}: nothing of what it knows is missing", at.rfc3339())
            }
            MarkStatus::Missing(missing) => missing.to_string(),
        },
    )
}

fn object(settings: &LedgerSettings, standing: &LedgerStatus, depth: Depth) -> Value {
    let mark = match &standing.mark {
        MarkStatus::None => json!(null),
        MarkStatus::Unreadable(reason) => json!({ "unreadable": reason }),
        MarkStatus::Whole(at) => json!({ "at": at.rfc3339() }),
        MarkStatus::Missing(missing) => json!({ "missing": missing.to_string() }),
    };
    let content = standing.content.as_ref().map(content_object);
    json!({
        "file": settings.path().display().to_string(),
        "octets": standing.octets,
        "wal_octets": standing.wal_octets,
        "version": standing.version,
        "newest_version": standing.newest_version,
        "integrity": (depth == Depth::Whole || !standing.faults.is_empty()).then_some(&standing.faults),
        "mark": mark,
        "start_refused": standing.refusal,
        "content": content,
        "well": standing.well(),
    })
}

fn content_object(content: &Content) -> Value {
    json!({
        "challenges": content.challenges,
        "open": content.open,
        "wiped": content.wiped,
        "reports_waiting": content.waiting,
        "reports_kept": content.kept,
        "inbox": content.inbox,
        "outcomes": content.outcomes,
        "octets_per_outcome": content.octets_per_outcome(),
        "octets_per_challenge": content.octets_per_challenge(),
        "octets": content.tables.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    })
}
