//! What stands behind the secrets and certificates that `ringback.toml` names: the listeners' tokens, the broker's
//! address and certificates, the ledger's keys. Compared at each reload, so that a rotated one is a change; no value is
//! kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{
    carrier::{Secret, SecretsRead, Tls},
    settings::{Amqp, Settings, Text},
};

/// What each key's secrets came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named(BTreeMap<&'static str, SecretsRead>);

/// Where the broker is, and with which certificates.
const URL: &str = "jobs.amqp.url";
const URLS: &str = "jobs.amqp.urls";
const TLS: &str = "jobs.amqp.tls";
/// Read by the ledger at its start, and never again.
const KEYS: &str = "ledger.keys";

impl Named {
    /// Reads them all. Blocking.
    pub fn read(settings: &Settings) -> Named {
        let all = by_key(settings).into_iter();
        let read = |behind: Behind<'_>| SecretsRead::of(behind.secrets, behind.files);
        Named(all.map(|(key, behind)| (key, read(behind))).collect())
    }

    /// What holds beside a gateway that runs with `self`, once the files say `read`; a key whose new value waits for a
    /// restart is noted.
    pub fn adopt(&self, mut read: Named, restart_needed: &mut Vec<&'static str>) -> Named {
        if let (Some(in_force), Some(found)) = (self.0.get(KEYS), read.0.get_mut(KEYS))
            && in_force != found
        {
            found.clone_from(in_force);
            if !restart_needed.contains(&KEYS) {
                restart_needed.push(KEYS);
            }
        }
        read
    }

    /// The keys behind which something else stands now. A key that one of the two does not know is not among them: that
    /// is a change of `ringback.toml` itself.
    pub fn changed(&self, to: &Named) -> Vec<&'static str> {
        let both = self.0.iter().filter_map(|(key, from)| {
            let to = to.0.get(key)?;
            (from.digest != to.digest).then_some(*key)
        });
        both.collect()
    }

    /// The keys whose secrets could be read in `before` and can't be now, with the reasons.
    pub fn lost(&self, before: &Named) -> Vec<(&'static str, &[String])> {
        let unreadable = self
            .0
            .iter()
            .filter(|(_, read)| !read.unreadable.is_empty());
        let lost = unreadable.filter(|(key, read)| before.0.get(*key) != Some(*read));
        lost.map(|(key, read)| (*key, read.unreadable.as_slice()))
            .collect()
    }
}

/// Is it used when a connection to the broker is made, and not before?
pub(crate) fn waits_for_a_connection(key: &str) -> bool {
    [URL, URLS, TLS].contains(&key)
}

/// Every file that a key of `ringback.toml` names.
pub(crate) fn files(settings: &Settings) -> BTreeSet<PathBuf> {
    let all = by_key(settings).into_values().flat_map(|behind| {
        let secrets = behind.secrets.into_iter().filter_map(Secret::file);
        secrets.chain(behind.files)
    });
    all.cloned().collect()
}

/// Secrets and certificates of one key.
#[derive(Default)]
struct Behind<'a> {
    secrets: Vec<&'a Secret>,
    files: Vec<&'a PathBuf>,
}

impl<'a> Behind<'a> {
    fn url(&mut self, url: &'a Text) {
        match url {
            Text::Plain(_) => {}
            Text::Secret(secret) => self.secrets.push(secret),
        }
    }

    fn tls(&mut self, tls: &'a Tls) {
        self.secrets.extend(&tls.key);
        self.files.extend(tls.certificates());
    }
}

fn by_key(settings: &Settings) -> BTreeMap<&'static str, Behind<'_>> {
    let mut found = BTreeMap::new();
    let listeners = [
        ("http.token", &settings.http),
        ("callbacks.token", &settings.callbacks),
        ("admin.token", &settings.admin),
    ];
    for (key, listener) in listeners {
        if let Some(token) = &listener.token {
            let mut behind = Behind::default();
            behind.secrets.push(token);
            found.insert(key, behind);
        }
    }
    if let Some(amqp) = &settings.jobs.amqp {
        broker(amqp, &mut found);
    }
    if !settings.ledger.keys.is_empty() {
        let mut behind = Behind::default();
        let keys = settings.ledger.keys.iter();
        behind.secrets.extend(keys.map(|key| &key.key));
        found.insert(KEYS, behind);
    }
    found
}

fn broker<'a>(amqp: &'a Amqp, found: &mut BTreeMap<&'static str, Behind<'a>>) {
    let (mut urls, mut tls) = (Behind::default(), Behind::default());
    urls.url(&amqp.url);
    if amqp.others.is_empty() {
        tls.tls(&amqp.tls);
        found.insert(URL, urls);
        found.insert(TLS, tls);
        return;
    }
    urls.tls(&amqp.tls);
    for other in &amqp.others {
        urls.url(&other.url);
        urls.tls(&other.tls);
    }
    found.insert(URLS, urls);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(digest: u8, unreadable: &[&str]) -> SecretsRead {
        SecretsRead {
            digest: [digest; 32],
            unreadable: unreadable.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_is_read_once_waits_for_a_restart_and_the_rest_is_a_change() {
        let before = Named(BTreeMap::from([
            ("admin.token", read(1, &[])),
            (KEYS, read(1, &[])),
        ]));
        let mut after = before.clone();
        for read in after.0.values_mut() {
            read.digest = [2; 32];
        }
        let mut waiting = Vec::new();
        let now = before.adopt(after.clone(), &mut waiting);
        assert_eq!(waiting, [KEYS]);
        assert_eq!(before.changed(&now), ["admin.token"]);
        // Said again as long as it waits, and no longer.
        let mut waiting = vec![KEYS];
        now.adopt(after, &mut waiting);
        assert_eq!(waiting, [KEYS]);
        let mut waiting = Vec::new();
        now.adopt(before, &mut waiting);
        assert_eq!(waiting, Vec::<&str>::new());
    }

    #[test]
    fn what_was_never_readable_is_not_lost() {
        let well = Named(BTreeMap::from([(URL, read(1, &[]))]));
        let gone = Named(BTreeMap::from([(URL, read(0, &["no such file"]))]));
        assert_eq!(gone.lost(&well).len(), 1);
        assert!(gone.lost(&gone).is_empty() && well.lost(&gone).is_empty());
        assert_eq!(gone.lost(&Named::default()).len(), 1);
    }
}
