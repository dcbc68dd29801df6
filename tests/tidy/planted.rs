//! The faults of `scripts/planted` still fit the source: else nobody would notice that one is planted no more.

use std::fs;

use crate::{none, source::root};

/// What a hunk takes for the present text: its context and what it takes away.
fn before(hunk: &str) -> String {
    let lines = hunk.lines().filter(|line| !line.starts_with('+'));
    lines
        .map(|line| format!("{}\n", line.get(1..).unwrap_or_default()))
        .collect()
}

#[test]
fn faults_that_are_planted_fit_the_source() {
    let mut faults = Vec::new();
    let folder = root().join("tests/planted");
    for entry in fs::read_dir(folder).expect("tests/planted") {
        let path = entry.expect("an entry").path();
        let patch = fs::read_to_string(&path).expect("a patch");
        let name = path.display();
        if patch
            .lines()
            .next()
            .is_none_or(|first| !first.ends_with('.'))
        {
            faults.push(format!(
                "{name}: it begins with a sentence that says what goes wrong"
            ));
        }
        for file in patch.split("\ndiff --git ").skip(1) {
            let source = file.lines().find_map(|line| line.strip_prefix("+++ b/"));
            let Some(source) = source else {
                faults.push(format!("{name}: it names no file"));
                continue;
            };
            let text = fs::read_to_string(root().join(source)).unwrap_or_default();
            for hunk in file.split("\n@@ ").skip(1) {
                let hunk = hunk.split_once('\n').map_or("", |(_, lines)| lines);
                if !text.contains(&before(hunk)) {
                    faults.push(format!("{name}: a part of it is not in {source} any more"));
                }
            }
        }
    }
    none(faults, "each planted fault fits the source");
}
