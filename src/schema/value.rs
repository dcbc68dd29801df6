//! A walk over a [`Tree`] that notes every fault on its way: unknown keys, wrong types, values out of range.
//!
//! [`TableView`] remembers which keys were asked for; [`TableView::finish`] refuses the others. [`Value`] is what stands behind a
//! key; whoever reads it answers None when a fault has been noted. What has a fault is refused as a whole by whoever
//! began the reading, so that a list may be read on without its faulty items.

use std::{cell::RefCell, ops::RangeInclusive, path::Path};

use super::tree::{Entry, Number, Tree};

/// Does it forbid what was read?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It is refused.
    Fault,
    /// It is taken; something in it will not do what its author may think.
    Warning,
}

/// One thing that was noted.
pub struct Note {
    /// The octet at which its place begins; 0 where the format doesn't tell.
    pub at: usize,
    /// `jobs.amqp.prefetch`, `sms[2].carrier`.
    pub key: String,
    pub reason: String,
    pub weight: Weight,
}

/// How it is written, and how one speaks about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An operator's file: faults show what stands there.
    Toml,
    /// A caller's message: faults name the field and never repeat a value; null is the same as absent.
    Json,
}

/// One reading of one text, and what it has found.
pub struct Reading<'r> {
    format: Format,
    /// The folder against which its paths stand.
    base: &'r Path,
    notes: RefCell<Vec<Note>>,
}

impl<'r> Reading<'r> {
    pub fn toml(base: &'r Path) -> Reading<'r> {
        Reading {
            format: Format::Toml,
            base,
            notes: RefCell::default(),
        }
    }

    pub fn json() -> Reading<'static> {
        Reading {
            format: Format::Json,
            base: Path::new(""),
            notes: RefCell::default(),
        }
    }

    /// The table of the whole text.
    pub fn root<'v>(&'v self, entries: &'v [Entry<'v>]) -> TableView<'v> {
        TableView::at(self, entries, 0, Place::ROOT)
    }

    pub fn into_notes(self) -> Vec<Note> {
        self.notes.into_inner()
    }

    fn note(&self, at: usize, key: String, reason: String, weight: Weight) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < MOST_NOTES {
            notes.push(Note {
                at,
                key,
                reason,
                weight,
            });
        }
    }
}

/// Where something stands, as far up as the root: made a text only when there is something to say.
#[derive(Clone, Copy)]
struct Place<'v> {
    up: Option<&'v Place<'v>>,
    step: Step<'v>,
}

#[derive(Clone, Copy)]
enum Step<'v> {
    Root,
    Key(&'v str),
    Index(usize),
}

impl Place<'_> {
    const ROOT: Place<'static> = Place {
        up: None,
        step: Step::Root,
    };

    fn path(&self, format: Format) -> String {
        let above = self.up.map_or(String::new(), |up| up.path(format));
        match (self.step, above.is_empty()) {
            (Step::Root, _) => above,
            (Step::Key(key), true) => shown(key, format),
            (Step::Key(key), false) => format!("{above}.{}", shown(key, format)),
            (Step::Index(index), _) => format!("{above}[{index}]"),
        }
    }
}

/// Keys and what stands behind them.
pub struct TableView<'v> {
    reading: &'v Reading<'v>,
    entries: &'v [Entry<'v>],
    at: usize,
    place: Place<'v>,
    /// Every key that somebody asked for, found or not: what may stand here.
    known: RefCell<Vec<&'static str>>,
    /// Keys that stand here though nothing is behind them yet: said once, and never offered.
    unbuilt: RefCell<Vec<&'static str>>,
}

/// Behind a key, or in a list.
pub struct Value<'v> {
    reading: &'v Reading<'v>,
    tree: &'v Tree<'v>,
    at: usize,
    place: Place<'v>,
    given: bool,
}

impl<'v> TableView<'v> {
    fn at(
        reading: &'v Reading<'v>,
        entries: &'v [Entry<'v>],
        at: usize,
        place: Place<'v>,
    ) -> TableView<'v> {
        TableView {
            reading,
            entries,
            at,
            place,
            known: RefCell::default(),
            unbuilt: RefCell::default(),
        }
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &'static str) -> Option<Value<'_>> {
        self.known.borrow_mut().push(key);
        self.value(key)
    }

    /// The same for a second look: the key does not become a known one by it.
    pub fn value(&self, key: &str) -> Option<Value<'_>> {
        let found = self.entries.iter().find(|entry| entry.key == key)?;
        let null = matches!(found.value, Tree::Null) && self.reading.format == Format::Json;
        (!null).then(|| self.entry(found))
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &'static str, example: &str) -> Option<Value<'_>> {
        let found = self.get(key);
        if found.is_none() {
            self.fault(
                key,
                match self.reading.format {
                    Format::Toml => format!("{MISSING}: e.g. {key} = {example}"),
                    Format::Json => "required".to_owned(),
                },
            );
        }
        found
    }

    /// The value of a key, or `otherwise` as if it stood there.
    pub fn get_or<'s>(&'s self, key: &'static str, otherwise: &'s Tree<'s>) -> Value<'s> {
        self.get(key).unwrap_or(Value {
            reading: self.reading,
            tree: otherwise,
            at: self.at,
            place: self.below(key),
            given: false,
        })
    }

    /// A key that has a place in the file and nothing behind it yet: a fault where it stands, and never offered as known.
    pub fn not_yet(&self, key: &'static str, what: &str) {
        if let Some(value) = self.value(key) {
            value.fault(format!("{what} is not available yet: take this key out"));
            self.unbuilt.borrow_mut().push(key);
        }
    }

    /// These keys may stand here, though nobody reads them.
    pub fn allow(&self, keys: &[super::Key]) {
        let names = keys.iter().map(|key| key.name);
        self.known.borrow_mut().extend(names);
    }

    /// All keys with their values, for tables whose keys are the writer's own. Nothing is left for `finish`.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.entries
            .iter()
            .map(|entry| (&*entry.key, self.entry(entry)))
    }

    pub fn is_there(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A fault about a key: where it stands, or where the table does that lacks it.
    pub fn fault(&self, key: &str, reason: impl Into<String>) {
        match self.value(key) {
            Some(value) => value.fault(reason),
            None => {
                let place = self.below(key).path(self.reading.format);
                self.reading
                    .note(self.at, place, reason.into(), Weight::Fault);
            }
        }
    }

    /// A fault about the table as a whole.
    pub fn fault_here(&self, reason: impl Into<String>) {
        let place = self.place.path(self.reading.format);
        self.reading
            .note(self.at, place, reason.into(), Weight::Fault);
    }

    /// Refuses the keys that nobody asked for, and those that stand twice.
    pub fn finish(self) {
        let (known, unbuilt) = (self.known.borrow(), self.unbuilt.borrow());
        let mut seen: Vec<&str> = Vec::new();
        for entry in self.entries {
            let name = &*entry.key;
            if seen.contains(&name) {
                self.entry(entry).fault("stands twice");
                continue;
            }
            // A message may hold thousands of them: those that come first are enough to be told of.
            if seen.len() < MOST_NOTES {
                seen.push(name);
            }
            if !known.contains(&name) && !unbuilt.contains(&name) {
                let reason = self.unknown(name, &known);
                self.entry(entry).fault(reason);
            }
        }
    }

    fn unknown(&self, name: &str, known: &[&'static str]) -> String {
        let what = match self.reading.format {
            Format::Toml => "unknown key",
            Format::Json => "unknown field",
        };
        match nearest(name, known) {
            Some(near) => format!("{what}; did you mean {near}?"),
            None if known.is_empty() || self.reading.format == Format::Json => what.to_owned(),
            None => {
                let mut may = known.to_vec();
                may.sort_unstable();
                may.dedup();
                format!("{what}; known here: {}", may.join(", "))
            }
        }
    }

    fn entry<'s>(&'s self, entry: &'s Entry<'s>) -> Value<'s> {
        Value {
            reading: self.reading,
            tree: &entry.value,
            at: entry.at,
            place: self.below(&entry.key),
            given: true,
        }
    }

    fn below<'s>(&'s self, key: &'s str) -> Place<'s> {
        Place {
            up: Some(&self.place),
            step: Step::Key(key),
        }
    }
}

impl Value<'_> {
    pub fn fault(&self, reason: impl Into<String>) {
        self.note(reason.into(), Weight::Fault);
    }

    pub fn warn(&self, reason: impl Into<String>) {
        self.note(reason.into(), Weight::Warning);
    }

    fn note(&self, reason: String, weight: Weight) {
        let place = self.place.path(self.reading.format);
        self.reading.note(self.at, place, reason, weight);
    }

    /// A fault, and None.
    pub fn refuse<T>(&self, reason: impl Into<String>) -> Option<T> {
        self.fault(reason);
        None
    }

    /// What stands here is not what should.
    pub fn wrong<T>(&self, wanted: &str) -> Option<T> {
        match self.reading.format {
            Format::Toml => self.refuse(format!("must be {wanted}, not {}", self.kind())),
            Format::Json => self.refuse(format!("must be {wanted}")),
        }
    }

    pub fn format(&self) -> Format {
        self.reading.format
    }

    /// The folder against which paths of this text stand.
    pub fn base(&self) -> &Path {
        self.reading.base
    }

    /// It stands in the text, and is no default.
    pub fn given(&self) -> bool {
        self.given
    }

    pub fn str(&self) -> Option<&str> {
        match (self.tree, self.reading.format) {
            (Tree::Text(text), _) => Some(text),
            (_, Format::Toml) => self.wrong("a string in quotes"),
            (_, Format::Json) => self.wrong("a string"),
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self.tree {
            Tree::Bool(word) => Some(*word),
            _ => self.wrong("true or false"),
        }
    }

    /// `false` stands for "off" where a limit may be turned off.
    pub fn is_false(&self) -> bool {
        matches!(self.tree, Tree::Bool(false))
    }

    pub fn is_int(&self) -> bool {
        matches!(self.tree, Tree::Int(_) | Tree::Number(Number::Whole, _))
    }

    pub fn is_int_of(&self, number: i64) -> bool {
        matches!(self.tree, Tree::Int(found) if *found == number)
    }

    pub fn is_str(&self) -> bool {
        matches!(self.tree, Tree::Text(_))
    }

    pub fn is_table(&self) -> bool {
        self.tree.is_table()
    }

    pub fn int(&self, range: RangeInclusive<i64>) -> Option<i64> {
        match self.tree {
            Tree::Int(number) if range.contains(number) => Some(*number),
            Tree::Int(_) | Tree::Number(Number::Whole, _) => {
                self.refuse(format!("must be from {} to {}", range.start(), range.end()))
            }
            _ => self.wrong("a whole number"),
        }
    }

    pub fn list(&self) -> Option<Vec<Value<'_>>> {
        let Tree::List(items) = self.tree else {
            return match self.reading.format {
                Format::Toml => self.wrong("a list in [ ]"),
                Format::Json => self.wrong("a list"),
            };
        };
        let value = |(index, item)| {
            let item: &super::tree::Item<'_> = item;
            Value {
                reading: self.reading,
                tree: &item.value,
                at: item.at,
                place: Place {
                    up: Some(&self.place),
                    step: Step::Index(index),
                },
                given: self.given,
            }
        };
        Some(items.iter().enumerate().map(value).collect())
    }

    pub fn table(&self) -> Option<TableView<'_>> {
        match (self.tree, self.reading.format) {
            (Tree::Table(entries), _) => {
                Some(TableView::at(self.reading, entries, self.at, self.place))
            }
            (_, Format::Toml) => self.wrong("a table"),
            (_, Format::Json) => self.wrong("an object"),
        }
    }

    fn kind(&self) -> &'static str {
        match self.tree {
            Tree::Text(_) => "a string",
            Tree::Int(_) | Tree::Number(Number::Whole, _) => "a whole number",
            Tree::Number(Number::Pointed, _) => "a number with a point",
            Tree::Bool(true) => "true",
            Tree::Bool(false) => "false",
            Tree::Time(_) => "a date or time",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
            Tree::Null => "null",
        }
    }
}

/// A foreign word in a message: short, quoted, without control characters.
pub fn quoted(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    format!("\"{short}\"")
}

/// A key as a fault shows it. That of a caller only where it looks like a name, not like what a person keeps to
/// themselves.
fn shown(key: &str, format: Format) -> String {
    if format == Format::Toml {
        return key.chars().filter(|c| !c.is_control()).take(64).collect();
    }
    let plain = key.len() <= 64
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && key.bytes().filter(u8::is_ascii_digit).count() < 4;
    if plain { key } else { "(unprintable)" }.to_owned()
}

/// The word that was perhaps meant: at most a third of it differs.
pub fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    if text.len() > 64 {
        return None;
    }
    words
        .iter()
        .map(|word| (strsim::levenshtein(text, word), *word))
        .filter(|(steps, word)| *steps <= (word.len().max(text.len()) / 3).max(1))
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, word)| word)
}

/// How the reason of a missing key begins.
pub const MISSING: &str = "is missing";
/// Noted of one text at most.
const MOST_NOTES: usize = 1_000;

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
    }
}
