//! The values of headers: addresses, parameters, lists (RFC 3261 sections 7.3 and 20).

/// The URI in a name-addr or addr-spec (section 20.10), without angle brackets.
pub fn uri_of(value: &str) -> &str {
    match find_outside_quotes(value, '<') {
        Some(open) => {
            let rest = &value[open + 1..];
            rest.find('>').map_or(rest, |close| &rest[..close])
        }
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// The user part of a sip, sips or tel URI, parameters of the user (`;phone-context`) taken off.
pub fn user_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let user = match scheme.to_ascii_lowercase().as_str() {
        "sip" | "sips" => rest.split_once('@')?.0,
        "tel" => rest,
        _ => return None,
    };
    let user = user.split([';', '?', ':']).next().unwrap_or(user);
    (!user.is_empty()).then_some(user)
}

/// Host and port of a sip URI; no port where none stands there.
pub fn host_of(uri: &str) -> Option<(&str, Option<u16>)> {
    let (_, rest) = uri.split_once(':')?;
    let rest = rest.split(['?', ';', '>']).next()?;
    host_port(rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

/// `host[:port]`, with brackets around IPv6.
pub fn host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':').map(str::parse).transpose().ok()?;
        return Some((host, port));
    }
    match text.split_once(':') {
        None => (!text.is_empty()).then_some((text, None)),
        Some((host, port)) => Some((host, Some(port.trim().parse().ok()?))),
    }
}

/// A parameter of a header's value, outside angle brackets; `Some("")` where it has no value.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let after = match find_outside_quotes(value, '<') {
        Some(open) => &value[open..][value[open..].find('>')? + 1..],
        None => value,
    };
    after.split(';').skip(1).find_map(|part| {
        let (key, val) = part.split_once('=').unwrap_or((part, ""));
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| val.trim().trim_matches('"'))
    })
}

/// `host:port` of a Via.
pub fn sent_by(via: &str) -> &str {
    let head = via.split(';').next().unwrap_or_default().trim();
    head.rsplit([' ', '\t']).next().unwrap_or_default()
}

/// The parts of a list, commas inside quotes and angle brackets left alone.
pub fn split_commas(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut angled) = (false, false);
    value
        .split(move |c| {
            match c {
                '"' => quoted = !quoted,
                '<' if !quoted => angled = true,
                '>' if !quoted => angled = false,
                _ => {}
            }
            c == ',' && !quoted && !angled
        })
        .map(str::trim)
}

fn find_outside_quotes(value: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    value.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == wanted && !quoted => return Some(at),
            _ => {}
        }
        None
    })
}
