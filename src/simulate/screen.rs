//! What a person in front of it sees: lines while things happen, a table at the end; or one JSON object each.
//!
//! Colour and a moving line of progress on a terminal, plain lines on a pipe. What phones saw is shown here, codes
//! and all: nobody of these people exists.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use simulators::record::{Call, CallResult, Entry, Line, Text, TextResult};

use super::{
    case::Case,
    follow::{Story, Told},
    verdict::ending,
};
use crate::number::mask;

/// A challenge that is over, held against its expectation.
pub struct ShownEnd {
    pub case: Case,
    pub story: Story,
    pub lines: Vec<Line>,
    /// Empty: all as it must be.
    pub faults: Vec<String>,
}

/// Standard output.
pub struct Screen {
    json: bool,
    terminal: bool,
    /// On a terminal whose user has not refused colour (`NO_COLOR`, no-color.org).
    colour: bool,
    start: Instant,
    /// Length of the moving line that stands there now.
    moving: Mutex<usize>,
}

const GREEN: &str = "32";
const RED: &str = "31";
const DIM: &str = "2";
const BOLD: &str = "1";
/// Longest piece of a text that is shown.
const SHOWN: usize = 72;

impl Screen {
    pub fn new(json: bool) -> Screen {
        let terminal = io::stdout().is_terminal() && !json;
        Screen {
            json,
            terminal,
            colour: !json && crate::operate::log::coloured(&io::stdout()),
            start: Instant::now(),
            moving: Mutex::new(0),
        }
    }

    pub fn json(&self) -> bool {
        self.json
    }

    /// A sentence; nothing with `--json`.
    pub fn say(&self, text: &str) {
        if !self.json {
            self.print(text);
        }
    }

    /// A sentence with the time before it.
    pub fn note(&self, text: &str) {
        let at = self.paint(DIM, &format!("{:6.1}s", self.start.elapsed().as_secs_f64()));
        self.say(&format!("{at}  {text}"));
    }

    /// A heading.
    pub fn head(&self, text: &str) {
        self.say(&format!("\n{}", self.paint(BOLD, text)));
    }

    pub fn object(&self, value: &Value) {
        if self.json {
            self.print(&value.to_string());
        }
    }

    /// The moving line; on a pipe, nothing.
    pub fn progress(&self, text: &str) {
        if !self.terminal {
            return;
        }
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = io::stdout().lock();
        let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
        *moving = text.chars().count();
    }

    /// A challenge is over.
    pub fn outcome(&self, outcome: &ShownEnd) {
        if self.json {
            return self.object(&outcome.json());
        }
        let last = outcome.story.last();
        let good = outcome.faults.is_empty();
        let mark = match good {
            true => self.paint(GREEN, "ok   "),
            false => self.paint(RED, "WRONG"),
        };
        self.note(&format!(
            "{mark} {} {:<13} {}",
            pad(&mask(&outcome.case.to), 15),
            outcome.case.method,
            self.paint(DIM, &outcome.case.title)
        ));
        let indent = " ".repeat(15);
        self.say(&format!("{indent}way    {}", way(last)));
        self.say(&format!("{indent}phone  {}", phone(&outcome.lines)));
        let end = last.map_or("no final report".to_owned(), |last| {
            ending(&last.event, last.reason.as_deref())
        });
        let end = self.paint(if good { GREEN } else { RED }, &end);
        self.say(&format!("{indent}report {end}"));
        for fault in &outcome.faults {
            self.say(&format!(
                "{indent}{}",
                self.paint(RED, &format!("wrong: {fault}"))
            ));
        }
    }

    /// All of them in a table.
    pub fn table(&self, outcomes: &[ShownEnd]) {
        self.head("What was asked, and what came of it");
        for outcome in outcomes {
            let last = outcome.story.last();
            let end = last.map_or("no final report".to_owned(), |last| {
                ending(&last.event, last.reason.as_deref())
            });
            let (mark, colour) = match outcome.faults.is_empty() {
                true => ("ok", GREEN),
                false => ("WRONG", RED),
            };
            let carriers: Vec<&str> = last
                .into_iter()
                .flat_map(|last| last.attempts.iter().map(|a| a.carrier.as_str()))
                .collect();
            self.say(&format!(
                "  {} {} {} {} {} {}",
                self.paint(colour, &pad(mark, 5)),
                pad(&outcome.case.title, 28),
                pad(&mask(&outcome.case.to), 15),
                pad(outcome.case.method, 13),
                pad(&carriers.join(" > "), 26),
                end
            ));
        }
    }

    pub fn paint(&self, colour: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Good news or bad.
    pub fn verdict(&self, good: bool, text: &str) {
        let colour = if good { GREEN } else { RED };
        self.say(&self.paint(colour, text));
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn print(&self, text: &str) {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = io::stdout().lock();
        let clear = if *moving > 0 { "\r\x1b[K" } else { "" };
        // Whoever no longer reads is not written to.
        let _ = writeln!(out, "{clear}{text}").and_then(|()| out.flush());
        *moving = 0;
    }
}

impl ShownEnd {
    pub fn json(&self) -> Value {
        let expect = &self.case.expect;
        let last = self.story.last();
        json!({
            "kind": "challenge",
            "title": self.case.title,
            "id": &*self.case.id,
            "to": self.case.to,
            "method": self.case.method,
            "locale": self.case.locale,
            "code": self.case.code,
            "expected": { "event": expect.event, "reason": expect.reason },
            "event": last.map(|last| &last.event),
            "reason": last.and_then(|last| last.reason.as_deref()),
            "way": way(last),
            "phone": self.lines,
            "reports": self.story.bodies,
            "ok": self.faults.is_empty(),
            "wrong": self.faults,
        })
    }
}

/// The carriers tried, the sender shown, why, and what came of it.
pub fn way(last: Option<&Told>) -> String {
    let Some(last) = last else {
        return "not known".to_owned();
    };
    if last.attempts.is_empty() {
        return "none: refused before any carrier was asked".to_owned();
    }
    let one = |a: &super::follow::Try| {
        let mut text = format!("{} as {} ({})", a.carrier, a.sender, a.why);
        // Into a string: this can't fail.
        let _ = match (&a.cause, a.in_doubt) {
            (_, true) => write!(text, ": in doubt, {}", a.outcome),
            (Some(cause), _) => write!(text, ": {} ({cause})", a.outcome),
            (None, _) => write!(text, ": {}", a.outcome),
        };
        text
    };
    let all: Vec<String> = last.attempts.iter().map(one).collect();
    all.join("; then ")
}

/// What the phone saw and the ear heard.
pub fn phone(lines: &[Line]) -> String {
    let all: Vec<String> = lines
        .iter()
        .map(|line| match &line.entry {
            Entry::Text(text) => of_text(text),
            Entry::Call(call) => of_call(call),
            Entry::ProtocolError(error) => format!("{} broken: {}", error.protocol, error.reason),
        })
        .collect();
    match all.is_empty() {
        true => "nothing".to_owned(),
        false => all.join("; then "),
    }
}

fn of_text(text: &Text) -> String {
    let parts = match text.parts {
        1 => String::new(),
        parts => format!(" ({parts} parts)"),
    };
    let from = &text.from;
    match text.result {
        TextResult::Read => format!("from {from}{parts}: \"{}\"", cut(&text.text)),
        TextResult::Unread => format!("switched off: the text from {from} was not read"),
        TextResult::Refused => "the carrier took no text".to_owned(),
    }
}

fn of_call(call: &Call) -> String {
    let shown = &call.shown;
    match call.result {
        CallResult::Answered => {
            let mut text = format!("{shown} calls");
            if let Some(locale) = &call.locale {
                let _ = write!(text, ", speaks {locale}");
            }
            if !call.pressed.is_empty() {
                let _ = write!(text, ", pressed {}", call.pressed);
            }
            if !call.digits_heard.is_empty() {
                let _ = write!(text, ", heard {}", call.digits_heard);
            }
            text
        }
        CallResult::Busy => format!("{shown} calls: busy"),
        CallResult::NoAnswer => format!("{shown} calls: rings, no answer"),
        CallResult::Declined => format!("{shown} calls: declined"),
        CallResult::Unreachable => "no such phone".to_owned(),
        CallResult::Blocked => "blocked on the way".to_owned(),
        CallResult::TemporarilyUnavailable => "not reachable now".to_owned(),
        CallResult::Refused => "did not ring: the trunk refused".to_owned(),
        CallResult::Cancelled => "did not ring".to_owned(),
    }
}

fn cut(text: &str) -> String {
    match text.chars().count() > SHOWN {
        true => text.chars().take(SHOWN - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// By characters, not octets: masks and names have others than ASCII.
fn pad(text: &str, width: usize) -> String {
    let length = text.chars().count();
    format!("{text}{}", " ".repeat(width.saturating_sub(length)))
}
