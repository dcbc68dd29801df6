//! Single values of the configuration: durations, paces, endpoints, secrets. Each says its own fault.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    carrier::{Carry, Endpoint, Pace, Secret, Tls},
    settings::Text,
    table::{Value, quoted},
};

/// The longest duration that means something here.
const MAX_DURATION: Duration = Duration::from_secs(400 * 24 * 3600);

/// `"20s"`, `"5m"`, `"24h"`, `"7d"`, `"500ms"`, within bounds.
pub fn duration(value: &Value<'_>, least: Duration, most: Duration) -> Option<Duration> {
    if !value.is_str() {
        return value.wrong("a duration in quotes with its unit, like \"20s\"");
    }
    let text = value.str()?;
    let Some(found) = parse_duration(text) else {
        value.fault(format!(
            "{} is no duration: write \"500ms\", \"20s\", \"5m\", \"24h\" or \"7d\"",
            quoted(text)
        ));
        return None;
    };
    if found < least || found > most {
        value.fault(format!("must be from {} to {}", shown(least), shown(most)));
        return None;
    }
    Some(found)
}

/// The same, or false for "off": Some(None).
pub fn duration_or_off(
    value: &Value<'_>,
    least: Duration,
    most: Duration,
) -> Option<Option<Duration>> {
    if value.is_false() {
        return Some(None);
    }
    duration(value, least, most).map(Some)
}

/// A duration in words of the configuration.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let span = Duration::from_millis(number.checked_mul(millis)?);
    (span <= MAX_DURATION).then_some(span)
}

/// How a duration is written.
pub fn shown(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// `"200/s"`, `"10/m"`, `"3600/h"`; false: no limit.
pub fn pace(value: &Value<'_>) -> Option<Option<Pace>> {
    if value.is_false() {
        return Some(None);
    }
    let text = value.str()?;
    let found = text.split_once('/').and_then(|(count, unit)| {
        let per = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let count = count.parse().ok().filter(|n| (1..=1_000_000).contains(n))?;
        Some(Pace {
            count,
            per: Duration::from_secs(per),
        })
    });
    if found.is_none() {
        value.fault(format!(
            "{} is no pace: write \"200/s\", \"10/m\", \"600/h\" (1 to 1000000), or false for no limit",
            quoted(text)
        ));
    }
    found.map(Some)
}

/// A sliding window `{ count = 5, per = "5m" }`; false: off.
pub fn window(value: &Value<'_>) -> Option<Option<Pace>> {
    if value.is_false() {
        return Some(None);
    }
    if !value.is_table() {
        return value.wrong("{ count = 5, per = \"5m\" } or false");
    }
    let table = value.table()?;
    let count = table
        .need("count", "5")
        .and_then(|v| v.int(1..=1_000_000_000));
    let per = table
        .need("per", "\"5m\"")
        .and_then(|v| duration(&v, Duration::from_secs(1), Duration::from_secs(7 * 86_400)));
    table.finish();
    let count = u32::try_from(count?).ok()?;
    Some(Some(Pace { count, per: per? }))
}

/// `host:port`, `tcp:host:port`, `udp:host:port`, `tls:host:port`.
pub fn endpoint(value: &Value<'_>, plain: Carry, may: &[Carry]) -> Option<Endpoint> {
    let text = value.text()?;
    let (carry, rest) = match text.split_once(':') {
        Some(("tls", rest)) => (Carry::Tls, rest),
        Some(("tcp", rest)) => (Carry::Tcp, rest),
        Some(("udp", rest)) => (Carry::Udp, rest),
        _ => (plain, text),
    };
    if !may.contains(&carry) {
        value.fault(match carry {
            Carry::Tls => "tls is not available on this transport yet",
            Carry::Udp => "this transport does not run over udp: write host:port or tls:host:port",
            Carry::Tcp => "this transport does not run over tcp",
        });
        return None;
    }
    let Some((host, port)) = host_port(rest) else {
        let ways = may.iter().map(|carry| match carry {
            Carry::Udp => "udp:host:port",
            Carry::Tcp if plain == Carry::Tcp => "host:port",
            Carry::Tcp => "tcp:host:port",
            Carry::Tls => "tls:host:port",
        });
        let ways: Vec<&str> = ways.collect();
        value.fault(format!(
            "{} is no endpoint: write {} (an IPv6 address stands in brackets: [2001:db8::1]:port)",
            quoted(text),
            ways.join(" or ")
        ));
        return None;
    };
    Some(Endpoint {
        carry,
        host: host.into(),
        port,
    })
}

/// A host and a port that is not 0; an IPv6 address stands in brackets, which are taken off.
pub fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| port.parse::<u16>().ok())??;
    if port == 0 {
        return None;
    }
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            inner
        }
        None => {
            is_host(host).then_some(())?;
            host
        }
    };
    Some((host, port))
}

/// A name or an IPv4 address.
pub fn is_host(host: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(letters)
        && !host.starts_with(['-', '.'])
}

/// An own address to listen on.
pub fn socket(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let found = text.parse().ok();
    if found.is_none() {
        value.fault(format!(
            "{} is no address to listen on: write an IP address and a port, like \"127.0.0.1:8080\"",
            quoted(text)
        ));
    }
    found
}

/// `{ env = "NAME" }` or `{ file = "path" }`; relative paths from `base`.
pub fn secret(value: &Value<'_>, base: &Path) -> Option<Secret> {
    if value.is_str() {
        value.fault(
            "a secret is named, never stored here: write { env = \"NAME\" } or { file = \"path\" }",
        );
        return None;
    }
    let table = value.table()?;
    let env = table.get("env").map(|v| (v.text(), v));
    let file = table.get("file").map(|v| v.text());
    table.finish();
    match (env, file) {
        (Some((name, value)), None) => {
            let name = name?;
            if name.contains('=') || name.contains(char::is_whitespace) {
                value.fault(format!(
                    "{} is no name of an environment variable",
                    quoted(name)
                ));
                return None;
            }
            Some(Secret::Env(name.into()))
        }
        (None, Some(path)) => Some(Secret::File(base.join(path?))),
        (Some(_), Some(_)) => {
            value.fault("has both env and file: name one");
            None
        }
        (None, None) => {
            value.fault("names no secret: write { env = \"NAME\" } or { file = \"path\" }");
            None
        }
    }
}

/// The same for a secret that is read when it is needed: that it is not there yet is worth a word.
pub fn secret_later(value: &Value<'_>, base: &Path) -> Option<Secret> {
    let secret = secret(value, base)?;
    if let Err(reason) = secret.read() {
        value.warn(format!("{reason}{SECRET_WARNING}"));
    }
    Some(secret)
}

/// How the warning of an absent secret ends.
pub const SECRET_WARNING: &str = "; nothing can be reached with it until it is there";

/// A value in the file, or a secret named by it.
pub fn text_or_secret(value: &Value<'_>, base: &Path) -> Option<Text> {
    if value.is_table() {
        return secret_later(value, base).map(Text::Secret);
    }
    value.text().map(|text| Text::Plain(text.into()))
}

/// `{ ca, cert, key, name }`.
pub fn tls(value: &Value<'_>, base: &Path) -> Option<Tls> {
    let table = value.table()?;
    let path = |key| -> Option<PathBuf> {
        let value: Value<'_> = table.get(key)?;
        let path = base.join(value.text()?);
        if !path.is_file() {
            value.fault(format!("{} is not a file", path.display()));
        }
        Some(path)
    };
    let found = Tls {
        ca: path("ca"),
        cert: path("cert"),
        key: table.get("key").and_then(|v| secret_later(&v, base)),
        name: table.get("name").and_then(|v| v.text()).map(Arc::from),
    };
    if found.cert.is_some() != table.is_there("key") {
        value.fault("cert and key belong together: one of them is missing");
    }
    table.finish();
    Some(found)
}

/// A list of strings that are not empty.
pub fn texts(value: &Value<'_>) -> Option<Vec<Arc<str>>> {
    let items = value.list()?;
    let count = items.len();
    let found: Vec<Arc<str>> = items
        .iter()
        .filter_map(|v| v.text())
        .map(Arc::from)
        .collect();
    (found.len() == count).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(86_400)));
        for wrong in [
            "",
            "20",
            "s",
            "-5s",
            "1.5s",
            "5 s",
            "99999999999999999999s",
            "5w",
            "401d",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        for span in ["500ms", "90s", "5m", "36h", "7d"] {
            assert_eq!(shown(parse_duration(span).unwrap()), span);
        }
    }

    #[test]
    fn endpoints_have_hosts_and_ports() {
        assert_eq!(host_port("smsc.example:2775"), Some(("smsc.example", 2775)));
        assert_eq!(host_port("[::1]:5060"), Some(("::1", 5060)));
        for wrong in [
            "smsc",
            "smsc:",
            ":1",
            "smsc:0",
            "smsc:70000",
            "smsc:+5",
            "a b:1",
            "::1:5060",
            "[x]:1",
        ] {
            assert_eq!(host_port(wrong), None, "{wrong}");
        }
    }
}
