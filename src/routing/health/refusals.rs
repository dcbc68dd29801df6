//! What a carrier refuses nearly wholly, for whatever reason: counted for the carrier, and for each sender and country
//! where the refusal is about those. Pure; time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::clock::Mono;

use crate::{cause::About, number::Country};

/// The last answers of a carrier as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    last: VecDeque<(Mono, Kind)>,
    /// Refusals about the carrier or our account, with nothing taken in between.
    in_a_row: u32,
    /// Of the answers that have left `last`: how many, and the share that was refused.
    before: u32,
    share_before: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Taken,
    /// About this one request.
    Request,
    /// About the carrier or our account.
    Carrier,
}

/// So many answers are looked at.
const LAST: usize = 40;
/// Older ones say nothing of now.
const OLDEST: Duration = Duration::from_secs(900);
/// Refusals about the carrier or our account in a row that suspend.
const IN_A_ROW: u32 = 5;
/// Requests may be refused for their own sake: so many answers at least before their share says something.
const FLOOR: usize = 20;
/// Share of refusals that is nearly everything.
const NEARLY_ALL: f32 = 0.9;
/// So many answers make a baseline, and so far above it the share has left it.
const BASELINE_FLOOR: u32 = 100;
const ABOVE_BASELINE: f32 = 0.5;
/// The baseline forgets over about so many answers.
const BASELINE_MEMORY: u32 = 1_000;

impl Answered {
    /// None: taken. Refusals about a sender or a country are counted there, not here.
    pub fn add(&mut self, now: Mono, refused: Option<About>) {
        let kind = match refused {
            None => Kind::Taken,
            Some(About::Request) => Kind::Request,
            Some(About::Account | About::Carrier) => Kind::Carrier,
            Some(About::Sender | About::Country) => return,
        };
        match kind {
            Kind::Taken => self.in_a_row = 0,
            Kind::Carrier => self.in_a_row += 1,
            Kind::Request => {}
        }
        self.last.push_back((now, kind));
        while let Some((at, kind)) = self.last.front().copied()
            && (self.last.len() > LAST || now.saturating_duration_since(at) > OLDEST)
        {
            self.last.pop_front();
            self.before = (self.before + 1).min(BASELINE_MEMORY);
            let refused = f32::from(u8::from(kind != Kind::Taken));
            self.share_before += (refused - self.share_before) / self.before as f32;
        }
    }

    /// Why nothing more should go there, in numbers; None: nothing speaks against it.
    pub fn verdict(&self) -> Option<String> {
        if self.in_a_row >= IN_A_ROW {
            return Some(format!("{} refusals in a row", self.in_a_row));
        }
        let all = self.last.len();
        let refused = self.last.iter().filter(|(_, k)| *k != Kind::Taken).count();
        let share = refused as f32 / all.max(1) as f32;
        let nearly_all = all >= FLOOR && share >= NEARLY_ALL;
        let left_baseline = all >= LAST
            && self.before >= BASELINE_FLOOR
            && share >= self.share_before + ABOVE_BASELINE;
        (nearly_all || left_baseline).then(|| format!("{refused} of the last {all} refused"))
    }

    pub fn clear(&mut self) {
        self.last.clear();
        self.in_a_row = 0;
    }
}

/// What a refusal is about, where it is not about the carrier as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// None: whatever the sender.
    pub sender: Option<Arc<str>>,
    pub country: Country,
}

/// The scopes in which one carrier refuses, or has refused lately. Empty while it refuses nothing.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    all: HashMap<Scope, Gate>,
}

/// One scope: open, shut for a while, or let through one attempt at a time.
#[derive(Clone, Debug)]
struct Gate {
    last: VecDeque<bool>,
    in_a_row: u32,
    phase: GatePhase,
    /// Since when: answers to earlier attempts say nothing to it.
    since: Mono,
    /// Times shut without anything taken in between.
    trips: u32,
    /// The carrier's own word in its last refusal.
    refusal: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GatePhase {
    Open,
    Shut { until: Mono },
    Trying { out: Option<Mono> },
}

/// A scope is shut or open again: for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeChange {
    pub scope: Scope,
    /// None: it is taken again.
    pub shut_for: Option<Duration>,
    pub why: String,
}

/// Scopes that are kept at most; configuration has fewer senders and countries in use.
const MOST_SCOPES: usize = 1_024;
const SCOPE_LAST: usize = 20;
const SCOPE_FLOOR: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long the one attempt may be out; then another may try.
const TRY_WAIT: Duration = Duration::from_secs(30);

impl Scopes {
    /// Nothing is refused, nor was lately.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// An answer to an attempt that began at `begun`. `refused` None: taken.
    pub fn answered(
        &mut self,
        now: Mono,
        begun: Mono,
        (sender, country): (&Arc<str>, Country),
        refused: Option<(About, &Arc<str>)>,
    ) -> Option<ScopeChange> {
        let pair = || Scope {
            sender: Some(sender.clone()),
            country,
        };
        let whole = Scope {
            sender: None,
            country,
        };
        match refused {
            None if self.all.is_empty() => None,
            None => {
                let pair = self.taken(begun, pair());
                let whole = self.taken(begun, whole);
                pair.or(whole)
            }
            Some((About::Sender, code)) => self.refused(now, begun, pair(), code),
            Some((About::Country, code)) => self.refused(now, begun, whole, code),
            Some((About::Request | About::Account | About::Carrier, _)) => {
                for scope in [pair(), whole] {
                    if let Some(gate) = self.all.get_mut(&scope)
                        && let GatePhase::Trying { out } = &mut gate.phase
                    {
                        *out = None;
                    }
                }
                None
            }
        }
    }

    /// An attempt goes out.
    pub fn started(&mut self, now: Mono, sender: &Arc<str>, country: Country) {
        if self.all.is_empty() {
            return;
        }
        for sender in [Some(sender.clone()), None] {
            if let Some(gate) = self.all.get_mut(&Scope { sender, country })
                && let GatePhase::Trying { out } = &mut gate.phase
            {
                *out = Some(now);
            }
        }
    }

    /// True if something may be tried again.
    pub fn tick(&mut self, now: Mono) -> bool {
        let mut changed = false;
        for gate in self.all.values_mut() {
            match gate.phase {
                GatePhase::Shut { until } if until <= now => {
                    gate.phase = GatePhase::Trying { out: None };
                    gate.since = now;
                    changed = true;
                }
                GatePhase::Trying { out: Some(out) } if out + TRY_WAIT <= now => {
                    gate.phase = GatePhase::Trying { out: None };
                    changed = true;
                }
                GatePhase::Open | GatePhase::Shut { .. } | GatePhase::Trying { .. } => {}
            }
        }
        changed
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let deadlines = self.all.values().filter_map(|gate| match gate.phase {
            GatePhase::Shut { until } => Some(until),
            GatePhase::Trying { out } => out.map(|out| out + TRY_WAIT),
            GatePhase::Open => None,
        });
        deadlines.min()
    }

    /// The scopes that are not open, and whether one attempt may try.
    pub fn refusing(&self) -> impl Iterator<Item = (&Scope, bool)> {
        self.all
            .iter()
            .filter_map(|(scope, gate)| match gate.phase {
                GatePhase::Open => None,
                GatePhase::Shut { .. } | GatePhase::Trying { out: Some(_) } => Some((scope, false)),
                GatePhase::Trying { out: None } => Some((scope, true)),
            })
    }

    /// For the operator: what is refused, with the carrier's own word.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .all
            .iter()
            .filter(|(_, gate)| gate.phase != GatePhase::Open)
            .map(|(scope, gate)| match &scope.sender {
                Some(sender) => format!(
                    "refuses sender {sender} in {}: {}",
                    scope.country, gate.refusal
                ),
                None => format!("refuses country {}: {}", scope.country, gate.refusal),
            })
            .collect();
        words.sort_unstable();
        words
    }

    fn taken(&mut self, begun: Mono, scope: Scope) -> Option<ScopeChange> {
        let gate = self.all.get_mut(&scope)?;
        if gate.phase == GatePhase::Open {
            gate.add(true);
            // Nothing is left to remember of it.
            if gate.last.iter().all(|taken| *taken) {
                self.all.remove(&scope);
            }
            return None;
        }
        if begun < gate.since || matches!(gate.phase, GatePhase::Shut { .. }) {
            return None;
        }
        let shut = gate.trips;
        self.all.remove(&scope);
        Some(ScopeChange {
            scope,
            shut_for: None,
            why: format!("an attempt was taken, after {shut} pauses"),
        })
    }

    fn refused(
        &mut self,
        now: Mono,
        begun: Mono,
        scope: Scope,
        code: &Arc<str>,
    ) -> Option<ScopeChange> {
        if self.all.len() >= MOST_SCOPES && !self.all.contains_key(&scope) {
            return None;
        }
        let gate = self.all.entry(scope.clone()).or_insert_with(|| Gate {
            last: VecDeque::new(),
            in_a_row: 0,
            phase: GatePhase::Open,
            since: begun,
            trips: 0,
            refusal: code.clone(),
        });
        gate.refusal = code.clone();
        match gate.phase {
            GatePhase::Open => gate.add(false),
            GatePhase::Trying { .. } if begun >= gate.since => {}
            GatePhase::Shut { .. } | GatePhase::Trying { .. } => return None,
        }
        let why = match gate.phase {
            GatePhase::Open => gate.verdict()?,
            GatePhase::Shut { .. } | GatePhase::Trying { .. } => "refused again".to_owned(),
        };
        let pause = FIRST_PAUSE
            .saturating_mul(1 << gate.trips.min(16))
            .min(LONGEST_PAUSE);
        gate.trips += 1;
        gate.phase = GatePhase::Shut { until: now + pause };
        gate.since = now;
        gate.last.clear();
        Some(ScopeChange {
            scope,
            shut_for: Some(pause),
            why: format!("{why}, the last with {code}"),
        })
    }
}

impl Gate {
    fn add(&mut self, taken: bool) {
        self.in_a_row = if taken { 0 } else { self.in_a_row + 1 };
        self.last.push_back(taken);
        if self.last.len() > SCOPE_LAST {
            self.last.pop_front();
        }
    }

    fn verdict(&self) -> Option<String> {
        if self.in_a_row >= IN_A_ROW {
            return Some(format!("{} refusals in a row", self.in_a_row));
        }
        let all = self.last.len();
        let refused = self.last.iter().filter(|taken| !**taken).count();
        (all >= SCOPE_FLOOR && refused as f32 >= all as f32 * NEARLY_ALL)
            .then(|| format!("{refused} of the last {all} refused"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn us() -> Country {
        Country::parse("US").expect("US")
    }

    #[test]
    fn a_sender_that_is_refused_is_left_and_comes_back_by_one_attempt() {
        let (sender, other): (Arc<str>, Arc<str>) = ("97671".into(), "69829".into());
        let code: Arc<str> = "0x0000000a".into();
        let mut scopes = Scopes::default();
        let mut now = Mono::default();
        let about = || Some((About::Sender, &code));
        for n in 0..5 {
            assert_eq!(scopes.refusing().count(), 0, "after {n}");
            let change = scopes.answered(now, now, (&sender, us()), about());
            assert_eq!(change.is_some(), n == 4);
            scopes.answered(now, now, (&other, us()), None);
        }
        // Those that were in flight say nothing more.
        for _ in 0..20 {
            assert_eq!(scopes.answered(now, now, (&sender, us()), about()), None);
        }
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let until = scopes.next_deadline().expect("a pause that ends");
            pauses.push((until - now).as_secs());
            now = until;
            assert!(scopes.tick(now));
            assert!(scopes.refusing().all(|(_, free)| free));
            scopes.started(now, &sender, us());
            assert!(scopes.refusing().all(|(_, free)| !free));
            assert!(
                scopes
                    .answered(now + SECOND, now, (&sender, us()), about())
                    .is_some()
            );
            now += SECOND;
        }
        assert_eq!(pauses, [5, 10, 20]);
        now = scopes.next_deadline().expect("a pause that ends");
        scopes.tick(now);
        scopes.started(now, &sender, us());
        let back = scopes.answered(now, now, (&sender, us()), None);
        assert_eq!(back.map(|c| c.shut_for), Some(None));
        assert_eq!(scopes.refusing().count(), 0);
    }

    #[test]
    fn some_blocked_numbers_shut_no_sender() {
        let (sender, code): (Arc<str>, Arc<str>) = ("97671".into(), "608".into());
        let (mut scopes, now) = (Scopes::default(), Mono::default());
        for n in 0..400 {
            let refused = (n % 2 == 0).then_some((About::Sender, &code));
            assert_eq!(scopes.answered(now, now, (&sender, us()), refused), None);
        }
    }
}
