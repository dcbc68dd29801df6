//! The sources as text, with comments and literals masked by a small lexer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub struct Source {
    /// From the root, with slashes.
    pub path: String,
    pub text: String,
    /// As `text`, comments and the insides of literals blank, every line break kept.
    pub code: String,
    /// As `code`, inline test modules blank.
    pub shipped: String,
    /// The whole file is a test.
    pub test: bool,
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder that can be listed").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        if path.is_dir() && !matches!(name, "target" | ".git" | "data") {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
}

pub fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("inside the project");
    inside.to_str().expect("UTF-8").replace('\\', "/")
}

pub fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "simulators", "tests", "benches"] {
        walk(&root().join(folder), &mut files);
    }
    let mut all: Vec<Source> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = fs::read_to_string(path).expect("a source is UTF-8");
            let code = mask(&text);
            let shipped = without_tests(&code);
            Source {
                path: relative(path),
                text,
                code,
                shipped,
                test: false,
            }
        })
        .collect();
    let tests: BTreeSet<String> = all.iter().flat_map(test_modules).collect();
    for source in &mut all {
        let stem = source.path.trim_end_matches(".rs");
        source.test = stem.starts_with("tests/")
            || stem.starts_with("simulators/tests/")
            || stem.starts_with("benches/")
            || tests.iter().any(|t| {
                stem == t
                    || stem
                        .strip_prefix(t.as_str())
                        .is_some_and(|r| r.starts_with('/'))
            });
    }
    assert!(all.len() > 100, "the sources were not found");
    all
}

/// Blanks comments and the insides of strings and characters.
pub fn mask(text: &str) -> String {
    let octets = text.as_bytes();
    let mut out = octets.to_vec();
    let mut at = 0;
    while at < octets.len() {
        let end = match octets[at] {
            b'/' if octets.get(at + 1) == Some(&b'/') => line_end(octets, at),
            b'/' if octets.get(at + 1) == Some(&b'*') => comment_end(octets, at),
            b'"' => string_end(octets, at),
            b'r' if !in_word(octets, at) => raw_end(octets, at),
            b'b' if !in_word(octets, at) && octets.get(at + 1) == Some(&b'r') => {
                match raw_end(octets, at + 1) {
                    end if end == at + 1 => at,
                    end => end,
                }
            }
            b'\'' => char_end(octets, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for octet in &mut out[at..end] {
            if *octet != b'\n' {
                *octet = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole literals are blanked")
}

fn in_word(octets: &[u8], at: usize) -> bool {
    at > 0 && (octets[at - 1].is_ascii_alphanumeric() || octets[at - 1] == b'_')
}

fn line_end(octets: &[u8], at: usize) -> usize {
    let rest = octets[at..].iter().position(|o| *o == b'\n');
    rest.map_or(octets.len(), |n| at + n)
}

fn comment_end(octets: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0_usize);
    while at < octets.len() {
        match &octets[at..octets.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    octets.len()
}

fn string_end(octets: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < octets.len() {
        match octets[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    octets.len()
}

/// A raw string, or where none begins here: the same place.
fn raw_end(octets: &[u8], at: usize) -> usize {
    let hashes = octets[at + 1..].iter().take_while(|o| **o == b'#').count();
    if octets.get(at + 1 + hashes) != Some(&b'"') {
        return at;
    }
    let close: Vec<u8> = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let from = at + 2 + hashes;
    let inside = octets[from..].windows(close.len()).position(|w| w == close);
    inside.map_or(octets.len(), |n| from + n + close.len())
}

/// A character, or where it is a lifetime: the same place.
fn char_end(octets: &[u8], at: usize) -> usize {
    if octets.get(at + 1) == Some(&b'\\') {
        let close = octets[at + 3..].iter().position(|o| *o == b'\'');
        return close.map_or(octets.len(), |n| at + 4 + n);
    }
    let wide = octets[at + 1..]
        .iter()
        .take(5)
        .position(|o| *o == b'\'')
        .filter(|n| *n == 1 || (*n > 1 && octets[at + 1] >= 0x80));
    wide.map_or(at, |n| at + 2 + n)
}

/// The place after the bracket that closes the one at `open`.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, octet) in code.bytes().enumerate().skip(open) {
        match octet {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

pub const TEST: &str = "#[cfg(test)]";

/// Blanks inline test modules, line breaks kept.
pub fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find(TEST).map(|n| from + n) {
        from = found + TEST.len();
        let after = &out[from..];
        let (Some(open), semicolon) = (after.find('{'), after.find(';')) else {
            continue;
        };
        if semicolon.is_some_and(|s| s < open) || !after[..open].contains("mod ") {
            continue;
        }
        let end = closing(&out, from + open);
        let blank: String = out[found..end]
            .chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect();
        // Blanks are one octet each; what is no ASCII would move the rest.
        let blank = format!("{blank:<width$}", width = end - found);
        out.replace_range(found..end, &blank[..end - found]);
        from = end;
    }
    out
}

/// Stems of the files that this one declares as its tests.
pub fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main")) => folder,
        _ => stem,
    };
    let mut found = Vec::new();
    for after in source.code.split(TEST).skip(1) {
        let words: Vec<&str> = words(after).map(|(_, word)| word).take(2).collect();
        if let ["mod", name] = words[..]
            && after.find(';') < after.find('{').or(Some(usize::MAX))
        {
            found.push(format!("{folder}/{name}"));
        }
    }
    found
}

/// Identifiers and keywords with their places.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let length = code[start..].find(|c| !is_word(c));
        at = length.map_or(code.len(), |n| start + n);
        Some((start, &code[start..at]))
    })
}

pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].bytes().filter(|o| *o == b'\n').count() + 1
}

/// Name, first line and lines of every function with a body.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let all: Vec<(usize, &str)> = words(code).collect();
    for pair in all.windows(2) {
        let [(at, "fn"), (_, name)] = pair else {
            continue;
        };
        let Some(open) = body(code, *at) else {
            continue;
        };
        let (first, last) = (line_of(code, *at), line_of(code, closing(code, open) - 1));
        found.push(((*name).to_owned(), first, last - first + 1));
    }
    found
}

/// The `{` of the function whose `fn` stands here; none where it has no body.
pub fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, octet) in code.bytes().enumerate().skip(at) {
        match octet {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}
