//! The Grafana dashboard (`compose/grafana`) against the code: each metric is written with the labels that it is asked by,
//! and can be looked at by carrier and country where it has such a label.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{Words, below, read};

/// The labels of each metric, as the program writes it.
fn written() -> BTreeMap<String, Words> {
    let mut found: BTreeMap<String, Words> = BTreeMap::new();
    for file in below("src", ".rs") {
        let text = fs::read_to_string(file).expect("UTF-8");
        for call in ["counter!(", "gauge!(", "histogram!("] {
            for (at, _) in text.match_indices(call) {
                let rest = text[at + call.len()..].trim_start();
                let Some((name, rest)) = rest.strip_prefix('"').and_then(|r| r.split_once('"'))
                else {
                    continue;
                };
                // What is recorded follows the labels: `.set(`, `.increment(`, `.record(`, or the call's end.
                let labels = rest.split([';']).next().unwrap_or("");
                let labels = labels
                    .split("=>")
                    .map(|part| part.rsplit('"').nth(1).unwrap_or(""));
                let labels: Vec<&str> = labels.collect();
                let known = found.entry(name.to_owned()).or_default();
                let named = &labels[..labels.len().saturating_sub(1)];
                known.extend(named.iter().map(|label| (*label).to_owned()));
            }
        }
    }
    found
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The metrics of an expression of PromQL, each with the labels that it is chosen by.
fn asked(expression: &str) -> Vec<(String, Words)> {
    let mut found = Vec::new();
    for (at, _) in expression.match_indices("ringback_") {
        let name = word(&expression[at..]);
        let choice = expression[at + name.len()..].strip_prefix('{');
        let choice = choice.and_then(|c| c.split('}').next()).unwrap_or("");
        let labels = choice.split(',').filter_map(|one| one.split('=').next());
        let labels = labels.map(|label| label.trim_end_matches('!').trim());
        let labels = labels.filter(|label| !label.is_empty());
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        found.push((name.to_owned(), labels.map(str::to_owned).collect()));
    }
    found
}

/// The labels that an expression sums by, and those of its legend.
fn shown(expression: &str, legend: &str) -> Words {
    let by = expression
        .split("by (")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let by = by.flat_map(|labels| labels.split(',')).map(str::trim);
    let legend = legend
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split("}}").next());
    by.chain(legend)
        .filter(|label| *label != "le")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_asks_for_what_is_written() {
    let written = written();
    assert_eq!(
        written["ringback_attempts_total"],
        crate::words(["carrier", "sender", "country", "outcome"])
    );
    let dashboard: Value =
        serde_json::from_str(&read("compose/grafana/dashboards/ringback.json")).expect("JSON");
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let names: Vec<&str> = variables
        .iter()
        .filter_map(|v| v["name"].as_str())
        .collect();
    assert_eq!(names, ["carrier", "country"]);
    for (variable, name) in variables.iter().zip(names) {
        let query = variable["query"]["query"].as_str().expect("a query");
        for (metric, _) in asked(query) {
            assert!(written[&metric].contains(name), "{metric} has no {name}");
        }
    }
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut count = 0;
    for target in targets {
        let expression = target["expr"].as_str().expect("an expression");
        let legend = target["legendFormat"].as_str().unwrap_or("");
        let mut labels = Words::new();
        for (metric, chosen) in asked(expression) {
            let known = written
                .get(&metric)
                .unwrap_or_else(|| panic!("{metric} is written nowhere"));
            let unknown: Vec<_> = chosen.difference(known).collect();
            assert!(
                unknown.is_empty(),
                "{metric} has no {unknown:?}: {expression}"
            );
            for variable in ["carrier", "country"]
                .into_iter()
                .filter(|v| known.contains(*v))
            {
                let chooses = format!("{variable}=~\"${variable}\"");
                assert!(
                    expression.contains(&chooses),
                    "{expression} is not chosen by ${variable}"
                );
            }
            labels.extend(known.iter().cloned());
            count += 1;
        }
        let unknown = shown(expression, legend);
        let unknown: Vec<_> = unknown.difference(&labels).collect();
        assert!(
            unknown.is_empty() || !expression.contains("ringback_"),
            "{unknown:?}: {expression}"
        );
    }
    assert!(count >= 12, "only {count} metrics are asked for");
}
