//! Verdicts: what the demonstration takes for right and for wrong.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use simulators::record::Text;

use super::*;
use crate::simulate::case::Expect;

fn case() -> Case {
    Case {
        title: "a text".to_owned(),
        id: "sim-1".into(),
        to: "+12025550123".to_owned(),
        method: "sms_code",
        fallback: None,
        locale: "en-US",
        code: Some("482913".to_owned()),
        text: None,
        lifetime: Duration::from_secs(60),
        expect: Expect::new("delivered", [Phone::Reads { parts: 1 }]),
    }
}

fn told(seq: u32, event: &str, last: bool) -> Told {
    Told {
        challenge: "sim-1".into(),
        seq,
        event: event.to_owned(),
        r#final: last,
        reason: Some(event.to_owned()),
        country: "US".to_owned(),
        attempts: vec![Try {
            attempt: 1,
            carrier: "northwind".to_owned(),
            sender: "97671".to_owned(),
            outcome: "delivered".to_owned(),
            ..Try::default()
        }],
        ..Told::default()
    }
}

fn story() -> Story {
    Story {
        reports: vec![told(1, "sent", false), told(2, "delivered", true)],
        bodies: Vec::new(),
    }
}

fn line(entry: Entry) -> Line {
    Line {
        seq: 1,
        at: SystemTime::UNIX_EPOCH,
        carrier: "northwind".into(),
        entry,
    }
}

fn text(from: &str, body: &str) -> Line {
    line(Entry::Text(Text {
        to: "12025550123".to_owned(),
        from: from.to_owned(),
        text: body.to_owned(),
        parts: 1,
        ..Text::default()
    }))
}

fn call(digits: &str, locale: &str) -> Line {
    line(Entry::Call(Call {
        to: "+12025550123".to_owned(),
        shown: "97671".to_owned(),
        result: CallResult::Answered,
        digits_heard: digits.to_owned(),
        locale: Some(locale.to_owned()),
        pressed: "#".to_owned(),
        ..Call::default()
    }))
}

fn judge(case: &Case, story: &Story, lines: &[Line]) -> Vec<String> {
    faults(case, story, lines, &Table::default())
}

#[test]
fn what_went_as_it_must_has_no_fault() {
    let good = [text("97671", "Your code is 482913.")];
    assert_eq!(judge(&case(), &story(), &good), Vec::<String>::new());
    let mut spoken = case();
    spoken.expect = Expect::new("delivered", [Phone::Hears]);
    let heard = [call("482913482913", "en-US")];
    assert_eq!(judge(&spoken, &story(), &heard), Vec::<String>::new());
}

#[test]
fn another_code_sender_or_language_is_a_fault() {
    let said = |lines: &[Line], case: &Case, word: &str| {
        let found = judge(case, &story(), lines);
        assert!(
            found.iter().any(|fault| fault.contains(word)),
            "{word}: {found:?}"
        );
    };
    said(
        &[text("97671", "Your code is 111111.")],
        &case(),
        "does not carry",
    );
    said(
        &[text("69829", "Your code is 482913.")],
        &case(),
        "the phone shows 69829",
    );
    said(&[], &case(), "at the phone: nothing");
    let twice = [text("97671", "482913"), text("97671", "482913")];
    said(&twice, &case(), "at the phone");
    let mut spoken = case();
    spoken.expect = Expect::new("delivered", [Phone::Hears]);
    said(&[call("482914", "en-US")], &spoken, "heard 482914");
    said(
        &[call("482913", "sv-SE")],
        &spoken,
        "expected the recordings of en-US",
    );
}

#[test]
fn another_end_is_a_fault() {
    let good = [text("97671", "Your code is 482913.")];
    let mut wrong = case();
    wrong.expect = Expect::new("undelivered", [Phone::Reads { parts: 1 }]).because("handset_off");
    let found = judge(&wrong, &story(), &good);
    assert_eq!(
        found,
        ["ended as delivered; expected undelivered (handset_off)"]
    );

    let mut other = case();
    other.expect.carriers = vec![Arc::from("tailspin")];
    assert_eq!(
        judge(&other, &story(), &good),
        ["went by northwind; expected tailspin"]
    );

    let mut twice = story();
    twice.reports.push(told(3, "delivered", true));
    assert_eq!(judge(&case(), &twice, &good), ["2 final reports"]);

    let mut open = story();
    open.reports.pop();
    assert_eq!(judge(&case(), &open, &good), ["0 final reports"]);
}
