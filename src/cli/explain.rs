//! `ringback explain`: the plan for a number now, by the very function that routes. Shows the number whole: the person
//! who asks has just typed it.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::configured::{BAD_CONFIGURATION, ConfigArgs};
use crate::{
    admission::countries,
    challenge::{Channel, Method},
    config::Config,
    number::{self, Analysis, NumberPolicy, Reach},
    routing::{
        self,
        plan::{Ask, Plan, View, plan},
        table::Turns,
    },
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

#[derive(Serialize)]
struct Explained {
    e164: Option<String>,
    country: Option<String>,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    method: &'static str,
    at: Option<String>,
    refused: Option<&'static str>,
    candidates: Vec<Row>,
    left_out: Vec<Omitted>,
}

#[derive(Serialize)]
struct Row {
    tier: u8,
    carrier: String,
    sender: String,
    /// Percent of the traffic of its tier.
    share: f64,
    why: &'static str,
    route: String,
}

#[derive(Serialize)]
struct Omitted {
    carrier: Option<String>,
    sender: Option<String>,
    why: String,
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
    let found = explain(args, &config, &policy);
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

/// The prefixes were checked when the configuration was read: None does not happen.
fn policy(config: &Config) -> Option<NumberPolicy> {
    let allow: Vec<String> = config
        .settings
        .numbers
        .allow
        .iter()
        .map(|p| p.to_string())
        .collect();
    NumberPolicy::new(&allow).ok()
}

fn explain(args: &ExplainArgs, config: &Config, policy: &NumberPolicy) -> Explained {
    let analysis = number::analyse(&args.number, args.region.as_deref());
    let mut refused = refusal(args.method, &analysis, config, policy);
    let mut found = Plan::default();
    if let (None, Some(country)) = (refused, analysis.country) {
        let turns = Turns::of(&config.table);
        let view = View {
            standing: &[],
            turns: &turns,
        };
        let seed = format!(
            "{}{}",
            analysis.e164.as_deref().unwrap_or(""),
            args.at.map_or(0, |t| t.unix_timestamp())
        );
        let ask = Ask {
            country,
            method: args.method,
            tenant: &args.tenant,
            caller_id: args.caller_id.as_deref(),
            tried: &[],
            avoid: None,
            hedge: false,
            roll: routing::plan::roll(&seed, 1),
        };
        found = plan(&config.table, view, &ask);
        if found.candidates.is_empty() {
            refused = Some("no_route");
        }
    }
    let table = &config.table;
    let sender = |ix| table.sender(ix).map_or(String::new(), |s| s.id.to_string());
    Explained {
        e164: analysis.e164,
        country: analysis.country.map(|c| c.to_string()),
        kind: analysis.kind.map(|k| k.as_str()),
        method: args.method.name(),
        at: args.at.and_then(|at| at.format(&Rfc3339).ok()),
        refused,
        candidates: found
            .candidates
            .iter()
            .map(|c| Row {
                tier: c.tier,
                carrier: table.carrier_name(c.carrier).to_owned(),
                sender: sender(c.sender),
                share: (f64::from(c.share) * 100.0).round() / 100.0,
                why: c.why.name(),
                route: table
                    .line(c.line)
                    .map_or(String::new(), |l| l.name.to_string()),
            })
            .collect(),
        left_out: found
            .left_out
            .iter()
            .map(|o| Omitted {
                carrier: o.carrier.map(|c| table.carrier_name(c).to_owned()),
                sender: o.sender.map(sender).or_else(|| args.caller_id.clone()),
                why: o.why.to_string(),
            })
            .collect(),
    }
}

/// Why nothing would be sent, before any route is looked at.
fn refusal(
    method: Method,
    analysis: &Analysis,
    config: &Config,
    policy: &NumberPolicy,
) -> Option<&'static str> {
    let (reach, on) = match method.channel() {
        Channel::Sms => (Reach::Text, &config.settings.countries.sms),
        Channel::Voice => (Reach::Call, &config.settings.countries.voice),
    };
    if let Some(refusal) = analysis.refused_for(reach, policy) {
        return Some(refusal.reason.as_str());
    }
    if analysis.number.is_none() {
        return Some("invalid_number");
    }
    if !method.served() {
        return Some("method_disabled");
    }
    match analysis.country {
        Some(country) if !countries::on(on, country) => Some("country_blocked"),
        Some(_) => None,
        None => Some("no_route"),
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
