//! The person on an answered call: listens, and decides when to press which key.
//!
//! Pure. Fed with 20 ms of what was heard at a time, by whatever plays the phone; answers with an [`Act`].

use crate::subscriber::VoiceBehaviour;
use std::time::{Duration, Instant};

/// What the person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Press and let go.
    Press(char),
    /// Put the phone down.
    HangUp,
}

/// One person in one call.
#[derive(Clone, Debug)]
pub struct Person {
    keys: &'static [char],
    pressed: usize,
    patience: Patience,
    hangs_up: bool,
    key_after: Duration,
    /// Of speech, since the answer or the last key.
    listened: Duration,
    /// How long nothing has been heard.
    quiet: Duration,
    /// A pause long enough for a prompt to begin anew has been heard.
    paused: bool,
    /// Of speech since that pause.
    since_pause: Duration,
    last_key: Option<Instant>,
}

/// When the first key is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// After `key_after` of speech.
    Short,
    /// When the prompt has begun anew.
    Repeat,
}

impl Person {
    /// Somebody who behaves so and listens for `key_after` before each key.
    pub fn new(voice: VoiceBehaviour, key_after: Duration) -> Person {
        use VoiceBehaviour as V;
        let keys: &'static [char] = match voice {
            V::Normal
            | V::InbandDigits
            | V::InfoDigits
            | V::EarlyMedia
            | V::TwoAnswers
            | V::AfterRepeat => &['#'],
            V::WrongKeyThenHash => &['5', '#'],
            V::WrongKeys => &['5', '7', '5', '7', '5', '7'],
            V::FraudKey => &['0', '#'],
            V::Voicemail | V::Silent | V::HangsUp | V::ByeInPrompt => &[],
            V::Busy | V::NoAnswer | V::Declined | V::Unreachable => &[],
            V::ServiceUnavailable | V::Blocked | V::TemporarilyUnavailable => &[],
        };
        Person {
            keys,
            pressed: 0,
            patience: if voice == V::AfterRepeat {
                Patience::Repeat
            } else {
                Patience::Short
            },
            hangs_up: voice == V::ByeInPrompt,
            key_after,
            listened: Duration::ZERO,
            quiet: Duration::ZERO,
            paused: false,
            since_pause: Duration::ZERO,
            last_key: None,
        }
    }

    /// Twenty milliseconds have passed, with speech in them or without.
    pub fn hear(&mut self, speech: bool, now: Instant) -> Option<Act> {
        if speech {
            self.paused |= self.quiet >= PAUSE && self.listened > Duration::ZERO;
            self.quiet = Duration::ZERO;
            self.listened += FRAME;
            if self.paused {
                self.since_pause += FRAME;
            }
        } else {
            self.quiet += FRAME;
        }
        if self.hangs_up && self.listened >= self.key_after {
            self.hangs_up = false;
            return Some(Act::HangUp);
        }
        let key = *self.keys.get(self.pressed)?;
        if !self.ready(now) {
            return None;
        }
        self.pressed += 1;
        self.listened = Duration::ZERO;
        self.last_key = Some(now);
        Some(Act::Press(key))
    }

    fn ready(&self, now: Instant) -> bool {
        match (self.last_key, self.patience) {
            // A second key comes after as much listening again, and after what was said to the first, or when nothing is
            // said.
            (Some(last), _) => {
                let since = now.duration_since(last);
                (self.listened >= self.key_after && since >= KEYS_APART) || since >= SECOND_KEY
            }
            (None, Patience::Short) => self.listened >= self.key_after,
            (None, Patience::Repeat) => {
                self.since_pause >= BEGUN_ANEW || self.listened >= self.key_after * MANY_TIMES
            }
        }
    }
}

const FRAME: Duration = Duration::from_millis(20);
/// Silence after which speech counts as a new beginning.
const PAUSE: Duration = Duration::from_millis(1000);
/// Speech after such a pause before the key is pressed.
const BEGUN_ANEW: Duration = Duration::from_millis(500);
/// With no pause in it, so many times `key_after` of speech count as a repeat.
const MANY_TIMES: u32 = 6;
/// The shortest time from one key to the next: somebody who has heard that the first was wrong.
const KEYS_APART: Duration = Duration::from_millis(2000);
/// The longest wait from one key to the next.
const SECOND_KEY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    /// Speech and pauses in milliseconds, by turns; the acts with their time.
    fn acts(voice: VoiceBehaviour, turns: &[u64]) -> Vec<(u64, Act)> {
        let start = Instant::now();
        let mut person = Person::new(voice, Duration::from_millis(1500));
        let mut at = 0;
        let mut acts = Vec::new();
        for (turn, length) in turns.iter().enumerate() {
            for _ in 0..length / 20 {
                at += 20;
                acts.extend(
                    person
                        .hear(turn % 2 == 0, start + Duration::from_millis(at))
                        .map(|act| (at, act)),
                );
            }
        }
        acts
    }

    #[test]
    fn keys_come_after_listening() {
        use VoiceBehaviour::*;
        assert_eq!(acts(Normal, &[1000, 500, 4000]), [(2000, Act::Press('#'))]);
        assert_eq!(
            acts(WrongKeyThenHash, &[4000]),
            [(1500, Act::Press('5')), (3500, Act::Press('#'))]
        );
        assert_eq!(
            acts(FraudKey, &[1500, 9000]),
            [(1500, Act::Press('0')), (4500, Act::Press('#'))]
        );
        assert_eq!(acts(WrongKeys, &[60_000]).len(), 6);
        assert_eq!(acts(ByeInPrompt, &[9000]), [(1500, Act::HangUp)]);
        for mute in [Voicemail, Silent] {
            assert_eq!(acts(mute, &[60_000]), []);
        }
    }

    #[test]
    fn some_wait_for_the_repeat() {
        let pressed = acts(VoiceBehaviour::AfterRepeat, &[3000, 600, 1000, 2000, 3000]);
        assert_eq!(pressed, [(7100, Act::Press('#'))]);
        assert_eq!(
            acts(VoiceBehaviour::AfterRepeat, &[20_000]),
            [(9000, Act::Press('#'))]
        );
        assert_eq!(acts(VoiceBehaviour::AfterRepeat, &[3000, 20_000]), []);
    }
}
