//! Where the gateway looks for a carrier, and what it shows there.

use std::net::IpAddr;

use super::setup::SECRET;
use crate::config::{
    CarrierConfig,
    carrier::{Secret, Transport},
};

/// Host and port where the gateway will look for this carrier.
pub fn place(carrier: &CarrierConfig) -> Option<(String, u16)> {
    match &carrier.transport {
        Transport::Http(http) => {
            let url: axum::http::Uri = http.request.url.parse().ok()?;
            let usual = if url.scheme_str() == Some("https") {
                443
            } else {
                80
            };
            Some((url.host()?.to_owned(), url.port_u16().unwrap_or(usual)))
        }
        Transport::Smpp(_) | Transport::Sip(_) => {
            let first = carrier.endpoints.first()?;
            Some((first.host.to_string(), first.port))
        }
    }
}

/// Only what stands on this machine's loopback is simulated.
pub fn is_here(carrier: &CarrierConfig) -> bool {
    place(carrier).is_some_and(|(host, _)| {
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || literal.is_ok_and(|address| address.is_loopback())
    })
}

/// The secret that the gateway will show, or the one that all simulators know.
pub fn password(secret: Option<&Secret>) -> String {
    secret
        .and_then(|secret| secret.read().ok())
        .unwrap_or_else(|| SECRET.to_owned())
}
