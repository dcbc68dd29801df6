//! Reads `ringback.toml` into [`Settings`]. What is absent has its default, so that an empty file is a good one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{
    settings::*,
    settings_amqp,
    table::{Cursor, Value, quoted},
    values,
};
use crate::number::Country;

mod ledger;
mod limits;

const SECOND: Duration = Duration::from_secs(1);
/// What a concatenation header can count.
const SEGMENTS: i64 = crate::message::text::MAX_SEGMENTS as i64;
const DAY: Duration = Duration::from_secs(86_400);
/// Non-final events of reports (interfaces, section 2).
pub const EVENTS: [&str; 6] = [
    "accepted",
    "sent",
    "ringing",
    "answered",
    "attempt_failed",
    "fallback",
];

/// Reads the settings; paths stand against `base`, the file's own folder.
pub fn read(base: &Path, root: Cursor<'_>) -> Option<Settings> {
    let default = Settings::in_folder(base);
    let mut whole = true;
    // Each section says its own faults; what is read is only used when there are none at all.
    macro_rules! read {
        ($key:literal, $default:expr, $read:expr) => {
            match section(&root, $key) {
                Some(table) => {
                    let found = $read(&table);
                    table.finish();
                    whole &= found.is_some();
                    found.unwrap_or($default)
                }
                None => $default,
            }
        };
    }
    let settings = Settings {
        node: read!("node", default.node.clone(), |t: &Cursor<'_>| node(
            t,
            &default.node
        )),
        paths: read!("paths", default.paths.clone(), |t: &Cursor<'_>| paths(
            t,
            base,
            &default.paths
        )),
        jobs: read!("jobs", default.jobs.clone(), |t: &Cursor<'_>| jobs(
            t,
            base,
            &default.jobs
        )),
        ledger: read!("ledger", default.ledger.clone(), |t: &Cursor<'_>| {
            ledger::read(t, base, &default.ledger)
        }),
        http: read!("http", default.http.clone(), |t: &Cursor<'_>| listener(
            t,
            base,
            &default.http
        )),
        callbacks: read!("callbacks", default.callbacks.clone(), |t: &Cursor<'_>| {
            listener(t, base, &default.callbacks)
        }),
        admin: read!("admin", default.admin.clone(), |t: &Cursor<'_>| listener(
            t,
            base,
            &default.admin
        )),
        limits: read!("limits", default.limits.clone(), |t: &Cursor<'_>| {
            limits::read(t, &default.limits)
        }),
        countries: read!("countries", default.countries.clone(), |t: &Cursor<'_>| {
            countries(t, &default.countries)
        }),
        numbers: read!("numbers", default.numbers.clone(), numbers),
        log: read!("log", default.log, |t: &Cursor<'_>| log(t, default.log)),
    };
    same_addresses(&root, &settings);
    limits::within_retention(&root, &settings);
    root.finish();
    whole.then_some(settings)
}

fn section<'a>(root: &Cursor<'a>, key: &'static str) -> Option<Cursor<'a>> {
    root.get(key)?.table()
}

/// The value of a key read by `read`, or the default where it is absent.
pub(super) fn or<'a, T>(
    table: &Cursor<'a>,
    key: &'static str,
    default: T,
    read: impl FnOnce(&Value<'a>) -> Option<T>,
) -> Option<T> {
    match table.get(key) {
        Some(value) => read(&value),
        None => Some(default),
    }
}

fn node(table: &Cursor<'_>, default: &Node) -> Option<Node> {
    let name = or(table, "name", default.name.clone(), |v| {
        let text = v.text()?;
        let good = text.len() <= 64
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !good {
            v.fault("must be at most 64 letters, digits, dots, dashes and underscores");
        }
        Some(text.into())
    });
    let drain = or(table, "drain", default.drain, |v| {
        values::duration(v, Duration::ZERO, 3600 * SECOND)
    });
    let core_dumps = or(table, "core_dumps", default.core_dumps, Value::bool);
    Some(Node {
        name: name?,
        drain: drain?,
        core_dumps: core_dumps?,
    })
}

fn paths(table: &Cursor<'_>, base: &Path, default: &Paths) -> Option<Paths> {
    let folder = |key, default: &std::path::PathBuf| {
        or(table, key, default.clone(), |v| {
            let path = base.join(v.text()?);
            if !path.is_dir() {
                v.fault(format!("{} is not a folder", path.display()));
            }
            Some(path)
        })
    };
    let (routes, carriers) = (
        folder("routes", &default.routes),
        folder("carriers", &default.carriers),
    );
    let prompts = folder("prompts", &default.prompts);
    Some(Paths {
        routes: routes?,
        carriers: carriers?,
        prompts: prompts?,
    })
}

fn jobs(table: &Cursor<'_>, base: &Path, default: &Jobs) -> Option<Jobs> {
    let amqp_table = section(table, "amqp");
    let amqp = amqp_table.as_ref();
    let max_open = or(table, "max_open", default.max_open, |v| {
        v.int(1..=10_000_000).and_then(|n| usize::try_from(n).ok())
    });
    let max_unsent = or(table, "max_unsent", default.max_unsent, |v| {
        if v.is_int() {
            let count = v.int(1..=10_000_000)?;
            return usize::try_from(count).ok().map(MaxUnsent::Count);
        }
        values::duration(v, Duration::from_millis(100), 600 * SECOND).map(MaxUnsent::OfPace)
    });
    let code_length = or(table, "code_length", default.code_length, |v| {
        v.int(4..=10).and_then(|n| u8::try_from(n).ok())
    });
    let max_segments = or(table, "max_segments", default.max_segments, |v| {
        v.int(1..=SEGMENTS).and_then(|n| usize::try_from(n).ok())
    });
    let tenant_weights = or(table, "tenant_weights", BTreeMap::new(), limits::weights);
    let meta = or(table, "meta", default.meta.clone(), |v| {
        values::texts(v).map(|words| words.into_iter().collect())
    });
    let min_call = or(table, "min_call", default.min_call, |v| {
        values::duration(v, SECOND, 300 * SECOND)
    });
    let events = amqp.map_or(Some(default.events.clone()), |t| {
        or(t, "events", default.events.clone(), events)
    });
    let exchange_copy = amqp.map_or(Some(default.exchange_copy), |t| {
        or(t, "exchange_copy", default.exchange_copy, |v| v.bool())
    });
    let amqp = amqp.map_or(Some(None), |t| settings_amqp::read(t, base).map(Some));
    if let Some(table) = amqp_table {
        table.finish();
    }
    Some(Jobs {
        max_open: max_open?,
        max_unsent: max_unsent?,
        amqp: amqp?,
        code_length: code_length?,
        max_segments: max_segments?,
        tenant_weights: tenant_weights?,
        meta: meta?,
        events: events?,
        exchange_copy: exchange_copy?,
        min_call: min_call?,
    })
}

fn events(value: &Value<'_>) -> Option<Events> {
    if value.is_str() {
        return value.word(&[("all", ())]).map(|()| Events::All);
    }
    let words: Vec<(&'static str, &'static str)> = EVENTS.iter().map(|w| (*w, *w)).collect();
    let items = value.list()?;
    let found: BTreeSet<Arc<str>> = items
        .iter()
        .filter_map(|v| v.word(&words))
        .map(Arc::from)
        .collect();
    Some(Events::Only(found))
}

fn listener(table: &Cursor<'_>, base: &Path, default: &Listener) -> Option<Listener> {
    let listen = or(table, "listen", default.listen, values::socket);
    let token = or(table, "token", None, |v| {
        let secret = values::secret(v, base)?;
        match secret.read() {
            Err(reason) => v.fault(format!(
                "{reason}: without its token nobody could be let in"
            )),
            Ok(text) if text.is_empty() => v.fault("the token is empty"),
            Ok(_) => {}
        }
        Some(Some(secret))
    });
    if let Some(listen) = listen
        && !listen.ip().is_loopback()
        && !table.is_there("token")
    {
        table.fault("token", format!("is missing: {listen} can be reached from outside this machine, so name one: token = {{ env = \"NAME\" }}"));
    }
    let hosts = or(table, "hosts", default.hosts.clone(), |v| {
        if table.is_there("token") {
            v.warn("is not looked at where a token is set: any name is taken then");
        }
        hosts(v)
    });
    Some(Listener {
        listen: listen?,
        token: token?,
        hosts: hosts?,
    })
}

/// Names without a port.
fn hosts(value: &Value<'_>) -> Option<Vec<std::sync::Arc<str>>> {
    let mut found = Vec::new();
    for item in value.list()? {
        let Some(text) = item.text() else { continue };
        if values::is_host(text) {
            found.push(text.trim_end_matches('.').into());
        } else {
            item.fault(format!(
                "{} is no host's name: write it without port and path, like \"gateway.internal\"",
                quoted(text)
            ));
        }
    }
    Some(found)
}

/// Two listeners on one port: the second would fail to open.
fn same_addresses(root: &Cursor<'_>, settings: &Settings) {
    let all = [
        ("http", settings.http.listen),
        ("callbacks", settings.callbacks.listen),
        ("admin", settings.admin.listen),
    ];
    let clash = |a: SocketAddr, b: SocketAddr| {
        a.port() != 0
            && a.port() == b.port()
            && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    for (index, (name, listen)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..index].iter().find(|(_, l)| clash(*l, *listen)) {
            let said = root
                .entries()
                .find(|(key, _)| key == name)
                .or_else(|| root.entries().find(|(key, _)| key == other));
            if let Some((_, value)) = said {
                value.fault(format!(
                    "[{name}] and [{other}] listen on the same address {listen}"
                ));
            }
        }
    }
}

fn countries(table: &Cursor<'_>, default: &Countries) -> Option<Countries> {
    let sms = or(table, "sms", default.sms.clone(), country_set);
    let voice = or(table, "voice", default.voice.clone(), country_set);
    Some(Countries {
        sms: sms?,
        voice: voice?,
    })
}

fn country_set(value: &Value<'_>) -> Option<CountrySet> {
    let mut set = CountrySet {
        all: false,
        named: BTreeSet::new(),
    };
    for item in value.list()? {
        let Some(text) = item.str() else { continue };
        match Country::parse(text) {
            _ if text == "all" => set.all = true,
            Some(country) if super::routes_file::is_country(text) => {
                set.named.insert(country);
            }
            _ => item.fault(format!(
                "{} is no country: write \"all\" or ISO 3166 letters like \"SE\"",
                quoted(text)
            )),
        }
    }
    Some(set)
}

fn numbers(table: &Cursor<'_>) -> Option<Numbers> {
    let allow = or(table, "allow", Vec::new(), |v| {
        let mut found: Vec<Arc<str>> = Vec::new();
        for item in v.list()? {
            let Some(text) = item.str() else { continue };
            let digits = text.strip_prefix('+').unwrap_or("");
            if (1..=15).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit())
                && !digits.starts_with('0')
            {
                found.push(text.into());
            } else {
                item.fault(format!(
                    "{} is no prefix: write a plus and digits, like \"+1202555\"",
                    quoted(text)
                ));
            }
        }
        Some(found)
    });
    Some(Numbers { allow: allow? })
}

fn log(table: &Cursor<'_>, default: Log) -> Option<Log> {
    let format = or(table, "format", default.format, |v| {
        v.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    Some(Log { format: format? })
}
