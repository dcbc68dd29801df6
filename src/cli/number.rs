//! `ringback number`: what the gateway makes of a number. Shows the number whole: the person who asks has
//! just typed it.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{input, values::region};
use crate::number::{self, Analysis, NumberPolicy, Reach};

/// What the verb takes.
#[derive(Args)]
pub struct NumberArgs {
    /// Numbers in any writing; `-` reads lines from standard input (a line that is a JSON string is read as one).
    #[arg(required = true)]
    input: Vec<String>,
    /// Country for national numbers: two letters.
    #[arg(long, value_name = "CC", value_parser = region)]
    region: Option<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    input: &'a str,
    ok: bool,
    error: Option<&'static str>,
    e164: Option<&'a str>,
    country: Option<String>,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    valid: bool,
    possible: bool,
    extension: Option<&'a str>,
    refused: Option<&'static str>,
    refused_detail: Option<&'static str>,
    refused_for_text: Option<&'static str>,
}

/// Prints a line per input. 0, also for numbers that are none: saying so is the answer.
pub fn run(args: &NumberArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut faults = false;
    let outcome = input::for_each(&args.input, |line| {
        // What is not UTF-8 is no number either; it is shown as far as it can be.
        let text = line.unwrap_or_else(|fault| {
            faults = true;
            eprintln!("ringback number: {fault}");
            String::new()
        });
        let found = number::analyse(&text, args.region.as_deref());
        if args.json {
            serde_json::to_writer(&mut out, &row(&text, &found))?;
            out.write_all(b"\n")
        } else {
            writeln!(out, "{}", sentence(&text, &found))
        }
    });
    let outcome = outcome.and_then(|()| out.flush());
    input::finish(outcome, faults)
}

fn row<'a>(text: &'a str, found: &'a Analysis) -> Row<'a> {
    let for_text = found.refused_for(Reach::Text, &NumberPolicy::default());
    Row {
        input: text,
        ok: found.ok(),
        error: found.error.map(|e| e.as_str()),
        e164: found.e164.as_deref(),
        country: found.country.map(|c| c.to_string()),
        kind: found.kind.map(|k| k.as_str()),
        valid: found.valid,
        possible: found.possible,
        extension: found.extension.as_deref(),
        refused: found.refused.map(|r| r.reason.as_str()),
        refused_detail: found.refused.map(|r| r.detail.as_str()),
        refused_for_text: for_text.map(|r| r.reason.as_str()),
    }
}

fn sentence(text: &str, found: &Analysis) -> String {
    let shown: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if let Some(error) = found.error {
        let refused = found
            .refused
            .map_or(String::new(), |r| format!(", refused: {r}"));
        return format!("{shown}: no number: {error}{refused}");
    }
    let e164 = found.e164.as_deref().unwrap_or("");
    let country = found
        .country
        .map_or("no country".to_owned(), |c| c.to_string());
    let kind = found.kind.map_or("unknown", |k| k.as_str());
    let valid = match (found.valid, found.possible) {
        (true, _) => "valid",
        (false, true) => "possible, not valid",
        (false, false) => "not possible",
    };
    let extension = found
        .extension
        .as_ref()
        .map_or(String::new(), |e| format!(", extension {e}"));
    let refused = match (
        found.refused,
        found.refused_for(Reach::Text, &NumberPolicy::default()),
    ) {
        (Some(refusal), _) => format!(", refused: {refusal}"),
        (None, Some(refusal)) => format!(", texts refused: {refusal}"),
        (None, None) => String::new(),
    };
    format!("{shown}: {e164} {country} {kind}, {valid}{extension}{refused}")
}
