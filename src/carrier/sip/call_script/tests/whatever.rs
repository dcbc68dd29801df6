//! Whatever happens in whatever order: the laws of a call hold.

use proptest::prelude::*;

use super::*;

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
        let ask = if reads { code() } else { Prompt::Confirm };
        let mut line = SimulatedLine::new(|script| script.farewell = farewell, ask);
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
