//! The plan for a number, by the very function that routes: for `ringback explain` and the operator's page.
//!
//! On the command line every carrier is taken for healthy; while the gateway runs, dispatch says how they stand.

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    admission::countries,
    challenge::{Channel, Method},
    config::Config,
    number::{self, Analysis, NumberPolicy, Reach},
    routing::{
        self, Availability,
        plan::{Candidate, Plan, PlanRequest, Refusal, View, plan},
        table::{SenderRotation, Table},
    },
};

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// E.164, or a national number with `region`.
    pub number: &'a str,
    pub region: Option<&'a str>,
    pub method: Method,
    pub tenant: &'a str,
    /// The caller ID that the job would wish for.
    pub caller_id: Option<&'a str>,
    /// The moment to plan for; now if absent.
    pub at: Option<OffsetDateTime>,
}

private_debug!(Question<'_>);

/// The answer: shows the number whole, as the person who asks has just typed it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Explained {
    pub e164: Option<String>,
    pub country: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<&'static str>,
    pub method: &'static str,
    pub at: Option<String>,
    pub refused: Option<&'static str>,
    pub candidates: Vec<Row>,
    pub left_out: Vec<Omitted>,
}

/// A candidate, in order.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Row {
    pub tier: u8,
    pub carrier: String,
    pub sender: String,
    /// Percent of the traffic of its tier.
    pub share: f64,
    pub why: &'static str,
    pub route: String,
}

/// What the routes name and the plan leaves out.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Omitted {
    pub carrier: Option<String>,
    pub sender: Option<String>,
    pub why: String,
}

/// Plans. `standing` is what is known of the carriers now, in the table's order, `refusals` the senders and countries that
/// they refuse; both empty: all are healthy.
pub fn explain(
    args: &Question<'_>,
    config: &Config,
    policy: &NumberPolicy,
    (standing, refusals): (&[Availability], &[Refusal]),
) -> Explained {
    let analysis = number::analyse(args.number, args.region);
    let mut refused = refusal(args.method, &analysis, config, policy);
    let mut found = Plan::default();
    if let (None, Some(country)) = (refused, analysis.country) {
        let turns = SenderRotation::of(&config.table);
        let view = View {
            standing,
            turns: &turns,
            refusals,
        };
        let seed = format!(
            "{}{}",
            analysis.e164.as_deref().unwrap_or(""),
            args.at.map_or(0, |t| t.unix_timestamp())
        );
        let ask = PlanRequest {
            country,
            method: args.method,
            tenant: args.tenant,
            caller_id: args.caller_id,
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
    let (candidates, left_out) = shown(&config.table, &found, args.caller_id);
    Explained {
        e164: analysis.e164,
        country: analysis.country.map(|c| c.to_string()),
        kind: analysis.kind.map(|k| k.as_str()),
        method: args.method.name(),
        at: args.at.and_then(|at| at.format(&Rfc3339).ok()),
        refused,
        candidates,
        left_out,
    }
}

/// The plan in names instead of places in the table.
fn shown(table: &Table, found: &Plan, caller_id: Option<&str>) -> (Vec<Row>, Vec<Omitted>) {
    let sender = |ix| table.sender(ix).map_or(String::new(), |s| s.id.to_string());
    let row = |c: &Candidate| Row {
        tier: c.tier,
        carrier: table.carrier_name(c.carrier).to_owned(),
        sender: sender(c.sender),
        share: (f64::from(c.share) * 100.0).round() / 100.0,
        why: c.why.name(),
        route: table
            .line(c.line)
            .map_or(String::new(), |l| l.name.to_string()),
    };
    let candidates = found.candidates.iter().map(row).collect();
    let left_out = found.left_out.iter().map(|o| Omitted {
        carrier: o.carrier.map(|c| table.carrier_name(c).to_owned()),
        sender: o
            .sender
            .map(sender)
            .or_else(|| caller_id.map(str::to_owned)),
        why: o.why.to_string(),
    });
    (candidates, left_out.collect())
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
