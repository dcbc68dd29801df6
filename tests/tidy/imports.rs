//! Who may import whom, by the modules of `src/lib.rs`. The way goes from what is below to what stands on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    none,
    source::{closing, sources, without_tests},
};

/// Each module with all that it may import. A module imports only what stands above it, so there is no circle.
const MAY: &[(&str, &[&str])] = &[
    ("number", &[]),
    ("cause", &[]),
    ("telemetry", &[]),
    ("schema", &[]),
    ("endpoint", &[]),
    ("regular", &["telemetry"]),
    ("retry", &[]),
    ("scrub", &[]),
    ("protocol", &[]),
    ("challenge", &["number"]),
    ("clock", &["challenge"]),
    ("overlay", &["challenge"]),
    ("pace", &["clock", "schema"]),
    ("message", &["protocol", "regular", "telemetry"]),
    (
        "routing",
        &["cause", "challenge", "clock", "number", "schema"],
    ),
    ("admission", &["challenge", "number", "pace", "schema"]),
    (
        "config",
        &[
            "admission",
            "cause",
            "challenge",
            "message",
            "number",
            "pace",
            "protocol",
            "regular",
            "routing",
            "schema",
        ],
    ),
    (
        "ledger",
        &[
            "admission",
            "challenge",
            "clock",
            "config",
            "number",
            "regular",
        ],
    ),
    ("broker", &["config", "regular"]),
    (
        "carrier",
        &[
            "admission",
            "cause",
            "challenge",
            "clock",
            "config",
            "endpoint",
            "message",
            "number",
            "protocol",
            "regular",
            "retry",
            "telemetry",
        ],
    ),
    ("delivery", &["carrier", "cause", "challenge"]),
    (
        "report",
        &[
            "broker",
            "challenge",
            "clock",
            "config",
            "delivery",
            "endpoint",
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
            "endpoint",
            "ledger",
            "message",
            "number",
            "regular",
            "report",
            "retry",
            "schema",
        ],
    ),
    (
        "core",
        &[
            "admission",
            "carrier",
            "cause",
            "challenge",
            "clock",
            "config",
            "delivery",
            "intake",
            "ledger",
            "message",
            "number",
            "overlay",
            "pace",
            "report",
            "routing",
            "schema",
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
        "operate",
        &[
            "admission",
            "broker",
            "carrier",
            "challenge",
            "clock",
            "config",
            "core",
            "delivery",
            "dispatch",
            "endpoint",
            "intake",
            "ledger",
            "number",
            "overlay",
            "report",
            "routing",
            "schema",
            "telemetry",
        ],
    ),
    (
        "gateway",
        &[
            "broker", "carrier", "clock", "config", "core", "dispatch", "intake", "ledger",
            "message", "operate", "report",
        ],
    ),
    (
        "rehearse",
        &[
            "admission",
            "carrier",
            "cause",
            "challenge",
            "clock",
            "config",
            "core",
            "delivery",
            "intake",
            "ledger",
            "message",
            "number",
            "protocol",
            "report",
            "retry",
            "routing",
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
            "gateway",
            "intake",
            "ledger",
            "number",
            "operate",
            "regular",
            "routing",
        ],
    ),
    (
        "contract",
        &[
            "broker", "carrier", "config", "core", "endpoint", "intake", "operate", "report",
            "schema",
        ],
    ),
    (
        "cli",
        &[
            "broker",
            "challenge",
            "config",
            "contract",
            "gateway",
            "intake",
            "ledger",
            "message",
            "number",
            "operate",
            "protocol",
            "schema",
            "simulate",
        ],
    ),
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
        let group = &code[open + 1..closing(code, open) - 1];
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
    }
    for (place, (module, may)) in MAY.iter().enumerate() {
        let above: Vec<&str> = MAY[..place].iter().map(|(name, _)| *name).collect();
        for other in may.iter().filter(|other| !above.contains(other)) {
            faults.push(format!(
                "{module} imports {other}, which does not stand above it"
            ));
        }
    }
    none(faults, "imports follow the way");
}
