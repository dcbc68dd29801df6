//! `ringback schema`: the JSON Schemas of files and messages, made from the descriptions that read them, and the
//! documents of the HTTP API and of what goes through the broker.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::print;
use crate::{
    config::reference::File,
    contract,
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
    /// The HTTP API as an OpenAPI 3.1 document
    Openapi,
    /// What goes through RabbitMQ as an AsyncAPI 3.0 document
    Asyncapi,
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
        Subject::Openapi => contract::openapi(),
        Subject::Asyncapi => contract::asyncapi(),
    };
    print(format!("{schema:#}\n").as_bytes())
}
