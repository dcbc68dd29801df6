//! The carriers as dispatch sees them: slots, pace, health, and the budget for hedges.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    carrier::{Command, Commit, Handle, Link},
    challenge::AttemptKey,
    config::{
        CarrierConfig,
        carrier::{Pace, Transport},
    },
    routing::{
        Bucket, Health, HealthSettings, Standing,
        health::{Evidence, Outcome, Reason},
    },
};

/// A running carrier.
#[derive(Debug)]
pub struct Running {
    pub config: Arc<CarrierConfig>,
    pub handle: Handle,
    pub health: Health,
    pace: Bucket,
    hedges: Bucket,
    /// Orders that hold a slot: texts until they are answered, calls until they are over.
    holding: HashMap<AttemptKey, Instant>,
    /// Removed from the configuration: takes nothing new.
    pub leaving: bool,
    /// Drivers that had the name before, as long as they have something to finish.
    before: Vec<Handle>,
    /// Somebody found it out of tokens.
    starved: bool,
}

/// Hedges a second for a carrier without a pace.
const HEDGES_UNPACED: u32 = 20;
/// A carrier's hedge budget is this part of its pace.
const HEDGE_SHARE: u32 = 10;
/// Longer than any order may take: the longest life of a challenge and the longest call after it.
const LONGEST_HOLD: Duration = Duration::from_secs(900 + 600 + 60);
/// Bounds of the wait before a hedge, whatever a carrier's answers took lately.
const DOUBT_WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

impl Running {
    pub fn new(config: Arc<CarrierConfig>, handle: Handle, now: Instant) -> Running {
        let hedges = config.pace.map_or(
            Pace {
                count: HEDGES_UNPACED,
                per: Duration::from_secs(1),
            },
            |pace| Pace {
                count: (pace.count / HEDGE_SHARE).max(1),
                per: pace.per,
            },
        );
        Running {
            pace: Bucket::new(config.pace),
            hedges: Bucket::new(Some(hedges)),
            health: Health::new(now, HealthSettings::default()),
            handle,
            config,
            holding: HashMap::new(),
            leaving: false,
            before: Vec::new(),
            starved: false,
        }
    }

    pub fn in_flight(&self) -> usize {
        self.holding.len()
    }

    /// What the plan is told: health first, then whether a slot is free by window and by pace.
    pub fn standing(&mut self, now: Instant, hedge: bool) -> Standing {
        if self.handle.commands.is_closed() {
            // The driver has ended: whoever waits for its slots would wait for ever.
            return Standing::Suspended(Reason::NotConnected);
        }
        let token = self.pace.ready(now) && (!hedge || self.hedges.ready(now));
        self.starved |= !token;
        let room = token && self.has_slot();
        match self.health.standing() {
            Standing::Healthy | Standing::Full if !room => Standing::Full,
            Standing::Probing { .. } if !room => Standing::Probing { free: false },
            other => other,
        }
    }

    fn has_slot(&self) -> bool {
        !self.leaving && (self.holding.len() as u64) < u64::from(self.handle.slots.get())
    }

    /// When the next token is there, for somebody who found none.
    pub fn next_token(&self, now: Instant) -> Option<Instant> {
        self.starved.then(|| match self.pace.next(now) {
            // The pace has a token: then it was the budget for hedges.
            at if at <= now => self.hedges.next(now),
            at => at,
        })
    }

    /// True once when tokens are back.
    pub fn refilled(&mut self, now: Instant) -> bool {
        let back = self.starved && self.pace.ready(now);
        self.starved &= !back;
        back
    }

    /// Takes the slot that [`Running::standing`] has shown.
    pub fn take_slot(&mut self, now: Instant, key: AttemptKey, hedge: bool) {
        self.pace.take(now);
        if hedge {
            self.hedges.take(now);
        }
        self.holding.insert(key, now);
        self.health.event(now, Evidence::Started);
    }

    /// When this order took its slot, if it still holds it.
    pub fn since(&self, key: AttemptKey) -> Option<Instant> {
        self.holding.get(&key).copied()
    }

    /// The orders that hold a slot.
    pub fn held(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.holding.keys().copied()
    }

    /// Frees the slots of orders of which a driver that is gone will say nothing any more. True if there were any.
    pub fn sweep(&mut self, now: Instant) -> bool {
        let before = self.holding.len();
        self.holding
            .retain(|_, since| now.saturating_duration_since(*since) < LONGEST_HOLD);
        let freed = before - self.holding.len();
        if freed > 0 {
            tracing::error!(carrier = %self.handle.name, orders = freed, "never settled by the driver; their slots are free again");
        }
        freed > 0
    }

    pub fn is_voice(&self) -> bool {
        matches!(self.config.transport, Transport::Sip(_))
    }

    /// The order is answered or over. False if it held no slot.
    pub fn free_slot(&mut self, key: AttemptKey) -> bool {
        self.holding.remove(&key).is_some()
    }

    /// An order's outcome, as far as it speaks of the carrier; counted once, while the slot is held.
    pub fn outcome(&mut self, now: Instant, key: AttemptKey, outcome: Outcome) {
        if let Some(since) = self.since(key) {
            let after = now.saturating_duration_since(since);
            self.health.event(now, Evidence::Outcome { outcome, after });
        }
    }

    /// False: the driver is gone or swamped; the order is not on its way. What is about a call goes to the drivers before
    /// as well: it may be theirs.
    pub fn command(&self, command: Command) -> bool {
        for before in &self.before {
            let the_same = match &command {
                Command::HangUp(key) => Command::HangUp(*key),
                Command::Recorded(mark) => Command::Recorded(*mark),
                Command::End => Command::End,
                Command::Submit(_) | Command::Drain | Command::Prepare(_) => break,
            };
            // Refused by one that has ended.
            let _ = before.commands.try_send(the_same);
        }
        self.handle.commands.try_send(command).is_ok()
    }

    /// The same driver by another file: what is known of it stays known, unless its link is another.
    fn become_by(&mut self, config: Arc<CarrierConfig>, fresh: bool, now: Instant) {
        let mut anew = Running::new(config, self.handle.clone(), now);
        self.pace.change(anew.config.pace);
        std::mem::swap(&mut anew.pace, &mut self.pace);
        std::mem::swap(&mut anew.holding, &mut self.holding);
        std::mem::swap(&mut anew.before, &mut self.before);
        if !fresh {
            std::mem::swap(&mut anew.health, &mut self.health);
        }
        *self = anew;
    }

    /// How long to wait before an attempt in doubt is hedged.
    pub fn doubt_wait(&self) -> Duration {
        self.health
            .answer_p99()
            .unwrap_or(DOUBT_WAIT.0)
            .clamp(DOUBT_WAIT.0, DOUBT_WAIT.1)
    }

    /// True if the carrier's state is another now.
    pub fn link(&mut self, now: Instant, link: &Link) -> bool {
        match link {
            Link::Up => self.health.event(now, Evidence::LinkUp),
            Link::Down { reason } => self.health.event(
                now,
                Evidence::LinkDown {
                    reason: reason.clone(),
                },
            ),
            Link::Probe { ok } => self.health.event(now, Evidence::Probe { ok: *ok }),
            Link::Room => false,
        }
    }
}

/// A carrier of another configuration.
pub struct Update {
    pub config: Arc<CarrierConfig>,
    pub handle: Handle,
    pub link: UpdateLink,
    /// Sets the driver going, or changes it: once dispatch knows it.
    pub commit: Commit,
}

/// What becomes of a driver's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateLink {
    /// A driver that begins; one that had the name before finishes what it has.
    New,
    /// The same driver by other addresses or credentials: what is known of its health is of no use.
    Fresh,
    /// The same driver, the same link.
    Stays,
}

impl UpdateLink {
    pub fn of(fresh: bool) -> UpdateLink {
        match fresh {
            true => UpdateLink::Fresh,
            false => UpdateLink::Stays,
        }
    }
}

/// All running carriers, by name.
#[derive(Debug, Default)]
pub struct Carriers {
    all: Vec<Running>,
    names: HashMap<Arc<str>, usize>,
}

impl Carriers {
    pub fn get(&self, name: &str) -> Option<&Running> {
        self.names.get(name).map(|at| &self.all[*at])
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Running> {
        self.names.get(name).map(|at| &mut self.all[*at])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Running> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        self.all.iter_mut()
    }

    /// The carriers of another configuration take over; `names` are all that it uses. Drivers that nobody has any more
    /// are told to finish. A driver may have another name now, with its calls.
    pub fn take_over(&mut self, updates: Vec<Update>, names: &BTreeSet<Arc<str>>, now: Instant) {
        let mut finish = Vec::new();
        let mut commits = Vec::new();
        for update in updates {
            commits.push(update.commit);
            let known = self.names.get(&update.handle.name).copied();
            let same = known.filter(|at| {
                let own = &self.all[*at].handle.commands;
                own.same_channel(&update.handle.commands)
            });
            match same {
                Some(at) => {
                    let fresh = update.link != UpdateLink::Stays;
                    self.all[at].become_by(update.config, fresh, now);
                }
                None => {
                    let running = Running::new(update.config, update.handle, now);
                    finish.extend(self.put(known, running));
                }
            }
        }
        for running in &mut self.all {
            if !names.contains(&running.handle.name) && !running.leaving {
                running.leaving = true;
                finish.push(running.handle.clone());
            }
        }
        for handle in finish.iter().filter(|handle| !self.serves(handle)) {
            // Refused by one that has ended.
            let _ = handle.commands.try_send(Command::Drain);
        }
        commits.into_iter().for_each(|commit| commit());
    }

    /// Gives the driver that had the name before.
    fn put(&mut self, known: Option<usize>, mut running: Running) -> Option<Handle> {
        let Some(at) = known else {
            let name = running.handle.name.clone();
            self.names.insert(name, self.all.len());
            self.all.push(running);
            return None;
        };
        let before = &mut self.all[at];
        running.holding = std::mem::take(&mut before.holding);
        running.before = std::mem::take(&mut before.before);
        running.before.push(before.handle.clone());
        running.before.retain(|h| !h.commands.is_closed());
        let before = std::mem::replace(before, running);
        Some(before.handle)
    }

    /// Is it the driver of a carrier in use?
    fn serves(&self, handle: &Handle) -> bool {
        let mut used = self.all.iter().filter(|running| !running.leaving);
        used.any(|running| running.handle.commands.same_channel(&handle.commands))
    }
}
