//! `ringback schema`: the JSON Schemas of files and messages, made from the descriptions that read them.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::print;
use crate::{
    config::reference::File,
    intake::job::{JobKind, keys},
    schema::json_schema,
};

/// What the verb takes.
#[derive(Args)]
pub struct SchemaArgs {
    /// Of what; the schema goes to standard output.
    of: Subject,
}

/// What has a schema.
#[derive(Clone, Copy, ValueEnum)]
enum Subject {
    /// `ringback.toml`
    Config,
    /// A file of `carriers/`
    Carrier,
    /// A country's file of `routes/`
    Route,
    /// `routes/senders.toml`
    Senders,
    /// A challenge, by AMQP or HTTP
    Job,
    /// The end of a challenge, by AMQP
    Cancel,
    /// What the person entered, by AMQP
    Feedback,
}

pub fn run(args: &SchemaArgs) -> ExitCode {
    let schema = match args.of {
        Subject::Config => File::Settings.json_schema(),
        Subject::Carrier => File::Carrier.json_schema(),
        Subject::Route => File::Route.json_schema(),
        Subject::Senders => File::Senders.json_schema(),
        Subject::Job => json_schema("challenge", &keys(JobKind::Challenge)),
        Subject::Cancel => json_schema("cancel", &keys(JobKind::Cancel)),
        Subject::Feedback => json_schema("feedback", &keys(JobKind::Feedback)),
    };
    print(format!("{schema:#}\n").as_bytes())
}
