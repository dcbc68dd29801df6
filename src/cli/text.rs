//! `ringback text`: how a text goes on the air. Shows its measure only.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::input;
use crate::message::text;

/// What the verb takes.
#[derive(Args)]
pub struct TextArgs {
    /// Texts; `-` reads lines from standard input (a line that is a JSON string is read as one).
    #[arg(required = true)]
    text: Vec<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    encoding: &'static str,
    units: usize,
    segments: usize,
    units_per_segment: Vec<usize>,
}

/// Prints a line per text.
pub fn run(args: &TextArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut faults = false;
    let outcome = input::for_each(&args.text, |line| match line {
        Ok(line) => {
            let encoded = text::encode(&line);
            let units_per_segment = encoded.units_per_segment();
            let row = Row {
                encoding: encoded.encoding.as_str(),
                units: encoded.units,
                segments: units_per_segment.len(),
                units_per_segment,
            };
            if args.json {
                serde_json::to_writer(&mut out, &row)?;
                out.write_all(b"\n")
            } else {
                writeln!(out, "{}", sentence(&row))
            }
        }
        Err(fault) => {
            faults = true;
            if args.json {
                serde_json::to_writer(
                    &mut out,
                    &serde_json::json!({ "error": fault.to_string() }),
                )?;
                out.write_all(b"\n")
            } else {
                writeln!(out, "error: {fault}")
            }
        }
    });
    let outcome = outcome.and_then(|()| out.flush());
    input::finish(outcome, faults)
}

fn sentence(row: &Row) -> String {
    let each: Vec<String> = row.units_per_segment.iter().map(usize::to_string).collect();
    let plural = if row.segments == 1 { "" } else { "s" };
    format!(
        "{}, {} units, {} segment{plural} ({})",
        row.encoding,
        row.units,
        row.segments,
        each.join(" + ")
    )
}
