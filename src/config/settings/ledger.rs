//! `[ledger]`: where it is, its keys, how long it remembers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;

use crate::{
    config::{
        secret::{Secret, SecretError, Text},
        values::{LEDGER_KEY, secret, secret_json},
    },
    schema::{
        TableView, Value, described,
        kinds::{self, DAY, OneOf, Read, TEXT, list, plain, section, span, word},
        value::quoted,
    },
};

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct LedgerSettings {
        /// The database.
        pub url: LedgerUrl, LEDGER_URL, restart, default("sqlite:data/ringback.db");
        /// The first seals, all open. None: one is made once beside the file (`.key`, mode 0600); PostgreSQL needs one.
        pub keys: Vec<LedgerKey>, list(section()), restart, default([]);
        /// Ids are remembered, finals repeated, and late receipts find their challenge for so long.
        pub retention: Duration, span(DAY, 400 * DAY), live, default("24h");
        /// Id, times and outcome alone are kept for so long, for `trace`; no longer than retention: they are not.
        pub outcomes: Duration, span(0, 400 * DAY), live, default("7d");
        /// What a start does that finds less than was durable.
        pub on_loss: OnLoss, ON_LOSS, live, default("refuse");
    }
    then (table) {
        named_once(table);
        if let (Some(LedgerUrl::Postgres { .. }), Some([])) = (&url, keys.as_deref()) {
            table.need("keys", "[{ id = \"k1\", key = { env = \"RINGBACK_LEDGER_KEY\" } }]");
        }
    }
}

/// Where the ledger is.
#[derive(Clone, Debug, PartialEq)]
pub enum LedgerUrl {
    /// A file.
    Sqlite(PathBuf),
    Postgres {
        url: Text,
        /// Without user, password and parameters.
        name: PathBuf,
        /// Where the files of this machine's own stand: their path without its ending.
        beside: PathBuf,
    },
}

impl LedgerSettings {
    /// The address of a ledger in a database, read now. None: it is a file.
    pub fn database(&self) -> Option<Result<String, SecretError>> {
        match &self.url {
            LedgerUrl::Sqlite(_) => None,
            LedgerUrl::Postgres { url, .. } => Some(url.read()),
        }
    }

    /// The file, or where those of this machine's own stand beside a database elsewhere.
    pub fn path(&self) -> &Path {
        match &self.url {
            LedgerUrl::Sqlite(path) => path,
            LedgerUrl::Postgres { beside, .. } => beside,
        }
    }

    /// As it is called where something is said of it.
    pub fn name(&self) -> &Path {
        match &self.url {
            LedgerUrl::Sqlite(path) => path,
            LedgerUrl::Postgres { name, .. } => name,
        }
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct LedgerKey {
        /// Each once.
        pub id: Arc<str>, TEXT, whole, needed("k1");
        /// 32 octets as hex.
        pub key: Secret, LEDGER_KEY, whole, needed({ env = "RINGBACK_LEDGER_KEY" });
    }
}

/// What a start does that finds less in the ledger than was durable there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Says what is missing, and does not start.
    Refuse,
    /// Says what is missing, and goes on without it.
    Continue,
}

const ON_LOSS: OneOf<OnLoss> = word(&[("refuse", OnLoss::Refuse), ("continue", OnLoss::Continue)]);

const LEDGER_URL: Read<LedgerUrl> = kinds::read(
    "`sqlite:` and a path, or `postgres://user:password@host/database`; plain or a secret",
    || json!({ "anyOf": [{ "type": "string", "pattern": "^(sqlite:|postgres(ql)?://)" }, secret_json()] }),
    ledger_url,
);

fn ledger_url(value: &Value<'_>) -> Option<LedgerUrl> {
    if !value.is_table() {
        let text = plain(value)?;
        if let Some(password) = password(text) {
            value.warn(format!(
                "holds {password}: name the whole address as {{ env = \"RINGBACK_LEDGER_URL\" }}"
            ));
        }
        return place(value, text, Text::Plain(text.into()));
    }
    let secret = secret(value)?;
    match secret.read() {
        Ok(text) => place(value, &text, Text::Secret(secret)),
        Err(reason) => value.refuse(format!(
            "{reason}: no challenge is taken without its ledger"
        )),
    }
}

/// `text` is what stands there, or behind the secret, and is not shown.
fn place(value: &Value<'_>, text: &str, url: Text) -> Option<LedgerUrl> {
    if is_postgres(text) {
        let beside = value.base().join("data/ringback");
        let name = name(text);
        return Some(LedgerUrl::Postgres { url, name, beside });
    }
    let path = text
        .strip_prefix("sqlite:")
        .filter(|p| !p.is_empty() && !p.ends_with('/'));
    match path {
        Some(path) => Some(LedgerUrl::Sqlite(value.base().join(path))),
        None => value.refuse(format!(
            "{} is no ledger: write \"sqlite:\" and the path of a file, or \"postgres://\" and where the database is",
            match &url {
                Text::Plain(text) => quoted(text),
                Text::Secret(secret) => secret.to_string(),
            }
        )),
    }
}

/// Where a database is, without who asks and with what.
fn name(text: &str) -> PathBuf {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let address = address.split('?').next().unwrap_or(address);
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let hosts = authority
        .rsplit_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    PathBuf::from(format!("postgres://{hosts}/{database}"))
}

fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

fn password(text: &str) -> Option<&'static str> {
    let authority = text.split_once("://").filter(|_| is_postgres(text))?.1;
    let authority = authority.split(['/', '?']).next()?;
    let (login, _) = authority.rsplit_once('@')?;
    login.contains(':').then_some("a password")
}

fn named_once(table: &TableView<'_>) {
    let keys = table.value("keys");
    let items = keys.as_ref().and_then(Value::list).unwrap_or_default();
    let mut seen: Vec<String> = Vec::new();
    for item in items.iter().filter(|item| item.is_table()) {
        let table = item.table();
        let id = table.as_ref().and_then(|table| table.value("id"));
        let Some(id) = id.as_ref().and_then(Value::str) else {
            continue;
        };
        if seen.iter().any(|known| known == id) {
            item.fault(format!("the id {} stands here twice", quoted(id)));
        }
        seen.push(id.to_owned());
    }
}
