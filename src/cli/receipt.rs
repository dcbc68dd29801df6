//! `ringback receipt`: what a carrier's delivery receipt says, read by the very code that reads them live.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::{self, BadLine};
use crate::protocol::smpp::receipt::{self, Incoming, Receipt};

/// What the verb takes.
#[derive(Args)]
pub struct ReceiptArgs {
    /// `{ "short_message_hex", "esm_class", "data_coding", "tlvs" }` objects; `-` reads lines from standard input.
    #[arg(required = true)]
    receipt: Vec<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

/// One line. What is absent is empty or 0; other keys are a person's own and left alone.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    short_message_hex: Option<String>,
    #[serde(default)]
    esm_class: Value,
    #[serde(default)]
    data_coding: Value,
    #[serde(default)]
    tlvs: Value,
}

#[derive(Serialize)]
struct Row<'a> {
    kind: &'static str,
    id: Option<&'a str>,
    stat: Option<&'a str>,
    state: Option<&'static str>,
    sub: Option<&'a str>,
    dlvrd: Option<&'a str>,
    submit: Option<&'a str>,
    done: Option<&'a str>,
    err: Option<&'a str>,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct Fault<'a> {
    line: u64,
    error: &'a str,
}

/// Prints a line per receipt; a line that cannot be read gives an error of its own, and 1 at the end.
pub fn run(args: &ReceiptArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut faults = false;
    let mut number = 0;
    let outcome = input::for_each(&args.receipt, |line| {
        number += 1;
        if line.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            return Ok(());
        }
        match line.map_err(NoReceipt::from).and_then(|text| read(&text)) {
            Ok(receipt) if args.json => json(&mut out, &row(&receipt)),
            Ok(receipt) => writeln!(out, "{}", sentence(&receipt)),
            Err(fault) => {
                faults = true;
                if args.json {
                    json(
                        &mut out,
                        &Fault {
                            line: number,
                            error: &fault.to_string(),
                        },
                    )
                } else {
                    writeln!(out, "line {number}: {fault}")
                }
            }
        }
    });
    let outcome = outcome.and_then(|()| out.flush());
    input::finish(outcome, faults)
}

fn json(out: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
enum NoReceipt {
    #[error(transparent)]
    Line(#[from] BadLine),
    #[error("not a receipt in JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("{field}: not hex: {error}")]
    NotHex {
        field: &'static str,
        error: hex::FromHexError,
    },
    #[error("{0}: write 0 to 255")]
    NoOctet(&'static str),
    #[error("tlvs: write an object or a list")]
    NoTlvs,
    #[error("tlvs: an entry needs tag and value_hex")]
    EntryCutShort,
    #[error("tlvs: an entry is an object with tag and value_hex, or a pair")]
    NoEntry,
    #[error("tlvs: {0} is no tag: write a number, 0x and hex digits, or a name")]
    NoTag(Value),
    #[error("tlvs: a value needs value_hex")]
    ValueMissing,
    #[error("tlvs: a value is hex digits")]
    NoValue,
}

fn read(line: &str) -> Result<Receipt, NoReceipt> {
    // Only an object: serde would take a list for its fields, too.
    let fields: serde_json::Map<String, Value> = serde_json::from_str(line)?;
    let given: Given = serde_json::from_value(Value::Object(fields))?;
    let message = octets(
        given.short_message_hex.as_deref().unwrap_or(""),
        "short_message_hex",
    )?;
    let tlvs = tlvs(&given.tlvs)?;
    let tlvs: Vec<(u16, &[u8])> = tlvs
        .iter()
        .map(|(tag, value)| (*tag, value.as_slice()))
        .collect();
    Ok(receipt::read(&Incoming {
        esm_class: octet(&given.esm_class, "esm_class")?,
        data_coding: octet(&given.data_coding, "data_coding")?,
        short_message: &message,
        tlvs: &tlvs,
    }))
}

/// Hex digits, with `0x`, spaces and colons as people write them.
fn octets(text: &str, field: &'static str) -> Result<Vec<u8>, NoReceipt> {
    let bare: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .collect();
    let bare = bare
        .strip_prefix("0x")
        .or_else(|| bare.strip_prefix("0X"))
        .unwrap_or(&bare);
    hex::decode(bare).map_err(|error| NoReceipt::NotHex { field, error })
}

fn octet(value: &Value, field: &'static str) -> Result<u8, NoReceipt> {
    if value.is_null() {
        return Ok(0);
    }
    integer(value)
        .and_then(|n| u8::try_from(n).ok())
        .ok_or(NoReceipt::NoOctet(field))
}

/// A number, or a string of one in decimal or with `0x`.
fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// TLVs as an object `{ tag: value }` or a list of objects or pairs. A tag is a number, `0x` digits or a name.
fn tlvs(given: &Value) -> Result<Vec<(u16, Vec<u8>)>, NoReceipt> {
    match given {
        Value::Null => Ok(Vec::new()),
        Value::Object(entries) => entries
            .iter()
            .map(|(tag, value)| one(&Value::String(tag.clone()), value))
            .collect(),
        Value::Array(entries) => entries.iter().map(entry).collect(),
        _ => Err(NoReceipt::NoTlvs),
    }
}

fn entry(given: &Value) -> Result<(u16, Vec<u8>), NoReceipt> {
    match given {
        Value::Object(fields) => {
            let tag = ["tag", "id", "name"]
                .iter()
                .find_map(|key| fields.get(*key));
            let value = ["value_hex", "hex", "value"]
                .iter()
                .find_map(|key| fields.get(*key));
            match (tag, value) {
                (Some(tag), Some(value)) => one(tag, value),
                _ => Err(NoReceipt::EntryCutShort),
            }
        }
        Value::Array(pair) if pair.len() == 2 => one(&pair[0], &pair[1]),
        _ => Err(NoReceipt::NoEntry),
    }
}

fn one(tag: &Value, value: &Value) -> Result<(u16, Vec<u8>), NoReceipt> {
    let known = match tag.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("receipted_message_id") => Some(receipt::TAG_RECEIPTED_MESSAGE_ID),
        Some("message_payload") => Some(receipt::TAG_MESSAGE_PAYLOAD),
        Some("network_error_code") => Some(receipt::TAG_NETWORK_ERROR_CODE),
        Some("message_state") => Some(receipt::TAG_MESSAGE_STATE),
        _ => integer(tag).and_then(|n| u16::try_from(n).ok()),
    };
    let tag = known.ok_or_else(|| NoReceipt::NoTag(tag.clone()))?;
    let octets = match value {
        Value::String(text) => octets(text, "tlvs")?,
        // A small number stands for one octet, as in a message state.
        Value::Number(_) => vec![octet(value, "tlvs")?],
        Value::Object(fields) => match fields
            .get("value_hex")
            .or_else(|| fields.get("hex"))
            .and_then(Value::as_str)
        {
            Some(text) => octets(text, "tlvs")?,
            None => return Err(NoReceipt::ValueMissing),
        },
        _ => return Err(NoReceipt::NoValue),
    };
    Ok((tag, octets))
}

fn row(receipt: &Receipt) -> Row<'_> {
    Row {
        kind: receipt.kind.as_str(),
        id: receipt.id.as_deref(),
        stat: receipt.stat.as_deref(),
        state: receipt.state.map(|state| state.as_str()),
        sub: receipt.sub.as_deref(),
        dlvrd: receipt.dlvrd.as_deref(),
        submit: receipt.submit.as_deref(),
        done: receipt.done.as_deref(),
        err: receipt.err.as_deref(),
        text: receipt.text.as_deref(),
    }
}

fn sentence(receipt: &Receipt) -> String {
    let row = row(receipt);
    let fields = [
        ("id", row.id),
        ("state", row.state),
        ("stat", row.stat),
        ("sub", row.sub),
        ("dlvrd", row.dlvrd),
        ("submit", row.submit),
        ("done", row.done),
        ("err", row.err),
        ("text", row.text),
    ];
    let known: Vec<String> = fields
        .iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name} {}", value.escape_debug())))
        .collect();
    format!("{}: {}", row.kind, known.join(", "))
}
