//! A carrier's file: the description of its keys, as the types that the program goes by. What every carrier has is here;
//! what one transport has alone, in the files below.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use super::source;
use crate::{
    cause::Cause,
    pace::written::PACE,
    regular,
    schema::{
        Described, Key, TableView, described,
        kinds::{FLAG, HOUR, MINUTE, OneOf, SECOND, map, or_off, span, word},
        value::quoted,
    },
};

mod http;
mod sip;
mod smpp;

pub use super::{
    secret::Secret,
    values::{Carry, Endpoint, Tls},
};
pub use crate::pace::Pace;
pub use http::{HttpAuth, HttpCallback, HttpConfig, HttpRequest, HttpResponse, HttpVerdict};
pub use sip::{Bind, Codec, Identity, NumberFormat, Redirects, RtpConfig, SipConfig};
pub use smpp::{ReceiptId, SmppConfig};

described! {
    /// One file of `carriers/`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct CarrierConfig {
        /// `false`: drained by the operator. Sessions end when what is in the air has ended, nothing new is given to it.
        pub enabled: bool, FLAG, live, default(true);
        /// Submits, requests or new calls.
        pub pace: Option<Pace>, PACE, live, default(false);
        /// Bind and submit_sm_resp; the whole HTTP answer; the first answer to INVITE. Then the attempt is in doubt.
        pub response_timeout: Duration, span(100, 2 * MINUTE), live, default("5s");
        /// How long a receipt may take; off: the challenge's own life.
        pub receipt_wait: Option<Duration>, or_off(span(SECOND, HOUR)), live, default(false);
        /// enquire_link, a connection, OPTIONS.
        pub probe: Option<Duration>, or_off(span(SECOND, HOUR)), live, default("30s");
        /// The carrier's own codes in our words, see below.
        pub status: BTreeMap<Arc<str>, Cause>,
            map("codes, each with a cause", word(CAUSES.as_slice()), no_code), live, default({});
    }
    keys {
        /// What carries it; the other keys depend on it.
        kind("transport"): TransportKind, TRANSPORT, successor, needed("smpp");
    }
    fields {
        /// The file's name without `.toml`.
        pub name: Arc<str>, live;
        pub transport: Transport, successor;
        /// In order of preference.
        pub endpoints: Vec<Endpoint>, successor;
        pub tls: Tls, successor;
    }
    then (table) {
        let name = Some(Arc::default());
        let (transport, endpoints, tls) = match kind {
            Some(TransportKind::Smpp) => smpp::read(table),
            Some(TransportKind::Http) => http::read(table),
            Some(TransportKind::Sip) => sip::read(table),
            None => {
                // Which of the other keys belong here is not known without the transport.
                for kind in [TransportKind::Smpp, TransportKind::Http, TransportKind::Sip] {
                    table.allow(&kind.keys());
                }
                (None, None, None)
            }
        };
    }
}

/// A transport, its endpoints and its certificates, as far as they are good.
type Parts = (Option<Transport>, Option<Vec<Endpoint>>, Option<Tls>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    Smpp,
    Http,
    Sip,
}

const TRANSPORT: OneOf<TransportKind> = word(&[
    ("smpp", TransportKind::Smpp),
    ("http", TransportKind::Http),
    ("sip", TransportKind::Sip),
]);

impl TransportKind {
    pub const ALL: [TransportKind; 3] =
        [TransportKind::Smpp, TransportKind::Http, TransportKind::Sip];

    /// The keys that only this transport has.
    pub fn keys(self) -> Vec<Key> {
        match self {
            TransportKind::Smpp => smpp::keys(),
            TransportKind::Http => http::keys(),
            TransportKind::Sip => sip::keys(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            TransportKind::Smpp => "smpp",
            TransportKind::Http => "http",
            TransportKind::Sip => "sip",
        }
    }
}

/// No carrier speaks of limits of ours.
static CAUSES: LazyLock<Vec<(&'static str, Cause)>> = LazyLock::new(|| {
    let theirs = Cause::ALL.into_iter().filter(|c| *c != Cause::GatewayLimit);
    theirs.map(|cause| (cause.name(), cause)).collect()
});

fn no_code(code: &str) -> Option<String> {
    (code.is_empty() || code.len() > 64).then(|| format!("{} is no carrier's code", quoted(code)))
}

impl CarrierConfig {
    /// Reads the file of the carrier of this name.
    pub fn of(name: &str, table: &TableView<'_>) -> Option<CarrierConfig> {
        let found = CarrierConfig::read(table)?;
        Some(CarrierConfig {
            name: name.into(),
            ..found
        })
    }

    /// All secrets and certificates that it names, as they are now.
    pub fn read_secrets(&self) -> SecretsRead {
        SecretsRead::of(self.secrets(), self.tls.certificates())
    }

    /// The files that hold its secrets and certificates.
    pub fn secret_files(&self) -> impl Iterator<Item = PathBuf> {
        let secrets = self.secrets().into_iter().filter_map(Secret::file);
        secrets.chain(self.tls.certificates()).cloned()
    }

    /// Every secret that its file names.
    pub fn secrets(&self) -> Vec<&Secret> {
        let mut found: Vec<&Secret> = self.tls.key.iter().collect();
        match &self.transport {
            Transport::Smpp(smpp) => found.extend(&smpp.password),
            Transport::Sip(sip) => found.extend(&sip.password),
            Transport::Http(http) => {
                found.extend(http.callback.iter().flat_map(|c| &c.keys));
                match &http.request.auth {
                    Some(HttpAuth::Bearer(secret)) => found.push(secret),
                    Some(HttpAuth::Basic { password, .. }) => found.push(password),
                    Some(HttpAuth::Header { value, .. }) => found.push(value),
                    None => {}
                }
            }
        }
        found
    }
}

/// What secrets and certificates came to. No value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsRead {
    /// To see that one has changed.
    pub digest: [u8; 32],
    /// Why those that can't be used can't: missing, empty, without permission.
    pub unreadable: Vec<String>,
}

impl SecretsRead {
    /// Reads all of these. Blocking.
    pub fn of<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> SecretsRead {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut unreadable = Vec::new();
        // What is not there is a value too: that it comes is a change.
        let mut nothing = |reason: String| {
            unreadable.push(reason);
            Vec::new()
        };
        let mut add = |octets: Vec<u8>| {
            context.update(&(octets.len() as u64).to_be_bytes());
            context.update(&octets);
        };
        for secret in secrets {
            add(match secret.read() {
                Ok(found) if found.is_empty() => nothing(format!("{secret} is empty")),
                Ok(found) => found.into_bytes(),
                Err(error) => nothing(error.to_string()),
            });
        }
        for file in files {
            let read = regular::octets(file, source::MAX_FILE);
            add(read.unwrap_or_else(|error| nothing(format!("{}: {error}", file.display()))));
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        SecretsRead { digest, unreadable }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    Smpp(SmppConfig),
    Http(HttpConfig),
    Sip(SipConfig),
}

impl Transport {
    pub fn is_http(&self) -> bool {
        matches!(self, Transport::Http(_))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Transport::Smpp(_) => "smpp",
            Transport::Http(_) => "http",
            Transport::Sip(_) => "sip",
        }
    }
}
