//! Conversations in made-up time: what is said when, and how each of them ends.

mod approvals;
mod codes;
mod ends;
mod holds;
mod whatever;

use super::*;
use crate::{message::speech::Catalogue, protocol::rtp::Codec};
use std::{path::Path, sync::OnceLock};

const SECOND: Duration = Duration::from_secs(1);

fn voice() -> Arc<Voice> {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    let load = || Catalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts")).unwrap();
    CATALOGUE.get_or_init(load).best("en-US").clone()
}

fn script(ask: Prompt, start: Instant) -> Script {
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

fn code() -> Prompt {
    Prompt::Code(Code::new("407731"))
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
struct SimulatedLine {
    talk: CallScript,
    start: Instant,
    now: Instant,
    playing: Option<(u32, Instant)>,
    heard: Vec<(Duration, Vec<&'static str>)>,
    outcome: Option<(Duration, Ending, String)>,
    outcomes: usize,
    pressed: Vec<Key>,
    hung_up: Option<Duration>,
}

impl SimulatedLine {
    fn new(change: impl FnOnce(&mut Script), ask: Prompt) -> SimulatedLine {
        let start = Instant::now();
        let mut script = script(ask, start);
        change(&mut script);
        let talk = CallScript::new(script);
        let (heard, outcome, playing) = (Vec::new(), None, None);
        let mut line = SimulatedLine {
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
                    .all(|output| matches!(output, ScriptOutput::Outcome { .. })),
                "{outputs:?}"
            );
        }
        while let Some(output) = self.talk.poll() {
            let at = self.now - self.start;
            assert!(self.hung_up.is_none(), "{output:?} after hanging up");
            match output {
                ScriptOutput::Play { tag, segments } => {
                    self.playing = Some((tag, self.now + length(&segments)));
                    self.heard.push((at, words(&segments)));
                }
                ScriptOutput::KeyPressed(key) => self.pressed.push(key),
                ScriptOutput::Outcome { ending, digits } => {
                    self.outcomes += 1;
                    self.outcome = Some((at, ending, digits));
                }
                ScriptOutput::HangUp => self.hung_up = Some(at),
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

    fn end(mut self) -> SimulatedLine {
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
