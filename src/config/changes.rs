//! What stands in the files, key by key: so that a reload can say what it changes (file, key, from, to), and that a
//! file has been emptied.
//!
//! Values of keys that may carry a credential or a text (`url`, `headers`, `body`) are compared and never shown.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::digest;

use crate::schema::tree::{Entry, Tree};

/// Longest value that is shown whole.
const SHOWN: usize = 80;
/// Their values are never shown, nor those below them: an operator may have written a credential there.
const CONCEALED: [&str; 4] = ["url", "urls", "headers", "body"];

/// Keys of a carrier's file that each node may have its own of.
const OWN: [&str; 3] = ["advertised", "bind", "rtp"];

/// The files of a configuration by path.
#[derive(Clone, Debug, Default)]
pub struct Sheets(BTreeMap<Arc<PathBuf>, Sheet>);

/// One file: its keys with their values as they are shown.
#[derive(Clone, Debug)]
struct Sheet {
    /// Nothing but blanks stands in it.
    blank: bool,
    keys: BTreeMap<String, String>,
}

/// One key that has another value, is new, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub file: Arc<PathBuf>,
    /// `sms[0].weight`; empty where the file as a whole is new or gone.
    pub key: String,
    /// None: it did not stand there.
    pub from: Option<String>,
    /// None: it does not stand there any more.
    pub to: Option<String>,
}

impl Sheets {
    /// What stands in a file.
    pub(super) fn note(&mut self, file: Arc<PathBuf>, text: &str, entries: &[Entry<'_>]) {
        let mut keys = BTreeMap::new();
        table("", false, entries, &mut keys);
        let blank = text.trim().is_empty();
        self.0.insert(file, Sheet { blank, keys });
    }

    pub(super) fn extend(&mut self, other: Sheets) {
        self.0.extend(other.0);
    }

    /// Files in which nothing stands (any more), though in `before` they had not been there, or had been more.
    pub fn emptied(&self, before: &Sheets) -> Vec<Arc<PathBuf>> {
        let is_blank = |sheets: &Sheets, file| sheets.0.get(file).is_some_and(|s| s.blank);
        let blank = self.0.keys().filter(|file| is_blank(self, *file));
        blank
            .filter(|file| !is_blank(before, *file))
            .cloned()
            .collect()
    }

    /// Tells one set of routes and carriers from another: the first half of a SHA-256, in hex. The settings of a node are not in
    /// it, nor what a trunk's file says of the node's own addresses.
    pub fn common(&self, settings: &Path) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut put = |text: &str| {
            context.update(text.as_bytes());
            context.update(b"\0");
        };
        for (file, sheet) in self.0.iter().filter(|(file, _)| file.as_path() != settings) {
            let folder = file.parent().and_then(Path::file_name);
            let name = folder.into_iter().chain(file.file_name());
            name.for_each(|part| put(&part.to_string_lossy()));
            let common = |key: &&String| !OWN.iter().any(|own| is_below(key, own));
            for key in sheet.keys.keys().filter(common) {
                put(key);
                put(&sheet.keys[key]);
            }
        }
        hex::encode(&context.finish().as_ref()[..8])
    }

    pub fn has(&self, file: &PathBuf) -> bool {
        self.0.contains_key(file)
    }

    /// What leads from one set of files to another, in the order of files and keys.
    pub fn changes(&self, to: &Sheets) -> Vec<Change> {
        let files: BTreeSet<_> = self.0.keys().chain(to.0.keys()).cloned().collect();
        let mut found = Vec::new();
        for file in files {
            let whole = |from: Option<&str>, to: Option<&str>| Change {
                file: file.clone(),
                key: String::new(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            };
            match (self.0.get(&file), to.0.get(&file)) {
                (Some(from), Some(to)) => from.changes(to, &file, &mut found),
                (None, _) => found.push(whole(None, Some("a new file"))),
                (Some(_), None) => found.push(whole(Some("a file"), None)),
            }
        }
        found
    }
}

impl Sheet {
    fn changes(&self, to: &Sheet, file: &Arc<PathBuf>, found: &mut Vec<Change>) {
        let keys: BTreeSet<&String> = self.keys.keys().chain(to.keys.keys()).collect();
        for key in keys {
            let (from, to) = (self.keys.get(key), to.keys.get(key));
            if from != to {
                found.push(Change {
                    file: file.clone(),
                    key: key.clone(),
                    from: from.map(|v| shown(v).to_owned()),
                    to: to.map(|v| shown(v).to_owned()),
                });
            }
        }
    }
}

impl Change {
    /// Something has another value, which is not shown.
    pub(super) fn hidden(file: Arc<PathBuf>, what: &str) -> Change {
        let hidden = || Some(HIDDEN.to_owned());
        Change {
            file,
            key: what.to_owned(),
            from: hidden(),
            to: hidden(),
        }
    }
}

/// `FILE: KEY: FROM -> TO`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        let word = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{} -> {}", word(&self.from), word(&self.to))
    }
}

fn table(path: &str, concealed: bool, entries: &[Entry<'_>], keys: &mut BTreeMap<String, String>) {
    for entry in entries {
        let clean: String = entry
            .key
            .chars()
            .filter(|c| !c.is_control())
            .take(64)
            .collect();
        let path = match path {
            "" => clean,
            path => format!("{path}.{clean}"),
        };
        let concealed = concealed || CONCEALED.contains(&&*entry.key);
        flatten(path, concealed, &entry.value, keys);
    }
}

fn flatten(path: String, concealed: bool, value: &Tree<'_>, keys: &mut BTreeMap<String, String>) {
    match value {
        Tree::Table(entries) => table(&path, concealed, entries, keys),
        Tree::List(items) if items.iter().any(|item| item.value.is_table()) => {
            for (index, item) in items.iter().enumerate() {
                flatten(format!("{path}[{index}]"), concealed, &item.value, keys);
            }
        }
        value => {
            let text = value.to_string();
            let text = match concealed {
                true => conceal(&text),
                false => shorten(&text),
            };
            keys.insert(path, text);
        }
    }
}

/// Is it this key, or one below it?
fn is_below(key: &str, top: &str) -> bool {
    key.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Differs where the value does, and says nothing of it: what follows the mark is cut off when it is shown.
fn conceal(value: &str) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{HIDDEN}{MARK}{:x}", hasher.finish())
}

/// A long value keeps its beginning, and its difference.
fn shorten(value: &str) -> String {
    let line: String = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SHOWN {
        return line;
    }
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let begin: String = line.chars().take(SHOWN).collect();
    format!("{begin}...{MARK}{:x}", hasher.finish())
}

fn shown(value: &str) -> &str {
    value.split(MARK).next().unwrap_or(value)
}

const HIDDEN: &str = "(not shown)";
/// No value holds it: TOML writes control characters escaped.
const MARK: char = '\u{1}';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fault::Faults;

    fn sheets(files: &[(&str, &str)]) -> Sheets {
        let mut sheets = Sheets::default();
        for (file, text) in files {
            let source = crate::config::source::Source::of(
                Arc::new(PathBuf::from(file)),
                (*text).to_owned(),
            );
            let (faults, base) = (Faults::default(), Path::new(""));
            source.parse(base, &faults, &mut sheets, |_| Some(()));
        }
        sheets
    }

    fn lines(from: &Sheets, to: &Sheets) -> Vec<String> {
        from.changes(to).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nodes_of_one_set_have_one_digest_whatever_is_their_own() {
        let set = |weight: u32, bind: &str, name: &str| {
            let files = [
                ("ringback.toml", format!("node.name = \"{name}\"")),
                ("routes/us.toml", format!("weight = {weight}")),
                (
                    "carriers/trunk.toml",
                    format!("bind = \"{bind}\"\nring = \"3s\"\nrtp.ports = \"{weight}\""),
                ),
            ];
            let files = files.each_ref().map(|(file, text)| (*file, text.as_str()));
            sheets(&files).common(Path::new("ringback.toml"))
        };
        let one = set(70, "10.0.0.1:5060", "gw-1");
        assert_eq!(one.len(), 16);
        assert_eq!(one, set(70, "10.0.0.2:5060", "gw-2"));
        assert_ne!(one, set(10, "10.0.0.1:5060", "gw-1"));
    }

    #[test]
    fn a_change_is_told_by_file_key_from_and_to() {
        let route =
            |weight| format!("[[sms]]\ncarrier = \"a\"\nsenders = [\"1\"]\nweight = {weight}\n");
        let before = sheets(&[("us.toml", &route(70)), ("se.toml", "a = 1")]);
        let after = sheets(&[("us.toml", &route(10)), ("de.toml", "a = 1")]);
        assert_eq!(
            lines(&before, &after),
            [
                "de.toml: nothing -> a new file",
                "se.toml: a file -> nothing",
                "us.toml: sms[0].weight: 70 -> 10"
            ]
        );
        assert_eq!(lines(&before, &before), Vec::<String>::new());
        let limits = |text: &str| sheets(&[("r.toml", text)]);
        assert_eq!(
            lines(
                &limits("[limits]\na = { count = 5 }"),
                &limits("[limits]\na = { count = 6 }\nguard = \"deny\"")
            ),
            [
                "r.toml: limits.a.count: 5 -> 6",
                "r.toml: limits.guard: nothing -> \"deny\""
            ]
        );
    }

    #[test]
    fn what_may_hold_a_credential_is_compared_and_not_shown() {
        let file = |key: &str| {
            sheets(&[(
                "c.toml",
                &format!(
                    "[request]\nurl = \"http://u:{key}@h\"\nheaders = {{ Key = \"{key}\" }}\nbody = \"{key}\""
                ),
            )])
        };
        let said = lines(&file("s3cret"), &file("0ther")).join("\n");
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(
            !said.contains("s3cret") && !said.contains("0ther"),
            "{said}"
        );
        assert!(!said.contains(MARK), "{said}");
    }

    #[test]
    fn a_long_value_keeps_its_difference() {
        let long =
            |end: &str| sheets(&[("p.toml", &format!("text = \"{}{end}\"", "x".repeat(200)))]);
        let said = lines(&long("a"), &long("b"));
        assert!(said.len() == 1 && said[0].len() < 250, "{said:?}");
    }

    #[test]
    fn an_emptied_file_is_found_once() {
        let full = sheets(&[("us.toml", "a = 1")]);
        let blank = sheets(&[("us.toml", " \n")]);
        assert_eq!(blank.emptied(&full).len(), 1);
        assert_eq!(blank.emptied(&Sheets::default()).len(), 1);
        assert!(blank.emptied(&blank).is_empty() && full.emptied(&blank).is_empty());
        assert!(
            sheets(&[("us.toml", "# all by default\n")])
                .emptied(&full)
                .is_empty()
        );
    }
}
