//! What is said of a ledger in PostgreSQL.

use serde_json::{Value, json};

use super::{Finding, content_lines, content_object};
use crate::{config::settings::LedgerSettings, ledger::database::DatabaseStatus};

pub(super) fn lines(settings: &LedgerSettings, standing: &DatabaseStatus) -> Vec<Finding> {
    let mut lines = vec![(
        "database",
        format!(
            "{}: PostgreSQL {}; tables of version {}, this program makes {}",
            settings.name().display(),
            standing.server,
            standing.version,
            standing.newest_version
        ),
    )];
    let node = standing.node.as_deref();
    match standing.there.as_slice() {
        [] => lines.extend(node.map(|node| ("node", format!("{node} had it last")))),
        there => lines.extend(
            there
                .iter()
                .map(|node| ("node", format!("{node} has it now"))),
        ),
    }
    let refusal = standing.refusal.iter();
    lines.extend(refusal.map(|refusal| ("start", format!("would be refused: {refusal}"))));
    lines.extend(standing.content.iter().flat_map(content_lines));
    lines
}

pub(super) fn object(settings: &LedgerSettings, standing: &DatabaseStatus) -> Value {
    json!({
        "database": settings.name().display().to_string(),
        "server": standing.server,
        "version": standing.version,
        "newest_version": standing.newest_version,
        "node": standing.node,
        "held": !standing.there.is_empty(),
        "nodes": standing.there,
        "start_refused": standing.refusal,
        "content": standing.content.as_ref().map(content_object),
        "well": standing.well(),
    })
}
