//! Where the routes reach: countries that no sender of their route may be shown in, or whose route is switched off, and
//! languages that calls speak. Said when the files are read, and by name when a reload takes one away.

use std::{collections::BTreeSet, fmt, path::Path, sync::Arc};

use super::{Config, Fault, Settings, Weight, fault::Faults, routes_file::Route, watch::Look};
use crate::{
    admission::countries,
    challenge::Channel,
    number::{Country, countries::all as all_countries},
    routing::{Table, table::RouteEntry},
};

/// Countries that are named one by one; of the others it is said how many there are.
const NAMED: usize = 12;

/// What another set takes away from people, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Countries that a text, or a call, reaches no more although they have a route.
    pub countries: Vec<(Channel, BTreeSet<Country>)>,
    /// Languages in which calls were spoken.
    pub languages: BTreeSet<String>,
}

impl Losses {
    pub(super) fn between(old: &Config, new: &Config) -> Losses {
        let lost = |channel| {
            let reached = |country: &Country| {
                old.table.reaches(*country, channel)
                    && !new.table.reaches(*country, channel)
                    && !new.table.route(*country, channel).1.is_empty()
                    && is_on(&new.settings, *country, channel)
            };
            let countries: BTreeSet<Country> = all_countries().filter(reached).collect();
            (!countries.is_empty()).then_some((channel, countries))
        };
        let channels = [Channel::Sms, Channel::Voice].into_iter();
        let (before, after) = (languages(&old.recordings), languages(&new.recordings));
        Losses {
            countries: channels.filter_map(lost).collect(),
            languages: match new.table.has_calls() {
                true => before.difference(&after).cloned().collect(),
                false => BTreeSet::new(),
            },
        }
    }
}

impl Table {
    /// May some sender of an enabled line be shown in this country?
    pub(super) fn reaches(&self, country: Country, channel: Channel) -> bool {
        let (_, lines) = self.route(country, channel);
        let mut senders = lines
            .iter()
            .filter(|l| l.terms.enabled)
            .flat_map(|l| &l.senders);
        senders.any(|sender| {
            let sender = self.sender(*sender);
            sender.is_some_and(|s| s.serves(country) && (channel == Channel::Sms || s.voice))
        })
    }
}

/// A file whose lines are all switched off: its challenges have a route, and nobody brings them.
pub(super) fn switched_off(file: &Path, route: &Route, faults: &Faults) {
    for (channel, lines) in [(Channel::Sms, &route.sms), (Channel::Voice, &route.voice)] {
        let lines = lines.as_deref().unwrap_or_default();
        if !lines.is_empty() && lines.iter().all(|line| !line.terms.enabled) {
            let reason = "every line is switched off, here or in its carrier's file: its challenges will fail";
            warn(file, channel, reason.to_owned(), faults);
        }
    }
}

/// Countries that are on and that the default route is to serve, but can't: none of its senders may be shown there.
pub(super) fn not_by_default(settings: &Settings, table: &Table, faults: &Faults) {
    for channel in [Channel::Sms, Channel::Voice] {
        let by_default = |country: &Country| {
            let (_, lines) = table.route(*country, channel);
            let default =
                |line: &RouteEntry| line.terms.enabled && line.name.starts_with("default.");
            lines.iter().any(default)
                && is_on(settings, *country, channel)
                && !table.reaches(*country, channel)
        };
        let missed: BTreeSet<Country> = all_countries().filter(by_default).collect();
        if !missed.is_empty() {
            let file = settings.paths.routes.join("default.toml");
            let reason = format!(
                "none of its senders may be shown in {}: challenges to there will fail",
                Named(&missed)
            );
            warn(&file, channel, reason, faults);
        }
    }
}

fn warn(file: &Path, channel: Channel, reason: String, faults: &Faults) {
    faults.push(Fault {
        file: Arc::new(file.to_path_buf()),
        line: 1,
        key: channel.name().to_owned(),
        reason,
        weight: Weight::Warning,
    });
}

fn is_on(settings: &Settings, country: Country, channel: Channel) -> bool {
    let on = match channel {
        Channel::Sms => &settings.countries.sms,
        Channel::Voice => &settings.countries.voice,
    };
    countries::on(on, country)
}

/// The languages that calls speak, as the folders of the recordings are called.
pub(super) fn languages(recordings: &Look) -> BTreeSet<String> {
    let folders = recordings.keys().filter_map(|file| file.parent());
    let names = folders.filter_map(Path::file_name);
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// `DE, FR, SE`, `AD, AE, AF, ... and 37 more`.
pub struct Named<'a>(pub &'a BTreeSet<Country>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().take(NAMED).map(Country::as_str).collect();
        f.write_str(&names.join(", "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
