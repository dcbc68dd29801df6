//! Binding late: carrier, sender and link are chosen in one step when a slot is free, tenants in turns, earliest deadline
//! first.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    Core,
    availability::{left_out, nobody_at_all},
    commit::Action,
    effects::Change,
    open::Open,
    placement::ProbesOf,
    queue::{self, RouteKey},
};
use crate::{
    carrier::{Call, CallMark, Order, Text},
    cause::Cause,
    challenge::{AttemptKey, ChallengeKey, Channel, Method, Millis},
    delivery::{Attempt, NewAttempt, Want},
    message::templates,
    routing::{
        Availability,
        plan::{self, Choice, PlanRequest, Tried, View},
    },
};

/// How many of a line are asked before the line counts as blocked: the first may have tried what the next has not.
const LOOK_AHEAD: usize = 8;

/// What came of trying to place one challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    Yes,
    /// Nothing is wanted any more, or nobody is left: it has left the queue.
    Gone,
    /// All that could bring it are full or suspended.
    NoSlot,
    /// As before, and it could be the probe of a carrier that comes back: others go first.
    Spared,
}

/// Who may be the one attempt of a carrier that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probes {
    of: ProbesOf,
    /// Only the one of each line that has most life left.
    longest: bool,
}

impl Probes {
    const fn new(of: ProbesOf, longest: bool) -> Probes {
        Probes { of, longest }
    }

    const FIRST: Probes = Probes::new(ProbesOf::Untold, true);
    /// In this order they are asked.
    const ALL: [Probes; 6] = [
        Probes::FIRST,
        Probes::new(ProbesOf::Untold, false),
        Probes::new(ProbesOf::Others, true),
        Probes::new(ProbesOf::Others, false),
        Probes::new(ProbesOf::Anyone, true),
        Probes::new(ProbesOf::Anyone, false),
    ];
}

impl Core {
    /// A challenge just accepted: if a slot is free and nobody waits before it, its intent shares the accept's commit.
    pub(super) fn place_new(&mut self, key: ChallengeKey, now: Millis) {
        self.requeue(key, now);
        let Some((_, at)) = self.registry.open.get(key).and_then(|open| open.waiting) else {
            return;
        };
        if self.placement.queue.heads(at, 1).first() == Some(&key) {
            self.try_place(key, now, Change::New, Probes::FIRST);
        }
    }

    /// Brings the queue into line with what the challenge wants, and sets its timer.
    pub(super) fn requeue(&mut self, key: ChallengeKey, now: Millis) {
        let min_call = self.config.settings.jobs.min_call;
        let Some(open) = self.registry.open.get_mut(key) else {
            return;
        };
        let wake = open.life.wake(&open.ch, now, min_call);
        let wanted = open
            .life
            .want(&open.ch, now, min_call)
            .and_then(|want| Some((want, line_of(open, want, now)?)));
        if wanted != open.waiting {
            self.unqueue(key);
            if let Some((_, at)) = wanted
                && let Some(open) = self.registry.open.get_mut(key)
            {
                open.waiting = wanted;
                self.placement.queue.push(at, &open.ch, key);
            }
        }
        self.registry.open.wake_at(key, wake);
    }

    pub(super) fn unqueue(&mut self, key: ChallengeKey) {
        let Some(open) = self.registry.open.get_mut(key) else {
            return;
        };
        if let Some((_, at)) = open.waiting.take() {
            self.placement.queue.remove(at, &open.ch, key);
        }
    }

    /// Gives free slots to those who wait.
    pub(super) fn place_all(&mut self, now: Millis) {
        let free = Availability::Probing { free: true };
        for probes in Probes::ALL {
            let spared = self.place_lines(probes, now);
            let all = self.placement.carriers.iter();
            if spared.is_empty() || all.map(|c| c.health.standing()).all(|s| s != free) {
                return;
            }
            // Those whom a carrier should be tried with didn't want it.
            for at in spared {
                self.placement.queue.unblock(at);
            }
        }
    }

    /// Goes through the lines that may find a slot. Returns those in which somebody was spared.
    fn place_lines(&mut self, probes: Probes, now: Millis) -> Vec<RouteKey> {
        let mut lines = self.placement.queue.open_lines();
        let mut spared = Vec::new();
        while let Some((Reverse(rank), at)) = lines.pop() {
            if !self.commit.room() {
                return Vec::new();
            }
            // Its tenant may have had a turn in another line meanwhile.
            match self.placement.queue.rank(at) {
                None => continue,
                Some(now) if now > rank => {
                    lines.push((Reverse(now), at));
                    continue;
                }
                Some(_) => {}
            }
            let (mut moved, mut spares) = (false, false);
            let longest = self.placement.queue.longest(at);
            for key in self
                .placement
                .queue
                .heads(at, LOOK_AHEAD)
                .into_iter()
                .chain(longest)
            {
                match self.try_place(key, now, Change::Life, probes) {
                    Placed::Yes | Placed::Gone => {
                        moved = true;
                        break;
                    }
                    Placed::NoSlot => {}
                    Placed::Spared => spares = true,
                }
            }
            if moved {
                let rank = self.placement.queue.rank(at);
                lines.extend(rank.map(|rank| (Reverse(rank), at)));
            } else {
                self.placement.queue.block(at);
                spared.extend(spares.then_some(at));
            }
        }
        spared
    }

    fn try_place(
        &mut self,
        key: ChallengeKey,
        now: Millis,
        change: Change,
        probes: Probes,
    ) -> Placed {
        self.requeue(key, now);
        let Some(open) = self.registry.open.get(key) else {
            return Placed::Gone;
        };
        let Some((want, at)) = open.waiting else {
            return Placed::Gone;
        };
        if open.life.worn_out(want.leg) {
            return self.nobody_left(key, want, now, change);
        }
        self.refresh_standing(want.hedge);
        let no_slot = self.spare_probes(probes, at, key);
        let Some(open) = self.registry.open.get(key) else {
            return Placed::Gone;
        };
        let all = tried_by(open, want, now, true);
        let attempt = u16::try_from(open.life.attempts.len() + 1).unwrap_or(u16::MAX);
        let Some(country) = open.ch.country else {
            return Placed::Gone;
        };
        let ask = PlanRequest {
            country,
            method: want.method,
            tenant: &open.ch.tenant,
            caller_id: open.ch.caller_id.as_ref().map(|n| n.e164()),
            tried: &all,
            avoid: self
                .placement
                .avoided(open.ch.to, want.method.channel(), key, now),
            hedge: want.hedge,
            roll: plan::roll(&open.ch.id, attempt),
        };
        let refusals = self.refusals();
        let view = View {
            standing: &self.placement.standing,
            turns: &self.placement.rotation,
            refusals: &refusals,
        };
        match plan::first(&self.config.table, view, &ask) {
            Choice::Take(candidate) => {
                let left_out = left_out(&self.config.table, view, &ask);
                self.take(key, want, candidate, left_out, now, change);
                Placed::Yes
            }
            Choice::Wait => no_slot,
            Choice::Nothing => {
                // Nobody now. Is it for good, or are those who are left only suspended, full or pausing?
                let lasting = tried_by(open, want, now, false);
                if nobody_at_all(&self.config.table, view, &ask, &lasting) {
                    self.nobody_left(key, want, now, change)
                } else {
                    no_slot
                }
            }
        }
    }

    /// Leaves the carriers that come back to others. Returns what it is called where it finds no slot then.
    fn spare_probes(&mut self, probes: Probes, at: RouteKey, key: ChallengeKey) -> Placed {
        let spared = self.leave_probes_to_others(key, probes.of)
            | (probes.longest && self.leave_probes_to_longer(at, key));
        match spared {
            true => Placed::Spared,
            false => Placed::NoSlot,
        }
    }

    fn nobody_left(
        &mut self,
        key: ChallengeKey,
        want: Want,
        now: Millis,
        change: Change,
    ) -> Placed {
        if let Some(open) = self.registry.open.get_mut(key) {
            if !open.durable && change == Change::Life {
                // Its id may turn out to be known: until then it tells nothing more.
                return Placed::NoSlot;
            }
            open.life
                .nobody_left(&open.ch, now, want, &mut self.effects);
        }
        if change == Change::Life {
            self.settle(key, Change::Life, now);
        } else {
            self.requeue(key, now);
        }
        Placed::Gone
    }

    /// A slot is free: the attempt is made, and its intent written.
    fn take(
        &mut self,
        key: ChallengeKey,
        want: Want,
        by: plan::Candidate,
        left_out: Box<[Arc<str>]>,
        now: Millis,
        change: Change,
    ) {
        let table = &self.config.table;
        let (Some(name), Some(sender), Some(line)) = (
            table.carrier_arc(by.carrier),
            table.sender(by.sender),
            table.line(by.line),
        ) else {
            return;
        };
        let placement = NewAttempt {
            carrier: name.clone(),
            sender: sender.id.clone(),
            route: line.name.clone(),
            why: by.why.name().into(),
            left_out,
            receipt_wait: self.config.carriers.get(name).and_then(|c| c.receipt_wait),
        };
        let (carrier, sender) = (placement.carrier.clone(), placement.sender.clone());
        self.placement.rotation.used(by.line);
        let Some(open) = self.registry.open.get_mut(key) else {
            return;
        };
        self.placement.queue.served(&open.ch.tenant);
        let n = open.life.place(&open.ch, now, want, placement);
        let at = AttemptKey {
            challenge: key,
            attempt: n,
        };
        let first = !std::mem::replace(&mut open.sent, true);
        if let Some(to) = open.ch.to {
            let by = (carrier.clone(), sender.clone());
            self.placement
                .came_by(to, want.method.channel(), by, key, now);
        }
        if let Some(running) = self.placement.carriers.get_mut(&carrier) {
            let left = open.ch.deadline.since(now);
            running.take_slot(self.mono, at, want.hedge, left);
            if let Some(country) = open.ch.country {
                running.scopes.started(self.mono, &sender, country);
            }
        }
        if first {
            self.registry.sent();
        }
        if want.method.channel() == Channel::Sms || !self.prepare(at, now) {
            self.commit.then(Action::Submit(at));
        }
        if change == Change::Life {
            self.settle(key, Change::Life, now);
        } else {
            self.requeue(key, now);
        }
    }

    /// The intent is durable: the order goes to the carrier, unless the world has changed meanwhile.
    pub(super) fn submit(&mut self, at: AttemptKey, now: Millis) {
        if self.is_spared(at, now) {
            return;
        }
        match self.give(at, now) {
            Given::Taken => self.handed(at, now),
            Given::NoDriver(carrier) => self.unsent_fails(at, &carrier, Cause::CarrierFault, now),
            Given::NothingToSend => self.never_sent(at),
        }
    }

    /// A call's order goes to its driver before the intent is durable: no INVITE leaves before [`Core::recorded`].
    /// False: the driver doesn't take it now.
    fn prepare(&mut self, at: AttemptKey, now: Millis) -> bool {
        let prepared = matches!(self.give(at, now), Given::Taken);
        if prepared {
            self.commit.expect(at, self.mono);
        }
        prepared
    }

    /// What a restart needs to end this call is durable, and so is its intent: what waits for it may leave, unless the
    /// world has changed meanwhile.
    pub(super) fn recorded(
        &mut self,
        at: AttemptKey,
        carrier: &Arc<str>,
        mark: CallMark,
        now: Millis,
    ) {
        let open = self.registry.open.get(at.challenge);
        let attempt = open.and_then(|open| open.life.attempt(at.attempt).filter(|a| a.live()));
        let (unsent, in_time) = (
            attempt.is_some_and(Attempt::unsent),
            open.is_some_and(|open| now < open.ch.deadline),
        );
        let running = self.placement.carriers.get(carrier);
        let running = running.filter(|running| !running.is_gone());
        if attempt.is_none() || (unsent && !in_time) {
            // The slot is freed when the driver says that it is over.
            running.inspect(|running| running.hang_up(&mut self.outputs, at));
        }
        // Also after it was hung up: an answer that crossed that is acknowledged and ended now.
        running.inspect(|running| running.recorded(&mut self.outputs, mark));
        if unsent && in_time {
            self.handed(at, now);
        }
    }

    /// From here on it may have been sent.
    fn handed(&mut self, at: AttemptKey, now: Millis) {
        let Some(open) = self.registry.open.get_mut(at.challenge) else {
            return;
        };
        open.life.handed(at.attempt);
        if at.attempt == 1 {
            self.observer.job_to_wire(now.since(open.ch.arrived));
        }
    }

    /// The order of this attempt goes to its carrier's driver.
    fn give(&mut self, at: AttemptKey, now: Millis) -> Given {
        let open = self.registry.open.get(at.challenge);
        let open = open.filter(|open| now < open.ch.deadline);
        let attempt = open.and_then(|open| open.life.attempt(at.attempt).filter(|a| a.live()));
        let (Some(open), Some(attempt)) = (open, attempt) else {
            return Given::NothingToSend;
        };
        let ch = &open.ch;
        let Some(to) = ch.to else {
            return Given::NothingToSend;
        };
        let running = self.placement.carriers.get(&attempt.carrier);
        let Some(running) = running.filter(|running| !running.is_gone()) else {
            return Given::NoDriver(attempt.carrier.clone());
        };
        let order = Order {
            key: at,
            to,
            sender: attempt.sender.clone(),
            content: (),
            deadline: ch.deadline,
        };
        match attempt.method {
            Method::SmsCode | Method::SmsReply => {
                let code = ch.code.as_ref().map_or("", |c| c.reveal());
                let body = templates::sms_code(ch.text.as_deref(), &ch.locale, code);
                let text = Text { body: body.into() };
                running.text(&mut self.outputs, order.with(text));
            }
            Method::VoiceConfirm | Method::VoicePin | Method::VoiceCode => {
                let call = Call {
                    method: attempt.method,
                    locale: ch.locale.clone(),
                    code: ch.code.clone(),
                    extension: ch.extension.clone(),
                    rules: self.call_rules.clone(),
                };
                running.call(&mut self.outputs, order.with(call));
            }
        }
        Given::Taken
    }
}

/// What has become of an order that was to go to its driver.
enum Given {
    Taken,
    /// There is none that could take it, of this carrier.
    NoDriver(Arc<str>),
    /// The attempt is over, or its time is.
    NothingToSend,
}

/// Where a challenge that wants this stands.
fn line_of(open: &Open, want: Want, now: Millis) -> Option<RouteKey> {
    let mut tried = queue::TriedSet::default();
    if want.hedge || !open.life.attempts.is_empty() {
        let mut hash = DefaultHasher::new();
        want.hedge.hash(&mut hash);
        for t in open.life.tried(want.leg, now) {
            (t.carrier, t.sender, t.pausing).hash(&mut hash);
        }
        // Whom a carrier has throttled is not its probe while others wait: nobody stands behind somebody who may not be what
        // he may.
        let throttling: BTreeSet<&Arc<str>> = open.life.throttling().collect();
        throttling.hash(&mut hash);
        tried = queue::TriedSet(hash.finish());
    }
    Some((want.method.channel(), open.ch.country?, tried))
}

/// What it has tried on this leg; `pausing`: also what it leaves alone only for a while.
fn tried_by(open: &Open, want: Want, now: Millis, pausing: bool) -> Vec<Tried> {
    let all = open.life.tried(want.leg, now);
    all.filter(|tried| pausing || !tried.pausing)
        .map(|tried| Tried {
            carrier: tried.carrier,
            sender: tried.sender,
            cause: None,
        })
        .collect()
}
