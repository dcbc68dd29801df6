//! A carrier's receipts against its own baseline. Pure; time is an argument.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Mono;

/// The carrier's own share of delivered texts, slowly moving.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Baseline {
    pub share: f32,
    pub seen: u32,
}

/// The last receipts, so few that a collapse shows soon. Only what has left them becomes baseline: else the baseline
/// would fall with what is held against it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    last: VecDeque<(Mono, bool)>,
    good: u32,
}

/// So many receipts are held against the baseline at the most.
const RECENT: usize = 64;

impl Recent {
    /// Takes one in; those that are too old or too many go, into the baseline.
    pub fn add(&mut self, now: Mono, window: Duration, delivered: bool, baseline: &mut Baseline) {
        self.last.push_back((now, delivered));
        self.good += u32::from(delivered);
        let old = |at: Mono| now.saturating_duration_since(at) > window;
        while let Some((at, was)) = self.last.front().copied()
            && (self.last.len() > RECENT || old(at))
        {
            self.last.pop_front();
            self.good -= u32::from(was);
            baseline.add(was);
        }
    }

    pub fn seen(&self) -> u32 {
        self.last.len() as u32
    }

    pub fn share(&self) -> f32 {
        self.good as f32 / self.seen().max(1) as f32
    }

    pub fn clear(&mut self) {
        *self = Recent::default();
    }
}

/// The baseline forgets over about so many receipts.
const BASELINE_MEMORY: u32 = 1000;
/// A carrier that hardly ever sends good receipts has no baseline to fall from.
pub(super) const BASELINE_LEAST: f32 = 0.2;

impl Baseline {
    pub fn add(&mut self, delivered: bool) {
        self.seen = (self.seen + 1).min(BASELINE_MEMORY);
        let step = 1.0 / self.seen as f32;
        self.share += (f32::from(u8::from(delivered)) - self.share) * step;
    }
}
