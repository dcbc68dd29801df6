//! Who may import whom, by the modules of `src/lib.rs`. The way goes from what is below to what stands on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    none,
    source::{closing, sources, without_tests},
};

/// Each module with all that it may import.
const MAY: &[(&str, &[&str])] = &[
    ("number", &[]),
    ("challenge", &["number"]),
    ("clock", &["challenge"]),
    ("overlay", &["challenge"]),
    ("protocol", &[]),
    ("retry", &[]),
    ("scrub", &[]),
    ("regular", &["operate"]),
    ("broker", &["config", "regular"]),
    (
        "ledger",
        &["challenge", "clock", "config", "number", "regular"],
    ),
    ("admission", &["challenge", "config", "ledger", "number"]),
    ("message", &["operate", "protocol", "regular"]),
    (
        "carrier",
        &[
            "admission",
            "challenge",
            "clock",
            "config",
            "message",
            "number",
            "operate",
            "protocol",
            "regular",
            "retry",
        ],
    ),
    (
        "config",
        &[
            "admission",
            "carrier",
            "challenge",
            "message",
            "number",
            "protocol",
            "regular",
            "routing",
        ],
    ),
    ("routing", &["carrier", "challenge", "clock", "config"]),
    ("delivery", &["carrier", "challenge", "report"]),
    (
        "report",
        &[
            "broker",
            "challenge",
            "clock",
            "config",
            "delivery",
            "intake",
            "ledger",
            "number",
            "retry",
        ],
    ),
    (
        "intake",
        &[
            "broker",
            "challenge",
            "clock",
            "config",
            "delivery",
            "gateway",
            "ledger",
            "message",
            "number",
            "regular",
            "report",
            "retry",
        ],
    ),
    (
        "core",
        &[
            "admission",
            "carrier",
            "challenge",
            "clock",
            "config",
            "delivery",
            "intake",
            "ledger",
            "message",
            "number",
            "operate",
            "overlay",
            "report",
            "routing",
        ],
    ),
    (
        "dispatch",
        &[
            "carrier",
            "challenge",
            "clock",
            "config",
            "core",
            "intake",
            "ledger",
            "overlay",
        ],
    ),
    (
        "gateway",
        &[
            "admission",
            "broker",
            "carrier",
            "challenge",
            "clock",
            "config",
            "core",
            "dispatch",
            "intake",
            "ledger",
            "message",
            "report",
        ],
    ),
    (
        "operate",
        &[
            "admission",
            "broker",
            "carrier",
            "challenge",
            "clock",
            "config",
            "delivery",
            "dispatch",
            "gateway",
            "intake",
            "ledger",
            "number",
            "overlay",
            "report",
            "routing",
        ],
    ),
    (
        "rehearse",
        &[
            "admission",
            "carrier",
            "challenge",
            "clock",
            "config",
            "core",
            "delivery",
            "gateway",
            "intake",
            "ledger",
            "number",
            "protocol",
        ],
    ),
    (
        "simulate",
        &[
            "broker",
            "challenge",
            "clock",
            "config",
            "dispatch",
            "intake",
            "ledger",
            "number",
            "operate",
            "regular",
            "routing",
        ],
    ),
    (
        "cli",
        &[
            "broker",
            "challenge",
            "config",
            "ledger",
            "message",
            "number",
            "operate",
            "protocol",
            "simulate",
        ],
    ),
];

/// Modules that import each other. They are to be parted; none is added.
const CIRCLES: &[(&str, &str)] = &[
    ("admission", "config"),
    ("carrier", "config"),
    ("carrier", "operate"),
    ("config", "routing"),
    ("delivery", "report"),
    ("gateway", "intake"),
    ("intake", "report"),
];

/// Modules of ours that this code names by `crate::`.
fn imported(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if !rest.starts_with('{') {
            found.insert(word(rest));
            continue;
        }
        let open = at + "crate::".len();
        let group = &code[open + 1..closing(code, open)];
        let mut depth = 0;
        let mut from = 0;
        for (here, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(word(group[from..here].trim_start()));
                    from = here + 1;
                }
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn imports_follow_the_way() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|s| s.path.starts_with("src/")) {
        let path = &source.path["src/".len()..];
        let module = path.split('/').next().unwrap_or_default();
        let module = module.trim_end_matches(".rs");
        let of_tests = path.contains("/tests") || path.contains("/stories");
        if ["lib", "main"].contains(&module) || of_tests {
            continue;
        }
        let code = without_tests(&source.code);
        let others = imported(&code).into_iter().filter(|other| other != module);
        imports.entry(module.to_owned()).or_default().extend(others);
    }
    let mut faults = Vec::new();
    for (module, others) in &imports {
        let may = MAY.iter().find(|(of, _)| of == module).map(|(_, may)| *may);
        let Some(may) = may else {
            faults.push(format!("{module}: it stands in no row of the table"));
            continue;
        };
        for other in others.iter().filter(|other| !may.contains(&other.as_str())) {
            faults.push(format!("{module} imports {other}"));
        }
        for other in may.iter().filter(|other| !others.contains(**other)) {
            faults.push(format!(
                "{module} imports {other} no longer: take it off the table"
            ));
        }
        for other in others {
            let circle = imports.get(other).is_some_and(|back| back.contains(module));
            let pair = (module.as_str().min(other), module.as_str().max(other));
            if circle && !CIRCLES.contains(&pair) {
                faults.push(format!("{module} and {other} import each other"));
            }
        }
    }
    none(faults, "imports follow the way");
}
