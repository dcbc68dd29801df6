//! What stands where in a body of JSON. Pure.
//!
//! Numbers keep their text: an id of twenty digits is no number to us, and what a binary fraction would make of it is
//! another id. So the document stays text, and a JSON pointer (RFC 6901) leads to a part of that text.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Octets of the longest word (reference, code, state) that is taken.
const MAX_WORD: usize = 255;

/// One document or several, one after the other with white space or line ends between them (NDJSON). None: anything
/// else, or nothing at all.
pub fn documents(text: &str) -> Option<Vec<&RawValue>> {
    let read: Result<Vec<&RawValue>, _> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect();
    read.ok().filter(|documents| !documents.is_empty())
}

/// What a JSON pointer leads to. None where nothing is there, or two different things are (a key that stands twice).
pub fn at<'a>(document: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return pointer.is_empty().then_some(document);
    };
    rest.split('/').try_fold(document, |value, token| {
        match value.get().as_bytes().first()? {
            b'{' => member(value, &unescaped(token)),
            b'[' => {
                let index: usize = index(token)?;
                items(value)?.get(index).copied()
            }
            _ => None,
        }
    })
}

/// The elements of an array.
pub fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

pub fn is_list(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// A string, a number or a truth value as a word, not empty.
pub fn word(value: &RawValue) -> Option<Arc<str>> {
    let text = match value.get().as_bytes().first()? {
        b'"' => Cow::Owned(string(value)?),
        b'{' | b'[' | b'n' => return None,
        _ => Cow::Borrowed(value.get()),
    };
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    // A longer one, or one with line ends for the log in it, is left out, not changed: it would be another.
    let fits = (1..=MAX_WORD).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.into())
}

/// The word at a pointer.
pub fn word_at(document: &RawValue, pointer: &str) -> Option<Arc<str>> {
    at(document, pointer).and_then(word)
}

/// A string as it is.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// RFC 6901, 4: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|b| b.is_ascii_digit());
    let plain = token == "0" || !token.starts_with('0');
    (digits && plain).then(|| token.parse().ok()).flatten()
}

fn unescaped(token: &str) -> Cow<'_, str> {
    match token.contains('~') {
        true => token.replace("~1", "/").replace("~0", "~").into(),
        false => token.into(),
    }
}

fn member<'a>(object: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    let mut reader = serde_json::Deserializer::from_str(object.get());
    reader.deserialize_map(Member(key)).ok().flatten()
}

struct Member<'k>(&'k str);

impl<'a> Visitor<'a> for Member<'_> {
    type Value = Option<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut found, mut same) = (None::<&RawValue>, true);
        while let Some(key) = map.next_key::<Cow<'a, str>>()? {
            if key != self.0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            same &= found.is_none_or(|known| known.get() == value.get());
            found = Some(value);
        }
        Ok(found.filter(|_| same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str, pointer: &str) -> Option<String> {
        let documents = documents(text)?;
        word_at(documents.first()?, pointer).map(|word| word.to_string())
    }

    #[test]
    fn numbers_keep_their_text() {
        for number in [
            "12345678901234567890123",
            "9007199254740993",
            "-9223372036854775809",
            "1e3",
            "12.0",
            "0.1000000000000000055511151231257827",
            "1E400",
        ] {
            let body = format!(r#"{{"ids":[{{"id":{number}}}]}}"#);
            assert_eq!(found(&body, "/ids/0/id").as_deref(), Some(number));
        }
    }

    #[test]
    fn pointers_lead_through_objects_and_arrays() {
        let body = r#" {"a":{"b/c":["x",{"~":"y"}],"":true},"n":null,"e":"  ","o":{}} "#;
        assert_eq!(found(body, "/a/b~1c/0").as_deref(), Some("x"));
        assert_eq!(found(body, "/a/b~1c/1/~0").as_deref(), Some("y"));
        assert_eq!(found(body, "/a/").as_deref(), Some("true"));
        for nothing in [
            "/n",
            "/e",
            "/o",
            "",
            "/a/b~1c/2",
            "/a/b~1c/00",
            "/a/b~1c/-",
            "/z",
            "a",
        ] {
            assert_eq!(found(body, nothing), None, "{nothing}");
        }
        assert_eq!(
            found(r#"{"i\u0064":" m-1\r\n"}"#, "/id").as_deref(),
            Some("m-1")
        );
        assert_eq!(found("[7]", "/0").as_deref(), Some("7"));
        assert_eq!(found("\"m-1\"", "").as_deref(), Some("m-1"));
        let long = format!(r#"{{"id":"{}"}}"#, "1".repeat(MAX_WORD + 1));
        assert_eq!(found(&long, "/id"), None);
        assert_eq!(found(r#"{"id":"m-1\nERROR"}"#, "/id"), None);
    }

    #[test]
    fn a_key_that_stands_twice_says_nothing_unless_it_says_the_same() {
        assert_eq!(found(r#"{"id":"a","id":"b"}"#, "/id"), None);
        assert_eq!(found(r#"{"id":"a","i\u0064":"b"}"#, "/id"), None);
        assert_eq!(found(r#"{"id":"a","id":"a"}"#, "/id").as_deref(), Some("a"));
    }

    #[test]
    fn one_document_or_several_or_none() {
        assert_eq!(documents("{} []\n\"x\"\r\n7").map(|d| d.len()), Some(4));
        for broken in ["", "  ", "{", "{}x", "<html>", "{\"a\":}", "\u{feff}{}"] {
            assert!(documents(broken).is_none(), "{broken}");
        }
        // Deep nesting is read without going deep.
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(documents(&deep).is_some());
        assert_eq!(found(&deep, "/0/0/0"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,60}", pointer in "[/~a-z0-9]{0,12}") {
            let _ = found(&text, &pointer);
        }

        #[test]
        fn a_word_comes_back(id in "[!-~]{1,40}") {
            let body = serde_json::json!({ "x": [{ "id": &id }] }).to_string();
            prop_assert_eq!(found(&body, "/x/0/id"), Some(id));
        }
    }
}
