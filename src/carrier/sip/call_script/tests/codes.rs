//! Codes that are read: after a key only, and delivered when read whole.

use super::*;

#[test]
fn any_key_has_the_code_read_once() {
    for keys in ["0", "#", "*", "A", "00", "12#", "0#"] {
        let mut line = SimulatedLine::new(|_| {}, code());
        for (i, sign) in keys.chars().enumerate() {
            line.press(7.0 + i as f32 * 0.2, sign);
        }
        let line = line.end();
        assert_eq!(line.ending(), (Ending::CodeRead, keys));
        assert_eq!(line.said().len(), 4, "{keys}: {:?}", line.said());
    }
}

#[test]
fn a_code_is_read_twice_after_a_key_and_delivered_after_once() {
    let mut line = SimulatedLine::new(|_| {}, code());
    line.press(7.0, '5');
    assert!(line.outcome.is_none(), "a key alone is no delivery");
    let line = line.end();
    assert_eq!(line.ending(), (Ending::CodeRead, "5"));
    let digits = [
        "digit-4", "digit-0", "digit-7", "digit-7", "digit-3", "digit-1",
    ];
    let first: Vec<&str> = ["code-is"].into_iter().chain(digits).collect();
    let second: Vec<&str> = ["again"].into_iter().chain(first.iter().copied()).collect();
    assert_eq!(
        line.said(),
        [
            vec!["greeting", "code-intro"],
            first,
            second,
            vec!["goodbye"]
        ]
    );
    assert_eq!(line.outcome.as_ref().unwrap().0, line.heard[2].0);
}

#[test]
fn no_code_without_a_key() {
    let line = SimulatedLine::new(|_| {}, code()).end();
    assert_eq!(line.ending(), (Ending::NoKeypress, ""));
    assert!(
        !line
            .said()
            .concat()
            .iter()
            .any(|word| word.starts_with("digit") || *word == "code-is")
    );
}

#[test]
fn hanging_up_within_the_first_reading_is_no_delivery() {
    let mut line = SimulatedLine::new(|_| {}, code());
    line.press(7.0, '5');
    line.until(9 * SECOND);
    line.give(Input::RemoteHangUp);
    line.give(Input::Key(Key::POUND));
    assert_eq!(line.ending(), (Ending::HungUp, "5"));
    assert!(line.talk.is_over() && line.hung_up.is_none());
}

#[test]
fn hanging_up_within_the_second_reading_is_delivery() {
    let mut line = SimulatedLine::new(|_| {}, code());
    line.press(7.0, '5');
    while line.heard.len() < 3 {
        let later = line.now - line.start + SECOND;
        line.until(later);
    }
    line.give(Input::RemoteHangUp);
    assert_eq!((line.outcomes, line.ending().0), (1, Ending::CodeRead));
}

#[test]
fn no_code_starts_after_the_deadline() {
    let mut line = SimulatedLine::new(
        |script| script.deadline = Instant::now() + 10 * SECOND,
        code(),
    );
    line.press(11.0, '5');
    let line = line.end();
    assert_eq!(line.ending(), (Ending::Cancelled, "5"));
    assert_eq!(
        line.said(),
        [vec!["greeting", "code-intro"], vec!["goodbye"]]
    );
    // One that has begun is finished, and not begun again.
    let mut line = SimulatedLine::new(
        |script| script.deadline = Instant::now() + 10 * SECOND,
        code(),
    );
    line.press(9.0, '5');
    let line = line.end();
    assert_eq!((line.ending().0, line.said().len()), (Ending::CodeRead, 3));
}

#[test]
fn what_is_printed_tells_no_code_and_no_digits() {
    let mut line = SimulatedLine::new(|_| {}, code());
    line.press(7.0, '5');
    let shown = format!("{:?}", line.talk.script);
    assert!(!shown.contains("407731"), "{shown}");
    let output = ScriptOutput::Outcome {
        ending: Ending::CodeRead,
        digits: "98765".into(),
    };
    assert!(!format!("{output:?}").contains("98765"));
}
