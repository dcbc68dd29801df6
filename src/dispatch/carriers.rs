//! The carriers as dispatch sees them: slots, pace, health, and the budget for hedges.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Update, UpdateLink, carrier_log::CarrierLog};
use crate::{
    carrier::{Command, Handle, Link},
    challenge::AttemptKey,
    config::{
        CarrierConfig,
        carrier::{Pace, Transport},
    },
    routing::{
        Bucket, Health, HealthSettings, Standing,
        health::{Evidence, Outcome, Reason, Scopes, Unmatched},
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
    /// Senders and countries that it refuses.
    pub scopes: Scopes,
    /// Receipts that nobody is known for.
    pub unmatched: Unmatched,
    /// It refuses our credentials, with this word.
    pub login: Option<Arc<str>>,
    /// What the log has told of it.
    pub log: CarrierLog,
    /// Texts that it took and whose receipts are awaited: since when.
    awaited: HashMap<AttemptKey, Awaited>,
    /// The same in the order in which they were taken.
    awaited_order: VecDeque<(Instant, AttemptKey)>,
    /// The one attempt that was let through while it comes back.
    probe: Option<AttemptKey>,
    /// Orders that hold a slot: texts until they are answered, calls until they are over.
    holding: HashMap<AttemptKey, Instant>,
    /// Removed from the configuration: takes nothing new.
    pub leaving: bool,
    /// Drivers that had the name before, as long as they have something to finish.
    before: Vec<Handle>,
    /// Somebody found it out of tokens.
    starved: bool,
}

/// A text whose receipt is awaited.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    since: Instant,
    /// It has counted as missing; should it come after all, it counts again, for the carrier.
    missed: bool,
}

/// A carrier's hedge budget is this part of its pace, or of what it really carries.
const HEDGE_SHARE: u32 = 10;
/// So many texts whose receipts are awaited are watched at once; beyond them a receipt that is missing is not noticed.
const AWAITED: usize = 4_096;
/// What a health that is only missing receipts still waits for is forgotten after the longest life of a challenge.
const AWAITED_LONGEST: Duration = Duration::from_secs(900);
/// Longer than any order may take: the longest life of a challenge and the longest call after it.
const LONGEST_HOLD: Duration = Duration::from_secs(900 + 600 + 60);
/// Bounds of the wait before a hedge, whatever a carrier's answers took lately.
const DOUBT_WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

impl Running {
    pub fn new(config: Arc<CarrierConfig>, handle: Handle, now: Instant) -> Running {
        let settings = HealthSettings {
            relays: matches!(config.transport, Transport::Sip(_)),
            ..HealthSettings::default()
        };
        let health = Health::new(now, settings);
        Running {
            pace: Bucket::new(config.pace),
            hedges: Bucket::new(config.pace.map(|pace| Pace {
                count: (pace.count / HEDGE_SHARE).max(1),
                per: pace.per,
            })),
            scopes: Scopes::default(),
            unmatched: Unmatched::new(now),
            login: None,
            log: CarrierLog::new(health.state()),
            awaited: HashMap::new(),
            awaited_order: VecDeque::new(),
            health,
            handle,
            config,
            probe: None,
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
        if hedge && self.config.pace.is_none() {
            let budget = self.measured_hedges(now);
            self.hedges.change(Some(budget));
        }
        let token = self.pace.ready(now) && (!hedge || self.hedges.ready(now));
        self.starved |= !token;
        let room = token && self.has_slot();
        match self.health.standing() {
            Standing::Healthy | Standing::Full if !room => Standing::Full,
            Standing::Probing { .. } if !room => Standing::Probing { free: false },
            Standing::NoReceipts { free } => Standing::NoReceipts { free: free && room },
            other => other,
        }
    }

    /// Hedges for a carrier that names no pace: a tenth of what it really carries, and a window a second at least. So
    /// what a lost link left in doubt is soon asked elsewhere, and doesn't double the traffic there.
    fn measured_hedges(&mut self, now: Instant) -> Pace {
        hedges(self.health.carried(now), self.handle.slots.get())
    }

    fn has_slot(&self) -> bool {
        !self.leaving && (self.holding.len() as u64) < u64::from(self.handle.slots.get())
    }

    /// When the next token is there, for somebody who found none.
    fn next_token(&self, now: Instant) -> Option<Instant> {
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
    pub fn take_slot(&mut self, now: Instant, key: AttemptKey, hedge: bool, left: Duration) {
        self.pace.take(now);
        if hedge {
            self.hedges.take(now);
        }
        self.holding.insert(key, now);
        if self.health.standing() == (Standing::Probing { free: true }) {
            self.probe = Some(key);
        }
        self.health.event(now, Evidence::Started { left });
    }

    /// It took this text: its receipt is awaited.
    pub fn awaits_receipt(&mut self, now: Instant, key: AttemptKey) {
        if self.awaited.len() < AWAITED {
            let fresh = Awaited {
                since: now,
                missed: false,
            };
            self.awaited.entry(key).or_insert(fresh);
            self.awaited_order.push_back((now, key));
        }
        self.trim_awaited();
    }

    /// Those in front for which nobody waits any more.
    fn trim_awaited(&mut self) {
        while let Some((_, key)) = self.awaited_order.front()
            && !self.awaited.contains_key(key)
        {
            self.awaited_order.pop_front();
        }
    }

    /// A receipt for this text came, good or bad: counted once.
    pub fn receipt(&mut self, now: Instant, key: AttemptKey, delivered: bool) {
        if let Some(text) = self.awaited.remove(&key) {
            let after = now.saturating_duration_since(text.since);
            self.health
                .event(now, Evidence::Receipt { delivered, after });
            self.trim_awaited();
        }
    }

    /// A text whose receipt should have come by now, as long as this carrier's receipts take. Asked again until none is
    /// left; [`Running::missed`] counts it.
    pub fn overdue_receipt(&mut self, now: Instant) -> Option<AttemptKey> {
        let wait = self.health.receipt_wait()?;
        while let Some((since, key)) = self.awaited_order.front().copied() {
            if since + wait > now {
                return None;
            }
            self.awaited_order.pop_front();
            if self.awaited.get(&key).is_some_and(|text| !text.missed) {
                return Some(key);
            }
        }
        None
    }

    /// When [`Running::overdue_receipt`] has something to say.
    fn next_overdue(&self) -> Option<Instant> {
        let (since, _) = self.awaited_order.front()?;
        Some(*since + self.health.receipt_wait()?)
    }

    /// No receipt came for this text, which still waits for one. Counted once.
    pub fn missed(&mut self, now: Instant, key: AttemptKey) {
        if let Some(text) = self.awaited.get_mut(&key)
            && !std::mem::replace(&mut text.missed, true)
        {
            let after = now.saturating_duration_since(text.since);
            self.health.event(now, Evidence::NoReceipt { after });
        }
    }

    /// Nobody waits for this text's receipt any more.
    pub fn forget_receipt(&mut self, key: AttemptKey) {
        self.awaited.remove(&key);
    }

    /// The next moment at which something is to be done here.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        [
            self.health.next_deadline(),
            self.next_token(now),
            self.scopes.next_deadline(),
            self.next_overdue(),
        ]
        .into_iter()
        .flatten()
        .min()
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
        let old = |since: Instant| now.saturating_duration_since(since) > AWAITED_LONGEST;
        self.awaited.retain(|_, text| !old(text.since));
        while self.awaited_order.front().is_some_and(|(s, _)| old(*s)) {
            self.awaited_order.pop_front();
        }
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

    /// This attempt never left, or was ended by us: if it was the probe, another may go.
    pub fn void_probe(&mut self, now: Instant, key: AttemptKey) {
        if self.probe == Some(key) {
            self.probe = None;
            self.health.event(now, Evidence::ProbeVoid);
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
        std::mem::swap(&mut anew.log, &mut self.log);
        std::mem::swap(&mut anew.awaited, &mut self.awaited);
        std::mem::swap(&mut anew.awaited_order, &mut self.awaited_order);
        if !fresh {
            std::mem::swap(&mut anew.health, &mut self.health);
            std::mem::swap(&mut anew.scopes, &mut self.scopes);
            std::mem::swap(&mut anew.unmatched, &mut self.unmatched);
            (anew.probe, anew.login) = (self.probe, self.login.take());
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
            Link::Up => {
                // A bind or a connection is an answer; an address, or a carrier that is never probed, is none.
                let answered = match self.config.transport {
                    Transport::Smpp(_) => true,
                    Transport::Http(_) => self.config.probe.is_some(),
                    Transport::Sip(_) => false,
                };
                self.health.event(now, Evidence::LinkUp { answered })
            }
            Link::Down { reason } => self.health.event(
                now,
                Evidence::LinkDown {
                    reason: reason.clone(),
                },
            ),
            Link::Probe { ok } => self.health.event(now, Evidence::Probe { ok: *ok }),
            Link::Unavailable { reason } => self.health.event(
                now,
                Evidence::Unavailable {
                    reason: reason.clone(),
                },
            ),
            Link::Room => false,
        }
    }
}

/// What it carries a second, and its window.
fn hedges(carried: f64, window: u32) -> Pace {
    let share = carried / f64::from(HEDGE_SHARE);
    Pace {
        count: (share as u32).max(window).max(1),
        per: Duration::from_secs(1),
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

    /// The carriers of another configuration take over; `names` are all that it uses. Drivers that have a successor of their
    /// name, and trunks, are told to finish; those of texts that nobody uses any more are given back: they may still have
    /// receipts to bring. A driver may have another name now, with its calls.
    pub fn take_over(
        &mut self,
        updates: Vec<Update>,
        names: &BTreeSet<Arc<str>>,
        now: Instant,
    ) -> Vec<Handle> {
        let (mut finish, mut unused) = (Vec::new(), Vec::new());
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
                match running.config.transport {
                    Transport::Sip(_) => finish.push(running.handle.clone()),
                    Transport::Smpp(_) | Transport::Http(_) => unused.push(running.handle.clone()),
                }
            }
        }
        unused.retain(|handle| !self.serves(handle));
        for handle in finish.iter().filter(|handle| !self.serves(handle)) {
            // Refused by one that has ended.
            let _ = handle.commands.try_send(Command::Drain);
        }
        commits.into_iter().for_each(|commit| commit());
        unused
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_keep_to_a_tenth_of_what_is_carried_and_to_a_window_at_least() {
        let count = |carried, window| hedges(carried, window).count;
        assert_eq!(count(3_000.0, 100), 300);
        assert_eq!(count(500.0, 100), 100);
        assert_eq!(count(0.0, 100), 100);
        assert_eq!(
            count(0.0, 0),
            1,
            "never none: its slots are counted elsewhere"
        );
    }
}
