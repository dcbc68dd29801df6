//! How numbers stand in SIP: Request-URI, From, P-Asserted-Identity, by the trunk's profile.

use crate::{
    config::carrier::{Carry, Endpoint, NumberFormat, SipConfig},
    number::Number,
};

const SIP_PORT: u16 = 5060;

/// `+12025550123` in the trunk's format.
pub fn number(e164: &str, format: NumberFormat) -> String {
    let digits = e164.trim_start_matches('+');
    match format {
        NumberFormat::E164 => format!("+{digits}"),
        NumberFormat::Digits => digits.to_owned(),
        NumberFormat::Prefix00 => format!("00{digits}"),
        NumberFormat::National => match digits.strip_prefix('1') {
            Some(national) if national.len() == 10 => national.to_owned(),
            _ => format!("+{digits}"),
        },
    }
}

/// Whom we call: Request-URI and To.
pub fn callee(to: &Number, config: &SipConfig, endpoint: &Endpoint) -> String {
    let port = if endpoint.port == SIP_PORT {
        String::new()
    } else {
        format!(":{}", endpoint.port)
    };
    let transport = match endpoint.carry {
        Carry::Udp => "",
        Carry::Tcp | Carry::Tls => ";transport=tcp",
    };
    let host = bracketed(&endpoint.host);
    format!(
        "sip:{}@{host}{port}{transport}",
        number(to.e164(), config.number_format)
    )
}

/// The same where a redirection names the host and port.
pub fn callee_at(to: &Number, config: &SipConfig, endpoint: &Endpoint, host: &str) -> String {
    let transport = match endpoint.carry {
        Carry::Udp => "",
        Carry::Tcp | Carry::Tls => ";transport=tcp",
    };
    let number = number(to.e164(), config.number_format);
    format!("sip:{number}@{host}{transport}")
}

/// The URI of an endpoint itself, for OPTIONS.
pub fn peer(endpoint: &Endpoint) -> String {
    let transport = match endpoint.carry {
        Carry::Udp => "",
        Carry::Tcp | Carry::Tls => ";transport=tcp",
    };
    format!(
        "sip:{}:{}{transport}",
        bracketed(&endpoint.host),
        endpoint.port
    )
}

/// Who calls: the URI of From, and the headers that assert it (RFC 3325). None if the sender is no number.
pub fn caller(
    sender: &str,
    config: &SipConfig,
    own_host: &str,
) -> Option<(String, Vec<(String, String)>)> {
    let caller = Number::from_e164(sender)?;
    let from = format!(
        "sip:{}@{own_host}",
        number(caller.e164(), config.identity.from)
    );
    let mut headers = Vec::new();
    if config.identity.asserted {
        let asserted = format!(
            "<sip:{}@{own_host}>",
            number(caller.e164(), config.identity.from)
        );
        headers.push(("P-Asserted-Identity".to_owned(), asserted));
    }
    Some((from, headers))
}

/// The host of `host:port`, an IPv6 address in its brackets.
pub fn host_of(sent_by: &str) -> &str {
    match sent_by.rfind(':') {
        Some(at) if !sent_by.ends_with(']') => &sent_by[..at],
        _ => sent_by,
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_the_trunks_format() {
        for (format, us, se) in [
            (NumberFormat::E164, "+12025550123", "+46812345678"),
            (NumberFormat::Digits, "12025550123", "46812345678"),
            (NumberFormat::Prefix00, "0012025550123", "0046812345678"),
            (NumberFormat::National, "2025550123", "+46812345678"),
        ] {
            assert_eq!(number("+12025550123", format), us);
            assert_eq!(number("+46812345678", format), se);
        }
    }

    #[test]
    fn hosts_are_found_and_bracketed() {
        assert_eq!(host_of("192.0.2.1:5060"), "192.0.2.1");
        assert_eq!(host_of("[2001:db8::1]:5060"), "[2001:db8::1]");
        assert_eq!(host_of("[2001:db8::1]"), "[2001:db8::1]");
        assert_eq!(host_of("sip.example"), "sip.example");
        assert_eq!(bracketed("2001:db8::1"), "[2001:db8::1]");
        let endpoint = Endpoint {
            carry: Carry::Tcp,
            host: "2001:db8::1".into(),
            port: 5070,
        };
        assert_eq!(peer(&endpoint), "sip:[2001:db8::1]:5070;transport=tcp");
    }
}
