//! What every phone saw, heard and pressed, in the order it happened: the oracle's memory.
//!
//! All simulated carriers of a process may share one [`Record`]. It is bounded: beyond its limit the oldest
//! lines are forgotten (and counted), and a load run keeps no lines at all, only the [`Summary`] and the codes
//! per number. The text of a line is for tests and people in front of a simulator; it never leaves by a log.

pub use entry::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

mod entry;

/// Lines kept unless said otherwise.
pub const DEFAULT_LINES: usize = 100_000;
/// Numbers whose codes a load run remembers.
pub const MAX_NUMBERS: usize = 2_000_000;
/// Codes remembered per number.
pub const MAX_CODES_PER_NUMBER: usize = 16;

/// Counts of everything since the start (or the last [`Record::clear`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Texts, refused ones too.
    pub texts: u64,
    /// Texts a person could read.
    pub texts_read: u64,
    /// Texts refused.
    pub texts_refused: u64,
    /// Texts taken whose answer was kept back.
    pub texts_unanswered: u64,
    /// Parts of texts.
    pub parts: u64,
    /// Numbers that got a text or heard digits.
    pub numbers: u64,
    /// Codes that reached the same number more than once.
    pub repeated_codes: u64,
    /// Receipts by state.
    pub receipts: BTreeMap<String, u64>,
    /// Calls, however they ended.
    pub calls: u64,
    /// Calls by result.
    pub calls_by_result: BTreeMap<CallResult, u64>,
    /// Calls in which a key was pressed.
    pub calls_with_keys: u64,
    /// Media packets received.
    pub packets_received: u64,
    /// Media packets missing.
    pub packets_lost: u64,
    /// Rules the gateway broke.
    pub protocol_errors: u64,
    /// Lines forgotten because the record was full.
    pub forgotten: u64,
}

/// Shared, bounded, thread-safe. Clones are the same record.
#[derive(Clone, Debug)]
pub struct Record {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Lines kept; 0: counters and codes only.
    limit: usize,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    last: u64,
    summary: Summary,
    codes: HashMap<Box<str>, Vec<Box<str>>>,
}

impl Default for Record {
    fn default() -> Self {
        Record::new()
    }
}

impl Record {
    /// Keeps [`DEFAULT_LINES`].
    pub fn new() -> Record {
        Record::with_limit(DEFAULT_LINES)
    }

    /// For load runs: counters and the codes per number, no lines.
    pub fn counters_only() -> Record {
        Record::with_limit(0)
    }

    /// Keeps the last `limit` lines.
    pub fn with_limit(limit: usize) -> Record {
        let inner = Inner {
            limit,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Record {
            inner: Arc::new(inner),
        }
    }

    /// Add a line now; returns its `seq`.
    pub fn push(&self, carrier: &Arc<str>, entry: Entry) -> u64 {
        let mut state = self.state();
        state.count(&entry);
        state.last += 1;
        let seq = state.last;
        if self.inner.limit > 0 {
            if state.lines.len() >= self.inner.limit {
                state.lines.pop_front();
                state.summary.forgotten += 1;
            }
            state.lines.push_back(Line {
                seq,
                at: SystemTime::now(),
                carrier: carrier.clone(),
                entry,
            });
        }
        drop(state);
        self.announce();
        seq
    }

    /// A receipt was sent for the text of line `seq`.
    pub fn receipt(&self, seq: u64, stat: &str) {
        let mut state = self.state();
        match state.summary.receipts.get_mut(stat) {
            Some(count) => *count += 1,
            None => {
                state.summary.receipts.insert(stat.to_owned(), 1);
            }
        }
        if let Some(Entry::Text(text)) = state.line_mut(seq).map(|line| &mut line.entry) {
            text.receipts.push(stat.to_owned());
        }
        drop(state);
        self.announce();
    }

    /// The gateway broke a rule. `reason` carries no content of the message.
    pub fn protocol_error(&self, carrier: &Arc<str>, protocol: &str, reason: impl Into<String>) {
        let error = ProtocolError {
            protocol: protocol.to_owned(),
            reason: reason.into(),
        };
        self.push(carrier, Entry::ProtocolError(error));
    }

    /// Every line after `seq` (0: from the beginning).
    pub fn since(&self, seq: u64) -> Vec<Line> {
        self.state()
            .lines
            .iter()
            .filter(|line| line.seq > seq)
            .cloned()
            .collect()
    }

    /// Every line kept.
    pub fn lines(&self) -> Vec<Line> {
        self.since(0)
    }

    /// The texts that went to `number` (compared by digits).
    pub fn texts_to(&self, number: &str) -> Vec<Text> {
        self.to(number)
            .into_iter()
            .filter_map(|line| line.entry.text().cloned())
            .collect()
    }

    /// The calls that went to `number` (compared by digits).
    pub fn calls_to(&self, number: &str) -> Vec<Call> {
        self.to(number)
            .into_iter()
            .filter_map(|line| line.entry.call().cloned())
            .collect()
    }

    /// The lines about `number` (compared by digits).
    pub fn to(&self, number: &str) -> Vec<Line> {
        self.state()
            .lines
            .iter()
            .filter(|line| same_number(line.entry.to(), number))
            .cloned()
            .collect()
    }

    /// The codes that reached `number`, read or heard, oldest first; kept in load runs too.
    pub fn codes_to(&self, number: &str) -> Vec<String> {
        let state = self.state();
        let codes = state
            .codes
            .get(crate::subscriber::digits_of(number).as_str());
        codes
            .into_iter()
            .flatten()
            .map(|code| code.to_string())
            .collect()
    }

    /// Counts so far.
    pub fn summary(&self) -> Summary {
        self.state().summary.clone()
    }

    /// Forget lines, codes and counts; `seq` goes on counting.
    pub fn clear(&self) {
        let mut state = self.state();
        let last = state.last;
        *state = State {
            last,
            ..State::default()
        };
        drop(state);
        self.announce();
    }

    /// The first line, past or to come, that `wanted` says yes to; none when `limit` has passed.
    pub async fn wait_for(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&Line) -> bool,
    ) -> Option<Line> {
        self.wait(limit, |state| {
            state.lines.iter().find(|line| wanted(line)).cloned()
        })
        .await
    }

    /// Wait until the counts are as wanted; what they are then, or none when `limit` has passed.
    pub async fn wait_until(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&Summary) -> bool,
    ) -> Option<Summary> {
        self.wait(limit, |state| {
            wanted(&state.summary).then(|| state.summary.clone())
        })
        .await
    }

    /// For a stream of lines: changes whenever there is something new.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    async fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.watch();
        let found = async {
            loop {
                changed.mark_unchanged();
                let found = look(&self.state());
                if found.is_some() || changed.changed().await.is_err() {
                    return found;
                }
            }
        };
        tokio::time::timeout(limit, found).await.ok().flatten()
    }

    fn announce(&self) {
        self.inner
            .changed
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Nothing panics while it is held; a poisoned lock still holds whole lines.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line_mut(&mut self, seq: u64) -> Option<&mut Line> {
        let first = self.lines.front()?.seq;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.lines.get_mut(at)
    }

    fn count(&mut self, entry: &Entry) {
        let sum = &mut self.summary;
        match entry {
            Entry::Text(text) => {
                sum.texts += 1;
                sum.parts += u64::from(text.parts);
                sum.texts_unanswered += u64::from(!text.answered);
                match text.result {
                    TextResult::Read => {
                        sum.texts_read += 1;
                        self.remember(&text.to, code_in(&text.text));
                    }
                    TextResult::Unread => {}
                    TextResult::Refused => sum.texts_refused += 1,
                }
            }
            Entry::Call(call) => {
                sum.calls += 1;
                *sum.calls_by_result.entry(call.result).or_default() += 1;
                sum.calls_with_keys += u64::from(!call.pressed.is_empty());
                sum.packets_received += call.packets_received;
                sum.packets_lost += call.packets_lost;
                if !call.digits_heard.is_empty() {
                    self.remember(&call.to, Some(&call.digits_heard));
                }
            }
            Entry::ProtocolError(_) => sum.protocol_errors += 1,
        }
    }

    fn remember(&mut self, to: &str, code: Option<&str>) {
        let Some(code) = code else { return };
        let to = to.trim_start_matches('+');
        if !self.codes.contains_key(to) {
            if self.codes.len() >= MAX_NUMBERS {
                return;
            }
            self.codes.insert(to.into(), Vec::with_capacity(1));
            self.summary.numbers += 1;
        }
        let Some(known) = self.codes.get_mut(to) else {
            return;
        };
        if known.iter().any(|old| &**old == code) {
            self.summary.repeated_codes += 1;
        } else if known.len() < MAX_CODES_PER_NUMBER {
            known.push(code.into());
        }
    }
}

/// The first run of four to ten digits: what a person would type in.
pub fn code_in(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_digit())
        .find(|run| (4..=10).contains(&run.len()))
}

fn same_number(one: &str, other: &str) -> bool {
    let digits = |s: &'_ str| s.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let one = digits(one);
    !one.is_empty() && one == digits(other)
}

#[cfg(test)]
mod tests;
