//! One word, one thing: names that were given up stay away, and a public name stands for one thing in the whole tree.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    none,
    source::{line_of, sources, without_tests},
};

/// Names of types and modules that others in this field would not understand, with what is said instead.
const RETIRED: &[(&str, &str)] = &[
    ("Ask", "Prompt (of a call) or the verb's own name"),
    ("Conversation", "CallScript"),
    ("Desk", "PublishQueue, RowCodec, AdminState: what it is"),
    ("Door", "Origin"),
    ("Doors", "IntakeHandle"),
    ("EarlyWord", "ControlMessage"),
    ("House", "Retention"),
    ("Hub", "ReportNotifier"),
    ("Lane", "QueueConsumer"),
    ("Leg", "MethodStep"),
    ("LeftUp", "Unterminated"),
    ("Letter", "DeadLetterMessage"),
    ("Life", "DeliveryState"),
    ("Line", "RouteEntry, TenantQueue, WaitQueue: what it is"),
    ("Orphans", "Unterminated"),
    ("Pen", "UnmatchedReceipts"),
    ("Pressure", "ThrottleLimiter"),
    ("Said", "CarrierMessage"),
    ("Slip", "Acknowledgement"),
    ("Standing", "Availability"),
    ("Turns", "SenderRotation, TenantTurns"),
    ("What", "CarrierEvent"),
    ("Wish", "SimOptions"),
    ("Word", "ControlMessage"),
    ("conversation", "call_script"),
    ("desk", "queue, codec: what it is"),
    ("ear", "recognizer"),
    ("house", "retention"),
    ("hub", "notifier"),
    ("lane", "consumer"),
    ("letter", "dead_letter"),
    ("life", "lifetime"),
    ("pressure", "throttle"),
    ("said", "carrier_events"),
    ("standing", "availability"),
    ("stranger", "out_of_dialog"),
    ("strangers", "out_of_dialog"),
    ("suspect", "poison_guard"),
    ("talks", "call_scripts"),
    ("town", "far_end"),
    ("turns", "tenant_turns"),
    ("walk", "fault_scan"),
    ("words", "types"),
];

const KINDS: [&str; 5] = ["struct ", "enum ", "trait ", "type ", "mod "];

/// What is declared in this line, if anything: public?, its kind, its name.
fn declared(line: &str) -> Option<(bool, &'static str, &str)> {
    let bare = line.trim_start();
    let (public, bare) = match bare.strip_prefix("pub ") {
        Some(rest) => (true, rest),
        None if bare.starts_with("pub(") => (false, bare.split_once(") ")?.1),
        None => (false, bare),
    };
    let kind = KINDS.into_iter().find(|kind| bare.starts_with(kind))?;
    let name = bare[kind.len()..].split(|c: char| !c.is_alphanumeric() && c != '_');
    name.into_iter().next().map(|name| (public, kind, name))
}

#[test]
fn names_that_were_given_up_stay_away() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.path.starts_with("src/")) {
        let mut at = 0;
        for line in source.code.split_inclusive('\n') {
            if let Some((_, _, name)) = declared(line)
                && let Some((_, instead)) = RETIRED.iter().find(|(retired, _)| *retired == name)
            {
                let line = line_of(&source.code, at);
                faults.push(format!("{}:{line}: {name}: say {instead}", source.path));
            }
            at += line.len();
        }
    }
    none(faults, "a name that this field knows");
}

#[test]
fn a_public_name_stands_in_two_modules_at_most() {
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|s| s.path.starts_with("src/")) {
        let code = without_tests(&source.code);
        for (public, kind, name) in code.lines().filter_map(declared) {
            if public && kind != "mod " && !code_of_trait(kind, name) {
                modules
                    .entry(name.to_owned())
                    .or_default()
                    .insert(source.path.clone());
            }
        }
    }
    let mut faults = Vec::new();
    for (name, paths) in &modules {
        if paths.len() > 2 {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            faults.push(format!("{name}: {}", paths.join(", ")));
        }
    }
    none(
        faults,
        "a public name stands for one thing in the whole tree",
    );
}

/// `type Error` and the like belong to a foreign trait.
fn code_of_trait(kind: &str, name: &str) -> bool {
    kind == "type " && ["Error", "Item", "Output", "Future", "Rejection"].contains(&name)
}
