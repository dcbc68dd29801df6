//! One file of the configuration as text: read with bounds, split into lines, parsed as TOML with every syntax fault
//! named. What the keys mean is not known here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use super::{
    changes::Sheets,
    fault::{Fault, Faults, Weight},
};
use crate::{
    regular::{self, ReadFault},
    schema::{Reading, TableView, Tree, value::MISSING},
};

/// A file that is larger is no configuration.
pub const MAX_FILE: u64 = 1024 * 1024;
/// Syntax faults named per file; a file that is not TOML at all would give one for each of its lines.
const MAX_SYNTAX_FAULTS: usize = 20;

/// A file, read.
#[derive(Debug)]
pub struct Source {
    pub file: Arc<PathBuf>,
    text: String,
    /// Offset at which each line starts.
    lines: Vec<usize>,
}

impl Source {
    /// Reads a file whole. What hinders is a fault and None.
    pub fn read(path: &Path, faults: &Faults) -> Option<Source> {
        let file = Arc::new(path.to_path_buf());
        match read_text(path) {
            Ok(text) => Some(Source::of(file, text)),
            Err((line, reason)) => {
                faults.push(Fault {
                    file,
                    line,
                    key: "file".to_owned(),
                    reason,
                    weight: Weight::Fault,
                });
                None
            }
        }
    }

    /// A source from memory.
    pub fn of(file: Arc<PathBuf>, text: String) -> Source {
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Source { file, text, lines }
    }

    /// The line of an offset, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// Parses, and hands the table to `read`; `base` is the folder against which its paths stand. With syntax faults in
    /// the file, what could be recovered is read too, so that its other faults are found; but then nothing is said about
    /// what seems to be missing, nor twice about one line, and the answer is None.
    pub fn parse<T>(
        &self,
        base: &Path,
        faults: &Faults,
        sheets: &mut Sheets,
        read: impl FnOnce(&TableView<'_>) -> Option<T>,
    ) -> Option<T> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let broken = self.syntax(errors, faults);
        let entries = Tree::entries(table.into_inner());
        sheets.note(self.file.clone(), &self.text, &entries);
        let reading = Reading::toml(base);
        let root = reading.root(&entries);
        let found = read(&root);
        root.finish();
        for note in reading.into_notes() {
            let line = self.line(note.at);
            let follows = broken.contains(&line) || note.reason.starts_with(MISSING);
            if broken.is_empty() || !follows {
                faults.push(Fault {
                    file: self.file.clone(),
                    line,
                    key: note.key,
                    reason: note.reason,
                    weight: note.weight,
                });
            }
        }
        found.filter(|_| broken.is_empty())
    }

    /// Says what is no TOML, and on which lines.
    fn syntax(&self, errors: Vec<toml::de::Error>, faults: &Faults) -> Vec<usize> {
        let mut broken: Vec<usize> = Vec::new();
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            if broken.contains(&line) || broken.len() >= MAX_SYNTAX_FAULTS {
                continue;
            }
            broken.push(line);
            faults.push(Fault {
                file: self.file.clone(),
                line,
                key: "syntax".to_owned(),
                reason: in_our_words(one_line(error.message())),
                weight: Weight::Fault,
            });
        }
        broken
    }
}

fn read_text(path: &Path) -> Result<String, (usize, String)> {
    let octets = regular::octets(path, MAX_FILE).map_err(|fault| match fault {
        ReadFault::System(e) if e.kind() == std::io::ErrorKind::PermissionDenied => (
            1,
            "can't be read: this user has no permission to (see the rights of the file and of its folders)"
                .to_owned(),
        ),
        ReadFault::System(e) => (1, format!("can't be read: {e}")),
        other => (1, other.to_string()),
    })?;
    let text = String::from_utf8(octets).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
        (line, "is not UTF-8 text: save it as UTF-8".to_owned())
    })?;
    // A byte order mark is some editors' habit and harmless; UTF-16 is caught above.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The parser takes a bare word for whatever begins with its first letter (`ten` for a boolean, `nine` for a number).
fn in_our_words(message: String) -> String {
    let bare = [
        "invalid boolean",
        "invalid float, expected `nan`",
        "invalid float, expected `inf`",
    ];
    if bare.iter().any(|begin| message.starts_with(begin)) {
        return "is neither a number nor true or false: text must stand in quotes".to_owned();
    }
    message
}

/// A foreign message on one line, without control characters.
fn one_line(message: &str) -> String {
    let clean: Vec<&str> = message
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    clean
        .join(", ")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}
