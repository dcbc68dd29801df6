//! The house rules that a machine can hold: sizes, purity, words, and nothing half done.
//!
//! It reads the sources as text.

use std::{collections::BTreeSet, fs};

use source::{
    Source, closing, functions, line_of, mask, relative, root, sources, walk, without_tests, words,
};

mod circles;
mod imports;
mod names;
mod packaging;
mod planted;
mod source;

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
    "src/carrier/http/answer",
    "src/carrier/http/body",
    "src/carrier/http/callback/format",
    "src/carrier/http/callback/read",
    "src/carrier/http/callback/repeats",
    "src/carrier/http/code",
    "src/carrier/http/exchange",
    "src/carrier/http/json",
    "src/carrier/http/link",
    "src/carrier/http/machine",
    "src/carrier/http/request",
    "src/carrier/http/template",
    "src/carrier/sip/call_script",
    "src/carrier/sip/redirect",
    "src/carrier/sip/trunk",
    "src/message",
    "src/report/publish/machine",
    "src/report/publish/queue",
    "src/report/publish/published",
    "src/report/publish/unroutable",
];
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["Instant", "now"],
    &["SystemTime"],
    &["rand"],
    &["RandomState"],
    &["thread", "spawn"],
];
/// Files that may name one of these all the same, and why.
const PURE_ENOUGH: &[(&str, &str, &str)] = &[(
    "src/core/references.rs",
    "RandomState",
    "a key that no carrier can know, so that none can make references of one hash; nothing that is decided depends on it",
)];

/// Libraries that are known to one place alone: what they are, and where.
const KNOWN_TO: &[(&str, &str)] = &[
    ("rusqlite", "src/ledger/store/sqlite"),
    ("tokio_postgres", "src/ledger/store/postgres"),
    ("tokio_postgres_rustls", "src/ledger/store/postgres"),
    ("refinery", "src/ledger/store/postgres"),
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
    let (mut faults, mut excused) = (Vec::new(), BTreeSet::new());
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
                    let excuse = |(path, word, _): &&(&str, &str, &str)| {
                        *path == source.path && *word == joined
                    };
                    if let Some(excuse) = PURE_ENOUGH.iter().find(excuse) {
                        excused.insert(excuse);
                        continue;
                    }
                    let line = line_of(&source.shipped, *at);
                    faults.push(format!("{}:{line}: {}", source.path, joined));
                }
            }
        }
    }
    for excuse in PURE_ENOUGH.iter().filter(|one| !excused.contains(one)) {
        faults.push(format!("{}: names no {} any more", excuse.0, excuse.1));
    }
    none(
        faults,
        "pure modules take bytes and time, and give bytes, events and a deadline",
    );
}

/// Lines of the log that the machines of [`QUIET`] write by themselves.
const FINER: &[&str] = &["debug", "trace"];
/// What people are told of these leaves them as plain data: a line of theirs is seen by nobody who runs them otherwise.
const QUIET: &[&str] = &["core", "delivery", "routing", "admission"];

/// Words of the logging library that stand in this code and are more than its finer levels.
fn louder(code: &str) -> Vec<(usize, String)> {
    let all: Vec<(usize, &str)> = words(code).collect();
    let level = |n: usize| {
        let (at, word) = all[n];
        let after = code[at + word.len()..].strip_prefix("::");
        let path = after.is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        all.get(n + 1)
            .filter(|_| path)
            .map_or("", |(_, word)| *word)
    };
    (0..all.len())
        .filter(|n| all[*n].1 == "tracing" && !FINER.contains(&level(*n)))
        .map(|n| (line_of(code, all[n].0), format!("tracing::{}", level(n))))
        .collect()
}

#[test]
fn machines_write_no_line_of_the_log_but_debug() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.test) {
        let module = source.path.strip_prefix("src/").unwrap_or_default();
        let module = module.split(['/', '.']).next().unwrap_or_default();
        if QUIET.contains(&module) {
            let found = louder(&source.shipped).into_iter();
            faults.extend(found.map(|(line, what)| format!("{}:{line}: {what}", source.path)));
        }
    }
    none(
        faults,
        "what people are told leaves the core as a notice (src/core/notice.rs)",
    );
}

#[test]
fn louder_lines_are_found_however_they_are_named() {
    let found = |code| louder(code).len();
    assert_eq!(found("tracing::debug!(a); tracing::trace!(b);"), 0);
    assert_eq!(found("tracing::warn!(a); ::tracing::info!(b);"), 2);
    assert_eq!(found("use tracing::{debug, error};"), 1);
    assert_eq!(found("use tracing;"), 1);
    assert_eq!(found("tracing::event!(Level::ERROR, a);"), 1);
}

/// What is simulated says of itself what it likes; everywhere else an error is a type, so that its kinds can be told apart.
const FREE_ERRORS: &[&str] = &["src/simulate"];

/// The places of `Result`s (and of `Err`s of a trait) whose error is a bare string.
fn bare_errors(code: &str) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for (at, _) in code.match_indices("Result<") {
        let inside = &code[at + "Result<".len()..];
        let (mut depth, mut last) = (0, 0);
        for (here, c) in inside.char_indices() {
            let arrow = inside[..here].ends_with(['-', '=']);
            match c {
                '<' | '(' | '[' => depth += 1,
                '>' if arrow => {}
                '>' if depth == 0 => {
                    let error = inside[last..here].trim().trim_end_matches(',').trim_end();
                    if last > 0 && error == "String" {
                        found.push(at);
                    }
                    break;
                }
                '>' | ')' | ']' => depth -= 1,
                ',' if depth == 0 && !inside[here + 1..].trim_start().starts_with('>') => {
                    last = here + 1;
                }
                _ => {}
            }
        }
    }
    found.extend(code.match_indices("type Err = String").map(|(at, _)| at));
    found
}

#[test]
fn errors_have_types() {
    let mut faults = Vec::new();
    let shipped = |s: &&Source| s.path.starts_with("src/") && !s.test;
    for source in sources().iter().filter(shipped) {
        let free = FREE_ERRORS.iter().any(|path| source.path.starts_with(path));
        for at in bare_errors(&source.shipped).into_iter().filter(|_| !free) {
            faults.push(format!("{}:{}", source.path, line_of(&source.shipped, at)));
        }
    }
    none(faults, "an error is a type of its own, not a bare string");
}

#[test]
fn bare_errors_are_found_however_they_are_written() {
    let found = |code| bare_errors(code).len();
    assert_eq!(
        found("fn a() -> Result<u8, String>; x: Result<(), String>"),
        2
    );
    assert_eq!(
        found("Result<\n    Vec<(u8, Box<dyn Fn(u8) -> u8>)>,\n    String,\n>"),
        1
    );
    assert_eq!(found("Option<Result<Result<u8, String>, Fault>>"), 1);
    assert_eq!(found("type Err = String;"), 1);
    assert_eq!(
        found("Result<String, Fault>; Result<String>; Result<(u8, String), E>"),
        0
    );
}

#[test]
fn no_type_of_a_database_crosses_the_seam() {
    let mut faults = Vec::new();
    let all = sources();
    let named =
        |library: &str, source: &Source| words(&source.code).any(|(_, word)| word == library);
    for (library, place) in KNOWN_TO {
        let mut below = all.iter().filter(|s| s.path.starts_with(place));
        if !below.any(|source| named(library, source)) {
            faults.push(format!("{library}: nobody below {place} names it"));
        }
    }
    for source in all.iter().filter(|s| s.path.starts_with("src/")) {
        for (library, place) in KNOWN_TO {
            if source.path.starts_with(place) {
                continue;
            }
            for (at, _) in words(&source.code).filter(|(_, word)| word == library) {
                let line = line_of(&source.code, at);
                faults.push(format!("{}:{line}: {library}", source.path));
            }
        }
    }
    none(
        faults,
        "a database's library is named below its store alone",
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

/// So that no endpoint is served that the OpenAPI document does not tell.
#[test]
fn routers_are_made_of_lists_of_endpoints() {
    let mut faults = Vec::new();
    let ours = |s: &&Source| s.path.starts_with("src/") && !s.test && s.path != "src/endpoint.rs";
    for source in sources().iter().filter(ours) {
        for method in [".route(\"", ".route_service(", ".nest(\"", ".nest_service("] {
            for (at, _) in source.text.match_indices(method) {
                let line = line_of(&source.text, at);
                faults.push(format!("{}:{line}: {method}", source.path));
            }
        }
    }
    none(faults, "what is served stands in a list of endpoints");
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
    for source in sources().iter().filter(|s| s.path != "tests/tidy/") {
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
