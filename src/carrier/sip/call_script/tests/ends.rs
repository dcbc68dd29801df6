//! How a call ends, whoever ends it.

use super::*;

#[test]
fn the_cap_ends_everything() {
    let line = SimulatedLine::new(|script| script.call = 20 * SECOND, Prompt::Confirm).end();
    assert_eq!(
        (line.ending().0, line.hung_up),
        (Ending::NoKeypress, Some(20 * SECOND))
    );
    let mut line = SimulatedLine::new(|script| script.call = 10 * SECOND, code());
    line.press(8.0, '1');
    let line = line.end();
    assert_eq!(
        (line.ending().0, line.hung_up),
        (Ending::Cancelled, Some(10 * SECOND))
    );
}

#[test]
fn a_play_that_never_ends_is_ended_by_the_cap() {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.playing = None;
    assert_eq!(line.end().hung_up, Some(90 * SECOND));
}

#[test]
fn an_extension_is_dialled_first_and_its_echo_is_no_answer() {
    let keys = ['1', '2', '#'].map(|sign| Key::from_char(sign).unwrap());
    for ask in [Prompt::Confirm, code()] {
        let mut line = SimulatedLine::new(|script| script.extension = keys.to_vec(), ask);
        line.press(1.8, '#');
        line.press(2.2, '1');
        assert_eq!(line.said(), [vec!["key", "key", "key"]]);
        line.until(6 * SECOND);
        assert_eq!(line.said()[1][0], "greeting");
        assert!(line.outcome.is_none());
    }
}

#[test]
fn a_cancelled_call_is_hung_up_and_a_settled_one_stays_settled() {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.until(3 * SECOND);
    line.give(Input::Cancel);
    assert_eq!(
        (line.ending().0, line.hung_up),
        (Ending::Cancelled, Some(3 * SECOND))
    );
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.press(3.0, '#');
    line.give(Input::Cancel);
    assert_eq!(
        (line.outcomes, line.ending().0, line.hung_up),
        (1, Ending::Confirmed, Some(3 * SECOND))
    );
}

#[test]
fn hanging_up_at_the_very_cap_needs_no_bye() {
    let mut line = SimulatedLine::new(|script| script.call = 5 * SECOND, Prompt::Confirm);
    line.now = line.start + 6 * SECOND;
    line.give(Input::RemoteHangUp);
    assert_eq!(
        (line.outcomes, line.ending().0, line.hung_up),
        (1, Ending::HungUp, None)
    );
}

#[test]
fn nothing_is_said_before_the_answer() {
    let mut talk = CallScript::new(script(code(), Instant::now()));
    for input in [
        Input::Key(Key::POUND),
        Input::PlayDone(0),
        Input::PlayDone(1),
        Input::Tick,
    ] {
        talk.handle(Instant::now(), input);
    }
    assert!(talk.poll().is_none() && talk.deadline().is_none());
    talk.handle(Instant::now(), Input::RemoteHangUp);
    assert!(talk.poll().is_none() && talk.is_over());
}
