//! `ringback.toml`: the description of its keys, as the types that the program goes by. What is absent has its default,
//! so that an empty file is a good one.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde_json::json;

use super::{
    secret::Secret,
    values::{self, FOLDER, SOCKET, TOKEN},
};
use crate::{
    admission::longest,
    number::NumberPolicy,
    schema::{
        Adopt, Described, Key, Reading, RestartNeeded, TableView, described,
        kinds::{
            self, FLAG, HOUR, Misfit, OneOf, Parsed, any_string, duration, list, mapped, section,
            span, word,
        },
        value::quoted,
    },
};

mod jobs;
mod ledger;

pub use super::secret::Text;
pub use crate::admission::{Countries, CountrySet, Guard, Limits};
pub use jobs::{Address, Amqp, Events, Jobs, MaxUnsent};
pub use ledger::{LedgerKey, LedgerSettings, LedgerUrl, OnLoss};

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Settings {
        pub node: Node, section(), inside, default({});
        pub paths: Paths, section(), inside, default({});
        pub jobs: Jobs, section(), inside, default({});
        pub ledger: LedgerSettings, section(), inside, default({});
        pub http: Listener, mapped(section::<Http>(), Http::listener), inside, default({});
        pub callbacks: Listener, mapped(section::<Callbacks>(), Callbacks::listener), inside, default({});
        pub admin: Listener, mapped(section::<Admin>(), Admin::listener), inside, default({});
        pub limits: Limits, section(), inside, default({});
        pub countries: Countries, section(), inside, default({});
        pub numbers: Numbers, section(), inside, default({});
        pub log: Log, section(), inside, default({});
    }
    then (table) {
        same_addresses(table, [("http", &http), ("callbacks", &callbacks), ("admin", &admin)]);
        within_retention(table, limits.as_ref(), ledger.as_ref());
    }
}

impl Settings {
    /// The defaults, with paths against the folder of the file that is not there (or says nothing).
    pub fn in_folder(base: &Path) -> Settings {
        let reading = Reading::toml(base);
        // Nothing must stand there, and a test reads every default.
        Settings::read(&reading.root(&[])).expect("the defaults are good")
    }

    /// What holds from now on beside a gateway that runs with `self`, once the file says `read`; and the keys whose
    /// new value waits for a restart.
    pub fn adopted(&self, read: Settings) -> (Settings, Vec<&'static str>) {
        let mut waiting = RestartNeeded::default();
        let settings = self.adopt(read, &mut waiting);
        let known = |key: &String| NAMES.get(key).map(String::as_str);
        (settings, waiting.keys.iter().filter_map(known).collect())
    }
}

/// Every key and section, dotted.
static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    fn below(path: &str, keys: &[Key], names: &mut BTreeSet<String>) {
        for key in keys {
            let name = format!("{path}{}", key.name);
            below(&format!("{name}."), &key.inside, names);
            names.insert(name);
        }
    }
    let mut names = BTreeSet::new();
    below("", &Settings::keys(), &mut names);
    names
});

impl Default for Settings {
    fn default() -> Settings {
        Settings::in_folder(Path::new(""))
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Node {
        /// Stands in reports and their ids.
        pub name: Arc<str>, NODE_NAME, restart, default("gw-1");
        /// How long what is in the air may take after SIGTERM.
        pub drain: Duration, span(0, HOUR), live, default("20s");
        /// `true`: a crash may leave a core with codes in it, and debuggers may attach.
        pub core_dumps: bool, FLAG, restart, default(false);
    }
}

const NODE_NAME: Parsed<Arc<str>> = kinds::parsed(
    "1 to 64 letters, digits, `-._`",
    || json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
    |text| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        match text.len() <= 64 && text.bytes().all(good) {
            true => Ok(text.into()),
            false => Err(Misfit::new(
                "must be at most 64 letters, digits, dots, dashes and underscores",
            )),
        }
    },
);

described! {
    /// Absolute, or relative to the current folder: resolved against the file's own folder when read.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Paths {
        /// One file a country.
        pub routes: PathBuf, FOLDER, restart, default("routes");
        /// One file a carrier.
        pub carriers: PathBuf, FOLDER, restart, default("carriers");
        /// Recordings, by language.
        pub prompts: PathBuf, FOLDER, restart, default("prompts");
    }
}

/// One of the three doors for HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub listen: SocketAddr,
    pub token: Option<Secret>,
    /// Names that are taken as `Host` where no token is set, beside loopback names and IP addresses.
    pub hosts: Vec<Arc<str>>,
}

/// The listeners have the same keys and each an address of its own by default.
macro_rules! listener {
    ($name:ident, $listen:literal) => {
        described! {
            #[derive(Clone, Debug, PartialEq)]
            struct $name {
                /// Where it listens.
                listen: SocketAddr, SOCKET, restart, default($listen);
                /// Whoever knows it is let in; required where `listen` is not loopback.
                token: Option<Secret>, TOKEN, live, absent("none", { env = "NAME" });
                /// Names that are taken as `Host` where no token is set, beside loopback names and IP addresses.
                hosts: Vec<Arc<str>>, list(HOST), live, default([]);
            }
            then (table) {
                guarded(table, listen);
            }
        }

        impl $name {
            fn listener(self) -> Listener {
                let $name {
                    listen,
                    token,
                    hosts,
                } = self;
                Listener {
                    listen,
                    token,
                    hosts,
                }
            }
        }
    };
}

listener!(Http, "127.0.0.1:8080");
listener!(Callbacks, "127.0.0.1:8081");
listener!(Admin, "127.0.0.1:8082");

/// What others can reach needs a token.
fn guarded(table: &TableView<'_>, listen: Option<SocketAddr>) {
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback())
        && !table.is_there("token")
    {
        table.fault("token", format!("is missing: {listen} can be reached from outside this machine, so name one: token = {{ env = \"NAME\" }}"));
    }
    if let Some(hosts) = table.value("hosts")
        && table.is_there("token")
    {
        hosts.warn("is not looked at where a token is set: any name is taken then");
    }
}

/// A token belongs to its address: a listener that would move keeps both until the restart, or one that others reach
/// could stand open meanwhile.
impl Adopt for Listener {
    fn adopt(
        in_force: &Listener,
        read: Listener,
        key: &'static str,
        waiting: &mut RestartNeeded,
    ) -> Listener {
        if in_force.listen == read.listen {
            return read;
        }
        waiting.note(&[key, "listen"]);
        in_force.clone()
    }
}

const HOST: Parsed<Arc<str>> = kinds::parsed("names without a port", any_string, |text| {
    if values::is_host(text) {
        return Ok(text.trim_end_matches('.').into());
    }
    Err(Misfit::new(format!(
        "{} is no host's name: write it without port and path, like \"gateway.internal\"",
        quoted(text)
    )))
});

/// Two listeners on one port: the second would fail to open.
fn same_addresses(table: &TableView<'_>, all: [(&'static str, &Option<Listener>); 3]) {
    let clash = |a: SocketAddr, b: SocketAddr| {
        a.port() != 0
            && a.port() == b.port()
            && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    let read = |(name, listener): &(&'static str, &Option<Listener>)| {
        listener.as_ref().map(|listener| (*name, listener.listen))
    };
    let all: Vec<(&str, SocketAddr)> = all.iter().filter_map(read).collect();
    for (index, (name, listen)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..index].iter().find(|(_, l)| clash(*l, *listen)) {
            let stands = if table.is_there(name) { name } else { other };
            let reason = format!("[{name}] and [{other}] listen on the same address {listen}");
            table.fault(stands, reason);
        }
    }
}

/// A restart fills the windows from what the ledger still holds.
fn within_retention(
    table: &TableView<'_>,
    limits: Option<&Limits>,
    ledger: Option<&LedgerSettings>,
) {
    let (Some(limits), Some(ledger)) = (limits, ledger) else {
        return;
    };
    if longest(limits) > ledger.retention && table.is_there("limits") {
        table.fault("limits", format!(
            "a limit is longer than [ledger] retention ({}): the ledger would not know of what counts in it",
            duration(ledger.retention)
        ));
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Numbers {
        /// Numbers that begin so skip the checks of validity and type, never that of emergency numbers.
        pub allow: Vec<Arc<str>>, list(PREFIX), live, default([]);
    }
}

const PREFIX: Parsed<Arc<str>> = kinds::parsed(
    "prefixes, like `\"+1202555\"`",
    || json!({ "type": "string", "pattern": "^\\+[1-9][0-9]{0,14}$" }),
    |text| {
        let digits = text.strip_prefix('+').unwrap_or("");
        let good = (1..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if good {
            return Ok(text.into());
        }
        Err(Misfit::new(format!(
            "{} is no prefix: write a plus and digits, like \"+1202555\"",
            quoted(text)
        )))
    },
);

impl Numbers {
    pub fn policy(&self) -> NumberPolicy {
        let allow: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
        // Checked when the file was read: none is wrong.
        NumberPolicy::new(&allow).unwrap_or_default()
    }
}

described! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Log {
        /// How lines are written.
        pub format: LogFormat, LOG_FORMAT, live, default("text");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

const LOG_FORMAT: OneOf<LogFormat> = word(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

#[cfg(test)]
mod tests;
