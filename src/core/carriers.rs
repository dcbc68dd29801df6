//! The carriers as dispatch sees them: slots, pace, health, and the budget for hedges.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    CarrierUpdate, UpdateLink,
    carrier_log::CarrierLog,
    output::{Output, Outputs},
    share::Share,
};
use crate::{
    carrier::{CallMark, CallOrder, CallToEnd, DriverId, Finish, Slots, TextOrder},
    challenge::AttemptKey,
    clock::Mono,
    config::{
        CarrierConfig,
        carrier::{Pace, Transport},
    },
    pace::Bucket,
    routing::{
        Availability, Health, HealthSettings,
        health::{Evidence, Outcome, Reason, Scopes, Unmatched},
    },
};

/// A running carrier.
mod set;

pub use set::{Carriers, Unused};

#[derive(Debug)]
pub struct Running {
    pub config: Arc<CarrierConfig>,
    pub driver: DriverId,
    /// How many orders its driver can have in flight now.
    slots: Slots,
    /// Its driver has ended.
    gone: bool,
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
    awaited_order: VecDeque<(Mono, AttemptKey)>,
    /// The one attempt that was let through while it comes back.
    probe: Option<AttemptKey>,
    /// Orders that hold a slot: texts until they are answered, calls until they are over.
    holding: BTreeMap<AttemptKey, Mono>,
    /// Removed from the configuration: takes nothing new.
    pub leaving: bool,
    /// Drivers that had the name before, as long as they have something to finish.
    before: Vec<DriverId>,
    /// Somebody found it out of tokens.
    starved: bool,
    /// This node's part of its pace and of its calls.
    share: Share,
}

/// A text whose receipt is awaited.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    since: Mono,
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
    pub fn new(update: CarrierUpdate, now: Mono) -> Running {
        let CarrierUpdate {
            config,
            driver,
            slots,
            ..
        } = update;
        let settings = HealthSettings {
            relays: matches!(config.transport, Transport::Sip(_)),
            ..HealthSettings::default()
        };
        let health = Health::new(now, settings);
        Running {
            pace: Bucket::new(config.pace),
            hedges: Bucket::new(None),
            scopes: Scopes::default(),
            unmatched: Unmatched::new(now),
            login: None,
            log: CarrierLog::new(health.state()),
            awaited: HashMap::new(),
            awaited_order: VecDeque::new(),
            health,
            driver,
            slots,
            gone: false,
            config,
            probe: None,
            holding: BTreeMap::new(),
            leaving: false,
            before: Vec::new(),
            starved: false,
            share: Share::WHOLE,
        }
    }

    pub fn share(&mut self, share: Share) {
        self.share = share;
        self.pace.change(share.pace(self.config.pace));
    }

    pub fn in_flight(&self) -> usize {
        self.holding.len()
    }

    /// What the plan is told: health first, then whether a slot is free by window and by pace.
    pub fn standing(&mut self, now: Mono, hedge: bool) -> Availability {
        if self.gone {
            // Whoever waits for its slots would wait for ever.
            return Availability::Suspended(Reason::NotConnected);
        }
        if hedge {
            let budget = self.measured_hedges(now);
            self.hedges.change(Some(budget));
        }
        let token = self.pace.ready(now) && (!hedge || self.hedges.ready(now));
        self.starved |= !token;
        let token = token && self.share.allows(&self.config);
        let room = token && self.has_slot();
        match self.health.standing() {
            Availability::Healthy | Availability::Full if !room => Availability::Full,
            Availability::Probing { .. } if !room => Availability::Probing { free: false },
            Availability::NoReceipts { free } => Availability::NoReceipts { free: free && room },
            other => other,
        }
    }

    /// A tenth of what it really carries, and a window a second at least. So what a lost link left in doubt is soon asked
    /// elsewhere, and doesn't double the traffic there. Its pace holds for hedges as for all.
    fn measured_hedges(&mut self, now: Mono) -> Pace {
        hedges(self.health.carried(now), self.slots.get())
    }

    fn has_slot(&self) -> bool {
        let slots = self.share.slots(self.slots.get(), &self.config);
        !self.leaving && (self.holding.len() as u64) < u64::from(slots)
    }

    /// When the next token is there, for somebody who found none.
    fn next_token(&self, now: Mono) -> Option<Mono> {
        self.starved.then(|| match self.pace.next(now) {
            // The pace has a token: then it was the budget for hedges.
            at if at <= now => self.hedges.next(now),
            at => at,
        })
    }

    /// True once when tokens are back.
    pub fn refilled(&mut self, now: Mono) -> bool {
        let back = self.starved && self.pace.ready(now);
        self.starved &= !back;
        back
    }

    /// Takes the slot that [`Running::standing`] has shown.
    pub fn take_slot(&mut self, now: Mono, key: AttemptKey, hedge: bool, left: Duration) {
        self.pace.take(now);
        if hedge {
            self.hedges.take(now);
        }
        self.holding.insert(key, now);
        if self.health.standing() == (Availability::Probing { free: true }) {
            self.probe = Some(key);
        }
        self.health.event(now, Evidence::Started { left });
    }

    /// It took this text: its receipt is awaited.
    pub fn awaits_receipt(&mut self, now: Mono, key: AttemptKey) {
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
    pub fn receipt(&mut self, now: Mono, key: AttemptKey, delivered: bool) {
        if let Some(text) = self.awaited.remove(&key) {
            let after = now.saturating_duration_since(text.since);
            self.health
                .event(now, Evidence::Receipt { delivered, after });
            self.trim_awaited();
        }
    }

    /// A text whose receipt should have come by now, as long as this carrier's receipts take. Asked again until none is
    /// left; [`Running::missed`] counts it.
    pub fn overdue_receipt(&mut self, now: Mono) -> Option<AttemptKey> {
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
    fn next_overdue(&self) -> Option<Mono> {
        let (since, _) = self.awaited_order.front()?;
        Some(*since + self.health.receipt_wait()?)
    }

    /// No receipt came for this text, which still waits for one. Counted once.
    pub fn missed(&mut self, now: Mono, key: AttemptKey) {
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
    pub fn next_deadline(&self, now: Mono) -> Option<Mono> {
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
    pub fn since(&self, key: AttemptKey) -> Option<Mono> {
        self.holding.get(&key).copied()
    }

    /// The orders that hold a slot.
    pub fn held(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.holding.keys().copied()
    }

    /// Frees the slots of orders of which a driver that is gone will say nothing any more: how many there were.
    pub fn sweep(&mut self, now: Mono) -> usize {
        let old = |since: Mono| now.saturating_duration_since(since) > AWAITED_LONGEST;
        self.awaited.retain(|_, text| !old(text.since));
        while self.awaited_order.front().is_some_and(|(s, _)| old(*s)) {
            self.awaited_order.pop_front();
        }
        let before = self.holding.len();
        self.holding
            .retain(|_, since| now.saturating_duration_since(*since) < LONGEST_HOLD);
        before - self.holding.len()
    }

    pub fn is_voice(&self) -> bool {
        matches!(self.config.transport, Transport::Sip(_))
    }

    /// The order is answered or over. False if it held no slot.
    pub fn free_slot(&mut self, key: AttemptKey) -> bool {
        self.holding.remove(&key).is_some()
    }

    /// An order's outcome, as far as it speaks of the carrier; counted once, while the slot is held.
    pub fn outcome(&mut self, now: Mono, key: AttemptKey, outcome: Outcome) {
        if let Some(since) = self.since(key) {
            let after = now.saturating_duration_since(since);
            self.health.event(now, Evidence::Outcome { outcome, after });
        }
    }

    /// This attempt never left, or was ended by us: if it was the probe, another may go.
    pub fn void_probe(&mut self, now: Mono, key: AttemptKey) {
        if self.probe == Some(key) {
            self.probe = None;
            self.health.event(now, Evidence::ProbeVoid);
        }
    }

    pub fn text(&self, out: &mut Outputs, order: TextOrder) {
        out.push(Output::Text(self.driver, Box::new(order)));
    }

    pub fn call(&self, out: &mut Outputs, order: CallOrder) {
        out.push(Output::Call(self.driver, Box::new(order)));
    }

    /// A call of another process, which may be up.
    pub fn end_call(&self, out: &mut Outputs, call: CallToEnd) {
        out.push(Output::EndCall(self.driver, call));
    }

    pub fn hang_up(&self, out: &mut Outputs, call: AttemptKey) {
        self.tell(out, |driver| Output::HangUp(driver, call));
    }

    pub fn recorded(&self, out: &mut Outputs, call: CallMark) {
        self.tell(out, |driver| Output::Recorded(driver, call));
    }

    pub fn end(&self, out: &mut Outputs) {
        self.tell(out, |driver| Output::Finish(driver, Finish::End));
    }

    /// Those before its own as well: a call may be theirs.
    fn tell(&self, out: &mut Outputs, what: impl Fn(DriverId) -> Output) {
        let drivers = self.before.iter().chain([&self.driver]);
        drivers.for_each(|driver| out.push(what(*driver)));
    }

    /// A driver has ended. True if it was this one's.
    fn ended(&mut self, driver: DriverId) -> bool {
        self.before.retain(|before| *before != driver);
        let own = self.driver == driver;
        self.gone |= own;
        own
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    pub fn slots(&self) -> u32 {
        self.slots.get()
    }

    /// The same driver by another file: what is known of it stays known, unless its link is another.
    fn become_by(&mut self, update: CarrierUpdate, now: Mono) {
        let fresh = update.link != UpdateLink::Stays;
        let mut anew = Running::new(update, now);
        anew.gone = self.gone;
        self.pace.change(anew.config.pace);
        std::mem::swap(&mut anew.pace, &mut self.pace);
        std::mem::swap(&mut anew.holding, &mut self.holding);
        std::mem::swap(&mut anew.before, &mut self.before);
        std::mem::swap(&mut anew.log, &mut self.log);
        // The account is the same, or its receipts end by themselves.
        std::mem::swap(&mut anew.unmatched, &mut self.unmatched);
        std::mem::swap(&mut anew.awaited, &mut self.awaited);
        std::mem::swap(&mut anew.awaited_order, &mut self.awaited_order);
        if fresh {
            anew.log.forget_scopes();
        } else {
            std::mem::swap(&mut anew.health, &mut self.health);
            std::mem::swap(&mut anew.scopes, &mut self.scopes);
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
}

/// What it carries a second, and its window.
fn hedges(carried: f64, window: u32) -> Pace {
    let share = carried / f64::from(HEDGE_SHARE);
    Pace {
        count: (share as u32).max(window).max(1),
        per: Duration::from_secs(1),
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
