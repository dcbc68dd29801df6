//! The verbs that only look: `number`, `text` and `receipt`, run as a person runs them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs the binary with `lines` on its standard input.
fn ringback(arguments: &[&str], lines: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("it reads all");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn objects(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect()
}

#[test]
fn number_answers_every_line() {
    let lines = "+12025550123\n\"+46 70-123 45 67\"\n\n070-123 45 67\n911\n";
    let output = ringback(&["number", "-", "--region", "SE", "--json"], lines);
    assert_eq!(output.status.code(), Some(0));
    let rows = objects(&output);
    let e164: Vec<&Value> = rows.iter().map(|row| &row["e164"]).collect();
    assert_eq!(
        e164,
        [
            &json!("+12025550123"),
            &json!("+46701234567"),
            &Value::Null,
            &json!("+46701234567"),
            &json!("+46911")
        ]
    );
    assert_eq!(rows[0]["country"], "US");
    assert_eq!(rows[1]["input"], "+46 70-123 45 67");
    assert_eq!(rows[1]["type"], "mobile");
    assert_eq!(
        (&rows[2]["ok"], &rows[2]["error"]),
        (&json!(false), &json!("not_a_number"))
    );
    assert_eq!(rows[4]["refused"], "number_type");
    for key in [
        "input",
        "ok",
        "error",
        "e164",
        "country",
        "type",
        "valid",
        "possible",
        "extension",
        "refused",
    ] {
        assert!(rows.iter().all(|row| row.get(key).is_some()), "{key}");
    }
}

#[test]
fn number_says_what_is_wrong_with_a_region() {
    let output = ringback(&["number", "070", "--region", "SWE"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("two letters"));
}

#[test]
fn text_measures_arguments_and_lines() {
    let output = ringback(&["text", "--json", "hello", "-"], "\"a\\nb\"\nя\n");
    assert_eq!(output.status.code(), Some(0));
    let gsm = |units: u32| json!({ "encoding": "gsm7", "units": units, "segments": 1, "units_per_segment": [units] });
    let ucs2 = json!({ "encoding": "ucs2", "units": 1, "segments": 1, "units_per_segment": [1] });
    assert_eq!(objects(&output), [gsm(5), gsm(3), ucs2]);
}

#[test]
fn receipt_reads_all_shapes_of_tlvs() {
    let message = hex::encode("id:1 stat:ENROUTE");
    let shapes = [
        json!({ "0x001e": "616263", "0x0427": "02" }),
        json!({ "30": "61626300", "1063": "02" }),
        json!({ "receipted_message_id": "616263", "message_state": 2 }),
        json!([{ "tag": 30, "value_hex": "616263" }, { "tag": "0x427", "value_hex": "02" }]),
        json!([[30, "616263"], ["message_state", "02"]]),
    ];
    let line = |tlvs: &Value| {
        json!({ "short_message_hex": message, "esm_class": 4, "data_coding": 0, "tlvs": tlvs })
            .to_string()
    };
    let lines: Vec<String> = shapes.iter().map(line).collect();
    let output = ringback(&["receipt", "-", "--json"], &lines.join("\n"));
    assert_eq!(output.status.code(), Some(0));
    let rows = objects(&output);
    assert_eq!(rows.len(), shapes.len());
    for row in rows {
        assert_eq!(
            (&row["kind"], &row["id"], &row["state"]),
            (&json!("receipt"), &json!("abc"), &json!("delivered"))
        );
        assert_eq!(
            (&row["stat"], &row["done"]),
            (&json!("ENROUTE"), &Value::Null)
        );
    }
}

#[test]
fn a_bad_receipt_line_spoils_no_other() {
    let good = json!({ "short_message_hex": hex::encode("id:1 stat:DELIVRD"), "esm_class": 4 });
    let lines =
        format!("not json\n{{\"short_message_hex\":\"0g\"}}\n{{\"esm_class\":256}}\n[]\n{good}\n");
    let output = ringback(&["receipt", "-", "--json"], &lines);
    assert_eq!(output.status.code(), Some(1));
    let rows = objects(&output);
    assert_eq!(rows.len(), 5);
    for (index, row) in rows[..4].iter().enumerate() {
        assert_eq!(row["line"], index + 1);
        assert!(
            row["error"].as_str().is_some_and(|error| !error.is_empty()),
            "{row}"
        );
    }
    assert_eq!(rows[4]["state"], "delivered");
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let output = ringback(&["completions", "bash"], "");
    let script = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && script.contains("simulate") && script.contains("--config"));
    let folder = std::env::temp_dir().join(format!("ringback-man-{}", std::process::id()));
    let output = ringback(&["man", &folder.display().to_string()], "");
    assert!(output.status.success());
    let page = std::fs::read_to_string(folder.join("ringback-run.1"));
    let whole = std::fs::read_to_string(folder.join("ringback.1"));
    let _ = std::fs::remove_dir_all(&folder);
    assert!(
        page.unwrap_or_default().contains("config") && whole.unwrap_or_default().contains("check")
    );
}
