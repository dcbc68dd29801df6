//! What stands in a file or a message, whatever it is written in: TOML and JSON come to the same tree. Borrowed from the
//! text where nothing in it is escaped; each value knows the octet at which it begins, where the format tells.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use toml::de::{DeTable, DeValue};

/// One value.
pub enum Tree<'a> {
    /// JSON only.
    Null,
    Bool(bool),
    Int(i64),
    /// A number that no 64 bits hold, or one with a point, as it is written.
    Number(Number, Cow<'a, str>),
    Text(Cow<'a, str>),
    /// TOML only.
    Time(String),
    List(Vec<Item<'a>>),
    Table(Vec<Entry<'a>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Whole,
    Pointed,
}

/// One value of a list.
pub struct Item<'a> {
    pub at: usize,
    pub value: Tree<'a>,
}

/// A key with its value. In JSON one key may stand twice: both are kept, so that it can be said.
pub struct Entry<'a> {
    pub key: Cow<'a, str>,
    /// Where the key begins.
    pub at: usize,
    pub value: Tree<'a>,
}

impl<'a> Tree<'a> {
    /// The entries of a parsed file.
    pub fn entries(table: DeTable<'a>) -> Vec<Entry<'a>> {
        let entry =
            |(key, value): (toml::Spanned<Cow<'a, str>>, toml::Spanned<DeValue<'a>>)| Entry {
                at: key.span().start,
                key: key.into_inner(),
                value: Tree::toml(value.into_inner()),
            };
        table.into_iter().map(entry).collect()
    }

    fn toml(value: DeValue<'a>) -> Tree<'a> {
        match value {
            DeValue::String(text) => Tree::Text(text),
            DeValue::Boolean(word) => Tree::Bool(word),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Tree::Int(number),
                    Err(_) => Tree::Number(Number::Whole, number.as_str().to_owned().into()),
                }
            }
            DeValue::Float(number) => {
                Tree::Number(Number::Pointed, number.as_str().to_owned().into())
            }
            DeValue::Datetime(time) => Tree::Time(time.to_string()),
            DeValue::Array(items) => {
                let item = |value: toml::Spanned<DeValue<'a>>| Item {
                    at: value.span().start,
                    value: Tree::toml(value.into_inner()),
                };
                Tree::List(items.into_iter().map(item).collect())
            }
            DeValue::Table(table) => Tree::Table(Tree::entries(table)),
        }
    }

    /// A value as a description writes it: `"20s"`, `5`, `{ count = 5, per = "5m" }`.
    pub fn literal(text: &'static str) -> Tree<'static> {
        // Descriptions are part of the program; a test reads every one of them.
        match DeValue::parse(text) {
            Ok(value) => Tree::toml(value.into_inner()),
            Err(fault) => panic!("{text} is no value of TOML: {fault}"),
        }
    }

    /// For JSON Schemas.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Tree::Null => Value::Null,
            Tree::Bool(word) => Value::from(*word),
            Tree::Int(number) => Value::from(*number),
            Tree::Number(_, text) => text.parse::<f64>().map_or(Value::Null, Value::from),
            Tree::Text(text) => Value::from(&**text),
            Tree::Time(text) => Value::from(text.as_str()),
            Tree::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Tree::Table(entries) => {
                let pair = |entry: &Entry<'_>| (entry.key.to_string(), entry.value.to_json());
                Value::Object(entries.iter().map(pair).collect())
            }
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self, Tree::Table(_))
    }
}

/// How TOML writes it.
impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Null => f.write_str("null"),
            Tree::Bool(word) => write!(f, "{word}"),
            Tree::Int(number) => write!(f, "{number}"),
            Tree::Number(_, text) => f.write_str(text),
            Tree::Text(text) => write!(f, "{}", toml::Value::String(text.to_string())),
            Tree::Time(text) => f.write_str(text),
            Tree::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", item.value)?;
                }
                f.write_str("]")
            }
            Tree::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Tree::Table(entries) => {
                f.write_str("{ ")?;
                for (index, entry) in entries.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} = {}", entry.key, entry.value)?;
                }
                f.write_str(" }")
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tree<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Tree<'a>, D::Error> {
        from.deserialize_any(Json)
    }
}

/// A key that is borrowed where the JSON has no escapes in it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, word: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(word))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree<'de>, E> {
        Ok(i64::try_from(number).map_or_else(
            |_| Tree::Number(Number::Whole, number.to_string().into()),
            Tree::Int,
        ))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(Number::Pointed, number.to_string().into()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(value) = seq.next_element()? {
            items.push(Item { at: 0, value });
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((Name(key), value)) = map.next_entry::<Name<'de>, Tree<'de>>()? {
            entries.push(Entry { key, at: 0, value });
        }
        Ok(Tree::Table(entries))
    }
}
