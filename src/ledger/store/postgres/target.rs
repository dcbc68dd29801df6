//! Where the database is: the URL as PostgreSQL's own programs read it (its manual, 34.1.1.2), and TLS towards it.
//!
//! `sslmode` is `disable` or `verify-full`; `require` and `verify-ca` are taken as the latter, since a link that is sealed
//! towards nobody in particular is not worth its name. Where it is missing, a database on this machine is spoken to in clear,
//! and any other with `verify-full`. `sslrootcert` is a file of certificates that are trusted; without it the system's are.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{fault, words};
use crate::{ledger::StoreError, regular};

/// The database, and how it is spoken to.
pub(super) struct Target {
    pub config: Config,
    pub tls: Option<MakeRustlsConnect>,
}

/// Why a URL leads nowhere. It never repeats the URL, which holds a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("the address of the ledger can't be read: {0}")]
    Unreadable(String),
    #[error("sslmode={0} is not known: write disable or verify-full")]
    Mode(String),
    #[error("sslrootcert: {0}")]
    Roots(String),
}

impl Target {
    pub fn parse(url: &str) -> Result<Target, TargetError> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut others) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(decoded(value)),
                _ => others.push(pair),
            }
        }
        let bare = match others.is_empty() {
            true => address.to_owned(),
            false => format!("{address}?{}", others.join("&")),
        };
        let mut config: Config = bare
            .parse()
            .map_err(|error: tokio_postgres::Error| TargetError::Unreadable(words(&error)))?;
        let is_sealed = match mode {
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            None => !config.get_hosts().iter().all(is_here),
            Some(other) => return Err(TargetError::Mode(other.to_owned())),
        };
        let tls = match is_sealed {
            true => Some(sealed(roots.as_deref())?),
            false => None,
        };
        config.ssl_mode(match is_sealed {
            true => SslMode::Require,
            false => SslMode::Disable,
        });
        if config.get_application_name().is_none() {
            config.application_name("ringback");
        }
        config.connect_timeout(PATIENCE);
        Ok(Target { config, tls })
    }

    /// A connection, which the present runtime drives.
    pub async fn connect(&self) -> Result<Client, StoreError> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(fault)?;
                // Whoever waits for an answer hears of its end.
                tokio::spawn(async move { drop(connection.await) });
                Ok(client)
            }
            Some(tls) => {
                let connected = self.config.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(fault)?;
                tokio::spawn(async move { drop(connection.await) });
                Ok(client)
            }
        }
    }
}

/// For a transaction, and for a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

fn sealed(roots: Option<&str>) -> Result<MakeRustlsConnect, TargetError> {
    let mut trusted = RootCertStore::empty();
    match roots {
        None | Some("system") => {
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            let wrong =
                |reason: &dyn std::fmt::Display| TargetError::Roots(format!("{file}: {reason}"));
            let pem = regular::read(Path::new(file)).map_err(|error| wrong(&error))?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let certificates = certificates.map_err(|error| wrong(&error))?;
            if certificates.is_empty() {
                return Err(wrong(&"no certificate in PEM"));
            }
            for certificate in certificates {
                trusted.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|error| TargetError::Roots(error.to_string()))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn decoded(value: &str) -> String {
    percent_encoding::percent_decode_str(value)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_is_sealed_unless_it_is_said_otherwise() {
        let is_sealed = |url: &str| Target::parse(url).unwrap().tls.is_some();
        assert!(!is_sealed("postgres://u:p@localhost/db"));
        assert!(!is_sealed(
            "postgres://u:p@127.0.0.1:5433/db?target_session_attrs=read-write"
        ));
        assert!(!is_sealed("postgres://u:p@%2Fvar%2Frun%2Fpostgresql/db"));
        assert!(is_sealed("postgres://u:p@one.example,two.example/db"));
        assert!(is_sealed("postgresql://u:p@localhost,two.example/db"));
        assert!(is_sealed("postgres://u:p@localhost/db?sslmode=verify-full"));
        assert!(is_sealed(
            "postgres://u:p@localhost/db?sslmode=require&connect_timeout=3"
        ));
        assert!(!is_sealed("postgres://u:p@one.example/db?sslmode=disable"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let error = |url: &str| Target::parse(url).err().unwrap();
        let wrong = error("postgres://u:sesame@one.example/db?sslmode=prefer");
        assert_eq!(wrong, TargetError::Mode("prefer".into()));
        let wrong = error("postgres://u:sesame@one.example:port/db").to_string();
        assert!(!wrong.contains("sesame"), "{wrong}");
        let wrong = error("postgres://u:sesame@h/db?sslmode=verify-full&sslrootcert=%2Fno%2Froots");
        assert!(wrong.to_string().contains("/no/roots"), "{wrong}");
    }
}
