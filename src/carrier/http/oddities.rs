//! Answers that say less than the carrier's file expects of them: each is counted, and the log says once that they
//! have begun and once that they have ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::answer::Oddity;
use crate::telemetry::counters;

/// So long, and for so many answers, nothing odd may have come until it is over.
const CALM: (Duration, u32) = (Duration::from_secs(60), 20);

pub struct Oddities {
    carrier: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since the first of them, by their names.
    counts: BTreeMap<&'static str, u64>,
    last: Option<Instant>,
    good: u32,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
enum OddityLine {
    Begins(Oddity),
    Ends(BTreeMap<&'static str, u64>),
}

impl Oddities {
    pub fn new(carrier: Arc<str>) -> Oddities {
        Oddities {
            carrier,
            state: Mutex::default(),
        }
    }

    /// `usual`: the answer took its text.
    pub fn note(&self, status: u16, oddity: Option<Oddity>, usual: bool, now: Instant) {
        if let Some(oddity) = oddity {
            counters::odd_answer(&self.carrier, oddity.name());
        }
        // Nothing panics while it is held.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = state.note(oddity, usual, now);
        drop(state);
        match line {
            Some(OddityLine::Begins(oddity)) => tracing::warn!(
                carrier = %self.carrier,
                status,
                reason = oddity.name(),
                "{}",
                explained(oddity)
            ),
            Some(OddityLine::Ends(counts)) => tracing::info!(
                carrier = %self.carrier,
                ?counts,
                "its answers are as its file expects them again"
            ),
            None => {}
        }
    }
}

impl State {
    fn note(&mut self, oddity: Option<Oddity>, usual: bool, now: Instant) -> Option<OddityLine> {
        if let Some(oddity) = oddity {
            (self.last, self.good) = (Some(now), 0);
            let count = self.counts.entry(oddity.name()).or_insert(0);
            *count += 1;
            return (*count == 1).then_some(OddityLine::Begins(oddity));
        }
        let last = self.last.filter(|_| usual)?;
        self.good = self.good.saturating_add(1);
        if self.good < CALM.1 || now.saturating_duration_since(last) < CALM.0 {
            return None;
        }
        self.last = None;
        Some(OddityLine::Ends(std::mem::take(&mut self.counts)))
    }
}

/// For the operator.
fn explained(oddity: Oddity) -> &'static str {
    match oddity {
        Oddity::NoReference => {
            "texts are taken without the reference that response.reference names: their receipts may find them by phone only"
        }
        Oddity::Empty | Oddity::NotJson => {
            "answers of acceptance are not the JSON that its file names places in: the texts are in doubt"
        }
        Oddity::CutOff => "answers of acceptance break off: the texts are in doubt",
        Oddity::TooLong => "answers of acceptance are too long to be read: the texts are in doubt",
        Oddity::Coding => {
            "answers of acceptance have an unknown Content-Encoding, or are broken: the texts are in doubt"
        }
        Oddity::NoVerdict => {
            "answers say neither a word of response.verdict.accepted nor one of response.verdict.refused: the texts are in doubt"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_said_once_when_it_begins_and_all_when_they_end() {
        let (mut state, now) = (State::default(), Instant::now());
        let odd = |state: &mut State, oddity| state.note(Some(oddity), false, now);
        assert_eq!(
            odd(&mut state, Oddity::Empty),
            Some(OddityLine::Begins(Oddity::Empty))
        );
        assert_eq!(odd(&mut state, Oddity::Empty), None);
        let other = odd(&mut state, Oddity::NoReference);
        assert_eq!(other, Some(OddityLine::Begins(Oddity::NoReference)));
        // Refusals say nothing of it, and a few good answers between them don't end it.
        let later = now + CALM.0;
        assert_eq!(state.note(None, false, later), None);
        for _ in 1..CALM.1 {
            assert_eq!(state.note(None, true, later), None);
        }
        let counts = [("empty", 2), ("no_reference", 1)].into();
        assert_eq!(
            state.note(None, true, later),
            Some(OddityLine::Ends(counts))
        );
        assert_eq!(state.note(None, true, later), None);
        assert_eq!(
            odd(&mut state, Oddity::Empty),
            Some(OddityLine::Begins(Oddity::Empty))
        );
    }
}
