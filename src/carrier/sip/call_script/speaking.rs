//! What a talk says, recording by recording. When it is said is the machine's matter.

use std::time::Duration;

use super::{CallScript, Opening, Prompt, ScriptOutput, State};
use crate::{message::speech::Clip, protocol::rtp::Segment};

impl CallScript {
    pub(super) fn dial(&mut self) {
        let mut segments = vec![Segment::Silence(BEFORE_EXTENSION)];
        segments.extend(self.script.extension.iter().map(|key| Segment::Key(*key)));
        segments.push(Segment::Silence(AFTER_EXTENSION));
        self.play(segments);
        self.state = State::Dialling;
    }

    pub(super) fn ask(&mut self, asked: u8, opening: Opening) {
        let voice = &self.script.voice;
        let prompt = match self.script.ask {
            Prompt::Confirm => Clip::Confirm,
            Prompt::Code(_) => Clip::CodeIntro,
        };
        let opening = match opening {
            Opening::First => Clip::Greeting,
            Opening::Again => Clip::Again,
            Opening::WrongKey => Clip::WrongKey,
        };
        let segments = vec![
            Segment::Silence(BEFORE_SPEECH),
            voice.say(opening),
            Segment::Silence(BETWEEN_SENTENCES),
            voice.say(prompt),
        ];
        self.play(segments);
        self.state = State::Asking { asked };
    }

    /// The question is no longer put. What was being said is cut.
    pub(super) fn refuse(&mut self) {
        self.play(vec![Segment::Silence(BEFORE_SPEECH)]);
        self.state = State::Refusing;
    }

    pub(super) fn read(&mut self, time: u8) {
        let Prompt::Code(code) = &self.script.ask else {
            return;
        };
        let voice = &self.script.voice;
        let mut segments = vec![Segment::Silence(BEFORE_SPEECH)];
        if time > 1 {
            segments.extend([voice.say(Clip::Again), Segment::Silence(BETWEEN_SENTENCES)]);
        }
        segments.extend([voice.say(Clip::CodeIs), Segment::Silence(BETWEEN_SENTENCES)]);
        segments.extend(voice.spell(code.reveal()));
        self.play(segments);
        self.state = State::Reading { time };
    }

    pub(super) fn leave(&mut self, words: Clip) {
        if !self.script.farewell {
            return self.hang_up();
        }
        let segments = vec![
            Segment::Silence(BEFORE_SPEECH),
            self.script.voice.say(words),
        ];
        self.play(segments);
        self.state = State::Leaving(words);
    }

    fn play(&mut self, segments: Vec<Segment>) {
        self.tag += 1;
        // On hold it would play to nobody; it begins when somebody hears it.
        if self.held_until.is_none() {
            self.outputs.push_back(ScriptOutput::Play {
                tag: self.tag,
                segments,
            });
        }
    }
}

/// The phone is on its way to the ear.
const BEFORE_SPEECH: Duration = Duration::from_millis(300);
const BETWEEN_SENTENCES: Duration = Duration::from_millis(300);
/// A switchboard needs a moment before it listens, and another to connect.
const BEFORE_EXTENSION: Duration = Duration::from_millis(1_500);
const AFTER_EXTENSION: Duration = Duration::from_millis(1_000);
