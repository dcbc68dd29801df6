//! One key press, heard once. Carriers send a digit as an event, as tones in the audio, by SIP INFO, or
//! several ways at once; what comes a second way within a short while is the same press.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Key, KeySource};

/// Merges the three ways. Each press counted one way may swallow one hearing of each other way.
#[derive(Debug, Default)]
pub struct DigitMerge {
    recent: VecDeque<Press>,
}

#[derive(Debug)]
struct Press {
    key: Key,
    at: Instant,
    heard: [bool; 3],
}

impl DigitMerge {
    /// A key was heard. True: it is a new press. False: it is one that has been counted already.
    pub fn hear(&mut self, now: Instant, key: Key, source: KeySource) -> bool {
        while let Some(oldest) = self.recent.front() {
            if now.saturating_duration_since(oldest.at) <= MERGE_WINDOW
                && self.recent.len() < MAX_RECENT
            {
                break;
            }
            self.recent.pop_front();
        }
        let way = way(source);
        let same = self
            .recent
            .iter_mut()
            .find(|press| press.key == key && !press.heard[way]);
        if let Some(press) = same {
            press.heard[way] = true;
            return false;
        }
        let mut heard = [false; 3];
        heard[way] = true;
        self.recent.push_back(Press {
            key,
            at: now,
            heard,
        });
        true
    }
}

fn way(source: KeySource) -> usize {
    match source {
        KeySource::Event => 0,
        KeySource::InBand => 1,
        KeySource::Info => 2,
    }
}

/// How much later the same press may come another way. An INFO travels with the signalling.
const MERGE_WINDOW: Duration = Duration::from_millis(800);
/// Presses remembered; nobody presses more in the window.
const MAX_RECENT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(sign: char) -> Key {
        Key::from_char(sign).unwrap()
    }

    #[test]
    fn a_press_heard_three_ways_counts_once() {
        let (mut merge, t) = (DigitMerge::default(), Instant::now());
        let ms = Duration::from_millis;
        assert!(merge.hear(t, key('5'), KeySource::Event));
        assert!(!merge.hear(t + ms(60), key('5'), KeySource::InBand));
        assert!(!merge.hear(t + ms(400), key('5'), KeySource::Info));
    }

    #[test]
    fn two_presses_of_one_key_heard_two_ways_count_twice() {
        let (mut merge, t) = (DigitMerge::default(), Instant::now());
        let ms = Duration::from_millis;
        assert!(merge.hear(t, key('1'), KeySource::Event));
        assert!(!merge.hear(t + ms(60), key('1'), KeySource::InBand));
        assert!(merge.hear(t + ms(300), key('1'), KeySource::Event));
        assert!(!merge.hear(t + ms(360), key('1'), KeySource::InBand));
    }

    #[test]
    fn the_second_way_may_lag_by_a_whole_press() {
        let (mut merge, t) = (DigitMerge::default(), Instant::now());
        let ms = Duration::from_millis;
        assert!(merge.hear(t, key('1'), KeySource::Event));
        assert!(merge.hear(t + ms(200), key('1'), KeySource::Event));
        assert!(!merge.hear(t + ms(300), key('1'), KeySource::Info));
        assert!(!merge.hear(t + ms(500), key('1'), KeySource::Info));
        assert!(merge.hear(t + ms(600), key('1'), KeySource::Info));
    }

    #[test]
    fn another_key_or_a_later_time_is_another_press() {
        let (mut merge, t) = (DigitMerge::default(), Instant::now());
        assert!(merge.hear(t, key('1'), KeySource::Event));
        assert!(merge.hear(t, key('2'), KeySource::InBand));
        assert!(merge.hear(
            t + MERGE_WINDOW + Duration::from_millis(1),
            key('1'),
            KeySource::InBand
        ));
    }

    proptest! {
        /// Every way of hearing the same presses, in any mix of lags below a press's spacing, counts each once.
        #[test]
        fn presses_count_once_whatever_the_ways(
            presses in proptest::collection::vec((0u8..16, 0u64..150, 0u64..150, any::<bool>(), any::<bool>()), 1..30)
        ) {
            let t = Instant::now();
            let mut heard = Vec::new();
            for (i, (code, lag_a, lag_b, tones, info)) in presses.iter().enumerate() {
                let at = i as u64 * 160;
                heard.push((at, *code, KeySource::Event));
                if *tones { heard.push((at + lag_a, *code, KeySource::InBand)); }
                if *info { heard.push((at + lag_b, *code, KeySource::Info)); }
            }
            heard.sort_by_key(|(at, _, _)| *at);
            let mut merge = DigitMerge::default();
            let counted = heard
                .iter()
                .filter(|(at, code, source)| merge.hear(t + Duration::from_millis(*at), Key::from_event(*code).unwrap(), *source))
                .count();
            // A missing hearing of one press may not swallow the event of the next, so at least all are counted;
            // a hearing is only ever matched with a press of its own key, so never more than all.
            prop_assert_eq!(counted, presses.len());
        }
    }
}
