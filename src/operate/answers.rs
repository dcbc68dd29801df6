//! What the `[admin]` listener answers, as it is written; the OpenAPI document follows from these types.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    challenge::Millis,
    config::{Change, Fault, reach::Losses, reload::Gone},
    dispatch::{CarrierView, View},
    ledger::NodeStanding,
    overlay::{Act, Audit, Entry},
    routing::table::{RouteEntry, Table},
};

use super::reload::Taken;

/// `GET /readyz`
#[derive(Serialize, JsonSchema)]
pub(super) struct Readiness {
    /// Empty: ready.
    pub reasons: Vec<String>,
    /// What hurts without making the gateway unready.
    pub detail: Vec<String>,
}

/// `GET /admin/overview`: all that changes from second to second, for the page.
#[derive(Serialize, JsonSchema)]
pub(super) struct Overview<'a> {
    pub node: &'a str,
    pub version: &'static str,
    pub up_s: u64,
    pub draining: bool,
    pub ready: bool,
    pub reasons: Vec<String>,
    pub detail: Vec<String>,
    /// Null: the ledger did not answer in time.
    pub reports_pending: Option<u64>,
    pub reports_oldest_s: Option<u64>,
    /// Null: none is configured.
    pub broker: Option<&'static str>,
    /// How many challenges have ended so, since the start.
    pub finals: Vec<(&'static str, u64)>,
    pub open: u64,
    pub carriers: Vec<CarrierView>,
    pub challenges: Vec<View>,
}

/// One gateway of several, as another sees it.
#[derive(Serialize, JsonSchema)]
pub(super) struct NodeView {
    name: String,
    /// It is the one that answers.
    own: bool,
    /// `live`, `gone` (it has ended well) or `silent` (others have its work).
    state: &'static str,
    version: String,
    /// Tells its routes and carriers from those of others.
    configuration: String,
    /// Challenges open there.
    open: i64,
    /// It uses one of so many parts of what the carriers allow; 0: none yet.
    parts: i32,
}

impl NodeView {
    pub fn of(node: &NodeStanding) -> NodeView {
        NodeView {
            name: node.name.clone(),
            own: node.is_own,
            state: node.state.name(),
            version: node.version.clone(),
            configuration: node.configuration.clone(),
            open: node.open,
            parts: node.parts,
        }
    }
}

/// One entry of a route, as the page shows it.
#[derive(Serialize, JsonSchema)]
pub(super) struct RouteView<'a> {
    /// `us.sms[0]`: file, channel, place in the file.
    name: &'a str,
    /// ISO 3166 alpha-2, or `*`: every country without a file of its own.
    country: String,
    channel: &'a str,
    tier: u8,
    carrier: &'a str,
    senders: Vec<&'a str>,
    weight: u32,
    enabled: bool,
}

impl<'a> RouteView<'a> {
    pub fn of(table: &'a Table, line: &'a RouteEntry) -> RouteView<'a> {
        let (file, rest) = line.name.split_once('.').unwrap_or((&line.name, ""));
        let senders = line.senders.iter().filter_map(|s| table.sender(*s));
        RouteView {
            name: &line.name,
            country: match file {
                "default" => "*".to_owned(),
                file => file.to_ascii_uppercase(),
            },
            channel: rest.split('[').next().unwrap_or(rest),
            tier: line.terms.tier,
            carrier: table.carrier_name(line.carrier),
            senders: senders.map(|s| &*s.id).collect(),
            weight: line.terms.weight,
            enabled: line.terms.enabled,
        }
    }
}

/// `POST /admin/reload`, another set.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReloadedSet<'a> {
    reloaded: bool,
    /// Carriers.
    changed: Vec<&'a str>,
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
    unchanged: Vec<&'a str>,
    changes: Vec<ChangeView<'a>>,
    routes_gone: Vec<&'a str>,
    /// Countries that had a sender and have none, by channel.
    countries_without_sender: BTreeMap<&'static str, Vec<&'a str>>,
    languages_gone: Vec<String>,
    warnings: Vec<String>,
    /// Keys.
    restart_needed: &'a [&'static str],
    at_next_connection: &'a [&'static str],
}

/// `POST /admin/reload`, the same set.
#[derive(Serialize, JsonSchema)]
pub(super) struct SameSet {
    pub reloaded: bool,
    pub restart_needed: Vec<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct ChangeView<'a> {
    file: String,
    key: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

impl<'a> ChangeView<'a> {
    fn of(change: &'a Change) -> ChangeView<'a> {
        ChangeView {
            file: change.file.display().to_string(),
            key: &change.key,
            from: change.from.as_deref(),
            to: change.to.as_deref(),
        }
    }
}

impl<'a> ReloadedSet<'a> {
    pub fn of(taken: &'a Taken) -> ReloadedSet<'a> {
        let names = |names: &'a std::collections::BTreeSet<Arc<str>>| {
            names.iter().map(|name| &**name).collect()
        };
        let Losses {
            countries,
            languages,
            ..
        } = &taken.losses;
        let without_sender = countries.iter().map(|(channel, countries)| {
            let names = countries.iter().map(|country| country.as_str()).collect();
            (channel.name(), names)
        });
        ReloadedSet {
            reloaded: true,
            changed: names(&taken.diff.changed),
            added: names(&taken.diff.added),
            removed: names(&taken.diff.removed),
            unchanged: names(&taken.diff.unchanged),
            changes: taken.changes.iter().map(ChangeView::of).collect(),
            routes_gone: taken
                .gone
                .iter()
                .map(|Gone { route, .. }| &**route)
                .collect(),
            countries_without_sender: without_sender.collect(),
            languages_gone: languages.iter().map(ToString::to_string).collect(),
            warnings: taken.warnings.iter().map(ToString::to_string).collect(),
            restart_needed: &taken.restart_needed,
            at_next_connection: &taken.at_next_connection,
        }
    }
}

/// `POST /admin/reload`, refused with all faults.
#[derive(Serialize, JsonSchema)]
pub(super) struct FilesFaults {
    errors: Vec<FileFault>,
}

#[derive(Serialize, JsonSchema)]
struct FileFault {
    file: String,
    /// 0: the file as a whole.
    line: usize,
    key: String,
    reason: String,
    /// All of it, as `ringback check` prints it.
    text: String,
}

impl FilesFaults {
    pub fn of(faults: &[Fault]) -> FilesFaults {
        let errors = faults.iter().map(|fault| FileFault {
            file: fault.file.display().to_string(),
            line: fault.line,
            key: fault.key.clone(),
            reason: fault.reason.clone(),
            text: fault.to_string(),
        });
        FilesFaults {
            errors: errors.collect(),
        }
    }
}

/// `POST /admin/carriers/{name}/suspend`
#[derive(Serialize, JsonSchema)]
pub(super) struct Suspended<'a> {
    pub carrier: &'a str,
    pub suspended: bool,
    /// Null: until it is resumed.
    pub until: Option<String>,
}

/// `POST /admin/carriers/{name}/resume`
#[derive(Serialize, JsonSchema)]
pub(super) struct Resumed<'a> {
    pub carrier: &'a str,
    pub suspended: bool,
}

/// `POST /admin/challenges/{id}/cancel`
#[derive(Serialize, JsonSchema)]
pub(super) struct Cancelled<'a> {
    pub id: &'a str,
    pub cancelled: bool,
}

/// `GET /admin/overlay`: what is in force, and what was done, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Overlaid {
    in_force: Vec<InForce>,
    audit: Vec<Done>,
}

#[derive(Serialize, JsonSchema)]
struct InForce {
    change: &'static str,
    subject: String,
    owner: Arc<str>,
    reason: Arc<str>,
    since: String,
    until: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Done {
    at: String,
    act: Act,
    change: &'static str,
    subject: String,
    owner: Arc<str>,
    reason: Arc<str>,
    until: Option<String>,
}

impl Overlaid {
    pub fn of(entries: &[Entry], records: Vec<Audit>) -> Overlaid {
        let in_force = entries.iter().map(|entry| InForce {
            change: entry.change.name(),
            subject: entry.change.subject().to_owned(),
            owner: entry.owner.clone(),
            reason: entry.reason.clone(),
            since: entry.since.rfc3339(),
            until: entry.until.map(Millis::rfc3339),
        });
        let audit = records.into_iter().map(|record| Done {
            at: record.at.rfc3339(),
            act: record.act,
            change: record.change.name(),
            subject: record.change.subject().to_owned(),
            owner: record.owner,
            reason: record.reason,
            until: record.until.map(Millis::rfc3339),
        });
        Overlaid {
            in_force: in_force.collect(),
            audit: audit.collect(),
        }
    }
}
