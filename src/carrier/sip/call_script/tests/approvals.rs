//! Calls that ask for #: what approves, what does not, and what is said about it.

use super::*;

#[test]
fn pound_approves_and_a_goodbye_follows() {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.press(9.0, '#');
    assert_eq!(line.ending(), (Ending::Confirmed, "#"));
    assert_eq!(line.outcome.as_ref().unwrap().0, 9 * SECOND);
    assert_eq!(line.hung_up, None);
    let line = line.end();
    assert_eq!(line.said(), [vec!["greeting", "confirm"], vec!["approved"]]);
}

#[test]
fn pound_counts_while_the_prompt_is_still_playing() {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    line.press(0.5, '#');
    assert_eq!(line.ending().0, Ending::Confirmed);
}

#[test]
fn without_farewell_the_call_ends_at_once() {
    let mut line = SimulatedLine::new(|script| script.farewell = false, Prompt::Confirm);
    line.press(9.0, '#');
    assert_eq!(line.hung_up, Some(9 * SECOND));
    assert_eq!(line.end().said().len(), 1);
}

#[test]
fn silence_is_asked_three_times_and_is_no_approval() {
    let line = SimulatedLine::new(|_| {}, Prompt::Confirm).end();
    assert_eq!(line.ending(), (Ending::NoKeypress, ""));
    let asked = [
        vec!["greeting", "confirm"],
        vec!["again", "confirm"],
        vec!["again", "confirm"],
        vec!["no-key"],
    ];
    assert_eq!(line.said(), asked);
    // The wait runs from the prompt's end, not its start.
    let first = length(&[voice().say(Clip::Greeting), voice().say(Clip::Confirm)])
        + 2 * Duration::from_millis(300);
    assert_eq!(line.heard[1].0, first + 15 * SECOND);
}

/// Presses these keys at these times, in a call that asks for #.
fn confirm(keys: &[(f32, char)]) -> SimulatedLine {
    let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
    for (at, sign) in keys {
        line.press(*at, *sign);
    }
    line.end()
}

#[test]
fn only_a_lone_pound_approves() {
    let twelve = |last: f32| {
        let digits = (0..12).map(|i| (9.0 + i as f32 * 0.2, '4'));
        digits.chain([(last, '#')]).collect::<Vec<_>>()
    };
    let yes = Ending::Confirmed;
    let no = Ending::NoKeypress;
    for (keys, ending, digits) in [
        (vec![(9.0, '#')], yes, "#"),
        // Within the greeting, within the question, while waiting.
        (vec![(0.0, '#')], yes, "#"),
        (vec![(4.0, '#')], yes, "#"),
        (vec![(20.0, '#')], yes, "#"),
        // The first of two settles it.
        (vec![(9.0, '#'), (9.2, '#')], yes, "#"),
        // As one entry with other keys it is none.
        (vec![(9.0, '1'), (9.3, '#')], no, "1#"),
        (vec![(9.0, '1'), (10.4, '#')], no, "1#"),
        (vec![(9.0, '*'), (9.3, '#')], no, "*#"),
        (vec![(9.0, 'A'), (9.3, '#')], no, "A#"),
        (twelve(11.4), no, "444444444444#"),
        (
            vec![(9.0, '1'), (10.0, '2'), (11.0, '3'), (12.0, '#')],
            no,
            "123#",
        ),
        (vec![(9.0, '1'), (9.2, '#'), (9.4, '#')], no, "1##"),
        // Asked again, and then the right key.
        (vec![(9.0, '1'), (11.0, '#')], yes, "1#"),
        (vec![(9.0, '*'), (11.0, '#')], yes, "*#"),
        (twelve(14.0), yes, "444444444444#"),
        (vec![(9.0, '1'), (9.2, '#'), (12.0, '#')], yes, "1##"),
        (vec![(9.0, '1'), (14.0, '2'), (19.0, '#')], yes, "12#"),
        // Nothing undoes a 0.
        (vec![(9.0, '0')], no, "0"),
        (vec![(9.0, '0'), (9.3, '#')], no, "0#"),
        (vec![(9.0, '0'), (10.0, '#'), (11.0, '#')], no, "0##"),
        (vec![(9.0, '0'), (12.0, '#')], no, "0"),
        (vec![(9.0, '1'), (9.3, '0'), (14.0, '#')], no, "10"),
        (vec![(0.5, '0'), (14.0, '#')], no, "0"),
        // Three wrong entries are enough.
        (
            vec![(9.0, '1'), (14.0, '2'), (19.0, '3'), (24.0, '#')],
            no,
            "123",
        ),
    ] {
        let line = confirm(&keys);
        assert_eq!(line.ending(), (ending, digits), "{keys:?}");
        let approved = line.said().concat().contains(&"approved");
        assert_eq!(approved, ending == yes, "{keys:?}: {:?}", line.said());
    }
}

#[test]
fn a_wrong_key_is_said_to_be_wrong_and_the_question_put_again() {
    let asked = vec!["greeting", "confirm"];
    let again = vec!["wrong-key", "confirm"];
    assert_eq!(
        confirm(&[(9.0, '1'), (9.2, '2'), (9.4, '3'), (12.0, '#')]).said(),
        [asked.clone(), again.clone(), vec!["approved"]]
    );
    assert_eq!(
        confirm(&[(9.0, '0')]).said(),
        [asked.clone(), vec![], vec!["not-approved"]]
    );
    assert_eq!(
        confirm(&[(9.0, '1'), (14.0, '2'), (19.0, '3')]).said(),
        [asked, again.clone(), again, vec![], vec!["not-approved"]]
    );
}

#[test]
fn what_rules_an_approval_out_is_told_when_the_entry_is_over() {
    let line = confirm(&[(9.0, '0'), (10.0, '#')]);
    assert_eq!(line.outcome.as_ref().unwrap().0, 10 * SECOND + ENTRY);
    let line = SimulatedLine::new(|script| script.farewell = false, Prompt::Confirm);
    let mut line = line;
    line.press(9.0, '0');
    assert_eq!(line.end().hung_up, Some(9 * SECOND + ENTRY));
}

#[test]
fn wrong_keys_for_ever_end_the_call() {
    for apart in [0.2, 2.0] {
        let mut line = SimulatedLine::new(|_| {}, Prompt::Confirm);
        for i in 0..400 {
            line.press(1.0 + i as f32 * apart, '7');
        }
        let line = line.end();
        assert_eq!(line.ending().0, Ending::NoKeypress);
        assert!(line.ending().1.len() <= MAX_DIGITS);
        let said = line.said();
        let asked = said.iter().filter(|words| words.contains(&"confirm"));
        assert!(asked.count() <= usize::from(PROMPTS));
    }
}

#[test]
fn keys_are_told_in_order_whatever_the_ending() {
    let wrong = |change: fn(&mut Script)| {
        let mut line = SimulatedLine::new(change, Prompt::Confirm);
        line.press(5.0, '4');
        line.press(8.0, '5');
        line
    };
    let mut line = wrong(|_| {});
    line.give(Input::RemoteHangUp);
    assert_eq!(line.ending(), (Ending::HungUp, "45"));
    let mut line = wrong(|_| {});
    line.give(Input::Cancel);
    assert_eq!(line.ending(), (Ending::Cancelled, "45"));
    let line = wrong(|script| script.call = 10 * SECOND).end();
    assert_eq!(line.ending(), (Ending::NoKeypress, "45"));
    let line = wrong(|_| {}).end();
    assert_eq!(line.ending(), (Ending::NoKeypress, "45"));
    let mut line = wrong(|_| {});
    line.give(Input::Held);
    let line = line.end();
    assert_eq!(line.ending(), (Ending::NoKeypress, "45"));
    assert!(line.pressed.iter().map(|key| key.sign()).eq("45".chars()));
}

#[test]
fn an_approval_may_come_after_the_deadline_of_an_answered_call() {
    let mut line = SimulatedLine::new(
        |script| script.deadline = Instant::now() + 10 * SECOND,
        Prompt::Confirm,
    );
    line.press(20.0, '#');
    assert_eq!(line.ending().0, Ending::Confirmed);
}
