//! The record's own tests.

use super::*;

fn text(to: &str, body: &str) -> Entry {
    Entry::Text(Text {
        to: to.into(),
        text: body.into(),
        parts: 1,
        answered: true,
        ..Text::default()
    })
}

#[test]
fn lines_are_json_that_tests_from_outside_can_read() {
    let record = Record::new();
    let carrier: Arc<str> = "northwind".into();
    let seq = record.push(&carrier, text("+12025550123", "Your code is 482913"));
    record.receipt(seq, "DELIVRD");
    record.push(
        &carrier,
        Entry::Call(Call {
            to: "+12025550124".into(),
            ..Call::default()
        }),
    );
    let json: Vec<serde_json::Value> = record
        .lines()
        .iter()
        .map(|line| serde_json::to_value(line).unwrap())
        .collect();
    assert_eq!(json[0]["kind"], "text");
    assert_eq!(json[0]["carrier"], "northwind");
    assert_eq!(json[0]["text"], "Your code is 482913");
    assert_eq!(json[0]["receipts"][0], "DELIVRD");
    assert_eq!(json[0]["result"], "read");
    assert!(json[0]["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json[1]["kind"], "call");
    assert_eq!(json[1]["result"], "no_answer");
    assert!(serde_json::to_string(&record.summary()).is_ok());
}

#[test]
fn a_full_record_forgets_the_oldest_and_says_so() {
    let record = Record::with_limit(2);
    let carrier: Arc<str> = "c".into();
    for n in 0..5 {
        record.push(&carrier, text(&format!("+1202555012{n}"), "1234"));
    }
    assert_eq!(
        record
            .lines()
            .iter()
            .map(|line| line.seq)
            .collect::<Vec<_>>(),
        [4, 5]
    );
    assert_eq!(record.summary().forgotten, 3);
    assert_eq!(record.summary().texts, 5);
    record.receipt(1, "DELIVRD");
    record.receipt(5, "DELIVRD");
    assert_eq!(record.texts_to("12025550124")[0].receipts, ["DELIVRD"]);
    assert_eq!(record.summary().receipts["DELIVRD"], 2);
}

#[test]
fn a_load_run_keeps_codes_and_counts_only() {
    let record = Record::counters_only();
    let carrier: Arc<str> = "c".into();
    record.push(&carrier, text("+12025550123", "482913 is your code"));
    record.push(&carrier, text("+12025550123", "482913 is your code"));
    record.push(
        &carrier,
        text("+12025550123", "Code: 1111, valid 3 minutes"),
    );
    assert!(record.lines().is_empty());
    assert_eq!(record.codes_to("+1 202 555 0123"), ["482913", "1111"]);
    assert_eq!(record.summary().repeated_codes, 1);
    assert_eq!(record.summary().numbers, 1);
}

#[tokio::test]
async fn waiting_sees_the_past_and_the_future() {
    let record = Record::new();
    let carrier: Arc<str> = "c".into();
    record.push(&carrier, text("+1", "past"));
    let long = Duration::from_secs(10);
    assert!(
        record
            .wait_for(long, |line| line.entry.to() == "+1")
            .await
            .is_some()
    );
    let (line, ()) = tokio::join!(
        record.wait_for(long, |line| line.entry.to() == "+2"),
        async {
            tokio::task::yield_now().await;
            record.push(&carrier, text("+2", "future"));
        }
    );
    assert_eq!(line.unwrap().seq, 2);
    assert!(
        record
            .wait_until(Duration::from_millis(1), |sum| sum.texts > 2)
            .await
            .is_none()
    );
    record.clear();
    assert_eq!(record.summary(), Summary::default());
}
