//! `[ledger]`: where it is, its keys, how long it remembers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    config::{secret::Secret, values::LEDGER_KEY},
    schema::{
        TableView, Value, described,
        kinds::{self, DAY, OneOf, Read, TEXT, any_string, list, plain, section, span, word},
        value::quoted,
    },
};

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct LedgerSettings {
        /// The database.
        pub path("url"): PathBuf, SQLITE, restart, default("sqlite:data/ringback.db");
        /// The first seals, all open. None: one is made once beside the database (`.key`, mode 0600).
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

const SQLITE: Read<PathBuf> = kinds::read("`sqlite:` and a path", any_string, |value| {
    let text = plain(value)?;
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return value.refuse("PostgreSQL is not available yet: write \"sqlite:data/ringback.db\"");
    }
    let path = text
        .strip_prefix("sqlite:")
        .filter(|p| !p.is_empty() && !p.ends_with('/'));
    match path {
        Some(path) => Some(value.base().join(path)),
        None => value.refuse(format!(
            "{} is no ledger: write \"sqlite:\" and the path of a file",
            quoted(text)
        )),
    }
});

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
