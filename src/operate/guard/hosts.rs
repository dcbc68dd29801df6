//! Which names a listener without a token answers to. Pure.
//!
//! Such a listener stands on a loopback address, where only this machine reaches it; but a browser on this machine
//! would reach it for any web site whose name is made to lead here (DNS rebinding). The name that the browser asked
//! for still stands in `Host` then: only names that lead to this machine by themselves are taken, IP literals (no
//! name, nothing to rebind), and those of the configuration.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use axum::http::{HeaderMap, Uri, Version, header};

/// Names that are taken beside loopback names and IP literals, in lower case.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<[Arc<str>]>);

/// Why a request is not for this listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirected {
    /// RFC 9112, 3.2: a request of HTTP/1.1 has exactly one `Host`, and it can be read.
    NoHost,
    SeveralHosts,
    Unreadable,
    /// A name that is none of ours.
    Foreign,
}

impl Hosts {
    pub fn new(named: &[Arc<str>]) -> Hosts {
        Hosts(
            named
                .iter()
                .map(|name| name.to_ascii_lowercase().into())
                .collect(),
        )
    }

    /// Whether this request may be answered here.
    pub fn check(
        &self,
        version: Version,
        target: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Misdirected> {
        let mut given = headers.get_all(header::HOST).iter();
        let host = given.next();
        if given.next().is_some() {
            return Err(Misdirected::SeveralHosts);
        }
        // The absolute form names a host beside the header (RFC 9112, 3.2.2): both must be ours.
        if let Some(authority) = target.authority() {
            self.known(authority.as_str())?;
        }
        match host {
            Some(host) => self.known(host.to_str().map_err(|_| Misdirected::Unreadable)?),
            // Before HTTP/1.1 there need be none, and no browser speaks it.
            None if version < Version::HTTP_11 => Ok(()),
            None => Err(Misdirected::NoHost),
        }
    }

    fn known(&self, host: &str) -> Result<(), Misdirected> {
        let name = without_port(host.trim()).ok_or(Misdirected::Unreadable)?;
        let name = match name {
            Named::Literal => return Ok(()),
            Named::Name(name) => name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
        };
        // RFC 6761, 6.3: these lead to the machine itself.
        let loopback = name == "localhost" || name.ends_with(".localhost");
        match loopback || self.0.iter().any(|known| **known == *name) {
            true => Ok(()),
            false => Err(Misdirected::Foreign),
        }
    }
}

enum Named<'a> {
    /// An IP address.
    Literal,
    Name(&'a str),
}

/// The host of `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn without_port(text: &str) -> Option<Named<'_>> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, port) = rest.split_once(']')?;
        // A zone (RFC 6874) names an interface of this machine.
        let address = inside.split('%').next()?;
        address.parse::<Ipv6Addr>().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(Named::Literal);
    }
    let host = match text.split_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) => return None,
        None => text,
    };
    if host.parse::<Ipv4Addr>().is_ok() {
        return Some(Named::Literal);
    }
    is_name(host).then_some(Named::Name(host))
}

fn is_name(text: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=254).contains(&text.len()) && text.bytes().all(letters)
}

/// RFC 3986, 3.2.3: the digits may be missing.
fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(version: Version, target: &str, given: &[&str]) -> Result<(), Misdirected> {
        let mut headers = HeaderMap::new();
        for host in given {
            headers.append(
                header::HOST,
                HeaderValue::from_bytes(host.as_bytes()).unwrap(),
            );
        }
        let hosts = Hosts::new(&["Gateway.Internal".into()]);
        hosts.check(version, &target.parse().unwrap(), &headers)
    }

    fn host(given: &str) -> Result<(), Misdirected> {
        check(Version::HTTP_11, "/", &[given])
    }

    #[test]
    fn loopback_names_literals_and_named_hosts_are_taken() {
        for good in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "localhost:",
            "page.localhost:1",
            "127.0.0.1",
            "127.0.0.1:8082",
            "192.0.2.7",
            "[::1]",
            "[::1]:8080",
            "[fe80::1%25eth0]:80",
            "gateway.internal",
            "GATEWAY.internal.:8080",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn any_other_name_is_foreign_and_tricks_are_unreadable() {
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "sub.gateway.internal",
            "localhost..",
        ] {
            assert_eq!(host(foreign), Err(Misdirected::Foreign), "{foreign}");
        }
        for odd in [
            "",
            ":8080",
            "localhost:80:80",
            "localhost:http",
            "user@localhost",
            "localhost@evil.example",
            "localhost/evil",
            "localhost, evil.example",
            "[::1",
            "[::1]evil.example",
            "[localhost]",
            "::1",
            "l\u{f6}calhost",
        ] {
            assert_eq!(host(odd), Err(Misdirected::Unreadable), "{odd}");
        }
    }

    #[test]
    fn one_host_in_the_header_and_in_the_target() {
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(check(old, "/", &[]), Ok(()));
        assert_eq!(check(new, "/", &[]), Err(Misdirected::NoHost));
        let twice = ["localhost", "localhost"];
        assert_eq!(check(new, "/", &twice), Err(Misdirected::SeveralHosts));
        let absolute = "http://localhost:8080/healthz";
        assert_eq!(check(new, absolute, &["127.0.0.1:8080"]), Ok(()));
        assert_eq!(
            check(new, "http://evil.example/", &["localhost"]),
            Err(Misdirected::Foreign)
        );
        assert_eq!(
            check(new, absolute, &["evil.example"]),
            Err(Misdirected::Foreign)
        );
        assert_eq!(
            check(old, "http://evil.example/", &[]),
            Err(Misdirected::Foreign)
        );
    }
}
