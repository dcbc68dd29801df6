//! The operator's verbs: `suspend`, `resume`, `cancel`, `trace` and `nodes`, asked of the running gateway by its admin listener.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{AskError, Gateway, escaped, faults, whole},
    configured::{BAD_CONFIGURATION, ConfigArgs},
};
use crate::config::Config;

/// What `suspend` takes.
#[derive(Args)]
pub struct SuspendArgs {
    /// The carrier, as its file is called.
    carrier: String,
    /// For how long, such as 30m or 2h; until it is resumed if absent.
    #[arg(long, value_name = "SPAN")]
    r#for: Option<String>,
    /// Why: for whoever looks at it next.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: WhoArgs,
}

/// What `resume` takes.
#[derive(Args)]
pub struct ResumeArgs {
    /// The carrier, as its file is called.
    carrier: String,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    who: WhoArgs,
}

/// Who asks, and where.
#[derive(Args)]
pub struct WhoArgs {
    /// Your name in the record of what was done.
    #[arg(long, value_name = "NAME", env = "USER")]
    owner: Option<String>,
    /// The answer as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `cancel` and `trace` take.
#[derive(Args)]
pub struct ChallengeArgs {
    /// The challenge's id, as its job gave it.
    id: String,
    /// Whose challenge it is.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `nodes` takes.
#[derive(Args)]
pub struct NodesArgs {
    /// One JSON list.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A gateway that does not answer in this time is not well.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn suspend(args: &SuspendArgs) -> ExitCode {
    let body = json!({ "reason": args.reason, "owner": args.who.owner, "for": args.r#for });
    let path = format!("/admin/carriers/{}/suspend", escaped(&args.carrier));
    let answer = ask(&args.who.config, "POST", &path, Some(&body));
    shown(answer, args.who.json, |out, answer| {
        let until = answer["until"].as_str().unwrap_or("it is resumed");
        writeln!(out, "{} takes no new attempt until {until}", args.carrier)
    })
}

pub fn resume(args: &ResumeArgs) -> ExitCode {
    let body = json!({ "reason": args.reason, "owner": args.who.owner });
    let path = format!("/admin/carriers/{}/resume", escaped(&args.carrier));
    let answer = ask(&args.who.config, "POST", &path, Some(&body));
    shown(answer, args.who.json, |out, _| {
        writeln!(out, "{} is resumed", args.carrier)
    })
}

pub fn nodes(args: &NodesArgs) -> ExitCode {
    let answer = ask(&args.config, "GET", "/admin/nodes", None);
    shown(answer, args.json, |out, answer| {
        let nodes = answer.as_array().map_or(&[][..], Vec::as_slice);
        if nodes.is_empty() {
            return writeln!(out, "this gateway has its ledger for itself");
        }
        let word = |node: &Value, key: &str| node[key].as_str().unwrap_or("-").to_owned();
        writeln!(
            out,
            "{:<24} {:<7} {:>8}  {:<16} version",
            "node", "state", "open", "configuration"
        )?;
        for node in nodes {
            let own = if node["own"] == true { " *" } else { "" };
            writeln!(
                out,
                "{:<24} {:<7} {:>8}  {:<16} {}",
                format!("{}{own}", word(node, "name")),
                word(node, "state"),
                node["open"].as_i64().unwrap_or_default(),
                word(node, "configuration"),
                word(node, "version")
            )?;
        }
        Ok(())
    })
}

pub fn cancel(args: &ChallengeArgs) -> ExitCode {
    let path = format!("{}/cancel?tenant={}", path_of(args), escaped(&args.tenant));
    let answer = ask(&args.config, "POST", &path, None);
    shown(answer, args.json, |out, _| writeln!(out, "cancelled"))
}

pub fn trace(args: &ChallengeArgs) -> ExitCode {
    let path = format!("{}?tenant={}", path_of(args), escaped(&args.tenant));
    let answer = ask(&args.config, "GET", &path, None);
    shown(answer, args.json, |out, answer| tell(out, answer))
}

fn path_of(args: &ChallengeArgs) -> String {
    format!("/admin/challenges/{}", escaped(&args.id))
}

/// One question to the gateway of this configuration. Err: nothing usable came back, with the exit code.
fn ask(
    config: &ConfigArgs,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ExitCode> {
    let config = config.load()?;
    let asked = async {
        let gateway = Gateway::admin(&config.settings.admin)?;
        let body = body.map_or(String::new(), Value::to_string);
        let asked = async {
            let answer = gateway.ask(method, path, &[], body).await?;
            let status = answer.status();
            let said = whole(answer).await;
            match status.is_success() {
                true => Ok(said),
                false if status == hyper::StatusCode::UNAUTHORIZED => {
                    let base = gateway.base();
                    Err(AskError::Failed(refused_token(base, &config)))
                }
                false if said["errors"].is_array() => {
                    Err(AskError::Failed(faults(&said["errors"])))
                }
                false => Err(AskError::Failed(format!("{}: {status}", gateway.base()))),
            }
        };
        let late = || {
            let base = gateway.base();
            AskError::Failed(format!("{base}: no answer in {} s", PATIENCE.as_secs()))
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(late()))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = match runtime {
        Ok(runtime) => runtime.block_on(asked),
        Err(error) => Err(AskError::Failed(format!(
            "the system gives no sockets: {error}"
        ))),
    };
    answer.map_err(|error| match error {
        AskError::Usage(reason) => {
            eprintln!("{reason}");
            ExitCode::from(BAD_CONFIGURATION)
        }
        AskError::Failed(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    })
}

/// The running gateway wants another token than the configuration names: what was sent, and where it stands.
fn refused_token(base: &str, config: &Config) -> String {
    let file = config.file.display();
    let sent = match &config.settings.admin.token {
        Some(token) => format!("the token of [admin] token in {file} ({token})"),
        None => format!("no token, as {file} sets none under [admin] token"),
    };
    format!(
        "{base} asks for its admin token and was sent {sent}: the gateway that runs there was started with another; name its configuration with --config FILE"
    )
}

fn shown(
    answer: Result<Value, ExitCode>,
    as_json: bool,
    words: impl FnOnce(&mut dyn Write, &Value) -> io::Result<()>,
) -> ExitCode {
    let answer = match answer {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match as_json {
        true => writeln!(out, "{answer}"),
        false => words(&mut out, &answer),
    };
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// A trace for a person.
fn tell(out: &mut dyn Write, trace: &Value) -> io::Result<()> {
    let methods: Vec<String> = list(&trace["methods"]).iter().map(word).collect();
    writeln!(
        out,
        "{} of {}  {}  {}  {}",
        word(&trace["id"]),
        word(&trace["tenant"]),
        word(&trace["to"]),
        word(&trace["country"]),
        methods.join(" > "),
    )?;
    writeln!(
        out,
        "  arrived {}   deadline {}   {}",
        word(&trace["arrived"]),
        word(&trace["deadline"]),
        match trace["event"].as_str() {
            Some(event) => format!("{event} ({})", word(&trace["reason"])),
            None => word(&trace["state"]),
        }
    )?;
    let kept_from = list(&trace["left_out"]);
    if !kept_from.is_empty() {
        writeln!(out, "\nno attempt")?;
    }
    for left_out in kept_from {
        writeln!(out, "  left out   {}", word(left_out))?;
    }
    for attempt in list(&trace["attempts"]) {
        tell_attempt(out, attempt)?;
    }
    writeln!(out, "\nreports")?;
    for report in list(&trace["reports"]) {
        let of = match report["attempt"].as_u64() {
            Some(attempt) => format!(" of attempt {attempt}"),
            None => String::new(),
        };
        writeln!(
            out,
            "  {:>3}  {}  {}{of}",
            report["seq"].to_string(),
            word(&report["at"]),
            word(&report["event"]),
        )?;
    }
    Ok(())
}

fn tell_attempt(out: &mut dyn Write, attempt: &Value) -> io::Result<()> {
    writeln!(
        out,
        "\nattempt {}  {} by {} as {}  ({}, {})",
        attempt["attempt"],
        word(&attempt["method"]),
        word(&attempt["carrier"]),
        word(&attempt["sender"]),
        word(&attempt["why"]),
        word(&attempt["route"]),
    )?;
    for left_out in list(&attempt["left_out"]) {
        writeln!(out, "  left out   {}", word(left_out))?;
    }
    for receipt in list(&attempt["receipts"]) {
        let late = match receipt["late"] == true {
            true => ", after the final",
            false => "",
        };
        let (part, state) = (&receipt["part"], word(&receipt["state"]));
        writeln!(out, "  receipt    part {part}: {state}{late}")?;
    }
    writeln!(
        out,
        "  {} to {}   {}",
        word(&attempt["started"]),
        word(&attempt["ended"]),
        attempt["outcome"].as_str().unwrap_or("ringing"),
    )?;
    for (name, key) in [
        ("cause", "cause"),
        ("carrier's", "carrier_code"),
        ("reference", "reference"),
    ] {
        if let Some(value) = attempt[key].as_str() {
            writeln!(out, "  {name:<10} {value}")?;
        }
    }
    for flag in ["in_doubt", "hedge"] {
        if attempt[flag] == true {
            writeln!(out, "  {flag}")?;
        }
    }
    Ok(())
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |list| list)
}

/// Why another verb's question has no answer.
pub enum Unanswered {
    /// A gateway runs there and wants another token: what it would say can't be guessed.
    Refused(String),
    /// Nobody answers, or can't just now.
    Silent(String),
}

/// One question of another verb, where no answer is no fault.
pub async fn ask_quietly(
    gateway: &Gateway,
    config: &Config,
    path: &str,
) -> Result<Value, Unanswered> {
    let asked = async {
        let answer = gateway.ask("GET", path, &[], String::new()).await;
        let answer = answer.map_err(|error| match error {
            AskError::Usage(reason) | AskError::Failed(reason) => Unanswered::Silent(reason),
        })?;
        let status = answer.status();
        let said = whole(answer).await;
        match status {
            status if status.is_success() => Ok(said),
            hyper::StatusCode::UNAUTHORIZED => {
                Err(Unanswered::Refused(refused_token(gateway.base(), config)))
            }
            status => Err(Unanswered::Silent(format!("{}: {status}", gateway.base()))),
        }
    };
    let late = || Unanswered::Silent(format!("{}: no answer", gateway.base()));
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(late()))
}
