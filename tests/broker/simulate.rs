//! `ringback simulate --amqp`: the whole sample through the broker, which is afterwards as it was before.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::rabbit;

pub const TESTS: &[super::Test] = &[
    ("simulate_goes_through_the_broker", through),
    ("simulate_without_a_broker_says_so", without),
];

fn simulate(address: &str) -> (Option<i32>, Vec<Value>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(["simulate", "--once", "--json", "--seed", "7", "--amqp"])
        .arg(address)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let rows = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), rows.collect(), errors)
}

fn through() {
    let address = rabbit::vhost("simulate");
    let list = |what: &str| rabbit::ctl(&["-q", what, "-p", "simulate", "name"]);
    let before = list("list_exchanges");
    let (code, rows, errors) = simulate(&address);
    let wrong: Vec<&Value> = rows.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!(code, Some(0), "{wrong:#?}\n{errors}");
    let summary = rows.last().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["challenges"], rows.len() - 1);
    // What was told came through the broker: a job by HTTP has no queue to reply to.
    let cancelled = rows.iter().find(|row| row["event"] == "cancelled");
    assert!(cancelled.is_some(), "a cancel came through, too");
    assert!(!list("list_queues").contains("ringback"));
    assert_eq!(list("list_exchanges"), before);
}

fn without() {
    // Nobody listens there.
    let (code, rows, errors) = simulate("amqp://somebody:hush@127.0.0.1:1");
    assert_eq!((code, rows.len()), (Some(1), 0));
    assert!(errors.contains("the broker can't be used"), "{errors}");
    assert!(!errors.contains("hush"), "{errors}");
    let (code, _, errors) = simulate("http://somebody:hush@127.0.0.1");
    assert_eq!(code, Some(2), "{errors}");
    assert!(
        errors.contains("amqp://") && !errors.contains("hush"),
        "{errors}"
    );
}
