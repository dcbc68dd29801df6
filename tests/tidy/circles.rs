//! No circle inside a module: of the files and folders that stand side by side, none leads back to itself by imports.
//!
//! What a parent consists of is everybody's to name (`super::Core`), and a name that is passed on (`pub use`) counts for
//! the file in which it stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    none,
    source::{closing, sources},
};

type Path = Vec<String>;

/// A file of the library, and the paths that it names.
struct File {
    /// `pub use`: passed on.
    passed_on: Vec<Path>,
    named: Vec<Path>,
}

#[test]
fn no_circle_inside_a_module() {
    let files = files();
    let mut passed_on: BTreeMap<(Path, String), Path> = BTreeMap::new();
    for (module, file) in &files {
        for path in &file.passed_on {
            if let Some((target, Some(name))) = resolve(&files, module, path) {
                passed_on.insert((module.clone(), name), target);
            }
        }
    }
    let mut imports: BTreeMap<&Path, BTreeSet<Path>> = BTreeMap::new();
    for (module, file) in &files {
        for path in &file.named {
            let Some((mut target, name)) = resolve(&files, module, path) else {
                continue;
            };
            while let Some(further) = name
                .as_ref()
                .and_then(|name| passed_on.get(&(target.clone(), name.clone())))
                .filter(|further| **further != target)
            {
                target = further.clone();
            }
            imports.entry(module).or_default().insert(target);
        }
    }
    let parents: BTreeSet<Path> = files
        .keys()
        .flat_map(|module| (0..module.len()).map(|n| module[..n].to_vec()))
        .collect();
    let found = parents.iter().flat_map(|parent| circles(parent, &imports));
    none(found.collect(), "no circle inside a module");
}

/// The files of the library by module, tests left out.
fn files() -> BTreeMap<Path, File> {
    let of_tests = ["tests", "stories", "torture", "conformance"];
    let mut files = BTreeMap::new();
    for source in sources()
        .iter()
        .filter(|s| s.path.starts_with("src/") && !s.test)
    {
        let stem = source.path["src/".len()..].trim_end_matches(".rs");
        let module: Path = stem.split('/').map(str::to_owned).collect();
        let is_root = ["lib", "main"].contains(&stem);
        if is_root || module.iter().any(|part| of_tests.contains(&part.as_str())) {
            continue;
        }
        files.insert(module, read(&source.shipped));
    }
    files
}

fn read(code: &str) -> File {
    let mut file = File {
        passed_on: Vec::new(),
        named: Vec::new(),
    };
    for (at, _) in code.match_indices("use ") {
        let starts = code[..at].rfind(['\n', ';', '{', '}']).map_or(0, |n| n + 1);
        let before = code[starts..at].trim();
        let visible = before.starts_with("pub");
        if !(before.is_empty() || visible) {
            continue;
        }
        let Some(end) = code[at..].find(';') else {
            continue;
        };
        let mut paths = Vec::new();
        tree(&[], &code[at + "use ".len()..at + end], &mut paths);
        match visible {
            true => file.passed_on.extend(paths),
            false => file.named.extend(paths),
        }
    }
    for start in ["super::", "crate::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let inside_word =
                code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if !inside_word {
                let path: String = code[at..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                    .collect();
                file.named.push(parts(&path));
            }
        }
    }
    file
}

/// The single paths of a `use` tree.
fn tree(before: &[String], text: &str, paths: &mut Vec<Path>) {
    let text = text.trim();
    let group = text.find('{');
    let mut path = before.to_vec();
    let Some(open) = group else {
        let name = text.split(" as ").next().unwrap_or_default();
        path.extend(parts(name));
        paths.push(path);
        return;
    };
    path.extend(parts(&text[..open]));
    let inner = &text[open + 1..closing(text, open) - 1];
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[from..at].trim().is_empty() {
                    tree(&path, &inner[from..at], paths);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

fn parts(path: &str) -> Path {
    let parts = path.split("::").map(str::trim);
    parts.filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// The module that a path of this module leads to, and the first name in it.
fn resolve(
    files: &BTreeMap<Path, File>,
    module: &Path,
    path: &[String],
) -> Option<(Path, Option<String>)> {
    let mut rest = path.iter().peekable();
    let mut at = match rest.peek()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.clone(),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            files.contains_key(&child).then(|| module.clone())?
        }
    };
    while let Some(part) = rest.peek() {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => {
                at.pop();
            }
            part => {
                let child = [at.as_slice(), &[part.to_owned()]].concat();
                if !files.contains_key(&child) {
                    break;
                }
                at = child;
            }
        }
        rest.next();
    }
    Some((at, rest.next().cloned()))
}

/// Those of a module's children that lead to each other, one line a knot.
fn circles(parent: &Path, imports: &BTreeMap<&Path, BTreeSet<Path>>) -> Vec<String> {
    let depth = parent.len();
    let child = |path: &Path| {
        let inside = path.len() > depth && path[..depth] == parent[..];
        inside.then(|| path[depth].clone())
    };
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, targets) in imports {
        let Some(from) = child(from) else { continue };
        let targets = targets.iter().filter_map(child).filter(|to| *to != from);
        edges.entry(from.clone()).or_default().extend(targets);
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> = edges
        .keys()
        .map(|from| (from, reach(&edges, from)))
        .collect();
    let mut knots = BTreeSet::new();
    for from in edges.keys() {
        let both = |to: &&&String| reached.get(**to).is_some_and(|back| back.contains(from));
        let knot: BTreeSet<&str> = reached[from]
            .iter()
            .filter(both)
            .map(|to| to.as_str())
            .collect();
        if knot.len() > 1 {
            let names: Vec<&str> = knot.into_iter().collect();
            knots.insert(format!("{}: {}", parent.join("::"), names.join(", ")));
        }
    }
    knots.into_iter().collect()
}

/// All that can be reached from here, itself only by a circle.
fn reach<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = edges.get(from).into_iter().flatten().collect();
    while let Some(one) = next.pop() {
        if found.insert(one) {
            next.extend(edges.get(one).into_iter().flatten());
        }
    }
    found
}
