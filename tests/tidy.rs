//! The house rules that a machine can hold: sizes, purity, words, and nothing half done.
//!
//! It reads the sources as text, with comments and literals masked by a small lexer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lines of a file, its tests not counted.
const FILE_LINES: usize = 500;
/// Lines of a function.
const FUNCTION_LINES: usize = 70;

/// The only places where `unsafe` may stand: the memory allocator.
const UNSAFE: &[&str] = &["src/scrub.rs"];

/// Machines that take time as an argument: no runtime, no clock, no dice.
const PURE: &[&str] = &[
    "src/protocol",
    "src/delivery",
    "src/routing/plan",
    "src/routing/health",
    "src/routing/pace",
    "src/routing/table",
    "src/admission",
    "src/core",
    "src/carrier/sip/conversation",
    "src/message",
];
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["Instant", "now"],
    &["SystemTime"],
    &["rand"],
    &["thread", "spawn"],
];

/// The only places that read the wall clock: the clock, and names and times of what is simulated.
const WALL: &[&str] = &["src/clock.rs", "src/simulate/", "src/cli/simulate.rs"];

/// Words that the style's list turns away, wherever they are ours to choose.
const WORDS: &[&str] = &["provider", "vendor"];
/// Names of other people's crates that have such a word in them.
const FOREIGN: &[&str] = &[
    "builder_with_provider",
    "default_provider",
    "CryptoProvider",
];

/// Half done, left behind, or switched off.
const UNDONE: &[&str] = &["todo", "unimplemented", "dbg"];

struct Source {
    /// From the root, with slashes.
    path: String,
    text: String,
    /// As `text`, comments and the insides of literals blank, every line break kept.
    code: String,
    /// As `code`, inline test modules blank.
    shipped: String,
    /// The whole file is a test.
    test: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
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

fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("inside the project");
    inside.to_str().expect("UTF-8").replace('\\', "/")
}

fn sources() -> Vec<Source> {
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
fn mask(text: &str) -> String {
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
                raw_end(octets, at + 1)
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
fn closing(code: &str, open: usize) -> usize {
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

const TEST: &str = "#[cfg(test)]";

/// Blanks inline test modules, line breaks kept.
fn without_tests(code: &str) -> String {
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
fn test_modules(source: &Source) -> Vec<String> {
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
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let length = code[start..].find(|c| !is_word(c));
        at = length.map_or(code.len(), |n| start + n);
        Some((start, &code[start..at]))
    })
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].bytes().filter(|o| *o == b'\n').count() + 1
}

/// Name, first line and lines of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
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
fn body(code: &str, at: usize) -> Option<usize> {
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

fn none(faults: Vec<String>, rule: &str) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

#[test]
fn every_file_says_what_it_is() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            faults.push(source.path.clone());
        }
        if source.path.ends_with("/mod.rs") {
            faults.push(format!("{}: modules are foo.rs and foo/", source.path));
        }
    }
    none(
        faults,
        "a file opens with a //! comment: what it is, where on the way",
    );
}

#[test]
fn files_and_functions_are_short() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.test) {
        // A test module at the end is no part of the size.
        let lines = source.shipped.trim_end().lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{}: {lines} lines", source.path));
        }
        for (name, _, lines) in functions(&source.shipped) {
            if lines > FUNCTION_LINES {
                faults.push(format!("{}: {name}: {lines} lines", source.path));
            }
        }
    }
    none(faults, "files have 500 lines at most, functions 70");
}

#[test]
fn machines_know_no_runtime_no_clock_no_dice() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.test) {
        let stem = source.path.trim_end_matches(".rs");
        let pure = PURE.iter().any(|p| {
            stem.strip_prefix(p)
                .is_some_and(|r| r.is_empty() || r.starts_with('/'))
        });
        if !pure {
            continue;
        }
        let all: Vec<(usize, &str)> = words(&source.shipped).collect();
        for (n, (at, _)) in all.iter().enumerate() {
            for wanted in IMPURE {
                let joined = wanted.join("::");
                let here = all[n..].iter().map(|(_, word)| *word).take(wanted.len());
                if here.eq(wanted.iter().copied()) && source.shipped[*at..].starts_with(&joined) {
                    let line = line_of(&source.shipped, *at);
                    faults.push(format!("{}:{line}: {}", source.path, joined));
                }
            }
        }
    }
    none(
        faults,
        "pure modules take bytes and time, and give bytes, events and a deadline",
    );
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    let mut faults = Vec::new();
    let all = sources();
    let ours = |s: &&Source| {
        s.path.starts_with("src/") && !s.test && !WALL.iter().any(|w| s.path.starts_with(w))
    };
    for source in all.iter().filter(ours) {
        let all: Vec<(usize, &str)> = words(&source.shipped).collect();
        for pair in all.windows(2) {
            if let [(at, "SystemTime"), (_, "now")] = pair {
                let line = line_of(&source.shipped, *at);
                faults.push(format!("{}:{line}: SystemTime::now", source.path));
            }
        }
    }
    none(
        faults,
        "what is waited for goes by clock::now, what is said by clock::said; nobody else asks the system",
    );
}

#[test]
fn protocols_import_nothing_of_ours() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| !s.test && s.path.starts_with("src/protocol"))
    {
        let all: Vec<(usize, &str)> = words(&source.shipped).collect();
        for pair in all.windows(2) {
            let [(at, "crate"), (_, next)] = pair else {
                continue;
            };
            // `pub(crate)` and `crate::protocol` are its own.
            if source.shipped[at + 5..].starts_with("::") && *next != "protocol" {
                let line = line_of(&source.shipped, *at);
                faults.push(format!("{}:{line}: crate::{next}", source.path));
            }
        }
    }
    none(faults, "src/protocol stands alone");
}

#[test]
fn nothing_is_half_done() {
    let mut faults = Vec::new();
    for source in sources() {
        for (at, word) in words(&source.code) {
            let after = source.code[at + word.len()..].trim_start();
            let macro_call = after.starts_with('!') && !after.starts_with("!=");
            let before = source.code[..at].trim_end();
            let undone = (UNDONE.contains(&word) && macro_call)
                || (word == "ignore" && before.ends_with("#["))
                || (word == "unsafe" && !UNSAFE.contains(&source.path.as_str()))
                || (word == "unwrap"
                    && !source.test
                    && before.ends_with('.')
                    && is_shipped(&source, at));
            let unexplained = word == "allow"
                && (before.ends_with("#[") || before.ends_with("#!["))
                && !source.text[at..]
                    .split(']')
                    .next()
                    .unwrap_or("")
                    .contains("reason");
            if undone || unexplained {
                faults.push(format!(
                    "{}:{}: {word}",
                    source.path,
                    line_of(&source.code, at)
                ));
            }
        }
    }
    none(
        faults,
        "no stubs, no tests switched off, no unsafe or unwrap, no allow without its reason",
    );
}

fn is_shipped(source: &Source, at: usize) -> bool {
    source.shipped.as_bytes()[at] != b' '
}

#[test]
fn one_word_for_one_thing() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.path != "tests/tidy.rs") {
        for (at, word) in words(&source.code) {
            let small = word.to_lowercase();
            if WORDS.iter().any(|w| small.contains(w)) && !FOREIGN.contains(&word) {
                faults.push(format!(
                    "{}:{}: {word}",
                    source.path,
                    line_of(&source.code, at)
                ));
            }
        }
    }
    none(faults, "a company that we hand traffic to is a carrier");
}

/// Names of fields that hold what must not be printed.
const PRIVATE: &[&str] = &[
    "digits",
    "code",
    "text",
    "body",
    "phone",
    "number",
    "pin",
    "reply",
    "extension",
    "password",
    "to",
    "from",
    "source",
    "destination",
    "short_message",
    "message",
    "bytes",
    "octets",
    "uri",
    "local",
    "remote",
    "headers",
    "key",
];
/// How such a thing is held where its type does not hide it by itself.
const OPEN_TYPES: &[&str] = &["String", "str", "Bytes", "char", "u8"];
/// Structures whose fields have such names and hold settings, protocol words or places instead.
const HARMLESS: &[(&str, &str)] = &[
    (
        "src/config/",
        "what stands in files: names of secrets, never the secrets",
    ),
    (
        "src/carrier/http/template.rs",
        "the template, not what is filled in",
    ),
    (
        "src/protocol/sip/endpoint.rs Config",
        "the trunk's own name",
    ),
    (
        "src/protocol/sip/endpoint.rs Event",
        "keys have their own fault here: see Key",
    ),
];

/// Every structure that derives `Debug`: its name, its line and what stands in its brackets.
fn debugged(code: &str) -> Vec<(String, usize, String)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[derive(").map(|n| from + n) {
        from = at + 1;
        let Some(end) = code[at..].find(')').map(|n| at + n) else {
            break;
        };
        if !code[at..end].contains("Debug") {
            continue;
        }
        let mut after = words(&code[end..]).skip_while(|(_, w)| !matches!(*w, "struct" | "enum"));
        let Some((_, name)) = after.nth(1) else {
            continue;
        };
        let rest = &code[end..];
        let Some(open) = rest
            .find(name)
            .and_then(|n| rest[n..].find(['{', '(', ';']).map(|m| n + m))
        else {
            continue;
        };
        let close = match rest.as_bytes()[open] {
            b'{' => closing(rest, open),
            b'(' => rest[open..].find(';').map_or(rest.len(), |n| open + n),
            _ => open,
        };
        found.push((
            name.to_owned(),
            line_of(code, at),
            rest[open..close].to_owned(),
        ));
    }
    found
}

/// The field of these that is private by its name and open by its type.
fn open_field(fields: &str) -> Option<String> {
    fields.split(['\n', '{']).find_map(|line| {
        let (name, kind) = line.trim().trim_start_matches("pub ").split_once(": ")?;
        let name = name.rsplit([' ', ')']).next().unwrap_or(name);
        let open = words(kind).any(|(_, word)| OPEN_TYPES.contains(&word));
        (PRIVATE.contains(&name) && open).then(|| format!("{name}: {}", kind.trim_end_matches(',')))
    })
}

#[test]
fn nothing_prints_a_number_a_code_or_a_text() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| !s.test && s.path.starts_with("src/"))
    {
        for (name, line, fields) in debugged(&source.shipped) {
            let place = format!("{} {name}", source.path);
            let harmless = HARMLESS.iter().any(|(which, _)| place.starts_with(which));
            if let Some(field) = open_field(&fields).filter(|_| !harmless) {
                faults.push(format!("{}:{line}: {name} {{ {field} }}", source.path));
            }
        }
    }
    none(
        faults,
        "no derived Debug on what holds numbers, codes, keys or texts: write one that tells lengths, or private_debug!",
    );
    let code = "#[derive(Clone, Debug)]\npub struct A {\n    pub code: Option<Arc<str>>,\n}\n#[derive(Debug)]\nstruct B {\n    n: u8,\n}\n";
    let found: Vec<_> = debugged(code)
        .iter()
        .map(|(n, _, f)| (n.clone(), open_field(f)))
        .collect();
    assert_eq!(
        found[0],
        ("A".to_owned(), Some("code: Option<Arc<str>>".to_owned()))
    );
    assert_eq!(found[1], ("B".to_owned(), None));
}

#[test]
fn nothing_names_a_machine() {
    let mut files = Vec::new();
    walk(&root(), &mut files);
    let homes = ["/ro", "/ho", "/Us"].iter().zip(["ot/", "me/", "ers/"]);
    let homes: Vec<String> = homes.map(|(a, b)| format!("{a}{b}")).collect();
    let mut faults = Vec::new();
    for path in files {
        let name = relative(&path);
        let ours = name.ends_with(".rs")
            || name.ends_with(".toml")
            || name.ends_with(".md")
            || name.ends_with(".yml")
            || name.ends_with(".py")
            || name.starts_with("scripts/");
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        if !ours {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home.as_str())) {
                faults.push(format!("{name}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    none(faults, "no paths of anybody's machine");
}

#[test]
fn the_lexer_sees_through_literals() {
    let code = mask(
        "let a = \"fn {\"; // fn\nlet b = r#\"unsafe \" \"#; 'x: loop {} let c = '\\''; let d = '{'; let e = 'ä';",
    );
    let seen: Vec<&str> = words(&code).map(|(_, word)| word).collect();
    assert_eq!(
        seen,
        [
            "let", "a", "let", "b", "x", "loop", "let", "c", "let", "d", "let", "e"
        ]
    );
    let code = "fn a();\nfn b(x: [u8; 2]) {\n  {}\n}\n#[cfg(test)]\nmod tests { fn c() {} }\n";
    assert_eq!(functions(&without_tests(code)), [("b".to_owned(), 2, 3)]);
}
