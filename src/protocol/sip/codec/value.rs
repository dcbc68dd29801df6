//! Values of headers: URIs, addresses, Via, parameters. Borrowed from the message; nothing is unescaped unless asked,
//! and never twice.

use super::Fault;

/// A SIP or SIPS URI (RFC 3261 19.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    pub secure: bool,
    /// Escaped as it came; may hold a password after a colon.
    pub user: Option<&'a str>,
    /// A name or an address; an IPv6 address in its brackets.
    pub host: &'a str,
    pub port: Option<u16>,
    /// After the first `;`, without it.
    pub params: &'a str,
    /// After `?`, without it. Never made into real headers.
    pub headers: &'a str,
}

private_debug!(Uri<'_>);

impl<'a> Uri<'a> {
    pub fn parse(text: &'a str) -> Result<Uri<'a>, Fault> {
        let (secure, rest) = match scheme(text).ok_or(Fault::Uri)? {
            (s, rest) if s.eq_ignore_ascii_case("sip") => (false, rest),
            (s, rest) if s.eq_ignore_ascii_case("sips") => (true, rest),
            _ => return Err(Fault::Scheme),
        };
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) if !user.is_empty() => (Some(user), rest),
            Some(_) => return Err(Fault::Uri),
            None => (None, rest),
        };
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
        if rest
            .bytes()
            .any(|b| b.is_ascii_whitespace() || matches!(b, b'<' | b'>' | b'"' | b'@'))
        {
            return Err(Fault::Uri);
        }
        let (host, port) = host_port_of(host_port).ok_or(Fault::Uri)?;
        Ok(Uri {
            secure,
            user,
            host,
            port,
            params,
            headers,
        })
    }

    /// A URI as it can be sent: its parameters that are not by the grammar (a quoted value, a blank) are left out.
    /// `None` if the rest is no SIP URI.
    pub fn mended(text: &str) -> Option<String> {
        if Uri::parse(text).is_ok() {
            return Some(text.to_owned());
        }
        let mut parts = Split::new(text, b';');
        let mut out = parts.next()?.to_owned();
        for param in parts.filter(|param| is_uri_param(param)) {
            out.push(';');
            out.push_str(param);
        }
        Uri::parse(&out).is_ok().then_some(out)
    }

    /// The user with its escapes resolved once.
    pub fn user_unescaped(&self) -> Option<Vec<u8>> {
        self.user.map(unescape)
    }

    /// A URI parameter; a flag has the value `""`. Names are compared unescaped and without case.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.split(';').find_map(|param| {
            let (key, value) = param.split_once('=').unwrap_or((param, ""));
            unescape(key)
                .eq_ignore_ascii_case(name.as_bytes())
                .then_some(value)
        })
    }
}

/// `name` or `name=value` of the characters that a URI parameter may hold (RFC 3261 25.1 `paramchar`).
fn is_uri_param(text: &str) -> bool {
    let good = |b: u8| {
        is_token_byte(b) || matches!(b, b'[' | b']' | b'/' | b':' | b'&' | b'$' | b'(' | b')')
    };
    let (name, value) = text.split_once('=').unwrap_or((text, "1"));
    !name.is_empty() && !value.is_empty() && name.bytes().chain(value.bytes()).all(good)
}

/// Splits `scheme:rest`; `None` if no scheme stands there.
pub fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    (good && !rest.is_empty()).then_some((scheme, rest))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; white space around the colon is allowed in Via (RFC 3261 25.1).
fn host_port_of(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim();
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')? + 1;
        let good = text[1..end - 1]
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        let rest = text[end..].trim_start();
        let port = if rest.is_empty() {
            None
        } else {
            Some(rest.strip_prefix(':')?)
        };
        (good.then_some(&text[..end])?, port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port)),
            None => (text, None),
        };
        let good = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        (good.then_some(host)?, port)
    };
    let port = match port {
        None => None,
        Some(port) => Some(number(port.trim(), u64::from(u16::MAX))? as u16),
    };
    (!host.is_empty()).then_some((host, port))
}

/// An unsigned decimal number up to `most`; no sign, no blanks.
pub fn number(text: &str, most: u64) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= most)
}

/// Resolves `%41` to `A`, once. What is no escape stays as it is.
pub fn unescape(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// `name-addr` or `addr-spec` with header parameters: From, To, Contact, Route (RFC 3261 20.10).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// As it stands, quotes and all.
    display: &'a str,
    pub uri: &'a str,
    params: Params<'a>,
}

private_debug!(Address<'_>);

impl<'a> Address<'a> {
    pub fn parse(text: &'a str) -> Result<Address<'a>, Fault> {
        let text = text.trim();
        let (display, rest) = match text.starts_with('"') {
            true => text.split_at(quoted_end(text).ok_or(Fault::Quote)?),
            false => ("", text),
        };
        let address = match rest.split_once('<') {
            Some((before, after))
                if is_phrase(before) && (display.is_empty() || before.trim().is_empty()) =>
            {
                let (uri, params) = after.split_once('>').ok_or(Fault::Address)?;
                let display = if display.is_empty() {
                    before.trim()
                } else {
                    display
                };
                Address {
                    display,
                    uri,
                    params: Params::parse(params)?,
                }
            }
            _ if display.is_empty() => {
                let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
                let (uri, params) = rest.split_at(end);
                // Without brackets the URI may hold no comma and no question mark (20.10).
                if uri.contains(['?', ',']) {
                    return Err(Fault::Address);
                }
                Address {
                    display,
                    uri,
                    params: Params::parse(params)?,
                }
            }
            _ => return Err(Fault::Address),
        };
        check_uri(address.uri)?;
        Ok(address)
    }

    /// As [`Address::parse`], or as much as can be found: the URI between its brackets without blanks at its edges, or up
    /// to the first `;` or blank, and those parameters that are well formed. The URI may be anything.
    pub fn read(text: &'a str) -> Result<Address<'a>, Fault> {
        Address::parse(text).or_else(|fault| {
            let text = text.trim();
            let quoted = text.starts_with('"').then(|| quoted_end(text)).flatten();
            let from = quoted.unwrap_or(0);
            let (uri, rest) = match text[from..].split_once('<') {
                Some((_, after)) => after.split_once('>').ok_or(fault)?,
                None => text.split_at(text.find([';', ' ', '\t']).unwrap_or(text.len())),
            };
            Ok(Address {
                display: "",
                uri: uri.trim(),
                params: Params::read(rest),
            })
        })
    }

    /// The display name without its quotes and backslashes; empty if there is none.
    pub fn display(&self) -> String {
        match self
            .display
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        {
            Some(inner) => unquote(inner),
            None => self.display.to_owned(),
        }
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }
}

/// Any absolute URI without blanks and brackets; a SIP URI must be a whole one.
fn check_uri(uri: &str) -> Result<(), Fault> {
    if uri.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')) {
        return Err(Fault::Address);
    }
    match Uri::parse(uri) {
        Ok(_) | Err(Fault::Scheme) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn is_phrase(text: &str) -> bool {
    text.bytes()
        .all(|b| is_token_byte(b) || b == b' ' || b == b'\t' || b >= 0x80)
}

fn unquote(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// The octet after the closing quote of the string that `text` begins with.
fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// `;name=value;flag`, checked once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

private_debug!(Params<'_>);

impl<'a> Params<'a> {
    /// `text` is empty or begins with `;`.
    pub fn parse(text: &'a str) -> Result<Params<'a>, Fault> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Params(""));
        }
        let inner = text.strip_prefix(';').ok_or(Fault::Parameter)?;
        for param in Split::new(inner, b';') {
            let (name, value) = pair(param);
            let open = value.starts_with('"') && quoted_end(value) != Some(value.len());
            if !is_token(name) || open || (value.is_empty() && param.contains('=')) {
                return Err(Fault::Parameter);
            }
        }
        Ok(Params(inner))
    }

    /// What follows the first `;`: parameters that are none are passed over.
    fn read(text: &'a str) -> Params<'a> {
        Params(text.split_once(';').map_or("", |(_, params)| params))
    }

    /// A parameter's value; a flag has the value `""`.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        Split::new(self.0, b';')
            .map(pair)
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

fn pair(param: &str) -> (&str, &str) {
    let (name, value) = param.split_once('=').unwrap_or((param, ""));
    (name.trim(), value.trim())
}

/// One hop of a Via (RFC 3261 20.42).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    pub transport: &'a str,
    pub host: &'a str,
    pub port: Option<u16>,
    params: Params<'a>,
}

impl<'a> Via<'a> {
    pub fn parse(text: &'a str) -> Result<Via<'a>, Fault> {
        let mut parts = text.splitn(3, '/');
        let (name, version, rest) = match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(version), Some(rest)) => (name.trim(), version.trim(), rest.trim()),
            _ => return Err(Fault::Via),
        };
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(Fault::Via);
        }
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(Fault::Via)?;
        let sent_by = rest.find(';').map_or(rest, |at| &rest[..at]);
        let (host, port) = host_port_of(sent_by).ok_or(Fault::Via)?;
        if !is_token(transport) {
            return Err(Fault::Via);
        }
        Ok(Via {
            transport,
            host,
            port,
            params: Params::parse(&rest[sent_by.len()..])?,
        })
    }

    /// As [`Via::parse`], but where parameters or the host are odd, what else can be read.
    pub fn read(text: &'a str) -> Result<Via<'a>, Fault> {
        Via::parse(text).or_else(|fault| {
            let (_, rest) = text
                .rsplit_once('/')
                .filter(|_| text.contains(';'))
                .ok_or(fault)?;
            let (head, params) = rest.split_once(';').ok_or(fault)?;
            let (transport, host) = head
                .trim()
                .split_once([' ', '\t'])
                .unwrap_or((head.trim(), ""));
            Ok(Via {
                transport,
                host: host.trim(),
                port: None,
                params: Params(params),
            })
        })
    }

    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch")
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }
}

/// Splits at `by`, but not within quotes or angle brackets; parts come trimmed, empty ones too.
pub struct Split<'a> {
    rest: Option<&'a str>,
    by: u8,
}

impl<'a> Split<'a> {
    pub fn new(text: &'a str, by: u8) -> Split<'a> {
        Split {
            rest: Some(text),
            by,
        }
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.take()?;
        let (mut quoted, mut bracketed, mut skip) = (false, false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if skip => skip = false,
                b'\\' if quoted => skip = true,
                b'"' if !bracketed => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                _ if byte == self.by && !quoted && !bracketed => {
                    self.rest = Some(&text[at + 1..]);
                    return Some(text[..at].trim());
                }
                _ => {}
            }
        }
        Some(text.trim())
    }
}

/// A token (RFC 3261 25.1), not empty.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}
