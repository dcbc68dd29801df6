//! What an HTTP carrier has alone: its request, its answer, its callbacks.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{Parts, Secret, Tls, Transport};
use crate::{
    config::values::{self, SECRET, TEXTS},
    schema::{
        Described, Key, TableView, Value, described,
        kinds::{
            self, List, Misfit, OneOf, Parsed, Read, TEXT, any_string, filled, int, map, mapped,
            plain, section, word,
        },
        value::quoted,
    },
};

/// What may stand in braces in a request's URL, headers and body.
const PLACEHOLDERS: [&str; 4] = ["to", "sender", "text", "ref"];

described! {
    #[derive(Clone, Debug, PartialEq)]
    struct Link {
        tls: Tls, section(), live, default({});
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpConfig {
        /// Requests in flight.
        pub window: u32, int(1..=5_000), live, default(100);
        pub request: HttpRequest, section(), inside, needed({ url = "https://..." });
        pub response: HttpResponse, section(), inside, default({});
        pub callback: Option<Box<HttpCallback>>, mapped(section(), Box::new), live, absent("none");
    }
}

pub(super) fn keys() -> Vec<Key> {
    HttpConfig::keys().into_iter().chain(Link::keys()).collect()
}

/// An HTTP carrier's address is its request's URL.
pub(super) fn read(table: &TableView<'_>) -> Parts {
    let (link, http) = (Link::read(table), HttpConfig::read(table));
    (
        http.map(Transport::Http),
        Some(Vec::new()),
        link.map(|link| link.tls),
    )
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpRequest {
        /// Of the request.
        pub method: Arc<str>, mapped(METHOD, Arc::from), live, default("POST");
        /// `{to}`, `{sender}`, `{text}` and `{ref}` are filled in.
        pub url: Arc<str>, URL, live, needed("https://sms.example/v1/messages");
        /// The four words are filled in.
        pub headers: BTreeMap<Arc<str>, Arc<str>>, map("names and values", HEADER, no_header), live, default({});
        pub auth: Option<HttpAuth>, mapped(section::<Auth>(), |auth| auth.auth), live, absent("none");
        /// The four words are filled in, encoded for the body's type; `{to}` and `{text}` must stand somewhere.
        pub body: Arc<str>, BODY, live, default("");
    }
    then (table) {
        if let (Some(url), Some(headers), Some(body)) = (&url, &headers, &body) {
            let everywhere = || headers.values().chain([url, body]);
            for wanted in ["{to}", "{text}"] {
                if !everywhere().any(|part| part.contains(wanted)) {
                    table.fault_here(format!("{wanted} stands nowhere in the url, the headers or the body"));
                }
            }
        }
    }
}

const METHOD: OneOf<&str> = word(&[
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("GET", "GET"),
]);

const URL: Read<Arc<str>> = kinds::read(
    "`http://` or `https://`",
    || json!({ "type": "string", "pattern": "^https?://" }),
    |value| {
        let text = plain(value)?;
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        let authority = rest.map(|r| r.split(['/', '?', '#']).next().unwrap_or(""));
        let good = authority.is_some_and(|a| {
            !a.contains('@') && (values::is_host(a) || values::host_port(a).is_some())
        });
        if !good {
            return value.refuse(format!(
                "{} is no address: write http://host/... or https://host/...",
                quoted(text)
            ));
        }
        placeholders(value, text).then(|| text.into())
    },
);

const HEADER: Read<Arc<str>> = kinds::read("a text", any_string, |value| {
    let text = value.str().filter(|text| placeholders(value, text))?;
    if text.chars().any(char::is_control) {
        return value.refuse("must not contain control characters");
    }
    Some(text.into())
});

fn no_header(name: &str) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Some(format!("{} is no header's name", quoted(name)));
    }
    ["host", "content-length", "transfer-encoding", "connection"]
        .contains(&name.to_ascii_lowercase().as_str())
        .then(|| "is set by the gateway itself".to_owned())
}

const BODY: Read<Arc<str>> = kinds::read("a text", any_string, |value| {
    let text = value.str().filter(|text| placeholders(value, text))?;
    Some(text.into())
});

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAuth {
    Bearer(Secret),
    Basic { user: Arc<str>, password: Secret },
    Header { name: Arc<str>, value: Secret },
}

described! {
    /// One of three.
    #[derive(Clone, Debug, PartialEq)]
    struct Auth {}
    keys {
        /// As `Authorization: Bearer`; one of the three kinds at most.
        bearer: Option<Secret>, SECRET, live, absent("none", { env = "TAILSPIN_TOKEN" });
        basic: Option<Basic>, section(), live, absent("none");
        header: Option<OwnHeader>, section(), live, absent("none");
    }
    fields {
        auth: HttpAuth, live;
    }
    then (table) {
        let there = ["bearer", "basic", "header"].iter().filter(|key| table.is_there(key));
        if there.count() != 1 {
            table.fault_here(
                "must be exactly one of bearer = {...}, basic = { user, password }, header = { name, value }",
            );
        }
        let bearer = bearer.flatten().map(HttpAuth::Bearer);
        let basic = basic.flatten().map(|Basic { user, password }| HttpAuth::Basic { user, password });
        let header = header.flatten().map(|OwnHeader { name, value }| HttpAuth::Header { name, value });
        let auth = bearer.or(basic).or(header);
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    struct Basic {
        /// As `Authorization: Basic`.
        user: Arc<str>, TEXT, whole, needed("mfa");
        /// With `user`.
        password: Secret, SECRET, whole, needed({ env = "NAME" });
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    struct OwnHeader {
        /// A header of the carrier's own.
        name: Arc<str>, TEXT, whole, needed("X-Api-Key");
        /// What stands in it.
        value: Secret, SECRET, whole, needed({ env = "NAME" });
    }
}

described! {
    /// Where the answer says what: JSON pointers (RFC 6901).
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpResponse {
        /// Statuses that say that the text was taken.
        pub accepted: Vec<u16>, STATUSES, live, default([200, 201, 202]);
        /// Where its id of the text stands.
        pub reference: Option<Arc<str>>, POINTER, live, absent("none", "/id");
        /// Where its code stands, for `[status]`.
        pub code: Option<Arc<str>>, POINTER, live, absent("none", "/code");
        pub verdict: Option<HttpVerdict>, section(), live, absent("the status and the code say it");
    }
}

const STATUSES: List<kinds::Int<u16>> =
    filled(int(100..=599), "must name at least one HTTP status");

described! {
    /// A word in the answer, and what it means. At least one of the lists has words; with only one of them any other
    /// word means the opposite, with both an unknown one leaves the text in doubt.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpVerdict {
        /// Where the word stands that says yes or no, where the status doesn't.
        pub at: Arc<str>, POINTER, whole, needed("/status");
        /// Words for yes; one of the two lists at least.
        pub accepted: Vec<Arc<str>>, TEXTS, whole, default([]);
        /// Words for no. With one list, any other word is the opposite; with both, it leaves the text in doubt.
        pub refused: Vec<Arc<str>>, TEXTS, whole, default([]);
    }
    then (table) {
        if let (Some(accepted), Some(refused)) = (&accepted, &refused) {
            if accepted.is_empty() && refused.is_empty() {
                table.fault_here("names no word: write accepted = [\"...\"], refused = [\"...\"], or both");
            }
            let known = |word: &&Arc<str>| accepted.iter().any(|other| other.eq_ignore_ascii_case(word));
            if let Some(both) = refused.iter().find(known) {
                table.fault_here(format!("{} means both accepted and refused", quoted(both)));
            }
        }
    }
}

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpCallback {
        /// Any of them may have signed.
        pub keys: Vec<Secret>, filled(SECRET, NO_KEY), whole, needed([{ env = "CALLBACK_KEY" }]);
        /// Where the list of receipts stands; the other pointers lead on from its elements. Else `/0` stands for each
        /// element of a list.
        pub each: Option<Arc<str>>, LIST_POINTER, whole, absent("the body", "/results");
        /// The callback's own id: what comes twice with it is taken once.
        pub id: Option<Arc<str>>, POINTER, whole, absent("none", "/event");
        /// The id of the text.
        pub reference: Arc<str>, POINTER, whole, needed("/id");
        /// The state.
        pub state: Arc<str>, POINTER, whole, needed("/status");
        /// States that say yes.
        pub delivered: Vec<Arc<str>>, TEXTS, whole, needed(["delivered"]);
        /// States that say no; any other is a state on the way.
        pub undelivered: Vec<Arc<str>>, TEXTS, whole, needed(["failed"]);
        /// Its code, for `[status]`.
        pub code: Option<Arc<str>>, POINTER, whole, absent("none", "/code");
        /// Of a text from a phone: the phone.
        pub from: Option<Arc<str>>, POINTER, whole, absent("none", "/from");
        /// Of a text from a phone: the sender of ours.
        pub to: Option<Arc<str>>, POINTER, whole, absent("none", "/to");
        /// Of a text from a phone: what it says.
        pub text: Option<Arc<str>>, POINTER, whole, absent("none", "/text");
    }
    then (table) {
        if let (Some(good), Some(bad)) = (&delivered, &undelivered)
            && let Some(both) = good.iter().find(|word| bad.contains(word))
        {
            table.fault_here(format!("{} means both delivered and undelivered", quoted(both)));
        }
    }
}

const NO_KEY: &str = "must name at least one key: callbacks without one would be anybody's";

/// A JSON pointer (RFC 6901).
const POINTER: Parsed<Arc<str>> = kinds::parsed(
    "a JSON pointer",
    || json!({ "type": "string", "pattern": "^/" }),
    pointer,
);

/// A JSON pointer to a list; the empty one is the body itself.
const LIST_POINTER: Read<Arc<str>> = kinds::read(
    "a JSON pointer to a list",
    || json!({ "type": "string", "pattern": "^(/|$)" }),
    |value| match value.str()? {
        "" => Some("".into()),
        _ => crate::schema::ValueKind::read(&POINTER, value),
    },
);

fn pointer(text: &str) -> Result<Arc<str>, Misfit> {
    if text.starts_with('/') {
        return Ok(text.into());
    }
    Err(Misfit::new(format!(
        "{} is no JSON pointer: it starts with a slash, like \"/id\"",
        quoted(text)
    )))
}
