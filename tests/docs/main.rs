//! The handbook (`docs/`) against the code: what it lists is what there is, its links lead somewhere, and its examples are
//! taken by the product's own parsers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::CommandFactory;
use ringback::{
    cause::Cause,
    challenge::{Method, Millis},
    config::{Settings, carrier::TransportKind, reference::File},
    core::reasons,
    delivery::Event,
    intake::job::{JobKind, Properties, keys, parse},
    routing::plan::Why,
    schema::{Key, rows},
};

mod book;
mod compose;
mod dashboard;
mod log_lines;

type Words = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn chapters() -> Vec<(PathBuf, String)> {
    let folder = fs::read_dir(root().join("docs/src")).expect("docs/src");
    let mut found: Vec<PathBuf> = folder
        .map(|entry| entry.expect("an entry").path())
        .collect();
    found.sort();
    let text = |path: &PathBuf| fs::read_to_string(path).expect("UTF-8");
    found
        .into_iter()
        .map(|path| (path.clone(), text(&path)))
        .collect()
}

/// All files below with this ending.
fn below(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// The lines under a heading (`## Metrics`), up to the next one of its rank or above.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = format!("{heading}\n");
    let (_, rest) = text
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {heading}"));
    let rank = heading.bytes().take_while(|b| *b == b'#').count();
    let ends = (1..=rank).filter_map(|n| rest.find(&format!("\n{} ", "#".repeat(n))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// The words in backticks of a text.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The words in backticks in the first cells of a section's tables.
fn first_cells(section: &str) -> Words {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| format!("`{}", row.split(" | ").next().unwrap_or(row)));
    cells
        .flat_map(|cell| ticked(&cell).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn words<'a>(list: impl IntoIterator<Item = &'a str>) -> Words {
    list.into_iter().map(str::to_owned).collect()
}

/// What `name` of this enum gives, by its source: it is not public.
fn names(path: &str, block: &str) -> Words {
    let text = read(path);
    let (_, rest) = text
        .split_once(block)
        .unwrap_or_else(|| panic!("{path}: no {block}"));
    let (_, rest) = rest.split_once("fn name(").expect("it has names");
    let body = rest.split("\n    }\n").next().unwrap_or(rest);
    words(
        body.lines()
            .filter_map(|line| line.split("=> \"").nth(1)?.strip_suffix("\",")),
    )
}

#[track_caller]
fn same(handbook: &Words, code: &Words) {
    let missing: Vec<_> = code.difference(handbook).collect();
    let invented: Vec<_> = handbook.difference(code).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in the handbook: {missing:?}; not in the code: {invented:?}"
    );
}

/// Every `ringback_...` in a text, histograms by their own name.
fn metrics_in(text: &str) -> Words {
    let tail = |rest: &str| {
        let word = rest
            .bytes()
            .take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
        let name = format!("ringback_{}", &rest[..word.count()]);
        name.strip_suffix("_bucket")
            .map_or(name.clone(), str::to_owned)
    };
    text.split("ringback_")
        .skip(1)
        .map(tail)
        .filter(|name| name != "ringback_")
        .collect()
}

#[test]
fn every_metric_is_told_and_none_is_invented() {
    let mut code = Words::new();
    for file in below("src", ".rs") {
        let text = fs::read_to_string(file).expect("UTF-8");
        // Only whole literals: "ringback_{name}" is made of names that stand elsewhere.
        for literal in text.split("\"ringback_").skip(1) {
            let name = literal.split('"').next().unwrap_or("");
            if name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                code.insert(format!("ringback_{name}"));
            }
        }
    }
    let operating = read("docs/src/operating.md");
    let told = first_cells(section(&operating, "## Metrics"));
    let told: Words = told
        .into_iter()
        .filter(|name| !name.starts_with("process_"))
        .collect();
    same(&told, &code);
    let mut texts: Vec<String> = chapters().into_iter().map(|(_, text)| text).collect();
    texts.push(read("README.md"));
    texts.push(read("compose/alerts.yml"));
    texts.push(read("compose/grafana/dashboards/ringback.json"));
    for used in texts.iter().flat_map(|text| metrics_in(text)) {
        assert!(code.contains(&used), "{used} is no metric");
    }
}

#[test]
fn every_alert_is_told() {
    let rules = read("compose/alerts.yml");
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    same(
        &first_cells(section(&read("docs/src/operating.md"), "## Alert rules")),
        &words(alerts.iter().copied()),
    );
    let tests = read("compose/alerts_test.yml");
    for alert in alerts {
        let fires = format!("alertname=\"{alert}\"}}', value");
        assert!(tests.contains(&fires), "{alert} is seen to fire");
    }
    let promtool = Command::new("promtool")
        .args(["test", "rules", "compose/alerts_test.yml"])
        .current_dir(root())
        .output();
    match promtool {
        Ok(said) => assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        ),
        // Where there is no Prometheus, nothing more can be said of them; under scripts/test there is.
        Err(why) => assert!(
            std::env::var_os("RINGBACK_PEERS").is_none(),
            "promtool (Debian: prometheus): {why}"
        ),
    }
}

#[test]
fn every_event_reason_and_choice_is_told() {
    let chapter = read("docs/src/jobs-and-reports.md");
    let is_final = |event: &Event| match event {
        Event::Accepted
        | Event::Sent
        | Event::Ringing
        | Event::Answered
        | Event::AttemptFailed
        | Event::Fallback
        | Event::Late => false,
        Event::Final(_) => true,
    };
    let events: Vec<Event> = Event::all().collect();
    let told = section(&chapter, "### Events");
    same(
        &first_cells(told),
        &words(events.iter().map(|event| event.name())),
    );
    for event in events.iter().filter(|event| is_final(event)) {
        let row = format!("| `{}` | final: ", event.name());
        assert!(told.contains(&row), "{} is a final", event.name());
    }
    // A carrier's file may name any cause; a number of a job is told as it is.
    same(
        &first_cells(section(&chapter, "### Reasons")),
        &words(reasons()),
    );
    let configuration = read("docs/src/configuration.md");
    for cause in Cause::ALL {
        assert!(
            configuration.contains(&format!("`{}`", cause.name())),
            "{}",
            cause.name()
        );
    }
    let methods = chapter
        .lines()
        .filter(|line| line.starts_with("| `sms_") || line.starts_with("| `voice_"));
    let methods: Words = methods.flat_map(first_cells).collect();
    same(&methods, &words(Method::ALL.map(Method::name)));
    let routing = read("docs/src/routing.md");
    let why = section(&routing, "## Why")
        .split("Left out:")
        .next()
        .unwrap_or("");
    same(&first_cells(why), &words(Why::ALL.map(Why::name)));
    same(
        &first_cells(section(&routing, "## The health of a carrier")),
        &names("src/routing/health/types.rs", "impl Reason {"),
    );
}

#[test]
fn the_fields_of_jobs_are_told_as_they_are_described() {
    let head = "| field | default | values | what for |\n|---|---|---|---|\n";
    generated(
        "docs/src/jobs-and-reports.md",
        head,
        &[
            ("job", keys(JobKind::Challenge)),
            ("feedback", keys(JobKind::Feedback)),
        ],
    );
}

#[test]
fn every_member_of_a_report_is_told() {
    let document = ringback::contract::asyncapi();
    let schemas = document["components"]["schemas"].as_object();
    let mut schemas = schemas.expect("schemas").values();
    let report = schemas.find_map(|schema| {
        let members = schema["properties"].as_object()?;
        members.contains_key("report_id").then_some(members)
    });
    let report = report.expect("a schema of the report");
    let handbook = read("docs/src/jobs-and-reports.md");
    let (table, _) = section(&handbook, "## The report")
        .split_once("### ")
        .expect("the table stands before the events");
    same(
        &first_cells(table),
        &words(report.keys().map(String::as_str)),
    );
}

#[test]
fn every_verb_is_told_and_every_option_exists() {
    let command = ringback::cli::Cli::command();
    let operating = read("docs/src/operating.md");
    let verbs = section(&operating, "## Verbs");
    let told = first_cells(verbs)
        .into_iter()
        .map(|row| row.split(' ').nth(1).unwrap_or("").to_owned());
    same(
        &told.collect(),
        &command
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect(),
    );
    for (path, text) in chapters() {
        let lines = text
            .lines()
            .map(|line| line.trim_start_matches("$ ").trim_start_matches("| `"));
        for line in lines.filter(|line| line.starts_with("ringback ")) {
            let mut words = line.split_whitespace().skip(1);
            let mut next = || words.next().unwrap_or("").trim_matches('`');
            let verb = command.find_subcommand(next());
            let verb = verb.unwrap_or_else(|| panic!("{line}"));
            let verb = match verb.has_subcommands() {
                true => verb.find_subcommand(next()),
                false => Some(verb),
            };
            let verb = verb.unwrap_or_else(|| panic!("{line}"));
            let options = line.split_whitespace().filter_map(|word| {
                word.trim_matches(['`', ',', ';', ':', '.'])
                    .strip_prefix("--")
            });
            for option in options {
                let known = verb.get_arguments().any(|a| a.get_long() == Some(option));
                assert!(known, "{}: --{option} in: {line}", path.display());
            }
        }
    }
}

/// What an operator is told to look for is what the program says.
#[test]
fn lines_and_reasons_for_the_operator_are_the_programs_own() {
    let mut code = String::new();
    for file in below("src", ".rs") {
        let text = fs::read_to_string(file).expect("UTF-8");
        let mut parts = text.split("\\\n");
        code.push_str(parts.next().unwrap_or(""));
        parts.for_each(|part| code.push_str(part.trim_start()));
    }
    let operating = read("docs/src/operating.md");
    for heading in ["## /readyz", "## Log lines to act on"] {
        for told in first_cells(section(&operating, heading)) {
            for piece in told.trim_start_matches("N ").split("...") {
                assert!(
                    code.contains(piece.trim_end_matches(": ")),
                    "nobody says: {piece}"
                );
            }
        }
    }
}

/// The tables of keys stand between these marks.
const BEGIN: &str = "<!-- keys of ";
const END: &str = "<!-- end of keys -->";

/// What stands between the marks of a chapter must be what the descriptions give; `RINGBACK_WRITE_REFERENCE=1` writes it.
fn generated(chapter: &str, head: &str, tables: &[(&str, Vec<Key>)]) {
    let old = read(chapter);
    let mut parts = old.split(BEGIN);
    let mut new = parts.next().unwrap_or("").to_owned();
    let mut told = Vec::new();
    for part in parts {
        let (name, rest) = part.split_once(" -->").expect("a mark ends");
        let (_, rest) = rest.split_once(END).expect("a table ends");
        let keys = tables.iter().find(|(known, _)| *known == name);
        let (_, keys) = keys.unwrap_or_else(|| panic!("{name}: nothing is described so"));
        new += &format!("{BEGIN}{name} -->\n{head}{}{END}{rest}", rows(keys));
        told.push(name.to_owned());
    }
    same(
        &told.into_iter().collect(),
        &words(tables.iter().map(|(name, _)| *name)),
    );
    if std::env::var_os("RINGBACK_WRITE_REFERENCE").is_some() {
        fs::write(root().join(chapter), &new).expect("written");
    }
    assert!(
        new == read(chapter),
        "{chapter} is behind the descriptions: RINGBACK_WRITE_REFERENCE=1 cargo test --test docs"
    );
}

#[test]
fn the_keys_of_the_configuration_are_told_as_they_are_described() {
    let head = "| key | default | values | change | what for |\n|---|---|---|---|---|\n";
    generated(
        "docs/src/configuration.md",
        head,
        &[
            ("ringback.toml", File::Settings.keys()),
            ("routes/senders.toml", File::Senders.keys()),
            ("routes/COUNTRY.toml", File::Route.keys()),
            ("carriers", File::Carrier.keys()),
            ("carriers: smpp", TransportKind::Smpp.keys()),
            ("carriers: http", TransportKind::Http.keys()),
            ("carriers: sip", TransportKind::Sip.keys()),
        ],
    );
}

#[test]
fn schemas_name_what_must_be_there_and_refuse_what_nobody_knows() {
    let schema = |of: &str| -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
        let said = command.args(["schema", of]).output().expect("it starts");
        serde_json::from_slice(&said.stdout).expect("JSON")
    };
    let settings = schema("config");
    let drain = &settings["properties"]["node"]["properties"]["drain"];
    assert_eq!(
        (&drain["default"], &drain["x-change"]),
        (&"20s".into(), &"live".into())
    );
    assert_eq!(settings["additionalProperties"], false);
    let carriers = schema("carrier");
    let smpp = &carriers["oneOf"][0];
    assert_eq!(smpp["properties"]["transport"]["const"], "smpp");
    let required = smpp["required"].as_array().expect("a list");
    for key in ["transport", "endpoints", "system_id"] {
        assert!(
            required.iter().any(|known| known == key),
            "{key} in {required:?}"
        );
    }
    let line = &schema("route")["properties"]["sms"]["items"];
    assert_eq!(line["properties"]["weight"]["maximum"], 1_000_000);
    let job = schema("job");
    assert_eq!(job["required"], serde_json::json!(["id", "to", "method"]));
    assert_eq!(job["properties"]["lifetime_s"]["maximum"], 900);
    for of in ["cancel", "feedback"] {
        assert_eq!(schema(of)["properties"]["to"], serde_json::Value::Null);
    }
    assert!(schema("senders")["properties"]["sender"]["items"]["required"].is_array());
}

/// What `ringback schema` prints, held against other people's validators.
#[test]
fn schemas_and_documents_are_valid() {
    let python = std::env::var("RINGBACK_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python)
        .args(["-c", "import asyncapi3, openapi_spec_validator"])
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("RINGBACK_PEERS").is_none(),
            "{python} has no asyncapi3 and openapi_spec_validator"
        );
        return;
    }
    for of in [
        "openapi", "asyncapi", "config", "carrier", "route", "senders", "job", "cancel", "feedback",
    ] {
        let mut printed = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(["schema", of])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let kind = match of {
            "openapi" | "asyncapi" => of,
            _ => "schema",
        };
        let said = Command::new(&python)
            .arg(root().join("tests/peers/documents/check.py"))
            .arg(kind)
            .stdin(printed.stdout.take().expect("piped"))
            .output()
            .expect("python starts");
        assert!(printed.wait().expect("it ends").success());
        assert!(
            said.status.success(),
            "{of}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

/// A configuration of its own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("ringback-docs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let folder = Folder(path);
        folder.put("ringback.toml", "");
        folder.put("routes/senders.toml", "");
        fs::create_dir_all(folder.0.join("carriers")).expect("a folder");
        let prompts = root().join("prompts");
        std::os::unix::fs::symlink(prompts, folder.0.join("prompts")).expect("a link");
        folder
    }

    /// With the shipped routes and carriers.
    fn shipped(name: &str) -> Folder {
        let folder = Folder::new(name);
        for kind in ["routes", "carriers"] {
            for file in below(kind, ".toml") {
                let name = file
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                folder.put(
                    &format!("{kind}/{name}"),
                    &fs::read_to_string(&file).expect("UTF-8"),
                );
            }
        }
        folder
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    /// `ringback check`, with every secret that the chapter names.
    fn check(&self, example: &str, chapter: &str) {
        let mut check = Command::new(env!("CARGO_BIN_EXE_ringback"));
        check
            .args(["check", "--allow-empty", "--config"])
            .arg(self.0.join("ringback.toml"))
            .stdin(Stdio::null());
        for name in chapter.split("env = \"").skip(1) {
            check.env(name.split('"').next().unwrap_or(""), "0".repeat(64));
        }
        let said = check.output().expect("it starts");
        let text = String::from_utf8_lossy(&said.stderr).into_owned()
            + &String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{text}\nin\n{example}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The blocks of a chapter that are opened like this.
fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let open = format!("```{kind}\n");
    let blocks = text.split(&open).skip(1);
    blocks
        .map(|rest| rest.split("\n```").next().unwrap_or(rest))
        .collect()
}

#[test]
fn examples_of_the_configuration_are_taken() {
    let mut count = 0;
    for (path, text) in chapters() {
        let name = |block: &str| {
            block
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("# "))
                .map(str::to_owned)
        };
        let blocks: Vec<(String, &str)> = blocks(&text, "toml")
            .into_iter()
            .map(|b| (name(b).unwrap_or_else(|| panic!("unnamed: {b}")), b))
            .collect();
        let own = blocks.iter().any(|(name, _)| name == "routes/senders.toml");
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let folder = if own {
            Folder::new(&stem)
        } else {
            Folder::shipped(&stem)
        };
        // A route names carriers that may stand further down.
        for (name, block) in blocks
            .iter()
            .filter(|(name, _)| name.starts_with("carriers/") || name.ends_with("senders.toml"))
        {
            folder.put(name, block);
        }
        for (name, block) in &blocks {
            folder.put(name, block);
            folder.check(block, &text);
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} examples were found");
}

#[test]
fn examples_of_jobs_are_taken() {
    let jobs = Settings::default().jobs;
    let mut count = 0;
    for (path, text) in chapters() {
        for (name, kind) in [
            ("job", JobKind::Challenge),
            ("cancel", JobKind::Cancel),
            ("feedback", JobKind::Feedback),
        ] {
            for block in blocks(&text, &format!("json,{name}")) {
                let read = parse(kind, block.as_bytes(), Properties::http(), Millis(0), &jobs);
                let faults = read.err().map(|bad| bad.faults);
                assert_eq!(faults, None, "{}: {block}", path.display());
                count += 1;
            }
        }
        assert!(
            !text.contains("```json\n"),
            "{}: a block of JSON says what it is: json,job",
            path.display()
        );
    }
    assert!(count >= 4, "only {count} examples were found");
}
