//! Where a redirection (3xx) leads, if anywhere. Pure.
//!
//! Whoever answers an INVITE may name any number: an emergency centre, a premium line. So a redirection may move a call
//! to another place of the same trunk, and to another number only where the trunk is configured for it and a challenge to
//! that number would be taken. The number is written anew in the trunk's own format: nothing of the far end's user part
//! (routing numbers, passwords, parameters) goes out.

use std::net::{IpAddr, SocketAddr};

use super::address;
use crate::{
    admission::CallRules,
    config::carrier::{Endpoint, NumberFormat, Redirects},
    number::{self, Country, Detail, Number},
    protocol::sip::codec::{Uri, scheme},
};

/// Redirections followed for one attempt.
pub const MAX_REDIRECTS: usize = 5;

/// What is known where a redirection comes.
pub struct RedirectScope<'a> {
    pub redirects: Redirects,
    pub format: NumberFormat,
    pub endpoints: &'a [Endpoint],
    /// Where each endpoint is, as (its place in the list, address).
    pub addresses: &'a [(usize, SocketAddr)],
    /// Does this address speak for the trunk?
    pub is_own: &'a dyn Fn(IpAddr) -> bool,
}

/// The next INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectStep {
    pub to: Number,
    /// `host:port` of the Request-URI and where it goes, if not to where the last INVITE went.
    pub place: Option<(String, SocketAddr)>,
}

/// Why a contact is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Nothing that a call could go to.
    Unusable,
    OtherNumber,
    /// By number checks or countries, with the reason's name.
    Refused(&'static str),
    /// The same number, at a place that is not the trunk's.
    OtherPlace,
}

impl No {
    pub fn name(self) -> &'static str {
        match self {
            No::Unusable => "no usable contact",
            No::OtherNumber => "to another number",
            No::Refused(reason) => reason,
            No::OtherPlace => "to a host that is not the trunk's",
        }
    }
}

/// What the contact of a redirection asks for, for a call to `called`.
pub fn step(
    contact: &str,
    called: &Number,
    trunk: &RedirectScope<'_>,
    rules: &CallRules,
) -> Result<RedirectStep, No> {
    let (user, place) = match Uri::parse(contact) {
        Ok(uri) if uri.secure || !uri.headers.is_empty() => return Err(No::Unusable),
        Ok(uri) => (
            uri.user_unescaped().ok_or(No::Unusable)?,
            place(&uri, trunk),
        ),
        // RFC 3966: a number and nothing else.
        Err(_) => match scheme(contact) {
            Some((name, rest)) if name.eq_ignore_ascii_case("tel") => {
                (rest.as_bytes().to_vec(), None)
            }
            Some(_) | None => return Err(No::Unusable),
        },
    };
    let user = String::from_utf8(user).map_err(|_| No::Unusable)?;
    let user: String = user
        .split([';', ':'])
        .next()
        .unwrap_or("")
        .chars()
        .filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' '))
        .collect();
    if is_called(&user, called, trunk.format) {
        let place = place.ok_or(No::OtherPlace)?;
        return Ok(RedirectStep {
            to: *called,
            place: Some(place),
        });
    }
    match trunk.redirects {
        Redirects::Keep => Err(No::OtherNumber),
        Redirects::Follow => {
            let to = number_of(&user, called, trunk.format, rules)?;
            Ok(RedirectStep { to, place })
        }
    }
}

/// Any way in which the number that was called may be written.
fn is_called(user: &str, called: &Number, format: NumberFormat) -> bool {
    let e164 = called.e164();
    user == e164 || user == e164.trim_start_matches('+') || user == address::number(e164, format)
}

/// Another number, if a challenge might call it.
fn number_of(
    user: &str,
    called: &Number,
    format: NumberFormat,
    rules: &CallRules,
) -> Result<Number, No> {
    let digits = user.strip_prefix('+').unwrap_or(user);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(No::Unusable);
    }
    // As the person's own phone would dial it: emergency and other short numbers are none of E.164.
    let region = number::country_of(*called);
    let region = region.as_ref().map(Country::as_str);
    let dialled = number::analyse(user, region);
    if let Some(refusal) = dialled.refused.filter(|r| r.detail == Detail::Emergency) {
        return Err(No::Refused(refusal.reason.as_str()));
    }
    let analysis = match format {
        _ if user.starts_with('+') => dialled,
        NumberFormat::Digits => number::analyse(&format!("+{digits}"), None),
        NumberFormat::Prefix00 => match digits.strip_prefix("00") {
            Some(rest) => number::analyse(&format!("+{rest}"), None),
            None => dialled,
        },
        NumberFormat::E164 | NumberFormat::National => dialled,
    };
    match (rules.refuse(&analysis), analysis.number) {
        (Some(reason), _) => Err(No::Refused(reason)),
        (None, Some(number)) => Ok(number),
        (None, None) => Err(No::Unusable),
    }
}

/// The host of a URI where it is the trunk's: as it stands, and its address.
fn place(uri: &Uri<'_>, trunk: &RedirectScope<'_>) -> Option<(String, SocketAddr)> {
    let written = match uri.port {
        Some(port) => format!("{}:{port}", uri.host),
        None => uri.host.to_owned(),
    };
    let bare = uri.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let port = uri.port.filter(|port| *port != 0).unwrap_or(SIP_PORT);
        return (trunk.is_own)(ip).then(|| (written, SocketAddr::new(ip, port)));
    }
    let named = |(at, address): &(usize, SocketAddr)| {
        let endpoint = trunk.endpoints.get(*at)?;
        let port = uri.port.filter(|port| *port != 0).unwrap_or(endpoint.port);
        endpoint.host.eq_ignore_ascii_case(bare).then(|| {
            (
                format!("{bare}:{port}"),
                SocketAddr::new(address.ip(), port),
            )
        })
    };
    trunk.addresses.iter().find_map(named)
}

const SIP_PORT: u16 = 5060;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::carrier::Carry;

    const CALLED: &str = "+12025550123";

    fn ask(contact: &str, redirects: Redirects, format: NumberFormat) -> Result<String, No> {
        let endpoints = [Endpoint {
            carry: Carry::Udp,
            host: "sip.example".into(),
            port: 5080,
        }];
        let own: SocketAddr = "192.0.2.9:5080".parse().expect("an address");
        let trunk = RedirectScope {
            redirects,
            format,
            endpoints: &endpoints,
            addresses: &[(0, own)],
            is_own: &|ip| ip == own.ip(),
        };
        let mut rules = CallRules::default();
        rules.countries.all = true;
        let called = Number::from_e164(CALLED).expect("a number");
        let step = step(contact, &called, &trunk, &rules)?;
        let place = step.place.map(|(host, to)| format!(" {host} {to}"));
        Ok(format!("{}{}", step.to.e164(), place.unwrap_or_default()))
    }

    #[test]
    fn the_called_number_may_move_within_the_trunk() {
        for (contact, found) in [
            (
                "sip:+12025550123@192.0.2.9:5099",
                "+12025550123 192.0.2.9:5099 192.0.2.9:5099",
            ),
            (
                "sip:12025550123@192.0.2.9",
                "+12025550123 192.0.2.9 192.0.2.9:5060",
            ),
            (
                "sip:+1-202-555-0123;rn=+19005550100@SIP.example",
                "+12025550123 SIP.example:5080 192.0.2.9:5080",
            ),
            (
                "sip:%2B12025550123:pw@sip.example:5062;user=phone",
                "+12025550123 sip.example:5062 192.0.2.9:5062",
            ),
        ] {
            for redirects in [Redirects::Keep, Redirects::Follow] {
                assert_eq!(
                    ask(contact, redirects, NumberFormat::E164),
                    Ok(found.into()),
                    "{contact}"
                );
            }
        }
        let national = ask(
            "sip:2025550123@192.0.2.9",
            Redirects::Keep,
            NumberFormat::National,
        );
        assert!(national.is_ok());
    }

    #[test]
    fn nothing_else_is_followed_unless_the_trunk_says_so() {
        for (contact, no) in [
            ("sip:911@192.0.2.9", No::OtherNumber),
            ("sip:+12025550124@192.0.2.9", No::OtherNumber),
            ("sip:+12025550123@198.51.100.1", No::OtherPlace),
            ("sip:+12025550123@evil.example", No::OtherPlace),
            ("tel:+12025550123", No::OtherPlace),
            ("tel:911", No::OtherNumber),
            ("sip:alice@192.0.2.9", No::OtherNumber),
            ("sip:192.0.2.9", No::Unusable),
            ("sips:+12025550123@192.0.2.9", No::Unusable),
            ("sip:+12025550123@192.0.2.9?Route=x", No::Unusable),
            ("mailto:x@y", No::Unusable),
            ("", No::Unusable),
        ] {
            assert_eq!(
                ask(contact, Redirects::Keep, NumberFormat::E164),
                Err(no),
                "{contact}"
            );
        }
    }

    #[test]
    fn another_number_must_be_one_that_a_challenge_could_call() {
        let follow = |contact: &str, format| ask(contact, Redirects::Follow, format);
        for contact in [
            "sip:+12025550124@198.51.100.1",
            "tel:+1-202-555-0124",
            "sip:2025550124@x.example",
        ] {
            assert_eq!(
                follow(contact, NumberFormat::E164),
                Ok("+12025550124".into()),
                "{contact}"
            );
        }
        assert_eq!(
            follow("sip:+46701234567@192.0.2.9:5070", NumberFormat::E164),
            Ok("+46701234567 192.0.2.9:5070 192.0.2.9:5070".into())
        );
        assert_eq!(
            follow("sip:46701234567@x", NumberFormat::Digits),
            Ok("+46701234567".into())
        );
        assert_eq!(
            follow("sip:0046701234567@x", NumberFormat::Prefix00),
            Ok("+46701234567".into())
        );
        for contact in [
            "sip:911@192.0.2.9",
            "sip:112@192.0.2.9",
            "tel:112",
            "sip:+112@192.0.2.9",
            "sip:+19005550100@192.0.2.9",
            "sip:+18765550123@192.0.2.9",
            "sip:+8816123456@192.0.2.9",
            "sip:411@192.0.2.9",
        ] {
            for format in [
                NumberFormat::E164,
                NumberFormat::Digits,
                NumberFormat::Prefix00,
                NumberFormat::National,
            ] {
                let found = follow(contact, format);
                assert!(matches!(found, Err(No::Refused(_))), "{contact}: {found:?}");
            }
        }
        assert_eq!(
            follow("sip:alice@192.0.2.9", NumberFormat::E164),
            Err(No::Unusable)
        );
    }
}
