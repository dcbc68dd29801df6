//! Paces and windows as files write them: `"200/s"`, `{ count = 5, per = "5m" }`.

use std::time::Duration;

use serde_json::json;

use super::Pace;
use crate::schema::{
    Described, Value, described,
    kinds::{self, DAY, Read, SECOND, int, span},
    object,
    value::quoted,
};

/// `"200/s"`, `"10/m"`, `"3600/h"`; false: no limit.
pub const PACE: Read<Option<Pace>> = kinds::read(
    "a pace; `false`: no limit",
    || json!({ "anyOf": [{ "type": "string", "pattern": "^[0-9]+/[smh]$" }, { "const": false }] }),
    pace,
);

fn pace(value: &Value<'_>) -> Option<Option<Pace>> {
    if value.is_false() {
        return Some(None);
    }
    let text = value.str()?;
    let found = text.split_once('/').and_then(|(count, unit)| {
        let per = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let count = count.parse().ok().filter(|n| (1..=1_000_000).contains(n))?;
        Some(Pace {
            count,
            per: Duration::from_secs(per),
        })
    });
    if found.is_none() {
        value.fault(format!(
            "{} is no pace: write \"200/s\", \"10/m\", \"600/h\" (1 to 1000000), or false for no limit",
            quoted(text)
        ));
    }
    found.map(Some)
}

described! {
    /// `{ count = 5, per = "5m" }`
    #[derive(Clone, Debug, PartialEq)]
    struct Window {
        count: u32, int(1..=1_000_000_000), whole, needed(5);
        per: Duration, span(SECOND, 7 * DAY), whole, needed("5m");
    }
}

/// A sliding window `{ count = 5, per = "5m" }`; false: off.
pub const WINDOW: Read<Option<Pace>> = kinds::read(
    "a window; `false`: off",
    || json!({ "anyOf": [object(&Window::keys()), { "const": false }] }),
    window,
);

fn window(value: &Value<'_>) -> Option<Option<Pace>> {
    if value.is_false() {
        return Some(None);
    }
    if !value.is_table() {
        return value.wrong("{ count = 5, per = \"5m\" } or false");
    }
    let table = value.table()?;
    let window = Window::read(&table);
    table.finish();
    window.map(|Window { count, per }| Some(Pace { count, per }))
}
