//! How a ledger in PostgreSQL stands: its server, its tables' version, who has it, whether a start would take it, what is in
//! it. Only looks, also beside a running gateway.

use std::sync::Arc;

use super::{
    schema,
    session::{Driver, Link, Session},
    target::Target,
};
use crate::{
    config::settings::LedgerSettings,
    ledger::{
        Migrated, OpenError, StoreError,
        content::{Content, OUTCOMES},
        keys,
        rows::KnownKey,
    },
};

/// What was found.
#[derive(Debug)]
pub struct DatabaseStatus {
    /// As the server says it.
    pub server: String,
    /// The version of the tables, 0 where there are none; and the one that this program makes.
    pub version: i64,
    pub newest_version: i64,
    /// The node that opened it last, and those that have it open just now.
    pub node: Option<String>,
    pub there: Vec<String>,
    /// What a start would say instead of starting, but for another gateway of its name.
    pub refusal: Option<String>,
    /// Open challenges, waiting reports and the inbox are counted; what is kept of others is as the database last estimated.
    pub content: Option<Content>,
}

impl DatabaseStatus {
    /// A start would take it.
    pub fn well(&self) -> bool {
        self.refusal.is_none()
    }
}

/// `url` is that of the settings, read.
pub fn check(settings: &LedgerSettings, url: &str) -> Result<DatabaseStatus, OpenError> {
    let (mut found, known) = ask(settings, url, look)?;
    found.refusal = match found.version > found.newest_version {
        true => Some(OpenError::Newer {
            path: settings.name().to_path_buf(),
            found: found.version,
            newest: found.newest_version,
        }),
        false => keys::judge(&known, settings.path(), &settings.keys).err(),
    }
    .map(|refusal| refusal.to_string());
    Ok(found)
}

/// The master keys that have sealed something there.
pub(in crate::ledger) fn known_keys(
    settings: &LedgerSettings,
    url: &str,
) -> Result<Vec<KnownKey>, OpenError> {
    ask(settings, url, async |link| {
        match schema::version(link).await? {
            0 => Ok(Vec::new()),
            _ => keys_of(link).await,
        }
    })
}

async fn keys_of(link: &Link) -> Result<Vec<KnownKey>, StoreError> {
    let keys = link.seldom(super::KEYS, &[]).await?;
    keys.iter().map(super::known_key).collect()
}

/// Brings the tables to the version of this program, also beside a gateway that has them.
pub fn migrate(settings: &LedgerSettings, url: &str) -> Result<Migrated, OpenError> {
    let path = settings.name();
    let mut session = session(settings, url)?;
    let found = session.run(schema::version);
    let found = found.map_err(|source| OpenError::of(path, source))?;
    schema::migrate(&mut session, path)?;
    let newest = schema::newest();
    Ok(Migrated { found, newest })
}

fn session(settings: &LedgerSettings, url: &str) -> Result<Session, OpenError> {
    let failed = |source| OpenError::of(settings.name(), source);
    let target =
        Target::parse(url).map_err(|error| failed(super::fault::other(error.to_string())))?;
    let driver = Arc::new(Driver::start().map_err(failed)?);
    Ok(Session::new(&Arc::new(target), &driver, []))
}

fn ask<T>(
    settings: &LedgerSettings,
    url: &str,
    what: impl AsyncFnOnce(&Link) -> Result<T, StoreError>,
) -> Result<T, OpenError> {
    let answer = session(settings, url)?.run(what);
    answer.map_err(|source| OpenError::of(settings.name(), source))
}

async fn look(link: &Link) -> Result<(DatabaseStatus, Vec<KnownKey>), StoreError> {
    let server = link.seldom("SHOW server_version", &[]).await?;
    let version = schema::version(link).await?;
    let mut found = DatabaseStatus {
        server: server.first().map_or_else(String::new, |row| row.get(0)),
        version,
        newest_version: schema::newest(),
        node: None,
        there: Vec::new(),
        refusal: None,
        content: None,
    };
    if version == 0 {
        return Ok((found, Vec::new()));
    }
    let node = "SELECT name FROM nodes ORDER BY term DESC LIMIT 1";
    let node = link.seldom(node, &[]).await?;
    found.node = node.first().map(|row| row.get(0));
    let there = link.seldom(THERE, &[]).await?;
    found.there = there.iter().map(|row| row.get(0)).collect();
    let known = keys_of(link).await?;
    found.content = Some(content(link).await?);
    Ok((found, known))
}

async fn content(link: &Link) -> Result<Content, StoreError> {
    let mut content = Content::default();
    let tables = link.seldom(TABLES, &[]).await?;
    for row in &tables {
        let (name, octets, rows): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        match name.as_str() {
            "history" => content.wiped = rows,
            OUTCOMES => content.outcomes = rows,
            _ => {}
        }
        content.tables.push((name, octets));
    }
    let counts = link.seldom(COUNTS, &[]).await?;
    if let Some(row) = counts.first() {
        content.challenges = row.get::<_, i64>(0) + content.wiped;
        content.open = row.get(1);
        content.waiting = row.get(2);
        content.kept = row.get(3);
        content.inbox = row.get(4);
    }
    Ok(content)
}

/// The nodes whose lock ([`schema::hold`]) somebody has.
const THERE: &str = "SELECT name FROM nodes WHERE EXISTS (SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = 1382639207::oid
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND objid = ((hashtext(current_schema() || '/' || name)::bigint + 4294967296) % 4294967296)::oid)
    ORDER BY name";
const COUNTS: &str = "SELECT (SELECT count(*) FROM live),
    (SELECT count(*) FROM live WHERE ended IS NULL), (SELECT count(*) FROM outbox),
    (SELECT count(*) FROM kept), (SELECT count(*) FROM inbox)";
/// Each table with its indexes, parts with what they are parts of, the largest first.
const TABLES: &str = "SELECT name, sum(octets)::bigint, sum(rows)::bigint FROM
    (SELECT coalesce(whole.relname, c.relname)::text AS name, pg_total_relation_size(c.oid) AS octets,
        greatest(c.reltuples, 0)::bigint AS rows
     FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        LEFT JOIN pg_class whole ON whole.oid = i.inhparent
     WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace) AS t
    GROUP BY name ORDER BY 2 DESC";
