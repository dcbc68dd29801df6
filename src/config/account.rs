//! A carrier's account as a mark that may be shown to others: two configurations that use the same account have a mark in
//! common, and nobody reads the account from it. Pure; no secret goes into it, however well hidden.

use super::carrier::{CarrierConfig, HttpAuth, Transport};

/// One mark for each place where the account is used.
pub fn marks(carrier: &CarrierConfig) -> Vec<String> {
    match &carrier.transport {
        Transport::Smpp(smpp) => at_each(carrier, &smpp.system_id),
        Transport::Sip(sip) => at_each(carrier, sip.username.as_deref().unwrap_or_default()),
        Transport::Http(http) => {
            let user = match &http.request.auth {
                Some(HttpAuth::Basic { user, .. }) => user,
                // A token says whose account it is, but it is a secret; the address must do.
                Some(HttpAuth::Bearer(_) | HttpAuth::Header { .. }) | None => "",
            };
            vec![mark(&["http", &http.request.url, user])]
        }
    }
}

fn at_each(carrier: &CarrierConfig, user: &str) -> Vec<String> {
    let kind = carrier.transport.name();
    let endpoints = carrier.endpoints.iter();
    endpoints
        .map(|at| {
            let host = at.host.to_ascii_lowercase();
            mark(&[kind, &host, &at.port.to_string(), user])
        })
        .collect()
}

fn mark(parts: &[&str]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hex::encode(&context.finish().as_ref()[..OCTETS])
}

/// Of a mark.
const OCTETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_one_another() {
        let all = [
            mark(&["smpp", "a", "1", "b"]),
            mark(&["smpp", "a", "1", ""]),
            mark(&["smpp", "a1", "", "b"]),
            mark(&["sip", "a", "1", "b"]),
        ];
        let apart: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(apart.len(), all.len());
        assert_eq!(all[0], mark(&["smpp", "a", "1", "b"]));
        assert_eq!(all[0].len(), 2 * OCTETS);
    }
}
