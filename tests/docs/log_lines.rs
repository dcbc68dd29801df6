//! What an operator may read in the log, in `/readyz` and as the reason of a metric: each has its row in the handbook.
//! That a row is what the program says is asked for in `main.rs`.

use std::fs;

use crate::{Words, below, first_cells, names, read, root, same, section};

/// Lines that say all there is to do, and need no row.
const PLAIN: &[(&str, &str)] = &[
    ("cancelled by an operator", "the operator knows"),
    ("the other gateway is gone", "ends a state that has its row"),
    (
        "{warning}",
        "a warning of `ringback check`: file, line, key, and what is wrong",
    ),
];
/// Lines that consist of nothing but what is put in, and how that begins.
const FILLED_IN: &[(&str, &str, &[&str])] = &[
    (
        "src/ledger/writer.rs",
        "{unwritten}",
        &["the ledger could not be written: {}"],
    ),
    (
        "src/carrier/http/oddities.rs",
        "{}",
        &[
            "texts are taken without the reference",
            "answers of acceptance are",
            "answers of acceptance break off",
            "answers of acceptance have",
            "answers say neither a word of",
        ],
    ),
];
/// What is run by tests, demonstrations and rehearsals alone.
const ASIDE: &[&str] = &["src/simulate", "src/rehearse"];

/// The end of the literal or bracket that begins here.
fn end(text: &str) -> usize {
    let mut depth = 0;
    let mut chars = text.char_indices();
    let mut quoted = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return at + 1;
                }
            }
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The literals of a piece of source, as they are printed.
fn literals(code: &str) -> Vec<String> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = code[from..].find('"').map(|n| from + n) {
        from = at + end(&code[at..]);
        let mut parts = code[at + 1..from - 1].split("\\\n");
        let first = parts.next().unwrap_or("").to_owned();
        let text = parts.fold(first, |text, part| text + part.trim_start());
        found.push(text.replace("\\\"", "\""));
    }
    found
}

/// The messages of warnings and errors: the last literal of each.
fn loud(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["warn!", "error!"] {
        for (at, _) in code.match_indices(name) {
            let before = code[..at].chars().next_back();
            let rest = &code[at + name.len()..];
            let is_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
            if is_name || !rest.starts_with('(') {
                continue;
            }
            let call = &rest[..end(rest)];
            let message = literals(call).pop();
            found.push(message.unwrap_or_else(|| panic!("no message: {call}")));
        }
    }
    found
}

/// Where it stands, and what it says, of each line that is louder than information.
fn lines() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in below("src", ".rs") {
        let path = file.strip_prefix(root()).expect("below it");
        let path = path.to_string_lossy().into_owned();
        let of_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        if of_tests || path.contains("/stories") || ASIDE.iter().any(|way| path.starts_with(way)) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("UTF-8");
        let shipped = text.split("#[cfg(test)]\nmod tests {").next();
        let messages = loud(shipped.unwrap_or(""));
        found.extend(messages.into_iter().map(|message| (path.clone(), message)));
    }
    found
}

/// Is this the line that a row tells of? Its pieces stand in it in their order, from its beginning.
fn tells(row: &str, line: &str) -> bool {
    let mut rest = line;
    for (n, piece) in row.split("...").enumerate() {
        let Some(at) = rest.find(piece.trim()).filter(|at| n > 0 || *at == 0) else {
            return false;
        };
        rest = &rest[at + piece.trim().len()..];
    }
    true
}

#[test]
fn every_line_to_act_on_is_told_or_plain() {
    let lines = lines();
    let operating = read("docs/src/operating.md");
    let rows = first_cells(section(&operating, "## Log lines to act on"));
    let told = |line: &str| rows.iter().any(|row| tells(row, line));
    let mut faults = Vec::new();
    for (path, line) in &lines {
        let plain = PLAIN.iter().any(|(plain, _)| plain == line);
        let filled = FILLED_IN.iter().find(|(of, l, _)| of == path && l == line);
        match filled {
            Some((_, _, begins)) => {
                let missing = begins.iter().filter(|line| !told(line));
                faults.extend(missing.map(|line| format!("{path}: no row: {line}")));
            }
            None if plain == told(line) => faults.push(match plain {
                true => format!("{path}: has a row, and is called plain: {line}"),
                false => format!("{path}: no row: {line}"),
            }),
            None => {}
        }
    }
    let known = |line: &str| lines.iter().any(|(_, known)| known == line);
    let listed = PLAIN.iter().map(|(line, _)| line);
    for line in listed.chain(FILLED_IN.iter().map(|(_, line, _)| line)) {
        if !known(line) {
            faults.push(format!("nobody says any more: {line}"));
        }
    }
    assert!(
        faults.is_empty(),
        "docs/src/operating.md says of each what to do:\n  {}",
        faults.join("\n  ")
    );
}

#[test]
fn lines_are_found_however_they_are_written() {
    let code = "tracing::warn!(%a, why = \"b\", \"one {x}: \\\n      \\\"two\\\"\"); my_error!(\"no\");\n\
        error!(c = f(\")\"), \"three\"); tracing::info!(\"no\");";
    assert_eq!(loud(code), ["one {x}: \"two\"", "three"]);
    assert!(tells("one", "one {x}") && !tells("{x}", "one {x}"));
    assert!(tells("... {x} ...", "one {x} two") && !tells("... {y}", "one {x}"));
}

#[test]
fn every_reason_of_a_callback_or_an_answer_is_told() {
    let operating = read("docs/src/operating.md");
    let reasons = |heading| first_cells(section(&operating, heading));
    same(
        &reasons("## Callbacks that are not taken"),
        &names("src/carrier/http/callback.rs", "impl Refused {"),
    );
    same(
        &reasons("## Answers that say too little"),
        &names("src/carrier/http/answer.rs", "impl Oddity {"),
    );
}

#[test]
fn every_reason_of_readyz_is_told() {
    let mut code = Words::new();
    for path in ["src/operate/ready.rs", "src/operate/reload.rs"] {
        let text = read(path);
        for list in ["reasons.push(", "detail.push("] {
            for (at, _) in text.match_indices(list) {
                let call = &text[at + list.len() - 1..];
                let said = literals(&call[..end(call)]).into_iter().next();
                code.insert(said.unwrap_or_else(|| panic!("{path}: nothing is said")));
            }
        }
    }
    assert!(code.len() >= 11, "{code:?}");
    let operating = read("docs/src/operating.md");
    let rows = first_cells(section(&operating, "## /readyz"));
    let told = |said: &&String| {
        let number = said.replacen("{waiting}", "N", 1);
        rows.iter().any(|row| tells(row, &number))
    };
    let missing: Vec<_> = code.iter().filter(|said| !told(said)).collect();
    assert!(missing.is_empty(), "not in the handbook: {missing:?}");
}
