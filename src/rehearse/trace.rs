//! What happened, in order: its hash, the last of it, and all of it for whoever asks.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use crate::carrier::AttemptEvent;

pub struct Trace<'t> {
    hash: u64,
    last: VecDeque<String>,
    listener: Option<&'t mut dyn FnMut(&str)>,
    pub faults: BTreeMap<&'static str, u64>,
    pub reached: BTreeMap<&'static str, u64>,
}

/// So many events are kept for a violation.
const KEPT: usize = 40;
/// FNV-1a.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl<'t> Trace<'t> {
    pub fn new(listener: Option<&'t mut dyn FnMut(&str)>) -> Trace<'t> {
        Trace {
            hash: OFFSET,
            last: VecDeque::with_capacity(KEPT),
            listener,
            faults: BTreeMap::new(),
            reached: BTreeMap::new(),
        }
    }

    pub fn event(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        let mut line = match self.last.len() >= KEPT {
            true => self.last.pop_front().unwrap_or_default(),
            false => String::new(),
        };
        line.clear();
        let written = fmt::write(&mut line, format_args!("{:>12.6} {what}", at.as_secs_f64()));
        debug_assert!(written.is_ok(), "a string takes everything");
        for octet in line.bytes() {
            self.hash = (self.hash ^ u64::from(octet)).wrapping_mul(PRIME);
        }
        if let Some(listener) = &mut self.listener {
            listener(&line);
        }
        self.last.push_back(line);
    }

    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub fn reached(&mut self, state: &'static str) {
        *self.reached.entry(state).or_default() += 1;
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

/// An event as the trace shows it.
pub(super) fn word(event: &AttemptEvent) -> &'static str {
    match event {
        AttemptEvent::Accepted { .. } => "taken",
        AttemptEvent::Ringing => "ringing",
        AttemptEvent::Answered => "answered",
        AttemptEvent::KeyPressed(_) => "a key",
        AttemptEvent::CallState(..) => "call state",
        AttemptEvent::CallCleared => "cleared",
        AttemptEvent::CallEnded(_) => "call ended",
        AttemptEvent::Failed(failure) => failure.cause.name(),
        AttemptEvent::InDoubt { .. } => "in doubt",
    }
}
