//! A walk over parsed TOML that finds every fault on its way: unknown keys, wrong types, values out of range.
//!
//! [`Cursor`] stands on a table and remembers which keys were asked for; [`Cursor::finish`] refuses the others.
//! [`Value`] is what stands behind a key; its readers answer None when they have said a fault.

use std::{cell::RefCell, ops::RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::{
    fault::{Fault, Faults, Weight},
    source::{MISSING, Source},
};

/// On a table.
pub struct Cursor<'a> {
    source: &'a Source,
    table: &'a DeTable<'a>,
    /// The dotted way here; empty at the root.
    path: String,
    line: usize,
    faults: &'a Faults,
    /// Every key that somebody asked for, found or not: what may stand here.
    known: RefCell<Vec<&'static str>>,
    /// Keys that stand here though nothing is behind them yet: said once, and never offered.
    unbuilt: RefCell<Vec<&'static str>>,
}

/// Behind a key.
pub struct Value<'a> {
    source: &'a Source,
    value: &'a DeValue<'a>,
    pub path: String,
    pub line: usize,
    faults: &'a Faults,
}

impl<'a> Cursor<'a> {
    pub fn root(source: &'a Source, table: &'a DeTable<'a>, faults: &'a Faults) -> Cursor<'a> {
        Cursor {
            source,
            table,
            path: String::new(),
            line: 1,
            faults,
            known: RefCell::default(),
            unbuilt: RefCell::default(),
        }
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        self.entries()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// A key that has a place in the file and nothing behind it yet: a fault where it stands, and never offered as known.
    pub fn not_yet(&self, key: &'static str, what: &str) {
        let Some((_, value)) = self.entries().find(|(name, _)| *name == key) else {
            return;
        };
        value.fault(format!("{what} is not available yet: take this key out"));
        self.unbuilt.borrow_mut().push(key);
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.fault(key, format!("{MISSING}: e.g. {key} = {example}"));
        }
        found
    }

    /// All keys with their values, for tables whose keys are the operator's own. Nothing is left for `finish`.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + '_ {
        self.table.iter().map(|(key, value)| {
            let name: &'a str = key.get_ref();
            (
                name,
                Value {
                    source: self.source,
                    value: value.get_ref(),
                    path: self.path_of(name),
                    line: self.source.line(key.span().start),
                    faults: self.faults,
                },
            )
        })
    }

    /// Refuses the keys that nobody asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        let unbuilt = self.unbuilt.borrow();
        let read = |name: &str| known.contains(&name) || unbuilt.contains(&name);
        for (name, value) in self.entries().filter(|(name, _)| !read(name)) {
            let reason = match nearest(name, &known) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None if known.is_empty() => "unknown key".to_owned(),
                None => {
                    let mut may: Vec<&str> = known.iter().copied().collect();
                    may.sort_unstable();
                    may.dedup();
                    format!("unknown key; known here: {}", may.join(", "))
                }
            };
            value.fault(reason);
        }
    }

    /// A fault about a key of this table, said at the table's own line.
    pub fn fault(&self, key: &str, reason: impl Into<String>) {
        self.faults.push(Fault {
            file: self.source.file.clone(),
            line: self.line,
            key: self.path_of(key),
            reason: reason.into(),
            weight: Weight::Fault,
        });
    }

    pub fn is_there(&self, key: &str) -> bool {
        self.entries().any(|(name, _)| name == key)
    }

    fn path_of(&self, key: &str) -> String {
        let shown: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
        match self.path.as_str() {
            "" => shown,
            path => format!("{path}.{shown}"),
        }
    }
}

impl<'a> Value<'a> {
    pub fn fault(&self, reason: impl Into<String>) {
        self.say(reason.into(), Weight::Fault);
    }

    pub fn warn(&self, reason: impl Into<String>) {
        self.say(reason.into(), Weight::Warning);
    }

    fn say(&self, reason: String, weight: Weight) {
        self.faults.push(Fault {
            file: self.source.file.clone(),
            line: self.line,
            key: self.path.clone(),
            reason,
            weight,
        });
    }

    /// What stands here is not what should.
    pub fn wrong<T>(&self, wanted: &str) -> Option<T> {
        self.fault(format!("must be {wanted}, not {}", self.kind()));
        None
    }

    pub fn str(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong("a string in quotes"),
        }
    }

    /// A string that is not empty.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.str()?;
        if text.is_empty() {
            self.fault("must not be empty");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.fault("must not contain control characters");
            return None;
        }
        Some(text)
    }

    pub fn bool(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(word) => Some(*word),
            _ => self.wrong("true or false"),
        }
    }

    /// `false` stands for "off" where a limit may be turned off.
    pub fn is_false(&self) -> bool {
        matches!(self.value, DeValue::Boolean(false))
    }

    pub fn is_int(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    pub fn is_str(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub fn int(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let DeValue::Integer(number) = self.value else {
            return self.wrong("a whole number");
        };
        let found = i64::from_str_radix(number.as_str(), number.radix()).ok();
        match found.filter(|n| range.contains(n)) {
            Some(n) => Some(n),
            None => {
                self.fault(format!("must be from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    pub fn list(&self) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(items) = self.value else {
            return self.wrong("a list in [ ]");
        };
        let items = items.iter().enumerate().map(|(index, item)| Value {
            source: self.source,
            value: item.get_ref(),
            path: format!("{}[{index}]", self.path),
            line: self.source.line(item.span().start),
            faults: self.faults,
        });
        Some(items.collect())
    }

    pub fn table(&self) -> Option<Cursor<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Cursor {
                source: self.source,
                table,
                path: self.path.clone(),
                line: self.line,
                faults: self.faults,
                known: RefCell::default(),
                unbuilt: RefCell::default(),
            }),
            _ => self.wrong("a table"),
        }
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.str()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let names: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        match nearest(text, &names) {
            Some(near) => self.fault(format!(
                "unknown word {}; did you mean \"{near}\"?",
                quoted(text)
            )),
            None => self.fault(format!(
                "unknown word {}; one of: {}",
                quoted(text),
                names.join(", ")
            )),
        }
        None
    }

    fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(true) => "true",
            DeValue::Boolean(false) => "false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }
}

/// A foreign word in a message: short, quoted, without control characters.
pub fn quoted(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    format!("\"{short}\"")
}

/// The word that was perhaps meant: at most a third of it differs.
pub fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    if text.len() > 64 {
        return None;
    }
    words
        .iter()
        .map(|word| (distance(text, word), *word))
        .filter(|(steps, word)| *steps <= (word.len().max(text.len()) / 3).max(1))
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, word)| word)
}

/// Edits from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(
            nearest("wieght", &["carrier", "weight", "tier"]),
            Some("weight")
        );
        assert_eq!(nearest("colour", &["carrier", "weight"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
