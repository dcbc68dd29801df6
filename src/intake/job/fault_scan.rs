//! The long way through a job that the short one refused: any JSON, field by field, all faults kept.

use crate::report::JobFault;
use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::{
    FAULTS,
    raw::{META_PAIRS, Meta, Raw, RawFallback, Text},
    rules::FALLBACKS,
};

/// Any JSON. Unlike a map of values it keeps what stands twice.
enum Tree<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Number,
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

/// Reads the body; the one fault is that it is no JSON object at all.
pub(super) fn fault_scan(body: &[u8]) -> Result<(Raw<'_>, Vec<JobFault>), JobFault> {
    let tree: Tree<'_> = serde_json::from_slice(body).map_err(|e| {
        let why = match e.classify() {
            serde_json::error::Category::Eof => "ends too early",
            _ => "is not JSON",
        };
        JobFault::new(
            "body",
            format!("{why} (line {}, column {})", e.line(), e.column()),
        )
    })?;
    let Tree::Object(fields) = tree else {
        return Err(JobFault::new("body", "is not a JSON object"));
    };
    let mut walker = Walker::default();
    let mut raw = Raw::default();
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    for (name, value) in fields {
        if seen.contains(&name) {
            walker.fault(&shown(&name), "stands twice");
            continue;
        }
        walker.field(&mut raw, &name, value);
        if seen.len() < FAULTS {
            seen.push(name);
        }
    }
    Ok((raw, walker.faults))
}

#[derive(Default)]
struct Walker {
    faults: Vec<JobFault>,
}

impl Walker {
    fn fault(&mut self, field: &str, reason: &str) {
        if self.faults.len() < FAULTS {
            self.faults.push(JobFault::new(field, reason));
        }
    }

    fn field<'a>(&mut self, raw: &mut Raw<'a>, name: &str, value: Tree<'a>) {
        match name {
            "v" => raw.v = self.int(name, value),
            "id" => raw.id = self.text(name, value),
            "to" => raw.to = self.text(name, value),
            "region" => raw.region = self.text(name, value),
            "extension" => raw.extension = self.text(name, value),
            "method" => raw.method = self.text(name, value),
            "expect" => raw.expect = self.text(name, value),
            "fallback" => raw.fallback = self.fallback(value),
            "until" => raw.until = self.text(name, value),
            "code" => raw.code = self.text(name, value),
            "pin" => raw.pin = self.text(name, value),
            "text" => raw.text = self.text(name, value),
            "locale" => raw.locale = self.text(name, value),
            "lifetime_s" => raw.lifetime_s = self.int(name, value),
            "issued_at" => raw.issued_at = self.text(name, value),
            "tenant" => raw.tenant = self.text(name, value),
            "user" => raw.user = self.text(name, value),
            "caller_id" => raw.caller_id = self.text(name, value),
            "meta" => raw.meta = self.meta(value),
            "verified" => raw.verified = self.bool(name, value),
            _ => self.fault(&shown(name), UNKNOWN),
        }
    }

    fn text<'a>(&mut self, name: &str, value: Tree<'a>) -> Option<Text<'a>> {
        match value {
            Tree::Text(text) => Some(Text(text)),
            Tree::Null => None,
            Tree::Bool(_) | Tree::Int(_) | Tree::Number | Tree::List(_) | Tree::Object(_) => {
                self.fault(name, "must be a string");
                None
            }
        }
    }

    fn int(&mut self, name: &str, value: Tree<'_>) -> Option<i64> {
        match value {
            Tree::Int(int) => Some(int),
            Tree::Null => None,
            Tree::Bool(_) | Tree::Text(_) | Tree::Number | Tree::List(_) | Tree::Object(_) => {
                self.fault(name, "must be a whole number");
                None
            }
        }
    }

    fn bool(&mut self, name: &str, value: Tree<'_>) -> Option<bool> {
        match value {
            Tree::Bool(yes) => Some(yes),
            Tree::Null => None,
            Tree::Int(_) | Tree::Text(_) | Tree::Number | Tree::List(_) | Tree::Object(_) => {
                self.fault(name, "must be true or false");
                None
            }
        }
    }

    fn fallback<'a>(&mut self, value: Tree<'a>) -> Option<Vec<RawFallback<'a>>> {
        let list = match value {
            Tree::List(list) => list,
            Tree::Null => return None,
            _ => {
                self.fault("fallback", "must be a list of { method, after_s }");
                return None;
            }
        };
        let mut all = Vec::new();
        // One more than allowed is kept, so that the check says it.
        for (n, entry) in list.into_iter().take(FALLBACKS + 1).enumerate() {
            let Tree::Object(fields) = entry else {
                self.fault(&format!("fallback[{n}]"), "must be { method, after_s }");
                continue;
            };
            let mut one = RawFallback::default();
            let mut seen = (false, false);
            for (name, value) in fields {
                let place = format!("fallback[{n}].{}", shown(&name));
                match name.as_ref() {
                    "method" if !std::mem::replace(&mut seen.0, true) => {
                        one.method = self.text(&place, value);
                    }
                    "after_s" if !std::mem::replace(&mut seen.1, true) => {
                        one.after_s = self.int(&place, value);
                    }
                    "method" | "after_s" => self.fault(&place, "stands twice"),
                    _ => self.fault(&place, UNKNOWN),
                }
            }
            all.push(one);
        }
        Some(all)
    }

    fn meta<'a>(&mut self, value: Tree<'a>) -> Option<Meta<'a>> {
        let fields = match value {
            Tree::Object(fields) => fields,
            Tree::Null => return None,
            _ => {
                self.fault("meta", "must be an object of strings");
                return None;
            }
        };
        if fields.len() > META_PAIRS {
            self.fault("meta", "holds more than 64 entries");
            return None;
        }
        let mut pairs: Vec<(Text<'a>, Text<'a>)> = Vec::new();
        for (name, value) in fields {
            let place = format!("meta.{}", shown(&name));
            if pairs.iter().any(|(known, _)| **known == *name) {
                self.fault(&place, "stands twice");
            } else if let Tree::Text(text) = value {
                pairs.push((Text(name), Text(text)));
            } else {
                self.fault(&place, "must be a string");
            }
        }
        Some(Meta(pairs))
    }
}

/// A name as a fault shows it: only where it looks like a name, not like what a person keeps to themselves.
pub(super) fn shown(name: &str) -> String {
    let plain = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && name.bytes().filter(u8::is_ascii_digit).count() < 4;
    if plain {
        name.to_owned()
    } else {
        "(unprintable)".to_owned()
    }
}

const UNKNOWN: &str = "unknown field";

impl<'de: 'a, 'a> Deserialize<'de> for Tree<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Tree<'a>, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(yes))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Int(int))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Tree<'de>, E> {
        Ok(i64::try_from(int).map_or(Tree::Number, Tree::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(one) = seq.next_element()? {
            list.push(one);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, Tree<'de>>()? {
            fields.push((name, value));
        }
        Ok(Tree::Object(fields))
    }
}
