//! The patterns of a numbering plan, joined into one deterministic automaton over digits. Pure.

use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton as _, StartKind, dense},
    util::{primitives::StateID, start, syntax},
};

/// Largest automaton of one calling code, and most memory for making it, in octets; beyond, no table.
const LARGEST: usize = 32 * 1024 * 1024;

/// How a pattern is held against the digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// All of them.
    Whole,
    /// Some of the first, or none.
    Prefix,
    /// All of them, and `$` is overlooked: matches at least wherever the pattern does.
    Perhaps,
}

/// Patterns to be joined, each with the number that it is known by.
#[derive(Default)]
pub(super) struct Patterns {
    texts: Vec<String>,
    ids: Vec<u16>,
}

impl Patterns {
    pub fn add(&mut self, pattern: &str, id: u16, anchor: Anchor) {
        self.texts.push(match anchor {
            Anchor::Whole => format!("(?:{pattern})"),
            Anchor::Prefix => format!("(?:{pattern})[0-9]*"),
            Anchor::Perhaps => format!("(?:{})", pattern.replace('$', "")),
        });
        self.ids.push(id);
    }

    /// None: one of them is beyond regular languages, or they are too large together.
    pub fn automaton(self) -> Option<Automaton> {
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(LARGEST))
            .determinize_size_limit(Some(LARGEST));
        let dfa = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .build_many(&self.texts)
            .ok()?;
        Some(Automaton { dfa, ids: self.ids })
    }
}

/// The automaton.
pub(super) struct Automaton {
    dfa: dense::DFA<Vec<u32>>,
    ids: Vec<u16>,
}

/// Where it is after some digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State(StateID);

impl Automaton {
    pub fn start(&self) -> Option<State> {
        let config = start::Config::new().anchored(Anchored::Yes);
        self.dfa.start_state(&config).ok().map(State)
    }

    pub fn step(&self, State(at): State, digit: u8) -> State {
        State(self.dfa.next_state(at, b'0' + digit))
    }

    /// The patterns that the digits so far match.
    pub fn matches(&self, State(at): State) -> Vec<u16> {
        // A match is known one step later: here at the end of the digits.
        let end = self.dfa.next_eoi_state(at);
        if !self.dfa.is_match_state(end) {
            return Vec::new();
        }
        let all = 0..self.dfa.match_len(end);
        all.filter_map(|n| {
            self.ids
                .get(self.dfa.match_pattern(end, n).as_usize())
                .copied()
        })
        .collect()
    }

    /// Nothing matches, whatever follows.
    pub fn is_spent(&self, at: State) -> bool {
        let dead = |State(state)| self.dfa.is_dead_state(state);
        dead(at) || (self.matches(at).is_empty() && (0..10).all(|digit| dead(self.step(at, digit))))
    }
}
