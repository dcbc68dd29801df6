//! Finds the files, reads each, and puts them together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    CarrierConfig, Carriers, Config, DEFAULT_FILE, Secrets, Settings,
    carrier::Transport,
    changes::Sheets,
    fault::{Fault, Faults, Weight},
    named::Named,
    reach,
    routes_file::{self, Known, Names, Route, SenderIds},
    source::Source,
    values::SECRET_WARNING,
    watch,
};
use crate::{
    challenge::Channel,
    number::{Country, countries},
    routing::{CarrierIx, Sender, Table},
    schema::Described,
};

/// Carriers at most: an index has sixteen bits, and each has a driver.
const MAX_CARRIERS: usize = 1_000;
const SENDERS_FILE: &str = "senders";
const DEFAULT_ROUTE: &str = "default";

/// What stands in the folders of routes and carriers.
struct Half {
    carriers: Carriers,
    table: Arc<Table>,
    secrets: Secrets,
    sheets: Sheets,
}

pub fn all(file: &Path) -> Result<Config, Vec<Fault>> {
    let faults = Faults::default();
    if let Some(nothing) = nothing_there(file) {
        return Err(vec![nothing]);
    }
    let mut sheets = Sheets::default();
    let settings = settings(file, &faults, &mut sheets);
    // With faulty settings, the folders they would have named are looked at as far as they can be known.
    let known = settings
        .clone()
        .unwrap_or_else(|| Settings::in_folder(base_of(file)));
    let routes = routes(&known, &faults);
    whole(file, settings, routes, faults, sheets)
}

/// All files again, beside a gateway that runs with `in_force`: what its settings can't change while it runs stays as
/// it is (the folders among it), and the keys are named.
pub fn again(in_force: &Config) -> Result<(Config, Vec<&'static str>), Vec<Fault>> {
    let faults = Faults::default();
    let mut sheets = Sheets::default();
    let read = settings(&in_force.file, &faults, &mut sheets);
    let read = read.map(|read| in_force.settings.adopted(read));
    let routes = routes(&in_force.settings, &faults);
    let (settings, restart_needed) = read.unzip();
    let mut restart_needed = restart_needed.unwrap_or_default();
    let mut config = whole(&in_force.file, settings, routes, faults, sheets)?;
    let named = (*config.named).clone();
    config.named = Arc::new(in_force.named.adopt(named, &mut restart_needed));
    Ok((config, restart_needed))
}

fn whole(
    file: &Path,
    settings: Option<Settings>,
    routes: Option<Half>,
    faults: Faults,
    mut sheets: Sheets,
) -> Result<Config, Vec<Fault>> {
    if let (Some(settings), Some(routes)) = (&settings, &routes) {
        reach::not_by_default(settings, &routes.table, &faults);
    }
    let (faults, warnings) = faults.into_parts();
    match (settings, routes) {
        (Some(settings), Some(routes)) if faults.is_empty() => {
            sheets.extend(routes.sheets);
            Ok(Config {
                recordings: Arc::new(watch::recordings(&settings.paths.prompts)),
                file: file.to_path_buf(),
                named: Arc::new(Named::read(&settings)),
                settings: Arc::new(settings),
                carriers: routes.carriers,
                table: routes.table,
                warnings,
                secrets: routes.secrets,
                sheets: Arc::new(sheets),
            })
        }
        _ => Err(faults),
    }
}

/// One word instead of three where somebody stands in the wrong folder.
fn nothing_there(file: &Path) -> Option<Fault> {
    let usual = Settings::in_folder(base_of(file)).paths;
    if file.exists() || usual.routes.exists() || usual.carriers.exists() {
        return None;
    }
    Some(Fault {
        file: Arc::new(file.to_path_buf()),
        line: 1,
        key: "file".to_owned(),
        reason: "there is no configuration: neither this file nor the folders routes and carriers beside it; name another place with --config FILE".to_owned(),
        weight: Weight::Fault,
    })
}

fn base_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn settings(file: &Path, faults: &Faults, sheets: &mut Sheets) -> Option<Settings> {
    if file == Path::new(DEFAULT_FILE) && !file.exists() {
        return Some(Settings::default());
    }
    Source::read(file, faults)?.parse(base_of(file), faults, sheets, Settings::read)
}

fn routes(settings: &Settings, faults: &Faults) -> Option<Half> {
    let mut sheets = Sheets::default();
    let (carriers, known) = carriers(&settings.paths.carriers, faults, &mut sheets);
    let files = toml_files(&settings.paths.routes, faults);
    let (senders, ids) = senders(&settings.paths.routes, &files, faults, &mut sheets);
    let names = Names {
        carriers: &known,
        senders: &senders,
        ids: &ids,
    };
    let mut read: Vec<(Option<Country>, Route)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (stem, path) in files.iter().filter(|(stem, _)| stem != SENDERS_FILE) {
        let place = match countries::named(stem) {
            _ if stem == DEFAULT_ROUTE => None,
            Some(country) => Some(country),
            None => {
                said(
                    faults,
                    path,
                    "the file's name is no country: ISO 3166 letters like us.toml, or default.toml",
                );
                continue;
            }
        };
        if !seen.insert(place) {
            said(faults, path, "another file routes this country already");
        }
        let Some(source) = Source::read(path, faults) else {
            continue;
        };
        let stem = stem.to_ascii_lowercase();
        let base = &settings.paths.routes;
        let route = source.parse(base, faults, &mut sheets, |root| {
            Some(routes_file::route(&stem, place, &names, root))
        });
        if let Some(route) = &route {
            reach::switched_off(path, route, faults);
        }
        read.extend(route.map(|route| (place, route)));
    }
    if read.is_empty() && faults.is_empty() {
        warn(
            faults,
            &settings.paths.routes,
            "no route at all: every challenge will be rejected with no_route",
        );
    }
    let named: BTreeSet<Arc<str>> = read
        .iter()
        .flat_map(|(_, route)| route.named.iter().cloned())
        .collect();
    unused(&carriers, &known, &named, &settings.paths.carriers, faults);
    let table = compile(&known, senders, read);
    let carriers: BTreeMap<Arc<str>, Arc<CarrierConfig>> = carriers
        .into_iter()
        .map(|c| (c.name.clone(), Arc::new(c)))
        .collect();
    let secrets = carriers
        .values()
        .map(|c| (c.name.clone(), c.read_secrets()))
        .collect();
    Some(Half {
        carriers: Arc::new(carriers),
        table: Arc::new(table),
        secrets: Arc::new(secrets),
        sheets,
    })
}

/// All carriers' files: the good ones, and what routes must know of each that is there.
fn carriers(
    folder: &Path,
    faults: &Faults,
    sheets: &mut Sheets,
) -> (Vec<CarrierConfig>, BTreeMap<Arc<str>, Known>) {
    let mut good = Vec::new();
    let mut known = BTreeMap::new();
    for (stem, path) in toml_files(folder, faults) {
        if stem.len() > 64
            || !stem
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            said(
                faults,
                &path,
                "a carrier's file is named with letters, digits, dashes and underscores",
            );
            continue;
        }
        let Some(index) = u16::try_from(known.len())
            .ok()
            .filter(|n| usize::from(*n) < MAX_CARRIERS)
        else {
            said(faults, &path, format!("more than {MAX_CARRIERS} carriers"));
            break;
        };
        let read = Source::read(&path, faults).and_then(|source| {
            source.parse(folder, faults, sheets, |root| {
                CarrierConfig::of(&stem, root)
            })
        });
        let about = Known {
            index: CarrierIx(index),
            voice: read
                .as_ref()
                .map(|c| matches!(c.transport, Transport::Sip(_))),
            enabled: read.as_ref().is_none_or(|c| c.enabled),
        };
        known.insert(Arc::from(stem.as_str()), about);
        good.extend(read);
    }
    (good, known)
}

fn senders(
    folder: &Path,
    files: &[(String, PathBuf)],
    faults: &Faults,
    sheets: &mut Sheets,
) -> (Vec<Sender>, SenderIds) {
    let Some((_, path)) = files.iter().find(|(stem, _)| stem == SENDERS_FILE) else {
        if !files.is_empty() {
            said(
                faults,
                &folder.join("senders.toml"),
                "is missing: routes name only senders that stand in it",
            );
        }
        return Default::default();
    };
    // With a syntax fault in it, what could be recovered still tells which senders there are.
    let mut found = None;
    if let Some(source) = Source::read(path, faults) {
        source.parse(folder, faults, sheets, |root| {
            found = Some(routes_file::senders(root));
            Some(())
        });
    }
    found.unwrap_or_default()
}

fn compile(
    known: &BTreeMap<Arc<str>, Known>,
    senders: Vec<Sender>,
    routes: Vec<(Option<Country>, Route)>,
) -> Table {
    let mut names: Vec<(CarrierIx, Arc<str>)> = known
        .iter()
        .map(|(name, k)| (k.index, name.clone()))
        .collect();
    names.sort();
    let mut table = Table::new(names.into_iter().map(|(_, name)| name).collect(), senders);
    for (place, route) in routes {
        for (channel, lines) in [(Channel::Sms, route.sms), (Channel::Voice, route.voice)] {
            if let Some(lines) = lines {
                table.put(place, channel, lines);
            }
        }
    }
    table
}

/// Carriers that no route names are worth a word; what is wrong with their secrets is not.
fn unused(
    carriers: &[CarrierConfig],
    known: &BTreeMap<Arc<str>, Known>,
    named: &BTreeSet<Arc<str>>,
    folder: &Path,
    faults: &Faults,
) {
    let file = |name: &str| folder.join(format!("{name}.toml"));
    let idle: BTreeSet<PathBuf> = carriers
        .iter()
        .filter(|c| !c.enabled || !named.contains(&c.name))
        .map(|c| file(&c.name))
        .collect();
    faults.retain_since(0, |fault| {
        fault.weight == Weight::Fault
            || !fault.reason.ends_with(SECRET_WARNING)
            || !idle.contains(&*fault.file)
    });
    for name in known.keys().filter(|name| !named.contains(*name)) {
        warn(faults, &file(name), "no route names this carrier");
    }
}

/// The TOML files of a folder by stem, in order of names. Hidden files are editors' and ConfigMaps' own business.
fn toml_files(folder: &Path, faults: &Faults) -> Vec<(String, PathBuf)> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => {
            said(faults, folder, format!("the folder can't be read: {e}"));
            return Vec::new();
        }
    };
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let stem = name.to_str()?.strip_suffix(".toml")?;
            (!stem.starts_with('.') && !stem.is_empty()).then(|| (stem.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    found
}

fn said(faults: &Faults, file: &Path, reason: impl Into<String>) {
    faults.push(Fault {
        file: Arc::new(file.to_path_buf()),
        line: 1,
        key: "file".to_owned(),
        reason: reason.into(),
        weight: Weight::Fault,
    });
}

fn warn(faults: &Faults, file: &Path, reason: impl Into<String>) {
    faults.push(Fault {
        file: Arc::new(file.to_path_buf()),
        line: 1,
        key: "file".to_owned(),
        reason: reason.into(),
        weight: Weight::Warning,
    });
}
