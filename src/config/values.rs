//! Kinds of values of the configuration: paces, windows, endpoints, secrets, certificates. Each says its own fault.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use serde_json::{Value as Json, json};

use super::secret::{Secret, Text};
use crate::schema::{
    Value, described,
    kinds::{self, Misfit, Parsed, Read, any_string, plain, text},
    value::quoted,
};

/// `host:port`, with what carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub carry: Carry,
    pub host: Arc<str>,
    pub port: u16,
}

impl Endpoint {
    /// The address, where the host is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carry {
    Tcp,
    Udp,
    Tls,
}

/// Of an SMPP carrier: `host:port`, `tls:host:port`.
pub const SMPP_ENDPOINT: Read<Endpoint> = kinds::read(
    "`\"host:port\"`, `\"tls:host:port\"`; in order",
    any_string,
    |value| endpoint(value, Carry::Tcp, &[Carry::Tcp, Carry::Tls]),
);

/// Of a trunk: `host:port` (UDP), `udp:host:port`, `tcp:host:port`.
pub const SIP_ENDPOINT: Read<Endpoint> = kinds::read(
    "`\"udp:host:port\"`, `\"tcp:host:port\"`, or `\"host:port\"` (UDP); in order",
    any_string,
    |value| endpoint(value, Carry::Udp, &[Carry::Udp, Carry::Tcp]),
);

fn endpoint(value: &Value<'_>, plainly: Carry, may: &[Carry]) -> Option<Endpoint> {
    let text = plain(value)?;
    let (carry, rest) = match text.split_once(':') {
        Some(("tls", rest)) => (Carry::Tls, rest),
        Some(("tcp", rest)) => (Carry::Tcp, rest),
        Some(("udp", rest)) => (Carry::Udp, rest),
        _ => (plainly, text),
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
            Carry::Tcp if plainly == Carry::Tcp => "host:port",
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
pub const SOCKET: Parsed<SocketAddr> = kinds::parsed("IP address and port", any_string, |text| {
    text.parse().map_err(|_| {
            Misfit::new(format!(
                "{} is no address to listen on: write an IP address and a port, like \"127.0.0.1:8080\"",
                quoted(text)
            ))
        })
});

/// Whole paths, like `"prompts"`.
pub const FOLDER: Read<PathBuf> = kinds::read("a folder", any_string, |value| {
    let path = value.base().join(plain(value)?);
    // What nobody has written may come later.
    if value.given() && !path.is_dir() {
        value.fault(format!("{} is not a folder", path.display()));
    }
    Some(path)
});

const FILE: Read<PathBuf> = kinds::read("a file", any_string, |value| {
    let path = value.base().join(plain(value)?);
    if !path.is_file() {
        value.fault(format!("{} is not a file", path.display()));
    }
    Some(path)
});

pub fn secret_json() -> Json {
    json!({
        "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
        "properties": { "env": { "type": "string" }, "file": { "type": "string" } },
    })
}

/// `{ env = "NAME" }` or `{ file = "path" }`.
pub fn secret(value: &Value<'_>) -> Option<Secret> {
    if value.is_str() {
        return value.refuse(
            "a secret is named, never stored here: write { env = \"NAME\" } or { file = \"path\" }",
        );
    }
    let table = value.table()?;
    let env = table.get("env");
    let file = table.get("file");
    let found = match (&env, &file) {
        (Some(value), None) => variable(value),
        (None, Some(path)) => plain(path).map(|path| Secret::File(value.base().join(path))),
        (Some(_), Some(_)) => value.refuse("has both env and file: name one"),
        (None, None) => {
            value.refuse("names no secret: write { env = \"NAME\" } or { file = \"path\" }")
        }
    };
    table.finish();
    found
}

fn variable(value: &Value<'_>) -> Option<Secret> {
    let name = plain(value)?;
    if name.contains('=') || name.contains(char::is_whitespace) {
        let name = quoted(name);
        return value.refuse(format!("{name} is no name of an environment variable"));
    }
    Some(Secret::Env(name.into()))
}

/// A secret that is read when it is needed: that it is not there yet is worth a word.
pub const SECRET: Read<Secret> = kinds::read("a secret", secret_json, secret_later);

/// The token of a listener, without which nobody could be let in.
pub const TOKEN: Read<Secret> = kinds::read("a secret", secret_json, |value| {
    let secret = secret(value)?;
    match secret.read() {
        Err(reason) => value.fault(format!(
            "{reason}: without its token nobody could be let in"
        )),
        Ok(text) if text.is_empty() => value.fault("the token is empty"),
        Ok(_) => {}
    }
    Some(secret)
});

/// A ledger without its keys can't be opened: this secret is looked at when it is named.
pub const LEDGER_KEY: Read<Secret> = kinds::read(
    "a secret: 32 octets as 64 hex digits",
    secret_json,
    |value| {
        let secret = secret(value)?;
        let octets = secret.read().map(|text| hex::decode(text).map(|o| o.len()));
        match octets {
            Ok(Ok(32)) => {}
            Ok(_) => value.fault("the key is not 32 octets as 64 hexadecimal digits"),
            Err(reason) => value.fault(reason.to_string()),
        }
        Some(secret)
    },
);

fn secret_later(value: &Value<'_>) -> Option<Secret> {
    let secret = secret(value)?;
    if let Err(reason) = secret.read() {
        value.warn(format!("{reason}{SECRET_WARNING}"));
    }
    Some(secret)
}

/// How the warning of an absent secret ends.
pub const SECRET_WARNING: &str = "; nothing can be reached with it until it is there";

/// The address of a broker, in the file or behind a secret.
pub const BROKER: Read<Text> = kinds::read(
    "`amqp://` or `amqps://user:password@host:port/vhost`; plain or a secret",
    || json!({ "anyOf": [{ "type": "string", "pattern": "^amqps?://" }, secret_json()] }),
    broker,
);

fn broker(value: &Value<'_>) -> Option<Text> {
    if value.is_table() {
        return secret_later(value).map(Text::Secret);
    }
    let text = plain(value)?;
    if !(text.starts_with("amqp://") || text.starts_with("amqps://")) {
        return value.refuse("must start with amqp:// or amqps://");
    }
    let authority = text.split("://").nth(1).unwrap_or("");
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    if login.is_some_and(|login| login.contains(':') && !login.starts_with("guest:guest")) {
        value.warn("holds a password: name the whole address as { env = \"RINGBACK_AMQP_URL\" }");
    }
    Some(Text::Plain(text.into()))
}

described! {
    /// Certificates of a TLS link. No `ca`: the system's roots.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Tls {
        /// Certificates that are trusted.
        pub ca: Option<PathBuf>, FILE, whole, absent("the system's roots", "ca.pem");
        /// Our own certificate, with `key`.
        pub cert: Option<PathBuf>, FILE, whole, absent("none", "cert.pem");
        /// Its private key.
        pub key: Option<Secret>, SECRET, whole, absent("none", { file = "key.pem" });
        /// The name to expect in the peer's certificate.
        pub name: Option<Arc<str>>, text("a name"), whole, absent("the host", "smsc.example");
    }
    then (table) {
        if table.is_there("cert") != table.is_there("key") {
            table.fault_here("cert and key belong together: one of them is missing");
        }
    }
}

impl Tls {
    pub fn certificates(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca, &self.cert].into_iter().flatten()
    }
}

/// The names of what stands at the broker and elsewhere: a list of texts that are not empty.
pub const TEXTS: kinds::List<kinds::PlainText> = kinds::list(text("a text"));

#[cfg(test)]
mod tests {
    use super::*;

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
