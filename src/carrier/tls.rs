//! TLS towards a carrier: the certificates of its file as a rustls client configuration.
//!
//! Built anew for each connection (or client), so that rotated files count from the next one on. rustls with ring,
//! TLS 1.2 and 1.3. May not log what it reads.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
};

use crate::config::{carrier::Tls, secret::SecretError};

/// What is wrong with the certificates of a carrier's file, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls: {0}")]
    Versions(rustls::Error),
    #[error("{setting}: {}: {error}", .path.display())]
    File {
        setting: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error("{setting}: {}: {error}", .path.display())]
    Certificate {
        setting: &'static str,
        path: PathBuf,
        error: pem::Error,
    },
    #[error("{setting}: {}: no certificate in PEM", .path.display())]
    NoCertificate {
        setting: &'static str,
        path: PathBuf,
    },
    #[error("tls.ca: {}: {error}", .path.display())]
    Authority { path: PathBuf, error: rustls::Error },
    #[error("tls.key: {0}")]
    Secret(#[from] SecretError),
    #[error("tls.key: no private key in PEM; give PKCS#8, PKCS#1 or SEC1")]
    NoKey,
    #[error("tls.cert and tls.key: {0}")]
    Pair(rustls::Error),
    #[error("tls.cert is given without tls.key; give both or none")]
    KeyMissing,
    #[error("tls.key is given without tls.cert; give both or none")]
    CertificateMissing,
    #[error("tls.name: {0} is neither a DNS name nor an address")]
    NoName(Box<str>),
}

/// The configuration, or what is wrong with it.
pub fn client_config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .with_root_certificates(roots(tls.ca.as_deref())?);
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("tls.cert", cert)?;
            let key = key.read()?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::NoKey)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsError::Pair)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(TlsError::KeyMissing),
        (None, Some(_)) => Err(TlsError::CertificateMissing),
    }
}

/// The name that the peer's certificate must carry.
pub fn server_name(tls: &Tls, host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = tls.name.as_deref().unwrap_or(host).trim_matches(['[', ']']);
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::NoName(name.into()))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates("tls.ca", path)? {
                let added = roots.add(certificate);
                added.map_err(|error| TlsError::Authority {
                    path: path.to_owned(),
                    error,
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = || path.to_owned();
    let pem = crate::regular::read(path).map_err(|error| TlsError::File {
        setting,
        path: file(),
        error,
    })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(TlsError::NoCertificate {
            setting,
            path: file(),
        }),
        Err(error) => Err(TlsError::Certificate {
            setting,
            path: file(),
            error,
        }),
    }
}

/// A TLS peer for the drivers' tests: it asks for a certificate of the tests' CA and hands the octets on.
#[cfg(test)]
pub mod testing {
    use std::net::SocketAddr;

    use rustls::{ServerConfig, server::WebPkiClientVerifier};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::carrier::Secret;

    /// What the tests' certificate is made out to.
    pub const NAME: &str = "carrier.test";

    /// Our side: the tests' CA, and our certificate.
    pub fn ours() -> Tls {
        Tls {
            ca: Some(file("ca.pem")),
            cert: Some(file("cert.pem")),
            key: Some(Secret::File(file("key.pem"))),
            name: Some(NAME.into()),
        }
    }

    /// Listens with TLS in front of `target`.
    pub async fn front(target: SocketAddr) -> SocketAddr {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(Some(&file("ca.pem"))).unwrap());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, ring.clone())
            .build()
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(certificates("cert", &file("cert.pem")).unwrap(), key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outer) = acceptor.accept(stream).await else {
                        return;
                    };
                    let Ok(mut inner) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        address
    }

    fn file(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/tls")
            .join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_key() {
        let missing = Tls {
            ca: Some("/nowhere/ca.pem".into()),
            ..Tls::default()
        };
        let error = client_config(&missing).unwrap_err().to_string();
        assert!(error.starts_with("tls.ca: /nowhere/ca.pem: "), "{error}");

        let half = Tls {
            cert: Some("/nowhere/c.pem".into()),
            ..Tls::default()
        };
        assert!(
            client_config(&half)
                .unwrap_err()
                .to_string()
                .contains("without tls.key")
        );
        assert!(client_config(&Tls::default()).is_ok());
    }

    #[test]
    fn the_name_is_the_settings_or_the_hosts() {
        assert_eq!(
            server_name(&Tls::default(), "smsc.example")
                .unwrap()
                .to_str(),
            "smsc.example"
        );
        assert_eq!(
            server_name(&Tls::default(), "[::1]").unwrap().to_str(),
            "::1"
        );
        let named = Tls {
            name: Some("other.example".into()),
            ..Tls::default()
        };
        assert_eq!(
            server_name(&named, "10.0.0.1").unwrap().to_str(),
            "other.example"
        );
    }
}
