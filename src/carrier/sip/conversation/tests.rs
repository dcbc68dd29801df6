//! Conversations in made-up time: what is said when, and how each of them ends.

use super::*;
use crate::{message::speech::Catalogue, protocol::rtp::Codec};
use proptest::prelude::*;
use std::{path::Path, sync::OnceLock};

const SECOND: Duration = Duration::from_secs(1);

fn voice() -> Arc<Voice> {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    let load = || Catalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts")).unwrap();
    CATALOGUE.get_or_init(load).best("en-US").clone()
}

fn script(ask: Ask, start: Instant) -> Script {
    Script {
        ask,
        voice: voice(),
        extension: Vec::new(),
        key_wait: 15 * SECOND,
        call: 90 * SECOND,
        deadline: start + 180 * SECOND,
        farewell: true,
    }
}

fn code() -> Ask {
    Ask::Code(Code::new("407731"))
}

/// What a play says, clip by clip; keys as `key`.
fn words(segments: &[Segment]) -> Vec<&'static str> {
    let voice = voice();
    let word = |segment: &Segment| match segment {
        Segment::Silence(_) => None,
        Segment::Key(_) => Some("key"),
        Segment::Sound(sound) => {
            let same = |clip: &Clip| match voice.say(*clip) {
                Segment::Sound(own) => own.octets(Codec::Pcmu) == sound.octets(Codec::Pcmu),
                _ => false,
            };
            Clip::ALL
                .into_iter()
                .find(|clip| same(clip))
                .map(Clip::name)
        }
    };
    segments.iter().filter_map(word).collect()
}

fn length(segments: &[Segment]) -> Duration {
    let one = |segment: &Segment| match segment {
        Segment::Silence(time) => *time,
        Segment::Sound(sound) => sound.duration(),
        Segment::Key(_) => Duration::from_millis(260),
    };
    segments.iter().map(one).sum()
}

/// A call in virtual time: plays take as long as they last; a person presses keys and hangs up.
struct Line {
    talk: Conversation,
    start: Instant,
    now: Instant,
    playing: Option<(u32, Instant)>,
    heard: Vec<(Duration, Vec<&'static str>)>,
    outcome: Option<(Duration, Ending, String)>,
    outcomes: usize,
    pressed: Vec<Key>,
    hung_up: Option<Duration>,
}

impl Line {
    fn new(change: impl FnOnce(&mut Script), ask: Ask) -> Line {
        let start = Instant::now();
        let mut script = script(ask, start);
        change(&mut script);
        let talk = Conversation::new(script);
        let (heard, outcome, playing) = (Vec::new(), None, None);
        let mut line = Line {
            talk,
            start,
            now: start,
            playing,
            heard,
            outcome,
            outcomes: 0,
            pressed: Vec::new(),
            hung_up: None,
        };
        line.give(Input::Answered);
        line
    }

    fn give(&mut self, input: Input) {
        if input == Input::Held {
            // Nothing is sent any more, so nothing comes to its end.
            self.playing = None;
        }
        let over = self.talk.is_over();
        self.talk.handle(self.now, input);
        if input == Input::RemoteHangUp && !over {
            // Nothing is said to a line that is gone; at most the outcome.
            let outputs = &self.talk.outputs;
            assert!(
                self.talk.state == State::Over && outputs.len() <= 1,
                "{outputs:?}"
            );
            assert!(
                outputs
                    .iter()
                    .all(|output| matches!(output, Output::Outcome { .. })),
                "{outputs:?}"
            );
        }
        while let Some(output) = self.talk.poll() {
            let at = self.now - self.start;
            assert!(self.hung_up.is_none(), "{output:?} after hanging up");
            match output {
                Output::Play { tag, segments } => {
                    self.playing = Some((tag, self.now + length(&segments)));
                    self.heard.push((at, words(&segments)));
                }
                Output::KeyPressed(key) => self.pressed.push(key),
                Output::Outcome { ending, digits } => {
                    self.outcomes += 1;
                    self.outcome = Some((at, ending, digits));
                }
                Output::HangUp => self.hung_up = Some(at),
            }
        }
    }

    /// Lets time pass until then, with all that falls due.
    fn until(&mut self, at: Duration) {
        let end = self.start + at;
        loop {
            let play_end = self.playing.map(|(_, end)| end);
            let Some(next) = play_end
                .into_iter()
                .chain(self.talk.deadline())
                .min()
                .filter(|next| *next <= end)
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            match self.playing.take_if(|(_, end)| *end <= next) {
                Some((tag, _)) => self.give(Input::PlayDone(tag)),
                None => self.give(Input::Tick),
            }
            if self.talk.is_over() {
                return;
            }
        }
    }

    fn press(&mut self, at: f32, sign: char) {
        self.until(SECOND.mul_f32(at));
        self.give(Input::Key(Key::from_char(sign).unwrap()));
    }

    fn end(mut self) -> Line {
        self.until(1000 * SECOND);
        assert!(self.talk.is_over() && self.outcomes == 1, "{:?}", self.talk);
        self
    }

    fn ending(&self) -> (Ending, &str) {
        let (_, ending, digits) = self.outcome.as_ref().unwrap();
        (*ending, digits)
    }

    fn said(&self) -> Vec<Vec<&'static str>> {
        self.heard.iter().map(|(_, words)| words.clone()).collect()
    }
}

#[test]
fn pound_approves_and_a_goodbye_follows() {
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.press(9.0, '#');
    assert_eq!(line.ending(), (Ending::Confirmed, "#"));
    assert_eq!(line.outcome.as_ref().unwrap().0, 9 * SECOND);
    assert_eq!(line.hung_up, None);
    let line = line.end();
    assert_eq!(line.said(), [vec!["greeting", "confirm"], vec!["approved"]]);
}

#[test]
fn pound_counts_while_the_prompt_is_still_playing() {
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.press(0.5, '#');
    assert_eq!(line.ending().0, Ending::Confirmed);
}

#[test]
fn without_farewell_the_call_ends_at_once() {
    let mut line = Line::new(|script| script.farewell = false, Ask::Confirm);
    line.press(9.0, '#');
    assert_eq!(line.hung_up, Some(9 * SECOND));
    assert_eq!(line.end().said().len(), 1);
}

#[test]
fn silence_is_asked_three_times_and_is_no_approval() {
    let line = Line::new(|_| {}, Ask::Confirm).end();
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
fn confirm(keys: &[(f32, char)]) -> Line {
    let mut line = Line::new(|_| {}, Ask::Confirm);
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
    let line = Line::new(|script| script.farewell = false, Ask::Confirm);
    let mut line = line;
    line.press(9.0, '0');
    assert_eq!(line.end().hung_up, Some(9 * SECOND + ENTRY));
}

#[test]
fn wrong_keys_for_ever_end_the_call() {
    for apart in [0.2, 2.0] {
        let mut line = Line::new(|_| {}, Ask::Confirm);
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
fn any_key_has_the_code_read_once() {
    for keys in ["0", "#", "*", "A", "00", "12#", "0#"] {
        let mut line = Line::new(|_| {}, code());
        for (i, sign) in keys.chars().enumerate() {
            line.press(7.0 + i as f32 * 0.2, sign);
        }
        let line = line.end();
        assert_eq!(line.ending(), (Ending::CodeRead, keys));
        assert_eq!(line.said().len(), 4, "{keys}: {:?}", line.said());
    }
}

#[test]
fn keys_are_told_in_order_whatever_the_ending() {
    let wrong = |change: fn(&mut Script)| {
        let mut line = Line::new(change, Ask::Confirm);
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
fn what_a_hold_interrupts_is_said_again() {
    // Within the greeting, and while a key is awaited.
    for at in [1, 12] {
        let mut line = Line::new(|_| {}, Ask::Confirm);
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
    let held = |line: &mut Line| {
        line.press(7.0, '5');
        line.until(10 * SECOND);
        line.give(Input::Held);
    };
    let mut line = Line::new(|_| {}, code());
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
    let mut line = Line::new(|_| {}, code());
    held(&mut line);
    let line = line.end();
    assert_eq!(line.ending(), (Ending::Cancelled, "5"));
    assert_eq!(line.hung_up, Some(10 * SECOND + MAX_HOLD));
    // Nor does one begin after the deadline.
    let mut line = Line::new(
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
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.until(9 * SECOND);
    line.give(Input::Held);
    line.press(10.0, '#');
    assert!(line.outcome.is_none());
    line.give(Input::Unheld);
    let mut reads = Line::new(|_| {}, code());
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
    let mut talk = Conversation::new(script(Ask::Confirm, start));
    talk.handle(start, Input::Held);
    talk.handle(start, Input::Answered);
    assert!(talk.poll().is_none());
    talk.handle(start + 5 * SECOND, Input::Unheld);
    assert!(
        matches!(talk.poll(), Some(Output::Play { segments, .. }) if words(&segments)[0] == "greeting")
    );
}

#[test]
fn a_hold_in_the_goodbye_and_in_an_extension_is_waited_for() {
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.press(9.0, '#');
    line.give(Input::Held);
    line.until(15 * SECOND);
    line.give(Input::Unheld);
    assert_eq!(line.end().said()[1..], [vec!["approved"], vec!["approved"]]);
    let mut line = Line::new(|script| script.extension = vec![Key::STAR], Ask::Confirm);
    line.until(SECOND);
    line.give(Input::Held);
    line.until(15 * SECOND);
    line.give(Input::Unheld);
    assert_eq!(
        line.end().said()[..3],
        [vec!["key"], vec!["key"], vec!["greeting", "confirm"]]
    );
}

#[test]
fn a_code_is_read_twice_after_a_key_and_delivered_after_once() {
    let mut line = Line::new(|_| {}, code());
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
    let line = Line::new(|_| {}, code()).end();
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
    let mut line = Line::new(|_| {}, code());
    line.press(7.0, '5');
    line.until(9 * SECOND);
    line.give(Input::RemoteHangUp);
    line.give(Input::Key(Key::POUND));
    assert_eq!(line.ending(), (Ending::HungUp, "5"));
    assert!(line.talk.is_over() && line.hung_up.is_none());
}

#[test]
fn hanging_up_within_the_second_reading_is_delivery() {
    let mut line = Line::new(|_| {}, code());
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
    let mut line = Line::new(
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
    let mut line = Line::new(
        |script| script.deadline = Instant::now() + 10 * SECOND,
        code(),
    );
    line.press(9.0, '5');
    let line = line.end();
    assert_eq!((line.ending().0, line.said().len()), (Ending::CodeRead, 3));
}

#[test]
fn an_approval_may_come_after_the_deadline_of_an_answered_call() {
    let mut line = Line::new(
        |script| script.deadline = Instant::now() + 10 * SECOND,
        Ask::Confirm,
    );
    line.press(20.0, '#');
    assert_eq!(line.ending().0, Ending::Confirmed);
}

#[test]
fn the_cap_ends_everything() {
    let line = Line::new(|script| script.call = 20 * SECOND, Ask::Confirm).end();
    assert_eq!(
        (line.ending().0, line.hung_up),
        (Ending::NoKeypress, Some(20 * SECOND))
    );
    let mut line = Line::new(|script| script.call = 10 * SECOND, code());
    line.press(8.0, '1');
    let line = line.end();
    assert_eq!(
        (line.ending().0, line.hung_up),
        (Ending::Cancelled, Some(10 * SECOND))
    );
}

#[test]
fn a_play_that_never_ends_is_ended_by_the_cap() {
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.playing = None;
    assert_eq!(line.end().hung_up, Some(90 * SECOND));
}

#[test]
fn an_extension_is_dialled_first_and_its_echo_is_no_answer() {
    let keys = ['1', '2', '#'].map(|sign| Key::from_char(sign).unwrap());
    for ask in [Ask::Confirm, code()] {
        let mut line = Line::new(|script| script.extension = keys.to_vec(), ask);
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
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.until(3 * SECOND);
    line.give(Input::Cancel);
    assert_eq!(
        (line.ending().0, line.hung_up),
        (Ending::Cancelled, Some(3 * SECOND))
    );
    let mut line = Line::new(|_| {}, Ask::Confirm);
    line.press(3.0, '#');
    line.give(Input::Cancel);
    assert_eq!(
        (line.outcomes, line.ending().0, line.hung_up),
        (1, Ending::Confirmed, Some(3 * SECOND))
    );
}

#[test]
fn hanging_up_at_the_very_cap_needs_no_bye() {
    let mut line = Line::new(|script| script.call = 5 * SECOND, Ask::Confirm);
    line.now = line.start + 6 * SECOND;
    line.give(Input::RemoteHangUp);
    assert_eq!(
        (line.outcomes, line.ending().0, line.hung_up),
        (1, Ending::HungUp, None)
    );
}

#[test]
fn nothing_is_said_before_the_answer() {
    let mut talk = Conversation::new(script(code(), Instant::now()));
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

#[test]
fn what_is_printed_tells_no_code_and_no_digits() {
    let mut line = Line::new(|_| {}, code());
    line.press(7.0, '5');
    let shown = format!("{:?}", line.talk.script);
    assert!(!shown.contains("407731"), "{shown}");
    let output = Output::Outcome {
        ending: Ending::CodeRead,
        digits: "98765".into(),
    };
    assert!(!format!("{output:?}").contains("98765"));
}

fn input() -> impl Strategy<Value = (u64, Input)> {
    let what = prop_oneof![
        8 => (0u8..16).prop_map(|code| Input::Key(Key::from_event(code).unwrap())),
        4 => Just(Input::Tick),
        1 => Just(Input::RemoteHangUp),
        1 => Just(Input::Cancel),
        1 => Just(Input::Held),
        2 => Just(Input::Unheld),
        2 => (0u32..9).prop_map(Input::PlayDone),
        1 => Just(Input::Answered),
    ];
    (0u64..20_000, what)
}

proptest! {
    /// Whatever happens in whatever order: one outcome, no code before a key, nothing after the end, and every
    /// call is over by its cap.
    #[test]
    fn the_laws_hold(inputs in proptest::collection::vec(input(), 0..30), reads in any::<bool>(), farewell in any::<bool>()) {
        let ask = if reads { code() } else { Ask::Confirm };
        let mut line = Line::new(|script| script.farewell = farewell, ask);
        let mut pressed = false;
        for (wait, input) in inputs {
            let at = line.now - line.start + Duration::from_millis(wait);
            line.until(at);
            pressed |= matches!(input, Input::Key(_));
            line.give(input);
            let spelt = line.said().concat().iter().any(|word| word.starts_with("digit"));
            prop_assert!(!spelt || pressed);
        }
        line.until(1000 * SECOND);
        prop_assert!(line.talk.is_over());
        prop_assert_eq!(line.outcomes, 1);
        prop_assert!(line.hung_up.is_none_or(|at| at <= 90 * SECOND + Duration::from_secs(20)));
        if line.ending().0 == Ending::Confirmed {
            prop_assert!(line.ending().1.ends_with('#') && !line.ending().1.contains('0'));
        }
    }
}
