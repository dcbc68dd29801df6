//! Calls on hold: nothing said then counts as heard.

use super::*;

#[test]
fn what_a_hold_interrupts_is_said_again() {
    // Within the greeting, and while a key is awaited.
    for at in [1, 12] {
        let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
        line.until(at * SECOND);
        line.give(Input::Held);
        line.until(25 * SECOND);
        assert_eq!(line.said().len(), 1, "nothing is said on hold");
        line.give(Input::Unheld);
        line.press(27.0, '#');
        assert_eq!(line.ending().0, Ending::Confirmed);
        let asked = vec!["greeting", "confirm"];
        assert_eq!(line.end().said(), [asked.clone(), asked, vec!["approved"]]);
    }
}

#[test]
fn a_code_on_hold_is_not_delivered_and_is_read_again_from_its_beginning() {
    let held = |line: &mut SimulatedLine| {
        line.press(7.0, '5');
        line.until(10 * SECOND);
        line.give(Input::Held);
    };
    let mut line = SimulatedLine::new(|_| {}, code());
    held(&mut line);
    line.until(30 * SECOND);
    assert!(line.outcome.is_none());
    line.give(Input::Unheld);
    let line = line.end();
    assert_eq!(line.ending(), (Ending::CodeRead, "5"));
    let said = line.said();
    assert_eq!(said[1], said[2]);
    assert_eq!(said[3][0], "again");
    // Who never comes back has not heard it.
    let mut line = SimulatedLine::new(|_| {}, code());
    held(&mut line);
    let line = line.end();
    assert_eq!(line.ending(), (Ending::Cancelled, "5"));
    assert_eq!(line.hung_up, Some(10 * SECOND + MAX_HOLD));
    // Nor does one begin after the deadline.
    let mut line = SimulatedLine::new(
        |script| script.deadline = Instant::now() + 12 * SECOND,
        code(),
    );
    held(&mut line);
    line.until(15 * SECOND);
    line.give(Input::Unheld);
    assert_eq!(line.end().ending(), (Ending::Cancelled, "5"));
}

#[test]
fn keys_on_hold_approve_nothing() {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.until(9 * SECOND);
    line.give(Input::Held);
    line.press(10.0, '#');
    assert!(line.outcome.is_none());
    line.give(Input::Unheld);
    let mut reads = SimulatedLine::new(|_| {}, code());
    reads.give(Input::Held);
    reads.press(10.0, '#');
    reads.give(Input::Unheld);
    for line in [line.end(), reads.end()] {
        assert_eq!(line.ending(), (Ending::NoKeypress, "#"));
    }
}

#[test]
fn a_call_that_is_answered_on_hold_begins_when_it_is_heard() {
    let start = Instant::now();
    let mut talk = CallScript::new(script(Prompt::Confirm, start));
    talk.handle(start, Input::Held);
    talk.handle(start, Input::Answered);
    assert!(talk.poll().is_none());
    talk.handle(start + 5 * SECOND, Input::Unheld);
    assert!(
        matches!(talk.poll(), Some(ScriptOutput::Play { segments, .. }) if words(&segments)[0] == "greeting")
    );
}

#[test]
fn a_hold_in_the_goodbye_and_in_an_extension_is_waited_for() {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.press(9.0, '#');
    line.give(Input::Held);
    line.until(15 * SECOND);
    line.give(Input::Unheld);
    assert_eq!(line.end().said()[1..], [vec!["approved"], vec!["approved"]]);
    let mut line = SimulatedLine::new(|script| script.extension = vec![Key::STAR], Prompt::Confirm);
    line.until(SECOND);
    line.give(Input::Held);
    line.until(15 * SECOND);
    line.give(Input::Unheld);
    assert_eq!(
        line.end().said()[..3],
        [vec!["key"], vec!["key"], vec!["greeting", "confirm"]]
    );
}
