//! What is shipped: a small program, and a Debian package whose files are all there.

use std::fs;

use toml::Value;

use crate::{
    none,
    source::{relative, root, walk},
};

fn manifest() -> toml::Table {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    text.parse().expect("TOML")
}

#[test]
fn the_program_is_shipped_small() {
    let release = &manifest()["profile"]["release"];
    assert_eq!(release.get("strip"), Some(&Value::Boolean(true)));
    assert_eq!(release.get("lto"), Some(&Value::String("thin".to_owned())));
}

fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|w| w.as_str().expect("a word")).collect()
}

/// Does any file of the project fit? Of a pattern the folder counts, and how the name ends.
fn there(source: &str) -> bool {
    let Some((before, _)) = source.split_once('*') else {
        return root().join(source).is_file();
    };
    let ending = source.rsplit('*').next().unwrap_or_default();
    let mut files = Vec::new();
    walk(&root().join(before), &mut files);
    files.iter().any(|file| relative(file).ends_with(ending))
}

/// Does `scripts/package` make it? By its lines: the program, manual pages, and completions of the shells that it names.
fn made(script: &str, name: &str) -> bool {
    match name.split_once('/') {
        None => script.contains(&format!("\"$out/{name}\"\n")),
        Some(("man", pages)) => {
            pages == "*.1.gz" && script.contains("gzip -9nf \"$out\"/man/*.1\n")
        }
        Some(("completions", file)) => {
            let shells = script.lines().find_map(|l| l.strip_prefix("for shell in "));
            let shells = shells.and_then(|line| line.strip_suffix("; do"));
            let mut shells = shells.unwrap_or_default().split(' ');
            shells.any(|shell| file == format!("ringback.{shell}"))
        }
        Some(_) => false,
    }
}

#[test]
fn the_debian_package_names_files_that_are_there() {
    let manifest = manifest();
    let deb = &manifest["package"]["metadata"]["deb"];
    let script = fs::read_to_string(root().join("scripts/package")).expect("scripts/package");
    let assets: Vec<Vec<&str>> = deb["assets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(words)
        .collect();
    let mut faults = Vec::new();
    for asset in &assets {
        let source = asset[0];
        let good = match source.strip_prefix("target/package/") {
            Some(name) => made(&script, name),
            None => there(source),
        };
        if !good {
            faults.push(format!("{source}: nobody makes it"));
        }
    }
    for file in words(&deb["conf-files"]) {
        if !assets.iter().any(|asset| format!("/{}", asset[1]) == file) {
            faults.push(format!("{file}: a conf-file that is not in the package"));
        }
    }
    let scripts = deb["maintainer-scripts"].as_str().expect("a folder");
    if !there(&format!("{scripts}postinst")) {
        faults.push(format!("{scripts}postinst: it makes the service's user"));
    }
    none(faults, "the package is made of files that there are");
}
