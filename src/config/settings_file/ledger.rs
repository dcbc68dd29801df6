//! `[ledger]`: where it is, its keys, how long it remembers.

use std::{path::Path, time::Duration};

use super::{DAY, or};
use crate::config::{
    carrier::Secret,
    settings::{LedgerKey, LedgerSettings, OnLoss},
    table::{Cursor, Value, quoted},
    values,
};

pub(super) fn read(
    table: &Cursor<'_>,
    base: &Path,
    default: &LedgerSettings,
) -> Option<LedgerSettings> {
    let path = or(table, "url", default.path.clone(), |v| {
        let text = v.text()?;
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            v.fault("PostgreSQL is not available yet: write \"sqlite:data/ringback.db\"");
            return None;
        }
        let path = text
            .strip_prefix("sqlite:")
            .filter(|p| !p.is_empty() && !p.ends_with('/'));
        if path.is_none() {
            v.fault(format!(
                "{} is no ledger: write \"sqlite:\" and the path of a file",
                quoted(text)
            ));
        }
        path.map(|path| base.join(path))
    });
    let keys = or(table, "keys", Vec::new(), |v| ledger_keys(v, base));
    let retention = or(table, "retention", default.retention, |v| {
        values::duration(v, DAY, 400 * DAY)
    });
    let outcomes = or(table, "outcomes", default.outcomes, |v| {
        values::duration(v, Duration::ZERO, 400 * DAY)
    });
    let on_loss = or(table, "on_loss", default.on_loss, |v| {
        v.word(&[("refuse", OnLoss::Refuse), ("continue", OnLoss::Continue)])
    });
    Some(LedgerSettings {
        path: path?,
        keys: keys?,
        retention: retention?,
        outcomes: outcomes?,
        on_loss: on_loss?,
    })
}

fn ledger_keys(value: &Value<'_>, base: &Path) -> Option<Vec<LedgerKey>> {
    let mut found: Vec<LedgerKey> = Vec::new();
    let items = value.list()?;
    let count = items.len();
    for item in items {
        let Some(table) = item.table() else { continue };
        let id = table.need("id", "\"k1\"").and_then(|v| v.text());
        let key = table
            .need("key", "{ env = \"RINGBACK_LEDGER_KEY\" }")
            .and_then(|v| {
                let secret = values::secret(&v, base)?;
                if let Err(reason) = check_key(&secret) {
                    v.fault(reason);
                }
                Some(secret)
            });
        table.finish();
        let (Some(id), Some(key)) = (id, key) else {
            continue;
        };
        if found.iter().any(|k| *k.id == *id) {
            item.fault(format!("the id {} stands here twice", quoted(id)));
        }
        found.push(LedgerKey { id: id.into(), key });
    }
    (found.len() == count).then_some(found)
}

/// A ledger without its keys can't be opened: this secret is looked at when it is named.
fn check_key(secret: &Secret) -> Result<(), String> {
    let text = secret.read()?;
    match hex::decode(&text) {
        Ok(octets) if octets.len() == 32 => Ok(()),
        _ => Err("the key is not 32 octets as 64 hexadecimal digits".to_owned()),
    }
}
