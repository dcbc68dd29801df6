//! `[limits]`, and the weights of tenants.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        carrier::Pace,
        settings::{Guard, Limits, Settings},
        table::{Cursor, Value},
        values,
    },
    or,
};
use crate::admission::longest;

pub(super) fn read(table: &Cursor<'_>, default: &Limits) -> Option<Limits> {
    let window = |key, default: &Option<Pace>| or(table, key, *default, values::window);
    let per_user = window("challenges_per_user", &default.per_user);
    let per_number = window("challenges_per_number", &default.per_number);
    let per_prefix = window("challenges_per_prefix", &default.per_prefix);
    let per_country = window("challenges_per_country", &default.per_country);
    let per_tenant = window("challenges_per_tenant", &default.per_tenant);
    let guard = or(table, "guard", default.guard, |v| {
        v.word(&[("deny", Guard::Deny), ("record", Guard::Record)])
    });
    Some(Limits {
        per_user: per_user?,
        per_number: per_number?,
        per_prefix: per_prefix?,
        per_country: per_country?,
        per_tenant: per_tenant?,
        guard: guard?,
        prefix_guard: default
            .prefix_guard
            .filter(|_| !table.is_there("challenges_per_prefix")),
    })
}

/// A restart fills the windows from what the ledger still holds.
pub(super) fn within_retention(root: &Cursor<'_>, settings: &Settings) {
    let retention = settings.ledger.retention;
    if longest(&settings.limits) > retention
        && let Some((_, value)) = root.entries().find(|(key, _)| *key == "limits")
    {
        value.fault(format!(
            "a limit is longer than [ledger] retention ({}): the ledger would not know of what counts in it",
            values::shown(retention)
        ));
    }
}

/// Shares of tenants.
pub(super) fn weights(value: &Value<'_>) -> Option<BTreeMap<Arc<str>, u32>> {
    if !value.is_table() {
        return value.wrong("a table of tenants with their weights, like { bank = 3 }");
    }
    let table = value.table()?;
    let mut found = BTreeMap::new();
    for (tenant, weight) in table.entries() {
        let weight = weight.int(1..=1_000)?;
        found.insert(Arc::from(tenant), u32::try_from(weight).ok()?);
    }
    Some(found)
}
