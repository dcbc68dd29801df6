//! `[jobs]` and `[jobs.amqp]`: what a job may be, how many there may be, and the broker that they come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::json;

use crate::{
    config::{
        secret::Text,
        values::{BROKER, TEXTS, Tls},
    },
    message::text::MAX_SEGMENTS,
    schema::{
        Described, Reading, TableView, Value, described,
        kinds::{
            self, FLAG, MINUTE, Map, Misfit, OneOf, Parsed, Read, SECOND, filled, int, list, map,
            mapped, section, span, word,
        },
        tree::{Entry, Tree},
    },
};

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Jobs {
        /// Challenges without a final; beyond it jobs stay in the broker.
        pub max_open: usize, int(1..=10_000_000), live, default(100000);
        /// Challenges without a first attempt: so long at the carriers' total pace, or so many.
        pub max_unsent: MaxUnsent, MAX_UNSENT, live, default("2s");
        /// Shares of tenants where they wait for the same; 1 for all others.
        pub tenant_weights: BTreeMap<Arc<str>, u32>, TENANT_WEIGHTS, live, default({});
        /// Digits of codes that the gateway makes.
        pub code_length: u8, int(4..=10), live, default(6);
        /// A job's own text that takes more is refused.
        pub max_segments: usize, int(1..=MAX_SEGMENTS as i64), live, default(4);
        /// No call is started with less of the life left.
        pub min_call: Duration, span(SECOND, 5 * MINUTE), live, default("30s");
        /// Which keys of `meta` are kept and echoed.
        pub meta: BTreeSet<Arc<str>>, mapped(TEXTS, BTreeSet::from_iter), live,
            default(["name", "email", "server", "server_ip", "client_ip", "source", "trace"]);
        pub amqp: Option<Amqp>, section(), inside, absent("jobs come by HTTP alone");
    }
}

impl Jobs {
    /// Which non-final events are published.
    pub fn events(&self) -> &Events {
        self.amqp.as_ref().map_or(&Events::All, |amqp| &amqp.events)
    }

    /// Reports go to the exchange, too.
    pub fn exchange_copy(&self) -> bool {
        self.amqp.as_ref().is_none_or(|amqp| amqp.exchange_copy)
    }
}

const TENANT_WEIGHTS: Map<kinds::Int<u32>> = map(
    "tenants, each with 1 to 1,000, like `{ bank = 3 }`",
    WEIGHT,
    |_| None,
);
const WEIGHT: kinds::Int<u32> = int(1..=1_000);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxUnsent {
    /// So long at the carriers' total pace.
    OfPace(Duration),
    Count(usize),
}

const MAX_UNSENT: Read<MaxUnsent> = kinds::read(
    "100ms to 10m, or a number to 10,000,000",
    || json!({ "type": ["string", "integer"], "minimum": 1, "maximum": 10_000_000 }),
    |value| {
        use crate::schema::ValueKind;
        if value.is_int() {
            return int(1..=10_000_000).read(value).map(MaxUnsent::Count);
        }
        span(100, 10 * MINUTE).read(value).map(MaxUnsent::OfPace)
    },
);

#[derive(Clone, Debug, PartialEq)]
pub enum Events {
    All,
    Only(BTreeSet<Arc<str>>),
}

/// Non-final events of reports.
const EVENT: OneOf<&str> = word(&[
    ("accepted", "accepted"),
    ("sent", "sent"),
    ("ringing", "ringing"),
    ("answered", "answered"),
    ("attempt_failed", "attempt_failed"),
    ("fallback", "fallback"),
]);

const EVENTS: Read<Events> = kinds::read(
    "`\"all\"`, or a list of `accepted`, `sent`, `ringing`, `answered`, `attempt_failed`, `fallback`",
    || {
        use crate::schema::ValueKind;
        json!({ "anyOf": [{ "const": "all" }, list(EVENT).json()] })
    },
    |value| {
        use crate::schema::ValueKind;
        if value.is_str() {
            return word(&[("all", Events::All)]).read(value);
        }
        let words = list(EVENT).read(value)?;
        Some(Events::Only(words.into_iter().map(Arc::from).collect()))
    },
);

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Amqp {
        /// Of the connection; what stands behind its secrets is used from the next one on.
        pub tls: Tls, section(), restart, default({});
        /// Jobs come from it; bound with the key `challenge`.
        pub queue: Arc<str>, BROKER_NAME, restart, default("ringback.jobs");
        /// Cancels and feedback come from it.
        pub control: Arc<str>, BROKER_NAME, restart, default("ringback.control");
        /// Jobs are published to it.
        pub exchange: Arc<str>, BROKER_NAME, restart, default("ringback");
        /// Dead letters: an exchange and a queue.
        pub dead: Arc<str>, BROKER_NAME, restart, default("ringback.dead");
        /// Reports are published to it.
        pub reports: Arc<str>, BROKER_NAME, restart, default("ringback.reports");
        /// Jobs that the broker hands out before the first of them is acked.
        pub prefetch: u16, int(1..=65_535), restart, default(2000);
        /// Which non-final events are published.
        pub events: Events, EVENTS, live, default("all");
        /// `false`: reports go to `reply_to` only.
        pub exchange_copy: bool, FLAG, live, default(true);
    }
    keys {
        /// Where the broker is; required in this section, or `urls`.
        one("url"): Option<Text>, BROKER, restart, absent("none", { env = "RINGBACK_AMQP_URL" });
        /// Several brokers instead, tried in turn; `tls` holds for all that have none of their own.
        several("urls"): Option<Vec<Broker>>, filled(BROKER_AT, "names no broker"), restart,
            absent("none", ["amqps://one.example", { url = "amqps://two.example", tls = { name = "two" } }]);
    }
    fields {
        /// Read again on each connect.
        pub url: Text, restart;
        /// Further brokers, tried in turn.
        pub others("urls"): Vec<Address>, restart;
    }
    then (table) {
        let mut addresses = addresses(table, one, several, tls.as_ref());
        let (url, others) = match addresses.is_empty() {
            true => (None, None),
            false => (Some(addresses.remove(0)), Some(addresses)),
        };
        // Several brokers stand together, each with its own certificates.
        let tls = url.as_ref().map(|first| first.tls.clone());
        let url = url.map(|first| first.url);
        distinct(table, [
            ("queue", &queue), ("control", &control), ("dead", &dead), ("exchange", &exchange), ("reports", &reports),
        ]);
    }
}

impl Amqp {
    /// A broker by its address, everything else by default.
    pub fn at(url: &str) -> Amqp {
        let reading = Reading::toml(Path::new(""));
        let entry = Entry {
            key: "url".into(),
            at: 0,
            value: Tree::Text("amqp://".into()),
        };
        // A test reads every default.
        let found = Amqp::read(&reading.root(&[entry])).expect("the defaults are good");
        Amqp {
            url: Text::Plain(url.into()),
            ..found
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

described! {
    /// One of several.
    #[derive(Clone, Debug, PartialEq)]
    struct Broker {
        url: Text, BROKER, whole, needed({ env = "RINGBACK_AMQP_URL" });
        tls: Option<Tls>, section(), whole, absent("that of the section");
    }
}

const BROKER_AT: Read<Broker> = kinds::read(
    "addresses, or `{ url, tls }`",
    || json!({ "type": ["string", "object"] }),
    broker_at,
);

/// An address alone, or `{ url, tls }`.
fn broker_at(value: &Value<'_>) -> Option<Broker> {
    use crate::schema::ValueKind;
    if value.is_table()
        && let Some(table) = value.table().filter(|table| table.is_there("url"))
    {
        let found = Broker::read(&table);
        table.finish();
        return found;
    }
    let url = BROKER.read(value)?;
    Some(Broker { url, tls: None })
}

/// All brokers in their order; none where something is wrong with them.
fn addresses(
    table: &TableView<'_>,
    one: Option<Option<Text>>,
    several: Option<Option<Vec<Broker>>>,
    tls: Option<&Tls>,
) -> Vec<Address> {
    if !table.is_there("url") && !table.is_there("urls") {
        table.need("url", "{ env = \"RINGBACK_AMQP_URL\" }");
    }
    if table.is_there("url") && table.is_there("urls") {
        table.fault("url", "stands beside urls: put every broker into urls");
    }
    let (Some(one), Some(several), Some(tls)) = (one, several, tls) else {
        return Vec::new();
    };
    let one = one.map(|url| Broker { url, tls: None });
    let all = one.into_iter().chain(several.into_iter().flatten());
    all.map(|broker| Address {
        url: broker.url,
        tls: broker.tls.unwrap_or_else(|| tls.clone()),
    })
    .collect()
}

const BROKER_NAME: Parsed<Arc<str>> = kinds::parsed(
    "a name, not `amq.*`",
    || json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^(?!amq\\.)" }),
    |text| match text.len() > 255 || text.starts_with("amq.") {
        true => Err(Misfit::new(
            "must be at most 255 octets and not start with \"amq.\", which is the broker's own",
        )),
        false => Ok(text.into()),
    },
);

/// No two queues of a name, and no two exchanges; `dead` names one of each.
fn distinct(table: &TableView<'_>, names: [(&'static str, &Option<Arc<str>>); 5]) {
    let [queue, control, dead, exchange, reports] = names;
    let pairs = [
        (control, queue),
        (dead, queue),
        (dead, control),
        (dead, exchange),
        (dead, reports),
        (reports, exchange),
    ];
    for ((key, name), (_, other)) in pairs {
        if name.is_some() && name == other {
            table.fault(key, "has the name of another queue or exchange here");
        }
    }
}
