//! `ringback explain`: the plan for a number now, by the very function that routes: asked of the running gateway, which
//! knows how its carriers stand, or made from the files where none runs. A gateway that runs and refuses the token is no
//! reason to guess: that is said, and there is no plan. Shows the number whole: the person who asks has
//! just typed it.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::Args;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use serde_json::Value;

use super::{
    client::{AskError, Gateway, escaped},
    configured::ConfigArgs,
    operator::{Unanswered, ask_quietly},
    values::{method, region},
};
use crate::{
    challenge::Method,
    config::Config,
    operate::explain::{Question, explain},
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
    /// Plan by the files alone, as if every carrier were well; else the running gateway of this configuration is asked.
    #[arg(long)]
    offline: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, thiserror::Error)]
#[error("write it as 2030-01-31T12:00:00Z")]
struct NoMoment;

fn moment(text: &str) -> Result<OffsetDateTime, NoMoment> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NoMoment)
}

/// 0 with a plan or with a refusal, which is an answer as well; 1 where a running gateway refuses the token; 2 with a bad configuration or bad usage.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let policy = config.settings.numbers.policy();
    let question = Question {
        number: &args.number,
        region: args.region.as_deref(),
        method: args.method,
        tenant: &args.tenant,
        caller_id: args.caller_id.as_deref(),
        at: args.at,
    };
    let asked = match args.offline {
        true => Err(Unanswered::Silent("by the files alone".to_owned())),
        false => ask_gateway(args, &config),
    };
    let found = match asked {
        Ok((found, base)) => {
            eprintln!("as the gateway at {base} sees it now");
            found
        }
        Err(Unanswered::Refused(reason)) => {
            eprintln!("{reason}; --offline plans by the files alone");
            return ExitCode::FAILURE;
        }
        Err(Unanswered::Silent(reason)) => {
            eprintln!("{reason}: every carrier is taken for healthy");
            // Strings, numbers and lists: this can't fail.
            serde_json::to_value(explain(&question, &config, &policy, (&[], &[])))
                .unwrap_or_default()
        }
    };
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

/// The plan as the running gateway makes it: it knows how the carriers stand. Err: why it could not be asked.
fn ask_gateway(args: &ExplainArgs, config: &Config) -> Result<(Value, String), Unanswered> {
    let gateway = Gateway::admin(&config.settings.admin).map_err(|error| match error {
        AskError::Usage(reason) | AskError::Failed(reason) => Unanswered::Silent(reason),
    })?;
    let mut path = format!(
        "/admin/explain?number={}&method={}&tenant={}",
        escaped(&args.number),
        args.method.name(),
        escaped(&args.tenant)
    );
    let at = args.at.and_then(|at| at.format(&Rfc3339).ok());
    let more = [
        ("region", &args.region),
        ("caller_id", &args.caller_id),
        ("at", &at),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Unanswered::Silent(format!("the system gives no sockets: {error}")))?;
    let found = runtime.block_on(ask_quietly(&gateway, config, &path))?;
    Ok((found, gateway.base().to_owned()))
}

fn print(out: &mut impl Write, found: &Value) -> io::Result<()> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    writeln!(
        out,
        "{}  {}  {}  {}",
        word(&found["e164"]),
        word(&found["country"]),
        word(&found["type"]),
        word(&found["method"])
    )?;
    if let Some(reason) = found["refused"].as_str() {
        writeln!(out, "refused: {reason}")?;
    }
    let candidates = list(&found["candidates"]);
    if !candidates.is_empty() {
        writeln!(
            out,
            "\n{:>4}  {:<16} {:<16} {:>7}  {:<16} route",
            "tier", "carrier", "sender", "share", "why"
        )?;
    }
    for row in &candidates {
        writeln!(
            out,
            "{:>4}  {:<16} {:<16} {:>6.1}%  {:<16} {}",
            row["tier"].to_string(),
            word(&row["carrier"]),
            word(&row["sender"]),
            row["share"].as_f64().unwrap_or_default(),
            word(&row["why"]),
            word(&row["route"])
        )?;
    }
    let left_out = list(&found["left_out"]);
    if !left_out.is_empty() {
        writeln!(out, "\nleft out")?;
    }
    for row in &left_out {
        writeln!(
            out,
            "      {:<16} {:<16} {}",
            word(&row["carrier"]),
            word(&row["sender"]),
            word(&row["why"])
        )?;
    }
    Ok(())
}
