//! What comes in by the doors: new challenges, cancels, feedback, and ids that come again.

use std::sync::Arc;

use super::{
    Core,
    commit::{Action, encode},
    effects::Change,
    notice::{Notice, OverLimit},
    open::Open,
};
use crate::{
    admission::{
        self, Admitted, Kind, Rules, Taken,
        alarm::{Action as Over, AlarmLine},
    },
    challenge::{Challenge, ChallengeKey, Channel, Millis},
    delivery::DeliveryState,
    intake::{Answer, Arrival, Job, Ticket},
    ledger::{
        ControlMessage, Known, LimitCheck, Limited, NewChallenge, Op, OutboxReport, PendingControl,
        Target,
    },
    report::body::ReportIdentity,
};

/// A cancel or feedback for an unknown id is remembered this long.
const EARLY: std::time::Duration = std::time::Duration::from_secs(900);

impl Core {
    pub(super) fn arrived(&mut self, arrival: Arrival, now: Millis) {
        if arrival.ticket.is_void() {
            return;
        }
        match arrival.job {
            Job::Challenge(ch) => {
                if let Some(ticket) = self.registry.arrivals.push(ch, arrival.ticket) {
                    self.outputs.answer(ticket, Answer::Busy);
                }
            }
            Job::Cancel { tenant, id } => {
                self.word_arrived(tenant, id, ControlMessage::Cancel, arrival.ticket, now)
            }
            Job::Feedback {
                tenant,
                id,
                verified,
            } => {
                let word = if verified {
                    ControlMessage::Verified
                } else {
                    ControlMessage::NotVerified
                };
                self.word_arrived(tenant, id, word, arrival.ticket, now);
            }
        }
    }

    /// A challenge whose id was on its way to the disk when it came: by now that one is there, or isn't.
    pub(super) fn repeated(&mut self, ch: Challenge, ticket: Ticket, now: Millis) {
        if !ticket.is_void() {
            self.challenge_arrived(ch, ticket, now);
        }
    }

    fn challenge_arrived(&mut self, ch: Challenge, ticket: Ticket, now: Millis) {
        let mut known = self.registry.open.by_id(&ch.tenant, &ch.id);
        if let Some(key) = known
            && self.registry.open.get(key).is_some_and(Open::given_up)
        {
            self.undo(key);
            known = None;
        }
        let Some(open) = known.and_then(|key| self.registry.open.get(key)) else {
            return self.begin(ch, ticket, now);
        };
        let answer = if open.ch.content == ch.content {
            Answer::Again { last: None }
        } else {
            Answer::Conflict
        };
        // After what is already on its way to the disk: an ack says that the ledger holds it.
        let action = match open.durable {
            true => Action::Answer(ticket, answer),
            false => Action::Repeat(Box::new(ch), ticket),
        };
        self.commit.then(action);
    }

    /// An id that isn't open: new, as far as memory goes.
    fn begin(&mut self, mut ch: Challenge, ticket: Ticket, now: Millis) {
        ch.arrived = now;
        let keys = self.hasher.keys(&ch);
        let refused = self.full.refuses(&keys, &self.limits, now);
        if let Some(taken) = &refused {
            for line in self.over_limits(taken, now) {
                self.say_limit(line, Some(&ch));
            }
        }
        let check = LimitCheck {
            keys,
            limits: self.limits.clone(),
        };
        let limits = match refused.and_then(|taken| taken.refused) {
            Some(kind) => Err(kind),
            None => Ok(check),
        };
        self.enter(ch, ticket, limits, now);
    }

    /// A challenge goes to the ledger: to count there, or refused for a limit.
    fn enter(
        &mut self,
        ch: Challenge,
        ticket: Ticket,
        limits: Result<LimitCheck, Kind>,
        now: Millis,
    ) {
        let key = self.registry.next_key();
        let min_call = self.config.settings.jobs.min_call;
        let mut life = DeliveryState::new(&ch, min_call);
        let table = &self.config.table;
        let serves = |ch: &Challenge, channel: Channel| {
            ch.country
                .is_some_and(|country| !table.route(country, channel).1.is_empty())
        };
        let rules = Rules {
            countries: &self.config.settings.countries,
            numbers: &self.numbers,
        };
        let admitted = match &limits {
            Err(kind) => Admitted::No {
                reason: kind.reason(),
            },
            Ok(_) => admission::admit(&ch, rules, &serves),
        };
        match admitted {
            Admitted::No { reason } => life.reject(now, reason, &mut self.effects),
            Admitted::Yes { refused } => {
                life.start(&ch, now, &refused, &mut self.effects);
                life.tick(&ch, now, min_call, &mut self.effects);
            }
        }
        self.commit.write(Op::Accept(Box::new(NewChallenge {
            key,
            tenant: ch.tenant.clone(),
            id: ch.id.clone(),
            content: ch.content,
            arrived: ch.arrived,
            deadline: ch.deadline,
            job: encode(&ch),
            life: Vec::new(),
            last: None,
            claim: ticket.claim().cloned(),
            limits: limits.ok(),
        })));
        let claim = ticket.claim().cloned();
        self.commit.then(Action::Taken(key, ticket));
        self.registry.unsent += 1;
        self.registry.recent.arrived(key);
        self.registry.open.insert(
            key,
            Open {
                ch,
                life,
                durable: false,
                claim,
                waiting: None,
                wake: Millis::NEVER,
                sent: false,
            },
        );
        self.place_new(key, now);
        self.settle(key, Change::New, now);
    }

    /// The ledger has counted it: what is full by now, and which limits it is over.
    pub(super) fn limits_say(&mut self, limited: &Limited, now: Millis) {
        let Limited {
            key,
            windows,
            taken,
        } = limited;
        if *key > self.limits_after {
            self.full.note(windows, taken, now);
        }
        let lines = self.over_limits(taken, now);
        let open = self.registry.open.get(*key);
        let open = open.or_else(|| self.registry.uncommitted.get(key));
        for line in lines {
            self.say_limit(line, open.map(|open| &open.ch));
        }
    }

    /// The ledger did not take it, since it is over a limit: it is written as refused, and its asker is told then.
    pub(super) fn over_limit(
        &mut self,
        key: ChallengeKey,
        taken: Taken,
        ticket: Ticket,
        now: Millis,
    ) {
        if let (Some(kind), Some(open)) = (taken.refused, self.undo(key)) {
            self.enter(open.ch, ticket, Err(kind), now);
        }
    }

    /// Counts what is over a limit; what is to be said of it: at once, and then once a minute.
    fn over_limits(&mut self, taken: &Taken, now: Millis) -> Vec<AlarmLine> {
        let recorded = Kind::ALL.into_iter().zip(taken.recorded);
        let recorded = recorded.filter_map(|(kind, over)| over.then_some((kind, Over::Recorded)));
        let refused = taken.refused.map(|kind| (kind, Over::Refused));
        let mut lines = Vec::new();
        for (kind, action) in recorded.chain(refused) {
            self.observer.over_limit(kind, action);
            lines.extend(self.alarms.over(kind, action, now));
        }
        lines
    }

    pub(super) fn say_limits(&mut self, now: Millis) {
        for line in self.alarms.due(now) {
            self.say_limit(line, None);
        }
    }

    fn say_limit(&self, line: AlarmLine, example: Option<&Challenge>) {
        self.notices.tell(Notice::OverLimit(OverLimit {
            line,
            pace: line.kind.pace(&self.config.settings.limits).cloned(),
            tenant: example.map(|ch| ch.tenant.clone()),
            to: example.and_then(|ch| ch.to),
        }));
    }

    fn word_arrived(
        &mut self,
        tenant: Arc<str>,
        id: Arc<str>,
        word: ControlMessage,
        ticket: Ticket,
        now: Millis,
    ) {
        if ticket.is_void() {
            return;
        }
        let key = self.registry.open.by_id(&tenant, &id);
        let open = key.and_then(|key| Some((key, self.registry.open.get(key)?)));
        let until = match open {
            Some((_, open)) if !open.durable => {
                return self
                    .registry
                    .pending_control
                    .push((tenant, id, word, ticket));
            }
            // Nobody can take it back.
            Some((key, _)) if ticket.claim().is_none() => {
                self.word_for(key, word, now);
                return self.commit.then(Action::Answer(ticket, Answer::Taken));
            }
            // Its asker may stop waiting until the ledger holds it: it takes effect then, and not before.
            Some((_, open)) => open.ch.deadline,
            None => now + EARLY,
        };
        let claim = ticket.claim().cloned();
        let place = self.commit.write(Op::Early(PendingControl {
            tenant,
            id,
            word,
            until,
            elsewhere: key.is_none(),
            claim,
        }));
        self.commit.then(Action::Word {
            place,
            word,
            ticket,
        });
    }

    /// A word for an open challenge.
    pub(super) fn word_for(&mut self, key: ChallengeKey, word: ControlMessage, now: Millis) {
        let Some(open) = self.registry.open.get_mut(key) else {
            return;
        };
        match word {
            ControlMessage::Cancel => open.life.cancel(now, &mut self.effects),
            ControlMessage::Verified => open.life.feedback(now, true, &mut self.effects),
            ControlMessage::NotVerified => open.life.feedback(now, false, &mut self.effects),
        }
        self.settle(key, Change::Life, now);
    }

    /// Words that came while their challenge was on its way to the disk.
    pub(super) fn deferred_words(&mut self, now: Millis) {
        for (tenant, id, word, ticket) in std::mem::take(&mut self.registry.pending_control) {
            self.word_arrived(tenant, id, word, ticket, now);
        }
    }

    /// The ledger has said whether it knows the challenge of a word. Unless that has ended, the ledger remembers the word.
    pub(super) fn word_answered(
        &mut self,
        word: ControlMessage,
        known: Option<Known>,
        ticket: Ticket,
        now: Millis,
    ) {
        if ticket.is_void() {
            return;
        }
        let Some(known) = known else {
            self.outputs.answer(ticket, Answer::Unknown);
            return;
        };
        if self.registry.open.get(known.key).is_some() {
            // A restart would know of it as well, so the answer waits for nothing more.
            self.word_for(known.key, word, now);
            self.outputs.answer(ticket, Answer::Taken);
            return;
        }
        let verified = match word {
            ControlMessage::Cancel => None,
            ControlMessage::Verified => Some(true),
            ControlMessage::NotVerified => Some(false),
        };
        // Open at another node: that one finds the word.
        let elsewhere = self.is_shared() && known.ended.is_none();
        if let Some(verified) = verified.filter(|_| !elsewhere) {
            self.commit.write(Op::Feedback {
                key: known.key,
                verified,
                at: now,
            });
        }
        self.commit.then(Action::Answer(ticket, Answer::Taken));
    }

    /// What was begun for a challenge that the ledger did not take is undone: nothing of it was told or sent.
    pub(super) fn undo(&mut self, key: ChallengeKey) -> Option<Open> {
        self.unqueue(key);
        let open = self.registry.remove(key)?;
        for attempt in &open.life.attempts {
            let at = crate::challenge::AttemptKey {
                challenge: key,
                attempt: attempt.n,
            };
            if let Some(carrier) = self.placement.carriers.get_mut(&attempt.carrier) {
                // A call may have been prepared for it.
                if carrier.is_voice() {
                    carrier.hang_up(&mut self.outputs, at);
                }
                if carrier.free_slot(at) {
                    carrier.void_probe(self.mono, at);
                    self.placement.queue.room_changed();
                }
            }
        }
        Some(open)
    }

    /// The ledger knew the id: what was begun for it is undone, and the door is told.
    pub(super) fn known(&mut self, key: ChallengeKey, known: Known, ticket: Ticket, now: Millis) {
        let Some(open) = self.undo(key) else {
            return;
        };
        if known.content != open.ch.content {
            self.outputs.answer(ticket, Answer::Conflict);
            return;
        }
        if let (Some(last), Some(to)) = (&known.last, &open.ch.reply_to) {
            let report = OutboxReport {
                report: self.commit.next_report(),
                challenge: known.key,
                // As it was reported the first time: whoever reads it drops repeats by that.
                seq: ReportIdentity::of(last).map_or(0, |identity| identity.seq),
                target: Target::ReplyTo {
                    queue: to.queue.clone(),
                    correlation_id: to.correlation_id.clone(),
                },
                body: last.as_slice().into(),
                is_final: true,
                until: now + super::AGAIN_OVERTIME,
            };
            self.commit.then(Action::Publish(Box::new(report.clone())));
            self.commit.write(Op::Report(Box::new(report)));
        }
        let last = known.last.map(Arc::from);
        self.commit
            .then(Action::Answer(ticket, Answer::Again { last }));
    }
}
