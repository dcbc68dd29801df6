//! `ringback explain`: the plan for a number now, by the very function that routes. Shows the number whole: the person
//! who asks has just typed it.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::Args;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::configured::{BAD_CONFIGURATION, ConfigArgs};
use crate::{
    challenge::Method,
    number,
    operate::explain::{Explained, Question, explain, policy},
};

/// What the verb takes.
#[derive(Args)]
pub struct ExplainArgs {
    /// A number in E.164, or a national one with --region.
    #[arg(allow_hyphen_values = true)]
    number: String,
    /// sms_code, sms_reply, voice_confirm, voice_pin or voice_code.
    #[arg(long, default_value = "sms_code", value_parser = method)]
    method: Method,
    /// Country for national numbers: two letters.
    #[arg(long, value_name = "CC", value_parser = region)]
    region: Option<String>,
    /// Whose challenge it would be.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The caller ID that the job would wish for.
    #[arg(long, value_name = "E164", allow_hyphen_values = true)]
    caller_id: Option<String>,
    /// The moment to plan for, RFC 3339; now if absent.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<OffsetDateTime>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

fn method(text: &str) -> Result<Method, String> {
    Method::parse(text).ok_or_else(|| {
        let all: Vec<&str> = Method::ALL.iter().map(|m| m.name()).collect();
        format!("one of {}", all.join(", "))
    })
}

fn region(text: &str) -> Result<String, String> {
    text.parse::<number::Country>()
        .map(|country| country.to_string())
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it as 2030-01-31T12:00:00Z".to_owned())
}

/// 0 with a plan or a refusal: saying so is the answer. 2 with a bad configuration.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(policy) = policy(&config) else {
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let question = Question {
        number: &args.number,
        region: args.region.as_deref(),
        method: args.method,
        tenant: &args.tenant,
        caller_id: args.caller_id.as_deref(),
        at: args.at,
    };
    let found = explain(&question, &config, &policy, &[]);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.json {
        true => serde_json::to_writer(&mut out, &found)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n")),
        false => print(&mut out, &found),
    };
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn print(out: &mut impl Write, found: &Explained) -> io::Result<()> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(
        out,
        "{}  {}  {}  {}",
        or_none(&found.e164),
        or_none(&found.country),
        found.kind.unwrap_or("-"),
        found.method
    )?;
    if let Some(reason) = found.refused {
        writeln!(out, "refused: {reason}")?;
    }
    if !found.candidates.is_empty() {
        writeln!(
            out,
            "\n{:>4}  {:<16} {:<16} {:>7}  {:<16} route",
            "tier", "carrier", "sender", "share", "why"
        )?;
    }
    for row in &found.candidates {
        writeln!(
            out,
            "{:>4}  {:<16} {:<16} {:>6.1}%  {:<16} {}",
            row.tier, row.carrier, row.sender, row.share, row.why, row.route
        )?;
    }
    if !found.left_out.is_empty() {
        writeln!(out, "\nleft out")?;
    }
    for row in &found.left_out {
        writeln!(
            out,
            "      {:<16} {:<16} {}",
            or_none(&row.carrier),
            or_none(&row.sender),
            row.why
        )?;
    }
    Ok(())
}
