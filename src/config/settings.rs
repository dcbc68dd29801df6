//! `ringback.toml` as checked types.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::carrier::{Pace, Secret, Tls};
use crate::number::NumberPolicy;

pub use crate::admission::{Countries, CountrySet, Guard, Limits};

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub node: Node,
    pub paths: Paths,
    pub jobs: Jobs,
    pub ledger: LedgerSettings,
    pub http: Listener,
    pub callbacks: Listener,
    pub admin: Listener,
    pub limits: Limits,
    pub countries: Countries,
    pub numbers: Numbers,
    pub log: Log,
}

impl Settings {
    /// The defaults, with paths against the folder of the file that is not there (or says nothing).
    pub fn in_folder(base: &Path) -> Settings {
        let five = Some(Pace {
            count: 5,
            per: Duration::from_secs(300),
        });
        let listener = |port| Listener {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            token: None,
            hosts: Vec::new(),
        };
        let all = CountrySet {
            all: true,
            named: BTreeSet::new(),
        };
        Settings {
            node: Node {
                name: "gw-1".into(),
                drain: Duration::from_secs(20),
                core_dumps: false,
            },
            paths: Paths {
                routes: base.join("routes"),
                carriers: base.join("carriers"),
                prompts: base.join("prompts"),
            },
            jobs: Jobs {
                max_open: 100_000,
                max_unsent: MaxUnsent::OfPace(Duration::from_secs(2)),
                amqp: None,
                code_length: 6,
                max_segments: 4,
                tenant_weights: BTreeMap::new(),
                meta: META.into_iter().map(Arc::from).collect(),
                events: Events::All,
                exchange_copy: true,
                min_call: Duration::from_secs(30),
            },
            ledger: LedgerSettings {
                path: base.join("data/ringback.db"),
                keys: Vec::new(),
                retention: Duration::from_secs(24 * 3600),
                outcomes: Duration::from_secs(7 * 24 * 3600),
                on_loss: OnLoss::Refuse,
            },
            http: listener(8080),
            callbacks: listener(8081),
            admin: listener(8082),
            limits: Limits {
                per_user: five,
                per_number: five,
                per_prefix: Some(Pace {
                    count: 200,
                    per: Duration::from_secs(600),
                }),
                per_country: None,
                per_tenant: None,
                guard: Guard::Deny,
                prefix_guard: Some(Guard::Record),
            },
            countries: Countries {
                sms: all.clone(),
                voice: all,
            },
            numbers: Numbers { allow: Vec::new() },
            log: Log {
                format: LogFormat::Text,
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::in_folder(Path::new(""))
    }
}

/// Keys of `meta` that are kept where the configuration names no others.
const META: [&str; 7] = [
    "name",
    "email",
    "server",
    "server_ip",
    "client_ip",
    "source",
    "trace",
];

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: Arc<str>,
    pub drain: Duration,
    /// A crash may leave a dump, and debuggers may look.
    pub core_dumps: bool,
}

/// Absolute, or relative to the current folder: resolved against the file's own folder when read.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    pub routes: PathBuf,
    pub carriers: PathBuf,
    pub prompts: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Jobs {
    pub max_open: usize,
    pub max_unsent: MaxUnsent,
    pub amqp: Option<Amqp>,
    /// Digits of a code that the gateway makes.
    pub code_length: u8,
    /// A job's own text that takes more is refused.
    pub max_segments: usize,
    /// Shares of tenants where they wait for the same; 1 where a tenant is not named.
    pub tenant_weights: BTreeMap<Arc<str>, u32>,
    /// Keys of `meta` that are kept and echoed.
    pub meta: BTreeSet<Arc<str>>,
    /// Which non-final events are published.
    pub events: Events,
    pub exchange_copy: bool,
    /// No call is started with less left than this.
    pub min_call: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxUnsent {
    /// So long at the carriers' total pace.
    OfPace(Duration),
    Count(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Events {
    All,
    Only(BTreeSet<Arc<str>>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Amqp {
    /// `amqp://` or `amqps://`; read again on each connect.
    pub url: Text,
    pub tls: Tls,
    /// Further brokers, tried in turn.
    pub others: Vec<Address>,
    pub exchange: Arc<str>,
    pub queue: Arc<str>,
    pub control: Arc<str>,
    pub dead: Arc<str>,
    pub reports: Arc<str>,
    pub prefetch: u16,
}

impl Amqp {
    /// A broker by its address, everything else by default.
    pub fn at(url: &str) -> Amqp {
        Amqp {
            url: Text::Plain(url.into()),
            tls: Tls::default(),
            others: Vec::new(),
            exchange: "ringback".into(),
            queue: "ringback.jobs".into(),
            control: "ringback.control".into(),
            dead: "ringback.dead".into(),
            reports: "ringback.reports".into(),
            prefetch: 2_000,
        }
    }

    /// Every broker, in the order in which they are tried.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        let first = Address {
            url: self.url.clone(),
            tls: self.tls.clone(),
        };
        std::iter::once(first).chain(self.others.iter().cloned())
    }
}

/// Where one broker is.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// `amqp://` or `amqps://`; read again on each connect.
    pub url: Text,
    pub tls: Tls,
}

/// A value that stands in the file, or a secret that it names.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    Plain(Arc<str>),
    Secret(Secret),
}

impl Text {
    pub fn read(&self) -> Result<String, String> {
        match self {
            Text::Plain(text) => Ok(text.to_string()),
            Text::Secret(secret) => secret.read(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct LedgerSettings {
    /// The SQLite file.
    pub path: PathBuf,
    /// The first seals, all open. Empty: one is made beside the database.
    pub keys: Vec<LedgerKey>,
    pub retention: Duration,
    /// Id, times and outcome are kept for so long, where this is longer.
    pub outcomes: Duration,
    pub on_loss: OnLoss,
}

/// What a start does that finds less in the ledger than was durable there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Says what is missing, and does not start.
    Refuse,
    /// Says what is missing, and goes on without it.
    Continue,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LedgerKey {
    pub id: Arc<str>,
    /// 32 octets as hex.
    pub key: Secret,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub listen: SocketAddr,
    pub token: Option<Secret>,
    /// Names that are taken as `Host` where no token is set, beside loopback names and IP addresses.
    pub hosts: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// Prefixes (`+1202555`) that skip validity and type checks, never the emergency check.
    pub allow: Vec<Arc<str>>,
}

impl Numbers {
    pub fn policy(&self) -> NumberPolicy {
        let allow: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
        // Checked when the file was read: none is wrong.
        NumberPolicy::new(&allow).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
