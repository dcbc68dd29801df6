//! The tables, their versions, and who has them.

use std::path::Path;

use super::{
    fault::other,
    number,
    session::{Link, Session},
};
use crate::ledger::{OpenError, StoreError, group::Owner, store::Opening};

mod embedded {
    refinery::embed_migrations!("src/ledger/store/postgres/migrations");
}

/// Held by the writer's connection: one gateway of a name at a time. Two numbers: ours, and the name's in its schema.
pub(super) fn hold(node: &str) -> String {
    let name = node.replace('\'', "''");
    format!("SELECT pg_try_advisory_lock(1382639207, hashtext(current_schema() || '/{name}'))")
}

/// Held while the tables are brought to a newer version: others wait for it.
const MIGRATE: &str = "SELECT pg_advisory_lock(1382639208, hashtext(current_schema()))";
const MIGRATED: &str = "SELECT pg_advisory_unlock(1382639208, hashtext(current_schema()))";

/// Brings the tables to the version of this binary. Tables that a later one has changed are refused.
pub(super) fn migrate(session: &mut Session, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::of(path, source);
    let newest = newest();
    session
        .run(async |link| {
            let version = link.seldom("SHOW server_version_num", &[]).await?;
            let version: Option<&str> = version.first().map(|row| row.get(0));
            match version.and_then(|version| version.parse::<u32>().ok()) {
                Some(version) if version < OLDEST => Err(other(format!(
                    "PostgreSQL {} is too old: 15 or newer is needed",
                    version / 10_000
                ))),
                _ => Ok(()),
            }
        })
        .map_err(failed)?;
    let found = session.run(version).map_err(failed)?;
    if found > newest {
        return Err(OpenError::Newer {
            path: path.to_path_buf(),
            found,
            newest,
        });
    }
    if found < newest {
        session
            .migrate(MIGRATE, MIGRATED, embedded::migrations::runner())
            .map_err(failed)?;
    }
    Ok(())
}

/// The version that [`migrate`] leaves.
pub(super) fn newest() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner
        .get_migrations()
        .iter()
        .map(|one| i64::from(one.version()));
    versions.max().unwrap_or(0)
}

/// 0: there are no tables.
pub(super) async fn version(link: &Link) -> Result<i64, StoreError> {
    let known = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
    let is_known = link.seldom(known, &[]).await?;
    if !is_known.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(version), 0)::bigint FROM refinery_schema_history";
    let rows = link.seldom(version, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// Says what the database does not promise: what is acked here is as durable as it is.
pub(super) async fn judge(link: &Link) -> Result<(), StoreError> {
    let rows = link.seldom(PROMISES, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let (fsync, standbys): (&str, &str) = (row.get(0), row.get(1));
    if fsync == "off" {
        tracing::warn!(
            "the ledger's database has fsync = off: what is acked is lost with the power; set it to on"
        );
    }
    if standbys.is_empty() {
        tracing::info!(
            "the ledger's database has no synchronous standby: what is acked is lost if this server is"
        );
    }
    Ok(())
}

const PROMISES: &str =
    "SELECT current_setting('fsync'), current_setting('synchronous_standby_names')";

/// Counts this opening.
pub(super) async fn begin(link: &Link, name: &str) -> Result<Opening, StoreError> {
    let epoch = "UPDATE meta SET value = value + 1 WHERE name = 'epoch' RETURNING value";
    let epoch = link.seldom(epoch, &[]).await?;
    let epoch: i64 = epoch.first().map_or(0, |row| row.get(0));
    let node = "INSERT INTO nodes (name, term) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE
        SET term = excluded.term, robbed = 0, beat = nodes.beat + 1, gone = false,
            parts = 0, seen = 0
        RETURNING number";
    let node = link.seldom(node, &[&name, &epoch]).await?;
    let owner = Owner {
        node: number(node.first().map(|row| row.get(0)))?,
        term: epoch,
    };
    Ok(Opening { epoch, owner })
}

/// Whatever anybody has is this owner's from here on. Others hear of it by their row, which each of their transactions looks at.
#[cfg(test)]
pub(super) async fn take_over(link: &Link, owner: Owner) -> Result<(), StoreError> {
    let node = i32::from(owner.node);
    for sql in [
        "UPDATE nodes SET robbed = robbed + 1 WHERE number <> $1",
        "UPDATE live SET owner = $1 WHERE owner <> $1 AND ended IS NULL",
        "UPDATE outbox SET owner = $1 WHERE owner <> $1",
        "UPDATE inbox SET owner = $1 WHERE owner <> $1",
        "UPDATE calls SET owner = $1 WHERE owner <> $1",
    ] {
        link.seldom(sql, &[&node]).await?;
    }
    Ok(())
}

/// As PostgreSQL counts its versions.
const OLDEST: u32 = 150_000;
