//! `ringback simulate`, run as a newcomer runs it: what phones saw and heard is asserted on, not only what it says
//! of itself.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringback"))
        .arg("simulate")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

fn objects(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect()
}

fn find<'a>(rows: &'a [Value], title: &str) -> &'a Value {
    rows.iter()
        .find(|row| row["title"] == title)
        .unwrap_or_else(|| panic!("no case {title}"))
}

#[test]
fn the_sample_comes_out_as_it_must() {
    let output = simulate(&["--once", "--json", "--seed", "7"]);
    let rows = objects(&output);
    let wrong: Vec<&Value> = rows
        .iter()
        .filter(|row| row["ok"] == json!(false))
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{wrong:#?}\n{errors}");
    let summary = rows.last().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["seed"], 7);
    assert_eq!(summary["wrong"], 0);
    assert_eq!(summary["challenges"], rows.len() - 1);
    assert!(summary["seconds"].as_f64().expect("seconds") < 60.0);

    for title in [
        "text over SMPP",
        "text over HTTP",
        "text in Swedish",
        "two parts, UCS-2",
    ] {
        let row = find(&rows, title);
        let code = row["code"].as_str().expect("a code");
        let texts = row["phone"].as_array().expect("lines");
        assert_eq!(texts.len(), 1, "{row:#}");
        assert!(
            texts[0]["text"].as_str().expect("a text").contains(code),
            "{row:#}"
        );
    }
    assert_eq!(
        find(&rows, "two parts, UCS-2")["phone"][0]["encoding"],
        "ucs2"
    );
    let canada = find(&rows, "short code of Canada");
    assert!(["759731", "673801"].contains(&canada["phone"][0]["from"].as_str().expect("a sender")));

    for (title, locale) in [
        ("code read, French", "fr-CA"),
        ("code read, German", "de-DE"),
    ] {
        let row = find(&rows, title);
        let call = &row["phone"][0];
        let heard = call["digits_heard"].as_str().expect("digits");
        assert!(
            heard.starts_with(row["code"].as_str().expect("a code")),
            "{row:#}"
        );
        assert_eq!(call["locale"], locale);
        assert!(
            call["shown"]
                .as_str()
                .expect("a caller ID")
                .starts_with('+')
        );
    }

    let hedged = find(&rows, "session lost, hedged");
    let attempts = hedged["reports"]
        .as_array()
        .expect("reports")
        .last()
        .expect("a final")["attempts"]
        .clone();
    assert_eq!(
        (&attempts[0]["in_doubt"], &attempts[1]["hedge"]),
        (&json!(true), &json!(true))
    );
    let falls = find(&rows, "text fails, call follows");
    assert_eq!(falls["phone"][0]["result"], "unread");
    assert_eq!(
        falls["phone"][1]["digits_heard"].as_str().map(|d| &d[..6]),
        falls["code"].as_str()
    );
    assert_eq!(
        find(&rows, "asks 6 times in five minutes")["phone"],
        json!([])
    );
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn load_loses_nothing() {
    let output = simulate(&[
        "--rate",
        "50",
        "--duration",
        "3",
        "--texts",
        "100",
        "--json",
        "--seed",
        "9",
    ]);
    let rows = objects(&output);
    let load = rows.last().expect("totals");
    assert_eq!(output.status.code(), Some(0), "{load:#}");
    assert_eq!(
        (&load["lost"], &load["repeated"], &load["wrong_codes"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert!(load["asked"].as_u64().expect("a count") >= 140, "{load:#}");
    assert_eq!(load["finals"]["delivered"], load["asked"]);
}

#[test]
fn a_usage_fault_is_a_usage_fault() {
    for wrong in [
        &["--rate", "0"][..],
        &["--scenario", "sunshine"],
        &["--duration", "5"],
    ] {
        assert_eq!(simulate(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
