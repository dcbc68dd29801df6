//! `ringback ledger letters`: dead letters with their bodies opened, from files or off the broker's queue. What it prints is
//! as secret as the jobs were.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::{Map, Value};

use crate::{
    broker::{BrokerError, dead_letters::DeadLetterQueue},
    cli::configured::{BAD_CONFIGURATION, ConfigArgs},
    config::{Config, settings::Amqp},
    ledger::{LetterOpener, OpenError},
};

/// What the verb takes.
#[derive(Args)]
pub(super) struct LettersArgs {
    /// Files with records of dead letters as they stand in the queue, one JSON object after another; -: standard input.
    #[arg(value_name = "FILE", required_unless_present = "take")]
    files: Vec<PathBuf>,
    /// Takes so many off the broker's queue instead, the oldest first. Each leaves the queue once it has been written: keep what
    /// is printed.
    #[arg(long, value_name = "COUNT", conflicts_with = "files")]
    take: Option<u32>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Why the verb ends before its end.
#[derive(Debug, thiserror::Error)]
enum LettersError {
    #[error(transparent)]
    Ledger(#[from] OpenError),
    #[error("{}: {error}", .file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("{}: no record of a dead letter: {error}", .file.display())]
    NoRecord {
        file: PathBuf,
        error: serde_json::Error,
    },
    #[error("[jobs.amqp]: there is none in the configuration: no queue to take from; name a file")]
    NoBroker,
    #[error("the broker: {0}")]
    Broker(#[from] BrokerError),
    #[error("the letter is not acked and will be in the queue again: {0}")]
    Unwritten(io::Error),
    #[error("{0}")]
    System(io::Error),
}

pub(super) fn run(args: &LettersArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match letters(args, &config) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(unopened) => {
            eprintln!("{unopened} of them can't be opened; \"unopened\" says why");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// Gives how many could not be opened.
fn letters(args: &LettersArgs, config: &Config) -> Result<usize, LettersError> {
    let mut printer = LetterPrinter {
        opener: LetterOpener::of(&config.settings.ledger)?,
        unopened: 0,
    };
    match args.take {
        None => args.files.iter().try_for_each(|file| printer.file(file))?,
        Some(count) => {
            let amqp = config.settings.jobs.amqp.as_ref();
            let amqp = amqp.ok_or(LettersError::NoBroker)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(LettersError::System)?;
            let name = format!("{} letters", config.settings.node.name);
            runtime.block_on(printer.queue(amqp, &name, count))?;
        }
    }
    Ok(printer.unopened)
}

/// Opens and prints.
struct LetterPrinter {
    opener: LetterOpener,
    unopened: usize,
}

impl LetterPrinter {
    fn file(&mut self, file: &Path) -> Result<(), LettersError> {
        let read = match file == Path::new("-") {
            true => {
                let mut octets = Vec::new();
                io::stdin().read_to_end(&mut octets).map(|_| octets)
            }
            false => fs::read(file),
        };
        let file = || file.to_path_buf();
        let octets = read.map_err(|error| LettersError::File {
            file: file(),
            error,
        })?;
        for record in serde_json::Deserializer::from_slice(&octets).into_iter::<Map<_, _>>() {
            let record = record.map_err(|error| LettersError::NoRecord {
                file: file(),
                error,
            })?;
            let opened = self.opened(record);
            print(&opened).map_err(LettersError::System)?;
        }
        Ok(())
    }

    async fn queue(&mut self, amqp: &Amqp, name: &str, count: u32) -> Result<(), LettersError> {
        let queue = DeadLetterQueue::connect(amqp, name).await?;
        for _ in 0..count {
            let Some(letter) = queue.take().await? else {
                break;
            };
            let opened = match serde_json::from_slice::<Map<String, Value>>(&letter.body) {
                Ok(record) => self.opened(record),
                // Another program's message: shown as it is.
                Err(_) => {
                    self.unopened += 1;
                    let mut foreign = Map::new();
                    foreign.insert("unopened".into(), "no record of a dead letter".into());
                    foreign.insert("body_base64".into(), STANDARD.encode(&letter.body).into());
                    foreign
                }
            };
            print(&opened).map_err(LettersError::Unwritten)?;
            letter.ack().await?;
        }
        queue.close().await;
        Ok(())
    }

    /// The record with `body` (JSON), or `body_base64`, in the place of `sealed`; or with `unopened`, why not. One that has
    /// nothing sealed, a report's, stays as it is.
    fn opened(&mut self, mut record: Map<String, Value>) -> Map<String, Value> {
        let Some(sealed) = record.get("sealed").and_then(Value::as_str) else {
            return record;
        };
        let opened = match STANDARD.decode(sealed) {
            Ok(sealed) => self.opener.open(&sealed).map_err(|error| error.to_string()),
            Err(error) => Err(format!("sealed: {error}")),
        };
        match opened {
            Ok(body) => {
                record.remove("sealed");
                let (name, value) = match serde_json::from_slice::<Value>(&body) {
                    Ok(json) => ("body", json),
                    Err(_) => ("body_base64", STANDARD.encode(&body).into()),
                };
                record.insert(name.into(), value);
            }
            Err(why) => {
                self.unopened += 1;
                record.insert("unopened".into(), why.into());
            }
        }
        record
    }
}

/// Written for good when it returns, as far as a pipe can be.
fn print(record: &Map<String, Value>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, record)?;
    out.write_all(b"\n")?;
    out.flush()
}
