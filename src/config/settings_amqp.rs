//! The section `[jobs.amqp]`: where the brokers are, and the names of what stands there.

use std::{path::Path, sync::Arc};

use super::{
    carrier::Tls,
    settings::{Address, Amqp, Text},
    settings_file::or,
    table::{Cursor, Value},
    values,
};

pub(super) fn read(table: &Cursor<'_>, base: &Path) -> Option<Amqp> {
    let addresses = addresses(table, base);
    let name = |key, default: &str| -> Option<Arc<str>> {
        or(table, key, Arc::from(default), |v| {
            let text = v.text()?;
            if text.len() > 255 || text.starts_with("amq.") {
                v.fault("must be at most 255 octets and not start with \"amq.\", which is the broker's own");
                return None;
            }
            Some(text.into())
        })
    };
    let (exchange, reports) = (
        name("exchange", "ringback"),
        name("reports", "ringback.reports"),
    );
    let (queue, control, dead) = (
        name("queue", "ringback.jobs"),
        name("control", "ringback.control"),
        name("dead", "ringback.dead"),
    );
    let prefetch = or(table, "prefetch", 2000, |v| v.int(1..=65_535));
    let mut addresses = addresses?;
    let first = addresses.remove(0);
    let found = Amqp {
        url: first.url,
        tls: first.tls,
        others: addresses,
        exchange: exchange?,
        queue: queue?,
        control: control?,
        dead: dead?,
        reports: reports?,
        prefetch: u16::try_from(prefetch?).ok()?,
    };
    // `dead` names an exchange and a queue: it may be neither's.
    let clashes = [
        ("control", found.control == found.queue),
        (
            "dead",
            found.dead == found.queue || found.dead == found.control,
        ),
        (
            "dead",
            found.dead == found.exchange || found.dead == found.reports,
        ),
        ("reports", found.reports == found.exchange),
    ];
    for (key, _) in clashes.iter().filter(|(_, clash)| *clash) {
        table.fault(key, "has the name of another queue or exchange here");
    }
    Some(found)
}

/// `url`, or `urls` in the order in which they are tried; at least one. `tls` holds for all that have none of their own.
fn addresses(table: &Cursor<'_>, base: &Path) -> Option<Vec<Address>> {
    let tls = or(table, "tls", Tls::default(), |v| values::tls(v, base));
    let several = table.get("urls");
    let urls = match &several {
        None => {
            let one = table.need("url", "{ env = \"RINGBACK_AMQP_URL\" }");
            let one = one.and_then(|v| url(&v, base));
            return Some(vec![Address {
                url: one?,
                tls: tls?,
            }]);
        }
        Some(urls) => urls.list()?,
    };
    if table.is_there("url") {
        table.get("url");
        table.fault("url", "stands beside urls: put every broker into urls");
        return None;
    }
    if urls.is_empty() {
        table.fault("urls", "names no broker");
        return None;
    }
    let found: Vec<Option<Address>> = urls
        .iter()
        .map(|v| address(v, base, tls.as_ref()?))
        .collect();
    found.into_iter().collect()
}

/// An address alone, or `{ url, tls }`.
fn address(value: &Value<'_>, base: &Path, tls: &Tls) -> Option<Address> {
    let table = match value.is_table() {
        true => value.table().filter(|table| table.is_there("url")),
        false => None,
    };
    let Some(table) = table else {
        return Some(Address {
            url: url(value, base)?,
            tls: tls.clone(),
        });
    };
    let found = table
        .need("url", "{ env = \"RINGBACK_AMQP_URL\" }")
        .and_then(|v| url(&v, base));
    let tls = or(&table, "tls", tls.clone(), |v| values::tls(v, base));
    table.finish();
    Some(Address {
        url: found?,
        tls: tls?,
    })
}

fn url(value: &Value<'_>, base: &Path) -> Option<Text> {
    let found = values::text_or_secret(value, base)?;
    if let Text::Plain(text) = &found {
        if !(text.starts_with("amqp://") || text.starts_with("amqps://")) {
            value.fault("must start with amqp:// or amqps://");
            return None;
        }
        let authority = text.split("://").nth(1).unwrap_or("");
        let login = authority.rsplit_once('@').map(|(login, _)| login);
        if login.is_some_and(|login| login.contains(':') && !login.starts_with("guest:guest")) {
            value.warn(
                "holds a password: name the whole address as { env = \"RINGBACK_AMQP_URL\" }",
            );
        }
    }
    Some(found)
}
