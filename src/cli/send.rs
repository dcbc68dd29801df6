//! `ringback send`: one challenge to a running gateway, by either door, and its reports as they come.
//!
//! A client like any other: it knows the interface and nothing of the gateway's inside. A made code is shown only to
//! those who ask for it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgGroup, Args};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    client::AskError as SendError,
    configured::BAD_CONFIGURATION,
    values::{NoMethod, method},
};
use crate::challenge::Method;

mod amqp;
mod http;

/// What the verb takes.
#[derive(Args)]
#[command(group = ArgGroup::new("door").args(["http", "amqp"]))]
pub struct SendArgs {
    /// E.164, or a national number with --region.
    #[arg(allow_hyphen_values = true)]
    number: String,
    /// sms_code, sms_reply, voice_confirm, voice_pin or voice_code.
    #[arg(long, value_parser = method)]
    method: Method,
    /// The gateway's HTTP listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    http: String,
    /// The broker, instead: amqp:// or amqps://.
    #[arg(long, value_name = "URL")]
    amqp: Option<String>,
    /// The broker's exchange for jobs.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "ringback",
        requires = "amqp"
    )]
    exchange: String,
    /// The HTTP listener's token.
    #[arg(long, env = "RINGBACK_HTTP_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Reports as JSON, one a line, as the gateway writes them: with codes.
    #[arg(long)]
    json: bool,
    /// Show a code that the gateway has made, too.
    #[arg(long)]
    show_code: bool,
    /// The challenge's id; made up if absent.
    #[arg(long)]
    id: Option<String>,
    /// The code to deliver, 4 to 10 digits; the gateway makes one if absent.
    #[arg(long)]
    code: Option<String>,
    /// The text, with {code} in it.
    #[arg(long)]
    text: Option<String>,
    /// A language tag, such as sv-SE.
    #[arg(long)]
    locale: Option<String>,
    /// A further method and after how long: voice_code:30s. May be given again.
    #[arg(long, value_name = "METHOD:AFTER", value_parser = fallback)]
    fallback: Vec<(Method, u64)>,
    /// How long the challenge lives: 10s to 15m.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    lifetime: Option<u64>,
    /// delivered or verified.
    #[arg(long)]
    until: Option<String>,
    #[arg(long)]
    tenant: Option<String>,
    #[arg(long)]
    user: Option<String>,
    /// The caller ID to wish for, E.164.
    #[arg(long, value_name = "E164", allow_hyphen_values = true)]
    caller_id: Option<String>,
    /// Country for national numbers: two letters.
    #[arg(long, value_name = "CC")]
    region: Option<String>,
    /// Office extension, for calls.
    #[arg(long)]
    extension: Option<String>,
}

/// The finals that count as good.
const GOOD: [&str; 4] = ["delivered", "confirmed", "replied", "verified"];
/// Life of a challenge where none is asked for.
const USUAL_LIFE: u64 = 180;
/// After the end of its life the final must be there in this time.
const GRACE: Duration = Duration::from_secs(60);

/// 0 when the challenge ended well, 1 when it did not or could not be sent, 2 on bad usage.
pub fn run(args: &SendArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("the system gives no sockets: {e}");
            return ExitCode::FAILURE;
        }
    };
    let job = job(args);
    let mut teller = Teller::new(args);
    let sent = runtime.block_on(async {
        let limit = Duration::from_secs(args.lifetime.unwrap_or(USUAL_LIFE)) + GRACE;
        let following = async {
            match &args.amqp {
                Some(url) => amqp::send(args, url, &job, &mut teller).await,
                None => http::send(args, &job, &mut teller).await,
            }
        };
        tokio::time::timeout(limit, following).await
    });
    match sent {
        Ok(Ok(())) if teller.good => ExitCode::SUCCESS,
        Ok(Ok(())) => ExitCode::FAILURE,
        Ok(Err(SendError::Usage(reason))) => {
            eprintln!("{reason}");
            ExitCode::from(BAD_CONFIGURATION)
        }
        Ok(Err(SendError::Failed(reason))) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("no final report has come; is a gateway taking jobs there?");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as 30s or 5m")]
struct NoTime;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NoFallback {
    #[error("write it as voice_code:30s")]
    NoPair,
    #[error(transparent)]
    Method(#[from] NoMethod),
    #[error(transparent)]
    Time(#[from] NoTime),
}

fn fallback(text: &str) -> Result<(Method, u64), NoFallback> {
    let (name, after) = text.split_once(':').ok_or(NoFallback::NoPair)?;
    Ok((method(name)?, seconds(after)?))
}

fn seconds(text: &str) -> Result<u64, NoTime> {
    let (digits, unit) = match text.strip_suffix(['s', 'm']) {
        Some(digits) if text.ends_with('m') => (digits, 60),
        Some(digits) => (digits, 1),
        None => (text, 1),
    };
    let whole: Option<u64> = digits.parse().ok();
    whole.and_then(|n| n.checked_mul(unit)).ok_or(NoTime)
}

/// The job as JSON: only what was asked for, so that the gateway's defaults hold.
fn job(args: &SendArgs) -> Map<String, Value> {
    let id = args.id.clone().unwrap_or_else(made_up);
    let mut job = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            job.insert(key.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.as_ref().map(|v| json!(v));
    put("v", Some(json!(1)));
    put("id", Some(json!(id)));
    put("to", Some(json!(args.number)));
    put("method", Some(json!(args.method.name())));
    put("region", text(&args.region));
    put("extension", text(&args.extension));
    put("code", text(&args.code));
    put("text", text(&args.text));
    put("locale", text(&args.locale));
    put("until", text(&args.until));
    put("tenant", text(&args.tenant));
    put("user", text(&args.user));
    put("caller_id", text(&args.caller_id));
    put("lifetime_s", args.lifetime.map(|s| json!(s)));
    let each = args.fallback.iter();
    let each = each.map(|(m, after)| json!({ "method": m.name(), "after_s": after }));
    let fallback: Vec<Value> = each.collect();
    put("fallback", (!fallback.is_empty()).then(|| json!(fallback)));
    job
}

fn made_up() -> String {
    let mut octets = [0; 8];
    // Without randomness the time alone keeps ids apart.
    let _ = SystemRandom::new().fill(&mut octets);
    format!(
        "send-{}-{}",
        OffsetDateTime::now_utc().unix_timestamp(),
        hex::encode(octets)
    )
}

/// Tells what comes, as lines.
struct Teller {
    json: bool,
    show_code: bool,
    /// The final was one of the good ones.
    good: bool,
    last_seq: u64,
}

impl Teller {
    fn new(args: &SendArgs) -> Teller {
        Teller {
            json: args.json,
            show_code: args.show_code,
            good: false,
            last_seq: 0,
        }
    }

    /// The gateway has it; a made code may stand here.
    fn taken(&self, id: &str, code: Option<&str>) {
        if self.json {
            return;
        }
        let code = code.filter(|_| self.show_code);
        let code = code.map_or(String::new(), |code| format!(", code {code}"));
        say(&format!("{id} taken{code}"));
    }

    /// One report. True after the final.
    fn report(&mut self, body: &[u8]) -> bool {
        let Ok(report) = serde_json::from_slice::<Value>(body) else {
            eprintln!("a report that is no JSON was passed over");
            return false;
        };
        let seq = report["seq"].as_u64().unwrap_or(0);
        if seq != 0 && seq <= self.last_seq {
            // The same again, as a broker may bring it.
            return false;
        }
        self.last_seq = seq;
        match self.json {
            true => say(&String::from_utf8_lossy(body)),
            false => say(&line(&report, self.show_code)),
        }
        let last = report["final"] == true;
        self.good = last && report["event"].as_str().is_some_and(|e| GOOD.contains(&e));
        last
    }
}

/// A reader that has gone away is no failure of the challenge.
fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A report for a person: time, event, then what is known.
fn line(report: &Value, show_code: bool) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or("");
    let clock = text("at").split_once('T').map_or("", |(_, clock)| clock);
    let mut line = format!("{clock:<13} {:<15}", text("event"));
    let mut add = |what: std::fmt::Arguments<'_>| {
        // Writing into a string can't fail.
        let _ = line.write_fmt(format_args!(" {what}"));
    };
    if let Some(carrier) = report["carrier"].as_str() {
        add(format_args!(
            "{} by {carrier} as {} ({})",
            text("channel"),
            text("sender"),
            text("why")
        ));
    }
    let reason = text("reason");
    if !reason.is_empty() && reason != text("event") {
        add(format_args!("reason {reason}"));
    }
    if !text("carrier_code").is_empty() {
        add(format_args!("carrier's code {}", text("carrier_code")));
    }
    if report["in_doubt"] == true {
        add(format_args!("in doubt"));
    }
    if show_code && !text("code").is_empty() {
        add(format_args!("code {}", text("code")));
    }
    if report["final"] == true {
        add(format_args!("= {}", text("result")));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_people_write_it() {
        assert_eq!(seconds("45"), Ok(45));
        assert_eq!(seconds("45s"), Ok(45));
        assert_eq!(seconds("5m"), Ok(300));
        assert!(seconds("five").is_err() && seconds("99999999999999999999m").is_err());
        assert_eq!(fallback("voice_code:30s"), Ok((Method::VoiceCode, 30)));
        assert!(fallback("voice_code").is_err());
    }

    #[test]
    fn a_made_code_is_shown_only_when_asked_for() {
        let report = json!({ "at": "2030-01-01T10:11:12.345Z", "event": "sent", "channel": "sms", "carrier": "northwind",
            "sender": "97671", "why": "weighted", "code": "482913", "seq": 2 });
        let quiet = line(&report, false);
        assert_eq!(
            quiet,
            "10:11:12.345Z sent            sms by northwind as 97671 (weighted)"
        );
        assert!(line(&report, true).ends_with("code 482913"));
    }

    #[test]
    fn only_a_good_final_is_success() {
        let mut teller = Teller {
            json: true,
            show_code: false,
            good: false,
            last_seq: 0,
        };
        assert!(!teller.report(br#"{"seq":1,"event":"sent","final":false}"#));
        assert!(teller.report(br#"{"seq":2,"event":"undelivered","final":true}"#) && !teller.good);
        assert!(!teller.report(br#"{"seq":2,"event":"delivered","final":true}"#) && !teller.good);
        assert!(teller.report(br#"{"seq":3,"event":"delivered","final":true}"#) && teller.good);
    }
}
