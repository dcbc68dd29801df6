//! The talk of one answered call: what is said, what a key means, when it is over. Pure.
//!
//! [`Input`]s and the time go in; [`ScriptOutput`]s and the next deadline come out. The driver plays what it is told to,
//! feeds back keys and ends of playing, and hangs up when told. It knows no SIP, no RTP and no ledger; it never lets a
//! code out before a key was pressed, and never starts one after the challenge's deadline.
//!
//! Each [`Prompt`] is one way of asking with its own meaning of keys; a PIN would be a further arm.
//!
//! | keys | [`Prompt::Confirm`] | [`Prompt::Code`] |
//! |---|---|---|
//! | `#` alone, in the greeting, the question or the wait | approved | the code is read |
//! | `##` | approved by the first | the code is read, once for both |
//! | any other key alone (`1`, `*`, `A`) | said to be wrong, asked again | the code is read |
//! | other keys, then `#` within [`ENTRY`] (`1#`, `*#`, twelve digits and `#`) | wrong as a whole, asked again | the code is read |
//! | another key, and `#` after [`ENTRY`] | asked again, then approved | the code is read |
//! | `0`, whatever follows (`0#`, `0`, pause, `#`) | not approved in this call | the code is read |
//! | wrong keys at the last asking | not approved | |
//! | before the answer, while an extension is dialled | no meaning, not reported | no meaning, not reported |
//! | on hold, within the code, after the end | no meaning | no meaning |

mod speaking;

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
pub enum Prompt {
    /// Press # to approve.
    Confirm,
    /// Press any key and hear the code.
    Code(Code),
}

impl Prompt {
    /// None where a call can't ask this: texts, a code that is missing, and methods that are not served yet.
    pub fn of(call: &Call) -> Option<Prompt> {
        match call.method {
            Method::VoiceConfirm => Some(Prompt::Confirm),
            Method::VoiceCode => call.code.clone().map(Prompt::Code),
            Method::VoicePin | Method::SmsCode | Method::SmsReply => None,
        }
    }
}

/// All that a talk needs to know beforehand.
#[derive(Clone, Debug)]
pub struct Script {
    pub ask: Prompt,
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
    /// The far end hears nothing from now on: on hold.
    Held,
    /// It hears us again.
    Unheld,
    /// Our side wants the call to end: cancelled, or shutting down.
    Cancel,
    /// Time has passed: [`CallScript::deadline`] may have come.
    Tick,
}

/// What the driver shall do.
#[derive(Clone)]
pub enum ScriptOutput {
    /// Play this instead of what is playing, and say `PlayDone(tag)` at its end.
    Play { tag: u32, segments: Vec<Segment> },
    /// A key of the person's was taken.
    KeyPressed(Key),
    /// What came of the call: exactly one per answered call, as soon as it is known; talk may go on after it.
    Outcome { ending: Ending, digits: String },
    /// Say BYE. The last output.
    HangUp,
}

impl fmt::Debug for ScriptOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptOutput::Play { tag, segments } => {
                write!(f, "Play({tag}, {} segments)", segments.len())
            }
            ScriptOutput::KeyPressed(_) => f.write_str("KeyPressed"),
            ScriptOutput::Outcome { ending, digits } => {
                write!(f, "Outcome({ending:?}, {} digits)", digits.len())
            }
            ScriptOutput::HangUp => f.write_str("HangUp"),
        }
    }
}

/// How an answered call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Confirmed,
    /// The code was read out whole once.
    CodeRead,
    /// Asked to the end, and not pressed what was asked; or pressed what rules an approval out.
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
pub struct CallScript {
    script: Script,
    state: State,
    tag: u32,
    digits: String,
    decided: bool,
    hang_up_by: Option<Instant>,
    /// Until when a further key belongs to a wrong entry.
    entry_until: Option<Instant>,
    /// On hold, and how long that is waited for.
    held_until: Option<Instant>,
    outputs: VecDeque<ScriptOutput>,
}

impl fmt::Debug for CallScript {
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
    /// The prompt is playing for the `asked`th time.
    Asking {
        asked: u8,
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
    /// Keys have ruled an approval out. The rest of the entry is heard for the report.
    Refusing,
    /// Saying goodbye, in these words.
    Leaving(Clip),
    Over,
}

/// How a question begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    First,
    Again,
    WrongKey,
}

impl CallScript {
    pub fn new(script: Script) -> CallScript {
        CallScript {
            script,
            state: State::Unanswered,
            tag: 0,
            digits: String::new(),
            decided: false,
            hang_up_by: None,
            entry_until: None,
            held_until: None,
            outputs: VecDeque::new(),
        }
    }

    /// Something happened. Then drain [`CallScript::poll`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.state == State::Over {
            return;
        }
        // Who has hung up needs no BYE, even at the cap.
        if input != Input::RemoteHangUp && self.hang_up_by.is_some_and(|by| now >= by) {
            return self.give_up();
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
            Input::Held => self.held(now),
            Input::Unheld => self.unheld(now),
            Input::Cancel => {
                self.decide(Ending::Cancelled);
                self.hang_up();
            }
            Input::Tick => self.tick(now),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<ScriptOutput> {
        self.outputs.pop_front()
    }

    /// When to come back with a [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let wait = match self.state {
            State::Over => return None,
            _ if self.held_until.is_some() => self.held_until,
            State::Listening { until, .. } => Some(until),
            State::Refusing => self.entry_until,
            State::Unanswered
            | State::Dialling
            | State::Asking { .. }
            | State::Reading { .. }
            | State::Leaving(_) => None,
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
            self.ask(1, Opening::First);
        } else {
            self.dial();
        }
    }

    fn play_done(&mut self, now: Instant) {
        match self.state {
            State::Dialling => self.ask(1, Opening::First),
            State::Asking { asked } => {
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
            State::Leaving(_) => self.hang_up(),
            State::Unanswered | State::Listening { .. } | State::Refusing | State::Over => {}
        }
    }

    fn key(&mut self, now: Instant, key: Key) {
        let asked = match self.state {
            State::Asking { asked } | State::Listening { asked, .. } => Some(asked),
            State::Reading { .. } | State::Refusing => None,
            // Before the question, and after what settled the call.
            State::Unanswered | State::Dialling | State::Leaving(_) | State::Over => return,
        };
        if !self.decided {
            if self.digits.len() < MAX_DIGITS {
                self.digits.push(key.sign());
            }
            self.outputs.push_back(ScriptOutput::KeyPressed(key));
        }
        if self.held_until.is_some() {
            // Whoever plays music to us is not the person whom we asked.
            return;
        }
        match (asked, &self.script.ask) {
            (Some(asked), Prompt::Confirm) => self.confirm_key(now, key, asked),
            (Some(_), Prompt::Code(_)) => self.code_key(now),
            (None, _) if self.state == State::Refusing => self.entry_until = Some(now + ENTRY),
            (None, _) => {}
        }
    }

    /// Only a lone # approves.
    fn confirm_key(&mut self, now: Instant, key: Key, asked: u8) {
        let goes_on = self.entry_until.is_some_and(|until| now < until);
        if key == Key::POUND && !goes_on {
            self.decide(Ending::Confirmed);
            return self.leave(Clip::Approved);
        }
        self.entry_until = Some(now + ENTRY);
        if key == Key::ZERO || (asked == PROMPTS && !goes_on) {
            self.refuse();
        } else if !goes_on {
            self.ask(asked + 1, Opening::WrongKey);
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
        if let Some(until) = self.held_until {
            if now >= until {
                self.give_up();
            }
            return;
        }
        match self.state {
            State::Listening { asked, until } if now >= until => {
                if asked < PROMPTS {
                    self.ask(asked + 1, Opening::Again);
                } else {
                    self.decide(Ending::NoKeypress);
                    self.leave(Clip::NoKey);
                }
            }
            State::Refusing if self.entry_until.is_none_or(|until| now >= until) => {
                self.decide(Ending::NoKeypress);
                self.leave(Clip::NotApproved);
            }
            State::Unanswered
            | State::Dialling
            | State::Asking { .. }
            | State::Listening { .. }
            | State::Reading { .. }
            | State::Refusing
            | State::Leaving(_)
            | State::Over => {}
        }
    }

    /// Nobody hears us: what was being said is said again from its beginning once somebody does.
    fn held(&mut self, now: Instant) {
        if self.held_until.is_none() {
            self.held_until = Some(after(now, MAX_HOLD));
            // The end of what is interrupted is not the end of it.
            self.tag += 1;
        }
    }

    fn unheld(&mut self, now: Instant) {
        if self.held_until.take().is_none() {
            return;
        }
        match self.state {
            State::Dialling => self.dial(),
            State::Asking { asked: 1 } | State::Listening { asked: 1, .. } => {
                self.ask(1, Opening::First);
            }
            State::Asking { asked } | State::Listening { asked, .. } => {
                self.ask(asked, Opening::Again);
            }
            State::Reading { time } if time > 1 || now < self.script.deadline => self.read(time),
            // No code begins after the deadline.
            State::Reading { .. } => {
                self.decide(Ending::Cancelled);
                self.leave(Clip::Goodbye);
            }
            State::Leaving(words) => self.leave(words),
            State::Unanswered | State::Refusing | State::Over => {}
        }
    }

    /// The call, or the hold, has lasted as long as it may.
    fn give_up(&mut self) {
        self.decide(match self.state {
            State::Asking { .. } | State::Listening { .. } | State::Refusing => Ending::NoKeypress,
            State::Unanswered
            | State::Dialling
            | State::Reading { .. }
            | State::Leaving(_)
            | State::Over => Ending::Cancelled,
        });
        self.hang_up();
    }

    /// The first decision stands.
    fn decide(&mut self, ending: Ending) {
        if !self.decided && self.state != State::Unanswered {
            self.decided = true;
            let digits = self.digits.clone();
            self.outputs
                .push_back(ScriptOutput::Outcome { ending, digits });
        }
    }

    fn hang_up(&mut self) {
        self.state = State::Over;
        self.outputs.push_back(ScriptOutput::HangUp);
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
/// Keys no further apart than this are one entry: `1#` is no #.
const ENTRY: Duration = Duration::from_millis(1_500);
/// The longest hold that is waited for; the call's own cap may come first.
const MAX_HOLD: Duration = Duration::from_secs(30);
#[cfg(test)]
mod tests;
