//! The promise, held against what really happened.

use std::{collections::BTreeMap, time::Duration};

use super::{World, finals::NOT_DELIVERED};
use crate::{
    carrier::{
        Acknowledgement, AttemptEvent, CarrierEvent, Incoming, ReceiptState, Reply, TextOrder,
    },
    challenge::{AttemptKey, Origin},
    core::Core,
    delivery::DeliveryState,
    ledger::{ReportKey, in_memory::Engine},
    rehearse::{
        callers::{Job, Told, Truth},
        carriers::{Carrier, CarrierKind},
        limits,
        stage::Effect,
        steps::Brought,
        texts::place_of,
    },
};

/// So long after everything is over all slots are free.
const SLOTS_FREED: Duration = Duration::from_secs(60);

impl World<'_, '_> {
    // --- what leaves ---------------------------------------------------------------------------------------------

    /// A text is about to be sent: its intent must be durable, its time not over, and nothing else under way.
    pub(super) fn check_text(&mut self, place: usize, order: &TextOrder, engine: &Engine) {
        let Some(n) = self.check_intent(order.key, engine) else {
            return;
        };
        if self.time().wall >= self.jobs[n].deadline {
            self.violate(format!("{} is sent after its deadline", self.jobs[n].id));
        }
        let job = &self.jobs[n];
        let well = |truth: &Truth| {
            !truth.voice
                && truth.life == self.life
                && matches!(truth.told, Told::Nothing | Told::Taken)
        };
        let mut before = job.attempts.range(..order.key.attempt);
        if let Some((other, _)) = before.find(|(_, truth)| well(truth)) {
            let id = &job.id;
            return self.violate(format!(
                "{id}: a text is sent (attempt {}) while attempt {other} is well",
                order.key.attempt
            ));
        }
        let mut before = job.attempts.range(..order.key.attempt);
        if let Some((other, _)) = before.find(|(_, truth)| truth.is_proven()) {
            let id = &job.id;
            return self.violate(format!(
                "{id}: a text is sent (attempt {}) though the receipt of attempt {other} was taken before",
                order.key.attempt
            ));
        }
        let parts = self.carriers[place].parts(order);
        self.remember(n, order.key, place, parts);
    }

    /// Gives the job whose challenge it is.
    fn check_intent(&mut self, key: AttemptKey, engine: &Engine) -> Option<usize> {
        let (challenge, attempt) = (key.challenge, key.attempt);
        let stored = engine.get(challenge).ok().flatten();
        let Some(stored) = stored else {
            self.violate(format!(
                "attempt {attempt} of {:x} leaves, and the ledger knows no such challenge",
                challenge.0
            ));
            return None;
        };
        let life: DeliveryState = serde_json::from_slice(&stored.life).unwrap_or_default();
        let id = stored.id.clone();
        if life.attempt(attempt).is_none() {
            self.violate(format!(
                "{id}: attempt {attempt} leaves before its intent is durable"
            ));
        }
        let Some(n) = self.ids.get(&(stored.tenant.clone(), id.clone())).copied() else {
            self.violate(format!("{id}: nobody has asked for it"));
            return None;
        };
        self.keys.insert(challenge, n);
        let job = &self.jobs[n];
        if job.given_up && !job.unsure {
            self.violate(format!(
                "{id}: its server was told that it is not taken, and it is sent"
            ));
        } else if job.final_at.is_some() {
            self.violate(format!("{id}: attempt {attempt} leaves after the final"));
        }
        Some(n)
    }

    /// `parts`: of a text; a call has none.
    fn remember(&mut self, n: usize, key: AttemptKey, place: usize, parts: u16) {
        let truth = Truth {
            life: self.life,
            place,
            since: self.now,
            voice: parts == 0,
            parts,
            told: Told::Nothing,
            has_receipt: false,
            proven: BTreeMap::new(),
        };
        if self.jobs[n].attempts.insert(key.attempt, truth).is_some() {
            let id = &self.jobs[n].id;
            self.violate(format!("{id}: attempt {} is sent twice", key.attempt));
        }
    }

    /// An INVITE leaves.
    pub(super) fn check_call(&mut self, place: usize, key: AttemptKey, engine: &Engine) {
        if let Some(n) = self.check_intent(key, engine) {
            self.remember(n, key, place, 0);
        }
    }

    // --- what happens outside ------------------------------------------------------------------------------------

    pub(super) fn note(&mut self, effect: Effect) {
        let job = |world: &World<'_, '_>, key: AttemptKey| world.keys.get(&key.challenge).copied();
        match effect {
            Effect::TextAtPhone(key) => {
                if let Some(n) = job(self, key) {
                    self.jobs[n].at_phone.push(key.attempt);
                }
            }
            Effect::Talks(key) => {
                if let Some(n) = job(self, key) {
                    self.check_over(n, key.attempt);
                }
            }
            Effect::Pressed(key) => {
                if let Some(n) = job(self, key) {
                    self.jobs[n].pressed = true;
                }
            }
            Effect::CodeRead(key) => {
                if let Some(n) = job(self, key) {
                    self.jobs[n].code_read = true;
                }
            }
            Effect::Invited(key) => self.invited.push(key),
            Effect::UnterminatedCall(key) => {
                let id = job(self, key).map_or_else(String::new, |n| self.jobs[n].id.to_string());
                self.violate(format!(
                    "{id}: the call of attempt {} is left up",
                    key.attempt
                ));
            }
            Effect::AnsweredUnsafe(number) => self.violate(format!(
                "message {number:x} is answered for, and it is not safe"
            )),
            Effect::Reached(state) => self.trace.reached(state),
            Effect::NeverLeft(key) => {
                let id = job(self, key).map_or_else(String::new, |n| self.jobs[n].id.to_string());
                self.violate(format!(
                    "{id}: attempt {} was given to a link that is well, and does not leave",
                    key.attempt
                ));
            }
            Effect::FailedThoughTaken(key) => {
                let id = job(self, key).map_or_else(String::new, |n| self.jobs[n].id.to_string());
                self.violate(format!(
                    "{id}: attempt {} is said to have failed, and the carrier has it",
                    key.attempt
                ));
            }
            Effect::Unordered => {
                self.violate("a carrier got a text that nobody has ordered".to_owned());
            }
            Effect::Fault(kind) => self.trace.fault(kind),
            Effect::Seen(line) => {
                let at = self.now.since_start();
                self.trace.event(at, format_args!("{line}"));
            }
            Effect::Broken(what) => self.violate(what),
            Effect::Say(_) | Effect::Later(..) | Effect::Ended(_) => {}
        }
    }

    /// What the core is told, before it is.
    pub(super) fn note_said(&mut self, what: &CarrierEvent) {
        let told = |event: &AttemptEvent| match event {
            AttemptEvent::Accepted { .. } | AttemptEvent::Ringing | AttemptEvent::Answered => {
                Some(Told::Taken)
            }
            AttemptEvent::InDoubt { .. } => Some(Told::Doubt),
            AttemptEvent::Failed(_) | AttemptEvent::CallEnded(_) => Some(Told::Over),
            AttemptEvent::KeyPressed(_)
            | AttemptEvent::CallState(..)
            | AttemptEvent::CallCleared => None,
        };
        match what {
            CarrierEvent::Attempt(key, event) => {
                if let Some(told) = told(event) {
                    self.tell(*key, told);
                }
            }
            CarrierEvent::Incoming(
                Incoming::Receipt(receipt),
                Acknowledgement::Session(_, number),
            ) => {
                let bad = matches!(
                    receipt.state,
                    ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected
                );
                let of = self.brought(*number).and_then(|brought| brought.of);
                if let Some(truth) = of.and_then(|key| self.truth(key)) {
                    truth.has_receipt = true;
                }
                if let Some(key) = of.filter(|_| bad) {
                    self.tell(key, Told::Over);
                }
            }
            CarrierEvent::Incoming(..) | CarrierEvent::Link(_) => {}
        }
    }

    pub(super) fn brought_by(&self, what: &CarrierEvent) -> Option<&Brought> {
        match what {
            CarrierEvent::Incoming(_, Acknowledgement::Session(_, number)) => self.brought(*number),
            _ => None,
        }
    }

    fn brought(&self, number: u32) -> Option<&Brought> {
        let carrier = self.carriers.get(place_of(number) as usize)?;
        carrier.brought(number)
    }

    fn tell(&mut self, key: AttemptKey, told: Told) {
        // A doubt ends by an answer; what is over stays so.
        if let Some(truth) = self.truth(key).filter(|truth| truth.told != Told::Over) {
            truth.told = told;
        }
    }

    fn truth(&mut self, key: AttemptKey) -> Option<&mut Truth> {
        let job = self.keys.get(&key.challenge).copied();
        let job = job.and_then(|n| self.jobs.get_mut(n));
        job.and_then(|job| job.attempts.get_mut(&key.attempt))
    }

    /// A carrier is told what becomes of what it brought.
    pub(super) fn answer(&mut self, number: u32, reply: Reply) -> Option<Brought> {
        let place = place_of(number) as usize;
        let mut brought = None;
        self.with_carrier(place, |carrier, stage| {
            brought = carrier.answered(number, reply, stage);
        });
        brought
    }

    /// A carrier is told that what it brought is safe.
    pub(super) fn acknowledged(&mut self, number: u32) {
        let Some(brought) = self.answer(number, Reply::Taken) else {
            return;
        };
        let Some(key) = brought.of else { return };
        let at = self.now.since_start();
        let Some(n) = self.keys.get(&key.challenge).copied() else {
            return;
        };
        let job = &mut self.jobs[n];
        let delivered = brought.receipt.state == ReceiptState::Delivered;
        let Some(truth) = job.attempts.get_mut(&key.attempt) else {
            return;
        };
        // To a phone that has several challenges a receipt without a known id may mean each.
        if delivered && brought.clear && job.alone {
            let known = truth.proven.insert(brought.part, at).is_some();
            if job.final_at.is_some() && !known {
                job.late_owed.insert((key.attempt, brought.part));
            }
        }
    }

    // --- the end -------------------------------------------------------------------------------------------------

    /// Nothing comes any more but time, and what follows from it.
    pub(super) fn is_quiet(&self) -> bool {
        let now = self.instant();
        self.left == 0 && !self.carriers.iter().any(|carrier| carrier.is_busy(now))
    }

    /// Nothing is left that could happen.
    pub(super) fn is_over(&self, core: &Core) -> bool {
        core.rest().is_none() && self.publisher.is_at_rest()
    }

    /// Nobody will say anything more: a slot that is held now stays so, until it is swept as never settled.
    pub(super) fn check_slots(&mut self, core: &Core) {
        let held = core.rest().filter(|rest| {
            self.is_quiet() && rest.in_flight > 0 && (rest.open, rest.waiting) == (0, 0)
        });
        let Some(rest) = held else {
            self.idle_since = None;
            return;
        };
        let since = *self.idle_since.get_or_insert(self.now);
        if self.now.saturating_duration_since(since) > SLOTS_FREED {
            let held = rest.in_flight;
            self.violate(format!("{held} slots are held for nobody"));
        }
    }

    /// What is open is in memory: never more than may be.
    pub(super) fn check_open(&mut self, core: &Core) {
        let most = self.rehearsal.config.settings.jobs.max_open;
        if let Some(rest) = core.rest().filter(|rest| rest.open > most) {
            let open = rest.open;
            self.violate(format!(
                "{open} challenges are open, and {most} may be at once"
            ));
        }
    }

    pub(super) fn check_end(&mut self, core: &Core, engine: &Engine) {
        let rest = core.rest();
        if let Some(rest) = rest {
            return self.violate(format!("something is left in the core: {rest:?}"));
        }
        let held = engine.held_messages();
        if !matches!(held, Ok(0)) {
            return self.violate(format!("receipts are left in the ledger's inbox: {held:?}"));
        }
        let left = engine.pending_reports(ReportKey(i64::MIN), 1);
        if !matches!(&left, Ok(left) if left.is_empty()) {
            return self.violate("reports are left in the outbox".to_owned());
        }
        for n in 0..self.jobs.len() {
            if let Some(what) = self.unkept(&self.jobs[n], engine) {
                let id = &self.jobs[n].id;
                return self.violate(format!("{id}: {what}"));
            }
        }
        let limits = &self.rehearsal.config.settings.limits;
        if let Some(wrong) = limits::broken(limits, &self.jobs, engine) {
            self.violate(wrong);
        }
        let now = self.instant();
        let left = |carrier: &Carrier| match &carrier.kind {
            CarrierKind::Calls(calls) => calls.left_over(),
            CarrierKind::Http(http) => http.left_over(now),
            CarrierKind::Smpp(_) => None,
        };
        if let Some(left) = self.carriers.iter().find_map(left) {
            self.violate(left);
        }
    }

    fn unkept(&self, job: &Job, engine: &Engine) -> Option<String> {
        let stored = match engine.find(&job.tenant, &job.id) {
            Ok(stored) => stored,
            Err(error) => return Some(format!("the ledger: {error}")),
        };
        if job.given_up {
            return None;
        }
        let Some(stored) = stored.filter(|_| job.acked) else {
            return Some(format!("asked {} times and never taken", job.asked));
        };
        if stored.ended.is_none() {
            return Some("taken, and open in the ledger for ever".to_owned());
        }
        let finals = match job.door {
            Origin::Amqp => job.finals.len(),
            Origin::Http => {
                let kept = engine.reports_of(stored.key).unwrap_or_default();
                kept.iter().filter(|report| report.is_final).count()
            }
        };
        if finals != 1 {
            return Some(format!("taken, and {finals} finals were told"));
        }
        let has_it = |id: &String| job.reports.contains_key(id) || job.dead.contains(id);
        if job.door == Origin::Amqp && !job.finals.keys().all(has_it) {
            return Some("taken, and its asker was never told the final".to_owned());
        }
        let final_of = job
            .public
            .values()
            .find(|(_, event, _)| NOT_DELIVERED.contains(&event.as_str()));
        let owed = job
            .late_owed
            .iter()
            .find(|(n, _)| !job.late_told.contains(n));
        match (final_of, owed) {
            (Some(_), Some((attempt, _))) => Some(format!(
                "a receipt for attempt {attempt} was taken after the final and led to no late report"
            )),
            _ => None,
        }
    }
}
