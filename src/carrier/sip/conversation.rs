//! The talk of one answered call: what is said, what a key means, when it is over. Pure.
//!
//! [`Input`]s and the time go in; [`Output`]s and the next deadline come out. The driver plays what it is told to,
//! feeds back keys and ends of playing, and hangs up when told. It knows no SIP, no RTP and no ledger; it never lets a
//! code out before a key was pressed, and never starts one after the challenge's deadline.
//!
//! Each [`Ask`] is one way of asking with its own meaning of keys; a PIN would be a further arm, and a key that
//! reports fraud a further line in each arm's function.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    carrier::{Call, CallOutcome},
    challenge::{Code, Method},
    message::speech::{Clip, Voice},
    protocol::rtp::{Key, Segment},
};

/// What the person is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Press # to approve.
    Confirm,
    /// Press any key and hear the code.
    Code(Code),
}

impl Ask {
    /// None where a call can't ask this: texts, a code that is missing, and methods that are not served yet.
    pub fn of(call: &Call) -> Option<Ask> {
        match call.method {
            Method::VoiceConfirm => Some(Ask::Confirm),
            Method::VoiceCode => call.code.clone().map(Ask::Code),
            Method::VoicePin | Method::SmsCode | Method::SmsReply => None,
        }
    }
}

/// All that a talk needs to know beforehand.
#[derive(Clone, Debug)]
pub struct Script {
    pub ask: Ask,
    pub voice: Arc<Voice>,
    /// Keys to press after the answer, for an office extension.
    pub extension: Vec<Key>,
    /// How long to wait for a key after the end of a prompt.
    pub key_wait: Duration,
    /// The longest call, from the answer.
    pub call: Duration,
    /// No code starts after it.
    pub deadline: Instant,
    /// Speak a goodbye before hanging up.
    pub farewell: bool,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Answered,
    /// The play of this tag has been sent to its end.
    PlayDone(u32),
    Key(Key),
    RemoteHangUp,
    /// Our side wants the call to end: cancelled, or shutting down.
    Cancel,
    /// Time has passed: [`Conversation::deadline`] may have come.
    Tick,
}

/// What the driver shall do.
#[derive(Clone)]
pub enum Output {
    /// Play this instead of what is playing, and say `PlayDone(tag)` at its end.
    Play { tag: u32, segments: Vec<Segment> },
    /// A key of the person's was taken.
    KeyPressed,
    /// What came of the call: exactly one per answered call, as soon as it is known; talk may go on after it.
    Outcome { ending: Ending, digits: String },
    /// Say BYE. The last output.
    HangUp,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Play { tag, segments } => write!(f, "Play({tag}, {} segments)", segments.len()),
            Output::KeyPressed => f.write_str("KeyPressed"),
            Output::Outcome { ending, digits } => {
                write!(f, "Outcome({ending:?}, {} digits)", digits.len())
            }
            Output::HangUp => f.write_str("HangUp"),
        }
    }
}

/// How an answered call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Confirmed,
    /// The code was read out whole once.
    CodeRead,
    /// Asked to the end, and not pressed what was asked.
    NoKeypress,
    /// The person hung up before anything was settled.
    HungUp,
    /// By us, by the call's cap or after the deadline, before anything was settled.
    Cancelled,
}

impl Ending {
    /// In the words of the postcard.
    pub fn outcome(self) -> CallOutcome {
        match self {
            Ending::Confirmed => CallOutcome::Confirmed,
            Ending::CodeRead => CallOutcome::CodeRead,
            Ending::NoKeypress | Ending::HungUp => CallOutcome::NoKeypress,
            Ending::Cancelled => CallOutcome::Cancelled,
        }
    }
}

/// The machine.
pub struct Conversation {
    script: Script,
    state: State,
    tag: u32,
    digits: String,
    decided: bool,
    hang_up_by: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Conversation({:?}, decided: {})",
            self.state, self.decided
        )
    }
}

/// Where the talk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unanswered,
    /// Pressing the extension's keys. What is heard meanwhile is their echo.
    Dialling,
    /// The prompt is playing for the `asked`th time, since.
    Asking {
        asked: u8,
        since: Instant,
    },
    /// The prompt is over; a key is awaited.
    Listening {
        asked: u8,
        until: Instant,
    },
    /// The code is being read out for the `time`th time.
    Reading {
        time: u8,
    },
    /// Saying goodbye.
    Leaving,
    Over,
}

impl Conversation {
    pub fn new(script: Script) -> Conversation {
        Conversation {
            script,
            state: State::Unanswered,
            tag: 0,
            digits: String::new(),
            decided: false,
            hang_up_by: None,
            outputs: VecDeque::new(),
        }
    }

    /// Something happened. Then drain [`Conversation::poll`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.state == State::Over {
            return;
        }
        // Who has hung up needs no BYE, even at the cap.
        if input != Input::RemoteHangUp && self.hang_up_by.is_some_and(|by| now >= by) {
            return self.cap();
        }
        match input {
            Input::Answered => self.answered(now),
            Input::PlayDone(tag) if tag == self.tag => self.play_done(now),
            Input::PlayDone(_) => {}
            Input::Key(key) => self.key(now, key),
            Input::RemoteHangUp => {
                self.decide(Ending::HungUp);
                self.state = State::Over;
            }
            Input::Cancel => {
                self.decide(Ending::Cancelled);
                self.hang_up();
            }
            Input::Tick => self.tick(now),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with a [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let wait = match self.state {
            State::Listening { until, .. } => Some(until),
            State::Over => return None,
            State::Unanswered
            | State::Dialling
            | State::Asking { .. }
            | State::Reading { .. }
            | State::Leaving => None,
        };
        wait.into_iter().chain(self.hang_up_by).min()
    }

    /// Has the last output been given out?
    pub fn is_over(&self) -> bool {
        self.state == State::Over && self.outputs.is_empty()
    }

    fn answered(&mut self, now: Instant) {
        if self.state != State::Unanswered {
            return;
        }
        self.hang_up_by = Some(after(now, self.script.call));
        if self.script.extension.is_empty() {
            return self.ask(now, 1);
        }
        let mut segments = vec![Segment::Silence(BEFORE_EXTENSION)];
        segments.extend(self.script.extension.iter().map(|key| Segment::Key(*key)));
        segments.push(Segment::Silence(AFTER_EXTENSION));
        self.play(segments);
        self.state = State::Dialling;
    }

    fn play_done(&mut self, now: Instant) {
        match self.state {
            State::Dialling => self.ask(now, 1),
            State::Asking { asked, .. } => {
                self.state = State::Listening {
                    asked,
                    until: after(now, self.script.key_wait),
                };
            }
            State::Reading { time } => {
                self.decide(Ending::CodeRead);
                if time < READINGS && now < self.script.deadline {
                    self.read(time + 1);
                } else {
                    self.leave(Clip::Goodbye);
                }
            }
            State::Leaving => self.hang_up(),
            State::Unanswered | State::Listening { .. } | State::Over => {}
        }
    }

    fn key(&mut self, now: Instant, key: Key) {
        let (State::Asking { asked, .. } | State::Listening { asked, .. }) = self.state else {
            // Before the question and after the answer a key means nothing.
            return;
        };
        if self.digits.len() < MAX_DIGITS {
            self.digits.push(key.sign());
        }
        self.outputs.push_back(Output::KeyPressed);
        match self.script.ask {
            Ask::Confirm => self.confirm_key(now, key, asked),
            Ask::Code(_) => self.code_key(now),
        }
    }

    fn confirm_key(&mut self, now: Instant, key: Key, asked: u8) {
        if key == Key::POUND {
            self.decide(Ending::Confirmed);
            return self.leave(Clip::Approved);
        }
        // Several keys in a burst are one mistake.
        let burst = matches!(self.state, State::Asking { since, .. } if now < since + BURST);
        if asked < PROMPTS && !burst {
            self.ask(now, asked + 1);
        }
    }

    fn code_key(&mut self, now: Instant) {
        if now < self.script.deadline {
            self.read(1);
        } else {
            self.decide(Ending::Cancelled);
            self.leave(Clip::Goodbye);
        }
    }

    fn tick(&mut self, now: Instant) {
        let State::Listening { asked, until } = self.state else {
            return;
        };
        if now < until {
            return;
        }
        if asked < PROMPTS {
            self.ask(now, asked + 1);
        } else {
            self.decide(Ending::NoKeypress);
            self.leave(Clip::NoKey);
        }
    }

    /// The call has lasted as long as it may.
    fn cap(&mut self) {
        self.decide(match self.state {
            State::Asking { .. } | State::Listening { .. } => Ending::NoKeypress,
            State::Unanswered
            | State::Dialling
            | State::Reading { .. }
            | State::Leaving
            | State::Over => Ending::Cancelled,
        });
        self.hang_up();
    }

    fn ask(&mut self, now: Instant, asked: u8) {
        let voice = &self.script.voice;
        let prompt = match self.script.ask {
            Ask::Confirm => Clip::Confirm,
            Ask::Code(_) => Clip::CodeIntro,
        };
        let opening = if asked == 1 {
            Clip::Greeting
        } else {
            Clip::Again
        };
        let segments = vec![
            Segment::Silence(BEFORE_SPEECH),
            voice.say(opening),
            Segment::Silence(BETWEEN_SENTENCES),
            voice.say(prompt),
        ];
        self.play(segments);
        self.state = State::Asking { asked, since: now };
    }

    fn read(&mut self, time: u8) {
        let Ask::Code(code) = &self.script.ask else {
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

    fn leave(&mut self, last_word: Clip) {
        if !self.script.farewell {
            return self.hang_up();
        }
        let segments = vec![
            Segment::Silence(BEFORE_SPEECH),
            self.script.voice.say(last_word),
        ];
        self.play(segments);
        self.state = State::Leaving;
    }

    fn play(&mut self, segments: Vec<Segment>) {
        self.tag += 1;
        self.outputs.push_back(Output::Play {
            tag: self.tag,
            segments,
        });
    }

    /// The first decision stands.
    fn decide(&mut self, ending: Ending) {
        if !self.decided && self.state != State::Unanswered {
            self.decided = true;
            let digits = self.digits.clone();
            self.outputs.push_back(Output::Outcome { ending, digits });
        }
    }

    fn hang_up(&mut self) {
        self.state = State::Over;
        self.outputs.push_back(Output::HangUp);
    }
}

/// A wait too long to be told in time is a day.
fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now + LONG)
}

const LONG: Duration = Duration::from_secs(86_400);
/// How often the question is put.
const PROMPTS: u8 = 3;
/// How often a code is read out.
const READINGS: u8 = 2;
/// Keys kept for the report.
const MAX_DIGITS: usize = 32;
/// A wrong key this soon after the prompt began again belongs to the same mistake.
const BURST: Duration = Duration::from_millis(1_500);
/// The phone is on its way to the ear.
const BEFORE_SPEECH: Duration = Duration::from_millis(300);
const BETWEEN_SENTENCES: Duration = Duration::from_millis(300);
/// A switchboard needs a moment before it listens, and another to connect.
const BEFORE_EXTENSION: Duration = Duration::from_millis(1_500);
const AFTER_EXTENSION: Duration = Duration::from_millis(1_000);

#[cfg(test)]
mod tests;
