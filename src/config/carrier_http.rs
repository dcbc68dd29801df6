//! Reads what is peculiar to an HTTP carrier: its request, its answer, its callbacks.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    carrier::*,
    table::{Cursor, Value, quoted},
    values,
};

/// What may stand in braces in a request's URL, headers and body.
pub const PLACEHOLDERS: [&str; 4] = ["to", "sender", "text", "ref"];

pub fn read(root: &Cursor<'_>, base: &Path) -> Option<HttpConfig> {
    let window = root.get("window").map_or(Some(100), |v| v.int(1..=5_000));
    let request = root
        .need(
            "request",
            "{ url = \"https://...\", body = '{\"to\":{to},\"text\":{text}}' }",
        )
        .and_then(|v| request(&v, base));
    let response = root.get("response").map_or_else(
        || {
            Some(HttpResponse {
                accepted: vec![200, 201, 202],
                reference: None,
                code: None,
                verdict: None,
            })
        },
        |v| response(&v),
    );
    let callback = root
        .get("callback")
        .map_or(Some(None), |v| callback(&v, base).map(Box::new).map(Some));
    Some(HttpConfig {
        window: u32::try_from(window?).ok()?,
        request: request?,
        response: response?,
        callback: callback?,
    })
}

fn request(value: &Value<'_>, base: &Path) -> Option<HttpRequest> {
    let table = value.table()?;
    let method = table.get("method").map_or(Some("POST"), |v| {
        v.word(&[
            ("POST", "POST"),
            ("PUT", "PUT"),
            ("PATCH", "PATCH"),
            ("GET", "GET"),
        ])
    });
    let url = table
        .need("url", "\"https://sms.example/v1/messages\"")
        .and_then(|v| url(&v));
    let headers = table
        .get("headers")
        .map_or(Some(BTreeMap::new()), |v| headers(&v));
    let auth = table
        .get("auth")
        .map_or(Some(None), |v| auth(&v, base).map(Some));
    let body = table
        .get("body")
        .map_or(Some(""), |v| v.str().filter(|body| placeholders(&v, body)));
    if let (Some(url), Some(body), Some(headers)) = (&url, body, &headers) {
        let everywhere = || {
            std::iter::once(&**url)
                .chain(std::iter::once(body))
                .chain(headers.values().map(|v| &**v))
        };
        for word in ["to", "text"] {
            let wanted = format!("{{{word}}}");
            if !everywhere().any(|part| part.contains(&wanted)) {
                value.fault(format!(
                    "{wanted} stands nowhere in the url, the headers or the body"
                ));
            }
        }
    }
    table.finish();
    Some(HttpRequest {
        method: method?.into(),
        url: url?,
        headers: headers?,
        auth: auth?,
        body: body?.into(),
    })
}

fn url(value: &Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let authority = rest.map(|r| r.split(['/', '?', '#']).next().unwrap_or(""));
    let good = authority.is_some_and(|a| {
        !a.contains('@') && (values::is_host(a) || values::host_port(a).is_some())
    });
    if !good {
        value.fault(format!(
            "{} is no address: write http://host/... or https://host/...",
            quoted(text)
        ));
        return None;
    }
    placeholders(value, text).then(|| text.into())
}

fn headers(value: &Value<'_>) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    let mut found = BTreeMap::new();
    let mut whole = true;
    for (name, value) in value.table()?.entries() {
        let token = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !token {
            value.fault(format!("{} is no header's name", quoted(name)));
            whole = false;
        } else if ["host", "content-length", "transfer-encoding", "connection"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            value.fault("is set by the gateway itself");
            whole = false;
        } else if let Some(text) = value.str().filter(|text| placeholders(&value, text)) {
            if text.chars().any(char::is_control) {
                value.fault("must not contain control characters");
                whole = false;
            }
            found.insert(Arc::from(name), Arc::from(text));
        } else {
            whole = false;
        }
    }
    whole.then_some(found)
}

/// A word in braces that is none of ours would go to the carrier as it stands. Braces of JSON are left alone.
fn placeholders(value: &Value<'_>, text: &str) -> bool {
    let mut good = true;
    for (at, _) in text.match_indices('{') {
        let Some((word, _)) = text[at + 1..].split_once('}') else {
            continue;
        };
        let looks = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        if looks && !PLACEHOLDERS.contains(&word) {
            value.fault(format!("{{{}}} is nothing that is filled in here; there are {{to}}, {{sender}}, {{text}}, {{ref}}", &word[..word.len().min(40)]));
            good = false;
        }
    }
    good
}

fn auth(value: &Value<'_>, base: &Path) -> Option<HttpAuth> {
    let table = value.table()?;
    let bearer = table.get("bearer");
    let basic = table.get("basic");
    let header = table.get("header");
    table.finish();
    match (bearer, basic, header) {
        (Some(v), None, None) => values::secret_later(&v, base).map(HttpAuth::Bearer),
        (None, Some(v), None) => {
            let table = v.table()?;
            let user = table.need("user", "\"mfa\"").and_then(|v| v.text());
            let password = table
                .need("password", "{ env = \"NAME\" }")
                .and_then(|v| values::secret_later(&v, base));
            table.finish();
            Some(HttpAuth::Basic {
                user: user?.into(),
                password: password?,
            })
        }
        (None, None, Some(v)) => {
            let table = v.table()?;
            let name = table.need("name", "\"X-Api-Key\"").and_then(|v| v.text());
            let secret = table
                .need("value", "{ env = \"NAME\" }")
                .and_then(|v| values::secret_later(&v, base));
            table.finish();
            Some(HttpAuth::Header {
                name: name?.into(),
                value: secret?,
            })
        }
        _ => {
            value.fault("must be exactly one of bearer = {...}, basic = { user, password }, header = { name, value }");
            None
        }
    }
}

fn response(value: &Value<'_>) -> Option<HttpResponse> {
    let table = value.table()?;
    let accepted = table
        .get("accepted")
        .map_or(Some(vec![200, 201, 202]), |v| {
            let items = v.list()?;
            if items.is_empty() {
                v.fault("must name at least one HTTP status");
            }
            let found: Vec<u16> = items
                .iter()
                .filter_map(|v| v.int(100..=599))
                .filter_map(|n| u16::try_from(n).ok())
                .collect();
            (found.len() == items.len()).then_some(found)
        });
    let reference = optional_pointer(&table, "reference");
    let code = optional_pointer(&table, "code");
    let verdict = table
        .get("verdict")
        .map_or(Some(None), |v| verdict(&v).map(Some));
    table.finish();
    Some(HttpResponse {
        accepted: accepted?,
        reference: reference?,
        code: code?,
        verdict: verdict?,
    })
}

fn verdict(value: &Value<'_>) -> Option<HttpVerdict> {
    let table = value.table()?;
    let at = table.need("at", "\"/status\"").and_then(|v| pointer(&v));
    let words = |key| {
        table
            .get(key)
            .map_or(Some(Vec::new()), |v| values::texts(&v))
    };
    let (accepted, refused) = (words("accepted"), words("refused"));
    table.finish();
    let found = HttpVerdict {
        at: at?,
        accepted: accepted?,
        refused: refused?,
    };
    if found.accepted.is_empty() && found.refused.is_empty() {
        value.fault("names no word: write accepted = [\"...\"], refused = [\"...\"], or both");
    }
    let known = |word: &&Arc<str>| {
        let is = |other: &Arc<str>| other.eq_ignore_ascii_case(word);
        found.accepted.iter().any(is)
    };
    if let Some(both) = found.refused.iter().find(known) {
        value.fault(format!("{} means both accepted and refused", quoted(both)));
    }
    Some(found)
}

fn callback(value: &Value<'_>, base: &Path) -> Option<HttpCallback> {
    let table = value.table()?;
    let keys = table
        .need("keys", "[{ env = \"CALLBACK_KEY\" }]")
        .and_then(|v| {
            let items = v.list()?;
            if items.is_empty() {
                v.fault("must name at least one key: callbacks without one would be anybody's");
            }
            let found: Vec<Secret> = items
                .iter()
                .filter_map(|v| values::secret_later(v, base))
                .collect();
            (found.len() == items.len()).then_some(found)
        });
    let reference = table.need("reference", "\"/id\"").and_then(|v| pointer(&v));
    let state = table.need("state", "\"/status\"").and_then(|v| pointer(&v));
    let delivered = table
        .need("delivered", "[\"delivered\"]")
        .and_then(|v| values::texts(&v));
    let undelivered = table
        .need("undelivered", "[\"failed\"]")
        .and_then(|v| values::texts(&v));
    if let (Some(good), Some(bad)) = (&delivered, &undelivered)
        && let Some(both) = good.iter().find(|word| bad.contains(word))
    {
        value.fault(format!(
            "{} means both delivered and undelivered",
            quoted(both)
        ));
    }
    let each = table
        .get("each")
        .map_or(Some(None), |v| list_pointer(&v).map(Some));
    let id = optional_pointer(&table, "id");
    let code = optional_pointer(&table, "code");
    let from = optional_pointer(&table, "from");
    let to = optional_pointer(&table, "to");
    let text = optional_pointer(&table, "text");
    table.finish();
    Some(HttpCallback {
        keys: keys?,
        each: each?,
        id: id?,
        reference: reference?,
        state: state?,
        delivered: delivered?,
        undelivered: undelivered?,
        code: code?,
        from: from?,
        to: to?,
        text: text?,
    })
}

fn optional_pointer(table: &Cursor<'_>, key: &'static str) -> Option<Option<Arc<str>>> {
    table.get(key).map_or(Some(None), |v| pointer(&v).map(Some))
}

/// A JSON pointer to a list; the empty one is the body itself.
fn list_pointer(value: &Value<'_>) -> Option<Arc<str>> {
    match value.str()? {
        "" => Some("".into()),
        _ => pointer(value),
    }
}

/// A JSON pointer (RFC 6901).
fn pointer(value: &Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    if !text.starts_with('/') {
        value.fault(format!(
            "{} is no JSON pointer: it starts with a slash, like \"/id\"",
            quoted(text)
        ));
        return None;
    }
    Some(text.into())
}
