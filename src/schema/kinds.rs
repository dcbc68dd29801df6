//! Kinds of values that any schema needs. Those of one schema (a pace, an endpoint, a job's id) stand with it, mostly as
//! a [`parsed`] or a [`read`].

use std::{collections::BTreeMap, marker::PhantomData, ops::RangeInclusive, sync::Arc};

use serde_json::{Value as Json, json};

pub use span::{DAY, HOUR, MINUTE, SECOND, Span, duration, parse_duration, span};

mod span;

use super::{
    Described, Key, ValueKind, object,
    value::{Format, Value, nearest, quoted},
};

/// `true` or `false`.
pub struct Flag;
pub const FLAG: Flag = Flag;

impl ValueKind for Flag {
    type Out = bool;

    fn read(&self, value: &Value<'_>) -> Option<bool> {
        value.bool()
    }

    fn said(&self) -> String {
        "`true`, `false`".to_owned()
    }

    fn json(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// A whole number within bounds that its type holds.
pub struct Int<T>(RangeInclusive<i64>, PhantomData<T>);

pub const fn int<T>(range: RangeInclusive<i64>) -> Int<T> {
    Int(range, PhantomData)
}

impl<T: TryFrom<i64>> ValueKind for Int<T> {
    type Out = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        T::try_from(value.int(self.0.clone())?).ok()
    }

    fn said(&self) -> String {
        format!("{} to {}", grouped(*self.0.start()), grouped(*self.0.end()))
    }

    fn json(&self) -> Json {
        json!({ "type": "integer", "minimum": self.0.start(), "maximum": self.0.end() })
    }
}

/// `10,000,000`
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A string that is not empty and has no control characters.
pub struct PlainText(&'static str);
pub const TEXT: PlainText = PlainText("a text");

/// The same, with other words for what it is.
pub const fn text(said: &'static str) -> PlainText {
    PlainText(said)
}

impl ValueKind for PlainText {
    type Out = Arc<str>;

    fn read(&self, value: &Value<'_>) -> Option<Arc<str>> {
        plain(value).map(Arc::from)
    }

    fn said(&self) -> String {
        self.0.to_owned()
    }

    fn json(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// A string that is not empty and has no control characters.
pub fn plain<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    let text = value.str()?;
    if text.is_empty() {
        return value.refuse("must not be empty");
    }
    if text.chars().any(char::is_control) {
        return value.refuse("must not contain control characters");
    }
    Some(text)
}

/// One of a closed set of words.
pub struct OneOf<T: 'static>(&'static [(&'static str, T)]);

pub const fn word<T>(words: &'static [(&'static str, T)]) -> OneOf<T> {
    OneOf(words)
}

impl<T: Clone> ValueKind for OneOf<T> {
    type Out = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        let text = value.str()?;
        if let Some((_, meaning)) = self.0.iter().find(|(word, _)| *word == text) {
            return Some(meaning.clone());
        }
        let names: Vec<&'static str> = self.0.iter().map(|(word, _)| *word).collect();
        if value.format() == Format::Json {
            return value.refuse(format!("must be {}", either(&names)));
        }
        let text = (nearest(text, &names), quoted(text));
        value.refuse(match text {
            (Some(near), text) => format!("unknown word {text}; did you mean \"{near}\"?"),
            (None, text) => format!("unknown word {text}; one of: {}", names.join(", ")),
        })
    }

    fn said(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        names.join(", ")
    }

    fn json(&self) -> Json {
        let names: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        json!({ "enum": names })
    }
}

/// `a, b or c`
fn either(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Why a string is not what should stand there, as its writer is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

impl Misfit {
    pub fn new(reason: impl Into<String>) -> Misfit {
        Misfit(reason.into())
    }
}

/// A string that a function takes or refuses with a reason.
pub struct Parsed<T> {
    said: &'static str,
    json: fn() -> Json,
    parse: fn(&str) -> Result<T, Misfit>,
}

pub const fn parsed<T>(
    said: &'static str,
    json: fn() -> Json,
    parse: fn(&str) -> Result<T, Misfit>,
) -> Parsed<T> {
    Parsed { said, json, parse }
}

impl<T> ValueKind for Parsed<T> {
    type Out = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        match (self.parse)(plain(value)?) {
            Ok(found) => Some(found),
            Err(Misfit(reason)) => value.refuse(reason),
        }
    }

    fn said(&self) -> String {
        self.said.to_owned()
    }

    fn json(&self) -> Json {
        (self.json)()
    }
}

/// A value that a function reads: it notes its own faults.
pub struct Read<T> {
    said: &'static str,
    json: fn() -> Json,
    read: fn(&Value<'_>) -> Option<T>,
}

pub const fn read<T>(
    said: &'static str,
    json: fn() -> Json,
    read: fn(&Value<'_>) -> Option<T>,
) -> Read<T> {
    Read { said, json, read }
}

impl<T> ValueKind for Read<T> {
    type Out = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        (self.read)(value)
    }

    fn said(&self) -> String {
        self.said.to_owned()
    }

    fn json(&self) -> Json {
        (self.json)()
    }
}

/// Any string, for JSON Schemas.
pub fn any_string() -> Json {
    json!({ "type": "string" })
}

/// `false` for "off": None.
pub struct OrOff<K>(K);

pub const fn or_off<K>(kind: K) -> OrOff<K> {
    OrOff(kind)
}

impl<K: ValueKind> ValueKind for OrOff<K> {
    type Out = Option<K::Out>;

    fn read(&self, value: &Value<'_>) -> Option<Option<K::Out>> {
        if value.is_false() {
            return Some(None);
        }
        self.0.read(value).map(Some)
    }

    fn said(&self) -> String {
        format!("{}; `false`: off", self.0.said())
    }

    fn json(&self) -> Json {
        json!({ "anyOf": [self.0.json(), { "const": false }] })
    }
}

/// A list. Read on past faulty items, without them.
pub struct List<K> {
    kind: K,
    /// What is said of an empty one, where that is a fault.
    empty: Option<&'static str>,
    /// No two are the same.
    distinct: bool,
}

pub const fn list<K>(kind: K) -> List<K> {
    List {
        kind,
        empty: None,
        distinct: false,
    }
}

/// A list that holds something.
pub const fn filled<K>(kind: K, empty: &'static str) -> List<K> {
    List {
        kind,
        empty: Some(empty),
        distinct: false,
    }
}

impl<K> List<K> {
    pub fn distinct(mut self) -> List<K> {
        self.distinct = true;
        self
    }
}

impl<K: ValueKind<Out: PartialEq>> ValueKind for List<K> {
    type Out = Vec<K::Out>;

    fn read(&self, value: &Value<'_>) -> Option<Vec<K::Out>> {
        let items = value.list()?;
        if let (Some(reason), true) = (self.empty, items.is_empty()) {
            return value.refuse(reason);
        }
        let mut found = Vec::with_capacity(items.len());
        for item in &items {
            let Some(read) = self.kind.read(item) else {
                continue;
            };
            if self.distinct && found.contains(&read) {
                item.fault("stands here twice");
            }
            found.push(read);
        }
        Some(found)
    }

    fn said(&self) -> String {
        format!("a list: {}", self.kind.said())
    }

    fn json(&self) -> Json {
        let mut json = json!({ "type": "array", "items": self.kind.json() });
        if self.empty.is_some() {
            json["minItems"] = json!(1);
        }
        if self.distinct {
            json["uniqueItems"] = json!(true);
        }
        json
    }

    fn inside(&self) -> Vec<Key> {
        self.kind.inside()
    }
}

/// A table whose keys are the writer's own.
pub struct Map<K> {
    kind: K,
    /// Why a key can't be one.
    misnamed: fn(&str) -> Option<String>,
    said: &'static str,
}

pub const fn map<K>(said: &'static str, kind: K, misnamed: fn(&str) -> Option<String>) -> Map<K> {
    Map {
        kind,
        misnamed,
        said,
    }
}

impl<K: ValueKind> ValueKind for Map<K> {
    type Out = BTreeMap<Arc<str>, K::Out>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Out> {
        let table = value.table()?;
        let mut found = BTreeMap::new();
        for (key, value) in table.entries() {
            if let Some(reason) = (self.misnamed)(key) {
                value.fault(reason);
            } else if let Some(read) = self.kind.read(&value) {
                found.insert(Arc::from(key), read);
            }
        }
        Some(found)
    }

    fn said(&self) -> String {
        self.said.to_owned()
    }

    fn json(&self) -> Json {
        json!({ "type": "object", "additionalProperties": self.kind.json() })
    }
}

/// A table with a description of its own.
pub struct Section<T>(PhantomData<T>);

pub const fn section<T: Described>() -> Section<T> {
    Section(PhantomData)
}

impl<T: Described> ValueKind for Section<T> {
    type Out = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        let table = value.table()?;
        let found = T::read(&table);
        table.finish();
        found
    }

    fn said(&self) -> String {
        let keys: Vec<&str> = T::keys().iter().map(|key| key.name).collect();
        format!("`{{ {} }}`", keys.join(", "))
    }

    fn json(&self) -> Json {
        object(&T::keys())
    }

    fn inside(&self) -> Vec<Key> {
        T::keys()
    }
}

/// What another kind gives, as something else.
pub struct Mapped<K: ValueKind, T>(K, fn(K::Out) -> T);

pub const fn mapped<K: ValueKind, T>(kind: K, map: fn(K::Out) -> T) -> Mapped<K, T> {
    Mapped(kind, map)
}

impl<K: ValueKind, T> ValueKind for Mapped<K, T> {
    type Out = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        self.0.read(value).map(self.1)
    }

    fn said(&self) -> String {
        self.0.said()
    }

    fn json(&self) -> Json {
        self.0.json()
    }

    fn inside(&self) -> Vec<Key> {
        self.0.inside()
    }
}

/// Of a key that may be absent.
pub fn maybe<K: ValueKind>(kind: &K, value: Option<Value<'_>>) -> Option<Option<K::Out>> {
    match value {
        Some(value) => kind.read(&value).map(Some),
        None => Some(None),
    }
}
