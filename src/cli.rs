//! The command line: one file per verb.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

pub mod check;
mod client;
pub mod configured;
pub mod explain;
mod input;
pub mod ledger;
pub mod number;
pub mod operator;
pub mod receipt;
pub mod run;
pub mod schema;
pub mod send;
pub mod shell;
pub mod simulate;
pub mod text;
mod values;

/// MFA telephony gateway: challenges in, texts and calls out, one final report each.
#[derive(Parser)]
#[command(name = "ringback", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What a person can ask for.
#[derive(Subcommand)]
pub enum Verb {
    /// The gateway, until SIGTERM; SIGHUP reads routes and carriers again.
    Run(run::RunArgs),
    /// One challenge to a running gateway, and its reports as they come.
    Send(Box<send::SendArgs>),
    /// Every fault of the configuration at once, one line each.
    Check(check::CheckArgs),
    /// The plan for a number now: carriers and senders in order, and why. Exit status 0 for a refusal of the number, too;
    /// 1 where a gateway runs and refuses the admin token that the configuration names.
    Explain(explain::ExplainArgs),
    /// Takes a carrier out of use in the running gateway, for a while or until it is resumed; a restart keeps it so.
    Suspend(operator::SuspendArgs),
    /// Takes back a `suspend`.
    Resume(operator::ResumeArgs),
    /// Ends an open challenge: a call is hung up, nothing further is tried.
    Cancel(operator::ChallengeArgs),
    /// One challenge end to end: choices with their reasons, attempts, the carrier's codes, reports; masked.
    Trace(operator::ChallengeArgs),
    /// The gateways that have this one's ledger: which live, what they have open, whether they go by the same files.
    Nodes(operator::NodesArgs),
    /// The ledger's file: how it stands.
    Ledger(ledger::LedgerArgs),
    /// The whole gateway with simulated carriers and phones, on this machine alone.
    Simulate(simulate::SimulateArgs),
    /// What the gateway makes of a phone number.
    Number(number::NumberArgs),
    /// How a text goes on the air: encoding and segments.
    Text(text::TextArgs),
    /// What a carrier's delivery receipt says.
    Receipt(receipt::ReceiptArgs),
    /// The JSON Schema of a file of the configuration or of a job, or the OpenAPI or AsyncAPI document.
    Schema(schema::SchemaArgs),
    /// The completions of a shell, to standard output.
    Completions(shell::CompletionsArgs),
    /// The manual pages, into a folder.
    Man(shell::ManArgs),
}

/// Reads the command line and does what it says. Usage faults end with exit code 2 (clap's own).
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // One provider for all TLS, before anybody needs it. Refused only where there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Send(args) => send::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Suspend(args) => operator::suspend(&args),
        Verb::Resume(args) => operator::resume(&args),
        Verb::Cancel(args) => operator::cancel(&args),
        Verb::Trace(args) => operator::trace(&args),
        Verb::Nodes(args) => operator::nodes(&args),
        Verb::Ledger(args) => ledger::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Number(args) => number::run(&args),
        Verb::Text(args) => text::run(&args),
        Verb::Receipt(args) => receipt::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Completions(args) => shell::completions(&args),
        Verb::Man(args) => shell::man(&args),
    }
}

/// To standard output, as a whole. A reader that goes away early is no fault.
fn print(octets: &[u8]) -> ExitCode {
    match io::stdout().write_all(octets) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
